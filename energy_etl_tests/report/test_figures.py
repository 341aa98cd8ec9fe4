"""What the report says of sites, against sums by hand."""

from datetime import date, timedelta

import polars as pl
import pytest

from energy_etl.report.appliances import Appliance
from energy_etl.report.charts import common_series, series_of
from energy_etl.report.figures import Site, compute_sites
from energy_etl_tests.report.world import NOW, TODAY, make


def site_of(frames: dict[str, pl.DataFrame]) -> Site:
    return compute_sites(frames, NOW)[0]


def without_day(frames: dict[str, pl.DataFrame], on: date) -> None:
    frames["site_daily"] = frames["site_daily"].filter(pl.col("local_on") != on)


def test_last_week_and_month_are_the_sums_of_their_days() -> None:
    site = site_of(make(["Mill"]))
    week = site.amounts["electricity", "last-week"]
    # Monday to Sunday, 10 kWh and one more each day.
    assert (week.start_on, week.end_on) == (date(2026, 11, 9), date(2026, 11, 16))
    assert week.amount == pytest.approx(7 * 10 + sum(range(7)))
    assert (week.change_pct, week.coverage_pct) == (pytest.approx(0.0), pytest.approx(100.0))
    month = site.amounts["electricity", "last-month"]
    october = [date(2026, 10, 1) + timedelta(days=n) for n in range(31)]
    assert month.amount == pytest.approx(sum(10 + on.weekday() for on in october))
    assert site.costs["last-week"].amount == pytest.approx(21.5)


def test_day_without_data_lowers_coverage_and_hides_the_comparison() -> None:
    frames = make(["Mill"])
    without_day(frames, date(2026, 11, 11))
    week = site_of(frames).amounts["electricity", "last-week"]
    assert week.amount == pytest.approx(91 - 12)
    assert week.coverage_pct == pytest.approx(100 * 6 / 7)
    assert (week.change_pct, week.change_reason) == (None, "under 95 % measured")


def test_day_of_25_hours_weighs_25_hours() -> None:
    frames = make(["Mill"])
    without_day(frames, date(2026, 10, 25))
    month = site_of(frames).amounts["electricity", "last-month"]
    # Also a day without a row has the hours of its zone.
    assert month.coverage_pct == pytest.approx(100 * 30 * 24 / (30 * 24 + 25))
    frames = make(["Mill"])
    half = pl.when(pl.col("local_on") == date(2026, 10, 25)).then(50.0)
    frames["site_daily"] = frames["site_daily"].with_columns(
        coverage_pct=half.otherwise("coverage_pct")
    )
    month = site_of(frames).amounts["electricity", "last-month"]
    assert month.coverage_pct == pytest.approx(100 * (30 * 24 + 12.5) / (30 * 24 + 25))


def test_period_without_any_day_has_no_number() -> None:
    frames = make(["Mill"])
    frames["site_daily"] = frames["site_daily"].filter(pl.col("local_on") > date(2026, 11, 15))
    week = site_of(frames).amounts["electricity", "last-week"]
    assert (week.amount, week.previous, week.change_pct) == (None, None, None)
    assert week.reason == "nothing measured"


def test_periods_are_counted_from_the_day_of_the_computation() -> None:
    frames = make(["Mill"])
    frames["trend"] = frames["trend"].with_columns(computed_on=TODAY - timedelta(days=7))
    week = site_of(frames).amounts["electricity", "last-week"]
    assert week.start_on == date(2026, 11, 2)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("tariff", pl.col("site_id") == "nobody", "no tariff"),
        ("cost", pl.col("site_id") == "nobody", "nothing measured"),
    ],
)
def test_cost_that_is_unknown_says_why(name: str, change: pl.Expr, reason: str) -> None:
    frames = make(["Mill"])
    frames[name] = frames[name].filter(change)
    cost = site_of(frames).costs["last-week"]
    assert (cost.amount, cost.reason) == (None, reason)


def test_hole_in_the_tariffs_hides_the_cost() -> None:
    frames = make(["Mill"])
    frames["cost"] = frames["cost"].with_columns(unpriced_kwh=pl.lit(3.0), cost=pl.lit(None))
    assert site_of(frames).costs["last-week"].reason == "hole in the tariffs"


def test_price_of_what_is_fed_back_alone_is_no_cost_of_the_site() -> None:
    frames = make(["Mill"])
    frames["tariff"] = frames["tariff"].with_columns(role=pl.lit("export"))
    frames["cost"] = frames["cost"].with_columns(cost=-pl.col("cost"))
    cost = site_of(frames).costs["last-week"]
    assert (cost.amount, cost.reason) == (None, "no tariff")


