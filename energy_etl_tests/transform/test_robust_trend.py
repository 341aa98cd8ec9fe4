"""Theil-Sen: a published vector, ties by hand, outliers, seasons, shift and scale, bad input."""

import math
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import ConfigurationError
from energy_etl.tables.core import REGISTER
from energy_etl.tables.mart import DAILY_ENERGY, ROBUST_TREND
from energy_etl.transform.robust_trend import (
    DAYS_PER_YEAR,
    YEAR_DAYS,
    compute_robust_trends,
    seasonal_sen_slopes,
)
from energy_etl_tests.transform.builders import make_register, utc

NOW = utc("2026-10-28T09:00")
TODAY = date(2026, 10, 28)


def make_days(
    values: Sequence[float | None], register_id: str = "a", **columns: object
) -> pl.DataFrame:
    """Rows of mart.daily_energy, the last one yesterday; None: no such day."""
    first_on = TODAY - timedelta(days=len(values))
    kept = {first_on + timedelta(days=n): v for n, v in enumerate(values) if v is not None}
    constant = {
        "register_id": register_id,
        "site_id": "site",
        "hours": 24.0,
        "coverage_pct": 100.0,
        "is_complete": True,
    }
    return pl.concat(
        [
            DAILY_ENERGY.empty_frame(),
            pl.DataFrame({"local_on": list(kept), "energy_kwh": list(kept.values())})
            .with_columns(**{name: pl.lit(value) for name, value in (constant | columns).items()})
            .cast({"energy_kwh": pl.Float64}),
        ],
        how="diagonal",
    )


def season(n: int) -> float:
    """A year of 365.25 days, as heating has it: 2 to 18 kWh."""
    return 10.0 + 8.0 * math.sin(2 * math.pi * n / DAYS_PER_YEAR)


def trend_of(daily: pl.DataFrame) -> dict:
    return compute_robust_trends(daily, make_register("a"), now=NOW).row(0, named=True)


def test_published_example_of_cloud_seeding_gives_its_slope():
    # Hollander and Wolfe, example 9.1 (Smith 1967): ratios of rainfall in five years of seeding;
    # the published estimate is -0.056. Ten slopes from -0.15 to 0.04; with five years
    # Var(S) = 5 * 4 * 15 / 18, so C = 8.0016 of 10 pairs leaves all of them in the interval.
    table = np.array([[1.26, 1.27, 1.12, 1.16, 1.03]])
    found = seasonal_sen_slopes(table, 1)
    assert found.slope[0] == pytest.approx(-0.05625)
    assert (found.low[0], found.high[0]) == (pytest.approx(-0.15), pytest.approx(0.04))


def test_interval_lies_between_the_ranks_of_kendalls_variance_with_ties():
    # y = 0 0 5 2 9 9 4 7 1 1: two values stand there twice and another one too, so
    # Var(S) = (10 * 9 * 25 - 3 * 2 * 1 * 9) / 18 = 122, C = 1.96 * 11.045 = 21.648, and of 45
    # slopes the interval runs from rank 11.676 to rank 34.324.
    y = np.array([0.0, 0, 5, 2, 9, 9, 4, 7, 1, 1])
    slopes = sorted((y[j] - y[i]) / (j - i) for i in range(10) for j in range(i + 1, 10))
    found = seasonal_sen_slopes(y[None, :], 1)
    half = 1.959963984540054 * np.sqrt(122.0)
    low, high = (45 - half) / 2, (45 + half) / 2 + 1
    ranks = np.arange(1, 46)
    assert found.slope[0] == pytest.approx(slopes[22])
    assert found.low[0] == pytest.approx(np.interp(low, ranks, slopes))
    assert found.high[0] == pytest.approx(np.interp(high, ranks, slopes))


def test_seasons_are_compared_with_themselves_only():
    # Two seasons: 0 1 2 3 and 100 98 96 94; the slopes are 1/2 six times and -1 six times.
    table = np.array([[0.0, 100, 1, 98, 2, 96, 3, 94]])
    found = seasonal_sen_slopes(table, 2)
    assert found.slope[0] == pytest.approx(-0.25)
    assert (found.low[0], found.high[0]) == (pytest.approx(-1.0), pytest.approx(0.5))


def test_row_without_a_pair_is_nan_and_leaves_the_others_alone():
    table = np.array([[np.nan, np.nan, 3.0], [1.0, 2.0, 3.0]])
    found = seasonal_sen_slopes(table, 1)
    assert np.isnan([found.slope[0], found.low[0], found.high[0]]).all()
    assert found.slope[1] == 1.0


