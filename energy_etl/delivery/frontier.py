"""The frontier: which held packets may go, and what the others wait for.

A vendor takes packets in order only: one sent too early makes every older one undeliverable.
Per stream the walk begins at its newest released stamp and goes on as long as each expected stamp
is there. At a hole it stops, unless every stamp in it is declared missing or was dropped, or the
packet right behind it has waited `hold_for` in the outbox while no load and no backfill that covers
the hole is queued or running. A packet that lacks fields waits as long. An estimate is a packet and
no hole, but while something is about to bring its readings it waits like one: sent, it could never
be taken back; where estimates are held it is as good as missing. Where the vendor takes older
packets after newer ones (historical), those wait for nothing but the load that covers them.

The walk reads no further than to the first wait. Whoever calls passes `now`; nothing here looks at
a clock.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from energy_etl.delivery.outbox import Outbox, StreamState
from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.schema import EARLIEST_MS
from energy_etl.state import instant_to_us, transaction, us_to_instant

__all__ = ["BusyWindow", "ReleaseResult", "StreamPlan", "Wait", "hold_unplanned", "release"]


UNPLANNED = "its stream is no longer in streams.csv"
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class BusyWindow:
    """What a load or a backfill that is queued or running will bring.

    Attributes:
        from_at: start of what it covers.
        to_at: end of what it covers.
        register_ids: the registers; None for all.
        reason: what it is, for people: `the backfill abcd`.
    """

    from_at: datetime
    to_at: datetime
    register_ids: frozenset[str] | None
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Where a stream stopped; until_at is None while it waits for work, not for time."""

    stream_id: str
    sentence: str
    until_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """What a release let go and what it did not."""

    n_released: int
    waits: tuple[Wait, ...]


def release(
    outbox: Outbox,
    plans: Iterable[StreamPlan],
    busy: Sequence[BusyWindow],
    now: datetime,
    hold_for: timedelta = timedelta(hours=48),
) -> ReleaseResult:
    """Turn held packets into pending ones up to each stream's first hole.

    One transaction per stream: a year of many streams must not keep acknowledgements waiting.
    Offsets that a released packet used are frozen with it.
    """
    n_released = 0
    waits = []
    for plan in plans:
        with transaction(outbox.connection):
            for state in outbox.streams(plan.stream_id):
                concerned = [w for w in busy if _concerns(w, plan)]
                walk = _Walk(outbox, plan, state, concerned, now, hold_for)
                n_released += walk.release()
                if walk.wait:
                    waits.append(walk.wait)
    return ReleaseResult(n_released, tuple(waits))


def hold_unplanned(
    outbox: Outbox,
    plans: Iterable[StreamPlan],
    why: Callable[[str], str | None] = lambda _: None,
) -> None:
    """Hold the packets of streams that are not among all plans: they were taken out, or wait.

    A stream that is being sent is left alone: its packet in flight must stay what it is.

    Args:
        outbox: the packets.
        plans: every stream's.
        why: a stream -> why it waits; None: it was taken out.
    """
    planned = {plan.stream_id for plan in plans}
    with transaction(outbox.connection) as connection:
        for state in outbox.streams():
            if state.stream_id in planned or state.is_sending:
                continue
            connection.execute(
                "UPDATE packet SET state = 'held' WHERE state = 'pending' AND stream_id = ?",
                (state.stream_id,),
            )
            # Whatever its packets waited for would not let them go any more.
            connection.execute(
                "UPDATE stream SET wait_reason = ?1, release_us = NULL WHERE stream_id = ?2 "
                "AND (wait_reason, release_us) IS NOT (?1, NULL)",
                (why(state.stream_id) or UNPLANNED, state.stream_id),
            )


class _Held:
    """The held packets of a stream behind a stamp, in order, read as far as they are asked for."""

    def __init__(self, outbox: Outbox, stream_id: str, after_ms: int) -> None:
        self._cursor = outbox.connection.execute(
            "SELECT stamped_ms, filled_us, is_estimated, is_incomplete FROM packet "
            "WHERE state = 'held' AND stream_id = ? AND is_withdrawn = 0 AND stamped_ms > ? "
            "ORDER BY stamped_ms",
            (stream_id, after_ms),
        )
        self._rows: list[tuple[int, int, int, int]] = []
        self._n_forgotten = 0

    def get(self, number: int) -> tuple[int, int, int, int] | None:
        """Return stamped_ms, filled_us, is_estimated, is_incomplete; None behind the last."""
        if number - self._n_forgotten >= len(self._rows):
            self._rows += self._cursor.fetchmany(_CHUNK)
        place = number - self._n_forgotten
        return self._rows[place] if place < len(self._rows) else None

    def forget(self, number: int) -> None:
        """Let go of the packets before this one now and then: there may be a million."""
        if number - self._n_forgotten >= _CHUNK:
            del self._rows[: number - self._n_forgotten]
            self._n_forgotten = number

    def close(self) -> None:
        """End the reading: what is read is about to change."""
        self._cursor.close()


