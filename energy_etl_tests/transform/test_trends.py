"""Own trends beside the vendor's, and coverage: unequal lengths, thin data, empty windows."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from energy_etl.errors import ConfigurationError
from energy_etl.periods import PERIODS
from energy_etl.tables.core import REGISTER, VENDOR_FIGURE
from energy_etl.tables.mart import COVERAGE, DAILY_ENERGY, PERIOD_TREND
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.trends import compute_coverage, compute_period_trends
from energy_etl_tests.transform.builders import make_flat_load, make_register, utc

NOW = datetime.fromisoformat("2026-10-28T09:00+01:00")
SINCE = utc("2026-07-31T22:00")
MAINS = make_register("a", meter_id="m")
NO_FIGURES = VENDOR_FIGURE.empty_frame()
NO_READINGS = pl.DataFrame(
    schema={"register_id": pl.String, "last_read_at": pl.Datetime("us", "UTC")}
)
FLAT = make_flat_load("a", SINCE, NOW, kwh=0.25)


def trends_of(
    intervals: pl.DataFrame,
    registers: pl.DataFrame = MAINS,
    figures: pl.DataFrame = NO_FIGURES,
    now: datetime = NOW,
) -> pl.DataFrame:
    daily = compute_daily(intervals, registers, now=now)
    return compute_period_trends(daily, registers, figures, now=now)


def row_of(trends: pl.DataFrame, period: str, register_id: str = "a") -> dict:
    rows = trends.filter(pl.col("period") == period, pl.col("register_id") == register_id)
    assert rows.height == 1
    return rows.row(0, named=True)


def make_figure(**columns: object) -> pl.DataFrame:
    row: dict[str, object] = {
        "meter_id": "m",
        "vendor": "digiwatt",
        "period": "last-week",
        "fetched_on": date(2026, 10, 28),
        "energy_kwh": 150.0,
        "trend_pct": 3.0,
    }
    return pl.DataFrame([row | columns], schema=VENDOR_FIGURE.polars_schema)


def without(intervals: pl.DataFrame, first_at: datetime, count: int) -> pl.DataFrame:
    """Drop `count` quarter hours from first_at on."""
    end_at = first_at + timedelta(minutes=15 * count)
    return intervals.filter(~pl.col("start_at").is_between(first_at, end_at, closed="left"))


def test_flat_load_over_a_clock_change_grows_only_by_its_length():
    row = row_of(trends_of(FLAT), "last-week")
    assert (row["energy_kwh"], row["previous_energy_kwh"]) == (169.0, 168.0)
    assert row["trend_pct"] == pytest.approx(100 / 168)
    assert row["trend_per_day_pct"] == pytest.approx(0.0, abs=1e-12)
    assert row["coverage_pct"] == row["previous_coverage_pct"] == 100.0
    assert (row["start_on"], row["end_on"]) == (date(2026, 10, 19), date(2026, 10, 26))
    assert (row["previous_start_on"], row["previous_end_on"]) == (
        date(2026, 10, 12),
        date(2026, 10, 19),
    )
    assert row["computed_on"] == date(2026, 10, 28)


def test_march_against_february_is_10_6_percent_at_flat_load_and_0_per_hour():
    now = utc("2026-04-10T09:00")
    load = make_flat_load("a", utc("2026-01-31T23:00"), now, kwh=0.25)
    row = row_of(trends_of(load, now=now), "last-month")
    assert (row["energy_kwh"], row["previous_energy_kwh"]) == (743.0, 672.0)
    assert row["trend_pct"] == pytest.approx(10.6, abs=0.05)
    assert row["trend_per_day_pct"] == pytest.approx(0.0, abs=1e-12)


def test_this_month_stands_beside_the_elapsed_part_and_the_whole_of_the_month_before():
    row = row_of(trends_of(FLAT), "this-month")
    assert (row["energy_kwh"], row["previous_energy_kwh"]) == (649.0, 648.0)
    assert row["trend_pct"] == pytest.approx(100 / 648)
    assert row["trend_whole_pct"] == pytest.approx(100 * (649 - 720) / 720)
    whole_week = row_of(trends_of(FLAT), "last-week")
    assert whole_week["trend_whole_pct"] == whole_week["trend_pct"]


def test_the_running_day_is_not_part_of_any_period():
    loud_today = FLAT.with_columns(
        energy_kwh=pl.when(pl.col("start_at") >= utc("2026-10-27T23:00")).then(99.0).otherwise(0.25)
    )
    assert trends_of(loud_today).equals(trends_of(FLAT))


def test_this_week_on_a_monday_is_null_and_not_zero():
    monday = utc("2026-10-26T10:00")
    row = row_of(trends_of(FLAT, now=monday), "this-week")
    kept = {"register_id", "site_id", "meter_id", "period", "computed_on"}
    assert {name for name, value in row.items() if value is not None} == kept
    assert row["computed_on"] == date(2026, 10, 26)


@pytest.mark.parametrize(("n_missing", "has_trend"), [(33, True), (34, False)])
@pytest.mark.parametrize("missing_at", ["2026-10-22T00:00", "2026-10-16T00:00"])
def test_below_95_percent_of_either_window_there_is_no_trend(
    missing_at: str, n_missing: int, has_trend: bool
):
    # The week has 676 intervals, the one before 672: without 33 of them 95.12 or 95.09 % are left,
    # without 34 it is 94.97 or 94.94 %.
    row = row_of(trends_of(without(FLAT, utc(missing_at), n_missing)), "last-week")
    for column in ("trend_pct", "trend_per_day_pct"):
        assert (row[column] is not None) == has_trend
    assert row["energy_kwh"] is not None


def test_year_on_year_compares_the_same_dates_of_a_month_and_the_same_weekdays_of_a_week():
    # Twice as much since the summer, and every Monday ten times as much.
    load = make_flat_load("a", utc("2025-08-31T22:00"), NOW, minutes=60)
    is_monday = pl.col("start_at").dt.convert_time_zone("Europe/Rome").dt.weekday() == 1
    factor = pl.when(pl.col("start_at") >= utc("2026-08-31T22:00")).then(2.0).otherwise(1.0)
    factor = factor * pl.when(is_monday).then(10.0).otherwise(1.0)
    trends = trends_of(
        load.with_columns(energy_kwh=factor), make_register("a", meter_id="m", grid_minutes=60)
    )
    week = row_of(trends, "last-week")
    assert (week["year_ago_start_on"], week["year_ago_end_on"]) == (
        date(2025, 10, 20),
        date(2025, 10, 27),
    )
    # Both have one Monday and the hour that the clock change of October adds.
    assert week["year_on_year_pct"] == pytest.approx(100.0)
    month = row_of(trends, "last-month")
    assert (month["year_ago_start_on"], month["year_ago_end_on"]) == (
        date(2025, 9, 1),
        date(2025, 10, 1),
    )
    # September 2025 had five Mondays, September 2026 has four: months are not adjusted.
    assert month["year_on_year_pct"] == pytest.approx(100 * (2 * (26 + 40) / (25 + 50) - 1))
    assert month["year_ago_coverage_pct"] == 100.0


def test_flat_load_grew_by_a_leap_day_against_the_february_before():
    now = utc("2028-03-10T09:00")
    load = make_flat_load("a", utc("2027-01-31T23:00"), now, minutes=60)
    register = make_register("a", meter_id="m", grid_minutes=60)
    row = row_of(trends_of(load, register, now=now), "last-month")
    assert (row["energy_kwh"], row["year_ago_energy_kwh"]) == (29 * 24.0, 28 * 24.0)
    assert row["year_on_year_pct"] == pytest.approx(100 / 28)
    assert row["year_on_year_per_day_pct"] == pytest.approx(0.0, abs=1e-12)


def test_without_a_year_of_data_there_is_no_year_on_year():
    row = row_of(trends_of(FLAT), "last-week")
    assert row["year_ago_energy_kwh"] is None
    assert row["year_ago_coverage_pct"] == 0.0
    assert row["year_on_year_pct"] is None


def test_estimated_intervals_do_not_carry_a_trend():
    guessed = FLAT.with_columns(
        quality=pl.when(pl.col("start_at").dt.hour() < 3)
        .then(pl.lit("estimated"))
        .otherwise("quality")
    )
    row = row_of(trends_of(guessed), "last-week")
    assert row["energy_kwh"] == 169.0
    assert row["coverage_pct"] == pytest.approx(87.5, abs=0.2)
    assert row["trend_pct"] is None


def test_days_before_the_first_interval_count_as_expected():
    late = FLAT.filter(pl.col("start_at") >= utc("2026-10-24T22:00"))
    row = row_of(trends_of(late), "last-week")
    assert row["energy_kwh"] == 25.0
    assert row["coverage_pct"] == pytest.approx(100 * 100 / 676)
    assert row["previous_coverage_pct"] == 0.0
    assert row["previous_energy_kwh"] is None
    assert row["trend_pct"] is None


@pytest.mark.parametrize("previous", [0.0, -0.25])
def test_nothing_used_before_gives_no_trend(previous: float):
    is_before = pl.col("start_at") < utc("2026-10-18T22:00")
    load = FLAT.with_columns(energy_kwh=pl.when(is_before).then(previous).otherwise(0.25))
    row = row_of(trends_of(load), "last-week")
    assert row["previous_energy_kwh"] == previous * 672
    assert row["trend_pct"] is None
    assert row["trend_whole_pct"] is None


def test_each_site_counts_from_its_own_local_date():
    now = utc("2026-10-28T02:00")
    registers = pl.concat(
        [
            make_register("a", zone="America/New_York"),
            make_register("b", zone="Australia/Lord_Howe"),
        ]
    )
    trends = trends_of(FLAT, registers, now=now)
    assert row_of(trends, "yesterday", "a")["computed_on"] == date(2026, 10, 27)
    assert row_of(trends, "yesterday", "b")["computed_on"] == date(2026, 10, 28)


def test_energy_registers_have_six_rows_each_and_others_none():
    registers = pl.concat(
        [
            MAINS,
            make_register("never-came", unit="Wh"),
            make_register("water", commodity="water", unit="m3"),
            make_register("power", meter_id="m", kind="instant", unit="W"),
        ]
    )
    trends = trends_of(FLAT, registers)
    assert trends.schema == PERIOD_TREND.polars_schema
    assert trends.equals(trends.sort(PERIOD_TREND.key))
    assert trends.select("register_id", "period").rows() == [
        (name, period) for name in ("a", "never-came") for period in sorted(PERIODS)
    ]
    assert row_of(trends, "last-week", "never-came")["energy_kwh"] is None
    assert row_of(trends, "last-week", "never-came")["coverage_pct"] == 0.0


def test_energy_that_was_integrated_from_power_reached_no_mart():
    """Its intervals were there and were delivered; days, trends and coverage left it out."""
    pv = make_register("pv", kind="instant", unit="W", role="production")
    days = make_flat_load("pv", utc("2026-10-01T22:00"), utc("2026-10-27T23:00"), kwh=0.5)
    intervals = days.with_columns(quality=pl.lit("integrated"))
    daily = compute_daily(intervals, pv, now=NOW)
    assert daily.filter(pl.col("local_on") == date(2026, 10, 20))["energy_kwh"].item() == 48.0
    trends = compute_period_trends(daily, pv, NO_FIGURES, now=NOW)
    assert row_of(trends, "last-week", "pv")["energy_kwh"] is not None
    last_read = pl.DataFrame({"register_id": ["pv"], "last_read_at": [NOW]})
    assert compute_coverage(daily, pv, last_read, now=NOW)["register_id"].to_list() == ["pv"]


def test_no_registers_give_an_empty_table():
    trends = compute_period_trends(
        DAILY_ENERGY.empty_frame(), REGISTER.empty_frame(), NO_FIGURES, now=NOW
    )
    assert trends.schema == PERIOD_TREND.polars_schema
    assert trends.is_empty()


def test_an_unknown_zone_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="Europe/Rom"):
        compute_period_trends(
            DAILY_ENERGY.empty_frame(), make_register("a", zone="Europe/Rom"), NO_FIGURES, now=NOW
        )


def test_the_vendors_figure_stands_beside_the_mains_register_of_its_meter():
    registers = pl.concat([MAINS, make_register("pv", meter_id="m", role="production")])
    load = pl.concat([FLAT, FLAT.with_columns(register_id=pl.lit("pv"))])
    trends = trends_of(load, registers, make_figure())
    row = row_of(trends, "last-week")
    assert (row["vendor"], row["vendor_energy_kwh"], row["vendor_trend_pct"]) == (
        "digiwatt",
        150.0,
        3.0,
    )
    assert row["vendor_difference_pct"] == pytest.approx(100 * (150 - 169) / 169)
    assert trends["vendor"].drop_nulls().len() == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"fetched_on": date(2026, 10, 27)},
        {"meter_id": "other"},
        {"period": "last-year"},
    ],
)
def test_a_figure_of_another_day_meter_or_period_stands_beside_nothing(columns: dict):
    assert trends_of(FLAT, figures=make_figure(**columns))["vendor"].drop_nulls().is_empty()


def test_a_meter_with_two_mains_registers_is_not_compared_with_either():
    registers = pl.concat([MAINS, make_register("night", meter_id="m")])
    assert trends_of(FLAT, registers, make_figure())["vendor"].drop_nulls().is_empty()


def test_a_second_view_of_the_mains_does_not_hide_the_comparison():
    registers = pl.concat([MAINS, make_register("copy", meter_id="m", is_primary=False)])
    trends = trends_of(FLAT, registers, make_figure())
    assert row_of(trends, "last-week")["vendor"] == "digiwatt"
    assert row_of(trends, "last-week", "copy")["vendor"] is None


def test_of_two_vendors_the_first_by_name_is_shown():
    figures = pl.concat([make_figure(vendor="zeta", energy_kwh=1.0), make_figure()])
    row = row_of(trends_of(FLAT, figures=figures), "last-week")
    assert (row["vendor"], row["vendor_energy_kwh"]) == ("digiwatt", 150.0)


def test_difference_is_null_when_there_is_no_energy_of_our_own():
    nothing = FLAT.with_columns(energy_kwh=pl.lit(0.0))
    row = row_of(trends_of(nothing, figures=make_figure()), "last-week")
    assert (row["vendor_energy_kwh"], row["vendor_difference_pct"]) == (150.0, None)


def test_coverage_spans_seven_complete_local_days():
    # 2026-10-21 to 10-27 in Rome: 169 hours; the first quarter hours of 10-21 are missing.
    thin = without(FLAT, utc("2026-10-20T22:00"), 20)
    daily = compute_daily(thin, MAINS, now=NOW)
    last_read = pl.DataFrame({"register_id": ["a"], "last_read_at": [NOW]}).cast(NO_READINGS.schema)
    coverage = compute_coverage(daily, MAINS, last_read, now=NOW)
    row = coverage.row(0, named=True)
    assert (row["n_expected"], row["n_measured"], row["n_estimated"]) == (676, 656, 0)
    assert row["coverage_pct"] == pytest.approx(100 * 656 / 676)
    assert row["last_read_at"] == NOW
    assert row["computed_on"] == date(2026, 10, 28)


def test_a_register_that_never_came_is_in_the_coverage_and_a_sensor_is_not():
    registers = pl.concat(
        [
            make_register("water", commodity="water", unit="m3"),
            MAINS,
            make_register("sensor", kind="instant", unit="degC"),
        ]
    )
    daily = compute_daily(FLAT, registers, now=NOW)
    coverage = compute_coverage(daily, registers, NO_READINGS, now=NOW)
    assert coverage.schema == COVERAGE.polars_schema
    assert coverage["register_id"].to_list() == ["a", "water"]
    never = coverage.row(1, named=True)
    assert (never["n_expected"], never["n_measured"], never["coverage_pct"]) == (676, 0, 0.0)
    assert never["last_read_at"] is None


def test_coverage_of_no_registers_is_empty():
    empty = compute_coverage(
        DAILY_ENERGY.empty_frame(), REGISTER.empty_frame(), NO_READINGS, now=NOW
    )
    assert empty.schema == COVERAGE.polars_schema
    assert empty.is_empty()
