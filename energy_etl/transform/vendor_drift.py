"""How far a vendor's figures of a period are from ours, once it is known how it counts.

Own figures are made in `trends.py`, how a vendor counts is found in `trend_variant.py`; whether a
vendor agrees with itself is a matter of that vendor.
"""

import polars as pl

from energy_etl.transform.trend_variant import (
    ENERGY_TOLERANCE_KWH,
    ENERGY_TOLERANCE_PCT,
    OPEN_PERIODS,
    RATIO_TOLERANCE_PCT,
    TREND_TOLERANCE_POINTS,
)
from energy_etl.transform.trends import MIN_COVERAGE_PCT


def compute_vendor_drift(trends: pl.DataFrame, variants: pl.DataFrame) -> pl.DataFrame:
    """Hold each vendor figure in `mart.period_trend` against the own one that counts alike.

    Closed periods (yesterday, last-week, last-month) are the same however a vendor counts. Open
    ones (this-week, this-month, last-seven-days) are compared only where `mart.trend_variant` has
    a best hypothesis that leaves today out: `trend_pct` when it is elapsed, `trend_whole_pct` when
    it is whole. A vendor that includes today has no figure of ours beside it there.

    Args:
        trends: `mart.period_trend`.
        variants: `mart.trend_variant`.

    Returns:
        One row per register and period that can be compared, sorted by register_id, period:
        register_id, meter_id, vendor, period, energy_kwh, vendor_energy_kwh, own_trend_pct,
        vendor_trend_pct, is_energy_off (more than max(2 %, 0.05 kWh) apart), is_trend_off (more
        than max(1.5 points, 1 % of the ratio) apart). An energy is compared only where at least
        95 % of it was measured, a trend only where ours is known; what is not compared is False.
    """
    best = variants.filter("is_best").select("meter_id", "vendor", "previous_part", "has_today")
    is_open = pl.col("period").is_in(OPEN_PERIODS)
    own_trend = pl.when(is_open & (pl.col("previous_part") == "whole")).then("trend_whole_pct")
    energy, vendor_energy = pl.col("energy_kwh"), pl.col("vendor_energy_kwh")
    trend, vendor_trend = pl.col("own_trend_pct"), pl.col("vendor_trend_pct")
    is_measured = pl.col("coverage_pct") >= MIN_COVERAGE_PCT
    slack_kwh = pl.max_horizontal(
        energy * ENERGY_TOLERANCE_PCT / 100.0, pl.lit(ENERGY_TOLERANCE_KWH)
    )
    slack_points = pl.max_horizontal(
        (100.0 + trend) * RATIO_TOLERANCE_PCT / 100.0, pl.lit(TREND_TOLERANCE_POINTS)
    )
    compared = (
        trends.filter(pl.col("vendor").is_not_null())
        .join(best, on=["meter_id", "vendor"], how="left")
        .filter(~is_open | ~pl.col("has_today").fill_null(value=True))
        .with_columns(own_trend_pct=own_trend.otherwise("trend_pct"))
    )
    has_energy = is_measured & vendor_energy.is_not_null()
    has_trend = trend.is_not_null() & vendor_trend.is_not_null()
    return (
        compared.filter(has_energy | has_trend)
        .with_columns(
            is_energy_off=(has_energy & ((vendor_energy - energy).abs() > slack_kwh)),
            is_trend_off=(has_trend & ((vendor_trend - trend).abs() > slack_points)),
        )
        .with_columns(pl.col("is_energy_off", "is_trend_off").fill_null(value=False))
        .sort("register_id", "period")
        .select(
            *("register_id", "meter_id", "vendor", "period", "energy_kwh", "vendor_energy_kwh"),
            *("own_trend_pct", "vendor_trend_pct", "is_energy_off", "is_trend_off"),
        )
    )
