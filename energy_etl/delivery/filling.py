"""What a fill does to the packets that are there: statements over the packets that came in.

Each is idempotent; together they are one transaction of `Outbox.fill`.
"""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.schema import EARLIEST_MS
from energy_etl.errors import DeliveryError
from energy_etl.state import instant_to_us, us_to_instant

# The + and CROSS JOIN make SQLite go through what came in and look each packet up: it would
# rather go through every packet that was ever there, and a small fill would take seconds.
_STATEMENTS: Final = {
    # An open packet: the newest body wins, wherever it stands.
    "updated": """UPDATE packet SET body = changed.body,
        body_before = iif(state = 'pending' AND (SELECT is_sending FROM stream WHERE
        stream.stream_id = packet.stream_id), coalesce(body_before, packet.body), NULL),
        state = iif(state = 'rejected', 'held', state)
        FROM temp.changed WHERE packet.stream_id = +changed.stream_id
        AND packet.stamped_ms = +changed.stamped_ms AND state IN ('held', 'pending', 'rejected')
        AND packet.body <> changed.body""",
    "measured": """UPDATE packet SET is_estimated = changed.is_estimated,
        is_incomplete = changed.is_incomplete
        FROM temp.changed WHERE packet.stream_id = +changed.stream_id
        AND packet.stamped_ms = +changed.stamped_ms AND (packet.is_estimated, packet.is_incomplete)
        <> (changed.is_estimated, changed.is_incomplete)""",
    # A delivered one keeps its body; what we would say today is told beside it.
    "corrected": """INSERT OR IGNORE INTO correction
        SELECT stream_id, stamped_ms, packet.body, changed.body, :now_us
        FROM temp.changed CROSS JOIN packet USING (stream_id, stamped_ms)
        WHERE state IN ('sent', 'confirmed', 'superseded') AND packet.body <> changed.body""",
    "superseded": """UPDATE packet SET state = 'superseded' FROM temp.changed
        WHERE packet.stream_id = +changed.stream_id
        AND packet.stamped_ms = +changed.stamped_ms AND state IN ('sent', 'confirmed')
        AND packet.body <> changed.body""",
    "restored": """UPDATE packet SET state = iif(confirmed_us IS NULL, 'sent', 'confirmed')
        FROM temp.changed WHERE packet.stream_id = +changed.stream_id
        AND packet.stamped_ms = +changed.stamped_ms AND state = 'superseded'
        AND packet.body = changed.body""",
    "returned": """UPDATE packet SET is_withdrawn = 0
        FROM temp.changed WHERE packet.stream_id = +changed.stream_id
        AND packet.stamped_ms = +changed.stamped_ms AND is_withdrawn = 1 AND state = 'held'""",
    # What was dropped is there, so it is not added again.
    "added": """INSERT INTO packet
        (stream_id, stamped_ms, body, is_estimated, is_incomplete, state, filled_us)
        SELECT stream_id, changed.stamped_ms, changed.body, changed.is_estimated,
        changed.is_incomplete, 'held', :now_us
        FROM temp.changed WHERE NOT EXISTS (SELECT 1 FROM packet WHERE
        packet.stream_id = changed.stream_id AND packet.stamped_ms = changed.stamped_ms)""",
    # Missing in what came in whole. What may be on its way is not withdrawn; once it arrived it is
    # told as a correction.
    "withdrawn": """UPDATE packet SET state = 'held', is_withdrawn = 1 FROM temp.missing
        WHERE packet.stream_id = +missing.stream_id AND packet.stamped_ms = +missing.stamped_ms
        AND is_withdrawn = 0 AND (state IN ('held', 'rejected') OR (state = 'pending' AND NOT
        (SELECT is_sending FROM stream WHERE stream.stream_id = packet.stream_id)))""",
    # Of before the stream's start nobody says anything any more, so what was sent stays.
    "vanished": """INSERT OR IGNORE INTO correction SELECT stream_id, stamped_ms, body, '', :now_us
        FROM temp.missing CROSS JOIN packet USING (stream_id, stamped_ms)
        WHERE state IN ('sent', 'confirmed') AND NOT is_before_start""",
    "vanished_state": """UPDATE packet SET state = 'superseded' FROM temp.missing
        WHERE packet.stream_id = +missing.stream_id AND packet.stamped_ms = +missing.stamped_ms
        AND state IN ('sent', 'confirmed') AND NOT is_before_start""",
}
# Asked before anything is locked: of a year of many streams a few packets change, and looking each
# up under the lock would keep acknowledgements waiting. What a sender notes meanwhile makes no
# packet that is as it came in another one, and the statements look at each state again.
_ASKED: Final = (
    """INSERT INTO temp.changed SELECT incoming.* FROM temp.incoming
        LEFT JOIN packet USING (stream_id, stamped_ms) WHERE packet.body IS NOT incoming.body
        OR is_withdrawn OR state = 'superseded' OR (packet.is_estimated, packet.is_incomplete)
        <> (incoming.is_estimated, incoming.is_incomplete)""",
    """INSERT INTO temp.missing SELECT stream_id, stamped_ms, stamped_ms < from_ms
        FROM temp.whole CROSS JOIN packet USING (stream_id)
        WHERE state IN ('held', 'rejected', 'pending', 'sent', 'confirmed')
        AND NOT is_withdrawn AND NOT EXISTS (SELECT 1 FROM temp.incoming WHERE
        incoming.stream_id = packet.stream_id AND incoming.stamped_ms = packet.stamped_ms)""",
)
_CLEAR: Final = (
    "DELETE FROM temp.incoming",
    "DELETE FROM temp.whole",
    "DELETE FROM temp.changed",
    "DELETE FROM temp.missing",
)

