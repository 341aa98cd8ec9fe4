"""The outbox as frames: what `push.*` shows of it to people. Nothing is decided here."""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.delivery.outbox import Outbox, ms_to_instant
from energy_etl.state import us_to_instant
from energy_etl.tables.push import CORRECTION, PACKET, STREAM_OFFSET, STREAM_STATUS

_US: Final = pl.Datetime("us", "UTC")
_BATCH_ROWS: Final = 100_000


def packet_frame(outbox: Outbox) -> pl.DataFrame:
    """Return every packet in the columns of push.packet, by stream and stamp."""
    cursor = outbox.connection.execute(
        "SELECT stream_id, stamped_ms, body, state, hold_reason, n_attempts, status, error, "
        "filled_us, sent_us, confirmed_us FROM packet ORDER BY stream_id, stamped_ms"
    )
    schema = {
        **PACKET.polars_schema,
        **dict.fromkeys(("stamped_at", "filled_at", "sent_at", "confirmed_at"), pl.Int64()),
    }
    parts = [pl.DataFrame(schema=schema)]
    while rows := cursor.fetchmany(_BATCH_ROWS):
        parts.append(pl.DataFrame(rows, schema=schema, orient="row"))
    return pl.concat(parts).with_columns(
        ms_to_instant("stamped_at"),
        pl.col("filled_at", "sent_at", "confirmed_at").cast(_US),
    )


def correction_frame(outbox: Outbox) -> pl.DataFrame:
    """Return every correction in the columns of push.correction."""
    rows = outbox.connection.execute(
        "SELECT stream_id, stamped_ms, body_sent, body_now, noticed_us FROM correction "
        "ORDER BY stream_id, stamped_ms, body_now"
    ).fetchall()
    schema = {**CORRECTION.polars_schema, "stamped_at": pl.Int64(), "noticed_at": pl.Int64()}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(ms_to_instant("stamped_at"), pl.col("noticed_at").cast(_US))


def offset_frame(outbox: Outbox) -> pl.DataFrame:
    """Return every offset in the columns of push.stream_offset."""
    return outbox.offsets().select(STREAM_OFFSET.polars_schema.names())


def status_frame(outbox: Outbox) -> pl.DataFrame:
    """Return one row per stream in the columns of push.stream_status."""
    rows = outbox.connection.execute(
        """SELECT stream_id, coalesce(n_sent, 0), coalesce(n_confirmed, 0),
            coalesce(n_pending, 0), coalesce(n_held, 0), coalesce(n_rejected, 0),
            coalesce(n_superseded, 0), last_sent_ms, last_confirmed_ms,
            (SELECT hold_reason FROM packet WHERE state = 'held' AND
             packet.stream_id = stream.stream_id ORDER BY stamped_ms LIMIT 1), parked_reason
        FROM stream LEFT JOIN (SELECT stream_id, sum(state = 'sent') AS n_sent,
            sum(state = 'confirmed') AS n_confirmed, sum(state = 'pending') AS n_pending,
            sum(state = 'held') AS n_held, sum(state = 'rejected') AS n_rejected,
            sum(state = 'superseded') AS n_superseded FROM packet GROUP BY stream_id)
        USING (stream_id) ORDER BY stream_id"""
    ).fetchall()
    schema = {
        **STREAM_STATUS.polars_schema,
        **dict.fromkeys(("last_sent_at", "last_confirmed_at"), pl.Int64()),
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(ms_to_instant("last_sent_at"), ms_to_instant("last_confirmed_at"))


def last_accepted(outbox: Outbox) -> dict[str, datetime]:
    """Return when the newest packet of each stream was accepted; streams without one are absent."""
    rows = outbox.connection.execute(
        "SELECT stream_id, max(sent_us) FROM packet WHERE sent_us IS NOT NULL GROUP BY stream_id"
    )
    return {stream_id: us_to_instant(sent_us) for stream_id, sent_us in rows.fetchall()}
