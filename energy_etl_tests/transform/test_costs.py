"""Energy at the price in force: by the clock in any zone, credits, holes, a vendor beside it."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

from energy_etl.portfolio import Portfolio
from energy_etl.sandbox.estimates import Estimates
from energy_etl.sandbox.world import World, fixed_clock
from energy_etl.tables import core
from energy_etl.tables.mart import DAILY_COST, PERIOD_COST
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.costs import compute_daily_cost, compute_period_costs
from energy_etl_tests.transform.builders import (
    make_flat_load,
    make_intervals,
    make_register,
    utc,
)
from energy_etl_tests.transform.tariff_frames import (
    Row,
    cost_by_the_clock,
    make_tariffs,
    tariff_row,
)

EXAMPLE = Path(__file__).parents[2] / "data" / "portfolio.example"
NOW = datetime.fromisoformat("2026-10-28T09:00+01:00")
SINCE = utc("2026-07-31T22:00")
MAINS = make_register("a", meter_id="m")
FLAT = make_flat_load("a", SINCE, NOW, kwh=0.25)
DAY_NIGHT = (
    tariff_row(0.2, "00:00-07:00"),
    tariff_row(0.3, "07:00-23:00"),
    tariff_row(0.2, "23:00-24:00"),
)
NO_FIGURES = core.VENDOR_FIGURE.empty_frame()
# Clocks that jump by an hour and by half of one, at midnight and across it, or skip a date.
ZONES = {
    "Europe/Rome": "2024-03-30T00:00",
    "America/New_York": "2024-11-02T00:00",
    "Australia/Lord_Howe": "2024-04-06T00:00",
    "America/Sao_Paulo": "2018-11-03T00:00",
    "America/St_Johns": "2006-10-28T00:00",
    "Pacific/Apia": "2011-12-29T00:00",
    "Asia/Kathmandu": "2024-05-04T00:00",
}


def daily_cost(
    intervals: pl.DataFrame,
    *rows: Row,
    registers: pl.DataFrame = MAINS,
    now: datetime = NOW,
) -> pl.DataFrame:
    daily = compute_daily(intervals, registers, now=now)
    return compute_daily_cost(intervals, daily, registers, make_tariffs(*rows))


def period_costs(
    intervals: pl.DataFrame,
    *rows: Row,
    registers: pl.DataFrame = MAINS,
    figures: pl.DataFrame = NO_FIGURES,
    now: datetime = NOW,
) -> pl.DataFrame:
    daily = compute_daily(intervals, registers, now=now)
    costs = compute_daily_cost(intervals, daily, registers, make_tariffs(*rows))
    return compute_period_costs(costs, daily, registers, figures, now=now)


def last_week(costs: pl.DataFrame, register_id: str = "a") -> dict[str, Any]:
    return costs.row(
        by_predicate=(pl.col("period") == "last-week") & (pl.col("register_id") == register_id),
        named=True,
    )


def vendor_cost(cost_eur: float | None, **columns: object) -> pl.DataFrame:
    row: dict[str, object] = {
        "meter_id": "m",
        "vendor": "digiwatt",
        "period": "last-week",
        "fetched_on": date(2026, 10, 28),
        "energy_kwh": 170.0,
        "cost_eur": cost_eur,
        "cost_trend_pct": 3.0,
    }
    return pl.DataFrame([row | columns], schema=core.VENDOR_FIGURE.polars_schema)


_TIMES = st.integers(0, 24 * 60).map(lambda minute: f"{minute // 60:02d}:{minute % 60:02d}")
_HOURS = st.tuples(_TIMES, _TIMES).filter(lambda each: each[0] < each[1]).map("-".join)
_PRICES = st.sampled_from([-0.05, 0.0, 0.1, 0.25, 0.4])


@st.composite
def _tariffs(draw: st.DrawFn, first_on: date) -> list[Row]:
    return draw(
        st.lists(
            st.builds(
                tariff_row,
                _PRICES,
                st.one_of(st.just("00:00-24:00"), _HOURS),
                days=st.sampled_from(["all", "weekdays", "weekend"]),
                valid_from_on=st.sampled_from([date(2000, 1, 1), first_on + timedelta(days=1)]),
                valid_to_on=st.sampled_from([None, first_on + timedelta(days=2)]),
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda row: (
                row["valid_from_on"],
                row["days"],
                row["from_local_time"],
                row["to_local_time"],
            ),
        )
    )


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_cost_is_that_of_the_clock_on_the_wall_in_any_zone_and_energy_is_conserved(data):
    zone = data.draw(st.sampled_from(list(ZONES)))
    minutes = data.draw(st.sampled_from([30, 60, 180]))
    start_at = utc(ZONES[zone])
    rows = data.draw(_tariffs(start_at.date()))
    n = 48 * 60 // minutes
    energy = np.random.default_rng(data.draw(st.integers(0, 99))).uniform(0.0, 5.0, n)
    intervals = make_intervals("a", start_at, list(energy), minutes=minutes)
    registers = make_register("a", zone=zone, grid_minutes=minutes)
    now = start_at + timedelta(days=5)
    costs = daily_cost(intervals, *rows, registers=registers, now=now)
    cost, unpriced_kwh = cost_by_the_clock(rows, zone, intervals)
    assert costs["cost"].sum() == pytest.approx(cost, abs=1e-9)
    assert costs["unpriced_kwh"].sum() == pytest.approx(unpriced_kwh, abs=1e-9)
    conserved = costs.select(pl.sum_horizontal("priced_kwh", "unpriced_kwh").sum()).item()
    assert conserved == pytest.approx(sum(energy), abs=1e-9)


@settings(max_examples=6, deadline=None)
@given(
    price=st.floats(-1.0, 1.0),
    energy=st.lists(st.one_of(st.none(), st.floats(0.0, 100.0)), min_size=1, max_size=200),
)
def test_flat_tariff_costs_price_times_energy_each_day(price, energy):
    intervals = make_intervals("a", utc("2026-10-24T22:00"), energy)
    daily = compute_daily(intervals, MAINS, now=NOW)
    costs = compute_daily_cost(intervals, daily, MAINS, make_tariffs(tariff_row(price)))
    assert costs["local_on"].to_list() == daily["local_on"].to_list()
    assert_series_equal(costs["priced_kwh"], daily["energy_kwh"], check_names=False)
    assert costs["unpriced_kwh"].null_count() == costs.height
    for cost, energy_kwh in zip(costs["cost"], daily["energy_kwh"], strict=True):
        assert (cost is None) == (energy_kwh is None)
        assert cost is None or cost == pytest.approx(price * energy_kwh, abs=1e-9)


@pytest.mark.parametrize("month_on", [date(2024, 2, 1), date(2024, 3, 1)])
def test_month_of_the_sandbox_costs_what_its_vendor_says_also_when_the_clock_changes(month_on):
    next_on = (month_on + timedelta(days=31)).replace(day=1)
    now = utc(f"{next_on}T09:00")
    world = World(now=fixed_clock(now))
    estimates = Estimates(world, "elapsed", has_today=False)
    portfolio = Portfolio.load(EXAMPLE)
    registers = portfolio.frames[core.REGISTER]
    mains = {site: f"{site}.grid_import" for site in ("rome-a", "dublin-a")}
    intervals = pl.concat(_true_intervals(world, each) for each in mains.values())
    daily = compute_daily(intervals, registers, now=now)
    tariffs = portfolio.frames[core.TARIFF]
    costs = compute_daily_cost(intervals, daily, registers, tariffs)
    figures = pl.concat(
        vendor_cost(
            round(estimates.total(estimates.costs(site), estimates.months(site)[-1][1]), 2),
            meter_id=f"{site}.mains",
            period="last-month",
            fetched_on=next_on,
        )
        for site in mains
    )
    periods = compute_period_costs(costs, daily, registers, figures, now=now)
    for site_id, register_id in mains.items():
        window = dict(estimates.months(site_id)).get(f"{month_on:%Y-%m}")
        assert window is not None
        truth = estimates.total(estimates.costs(site_id), window)
        assert truth > 50
        own = periods.row(
            by_predicate=(pl.col("period") == "last-month")
            & (pl.col("register_id") == register_id),
            named=True,
        )
        assert own["cost"] == pytest.approx(truth, abs=1e-6)
        assert own["vendor_cost"] == round(truth, 2)
        assert own["vendor_difference_pct"] == pytest.approx(0.0, abs=0.01)
        # Neither price alone: the tariff has a day and a night.
        prices = tariffs.filter(site_id=site_id)["price_per_kwh"]
        assert prices.min() < own["price_per_kwh"] < prices.max()


def _true_intervals(world: World, register_id: str) -> pl.DataFrame:
    n = (world.now_ms() - world.origin_ms) // world.slot_ms
    start_ms = world.origin_ms + np.arange(n) * world.slot_ms
    start = pl.Series(start_ms).cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        {
            "register_id": [register_id] * n,
            "start_at": start,
            "energy_kwh": world.steps(register_id)[:n],
        }
    ).select(
        "register_id",
        "start_at",
        "energy_kwh",
        end_at=pl.col("start_at") + timedelta(minutes=15),
        volume_m3=pl.lit(None, pl.Float64),
        quality=pl.lit("measured"),
        is_provisional=pl.lit(value=False),
    )


def test_interval_in_which_the_price_changes_is_split_by_time():
    intervals = make_intervals("a", utc("2026-10-20T04:00"), [4.0], minutes=60)
    rows = (tariff_row(0.1, "00:00-06:15"), tariff_row(0.2, "06:15-06:30"))
    row = daily_cost(intervals, *rows, now=utc("2026-10-20T05:00")).row(0, named=True)
    assert row["cost"] == pytest.approx(1.0 * 0.1 + 1.0 * 0.2)
    assert row["price_per_kwh"] == pytest.approx(0.15)
    assert (row["priced_kwh"], row["unpriced_kwh"]) == (2.0, 2.0)


def test_export_is_a_credit_and_only_primary_registers_of_the_tariff_are_priced():
    registers = pl.concat(
        [
            MAINS,
            make_register("out", role="export"),
            make_register("again", is_primary=False),
            make_register("fridge", role="appliance"),
            make_register("volts", meter_id="m", kind="instant", unit="V"),
            make_register("elsewhere", site_id="other"),
        ]
    )
    load = pl.concat(
        make_flat_load(each, utc("2026-10-19T22:00"), utc("2026-10-21T22:00"), kwh=0.5)
        for each in registers["register_id"]
    )
    rows = (tariff_row(0.3), tariff_row(0.1, role="export"))
    costs = daily_cost(load, *rows, registers=registers, now=utc("2026-10-21T22:00"))
    assert costs["register_id"].unique().sort().to_list() == ["a", "out"]
    credit = costs.filter(register_id="out").row(0, named=True)
    assert credit["cost"] == pytest.approx(-4.8)
    assert credit["price_per_kwh"] == pytest.approx(-0.1)
    periods = period_costs(load, *rows, registers=registers, now=utc("2026-10-21T23:00"))
    own = periods.filter(register_id="out", period="yesterday").row(0, named=True)
    assert own["cost"] == pytest.approx(-4.8)
    assert own["cost_trend_pct"] == pytest.approx(0.0)


def test_gas_in_m3_has_rows_but_no_cost():
    gas = make_register("g", commodity="gas", unit="m3")
    load = make_intervals("g", utc("2026-10-27T23:00"), [1.0] * 8, column="volume_m3")
    row = daily_cost(load, tariff_row(0.1, commodity="gas"), registers=gas).row(0, named=True)
    assert row["coverage_pct"] > 0
    assert row["cost"] is row["priced_kwh"] is row["unpriced_kwh"] is None


def test_day_without_data_has_a_row_without_cost():
    load = make_flat_load("a", utc("2026-10-25T23:00"), utc("2026-10-26T23:00"))
    costs = daily_cost(load, tariff_row(0.1), now=NOW)
    assert costs["local_on"].to_list() == [date(2026, 10, day) for day in (26, 27, 28)]
    assert costs["cost"].to_list() == [pytest.approx(9.6), None, None]
    assert costs["currency"].to_list() == ["EUR"] * 3


def test_site_without_tariffs_has_no_rows():
    assert daily_cost(FLAT).equals(DAILY_COST.empty_frame())
    assert period_costs(FLAT).equals(PERIOD_COST.empty_frame())


def test_cost_of_a_period_is_null_when_some_of_its_energy_has_no_price():
    rows = (
        tariff_row(0.2, valid_to_on=date(2026, 10, 24)),
        tariff_row(0.3, valid_from_on=date(2026, 10, 25)),
    )
    row = last_week(period_costs(FLAT, *rows))
    assert (row["energy_kwh"], row["cost"], row["price_per_kwh"]) == (169.0, None, None)
    assert row["unpriced_kwh"] == 24.0
    assert row["previous_cost"] == pytest.approx(168 * 0.2)


def test_period_in_two_currencies_has_no_cost():
    rows = (
        tariff_row(0.2, currency="HRK", valid_to_on=date(2026, 10, 22)),
        tariff_row(0.3, valid_from_on=date(2026, 10, 22)),
    )
    periods = period_costs(FLAT, *rows)
    row = last_week(periods)
    assert (row["cost"], row["currency"], row["unpriced_kwh"]) == (None, "EUR", None)
    assert periods.filter(period="yesterday")["cost"].to_list() == [pytest.approx(24 * 0.3)]


def test_trend_of_the_cost_shows_a_price_that_rose():
    rows = (
        tariff_row(0.2, valid_to_on=date(2026, 10, 19)),
        tariff_row(0.3, valid_from_on=date(2026, 10, 19)),
    )
    row = last_week(period_costs(FLAT, *rows))
    assert row["cost"] == pytest.approx(169 * 0.3)
    assert row["cost_trend_pct"] == pytest.approx(100 * (169 * 0.3 / (168 * 0.2) - 1))
    assert row["price_per_kwh"] == pytest.approx(0.3)


def test_trend_and_difference_of_the_cost_are_null_below_95_percent_coverage():
    thin = FLAT.filter(
        ~pl.col("start_at").is_between(utc("2026-10-20T00:00"), utc("2026-10-20T12:00"))
    )
    row = last_week(period_costs(thin, tariff_row(0.2), figures=vendor_cost(51.0)))
    assert row["coverage_pct"] < 95
    assert row["cost"] == pytest.approx(row["energy_kwh"] * 0.2)
    assert row["cost_trend_pct"] is None
    # Nor is the vendor said to be dearer by what we did not measure.
    assert row["vendor_cost"] == 51.0
    assert row["vendor_difference_pct"] is None


def test_empty_window_of_a_monday_is_null():
    now = utc("2026-10-26T09:00")
    this_week = period_costs(FLAT, tariff_row(0.2), now=now).filter(period="this-week")
    row = this_week.row(0, named=True)
    assert row["start_on"] is row["cost"] is row["previous_cost"] is row["energy_kwh"] is None


def test_vendor_stands_beside_with_its_implied_price():
    row = last_week(period_costs(FLAT, *DAY_NIGHT, figures=vendor_cost(51.0)))
    own = 7 * 16 * 0.3 + (7 * 8 + 1) * 0.2  # the repeated hour is one of the night
    assert row["cost"] == pytest.approx(own)
    assert row["price_per_kwh"] == pytest.approx(own / 169)
    assert (row["vendor"], row["vendor_cost"], row["vendor_cost_trend_pct"]) == ("digiwatt", 51, 3)
    assert row["vendor_price_per_kwh"] == pytest.approx(0.3)
    assert row["vendor_difference_pct"] == pytest.approx(100 * (51.0 - own) / own)


@pytest.mark.parametrize(
    ("figures", "tariff"),
    [
        (vendor_cost(51.0), tariff_row(0.2, currency="USD")),
        (vendor_cost(51.0), tariff_row(0.0)),
    ],
)
def test_vendor_is_not_compared_in_another_currency_or_with_nothing(figures, tariff):
    row = last_week(period_costs(FLAT, tariff, figures=figures))
    assert row["vendor_cost"] == 51.0
    assert row["cost"] is not None
    assert row["vendor_difference_pct"] is None


@pytest.mark.parametrize(
    "figures",
    [
        vendor_cost(51.0, fetched_on=date(2026, 10, 27)),
        vendor_cost(None),
        vendor_cost(51.0, meter_id="other"),
    ],
)
def test_figure_of_another_day_meter_or_without_cost_is_not_shown(figures):
    assert last_week(period_costs(FLAT, tariff_row(0.2), figures=figures))["vendor"] is None


def test_order_of_intervals_and_tariffs_changes_nothing():
    shuffled = FLAT.sample(fraction=1.0, shuffle=True, seed=1)
    assert daily_cost(FLAT, *DAY_NIGHT).equals(daily_cost(shuffled, *DAY_NIGHT[::-1]))
