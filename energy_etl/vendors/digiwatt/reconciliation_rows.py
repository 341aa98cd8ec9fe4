"""What all comparisons of Digiwatt's figures share: a compared row, sums of parts, roundings."""

from typing import Final

import polars as pl

from energy_etl.units import WH_PER_KWH

# Modelled, not verified: totals carry two decimals, savings whole Wh.
HALF_KWH: Final = 0.005
HALF_SAVINGS_KWH: Final = 0.5 / WH_PER_KWH
# Modelled, not verified: the name of what no appliance explains.
OTHER: Final = "other"
TOTAL: Final = "total"
OPEN_PERIODS: Final = ("last-seven-days", "this-week", "this-month")
ID: Final = "smartmeter_id_digiwatt"
PERIOD_KEY: Final = [ID, "period"]


def compared(
    frame: pl.DataFrame,
    rule: str,
    left: str | pl.Expr,
    right: str | pl.Expr,
    *,
    tolerance: float | pl.Expr,
    reason: str,
    unit: str = "kWh",
    obstacle: pl.Expr | None = None,
) -> pl.DataFrame:
    """Add what is compared to a frame of the id, the period and, where it has one, the appliance.

    Args:
        frame: one row per comparison.
        rule: what is compared.
        left: the left figure.
        right: the right figure.
        tolerance: what they may differ by.
        reason: why so much.
        unit: of all three.
        obstacle: why a row cannot be compared; null where it can.

    Returns:
        The frame with rule, left_native, right_native, tolerance_native, unit, reason, obstacle.
    """
    figures = [pl.col(each) if isinstance(each, str) else each for each in (left, right)]
    allowed = tolerance if isinstance(tolerance, pl.Expr) else pl.lit(tolerance)
    nothing = pl.lit(None, pl.String)
    return frame.with_columns(
        rule=pl.lit(rule),
        left_native=figures[0].cast(pl.Float64),
        right_native=figures[1].cast(pl.Float64),
        tolerance_native=allowed.cast(pl.Float64),
        unit=pl.lit(unit),
        reason=pl.lit(reason),
        obstacle=nothing if obstacle is None else obstacle,
    )


def sum_parts(rows: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """Add up the appliances of an answer; a sum is null when one of them is.

    Returns:
        One row per key: all_kwh, named_kwh (without the rest), n_parts, has_other.
    """
    kwh, is_other = pl.col("consumption_kwh"), pl.col("appliance") == OTHER
    return rows.group_by(key).agg(
        all_kwh=pl.when(kwh.is_not_null().all()).then(kwh.sum()),
        named_kwh=pl.when(kwh.is_not_null().all()).then(kwh.filter(~is_other).sum()),
        n_parts=pl.len(),
        has_other=is_other.any(),
    )


def without_rest(total: str) -> pl.Expr:
    """Return the obstacle: without the rest among the parts less than the total says nothing."""
    is_less = pl.col("all_kwh") < pl.col(total)
    return pl.when(~pl.col("has_other") & is_less).then(
        pl.lit(f"No part is called {OTHER!r}, so what is missing to the total is unattributed.")
    )
