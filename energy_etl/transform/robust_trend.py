"""Daily energy -> a trend that a few odd days do not move (`mart.robust_trend`).

Comparisons of two periods are in `trends.py`, trends with the weather taken out in
`weather_trend.py`.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_etl.periods import local_day_of
from energy_etl.tables.mart import ROBUST_TREND
from energy_etl.transform.windows import is_energy_register

WINDOW_DAYS: Final = 365
MIN_DAYS: Final = 30
MIN_COVERAGE_PCT: Final = 90.0
DAYS_PER_WEEK: Final = 7
DAYS_PER_YEAR: Final = 365.25

# Quantile of the standard normal distribution for a two-sided 95 % interval.
_Z: Final = 1.959963984540054
# 9,334 pairs of days and their sorted copy: 150 kB a register.
_CHUNK_REGISTERS: Final = 128

FloatArray = NDArray[np.float64]


class SenSlopes(NamedTuple):
    """One value per row: the slope per step and its interval; NaN where a row has no pair.

    Attributes:
        slope: median of the slopes.
        low: lower end of the 95 % interval.
        high: upper end of it.
    """

    slope: FloatArray
    low: FloatArray
    high: FloatArray


def compute_robust_trends(
    daily: pl.DataFrame, registers: pl.DataFrame, *, now: datetime
) -> pl.DataFrame:
    """Fit a Theil-Sen line to the last 365 complete days of each register of kWh.

    The slope is the median of the slopes between days that are a multiple of seven apart: a
    Monday is held against Mondays only, so neither the pattern of the week nor where in it the
    window begins moves the line, and no day has to be adjusted. This is the seasonal Kendall slope
    with weekdays as seasons (`seasonal_sen_slopes`). The seasons of the year are not taken out: a
    year that begins in spring and ends in winter rises with the heating, significantly so. What is
    left without the weather is in `mart.weather_trend`, against last year in
    `mart.period_trend.year_on_year_pct`.

    Args:
        daily: `mart.daily_energy`; used are days that are complete, before the local day of `now`
            and measured to at least 90 % (CalTRACK 2.2.1: daily coverage), scaled to 24 hours.
        registers: `core.register`.
        now: the instant of the computation.

    Returns:
        `mart.robust_trend`, one row per register of energy, sorted by register_id; slopes per year
        of 365.25 days. With fewer than 30 such days the slopes are null and `reason` says so; the
        median of the days stays, null when there is none. `slope_pct_per_year` is null when the
        median is not above 0. `is_significant` is False when the interval touches 0.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    energy = registers.filter(is_energy_register()).sort("register_id").with_row_index("row")
    if energy.is_empty():
        return ROBUST_TREND.empty_frame()
    zones = energy["zone"].unique()
    today = pl.DataFrame(
        {"zone": zones, "computed_on": [local_day_of(zone, now) for zone in zones]},
        schema_overrides={"computed_on": pl.Date},
    )
    window = pl.duration(days=WINDOW_DAYS)
    wanted = energy.join(today, on="zone").with_columns(start_on=pl.col("computed_on") - window)
    days = (
        daily.filter(
            pl.col("is_complete"),
            pl.col("coverage_pct") >= MIN_COVERAGE_PCT,
            pl.col("local_on") >= wanted["start_on"].min(),
        )
        .select("register_id", "local_on", kwh=pl.col("energy_kwh") * 24.0 / pl.col("hours"))
        .join(wanted.select("row", "register_id", "start_on", "computed_on"), on="register_id")
        .filter(pl.col("local_on").is_between("start_on", "computed_on", closed="left"))
        .select("row", "kwh", day=(pl.col("local_on") - pl.col("start_on")).dt.total_days())
        .filter(pl.col("kwh").is_finite())
    )
    per_row = days.group_by("row").agg(n_days=pl.len(), median_kwh_per_day=pl.col("kwh").median())
    enough = per_row.filter(pl.col("n_days") >= MIN_DAYS).select("row").sort("row")
    slopes = _slopes_by_row(days, enough["row"])
    slope, median = pl.col("slope_kwh_per_day_per_year"), pl.col("median_kwh_per_day")
    low, high = (pl.col(f"slope_{end}_kwh_per_day_per_year") for end in ("low", "high"))
    return (
        wanted.join(per_row, on="row", how="left")
        .join(slopes, on="row", how="left")
        .with_columns(
            n_days=pl.col("n_days").fill_null(0),
            slope_pct_per_year=pl.when(median > 0).then(100.0 * slope / median),
            is_significant=(low > 0) | (high < 0),
        )
        .with_columns(
            reason=pl.when(slope.is_null()).then(
                pl.format(
                    "Only {} of the last {} days are complete and measured to at least {} %; a "
                    "robust trend needs {}.",
                    "n_days",
                    pl.lit(WINDOW_DAYS),
                    pl.lit(f"{MIN_COVERAGE_PCT:g}"),
                    pl.lit(MIN_DAYS),
                )
            )
        )
        .sort("register_id")
        .select(ROBUST_TREND.polars_schema.names())
        .cast(ROBUST_TREND.polars_schema)
    )


