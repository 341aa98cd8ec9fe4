"""Site-days: what a site consumed, nulls and never zeros; submeters against their site."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import TransformError
from energy_etl.tables.core import REGISTER, SITE
from energy_etl.tables.mart import FINDING, SITE_DAILY, SUBMETER_BALANCE
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.site_energy import (
    compute_site_daily,
    compute_submeter_balance,
    find_site_faults,
)
from energy_etl_tests.transform.builders import make_flat_load, make_intervals, make_register, utc

MONDAY = utc("2026-05-10T22:00")  # first instant of 2026-05-11 in Rome
DAY = timedelta(days=1)


def hourly_register(register_id: str, **columns: object) -> pl.DataFrame:
    return make_register(register_id, grid_minutes=60, **columns)


HOUSE = pl.concat(
    [
        hourly_register("import"),
        hourly_register("export", role="export"),
        hourly_register("pv", role="production"),
        hourly_register("ev", role="submeter"),
        hourly_register("fridge", role="appliance"),
    ]
)


def flat(register_id: str, kwh: float, start_at: datetime = MONDAY, days: int = 1) -> pl.DataFrame:
    return make_flat_load(register_id, start_at, start_at + days * DAY, kwh=kwh, minutes=60)


def site_daily(load: list[pl.DataFrame], registers: pl.DataFrame, now: datetime) -> pl.DataFrame:
    daily = compute_daily(pl.concat(load), registers, now=now)
    return compute_site_daily(daily, registers, now=now)


def test_consumption_is_import_plus_production_minus_export():
    load = [flat("import", 1.0), flat("export", 0.25), flat("pv", 2.0), flat("ev", 0.5)]
    row = site_daily([*load, flat("fridge", 0.125)], HOUSE, MONDAY + DAY).row(0, named=True)
    assert row["local_on"] == date(2026, 5, 11)
    assert row["consumption_kwh"] == 24 * 2.75
    assert (row["mains_kwh"], row["export_kwh"], row["production_kwh"]) == (24.0, 6.0, 48.0)
    assert row["submetered_kwh"] == 24 * 0.625
    assert (row["n_registers"], row["coverage_pct"], row["is_complete"]) == (3, 100.0, True)
    assert row["volume_m3"] is None


def test_a_silent_register_makes_null_what_it_belongs_to_and_nothing_else():
    load = [flat("import", 1.0), flat("pv", 2.0), flat("ev", 0.5)]
    row = site_daily(load, HOUSE, MONDAY + DAY).row(0, named=True)
    assert row["consumption_kwh"] is None
    assert row["export_kwh"] is None
    assert (row["mains_kwh"], row["production_kwh"]) == (24.0, 48.0)
    # Of the submeters one has some: their sum is what was measured.
    assert row["submetered_kwh"] == 12.0
    assert row["coverage_pct"] == pytest.approx(200 / 3)
    assert not row["is_complete"]


def test_two_mains_of_which_one_is_silent_are_no_sum_of_a_part():
    registers = pl.concat([hourly_register("a"), hourly_register("b")])
    load = [flat("a", 1.0, days=2), flat("b", 1.0)]
    found = site_daily(load, registers, MONDAY + 2 * DAY)
    assert found["mains_kwh"].to_list() == [48.0, None, None]
    assert found["consumption_kwh"].to_list() == [48.0, None, None]


def test_every_day_from_the_first_interval_on_has_a_row_also_when_nothing_came():
    load = [flat("import", 1.0), flat("import", 1.0, MONDAY + 3 * DAY)]
    found = site_daily(load, hourly_register("import"), MONDAY + 6 * DAY)
    assert found["local_on"].to_list() == [date(2026, 5, day) for day in range(11, 18)]
    assert found["consumption_kwh"].to_list() == [24.0, None, None, 24.0, None, None, None]
    assert found["mains_kwh"].null_count() == 5
    assert found["coverage_pct"].to_list() == [100.0, 0.0, 0.0, 100.0, 0.0, 0.0, 0.0]
    assert found["hours"].to_list() == [24.0] * 7
    assert found["is_complete"].to_list() == [True, False, False, True, False, False, False]


def test_each_commodity_of_a_site_has_its_rows_from_the_first_interval_of_the_site():
    registers = pl.concat(
        [
            hourly_register("import"),
            hourly_register("gas", commodity="gas", unit="m3"),
            hourly_register("cold", commodity="temperature", kind="instant", unit="degC"),
        ]
    )
    gas = make_intervals("gas", MONDAY + DAY, [0.5] * 24, minutes=60, column="volume_m3")
    found = site_daily([flat("import", 1.0), gas], registers, MONDAY + DAY + timedelta(hours=1))
    assert found.select("commodity", "local_on", "mains_kwh", "volume_m3").rows() == [
        ("electricity", date(2026, 5, 11), 24.0, None),
        ("electricity", date(2026, 5, 12), None, None),
        ("gas", date(2026, 5, 11), None, None),
        ("gas", date(2026, 5, 12), None, 12.0),
    ]
    assert found["consumption_kwh"].to_list() == [24.0, None, None, None]


def test_a_heat_meter_has_its_energy_and_its_volume():
    registers = pl.concat(
        [
            hourly_register("heat", commodity="heat"),
            hourly_register("water", commodity="heat", unit="m3"),
        ]
    )
    volume = make_intervals("water", MONDAY, [0.5] * 24, minutes=60, column="volume_m3")
    row = site_daily([flat("heat", 2.0), volume], registers, MONDAY + DAY).row(0, named=True)
    assert (row["consumption_kwh"], row["mains_kwh"], row["volume_m3"]) == (48.0, 48.0, 12.0)
    assert (row["n_registers"], row["is_complete"]) == (2, True)


def test_a_second_view_of_a_meter_counts_once():
    registers = pl.concat([hourly_register("import"), hourly_register("again", is_primary=False)])
    found = site_daily([flat("import", 1.0), flat("again", 1.0)], registers, MONDAY + DAY)
    assert found["mains_kwh"].to_list() == [24.0, None]
    assert found["n_registers"].to_list() == [1, 1]


def test_submeters_without_a_mains_give_no_consumption_and_no_coverage():
    registers = pl.concat([hourly_register("ev", role="submeter")])
    row = site_daily([flat("ev", 0.5)], registers, MONDAY + DAY).row(0, named=True)
    assert row["submetered_kwh"] == 12.0
    assert row["consumption_kwh"] is None
    assert row["coverage_pct"] is None
    assert (row["n_registers"], row["is_complete"]) == (0, False)


def test_production_alone_is_no_consumption():
    registers = hourly_register("pv", role="production")
    row = site_daily([flat("pv", 2.0)], registers, MONDAY + DAY).row(0, named=True)
    assert (row["production_kwh"], row["consumption_kwh"]) == (48.0, None)


def test_a_negative_consumption_is_shown_as_it_is():
    load = [flat("import", 0.0), flat("export", 3.0), flat("pv", 2.0)]
    row = site_daily(load, HOUSE.head(3), MONDAY + DAY).row(0, named=True)
    assert row["consumption_kwh"] == -24.0


def test_a_clock_change_day_of_a_site_has_its_real_length():
    start_at = utc("2026-10-24T22:00")
    load = make_flat_load("import", start_at, start_at + timedelta(hours=25), minutes=60)
    row = site_daily([load], hourly_register("import"), start_at + 2 * DAY).row(0, named=True)
    assert (row["hours"], row["consumption_kwh"], row["is_complete"]) == (25.0, 25.0, True)


def test_a_site_that_never_gave_anything_has_no_days():
    daily = compute_daily(flat("import", 1.0), hourly_register("import"), now=MONDAY + DAY)
    registers = pl.concat(
        [hourly_register("import"), hourly_register("elsewhere", site_id="silent")]
    )
    found = compute_site_daily(daily, registers, now=MONDAY + DAY)
    assert found["site_id"].unique().to_list() == ["site"]
    nothing = compute_site_daily(daily.clear(), REGISTER.empty_frame(), now=MONDAY)
    assert nothing.schema == SITE_DAILY.polars_schema
    assert nothing.is_empty()


def balance_of(
    load: list[pl.DataFrame], registers: pl.DataFrame, now: datetime = MONDAY + 7 * DAY
) -> pl.DataFrame:
    return compute_submeter_balance(
        compute_daily(pl.concat(load), registers, now=now), registers, now=now
    )


PAIR = pl.concat([hourly_register("import"), hourly_register("ev", role="submeter")])


def test_submeters_below_their_mains_leave_an_unattributed_rest():
    row = balance_of([flat("import", 1.0, days=7), flat("ev", 0.25, days=7)], PAIR).row(
        0, named=True
    )
    assert row == {
        "site_id": "site",
        "computed_on": date(2026, 5, 18),
        "n_days": 7,
        "n_days_over": 0,
        "consumption_kwh": 168.0,
        "submetered_kwh": 42.0,
        "unattributed_kwh": 126.0,
        "unattributed_pct": 75.0,
    }


def test_submeters_that_measure_more_than_the_site_consumed_are_counted_and_found():
    load = [
        flat("import", 1.0, days=7),
        flat("ev", 0.5, days=5),
        flat("ev", 2.0, MONDAY + 5 * DAY, 2),
    ]
    balance = balance_of(load, PAIR)
    assert balance.select("n_days", "n_days_over").rows() == [(7, 2)]
    more = balance_of([flat("import", 1.0, days=7), flat("ev", 1.5, days=7)], PAIR).row(
        0, named=True
    )
    assert (more["unattributed_kwh"], more["unattributed_pct"]) == (-84.0, -50.0)
    sites = pl.DataFrame({"site_id": ["site"]})
    found = find_site_faults(balance, sites, PAIR)
    assert found.select("kind", "place").rows() == [("submeters_over_consumption", "site")]
    assert "on 2 of 7 days before 2026-05-18 (156.0 against 168.0 kWh" in found["message"][0]
    assert "registers.csv" in found["next_step"][0]


def test_submeters_within_two_percent_of_the_mains_are_what_meters_are_apart():
    within = balance_of([flat("import", 1.0, days=7), flat("ev", 1.015, days=7)], PAIR)
    beyond = balance_of([flat("import", 1.0, days=7), flat("ev", 1.025, days=7)], PAIR)
    asleep = balance_of([flat("import", 0.0, days=7), flat("ev", 0.004, days=7)], PAIR)
    assert [each["n_days_over"].item() for each in (within, beyond, asleep)] == [0, 7, 0]
    assert asleep["unattributed_pct"].item() is None


def test_days_on_which_one_register_is_not_complete_do_not_count():
    load = [flat("import", 1.0, days=7), flat("ev", 0.25, days=3)]
    row = balance_of(load, PAIR).row(0, named=True)
    assert (row["n_days"], row["consumption_kwh"], row["submetered_kwh"]) == (3, 72.0, 18.0)
    silent = balance_of([flat("import", 1.0, days=7)], PAIR).row(0, named=True)
    assert (silent["n_days"], silent["n_days_over"]) == (0, 0)
    assert silent["consumption_kwh"] is None
    assert silent["unattributed_pct"] is None


def test_production_and_export_are_in_the_balance_and_other_commodities_are_not():
    registers = pl.concat([HOUSE, hourly_register("gas", commodity="gas", role="submeter")])
    load = [
        flat(name, kwh, days=7)
        for name, kwh in [("import", 1.0), ("export", 0.5), ("pv", 1.5), ("ev", 0.25), ("gas", 9.0)]
    ]
    row = balance_of([*load, flat("fridge", 0.25, days=7)], registers).row(0, named=True)
    assert (row["consumption_kwh"], row["submetered_kwh"]) == (336.0, 84.0)


def test_a_site_without_submeters_has_no_balance():
    found = balance_of([flat("import", 1.0)], hourly_register("import"))
    assert found.is_empty()
    assert found.schema == SUBMETER_BALANCE.polars_schema


def test_a_site_without_registers_is_found():
    sites = pl.DataFrame({"site_id": ["site", "empty"]})
    found = find_site_faults(SUBMETER_BALANCE.empty_frame(), sites, PAIR)
    assert found.select("kind", "place").rows() == [("site_without_registers", "empty")]
    assert found.schema == FINDING.polars_schema
    assert find_site_faults(SUBMETER_BALANCE.empty_frame(), SITE.empty_frame(), PAIR).is_empty()


def test_now_without_an_offset_is_refused():
    daily = compute_daily(flat("import", 1.0), PAIR, now=MONDAY + DAY)
    naive = datetime(2026, 5, 12)
    with pytest.raises(TransformError, match="no offset"):
        compute_site_daily(daily, PAIR, now=naive)


@given(
    st.sampled_from(["Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.lists(
        st.lists(st.one_of(st.none(), st.floats(min_value=0, max_value=50)), max_size=80),
        min_size=5,
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=8, deadline=None)
def test_site_days_hold_the_energy_of_their_registers_in_any_zone_and_order(
    zone: str, loads: list[list[float | None]], random
):
    registers = HOUSE.with_columns(zone=pl.lit(zone))
    load = pl.concat(
        [
            make_intervals(name, MONDAY, values, minutes=60)
            for name, values in zip(HOUSE["register_id"], loads, strict=True)
        ]
    )
    now = MONDAY + 5 * DAY
    daily = compute_daily(load, registers, now=now)
    found = compute_site_daily(daily, registers, now=now)
    of = {
        (name, day): kwh
        for name, day, kwh in daily.select("register_id", "local_on", "energy_kwh").iter_rows()
    }
    for row in found.iter_rows(named=True):
        on = row["local_on"]
        mains, export, pv = (of.get((name, on)) for name in ("import", "export", "pv"))
        assert (row["mains_kwh"], row["export_kwh"], row["production_kwh"]) == (mains, export, pv)
        if mains is None or export is None or pv is None:
            assert row["consumption_kwh"] is None
        else:
            assert row["consumption_kwh"] == pytest.approx(mains + pv - export, abs=1e-9)
    if daily.height:
        assert found["local_on"].to_list() == sorted(daily["local_on"].unique())
    order = list(range(daily.height))
    random.shuffle(order)
    assert compute_site_daily(daily[order], registers.reverse(), now=now).equals(found)