@given(
    st.lists(st.integers(0, 400) | st.none(), min_size=20, max_size=40),
    st.integers(-1000, 1000),
    st.integers(1, 64),
)
@settings(max_examples=15, deadline=None)
def test_shift_changes_nothing_and_scale_scales_all(
    eighths: list[int | None], shift: int, scale: int
):
    # Eighths, so that no sum is rounded: a tie must stay one, it counts in the variance.
    table = np.array([[np.nan if each is None else each / 8 for each in eighths]])
    before, after = (
        np.array(seasonal_sen_slopes(each, 7)) for each in (table, table * scale + shift)
    )
    assert np.allclose(before * scale, after, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert not (before[1] > before[0]).any()
    assert not (before[0] > before[2]).any()


@given(st.lists(st.floats(0, 50), min_size=20, max_size=40), st.floats(-2, 2))
@settings(max_examples=10, deadline=None)
def test_a_line_on_top_adds_its_slope(values: list[float], per_day: float):
    table = np.array([values])
    line = np.arange(len(values), dtype=np.float64) * per_day
    flat, tilted = seasonal_sen_slopes(table, 7), seasonal_sen_slopes(table + line, 7)
    assert tilted.slope[0] == pytest.approx(flat.slope[0] + per_day, abs=1e-9)


def test_a_line_under_week_and_season_is_found_exactly_and_is_significant():
    weekday_kwh = [10.0, 11, 12, 13, 14, 30, 2]
    cycle_kwh = [weekday_kwh[n % 7] + season(n) for n in range(YEAR_DAYS)]
    row = trend_of(make_days([cycle_kwh[n % YEAR_DAYS] + 0.01 * n for n in range(3 * YEAR_DAYS)]))
    assert (row["n_days"], row["n_pairs"]) == (3 * YEAR_DAYS, 3 * YEAR_DAYS)
    for column in ("slope", "slope_low", "slope_high"):
        assert row[f"{column}_kwh_per_day_per_year"] == pytest.approx(0.01 * DAYS_PER_YEAR)
    assert row["is_significant"] is True
    assert row["slope_pct_per_year"] == pytest.approx(
        100 * 0.01 * DAYS_PER_YEAR / row["median_kwh_per_day"]
    )
    assert row["reason"] is None


@pytest.mark.parametrize("n_days", [2 * YEAR_DAYS, 2 * YEAR_DAYS + 120, 3 * YEAR_DAYS])
@pytest.mark.parametrize(("per_year", "is_found"), [(0.0, False), (1.5, True)])
def test_season_over_years_is_no_trend_and_a_line_on_top_of_it_is(
    n_days: int, per_year: float, is_found: bool
):
    noise = np.random.default_rng(3).normal(0.0, 1.0, n_days)
    row = trend_of(
        make_days([season(n) + noise[n] + per_year * n / DAYS_PER_YEAR for n in range(n_days)])
    )
    assert row["slope_kwh_per_day_per_year"] == pytest.approx(per_year, abs=0.15)
    assert row["is_significant"] is is_found


def test_days_of_one_autumn_have_no_trend_and_the_reason_says_what_is_missing():
    # Once told as +965 % per year, significant.
    row = trend_of(make_days([5.0 + 0.2 * n for n in range(98)]))
    assert (row["n_days"], row["n_pairs"]) == (98, 0)
    assert row["slope_kwh_per_day_per_year"] is row["slope_pct_per_year"] is None
    assert row["is_significant"] is row["median_kwh_per_day"] is None
    assert row["reason"] == (
        "A robust trend needs days of more than a year: of the last 1092 days 98 are complete and "
        "measured to at least 90 %, they make 0 pairs of days 52 weeks apart, 30 are needed."
    )


@pytest.mark.parametrize(
    ("n_days", "n_pairs", "has_trend"), [(364, 0, False), (393, 29, False), (394, 30, True)]
)
def test_below_thirty_pairs_there_is_no_trend_and_a_reason(
    n_days: int, n_pairs: int, has_trend: bool
):
    row = trend_of(make_days([season(n) + 0.01 * n for n in range(n_days)]))
    assert (row["n_days"], row["n_pairs"]) == (n_days, n_pairs)
    assert (row["slope_kwh_per_day_per_year"] is not None) == has_trend
    assert (row["is_significant"] is not None) == has_trend
    assert (row["reason"] is None) == has_trend


def test_thirteen_months_are_measured_by_the_month_that_they_share():
    # A month of 100 kWh a day, eleven of 10, the month again with 110: 10 % and not 100 %.
    row = trend_of(make_days([100.0] * 30 + [10.0] * 334 + [110.0] * 30))
    assert row["median_kwh_per_day"] == 105.0
    assert row["slope_kwh_per_day_per_year"] == pytest.approx(10.0 * DAYS_PER_YEAR / YEAR_DAYS)
    assert row["slope_pct_per_year"] == pytest.approx(9.556, abs=0.001)


def test_gaps_leave_out_their_pairs_only():
    values: list[float | None] = [1.0] * (3 * YEAR_DAYS)
    values[5] = values[YEAR_DAYS + 9] = values[2 * YEAR_DAYS + 9] = None
    row = trend_of(make_days(values))
    assert (row["n_days"], row["n_pairs"]) == (3 * YEAR_DAYS - 3, 3 * 362 + 1)


def test_odd_days_do_not_move_the_line():
    n_days = YEAR_DAYS + 100
    values: list[float | None] = [10.0 + 0.01 * n for n in range(n_days)]
    wild = list(values)
    wild[3], wild[-3], wild[50] = 5000.0, 0.0, None
    row, calm = trend_of(make_days(wild)), trend_of(make_days(values))
    slope = "slope_kwh_per_day_per_year"
    assert row[slope] == pytest.approx(calm[slope], rel=1e-9)
    least_squares = np.polyfit(np.arange(n_days), np.array([v or 10.5 for v in wild]), 1)[0]
    assert abs(least_squares * DAYS_PER_YEAR - calm[slope]) > calm[slope]


@pytest.mark.parametrize(("kwh", "percent"), [(5.0, 0.0), (0.0, None)])
def test_flat_days_have_a_slope_of_zero_that_is_not_significant_and_no_percent_of_nothing(
    kwh: float, percent: float | None
):
    row = trend_of(make_days([kwh] * 400))
    assert row["slope_kwh_per_day_per_year"] == row["slope_high_kwh_per_day_per_year"] == 0.0
    assert row["is_significant"] is False
    assert row["slope_pct_per_year"] == percent


def test_days_of_23_and_25_hours_count_as_24():
    days = make_days([24.0] * 400)
    is_longer = pl.col("local_on") == date(2026, 10, 25)
    longer = days.with_columns(
        hours=pl.when(is_longer).then(25.0).otherwise(24.0),
        energy_kwh=pl.when(is_longer).then(25.0).otherwise(24.0),
    )
    assert trend_of(longer) == trend_of(days)


@pytest.mark.parametrize(
    "column", [{"is_complete": False}, {"coverage_pct": 89.9}, {"energy_kwh": None}]
)
def test_days_that_are_not_sufficient_are_left_out(column: dict):
    good = make_days([10.0] * 40)
    bad = make_days([10.0] * 20, **column)
    mixed = pl.concat([bad, good.join(bad, on="local_on", how="anti")])
    assert trend_of(mixed)["n_days"] == 20


def test_only_the_last_three_cycles_before_today_count():
    row = trend_of(make_days([9999.0] * 8 + [1.0] * (3 * YEAR_DAYS)))
    assert (row["n_days"], row["n_pairs"]) == (1092, 1092)
    assert row["start_on"] == TODAY - timedelta(days=1092)
    today = make_days([9999.0]).with_columns(local_on=pl.lit(TODAY))
    row = trend_of(pl.concat([make_days([1.0] * 400), today]))
    assert (row["n_days"], row["median_kwh_per_day"]) == (400, 1.0)


def test_each_energy_register_has_a_row_whatever_its_neighbours_hold():
    registers = pl.concat(
        [
            make_register("never"),
            make_register("b", zone="Pacific/Kiritimati"),
            make_register("a"),
            make_register("water", commodity="water", unit="m3"),
        ]
    )
    rising = [float(n) for n in range(420)]
    daily = pl.concat([make_days(rising), make_days([*rising[::-1]], "b")])
    trends = compute_robust_trends(daily, registers, now=utc("2026-10-28T20:00"))
    assert trends.schema == ROBUST_TREND.polars_schema
    assert trends["register_id"].to_list() == ["a", "b", "never"]
    slopes = trends["slope_kwh_per_day_per_year"].to_list()
    assert slopes == [pytest.approx(DAYS_PER_YEAR), pytest.approx(-DAYS_PER_YEAR), None]
    assert trends["computed_on"].to_list() == [TODAY, date(2026, 10, 29), TODAY]
    assert trends["n_days"].to_list() == [420, 420, 0]
    assert trends["n_pairs"].to_list() == [56, 56, 0]
    assert trends["median_kwh_per_day"][2] is None


def test_no_registers_give_an_empty_table_and_an_unknown_zone_an_error():
    empty = compute_robust_trends(DAILY_ENERGY.empty_frame(), REGISTER.empty_frame(), now=NOW)
    assert empty.schema == ROBUST_TREND.polars_schema
    with pytest.raises(ConfigurationError, match="Europe/Rom"):
        compute_robust_trends(
            DAILY_ENERGY.empty_frame(), make_register("a", zone="Europe/Rom"), now=NOW
        )
