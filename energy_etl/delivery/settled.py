"""What became of some packets: the answer for whoever filled them."""

import polars as pl

from energy_etl.delivery.outbox import Outbox, ms_to_instant
from energy_etl.state import instant_to_us

_BATCH_ROWS = 100_000


def states_of(outbox: Outbox, stamps: pl.DataFrame) -> pl.DataFrame:
    """Return stream_id, state, n_packets, why, sorted; a packet that is not there counts nowhere.

    Args:
        outbox: where they are.
        stamps: stream_id, stamped_at of the packets that are asked about.
    """
    found = [pl.DataFrame(schema=dict.fromkeys(("stream_id", "state", "why"), pl.String))]
    for (stream_id,), part in stamps.group_by("stream_id"):
        rows = outbox.connection.execute(
            "SELECT stamped_ms, state, CASE state WHEN 'held' THEN hold_reason "
            "WHEN 'rejected' THEN error END FROM packet WHERE stream_id = ? "
            "AND stamped_ms BETWEEN ? AND ?",
            (stream_id, *(instant_to_us(at) // 1000 for at in _span(part))),
        )
        while batch := rows.fetchmany(_BATCH_ROWS):
            frame = pl.DataFrame(
                batch,
                schema={"ms": pl.Int64, "state": pl.String, "why": pl.String},
                orient="row",
            ).with_columns(stamped_at=ms_to_instant("ms"), stream_id=pl.lit(stream_id))
            asked = frame.join(part, on=["stream_id", "stamped_at"], how="semi")
            found.append(asked.select("stream_id", "state", "why"))
    return (
        pl.concat(found)
        .group_by("stream_id", "state")
        .agg(n_packets=pl.len(), why=pl.col("why").drop_nulls().first())
        .sort("stream_id", "state")
    )


def _span(part: pl.DataFrame) -> tuple:
    return part.select(first=pl.col("stamped_at").min(), last=pl.col("stamped_at").max()).row(0)