Row = tuple[str, int, str, bool, bool]


class OffsetsMovedError(DeliveryError):
    """Packets were released while others were computed with the offsets of before."""


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


def bring_in(
    connection: sqlite3.Connection, rows: Collection[Row], whole: Iterable[StreamPlan]
) -> None:
    """Put the packets, and the streams that they are all of, beside those that are there."""
    clear(connection)
    connection.executemany("INSERT INTO temp.incoming VALUES (?, ?, ?, ?, ?)", rows)
    starts = [(plan.stream_id, plan.first_stamp_ms() or EARLIEST_MS) for plan in whole]
    connection.executemany("INSERT INTO temp.whole VALUES (?, ?)", starts)
    for statement in _ASKED:
        connection.execute(statement)


def take_in(connection: sqlite3.Connection, now: datetime, n_before_start: int) -> FillResult:
    """Make the packets what those that were brought in say; within a transaction."""
    arguments = {"now_us": instant_to_us(now)}
    n = {name: connection.execute(sql, arguments).rowcount for name, sql in _STATEMENTS.items()}
    return FillResult(
        n_added=n["added"],
        n_updated=n["updated"] + n["restored"] + n["returned"],
        n_corrected=n["corrected"] + n["vanished"],
        n_withdrawn=n["withdrawn"],
        n_before_start=n_before_start,
    )


def clear(connection: sqlite3.Connection) -> None:
    """Forget what was brought in."""
    for statement in _CLEAR:
        connection.execute(statement)


def write_offsets(
    connection: sqlite3.Connection, offsets: pl.DataFrame, there: pl.DataFrame
) -> None:
    """Replace the offsets that no released packet used; within a transaction.

    Args:
        connection: the state file.
        offsets: the step functions that bodies were computed with.
        there: those of now (`Outbox.offsets`).

    Raises:
        OffsetsMovedError: they were computed before a release that used them.
    """
    # By field: one that the stream had once keeps what was used, and nobody computes it any more.
    frozen_now = there.filter("is_frozen").join(offsets, on=["stream_id", "field"], how="semi")
    frozen_then = offsets.filter("is_frozen").select(frozen_now.columns)
    if set(frozen_now.rows()) != set(frozen_then.rows()):
        raise OffsetsMovedError(
            "Packets of these streams were released while their offsets were computed: "
            "nothing was filled, compute the packets again from the offsets of now."
        )
    connection.executemany(
        "DELETE FROM stream_offset WHERE stream_id = ? AND is_frozen = 0",
        [(stream_id,) for stream_id in set(offsets["stream_id"])],
    )
    rows = offsets.filter(~pl.col("is_frozen")).select(
        "stream_id", "field", pl.col("from_at").dt.epoch("ms"), "offset_wh", "fed_by"
    )
    connection.executemany(
        "INSERT INTO stream_offset (stream_id, field, from_ms, offset_wh, fed_by) "
        "VALUES (?, ?, ?, ?, ?)",
        rows.rows(),
    )


def to_rows(packets: pl.DataFrame, by_stream: Mapping[str, StreamPlan]) -> tuple[list[Row], int]:
    """Return the packets by stream and stamp, and how many lie before their stream's start.

    Raises:
        DeliveryError: a packet of an unknown stream, or two packets of one stamp.
    """
    unknown = set(packets["stream_id"]) - set(by_stream)
    if unknown:
        raise DeliveryError(
            f"There are packets of {', '.join(sorted(unknown)[:5])} but no such streams: "
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
