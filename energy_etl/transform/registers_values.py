"""Readings that are values of their own, not counters: which of them are none, and why.

Used for totals and means per interval (`registers_totals.py`) and for instantaneous values
(`registers_samples.py`). Counters are judged in `cleaning.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from energy_etl.transform.cleaning import IMPLAUSIBLE_NATIVE
from energy_etl.transform.cleaning_edits import DROPPED_SCHEMA, EVENT_SCHEMA, edit_rows
from energy_etl.transform.cleaning_story import Floats
from energy_etl.units import SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Meter:
    """What a register of totals, means or samples is.

    Attributes:
        register_id: our id.
        rate_per_s: declared rating per second (inf: none).
        resolution: smallest step.
    """

    register_id: str
    rate_per_s: float
    resolution: float


def highest_values(meters: Sequence[Meter]) -> Floats:
    """Return the most that each register's rating lets it show; inf where none is declared.

    For what is no energy (power, voltage, ...), whose rating is a value of the same unit.
    """
    return np.asarray([m.rate_per_s * SECONDS_PER_HOUR + m.resolution for m in meters])


def named_values(
    readings: pl.DataFrame, most: Floats | None = None, *, is_signed: bool = True
) -> pl.DataFrame:
    """Add `row`, and `rule`: why a reading is no value (null: it is one).

    Args:
        readings: `register` (place), `at_us`, `reading`, sorted; one that a person trusts
            (`is_trusted`, may be missing) has no rule.
        most: per register, the size that a value cannot exceed; None: no limit.
        is_signed: False where a value below zero is none.

    Returns:
        The readings with both columns; rules are `missing` (null or NaN), `implausible`
        (beyond what any meter shows), `negative`, `false_high`.
    """
    reading = pl.col("reading")
    rule = pl.when(reading.is_null() | reading.is_nan()).then(pl.lit("missing"))
    rule = rule.when(reading.abs() >= IMPLAUSIBLE_NATIVE).then(pl.lit("implausible"))
    if not is_signed:
        rule = rule.when(reading < 0).then(pl.lit("negative"))
    if most is not None:
        limit = pl.lit(pl.Series(most[readings["register"].to_numpy()]))
        rule = rule.when(reading.abs() > limit).then(pl.lit("false_high"))
    named = rule.otherwise(pl.lit(None, pl.String))
    if "is_trusted" in readings.columns:
        named = pl.when("is_trusted").then(pl.lit(None, pl.String)).otherwise(named)
    return readings.with_row_index("row").with_columns(rule=named)


def value_edits(dropped: pl.DataFrame, meters: Sequence[Meter]) -> pl.DataFrame:
    """Return the rows of `core.edit` for readings of `named_values` that have a rule."""
    rows = dropped.select(
        pl.col("row").cast(pl.Int64),
        pl.col("register").alias("segment"),
        "at_us",
        "reading",
        "rule",
        pl.lit(None, pl.Float64).alias("before"),
        pl.lit(None, pl.Float64).alias("after"),
        pl.lit(None, pl.Int64).alias("next_row"),
    ).match_to_schema(DROPPED_SCHEMA)
    ids = [meter.register_id for meter in meters]
    return edit_rows(rows.sort("row"), EVENT_SCHEMA.to_frame(), ids)
