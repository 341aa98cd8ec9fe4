"""What became of some packets: the answer for whoever filled them."""

from typing import Final

import polars as pl

from energy_etl.delivery.outbox import Outbox, ms_to_instant
from energy_etl.delivery.schema import HOLD_REASON, REASONS

_BATCH_ROWS: Final = 100_000
_PACKETS: Final = " ".join(
    (
        "SELECT stamped_ms, state, CASE state WHEN 'rejected' THEN error ELSE",
        HOLD_REASON,
        "END FROM packet JOIN stream USING (stream_id)",
        "WHERE stream_id = :stream_id AND stamped_ms BETWEEN :from_ms AND :to_ms",
    )
)


def states_of(outbox: Outbox, stamps: pl.DataFrame) -> pl.DataFrame:
    """Return stream_id, state, n_packets, why, sorted; a packet that is not there counts nowhere.

    Args:
        outbox: where they are.
        stamps: stream_id, stamped_at of the packets that are asked about.
    """
    found = [pl.DataFrame(schema=dict.fromkeys(("stream_id", "state", "why"), pl.String))]
    for (stream_id,), part in stamps.group_by("stream_id"):
        from_ms, to_ms = part.select(
            from_ms=pl.col("stamped_at").dt.epoch("ms").min(),
            to_ms=pl.col("stamped_at").dt.epoch("ms").max(),
        ).row(0)
        rows = outbox.connection.execute(
            _PACKETS,
            {"stream_id": stream_id, "from_ms": from_ms, "to_ms": to_ms, **REASONS},
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
