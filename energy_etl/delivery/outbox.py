"""The outbox: every packet, its state and why it waits, in `state.sqlite`.

    held ──release──> pending ──200──> sent ──read-back──> confirmed
                         │                 └── value changed later ──> superseded (still delivered)
                         └──400, 413, 422──> rejected
    held, pending, rejected ──a person gives it up──> dropped
    sent, confirmed, superseded ──the vendor forgot it, a person resends──> pending

Filling is idempotent. A packet that was delivered is never sent again by itself: a changed value
becomes a row of `correction`. A packet behind the last one sent is held for good, never sent out
of order.

Not here: what a fill does to which packet (`filling.py`), which held packets may go
(`frontier.py`), sending (`sender.py`), what a vendor forgot (`resending.py`), frames for people
(`mirror.py`), what a body says (the vendor's `packets.py`).
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import polars as pl

from energy_etl.delivery import filling
from energy_etl.delivery.filling import FillResult
from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.schema import (
    BEHIND,
    EARLIEST_MS,
    NOT_RELEASED,
    WITHDRAWN,
    State,
    create_tables,
)
from energy_etl.errors import DeliveryError
from energy_etl.state import instant_to_us, path_of, transaction, us_to_instant

__all__ = [
    "BEHIND",
    "NOT_RELEASED",
    "WITHDRAWN",
    "DueSummary",
    "FillResult",
    "Outbox",
    "State",
    "StreamState",
    "ms_to_instant",
]


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where one stream stands."""

    stream_id: str
    credential: str
    released_ms: int | None
    last_sent_ms: int | None
    last_confirmed_ms: int | None
    parked_reason: str | None
    is_sending: bool
    is_historical: bool
    is_confirmable: bool

    def is_due(self, n_pending: int, n_sent: int) -> bool:
        """True when there is something to send, to read back, or to settle after a kill."""
        return bool(n_pending or self.is_sending or (n_sent and self.is_confirmable))


@dataclass(frozen=True, slots=True)
class DueSummary:
    """What a sensor needs to know: cheap to read every few seconds."""

    stream_ids: tuple[str, ...]
    n_parked: int
    next_retry_at: datetime | None
    next_release_at: datetime | None


# With the hint, here and elsewhere: SQLite would go through all that was ever sent of the stream.
_PENDING: Final = """SELECT stamped_ms, body, body_before FROM packet INDEXED BY packet_by_state
    WHERE state = 'pending' AND stream_id = ? AND stamped_ms > ? ORDER BY stamped_ms LIMIT ?"""


