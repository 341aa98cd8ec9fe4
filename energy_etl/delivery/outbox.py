"""The outbox: every packet, its state and why it waits, in `state.sqlite`.

    held ──release──> pending ──200──> sent ──read-back──> confirmed
                         │                 └── value changed later ──> superseded (still delivered)
                         └──400, 413, 422──> rejected

Filling is idempotent. A packet that was delivered is never sent again: a changed value becomes a
row of `correction`. A packet behind the last one sent is held for good, never sent out of order.

Not here: which held packets may go (`frontier.py`), sending (`sender.py`), frames for people
(`mirror.py`), what a body says (the vendor's `packets.py`).
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import polars as pl

from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.schema import create_tables
from energy_etl.errors import DeliveryError
from energy_etl.state import instant_to_us, path_of, transaction, us_to_instant

State = Literal["held", "pending", "sent", "confirmed", "rejected", "superseded"]
NOT_RELEASED: Final = "not yet released"
BEHIND: Final = "behind the last packet sent: the vendor takes packets in chronological order only"
WITHDRAWN: Final = "withdrawn: its interval may no longer be delivered"

_FILL: Final = {
    # An open packet: the newest body wins, wherever it stands.
    "updated": """UPDATE packet SET body = incoming.body,
        body_before = iif(state = 'pending' AND (SELECT is_sending FROM stream WHERE
        stream.stream_id = packet.stream_id), coalesce(body_before, packet.body), NULL),
        hold_reason = iif(state = 'rejected', :not_released, hold_reason),
        state = iif(state = 'rejected', 'held', state)
        FROM temp.incoming WHERE (packet.stream_id, packet.stamped_ms) = (incoming.stream_id,
        incoming.stamped_ms) AND state IN ('held', 'pending', 'rejected')
        AND packet.body <> incoming.body""",
    "measured": """UPDATE packet SET is_estimated = incoming.is_estimated,
        is_incomplete = incoming.is_incomplete
        FROM temp.incoming WHERE (packet.stream_id, packet.stamped_ms) = (incoming.stream_id,
        incoming.stamped_ms) AND (packet.is_estimated, packet.is_incomplete)
        <> (incoming.is_estimated, incoming.is_incomplete)""",
    # A delivered one keeps its body; what we would say today is told beside it.
    "corrected": """INSERT OR IGNORE INTO correction
        SELECT stream_id, stamped_ms, packet.body, incoming.body, :now_us
        FROM temp.incoming JOIN packet USING (stream_id, stamped_ms)
        WHERE state IN ('sent', 'confirmed', 'superseded') AND packet.body <> incoming.body""",
    "superseded": """UPDATE packet SET state = 'superseded' FROM temp.incoming
        WHERE (packet.stream_id, packet.stamped_ms) = (incoming.stream_id,
        incoming.stamped_ms) AND state IN ('sent', 'confirmed') AND packet.body <> incoming.body""",
    "restored": """UPDATE packet SET state = iif(confirmed_us IS NULL, 'sent', 'confirmed')
        FROM temp.incoming WHERE (packet.stream_id, packet.stamped_ms) = (incoming.stream_id,
        incoming.stamped_ms) AND state = 'superseded' AND packet.body = incoming.body""",
    "returned": """UPDATE packet SET is_withdrawn = 0, hold_reason = :not_released
        FROM temp.incoming WHERE (packet.stream_id, packet.stamped_ms) = (incoming.stream_id,
        incoming.stamped_ms) AND is_withdrawn = 1 AND state = 'held'""",
    "added": """INSERT INTO packet
        (stream_id, stamped_ms, body, is_estimated, is_incomplete, state, hold_reason, filled_us)
        SELECT stream_id, incoming.stamped_ms, incoming.body, incoming.is_estimated,
        incoming.is_incomplete, 'held', :not_released, :now_us
        FROM temp.incoming WHERE NOT EXISTS (SELECT 1 FROM packet WHERE
        packet.stream_id = incoming.stream_id AND packet.stamped_ms = incoming.stamped_ms)""",
    # What may be on its way is not withdrawn; once it arrived it is told as a correction.
    "withdrawn": """UPDATE packet SET state = 'held', is_withdrawn = 1, hold_reason = :withdrawn
        WHERE stream_id IN (SELECT stream_id FROM temp.whole) AND is_withdrawn = 0
        AND (state IN ('held', 'rejected') OR (state = 'pending' AND NOT (SELECT is_sending
        FROM stream WHERE stream.stream_id = packet.stream_id)))
        AND NOT EXISTS (SELECT 1 FROM temp.incoming WHERE
        incoming.stream_id = packet.stream_id AND incoming.stamped_ms = packet.stamped_ms)""",
    "vanished": """INSERT OR IGNORE INTO correction
        SELECT stream_id, stamped_ms, body, '', :now_us FROM packet
        WHERE stream_id IN (SELECT stream_id FROM temp.whole)
        AND state IN ('sent', 'confirmed') AND NOT EXISTS (SELECT 1 FROM temp.incoming WHERE
        incoming.stream_id = packet.stream_id AND incoming.stamped_ms = packet.stamped_ms)""",
    "vanished_state": """UPDATE packet SET state = 'superseded'
        WHERE stream_id IN (SELECT stream_id FROM temp.whole)
        AND state IN ('sent', 'confirmed') AND NOT EXISTS (SELECT 1 FROM temp.incoming WHERE
        incoming.stream_id = packet.stream_id AND incoming.stamped_ms = packet.stamped_ms)""",
}


@dataclass(frozen=True, slots=True)
class FillResult:
    """What a fill changed; all 0 when everything was there already."""

    n_added: int = 0
    n_updated: int = 0
    n_corrected: int = 0
    n_withdrawn: int = 0
    n_before_start: int = 0

    @property
    def has_changes(self) -> bool:
        """True when anything was written."""
        return bool(self.n_added or self.n_updated or self.n_corrected or self.n_withdrawn)


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


@dataclass(frozen=True, slots=True)
class DueSummary:
    """What a sensor needs to know: cheap to read every few seconds."""

    stream_ids: tuple[str, ...]
    n_parked: int
    next_retry_at: datetime | None
    next_release_at: datetime | None


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
        rows, n_before_start = _rows(packets, by_stream)
        execute = self.connection.execute
        execute("DELETE FROM temp.incoming")
        execute("DELETE FROM temp.whole")
        self.connection.executemany("INSERT INTO temp.incoming VALUES (?, ?, ?, ?, ?)", rows)
        if is_whole:
            self.connection.executemany(
                "INSERT INTO temp.whole VALUES (?)", [(s,) for s in by_stream]
            )
        arguments = {
            "now_us": instant_to_us(now or datetime.now(UTC)),
            "not_released": NOT_RELEASED,
            "withdrawn": WITHDRAWN,
        }
        with transaction(self.connection):
            self._write_plans(by_stream.values())
            if offsets is not None:
                self._write_offsets(offsets)
            n = {name: execute(sql, arguments).rowcount for name, sql in _FILL.items()}
            self._hold_behind("held")
        execute("DELETE FROM temp.incoming")
        return FillResult(
            n_added=n["added"],
            n_updated=n["updated"] + n["restored"] + n["returned"],
            n_corrected=n["corrected"] + n["vanished"],
            n_withdrawn=n["withdrawn"],
            n_before_start=n_before_start,
        )

    def offsets(self) -> pl.DataFrame:
        """Return stream_id, field, from_at, offset_wh, is_frozen, used_to_at (newest released)."""
        rows = self.connection.execute(
            "SELECT stream_id, field, from_ms, offset_wh, is_frozen, "
            "iif(is_frozen, released_ms, NULL) FROM stream_offset LEFT JOIN stream "
            "USING (stream_id) ORDER BY stream_id, field, from_ms"
        ).fetchall()
        schema = {
            "stream_id": pl.String,
            "field": pl.String,
            "from_ms": pl.Int64,
            "offset_wh": pl.Float64,
            "is_frozen": pl.Boolean,
            "used_to_ms": pl.Int64,
        }
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        return frame.select(
            "stream_id",
            "field",
            ms_to_instant("from_ms").alias("from_at"),
            "offset_wh",
            "is_frozen",
            ms_to_instant("used_to_ms").alias("used_to_at"),
        )

    def streams(self) -> list[StreamState]:
        """Return every stream that was ever filled, by id."""
        rows = self.connection.execute(
            "SELECT stream_id, credential, released_ms, last_sent_ms, last_confirmed_ms, "
            "parked_reason, is_sending, is_historical FROM stream ORDER BY stream_id"
        )
        return [
            StreamState(*row[:-2], is_sending=bool(row[-2]), is_historical=bool(row[-1]))
            for row in rows
        ]

    def pending_stamps_ms(self, stream_id: str, after_ms: int | None, up_to_ms: int) -> list[int]:
        """Return the stamps of a stream's pending packets within (after_ms, up_to_ms], sorted."""
        rows = self.connection.execute(
            "SELECT stamped_ms FROM packet WHERE state = 'pending' AND stream_id = ? "
            "AND stamped_ms > ? AND stamped_ms <= ? ORDER BY stamped_ms",
            (stream_id, -(2**62) if after_ms is None else after_ms, up_to_ms),
        )
        return [row[0] for row in rows]

    def pending(
        self, stream_id: str, after_ms: int | None = None, limit: int = 200
    ) -> list[tuple[int, str]]:
        """Return (stamped_ms, body) of a stream's pending packets after a stamp, oldest first."""
        return self.connection.execute(
            "SELECT stamped_ms, body FROM packet WHERE state = 'pending' AND stream_id = ? "
            "AND stamped_ms > ? ORDER BY stamped_ms LIMIT ?",
            (stream_id, -(2**62) if after_ms is None else after_ms, limit),
        ).fetchall()

    def count(self, state: State, stream_id: str | None = None) -> int:
        """Count the packets of a state, of one stream or of all."""
        return self.connection.execute(
            "SELECT count(*) FROM packet WHERE state = ? AND (? IS NULL OR stream_id = ?)",
            (state, stream_id, stream_id),
        ).fetchone()[0]

    def due(self, now: datetime) -> DueSummary:
        """Say which streams have something to send or to confirm now, and what waits for when."""
        now_us = instant_to_us(now)
        rows = self.connection.execute(
            "SELECT stream_id, retry_us FROM stream WHERE parked_reason IS NULL AND ("
            "EXISTS (SELECT 1 FROM packet WHERE state = 'pending' AND "
            "packet.stream_id = stream.stream_id) OR "
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
            self.connection.executemany(
                "UPDATE packet SET body_before = NULL WHERE state = 'pending' AND stream_id = ?1 "
                "AND body_before IS NOT NULL AND (SELECT NOT is_sending FROM stream "
                "WHERE stream_id = ?1)",
                ids,
            )
            self.connection.executemany("UPDATE stream SET is_sending = 1 WHERE stream_id = ?", ids)
            self._hold_behind("pending")

    def retry(self, stream_ids: Sequence[str] | None = None) -> int:
        """Unpark streams and give their rejected packets another chance; return how many packets.

        Packets that are behind the last one sent by now are held, not sent.
        """
        ids = [s.stream_id for s in self.streams()] if stream_ids is None else list(stream_ids)
        n_packets = 0
        with transaction(self.connection) as connection:
            for stream_id in ids:
                connection.execute(
                    "UPDATE stream SET parked_reason = NULL, parked_us = NULL, refused_by = NULL, "
                    "retry_us = NULL, n_failures = 0, failure = NULL WHERE stream_id = ?",
                    (stream_id,),
                )
                n_packets += connection.execute(
                    "UPDATE packet SET state = 'held', hold_reason = ? "
                    "WHERE state = 'rejected' AND stream_id = ?",
                    (NOT_RELEASED, stream_id),
                ).rowcount
            self._hold_behind("held")
        return n_packets

    def _hold_behind(self, state: State) -> int:
        return self.connection.execute(
            "UPDATE packet SET state = 'held', hold_reason = :behind FROM stream "
            "WHERE packet.stream_id = stream.stream_id AND state = :state AND is_withdrawn = 0 "
            "AND stamped_ms <= last_sent_ms AND hold_reason IS NOT :behind AND NOT is_historical",
            {"behind": BEHIND, "state": state},
        ).rowcount

    def _write_plans(self, plans: Iterable[StreamPlan]) -> None:
        self.connection.executemany(
            "INSERT INTO stream (stream_id, credential, is_historical) VALUES (?, ?, ?) "
            "ON CONFLICT (stream_id) DO UPDATE SET credential = excluded.credential, "
            "is_historical = excluded.is_historical WHERE (credential, is_historical) <> "
            "(excluded.credential, excluded.is_historical)",
            [(plan.stream_id, plan.credential, plan.is_historical) for plan in plans],
        )

    def _write_offsets(self, offsets: pl.DataFrame) -> None:
        given = set(offsets["stream_id"])
        frozen_now = self.offsets().filter("is_frozen", pl.col("stream_id").is_in(list(given)))
        frozen_then = offsets.filter("is_frozen").select(frozen_now.columns)
        if set(frozen_now.rows()) != set(frozen_then.rows()):
            raise DeliveryError(
                "Packets of these streams were released while their offsets were computed: "
                "nothing was filled, compute the packets again from the offsets of now."
            )
        self.connection.executemany(
            "DELETE FROM stream_offset WHERE stream_id = ? AND is_frozen = 0",
            [(stream_id,) for stream_id in given],
        )
        rows = offsets.filter(~pl.col("is_frozen")).select(
            "stream_id", "field", pl.col("from_at").dt.epoch("ms"), "offset_wh"
        )
        self.connection.executemany(
            "INSERT INTO stream_offset (stream_id, field, from_ms, offset_wh) VALUES (?, ?, ?, ?)",
            rows.rows(),
        )


def ms_to_instant(column: str) -> pl.Expr:
    """Whole milliseconds of 1970 as an instant."""
    return (pl.col(column) * 1000).cast(pl.Datetime("us", "UTC"))


def _rows(
    packets: pl.DataFrame, by_stream: dict[str, StreamPlan]
) -> tuple[list[tuple[str, int, str, bool, bool]], int]:
    unknown = set(packets["stream_id"]) - set(by_stream)
    if unknown:
        raise DeliveryError(
            f"There are packets of {sorted(unknown)[:5]} but no such streams: "
            "add them to streams.csv of the portfolio, or leave the packets out."
        )
    first = pl.DataFrame(
        [(s, plan.first_stamp_ms()) for s, plan in by_stream.items()],
        schema={"stream_id": pl.String, "first_ms": pl.Int64},
        orient="row",
    )
    is_estimated, is_incomplete = (
        name if name in packets.columns else pl.lit(False)
        for name in ("is_estimated", "is_incomplete")
    )
    frame = packets.select(
        "stream_id",
        pl.col("stamped_at").dt.epoch("ms").alias("ms"),
        "body",
        is_estimated=is_estimated,
        is_incomplete=is_incomplete,
    )
    kept = (
        frame.join(first, on="stream_id")
        .filter(pl.col("first_ms").is_null() | (pl.col("ms") >= pl.col("first_ms")))
        .sort("stream_id", "ms")
    )
    double = kept.filter(pl.struct("stream_id", "ms").is_duplicated())
    if not double.is_empty():
        raise DeliveryError(
            f"Stream {double['stream_id'][0]} has two packets of the same millisecond "
            f"({us_to_instant(double['ms'][0] * 1000).isoformat()}): nothing was filled; "
            "check which registers feed it in streams.csv."
        )
    rows = kept.select("stream_id", "ms", "body", "is_estimated", "is_incomplete").rows()
    return rows, frame.height - kept.height
