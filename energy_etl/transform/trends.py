"""Daily energy -> own trends beside the vendor's (`mart.period_trend`), and `mart.coverage`.

Which days a period has and what it is compared with stands in `periods.py`.
"""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.periods import local_day_bounds, year_ago_days
from energy_etl.tables.mart import COVERAGE, PERIOD_TREND
from energy_etl.transform.registers_power import has_intervals
from energy_etl.transform.windows import (
    is_energy_register,
    last_days_window,
    part_of,
    period_windows,
    sum_windows,
)

MIN_COVERAGE_PCT: Final = 95.0


def compute_period_trends(
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    vendor_figures: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Compare each of the six periods with the one before it, for every register of kWh.

    `trend_pct = 100 * (energy - previous) / previous`; null when previous <= 0 or null, or when
    less than 95 % of the intervals of either window were measured (estimated ones do not count).
    `trend_per_day_pct` is the same on the mean per hour of each window, which removes unequal
    lengths (169 h against 168 h). `trend_whole_pct` compares with the whole previous period
    instead of its elapsed part: which of the two a vendor uses is then told by the data
    (`trend_variant.py`). `year_on_year_pct` compares with the counterpart of a year ago: the same
    dates for months, the same weekdays 364 days before for days and weeks
    (`periods.year_ago_days`), on the same conditions; `year_on_year_per_day_pct` beside it on the
    mean per hour.

    Args:
        daily: `mart.daily_energy`.
        registers: `core.register`.
        vendor_figures: `core.vendor_figure`; those fetched on the computed day stand beside the
            meter's mains register, when it has exactly one primary one. Of several vendors the
            first by name.
        now: the instant of the computation; its local date in each site's zone is the D from
            which the periods are counted.

    Returns:
        `mart.period_trend`, sorted by register_id, period, computed_on: six rows per register.
        In an empty window (this-week on a Monday) every figure of ours is null.
        `vendor_difference_pct` is null when our energy is null or not above 0.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    energy = registers.filter(is_energy_register())
    if energy.is_empty():
        return PERIOD_TREND.empty_frame()
    windows = period_windows(energy["zone"].unique().sort(), now)
    totals = sum_windows(daily, energy, windows)
    # Apart: in one call each of the 365 days between them would be held against every window.
    year_ago = sum_windows(daily, energy, _year_ago_windows(windows))
    figures = ("energy_kwh", "coverage_pct", "hours")
    key = ["register_id", "period"]
    rows = (
        part_of(totals, "current", "computed_on", "start_on", "end_on", *figures)
        .join(
            part_of(totals, "previous", "start_on", "end_on", *figures, prefix="previous_"), on=key
        )
        .join(part_of(totals, "whole", *figures, prefix="whole_"), on=key)
        .join(
            part_of(year_ago, "year_ago", "start_on", "end_on", *figures, prefix="year_ago_"),
            on=key,
        )
        .join(energy.select("register_id", "site_id", "meter_id"), on="register_id")
        .with_columns(
            trend_pct=_trend_pct("previous_"),
            trend_per_day_pct=_trend_pct("previous_", is_per_hour=True),
            trend_whole_pct=_trend_pct("whole_"),
            year_on_year_pct=_trend_pct("year_ago_"),
            year_on_year_per_day_pct=_trend_pct("year_ago_", is_per_hour=True),
        )
    )
    own = pl.col("energy_kwh")
    difference = 100.0 * (pl.col("vendor_energy_kwh") - own) / own
    return (
        rows.join(
            _beside_mains(vendor_figures, registers),
            on=["register_id", "period", "computed_on"],
            how="left",
        )
        .with_columns(
            # What we did not measure is no difference of the vendor's.
            vendor_difference_pct=pl.when(
                (own > 0) & (pl.col("coverage_pct") >= MIN_COVERAGE_PCT)
            ).then(difference)
        )
        .select(PERIOD_TREND.polars_schema.names())
        .cast(PERIOD_TREND.polars_schema)
        .sort("register_id", "period", "computed_on")
    )


def compute_coverage(
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    last_read: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Tell how complete each register is over the last seven complete local days of its site.

    Args:
        daily: `mart.daily_energy`.
        registers: `core.register`, all of a site's; kind instant is left out, except for power
            that is integrated; registers that never gave a reading are not.
        last_read: register_id and last_read_at, the instant of its newest reading.
        now: the instant of the computation.

    Returns:
        `mart.coverage`, one row per register, sorted by register_id.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    counted = registers.filter(has_intervals())
    if counted.is_empty():
        return COVERAGE.empty_frame()
    totals = sum_windows(daily, counted, last_days_window(counted["zone"].unique().sort(), now))
    return (
        totals.join(counted.select("register_id", "site_id"), on="register_id")
        .join(last_read.select("register_id", "last_read_at"), on="register_id", how="left")
        .with_columns(pl.col("coverage_pct").fill_null(0.0))
        .select(COVERAGE.polars_schema.names())
        .cast(COVERAGE.polars_schema)
        .sort("register_id")
    )


def _year_ago_windows(windows: pl.DataFrame) -> pl.DataFrame:
    """Turn the current windows into those a year ago; an empty window stays empty."""
    current = windows.filter(pl.col("part") == "current")
    rows = []
    for row in current.iter_rows(named=True):
        start_on, end_on = year_ago_days(row["period"], row["computed_on"])
        moved = {
            "part": "year_ago",
            "start_on": start_on,
            "end_on": end_on,
            "start_at": start_on and local_day_bounds(row["zone"], start_on)[0],
            "end_at": end_on and local_day_bounds(row["zone"], end_on)[0],
        }
        rows.append({**row, **moved})
    return pl.DataFrame(rows, schema=windows.schema)


def _trend_pct(prefix: str, *, is_per_hour: bool = False) -> pl.Expr:
    current, previous = pl.col("energy_kwh"), pl.col(f"{prefix}energy_kwh")
    is_sound = (
        (previous > 0)
        & (pl.col("coverage_pct") >= MIN_COVERAGE_PCT)
        & (pl.col(f"{prefix}coverage_pct") >= MIN_COVERAGE_PCT)
    )
    if is_per_hour:
        current, previous = current / pl.col("hours"), previous / pl.col(f"{prefix}hours")
    return pl.when(is_sound).then(100.0 * (current - previous) / previous)


def sole_mains(registers: pl.DataFrame) -> pl.DataFrame:
    """Return the registers that a vendor's figures of a meter stand beside.

    Of a meter with exactly one primary mains register of energy that one; of several none, since
    nobody knows which of them, or whether their sum, the vendor counts.
    """
    is_mains = (pl.col("role") == "mains") & pl.col("is_primary")
    mains = registers.filter(is_energy_register()).filter(is_mains)
    return mains.filter(pl.len().over("meter_id") == 1)


def _beside_mains(vendor_figures: pl.DataFrame, registers: pl.DataFrame) -> pl.DataFrame:
    """Vendor columns per register_id, period and computed_on."""
    return (
        vendor_figures.sort("vendor")
        .unique(["meter_id", "period", "fetched_on"], keep="first", maintain_order=True)
        .join(sole_mains(registers).select("register_id", "meter_id"), on="meter_id")
        .select(
            "register_id",
            "period",
            "vendor",
            computed_on="fetched_on",
            vendor_energy_kwh="energy_kwh",
            vendor_trend_pct="trend_pct",
        )
    )