class Outbox:
    """The packets of all streams; one instance per connection, hence per thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on a connection of `state.connect`; makes the tables when they are new."""
        self.connection = connection
        create_tables(connection)

    @property
    def path(self) -> str:
        """The state file."""
        return path_of(self.connection)

    def fill(
        self,
        packets: pl.DataFrame,
        plans: Iterable[StreamPlan],
        *,
        offsets: pl.DataFrame | None = None,
        is_whole: bool = False,
        now: datetime | None = None,
    ) -> FillResult:
        """Take packets in, all or none; the same again changes nothing.

        Args:
            packets: stream_id, stamped_at (UTC), body and, where some are, is_estimated and
                is_incomplete (fields are missing in it that may still come); one row per packet,
                any order.
            plans: the agreed streams; packets of before a stream's start are left out.
            offsets: the step functions that the bodies were computed with (`offsets()` first).
            is_whole: the frame is everything that the plans' streams have to say, so what is
                missing in it is withdrawn, or told as a correction when it was delivered.
            now: when; default the clock.

        Raises:
            DeliveryError: a packet of an unknown stream, two packets of one stamp, or offsets
                that were computed before a release that used them.
        """
        by_stream = {plan.stream_id: plan for plan in plans}
        rows, n_before_start = filling.to_rows(packets, by_stream)
        filling.bring_in(self.connection, rows, by_stream.values() if is_whole else ())
        with transaction(self.connection):
            self._write_plans(by_stream.values())
            if offsets is not None:
                filling.write_offsets(self.connection, offsets, self.offsets())
            result = filling.take_in(self.connection, now or datetime.now(UTC), n_before_start)
        filling.clear(self.connection)
        return result

    def offsets(self) -> pl.DataFrame:
        """Return stream_id, field, from_at, offset_wh, is_frozen, used_to_at, used_wh, fed_by.

        used_to_at, used_wh: of frozen ones the newest released packet that has the field (others
        went without it) and its number there. fed_by: the register, '' for files, null: not known.
        """
        rows = self.connection.execute(
            "WITH step AS (SELECT o.*, iif(is_frozen, (SELECT stamped_ms FROM packet WHERE "
            "packet.stream_id = o.stream_id AND stamped_ms <= released_ms AND state <> 'held' "
            "AND instr(body, '\"' || field || '\":') ORDER BY stamped_ms DESC LIMIT 1), NULL) "
            "AS used_to_ms FROM stream_offset AS o LEFT JOIN stream USING (stream_id)) "
            "SELECT stream_id, field, from_ms, offset_wh, is_frozen, used_to_ms, (SELECT body ->> "
            "field FROM packet WHERE packet.stream_id = step.stream_id "
            "AND stamped_ms = used_to_ms), fed_by FROM step ORDER BY stream_id, field, from_ms"
        ).fetchall()
        schema = {
            "stream_id": pl.String,
            "field": pl.String,
            "from_ms": pl.Int64,
            "offset_wh": pl.Float64,
            "is_frozen": pl.Boolean,
            "used_to_ms": pl.Int64,
            "used_wh": pl.Float64,
            "fed_by": pl.String,
        }
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        return frame.select(
            "stream_id",
            "field",
            ms_to_instant("from_ms").alias("from_at"),
            "offset_wh",
            "is_frozen",
            ms_to_instant("used_to_ms").alias("used_to_at"),
            "used_wh",
            "fed_by",
        )

    def streams(self, stream_id: str | None = None) -> list[StreamState]:
        """Return every stream that was ever filled (or this one), by id."""
        rows = self.connection.execute(
            "SELECT stream_id, credential, released_ms, last_sent_ms, last_confirmed_ms, "
            "parked_reason, is_sending, is_historical, is_confirmable FROM stream "
            "WHERE ?1 IS NULL OR stream_id = ?1 ORDER BY stream_id",
            (stream_id,),
        )
        return [StreamState(*row[:-3], *map(bool, row[-3:])) for row in rows]

    def dropped_stamps_ms(self, stream_id: str, from_ms: int, to_ms: int) -> set[int]:
        """Return the stamps of a stream's dropped packets within [from_ms, to_ms)."""
        rows = self.connection.execute(
            "SELECT stamped_ms FROM packet WHERE state = 'dropped' AND stream_id = ? "
            "AND stamped_ms >= ? AND stamped_ms < ?",
            (stream_id, from_ms, to_ms),
        )
        return {row[0] for row in rows}

    def pending_stamps_ms(self, stream_id: str, after_ms: int | None, up_to_ms: int) -> list[int]:
        """Return the stamps of a stream's pending packets within (after_ms, up_to_ms], sorted."""
        rows = self.connection.execute(
            "SELECT stamped_ms FROM packet WHERE state = 'pending' AND stream_id = ? "
            "AND stamped_ms > ? AND stamped_ms <= ? ORDER BY stamped_ms",
            (stream_id, EARLIEST_MS if after_ms is None else after_ms, up_to_ms),
        )
        return [row[0] for row in rows]

    def pending(
        self, stream_id: str, after_ms: int | None = None, limit: int = 200
    ) -> list[tuple[int, str]]:
        """Return (stamped_ms, body) of a stream's pending packets after a stamp, oldest first.

        They may be sent: a body that a fill puts in from now on keeps the returned one beside it.
        """
        arguments = (stream_id, EARLIEST_MS if after_ms is None else after_ms, limit)
        rows = self.connection.execute(_PENDING, arguments).fetchall()
        if any(body_before is not None for _, _, body_before in rows):
            with transaction(self.connection) as connection:
                rows = connection.execute(_PENDING, arguments).fetchall()
                connection.executemany(
                    "UPDATE packet SET body_before = NULL WHERE stream_id = ? AND stamped_ms = ?",
                    [(stream_id, stamped_ms) for stamped_ms, _, _ in rows],
                )
        return [(stamped_ms, body) for stamped_ms, body, _ in rows]

    def count(self, state: State, stream_id: str | None = None) -> int:
        """Count the packets of a state, of one stream or of all."""
        if stream_id is None:
            found = self.connection.execute("SELECT count(*) FROM packet WHERE state = ?", (state,))
        else:
            # In a query of its own: with `? IS NULL OR` it walked through the packets of all.
            found = self.connection.execute(
                "SELECT count(*) FROM packet WHERE state = ? AND stream_id = ?", (state, stream_id)
            )
        return found.fetchone()[0]

    def due(self, now: datetime) -> DueSummary:
        """Say which streams have something to send, to confirm or to settle, and what waits."""
        now_us = instant_to_us(now)
        rows = self.connection.execute(
            "SELECT stream_id, retry_us FROM stream WHERE parked_reason IS NULL AND (is_sending OR "
            "EXISTS (SELECT 1 FROM packet WHERE state = 'pending' AND "
            "packet.stream_id = stream.stream_id) OR is_confirmable AND "
            "EXISTS (SELECT 1 FROM packet WHERE state = 'sent' AND "
            "packet.stream_id = stream.stream_id)) ORDER BY stream_id"
        ).fetchall()
        n_parked, release_us = self.connection.execute(
            "SELECT count(parked_reason), min(release_us) FROM stream"
        ).fetchone()
        later = [retry_us for _, retry_us in rows if retry_us is not None and retry_us > now_us]
        return DueSummary(
            stream_ids=tuple(s for s, retry_us in rows if retry_us is None or retry_us <= now_us),
            n_parked=n_parked,
            next_retry_at=us_to_instant(min(later)) if later else None,
            next_release_at=None if release_us is None else us_to_instant(release_us),
        )

    def begin_sending(self, stream_ids: Iterable[str]) -> None:
        """Note that packets of these streams may be on their way from now on.

        Until that is settled again, nothing older than what is released already is released: so
        all that is pending up to the vendor's last packet is known to have arrived.
        """
        ids = [(stream_id,) for stream_id in stream_ids]
        with transaction(self.connection):
            self.connection.executemany("UPDATE stream SET is_sending = 1 WHERE stream_id = ?", ids)
            # What came to lie behind the last one sent since its release.
            self.connection.execute(
                "UPDATE packet SET state = 'held' FROM stream WHERE state = 'pending' "
                "AND packet.stream_id = stream.stream_id AND stamped_ms <= last_sent_ms "
                "AND NOT is_historical"
            )

    def retry(
        self, stream_ids: Sequence[str] | None = None, *, credential: str | None = None
    ) -> int:
        """Unpark streams and give their rejected packets another chance; return how many packets.

        Packets that are behind the last one sent by now are held, not sent. A stream that was
        parked for a packet that we did not send goes on behind that one; is it one of ours that is
        pending (this file was restored from a copy), it is asked for and counts as sent.

        Args:
            stream_ids: only these; None: all.
            credential: only streams of this credential set; None: of any.
        """
        wanted = None if stream_ids is None else set(stream_ids)
        n_packets = 0
        with transaction(self.connection) as connection:
            for state in self.streams():
                if wanted is not None and state.stream_id not in wanted:
                    continue
                if credential is not None and state.credential != credential:
                    continue
                self._go_on_behind_others(state.stream_id)
                self.unpark(state.stream_id)
                n_packets += connection.execute(
                    "UPDATE packet SET state = 'held' WHERE state = 'rejected' AND stream_id = ?",
                    (state.stream_id,),
                ).rowcount
        return n_packets

    def unpark_changed(self, fingerprints: Mapping[str, str]) -> int:
        """Let streams go on whose refused credential is another one by now; return how many.

        Args:
            fingerprints: those of the settings, by name of the credential set.
        """
        refused = [
            (stream_id, credential, refused_by)
            for stream_id, credential, refused_by in self.connection.execute(
                "SELECT stream_id, credential, refused_by FROM stream WHERE refused_by IS NOT NULL"
            )
        ]
        mended = [
            stream_id
            for stream_id, credential, refused_by in refused
            if fingerprints.get(credential, refused_by) != refused_by
        ]
        if mended:
            with transaction(self.connection):
                for stream_id in mended:
                    self.unpark(stream_id)
        return len(mended)

    def unpark(self, stream_id: str) -> None:
        """Let a stream go on where it stands; within a transaction."""
        self.connection.execute(
            "UPDATE stream SET parked_reason = NULL, parked_us = NULL, refused_by = NULL, "
            "others_ms = NULL, forgot_ms = NULL, retry_us = NULL, n_failures = 0, failure = NULL "
            "WHERE stream_id = ?",
            (stream_id,),
        )

    def drop(self, stream_id: str, from_ms: int, to_ms: int, reason: str) -> int:
        """Give up what was not delivered of [from_ms, to_ms): for good, and on the record.

        Dropped packets are never sent, no fill brings them back, and nothing waits for them.

        Args:
            stream_id: the stream.
            from_ms: stamp of the first packet that may be given up.
            to_ms: stamp of the first one behind them.
            reason: why, for those who ask later.

        Returns:
            How many packets were given up.

        Raises:
            DeliveryError: packets of the stream may be on their way.
        """
        with transaction(self.connection) as connection:
            if any(state.is_sending for state in self.streams(stream_id)):
                raise DeliveryError(
                    f"Packets of stream {stream_id} may be on their way: nothing was given up; "
                    "wait until the send run has ended (or start one, when it was killed), then "
                    "drop them again."
                )
            return connection.execute(
                "UPDATE packet SET state = 'dropped', hold_reason = ? WHERE stream_id = ? "
                "AND state IN ('held', 'pending', 'rejected') AND stamped_ms >= ? "
                "AND stamped_ms < ?",
                (f"given up: {reason}", stream_id, from_ms, to_ms),
            ).rowcount

    def _go_on_behind_others(self, stream_id: str) -> None:
        (others_ms,) = self.connection.execute(
            "SELECT others_ms FROM stream WHERE stream_id = ?", (stream_id,)
        ).fetchone()
        if others_ms is None:
            return
        if self.pending_stamps_ms(stream_id, others_ms - 1, others_ms):
            self.connection.execute(
                "UPDATE stream SET is_sending = 1 WHERE stream_id = ?", (stream_id,)
            )
        else:
            self.connection.execute(
                "UPDATE stream SET last_sent_ms = max(coalesce(last_sent_ms, ?1), ?1) "
                "WHERE stream_id = ?2",
                (others_ms, stream_id),
            )

    def _write_plans(self, plans: Iterable[StreamPlan]) -> None:
        self.connection.executemany(
            "INSERT INTO stream (stream_id, credential, is_historical) VALUES (?, ?, ?) "
            "ON CONFLICT (stream_id) DO UPDATE SET credential = excluded.credential, "
            "is_historical = excluded.is_historical WHERE (credential, is_historical) <> "
            "(excluded.credential, excluded.is_historical)",
            [(plan.stream_id, plan.credential, plan.is_historical) for plan in plans],
        )


def ms_to_instant(column: str) -> pl.Expr:
    """Whole milliseconds of 1970 as an instant."""
    return (pl.col(column) * 1000).cast(pl.Datetime("us", "UTC"))
