"""Daily energy over windows of complete local days: energy, coverage, hours.

What a period is stands in `periods.py`; what is made of two windows in `trends.py` and
`disaggregation.py`.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Literal

import polars as pl

from energy_etl.periods import PERIODS, local_day_bounds, local_day_of, period_window
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.calendar import expected_intervals, with_grid
from energy_etl.transform.registers_power import is_integrated
from energy_etl.transform.sums import exact_sum
from energy_etl.units import KWH_PER_UNIT

Part = Literal["current", "previous", "whole", "year_ago"]

COVERAGE_DAYS: Final = 7
# What a register of a role adds to its site's consumption: import + production - export.
CONSUMPTION_SIGN: Final = {"mains": 1.0, "production": 1.0, "export": -1.0}
_WINDOW_SCHEMA: Final = pl.Schema(
    {
        "zone": pl.String(),
        "computed_on": pl.Date(),
        "period": pl.String(),
        "part": pl.String(),
        "start_on": pl.Date(),
        "end_on": pl.Date(),
        "start_at": UTC_INSTANT,
        "end_at": UTC_INSTANT,
    }
)


def is_energy_register() -> pl.Expr:
    """Return the condition on `core.register` rows that give kWh: counted, or integrated.

    To be asked of all registers of a site at once.
    """
    is_counted = (pl.col("kind") != "instant") & pl.col("unit").is_in(list(KWH_PER_UNIT))
    return is_counted | is_integrated()


def period_windows(zones: Iterable[str], now: datetime) -> pl.DataFrame:
    """List the windows of the six periods: current, previous, and the whole previous period.

    Returns:
        One row per zone, period and part: zone, computed_on (local date of now), period, part,
        start_on, end_on, start_at, end_at. An empty window has its row, with nulls.
    """
    rows = []
    for zone in zones:
        local_on = local_day_of(zone, now)
        for period in PERIODS:
            window = period_window(period, local_on)
            for part, start_on, end_on in (
                ("current", window.start_on, window.end_on),
                ("previous", window.previous_start_on, window.previous_end_on),
                ("whole", window.previous_start_on, window.previous_whole_end_on),
            ):
                start_at = None if start_on is None else local_day_bounds(zone, start_on)[0]
                end_at = None if end_on is None else local_day_bounds(zone, end_on)[0]
                rows.append((zone, local_on, period, part, start_on, end_on, start_at, end_at))
    return pl.DataFrame(rows, schema=_WINDOW_SCHEMA, orient="row")


def last_days_window(
    zones: Iterable[str], now: datetime, n_days: int = COVERAGE_DAYS
) -> pl.DataFrame:
    """List one window per zone: the last complete local days, as `period_windows` does."""
    rows = []
    for zone in zones:
        local_on = local_day_of(zone, now)
        start_on = local_on - timedelta(days=n_days)
        bounds = local_day_bounds(zone, start_on)[0], local_day_bounds(zone, local_on)[0]
        rows.append((zone, local_on, "coverage", "current", start_on, local_on, *bounds))
    return pl.DataFrame(rows, schema=_WINDOW_SCHEMA, orient="row")


def sum_windows(
    daily: pl.DataFrame, registers: pl.DataFrame, windows: pl.DataFrame
) -> pl.DataFrame:
    """Add up daily energy per register and window of its zone.

    Args:
        daily: `mart.daily_energy`.
        registers: rows of `core.register` (register_id, zone, grid_minutes).
        windows: as `period_windows` lists them.

    Returns:
        One row per register and window, not sorted: register_id, the columns of windows,
        energy_kwh (null when no day has any), n_expected (from the real length in UTC, also of
        days that have no row), n_measured, n_estimated, hours, coverage_pct. In an empty window
        all of these are null.
    """
    grids = with_grid(registers.select("register_id", "zone", "grid_minutes"))
    wanted = grids.join(windows, on="zone")
    recent = daily.filter(
        pl.col("local_on") >= windows["start_on"].min(),
        pl.col("local_on") < windows["end_on"].max(),
    )
    key = ["register_id", "period", "part"]
    found = (
        recent.select("register_id", "local_on", "energy_kwh", "n_measured", "n_estimated")
        .join(wanted.select(*key, "start_on", "end_on"), on="register_id")
        .filter(pl.col("local_on").is_between("start_on", "end_on", closed="left"))
        .group_by(key)
        .agg(
            energy_kwh=exact_sum(pl.col("energy_kwh")),
            n_measured=pl.col("n_measured").sum(),
            n_estimated=pl.col("n_estimated").sum(),
        )
    )
    is_empty = pl.col("start_on").is_null()
    return (
        wanted.join(found, on=key, how="left")
        .with_columns(
            pl.when(~is_empty).then(pl.col("n_measured").fill_null(0)).name.keep(),
            pl.when(~is_empty).then(pl.col("n_estimated").fill_null(0)).name.keep(),
            n_expected=expected_intervals(),
            hours=(pl.col("end_at") - pl.col("start_at")).dt.total_minutes() / 60.0,
        )
        .with_columns(
            coverage_pct=pl.when(pl.col("n_expected") > 0).then(
                100.0 * pl.col("n_measured") / pl.col("n_expected")
            )
        )
    )


def part_of(totals: pl.DataFrame, part: Part, *columns: str, prefix: str = "") -> pl.DataFrame:
    """Pick one part of `sum_windows`: register_id, period and the columns, renamed by prefix."""
    picked = [pl.col(column).alias(f"{prefix}{column}") for column in columns]
    return totals.filter(pl.col("part") == part).select("register_id", "period", *picked)
