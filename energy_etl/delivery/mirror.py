"""The outbox as frames, and layer `push` as its mirror for people. Nothing is decided here.

Showing a year of many streams anew after each run would take longer than the run. The outbox keeps
(by triggers) from which stamp on each stream changed since the last time, and only that is written.
A token goes with it into `push.mirror`: when what stands there is not the last one (the warehouse
was emptied, replaced, or restored from a copy; so was the outbox), everything is shown anew. A kill
in between only repeats work.
"""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from energy_etl.delivery.outbox import Outbox, State, ms_to_instant
from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.schema import EARLIEST_MS, HOLD_REASON, REASONS
from energy_etl.delivery.watching import (
    Watched,
    last_accepted,
    note_watched,
    status_frame,
    watch,
)
from energy_etl.state import instant_to_us, transaction
from energy_etl.tables.model import Table
from energy_etl.tables.push import (
    CORRECTION,
    HOLE,
    MIRROR,
    PACKET,
    RESPONSE,
    STREAM_OFFSET,
    STREAM_STATUS,
)

if TYPE_CHECKING:
    # The command line looks into the outbox without waiting for DuckDB to be imported.
    from energy_etl.warehouse import Warehouse

__all__ = [
    "correction_frame",
    "last_accepted",
    "newest_responses",
    "offset_frame",
    "packet_frame",
    "response_frame",
    "show",
    "status_frame",
]

_US: Final = pl.Datetime("us", "UTC")
_FETCHED_ROWS: Final = 20_000
# At least this many rows go into the warehouse at once (a row group of it).
_BATCH_ROWS: Final = 122_880
_FIRST_AT: Final = datetime(1, 1, 1, tzinfo=UTC)
_END_AT: Final = datetime(9999, 12, 31, tzinfo=UTC)
_PACKETS: Final = ", ".join(
    (
        "SELECT stream_id, stamped_ms, body, state",
        HOLD_REASON,
        "n_attempts, status, error, filled_us, sent_us, confirmed_us "
        "FROM packet JOIN stream USING (stream_id) ",
    )
)
_RESPONSES: Final = (
    "SELECT response_id, stream_id, stamped_ms, posted_us, seconds, status, text FROM response "
)


