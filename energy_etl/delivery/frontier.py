"""The frontier: which held packets may go, and what the others wait for.

A vendor takes packets in order only: one sent too early makes every older one undeliverable.
Per stream the walk begins at its newest released stamp and goes on as long as each expected stamp
is there. At a hole it stops, unless the hole is declared missing, or the packet right behind it
has waited `hold_for` in the outbox while no load and no backfill that covers the hole is queued or
running. An estimate is a packet and no hole, but while something is about to bring its readings it
waits like one: sent, it could never be taken back. Whoever calls passes `now`; nothing here looks
at a clock.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from energy_etl.delivery.outbox import BEHIND, Outbox, StreamState
from energy_etl.delivery.plan import StreamPlan
from energy_etl.state import instant_to_us, transaction, us_to_instant

__all__ = ["BusyWindow", "ReleaseResult", "StreamPlan", "Wait", "hold_unplanned", "release"]


UNPLANNED = "its stream is no longer in streams.csv"


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
    """A hole at which a stream stopped; until_at is None while it waits for work, not for time."""

    stream_id: str
    n_packets: int
    sentence: str
    until_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReleaseResult:
    """What a release let go and what it did not."""

    n_released: int
    waits: tuple[Wait, ...]


@dataclass(frozen=True, slots=True)
class _Walk:
    """How far one stream may go: every held packet up to released_ms."""

    released_ms: int | None
    wait: Wait | None


def release(
    outbox: Outbox,
    plans: Iterable[StreamPlan],
    busy: Sequence[BusyWindow],
    now: datetime,
    hold_for: timedelta = timedelta(hours=48),
) -> ReleaseResult:
    """Turn held packets into pending ones up to each stream's first hole, in one transaction.

    Offsets that a released packet used are frozen with it.
    """
    n_released = 0
    waits = []
    with transaction(outbox.connection):
        states = {state.stream_id: state for state in outbox.streams()}
        for plan in plans:
            state = states.get(plan.stream_id)
            if state is None:
                continue
            held = _held(outbox, state)
            walk = _walk(plan, state, held, [w for w in busy if _concerns(w, plan)], now, hold_for)
            n_released += _write(outbox, state, held, walk)
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
            if state.stream_id not in planned and not state.is_sending:
                # Whatever those that are held waited for would not let them go any more.
                connection.execute(
                    "UPDATE packet SET state = 'held', hold_reason = ?1 WHERE stream_id = ?2 "
                    "AND (state = 'pending' OR (state = 'held' AND is_withdrawn = 0 "
                    "AND stamped_ms > ?3 AND hold_reason IS NOT ?1))",
                    (
                        why(state.stream_id) or UNPLANNED,
                        state.stream_id,
                        _newest((state.last_sent_ms,)),
                    ),
                )


def _held(outbox: Outbox, state: StreamState) -> list[tuple[int, int, int]]:
    # While packets may be on their way, what is older than they are has to wait (begin_sending).
    floors = (state.last_sent_ms, state.released_ms if state.is_sending else None)
    return outbox.connection.execute(
        "SELECT stamped_ms, filled_us, is_estimated FROM packet WHERE state = 'held' "
        "AND stream_id = ? AND is_withdrawn = 0 AND stamped_ms > ? ORDER BY stamped_ms",
        (state.stream_id, _newest(floors)),
    ).fetchall()


def _newest(stamps_ms: Iterable[int | None]) -> int:
    return max((ms for ms in stamps_ms if ms is not None), default=-(2**62))


def _walk(
    plan: StreamPlan,
    state: StreamState,
    held: list[tuple[int, int, int]],
    busy: list[BusyWindow],
    now: datetime,
    hold_for: timedelta,
) -> _Walk:
    step_ms = plan.interval // timedelta(milliseconds=1)
    newest_ms = _newest((state.released_ms, state.last_sent_ms))
    first_ms = plan.first_stamp_ms()
    expected_ms = _newest((newest_ms + step_ms, first_ms))
    if expected_ms < 0 and held:
        expected_ms = held[0][0]
    released_ms, checked_ms = None, -(2**62)
    for number, (stamped_ms, filled_us, is_estimated) in enumerate(held):
        # A stamp before the expected one fills an older hole: the sender orders by stamp.
        if stamped_ms > expected_ms:
            from_at = us_to_instant((expected_ms - step_ms) * 1000)
            to_at = us_to_instant((stamped_ms - step_ms) * 1000)
            if not _is_declared(plan, expected_ms, stamped_ms, step_ms):
                wait = _wait(plan, from_at, to_at, busy, us_to_instant(filled_us) + hold_for, now)
                if wait:
                    return _Walk(released_ms, replace(wait, n_packets=len(held) - number))
        if is_estimated and stamped_ms > checked_ms:
            # One reading anywhere in a stretch of estimates changes all of it.
            checked_ms = _end_of_estimates(held, number, step_ms)
            wait = None
            if not _is_declared(plan, stamped_ms, checked_ms + step_ms, step_ms):
                from_at = us_to_instant((stamped_ms - step_ms) * 1000)
                to_at = us_to_instant(checked_ms * 1000)
                wait = _wait_for_work(plan, "estimates", from_at, to_at, busy)
            if wait:
                return _Walk(released_ms, replace(wait, n_packets=len(held) - number))
        released_ms = stamped_ms
        expected_ms = max(expected_ms, stamped_ms + step_ms)
    return _Walk(released_ms, None)


def _end_of_estimates(held: list[tuple[int, int, int]], first: int, step_ms: int) -> int:
    """Return the last stamp of the unbroken stretch of estimates that begins at a packet."""
    end_ms = held[first][0]
    for stamped_ms, _, is_estimated in held[first + 1 :]:
        if not is_estimated or stamped_ms != end_ms + step_ms:
            break
        end_ms = stamped_ms
    return end_ms


def _concerns(window: BusyWindow, plan: StreamPlan) -> bool:
    return window.register_ids is None or not plan.register_ids.isdisjoint(window.register_ids)


def _is_declared(plan: StreamPlan, from_ms: int, to_ms: int, step_ms: int) -> bool:
    gaps = [
        (instant_to_us(from_at) // 1000, instant_to_us(to_at) // 1000)
        for from_at, to_at in plan.declared_missing
    ]
    return bool(gaps) and all(
        any(gap_from < stamp and gap_to > stamp - step_ms for gap_from, gap_to in gaps)
        for stamp in range(from_ms, to_ms, step_ms)
    )


def _wait(
    plan: StreamPlan,
    from_at: datetime,
    to_at: datetime,
    busy: list[BusyWindow],
    until_at: datetime,
    now: datetime,
) -> Wait | None:
    wait = _wait_for_work(plan, "hole", from_at, to_at, busy)
    if wait or now >= until_at:
        return wait
    sentence = (
        f"hole from {_text(from_at)} to {_text(to_at)}: waits until it is filled, "
        f"declared missing in gaps.csv, or {_text(until_at)}"
    )
    return Wait(plan.stream_id, 0, sentence, until_at)


def _wait_for_work(
    plan: StreamPlan, what: str, from_at: datetime, to_at: datetime, busy: list[BusyWindow]
) -> Wait | None:
    """Return the wait for a load or a backfill that will bring readings of the stretch."""
    for window in busy:
        if window.from_at < to_at and window.to_at > from_at:
            stretch = f"{what} from {_text(from_at)} to {_text(to_at)}"
            return Wait(plan.stream_id, 0, f"{stretch}: waits for {window.reason}", None)
    return None


def _write(
    outbox: Outbox, state: StreamState, held: list[tuple[int, int, int]], walk: _Walk
) -> int:
    execute = outbox.connection.execute
    stream_id = state.stream_id
    release_us = instant_to_us(walk.wait.until_at) if walk.wait and walk.wait.until_at else None
    execute(
        "UPDATE stream SET release_us = ? WHERE stream_id = ? AND release_us IS NOT ?",
        (release_us, stream_id, release_us),
    )
    execute(
        "UPDATE packet SET hold_reason = ? WHERE state = 'held' AND stream_id = ? "
        "AND is_withdrawn = 0 AND stamped_ms <= ? AND hold_reason IS NOT ?",
        (BEHIND, stream_id, state.last_sent_ms, BEHIND),
    )
    if walk.wait:
        execute(
            "UPDATE packet SET hold_reason = ? WHERE state = 'held' AND stream_id = ? "
            "AND is_withdrawn = 0 AND stamped_ms > ? AND hold_reason IS NOT ?",
            (
                walk.wait.sentence,
                stream_id,
                _newest((walk.released_ms, state.last_sent_ms)),
                walk.wait.sentence,
            ),
        )
    if walk.released_ms is None:
        return 0
    n_released = execute(
        "UPDATE packet SET state = 'pending', hold_reason = NULL WHERE state = 'held' "
        "AND stream_id = ? AND is_withdrawn = 0 AND stamped_ms BETWEEN ? AND ?",
        (stream_id, held[0][0], walk.released_ms),
    ).rowcount
    execute(
        "UPDATE stream SET released_ms = max(coalesce(released_ms, ?1), ?1) WHERE stream_id = ?2",
        (walk.released_ms, stream_id),
    )
    # A released packet may be on its way at any moment from now on, so what it used stays.
    execute(
        "UPDATE stream_offset AS o SET is_frozen = 1 WHERE stream_id = ?1 AND from_ms <= ?3 AND "
        "from_ms >= coalesce((SELECT max(from_ms) FROM stream_offset WHERE stream_id = ?1 "
        "AND field = o.field AND from_ms <= ?2), ?2) AND is_frozen = 0",
        (stream_id, held[0][0], walk.released_ms),
    )
    return n_released


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%MZ")
