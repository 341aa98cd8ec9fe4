"""Holes and contradictions of the tariffs are named with place, span and next step."""

from datetime import date

import polars as pl

from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.costs import compute_daily_cost
from energy_etl.transform.tariff_findings import find_tariff_faults
from energy_etl_tests.transform.builders import make_flat_load, make_register, utc
from energy_etl_tests.transform.tariff_frames import Row, make_tariffs, tariff_row

NOW = utc("2024-06-13T09:00")
MAINS = make_register("a", meter_id="m")
LOAD = make_flat_load("a", utc("2024-06-05T22:00"), NOW, kwh=0.25)


def findings_of(*rows: Row, registers: pl.DataFrame = MAINS) -> pl.DataFrame:
    tariffs = make_tariffs(*rows)
    daily = compute_daily(LOAD, registers, now=NOW)
    costs = compute_daily_cost(LOAD, daily, registers, tariffs)
    return find_tariff_faults(costs, daily, registers, tariffs)


def test_whole_tariff_has_no_findings():
    old = tariff_row(0.1, valid_to_on=date(2024, 6, 10))
    assert findings_of(old, tariff_row(0.2, valid_from_on=date(2024, 6, 10))).is_empty()


def test_tariff_gap_names_site_and_local_span():
    # 2024-06-08 and 09 are a weekend.
    found = findings_of(tariff_row(0.3, days="weekdays"))
    assert found["kind"].to_list() == ["tariff_gap"]
    row = found.row(0, named=True)
    assert row["place"] == "site: electricity mains"
    assert row["from_at"] == utc("2024-06-07T22:00")
    assert row["to_at"] == utc("2024-06-09T22:00")
    assert "48.0 kWh of site site" in row["message"]
    assert "from 2024-06-08 00:00 to 2024-06-10 00:00" in row["message"]
    assert "Add a row to tariffs.csv" in row["next_step"]


def test_hole_in_which_nothing_was_used_is_no_finding():
    future = tariff_row(0.3, valid_to_on=date(2024, 6, 14))
    assert findings_of(future).is_empty()


def test_tariff_overlap_names_both_prices_and_what_was_used():
    found = findings_of(
        tariff_row(0.3), tariff_row(0.2, "22:00-24:00", valid_from_on=date(2024, 6, 10))
    )
    assert found["kind"].to_list() == ["tariff_overlap"]
    row = found.row(0, named=True)
    assert row["from_at"] == utc("2024-06-10T20:00")
    assert "from 2024-06-10 22:00" in row["message"]
    assert "0.2 and 0.3 EUR" in row["message"]
    assert "tariffs.csv" in row["next_step"]


def test_two_currencies_on_one_day_are_named_once():
    found = findings_of(
        tariff_row(0.1, "00:00-12:00"), tariff_row(0.2, "12:00-24:00", currency="HRK")
    )
    assert found["kind"].to_list() == ["tariff_currency"]


def test_tariff_of_volume_or_of_nothing_is_named():
    registers = pl.concat([MAINS, make_register("g", commodity="gas", unit="m3")])
    found = findings_of(
        tariff_row(0.3),
        tariff_row(0.1, commodity="gas"),
        tariff_row(0.1, role="export"),
        registers=registers,
    )
    assert found.select("kind", "place").rows() == [
        ("tariff_unused", "site: electricity export"),
        ("tariff_without_kwh", "g"),
    ]