@dataclass(frozen=True)
class _Changes:
    """What changed in the outbox since it was shown last; frames are read when they are asked for.

    `windows`: stream_id, from_at, to_at: whatever is shown of these is not right any more;
    `is_whole`: nothing that is shown is. `token` is for `_note_shown`.
    """

    token: str
    is_whole: bool
    windows: pl.DataFrame
    outbox: Outbox
    plans: tuple[StreamPlan, ...]
    now: datetime
    shown_response_id: int

    def packets(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Yield some of the windows and all packets in them (push.packet), until all are told."""
        windows: list[pl.DataFrame] = []
        frames: list[pl.DataFrame] = []
        for window in self.windows.iter_slices(1):
            stream_id, from_at, _ = window.row(0)
            windows.append(window)
            frames.append(packet_frame(self.outbox, stream_id=stream_id, from_at=from_at))
            if sum(frame.height for frame in frames) >= _BATCH_ROWS:
                yield pl.concat(windows), pl.concat(frames)
                windows, frames = [], []
        if windows:
            yield pl.concat(windows), pl.concat(frames)

    def corrections(self) -> pl.DataFrame:
        """Return the corrections in the windows (push.correction); none is ever taken back."""
        frames = [
            correction_frame(self.outbox, stream_id=stream_id, from_at=from_at)
            for stream_id, from_at, _ in self.windows.rows()
        ]
        return pl.concat([CORRECTION.empty_frame(), *frames])

    def responses(self) -> Iterator[pl.DataFrame]:
        """Yield the responses that are not shown yet (push.response)."""
        after_id = self.shown_response_id
        while (frame := response_frame(self.outbox, after_id, limit=_BATCH_ROWS)).height:
            yield frame
            after_id = frame["response_id"][-1]


def show(
    warehouse: "Warehouse", outbox: Outbox, plans: Iterable[StreamPlan], now: datetime
) -> Watched:
    """Bring layer push up to the outbox; return what it says now of each stream.

    Args:
        warehouse: where layer push is.
        outbox: the packets.
        plans: what was agreed, for the status.
        now: when, for the status.

    Raises:
        WarehouseLockedError: one of the two files was held by somebody else for too long; nothing
            was written.
    """
    with warehouse.write() as writer:
        # Read under the lock: of two runs that show it, the later one must show the later outbox.
        shown = writer.read("SELECT token, response_id FROM push.mirror")
        changes = _changes(outbox, plans, now, shown)
        if changes.is_whole:
            for table in (PACKET, CORRECTION, RESPONSE):
                writer.replace_all(table, table.empty_frame())
        for windows, packets in changes.packets():
            writer.replace_window(PACKET, packets, ids=windows, is_empty_kept=False)
        writer.merge(CORRECTION, changes.corrections())
        shown_id = changes.shown_response_id
        for responses in changes.responses():
            writer.append(RESPONSE, responses)
            shown_id = responses["response_id"][-1]
        # Its token is book-keeping, so it would not be replaced for that alone.
        writer.replace_all(MIRROR, MIRROR.empty_frame())
        mirror = [(changes.token, shown_id, now)]
        writer.append(MIRROR, pl.DataFrame(mirror, schema=MIRROR.polars_schema, orient="row"))
        note_watched(outbox, changes.plans, now)
        watched = watch(outbox, changes.plans, now)
        writer.replace_all(STREAM_OFFSET, offset_frame(outbox))
        writer.replace_all(STREAM_STATUS, watched.status)
        writer.replace_all(HOLE, watched.holes)
    _note_shown(outbox, changes.token)
    return watched


def packet_frame(
    outbox: Outbox,
    *,
    state: State | None = None,
    stream_id: str | None = None,
    from_at: datetime | None = None,
    limit: int | None = None,
) -> pl.DataFrame:
    """Return packets in the columns of push.packet, by stream and stamp.

    Args:
        outbox: the packets.
        state: only those of this state.
        stream_id: only those of this stream.
        from_at: only those stamped from here on.
        limit: only the first so many.
    """
    wanted = {"state": state, "stream_id": stream_id, "from_ms": _ms(from_at)}
    conditions = {
        "state": "state = :state",
        "stream_id": "stream_id = :stream_id",
        "from_ms": "stamped_ms >= :from_ms",
    }
    where = " AND ".join(conditions[name] for name, value in wanted.items() if value is not None)
    sql = _PACKETS + (f"WHERE {where} " if where else "") + "ORDER BY stream_id, stamped_ms"
    arguments = {**REASONS, **wanted, "limit": -1 if limit is None else limit}
    return _frame(
        outbox,
        sql + " LIMIT :limit",
        arguments,
        PACKET,
        stamps=("stamped_at",),
        ours=("filled_at", "sent_at", "confirmed_at"),
    )


def correction_frame(
    outbox: Outbox, *, stream_id: str | None = None, from_at: datetime | None = None
) -> pl.DataFrame:
    """Return corrections in the columns of push.correction: all, or of a stream from a stamp on."""
    sql = """SELECT stream_id, stamped_ms, body_sent, body_now, noticed_us FROM correction
        WHERE (:stream_id IS NULL OR stream_id = :stream_id)
        AND (:from_ms IS NULL OR stamped_ms >= :from_ms)
        ORDER BY stream_id, stamped_ms, body_now"""
    arguments = {"stream_id": stream_id, "from_ms": _ms(from_at)}
    return _frame(outbox, sql, arguments, CORRECTION, stamps=("stamped_at",), ours=("noticed_at",))


def response_frame(outbox: Outbox, after_id: int = 0, *, limit: int | None = None) -> pl.DataFrame:
    """Return responses behind an id in the columns of push.response, by id."""
    sql = _RESPONSES + "WHERE response_id > :after_id ORDER BY response_id LIMIT :limit"
    arguments = {"after_id": after_id, "limit": -1 if limit is None else limit}
    return _frame(outbox, sql, arguments, RESPONSE, stamps=("stamped_at",), ours=("posted_at",))


def newest_responses(outbox: Outbox, stream_id: str, limit: int) -> pl.DataFrame:
    """Return the last responses of a stream in the columns of push.response, by id."""
    sql = _RESPONSES + "WHERE stream_id = ? ORDER BY response_id DESC LIMIT ?"
    arguments = (stream_id, limit)
    frame = _frame(outbox, sql, arguments, RESPONSE, stamps=("stamped_at",), ours=("posted_at",))
    return frame.reverse()


def offset_frame(outbox: Outbox) -> pl.DataFrame:
    """Return every offset in the columns of push.stream_offset."""
    return outbox.offsets().select(STREAM_OFFSET.polars_schema.names())


def _frame(
    outbox: Outbox,
    sql: str,
    arguments: dict[str, Any] | tuple[Any, ...],
    table: Table,
    *,
    stamps: tuple[str, ...],
    ours: tuple[str, ...],
) -> pl.DataFrame:
    schema = {**table.polars_schema, **dict.fromkeys((*stamps, *ours), pl.Int64())}
    cursor = outbox.connection.execute(sql, arguments)
    parts = [pl.DataFrame(schema=schema)]
    while rows := cursor.fetchmany(_FETCHED_ROWS):
        parts.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return pl.concat(parts).with_columns(
        *(ms_to_instant(name) for name in stamps), pl.col(ours).cast(_US)
    )


def _ms(instant: datetime | None) -> int | None:
    return None if instant is None else instant_to_us(instant) // 1000


def _changes(
    outbox: Outbox, plans: Iterable[StreamPlan], now: datetime, shown: pl.DataFrame
) -> _Changes:
    token, response_id = shown["token", "response_id"].rows()[0] if shown.height else (None, 0)
    token, is_whole = _begin(outbox, token)
    rows = outbox.connection.execute(
        "SELECT stream_id, mirroring_ms FROM stream WHERE mirroring_ms IS NOT NULL "
        "ORDER BY stream_id"
    ).fetchall()
    first_ms = instant_to_us(_FIRST_AT) // 1000
    windows = pl.DataFrame(
        [(stream_id, max(from_ms, first_ms)) for stream_id, from_ms in rows],
        schema={"stream_id": pl.String, "from_at": pl.Int64},
        orient="row",
    ).with_columns(ms_to_instant("from_at"), to_at=pl.lit(_END_AT).cast(_US))
    return _Changes(
        token, is_whole, windows, outbox, tuple(plans), now, 0 if is_whole else response_id
    )


def _begin(outbox: Outbox, shown: str | None) -> tuple[str, bool]:
    """Set aside what changed since the last mirroring.

    Args:
        outbox: whose changes.
        shown: the token that came with what is shown now; None: nothing is shown.

    Returns:
        A token for `_note_shown`, and whether everything must be shown anew: what is shown now is
        not what this outbox was mirrored to last.
    """
    token = uuid.uuid4().hex
    with transaction(outbox.connection) as connection:
        known = connection.execute("SELECT begun, done FROM mirror").fetchone() or ()
        is_whole = shown is None or shown not in known
        connection.execute(
            "UPDATE stream SET mirroring_ms = iif(?1, ?2, min(coalesce(mirroring_ms, "
            "touched_ms), coalesce(touched_ms, mirroring_ms))), touched_ms = NULL "
            "WHERE ?1 OR touched_ms IS NOT NULL",
            (is_whole, EARLIEST_MS),
        )
        connection.execute(
            "INSERT OR REPLACE INTO mirror VALUES (1, ?, ?)", (token, None if is_whole else shown)
        )
    return token, is_whole


def _note_shown(outbox: Outbox, token: str) -> None:
    """Note that a mirroring is durable; without this its changes are shown once more."""
    with transaction(outbox.connection) as connection:
        # Another one may have begun since: what was set aside is that one's by now.
        is_newest = connection.execute(
            "UPDATE mirror SET done = begun WHERE begun = ?", (token,)
        ).rowcount
        if is_newest:
            connection.execute(
                "UPDATE stream SET mirroring_ms = NULL WHERE mirroring_ms IS NOT NULL"
            )