def _slopes_by_row(days: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """Slopes per year of the given rows, a chunk of registers at a time."""
    found = [SenSlopes(np.empty(0), np.empty(0), np.empty(0))]
    for first in range(0, rows.len(), _CHUNK_REGISTERS):
        chunk = rows.slice(first, _CHUNK_REGISTERS)
        numbered = pl.DataFrame({"row": chunk}).with_row_index("number")
        mine = days.join(numbered, on="row")
        table = np.full((chunk.len(), WINDOW_DAYS), np.nan)
        table[mine["number"].to_numpy(), mine["day"].to_numpy()] = mine["kwh"].to_numpy()
        found.append(seasonal_sen_slopes(table, DAYS_PER_WEEK))
    per_year = {
        f"{name}_kwh_per_day_per_year": np.concatenate([getattr(each, field) for each in found])
        * DAYS_PER_YEAR
        for field, name in (("slope", "slope"), ("low", "slope_low"), ("high", "slope_high"))
    }
    return pl.DataFrame({"row": rows, **per_year})


def seasonal_sen_slopes(table: FloatArray, n_seasons: int) -> SenSlopes:
    """Return Sen's slope per step of each row, between columns of the same season only.

    Column j belongs to season `j % n_seasons`; with one season this is the plain Theil-Sen
    estimator. The slope is the median of Q = (y[j] - y[i]) / (j - i) over all pairs i < j of a
    season. With N pairs, C = 1.96 * sqrt(sum over seasons of Var(S)) and
    Var(S) = (n(n-1)(2n+5) - sum over ties t(t-1)(2t+5)) / 18 (Kendall), the 95 % interval runs from
    the ((N - C) / 2)-th to the ((N + C) / 2 + 1)-th smallest Q, interpolated between neighbours and
    at most from the smallest to the largest.

    Sources: Sen (1968), J. Am. Stat. Assoc. 63, 1379-1389; Hollander and Wolfe, Nonparametric
    Statistical Methods, chapter 9; the sum over seasons: Hirsch, Slack and Smith (1982), Water
    Resour. Res. 18, 107-121, and Gilbert (1987), Statistical Methods for Environmental Pollution
    Monitoring, 16.4 and 17.3. Like those it takes the days as independent: runs of days that are
    alike make the true interval wider.

    Args:
        table: values in equal steps along the columns, one series per row; NaN where missing.
        n_seasons: number of columns after which a season comes again.
    """
    lags = range(n_seasons, table.shape[1], n_seasons)
    pairs = [(table[:, lag:] - table[:, :-lag]) / lag for lag in lags]
    # NaN is sorted behind everything.
    slopes = np.sort(np.concatenate([np.full((len(table), 1), np.nan), *pairs], axis=1), axis=1)
    n_pairs = np.count_nonzero(~np.isnan(slopes), axis=1).astype(np.float64)
    variance = sum(
        (_kendall_variance(table[:, season::n_seasons]) for season in range(n_seasons)),
        start=np.zeros(len(table)),
    )
    half = _Z * np.sqrt(variance)
    return SenSlopes(
        _ranked(slopes, n_pairs, (n_pairs + 1.0) / 2.0),
        _ranked(slopes, n_pairs, (n_pairs - half) / 2.0),
        _ranked(slopes, n_pairs, (n_pairs + half) / 2.0 + 1.0),
    )


def _kendall_variance(values: FloatArray) -> FloatArray:
    """Variance of Kendall's S of each row, NaN left out, tied values counted."""
    ordered = np.sort(values, axis=1)
    n = np.count_nonzero(~np.isnan(ordered), axis=1).astype(np.float64)
    tied = np.zeros(len(ordered))
    run = np.ones(len(ordered))
    for column in range(1, ordered.shape[1]):
        run = np.where(ordered[:, column] == ordered[:, column - 1], run + 1.0, 1.0)
        # What the run's term grows by with its newest member, from t - 1 to t.
        tied += _kendall_term(run) - _kendall_term(run - 1.0)
    return (_kendall_term(n) - tied) / 18.0


def _kendall_term(n: FloatArray) -> FloatArray:
    return n * (n - 1.0) * (2.0 * n + 5.0)


def _ranked(ordered: FloatArray, n: FloatArray, rank: FloatArray) -> FloatArray:
    """Value of each sorted row at a rank that counts from 1, interpolated, within 1 to n."""
    at: Any = np.clip(rank, 1.0, np.maximum(n, 1.0)) - 1.0
    below = np.floor(at).astype(np.int64)
    above = np.ceil(at).astype(np.int64)
    row = np.arange(len(ordered))
    low, high = ordered[row, below], ordered[row, above]
    return low + (high - low) * (at - below)
