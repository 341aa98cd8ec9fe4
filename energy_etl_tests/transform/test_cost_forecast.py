"""The running month: kinds of day, prices to come, days that are lost, a vendor beside it."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from energy_etl.tables import core
from energy_etl.tables.mart import COST_FORECAST
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.cost_forecast import compute_cost_forecasts
from energy_etl.transform.costs import compute_daily_cost
from energy_etl_tests.transform.builders import make_flat_load, make_register, utc
from energy_etl_tests.transform.tariff_frames import Row, make_tariffs, tariff_row

# A Wednesday; June 2024 begins on a Saturday and has ten weekend days.
NOW = utc("2024-06-12T09:00")
MAINS = make_register("a", meter_id="m")
NO_MONTHS = core.VENDOR_MONTH.empty_frame()


def make_load(since: str = "2024-05-01T22:00", register_id: str = "a") -> pl.DataFrame:
    """6 kWh on weekdays, 24 kWh on weekend days, from a local midnight in Rome on."""
    load = make_flat_load(register_id, utc(since), utc("2024-06-12T09:00"), minutes=60)
    local = pl.col("start_at").dt.convert_time_zone("Europe/Rome")
    energy = pl.when(local.dt.weekday() >= 6).then(1.0).otherwise(0.25)
    return load.with_columns(energy_kwh=energy)


LOAD = make_load()


def forecast_of(
    intervals: pl.DataFrame,
    *rows: Row,
    register: pl.DataFrame = MAINS,
    months: pl.DataFrame = NO_MONTHS,
    now: Any = NOW,
) -> dict[str, Any]:
    registers = register.with_columns(grid_minutes=pl.lit(60, pl.Int64))
    tariffs = make_tariffs(*rows)
    daily = compute_daily(intervals, registers, now=now)
    costs = compute_daily_cost(intervals, daily, registers, tariffs)
    found = compute_cost_forecasts(intervals, daily, costs, registers, tariffs, months, now=now)
    assert found.schema == COST_FORECAST.polars_schema
    return found.row(0, named=True)


def without(intervals: pl.DataFrame, *days: date) -> pl.DataFrame:
    local_on = pl.col("start_at").dt.convert_time_zone("Europe/Rome").dt.date()
    return intervals.filter(~local_on.is_in(days))


def test_days_left_are_like_the_same_kind_of_day_lately():
    row = forecast_of(LOAD, tariff_row(0.2))
    assert (row["month_on"], row["computed_on"]) == (date(2024, 6, 1), date(2024, 6, 12))
    assert (row["n_days_left"], row["n_days_filled"], row["reason"]) == (19, 0, None)
    assert row["energy_so_far_kwh"] == pytest.approx(4 * 24 + 7 * 6)
    assert row["cost_so_far"] == pytest.approx(0.2 * (4 * 24 + 7 * 6))
    assert row["forecast_kwh"] == pytest.approx(10 * 24 + 20 * 6)
    assert row["forecast_cost"] == pytest.approx(0.2 * (10 * 24 + 20 * 6))
    assert row["vendor"] is row["vendor_forecast_cost"] is row["vendor_difference_pct"] is None


def test_tariff_by_hours_and_days_is_forecast_by_the_clock():
    rows = (
        tariff_row(0.1, "00:00-06:00", days="weekdays"),
        tariff_row(0.3, "06:00-24:00", days="weekdays"),
        tariff_row(0.2, days="weekend"),
    )
    row = forecast_of(LOAD, *rows)
    assert row["forecast_cost"] == pytest.approx(10 * 24 * 0.2 + 20 * (1.5 * 0.1 + 4.5 * 0.3))


def test_price_that_changed_before_or_changes_later_is_in_the_forecast():
    rows = (
        tariff_row(0.1, valid_to_on=date(2024, 6, 10)),
        tariff_row(0.2, valid_from_on=date(2024, 6, 10), valid_to_on=date(2024, 6, 20)),
        tariff_row(0.3, valid_from_on=date(2024, 6, 20)),
    )
    row = forecast_of(LOAD, *rows)
    assert row["cost_so_far"] == pytest.approx(0.1 * (4 * 24 + 5 * 6) + 0.2 * 2 * 6)
    # 12 to 19 June has one weekend, 20 to 30 June two.
    left = 0.2 * (2 * 24 + 6 * 6) + 0.3 * (4 * 24 + 7 * 6)
    assert row["forecast_cost"] == pytest.approx(row["cost_so_far"] + left)


def test_first_of_a_month_has_nothing_so_far_and_a_forecast():
    row = forecast_of(LOAD, tariff_row(0.2), now=utc("2024-06-01T09:00"))
    assert (row["n_days_left"], row["energy_so_far_kwh"], row["cost_so_far"]) == (30, None, None)
    assert row["forecast_kwh"] == pytest.approx(10 * 24 + 20 * 6)
    assert row["forecast_cost"] == pytest.approx(0.2 * (10 * 24 + 20 * 6))


def test_lost_day_of_the_month_is_forecast_too_and_counted():
    row = forecast_of(without(LOAD, date(2024, 6, 8)), tariff_row(0.2))
    assert row["n_days_filled"] == 1
    assert row["energy_so_far_kwh"] == pytest.approx(3 * 24 + 7 * 6)
    assert row["forecast_kwh"] == pytest.approx(10 * 24 + 20 * 6)
    assert row["forecast_cost"] == pytest.approx(0.2 * (10 * 24 + 20 * 6))


def test_day_that_was_estimated_within_a_measured_total_is_usable():
    local_on = pl.col("start_at").dt.convert_time_zone("Europe/Rome").dt.date()
    quality = pl.when(local_on == date(2024, 6, 8)).then(pl.lit("estimated")).otherwise("quality")
    row = forecast_of(LOAD.with_columns(quality=quality), tariff_row(0.2))
    assert row["n_days_filled"] == 0


def test_fewer_than_14_usable_days_are_refused_with_the_count():
    enough = forecast_of(make_load("2024-05-28T22:00"), tariff_row(0.2))
    assert enough["reason"] is None
    row = forecast_of(make_load("2024-05-29T22:00"), tariff_row(0.2))
    assert row["forecast_kwh"] is row["forecast_cost"] is None
    assert row["energy_so_far_kwh"] is not None
    assert "Only 13 of the 28 days before 2024-06-12" in row["reason"]


def test_kind_of_day_that_was_never_usable_is_refused():
    weekend = [date(2024, 5, day) for day in (18, 19, 25, 26)]
    weekend += [date(2024, 6, day) for day in (1, 2, 8, 9)]
    row = forecast_of(without(LOAD, *weekend), tariff_row(0.2))
    assert row["forecast_kwh"] is None
    assert row["reason"].startswith("No day like 2024-06-01")


@pytest.mark.parametrize(
    ("tariff", "unpriced_on"),
    [
        (tariff_row(0.2, valid_from_on=date(2024, 6, 4)), "2024-06-01"),
        (tariff_row(0.2, valid_to_on=date(2024, 6, 24)), "2024-06-24"),
        (tariff_row(0.2, "00:00-20:00", valid_from_on=date(2024, 1, 1)), "2024-06-01"),
    ],
)
def test_missing_price_refuses_the_cost_and_keeps_the_energy(tariff, unpriced_on):
    row = forecast_of(LOAD, tariff)
    assert row["forecast_kwh"] == pytest.approx(10 * 24 + 20 * 6)
    assert row["forecast_cost"] is None
    assert f"Energy of days like {unpriced_on} has no price in EUR" in row["reason"]
    assert "tariffs.csv" in row["reason"]


def test_second_currency_refuses_the_cost():
    rows = (
        tariff_row(0.2, valid_to_on=date(2024, 6, 20)),
        tariff_row(0.3, valid_from_on=date(2024, 6, 20), currency="USD"),
    )
    row = forecast_of(LOAD, *rows)
    assert (row["currency"], row["forecast_cost"]) == ("EUR", None)
    assert "2024-06-20 has no price in EUR" in row["reason"]


def test_credit_of_export_is_negative():
    row = forecast_of(
        LOAD, tariff_row(0.1, role="export"), register=make_register("a", role="export")
    )
    assert row["forecast_cost"] == pytest.approx(-0.1 * (10 * 24 + 20 * 6))


def test_volume_is_refused_with_the_reason():
    gas = make_register("a", commodity="gas", unit="m3")
    load = LOAD.with_columns(volume_m3="energy_kwh", energy_kwh=pl.lit(None, pl.Float64))
    row = forecast_of(load, tariff_row(0.1, commodity="gas"), register=gas)
    assert row["forecast_cost"] is None
    assert "m3" in row["reason"]


@pytest.mark.parametrize(("currency", "difference"), [("EUR", 25.0), ("USD", None)])
def test_forecast_of_the_vendor_stands_beside(currency, difference):
    month = {
        "meter_id": "m",
        "vendor": "digiwatt",
        "month_on": date(2024, 6, 1),
        "is_forecast": True,
        "energy_kwh": None,
        "cost_eur": 90.0,
    }
    others = [
        {"month_on": date(2024, 5, 1)},
        {"is_forecast": False, "cost_eur": 1.0},
        {"vendor": "another", "cost_eur": None},
    ]
    months = pl.DataFrame(
        [month, *(month | other for other in others)], schema=core.VENDOR_MONTH.polars_schema
    )
    row = forecast_of(LOAD, tariff_row(0.2, currency=currency), months=months)
    assert (row["vendor"], row["vendor_forecast_cost"]) == ("digiwatt", 90.0)
    expected = difference if difference is None else pytest.approx(difference)
    assert row["vendor_difference_pct"] == expected


def test_register_without_a_tariff_has_no_row():
    registers = MAINS.with_columns(grid_minutes=pl.lit(60, pl.Int64))
    daily = compute_daily(LOAD, registers, now=NOW)
    nothing = make_tariffs()
    costs = compute_daily_cost(LOAD, daily, registers, nothing)
    found = compute_cost_forecasts(LOAD, daily, costs, registers, nothing, NO_MONTHS, now=NOW)
    assert found.equals(COST_FORECAST.empty_frame())