def test_change_of_currency_is_not_taken_for_a_silent_meter() -> None:
    frames = make(["Mill"])
    frames["cost"] = frames["cost"].with_columns(energy_kwh=pl.lit(91.0), cost=pl.lit(None))
    assert site_of(frames).costs["last-week"].reason == "the currency changed"


def test_vendor_with_two_meters_of_a_site_is_compared_meter_by_meter() -> None:
    frames = make(["Mill"], n_submeters=1)
    second = pl.lit("site-0.washingMachine0").alias("register_id")
    frames["trend"] = pl.concat([frames["trend"], frames["trend"].with_columns(second)])
    vendors = site_of(frames).vendors
    assert set(vendors) == {("digiwatt", "Mill mains"), ("digiwatt", "Mill washingMachine0")}
    assert all(
        [figure.period for figure in figures] == ["last-week", "last-month"]
        for figures in vendors.values()
    )
    assert set(site_of(make(["Mill"])).vendors) == {("digiwatt", "")}


def test_register_of_which_nothing_is_expected_has_no_share() -> None:
    frames = make(["Mill"])
    frames["coverage"] = frames["coverage"].with_columns(n_expected=0, n_measured=0)
    assert site_of(frames).coverage_pct is None


def test_appliances_and_unattributed_are_the_consumption() -> None:
    site = site_of(make(["Mill"], n_submeters=3))
    assert [part.kind for part in site.appliances] == [*["appliance"] * 3, "unattributed"]
    assert site.appliances[0].label == "washing machine0"
    for place, day in enumerate(site.days):
        parts = [part.days_kwh[place] for part in site.appliances]
        assert sum(part or 0.0 for part in parts) == pytest.approx(day.amount_kwh)


def test_silent_submeter_makes_unattributed_unknown_on_that_day_only() -> None:
    frames = make(["Mill"])
    is_silent = (pl.col("register_id") == "site-0.washingMachine0") & (
        pl.col("local_on") == TODAY - timedelta(days=3)
    )
    frames["daily"] = frames["daily"].with_columns(
        energy_kwh=pl.when(is_silent).then(None).otherwise("energy_kwh")
    )
    left = site_of(frames).appliances[-1]
    assert [n for n, amount in enumerate(left.days_kwh) if amount is None] == [25]


def test_more_appliances_than_colours_are_one_part_of_the_stack() -> None:
    site = site_of(make(["Mill"], n_submeters=8))
    assert [part.kind for part in site.appliances][-2:] == ["other", "unattributed"]
    assert site.appliances[-2].label == "3 others"
    assert site.appliances[-2].total_kwh == pytest.approx(28 * 9.0)


def test_each_day_stands_before_the_same_weekday_four_weeks_before() -> None:
    days = site_of(make(["Mill"])).days
    assert len(days) == 28
    assert days[-1].local_on == TODAY - timedelta(days=1)
    assert all(day.previous_kwh == day.amount_kwh for day in days)


def test_last_reading_is_that_of_the_most_silent_meter() -> None:
    frames = make(["Mill"])
    frames["register"] = frames["register"].with_columns(
        role=pl.when(pl.col("appliance") == "washingMachine0")
        .then(pl.lit("production"))
        .otherwise("role")
    )
    is_pv = pl.col("register_id") == "site-0.washingMachine0"
    frames["coverage"] = frames["coverage"].with_columns(
        last_read_at=pl.when(is_pv).then(NOW - timedelta(days=4)).otherwise("last_read_at")
    )
    assert site_of(frames).last_read_at == NOW - timedelta(days=4)
    frames["coverage"] = frames["coverage"].with_columns(
        last_read_at=pl.when(is_pv).then(None).otherwise("last_read_at")
    )
    assert site_of(frames).last_read_at is None


def test_appliance_keeps_its_colour_from_site_to_site() -> None:
    days: list[float | None] = [2.0]
    fridge, pump, car = (Appliance(label, days) for label in ("fridge", "pump", "car"))
    rest = Appliance("unattributed", days, "unattributed")
    here, there = (Site("a", "A", "UTC", "EUR", TODAY) for _ in range(2))
    here.appliances, there.appliances = [pump, fridge, rest], [fridge, car, rest]
    common = common_series([here, there])
    assert common["fridge"] == "s1"
    colours = [series_of(site.appliances, common) for site in (here, there)]
    assert colours[0][1] == colours[1][0] == "s1"
    assert all(len(set(each)) == 3 and each[-1] == "unattributed" for each in colours)
    # What is rare has a colour of its own beside them.
    rare = [Appliance(f"rare {n}", days) for n in range(4)]
    assert len(set(series_of([fridge, *rare], common))) == 5