class _Walk:
    """The way of one stream's frontier, within a transaction."""

    def __init__(
        self,
        outbox: Outbox,
        plan: StreamPlan,
        state: StreamState,
        busy: list[BusyWindow],
        now: datetime,
        hold_for: timedelta,
    ) -> None:
        self._outbox = outbox
        self._plan = plan
        self._state = state
        self._busy = busy
        self._now = now
        self._hold_for = hold_for
        self._step_ms = plan.interval // timedelta(milliseconds=1)
        self._newest_ms = _newest((state.released_ms, state.last_sent_ms))
        # While packets may be on their way, what is older than they are waits (begin_sending).
        under_way_ms = state.released_ms if state.is_sending else None
        sent_ms = None if plan.is_historical else state.last_sent_ms
        self._after_ms = _newest((sent_ms, under_way_ms))
        self.wait: Wait | None = None

    def release(self) -> int:
        """Release what may go, note what the rest waits for, and return how many went."""
        n_older = 0
        after_ms = self._after_ms
        if self._plan.is_historical and self._newest_ms > after_ms:
            n_older = self._release_older()
            after_ms = self._newest_ms
        held = _Held(self._outbox, self._plan.stream_id, after_ms)
        try:
            released_ms = self._walk(held)
        finally:
            held.close()
        n_newer = 0 if released_ms is None else self._release_to(after_ms, released_ms)
        self._note_wait()
        return n_older + n_newer

    def _walk(self, held: _Held) -> int | None:
        """Return the stamp up to which all may go; sets `wait` to what the next one waits for."""
        step_ms, sends_estimates = self._step_ms, self._plan.sends_estimates
        expected_ms = _newest((self._newest_ms + step_ms, self._plan.first_stamp_ms()))
        released_ms, estimated_to_ms, passed_ms = None, EARLIEST_MS, None
        number = -1
        while row := held.get(number := number + 1):
            held.forget(number)
            stamped_ms, filled_us, is_estimated, is_incomplete = row
            if expected_ms < 0:
                expected_ms = stamped_ms
            if is_estimated and not sends_estimates:
                passed_ms = stamped_ms
                continue
            # A stamp before the expected one fills an older hole: the sender orders by stamp.
            if stamped_ms > expected_ms and not self._is_given_up(expected_ms, stamped_ms):
                what = "hole" if passed_ms is None else "readings are missing"
                self.wait = self._wait(what, expected_ms, stamped_ms, filled_us)
            if self.wait is None and is_estimated and stamped_ms > estimated_to_ms:
                # One reading anywhere in a stretch of estimates changes all of it.
                estimated_to_ms = self._end_of_estimates(held, number)
                to_ms = estimated_to_ms + step_ms
                if not self._is_given_up(stamped_ms, to_ms):
                    self.wait = self._wait_for_work("estimates", stamped_ms, to_ms)
            if self.wait is None and is_incomplete:
                to_ms = stamped_ms + step_ms
                if not self._is_given_up(stamped_ms, to_ms):
                    self.wait = self._wait("fields are missing", stamped_ms, to_ms, filled_us)
            if self.wait:
                return released_ms
            released_ms, passed_ms = stamped_ms, None
            expected_ms = max(expected_ms, stamped_ms + step_ms)
        if passed_ms is not None and passed_ms >= expected_ms:
            stretch = self._stretch("estimates", expected_ms, passed_ms + step_ms)
            sentence = f"{stretch}: wait for readings, because estimates are not sent (streams.csv)"
            self.wait = Wait(self._plan.stream_id, sentence, None)
        return released_ms

    def _end_of_estimates(self, held: _Held, number: int) -> int:
        """Return the last stamp of the unbroken stretch of estimates that begins at a packet."""
        end_ms = None
        while row := held.get(number):
            if not row[2] or (end_ms is not None and row[0] != end_ms + self._step_ms):
                break
            end_ms = row[0]
            number += 1
        assert end_ms is not None
        return end_ms

    def _is_given_up(self, from_ms: int, to_ms: int) -> bool:
        """Whether every stamp of [from, to) is declared missing or was dropped by a person."""
        dropped = self._outbox.dropped_stamps_ms(self._plan.stream_id, from_ms, to_ms)
        return self._plan.declares_missing(from_ms, to_ms, dropped)

    def _wait(self, what: str, from_ms: int, to_ms: int, filled_us: int) -> Wait | None:
        wait = self._wait_for_work(what, from_ms, to_ms)
        until_at = us_to_instant(filled_us) + self._hold_for
        if wait or self._now >= until_at:
            return wait
        sentence = (
            f"{self._stretch(what, from_ms, to_ms)}: waits until it is filled, "
            f"declared missing in gaps.csv, or {_text(until_at)}"
        )
        return Wait(self._plan.stream_id, sentence, until_at)

    def _wait_for_work(self, what: str, from_ms: int, to_ms: int) -> Wait | None:
        """Return the wait for a load or a backfill that will bring readings of the stretch."""
        from_at, to_at = self._interval_of(from_ms, to_ms)
        for window in self._busy:
            if window.from_at < to_at and window.to_at > from_at:
                stretch = self._stretch(what, from_ms, to_ms)
                return Wait(self._plan.stream_id, f"{stretch}: waits for {window.reason}", None)
        return None

    def _stretch(self, what: str, from_ms: int, to_ms: int) -> str:
        from_at, to_at = self._interval_of(from_ms, to_ms)
        return f"{what} from {_text(from_at)} to {_text(to_at)}"

    def _interval_of(self, from_ms: int, to_ms: int) -> tuple[datetime, datetime]:
        """Return what the packets stamped within [from, to) tell about; stamps are ends."""
        return (
            us_to_instant((from_ms - self._step_ms) * 1000),
            us_to_instant((to_ms - self._step_ms) * 1000),
        )

    def _release_older(self) -> int:
        """Release packets behind the newest one: the vendor takes them, each for itself."""
        busy = [
            (instant_to_us(w.from_at) // 1000, instant_to_us(w.to_at) // 1000) for w in self._busy
        ]
        rows = self._outbox.connection.execute(
            "UPDATE packet INDEXED BY packet_by_state SET state = 'pending', hold_reason = NULL "
            "WHERE state = 'held' AND stream_id = :stream_id AND is_withdrawn = 0 "
            "AND stamped_ms > :after_ms AND stamped_ms <= :newest_ms "
            "AND (:sends_estimates OR NOT is_estimated) "
            "AND (NOT is_incomplete OR filled_us <= :filled_us) AND NOT EXISTS ("
            "SELECT 1 FROM json_each(:busy) WHERE stamped_ms > value ->> 0 "
            "AND stamped_ms - :step_ms < value ->> 1) RETURNING stamped_ms",
            {
                "stream_id": self._plan.stream_id,
                "after_ms": self._after_ms,
                "newest_ms": self._newest_ms,
                "sends_estimates": self._plan.sends_estimates,
                "filled_us": instant_to_us(self._now - self._hold_for),
                "busy": json.dumps(busy),
                "step_ms": self._step_ms,
            },
        ).fetchall()
        if rows:
            self._freeze(min(rows)[0], max(rows)[0])
        return len(rows)

    def _release_to(self, after_ms: int, released_ms: int) -> int:
        arguments = (self._plan.stream_id, after_ms, released_ms, self._plan.sends_estimates)
        execute = self._outbox.connection.execute
        (from_ms,) = execute(
            "SELECT min(stamped_ms) FROM packet WHERE state = 'held' AND stream_id = ? "
            "AND is_withdrawn = 0 AND stamped_ms > ? AND stamped_ms <= ? "
            "AND (? OR NOT is_estimated)",
            arguments,
        ).fetchone()
        # Not RETURNING: there may be a million.
        n_released = execute(
            "UPDATE packet SET state = 'pending', hold_reason = NULL WHERE state = 'held' "
            "AND stream_id = ? AND is_withdrawn = 0 AND stamped_ms > ? AND stamped_ms <= ? "
            "AND (? OR NOT is_estimated)",
            arguments,
        ).rowcount
        execute(
            "UPDATE stream SET released_ms = max(coalesce(released_ms, ?1), ?1) "
            "WHERE stream_id = ?2",
            (released_ms, self._plan.stream_id),
        )
        self._freeze(from_ms, released_ms)
        return n_released

    def _freeze(self, from_ms: int, to_ms: int) -> None:
        # A released packet may be on its way at any moment from now on, so what it used stays.
        self._outbox.connection.execute(
            "UPDATE stream_offset AS o SET is_frozen = 1 WHERE stream_id = ?1 AND from_ms <= ?3 "
            "AND from_ms >= coalesce((SELECT max(from_ms) FROM stream_offset WHERE "
            "stream_id = ?1 AND field = o.field AND from_ms <= ?2), ?2) AND is_frozen = 0",
            (self._plan.stream_id, from_ms, to_ms),
        )

    def _note_wait(self) -> None:
        sentence = self.wait.sentence if self.wait else None
        until_at = self.wait.until_at if self.wait else None
        self._outbox.connection.execute(
            "UPDATE stream SET wait_reason = ?1, release_us = ?2 WHERE stream_id = ?3 "
            "AND (wait_reason, release_us) IS NOT (?1, ?2)",
            (sentence, until_at and instant_to_us(until_at), self._plan.stream_id),
        )


def _newest(stamps_ms: Iterable[int | None]) -> int:
    return max((ms for ms in stamps_ms if ms is not None), default=EARLIEST_MS)


def _concerns(window: BusyWindow, plan: StreamPlan) -> bool:
    return window.register_ids is None or not plan.register_ids.isdisjoint(window.register_ids)


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%MZ")
