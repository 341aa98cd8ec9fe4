"""What cleaning did, in words: the name of each dropped reading, and the rows of `core.edit`.

The decisions are made in `cleaning.py` and `cleaning_story.py`; nothing is decided here.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from energy_etl.tables.core import EDIT
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.cleaning_story import Ints

# A fall of at most this share is noise in the last digits, not a false low reading.
DIP_SHARE: Final = 0.1

DROPPED_SCHEMA: Final = pl.Schema(
    {
        "row": pl.Int64,
        "segment": pl.Int64,
        "at_us": pl.Int64,
        "reading": pl.Float64,
        "rule": pl.String,
        "before": pl.Float64,
        "after": pl.Float64,
        "next_row": pl.Int64,
    }
)

EVENT_SCHEMA: Final = pl.Schema(
    {"segment": pl.Int64, "at_us": pl.Int64, "rule": pl.String, "evidence": pl.String}
)


def name_unusable(rows: pl.DataFrame) -> pl.DataFrame:
    """Name readings that are no counter value: `missing`, `negative` or `implausible`.

    Args:
        rows: `row`, `segment`, `at_us`, `reading` of such readings only.

    Returns:
        The same rows in `DROPPED_SCHEMA`.
    """
    reading = pl.col("reading")
    return rows.select(
        pl.col("row", "segment", "at_us").cast(pl.Int64),
        reading,
        pl.when(reading.is_null() | reading.is_nan())
        .then(pl.lit("missing"))
        .when(reading < 0)
        .then(pl.lit("negative"))
        .otherwise(pl.lit("implausible"))
        .alias("rule"),
        pl.lit(None, pl.Float64).alias("before"),
        pl.lit(None, pl.Float64).alias("after"),
        pl.lit(None, pl.Int64).alias("next_row"),
    )


def name_dropped(
    readings: pl.DataFrame, at: Ints, kept_at: Ints, usable_row: Ints | None
) -> pl.DataFrame:
    """Name readings that were dropped from a series by the kept ones around them.

    `provisional` after the last kept reading, else `zero_glitch`, `false_high` above the kept
    reading that follows, `dip` at most 10 % below the kept one before, else `false_low`.

    Args:
        readings: `segment`, `at_us`, `reading`, sorted.
        at: rows of `readings` that were dropped.
        kept_at: rows of `readings` that were kept.
        usable_row: row of the original input for each row of `readings`; None: the same.

    Returns:
        One row per dropped reading in `DROPPED_SCHEMA`.
    """
    segment, x = readings["segment"].to_numpy(), readings["reading"].to_numpy()
    after = np.searchsorted(kept_at, at)
    before = after - 1
    padded = np.append(kept_at, 0)
    has_before = (before >= 0) & (segment[padded[before]] == segment[at])
    has_after = (after < len(kept_at)) & (segment[padded[after]] == segment[at])
    reading, value_before, value_after = pl.col("reading"), pl.col("before"), pl.col("after")
    is_dip = value_before.is_not_nan() & (reading >= (1 - DIP_SHARE) * value_before)
    return pl.DataFrame(
        {
            "row": at if usable_row is None else usable_row[at],
            "segment": segment[at],
            "at_us": readings["at_us"].to_numpy()[at],
            "reading": x[at],
            "before": np.where(has_before, x[padded[before]], np.nan),
            "after": np.where(has_after, x[padded[after]], np.nan),
            "next_row": np.where(has_after, after, -1),
        }
    ).select(
        pl.col("row", "segment", "at_us").cast(pl.Int64),
        reading,
        pl.when(value_after.is_nan())
        .then(pl.lit("provisional"))
        .when(reading == 0)
        .then(pl.lit("zero_glitch"))
        .when(reading > value_after)
        .then(pl.lit("false_high"))
        .when(is_dip)
        .then(pl.lit("dip"))
        .otherwise(pl.lit("false_low"))
        .alias("rule"),
        pl.col("before", "after").fill_nan(None),
        pl.when(pl.col("next_row") >= 0).then(pl.col("next_row").cast(pl.Int64)),
    )


def edit_rows(
    dropped: pl.DataFrame, events: pl.DataFrame, register_ids: Sequence[str]
) -> pl.DataFrame:
    """Turn dropped readings and explained steps into rows of `core.edit`.

    Args:
        dropped: `DROPPED_SCHEMA`; `segment` counts through `register_ids`.
        events: `EVENT_SCHEMA`, one row per step that is no plain growth.
        register_ids: the register of each segment.

    Returns:
        `core.edit` sorted by its key: one row per run of neighbouring readings with one rule.
    """
    if not dropped.height and not events.height:
        return EDIT.empty_frame()
    is_new_run = (
        (pl.col("row") != pl.col("row").shift() + 1)
        | (pl.col("segment") != pl.col("segment").shift())
        | (pl.col("rule") != pl.col("rule").shift())
    ).fill_null(True)
    runs = (
        dropped.with_columns(is_new_run.cum_sum().alias("run"))
        .group_by("run", maintain_order=True)
        .agg(
            pl.first("segment", "rule", "before", "after"),
            pl.min("at_us").alias("from_us"),
            pl.max("at_us").alias("to_us"),
            pl.len().cast(pl.Int64).alias("n_readings"),
            pl.min("reading").alias("low"),
            pl.max("reading").alias("high"),
        )
        .select("segment", "rule", "from_us", "to_us", "n_readings", evidence=_evidence())
    )
    steps = events.select(
        "segment",
        "rule",
        pl.col("at_us").alias("from_us"),
        pl.col("at_us").alias("to_us"),
        pl.lit(1, pl.Int64).alias("n_readings"),
        "evidence",
    )
    return (
        pl.concat([runs, steps])
        .select(
            pl.lit(pl.Series(register_ids, dtype=pl.String))
            .gather(pl.col("segment"))
            .alias("register_id"),
            "rule",
            pl.from_epoch("from_us", "us").dt.replace_time_zone("UTC").alias("from_at"),
            pl.from_epoch("to_us", "us").dt.replace_time_zone("UTC").alias("to_at"),
            "n_readings",
            "evidence",
        )
        .cast({"from_at": UTC_INSTANT, "to_at": UTC_INSTANT})
        # Two sides of a declared exchange may drop a reading each at its instant: one row.
        .unique(EDIT.key, keep="first", maintain_order=True)
        .sort(EDIT.key)
    )


def _evidence() -> pl.Expr:
    value = (
        pl.when(pl.col("low").is_null() | pl.col("low").is_nan())
        .then(pl.lit("no value"))
        .when(pl.col("low") == pl.col("high"))
        .then(pl.col("low").cast(pl.String))
        .otherwise(pl.format("{} to {}", "low", "high"))
    )
    where = (
        pl.when(pl.col("before").is_not_null() & pl.col("after").is_not_null())
        .then(pl.format(" between kept {} and {}", "before", "after"))
        .when(pl.col("before").is_not_null())
        .then(pl.format(" after kept {}", "before"))
        .when(pl.col("after").is_not_null())
        .then(pl.format(" before kept {}", "after"))
        .otherwise(pl.lit(""))
    )
    return value + where
