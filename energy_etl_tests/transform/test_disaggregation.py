"""Appliance shares, against numbers worked out by hand."""

import math
from datetime import date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables.core import (
    METER,
    REGISTER,
    VENDOR_APPLIANCE_FIGURE,
)
from energy_etl.tables.mart import APPLIANCE_SHARE, DAILY_ENERGY
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.disaggregation import compute_appliance_shares
from energy_etl_tests.transform.builders import make_flat_load, make_register, utc

NOW = utc("2026-05-20T09:00")  # a Wednesday
SINCE = utc("2026-05-09T22:00")
NO_FIGURES = VENDOR_APPLIANCE_FIGURE.empty_frame()
METERS = pl.DataFrame(
    [("m", "site", "Main meter", "electricity"), ("m2", "site", "Second", "electricity")],
    schema=METER.polars_schema,
    orient="row",
)
MAINS = make_register("mains", meter_id="m")
EV = make_register("ev", role="submeter", appliance="ev")
FRIDGE = make_register("fridge", role="appliance", appliance="fridge")


def shares_of(
    loads: dict[str, float | None],
    *registers: pl.DataFrame,
    figures: pl.DataFrame = NO_FIGURES,
    now: datetime = NOW,
    period: str = "yesterday",
) -> dict[tuple[str, str], dict]:
    """Rows of one period by (source, appliance); loads are kWh a day, None for nothing at all."""
    frame = pl.concat(registers)
    frames = [
        make_flat_load(name, SINCE, now, kwh=kwh / 96)
        for name, kwh in loads.items()
        if kwh is not None
    ]
    intervals = pl.concat([make_flat_load("unknown", SINCE, now), *frames])
    daily = compute_daily(intervals, frame, now=now)
    shares = compute_appliance_shares(daily, frame, figures, METERS, now=now)
    assert shares.schema == APPLIANCE_SHARE.polars_schema
    assert shares.equals(shares.sort(APPLIANCE_SHARE.key))
    rows = shares.filter(pl.col("period") == period).iter_rows(named=True)
    return {(row["source"], row["appliance"]): row for row in rows}


def figures_of(**energy_kwh: float) -> pl.DataFrame:
    rows = [
        ("m", "digiwatt", "yesterday", date(2026, 5, 20), name, kwh)
        for name, kwh in energy_kwh.items()
    ]
    return pl.DataFrame(rows, schema=VENDOR_APPLIANCE_FIGURE.polars_schema, orient="row")


def test_shares_are_of_import_plus_production_minus_export():
    rows = shares_of(
        {"mains": 12.0, "pv": 18.0, "export": 10.0, "ev": 8.0, "fridge": 2.0},
        MAINS,
        EV,
        FRIDGE,
        make_register("pv", role="production"),
        make_register("export", role="export"),
    )
    assert {key: row["energy_kwh"] for key, row in rows.items()} == pytest.approx(
        {("own", "ev"): 8.0, ("own", "fridge"): 2.0, ("own", "unattributed"): 10.0}
    )
    assert {key[1]: row["share_pct"] for key, row in rows.items()} == pytest.approx(
        {"ev": 40.0, "fridge": 10.0, "unattributed": 50.0}
    )
    assert {row["coverage_pct"] for row in rows.values()} == {100.0}
    assert rows["own", "ev"]["computed_on"] == date(2026, 5, 20)


@given(
    st.floats(min_value=0.1, max_value=1e4),
    st.floats(min_value=0, max_value=1e4),
    st.floats(min_value=0, max_value=1e4),
)
@settings(max_examples=6, deadline=None)
def test_own_shares_sum_to_100_whatever_the_submeters_say(mains: float, ev: float, fridge: float):
    rows = shares_of({"mains": mains, "ev": ev, "fridge": fridge}, MAINS, EV, FRIDGE)
    largest = max(abs(row["share_pct"]) for row in rows.values())
    total = math.fsum(row["share_pct"] for row in rows.values())
    assert total == pytest.approx(100.0, abs=1e-9 * largest)


def test_unattributed_may_be_negative():
    rows = shares_of({"mains": 10.0, "ev": 11.0}, MAINS, EV)
    assert rows["own", "unattributed"]["energy_kwh"] == pytest.approx(-1.0)
    assert rows["own", "unattributed"]["share_pct"] == pytest.approx(-10.0)


@pytest.mark.parametrize(
    "loads",
    [
        {"mains": None, "export": 1.0, "ev": 8.0},
        {"mains": 12.0, "export": None, "ev": 8.0},
    ],
)
def test_without_mains_or_export_readings_consumption_is_unknown(loads: dict):
    rows = shares_of(loads, MAINS, EV, make_register("export", role="export"))
    assert rows["own", "unattributed"]["energy_kwh"] is None
    assert rows["own", "ev"]["energy_kwh"] == pytest.approx(8.0)
    assert rows["own", "ev"]["share_pct"] is None
    assert rows["own", "unattributed"]["coverage_pct"] == pytest.approx(200 / 3)


def test_what_a_submeter_without_readings_used_is_unknown_and_not_called_unattributed():
    rows = shares_of({"mains": 10.0, "ev": 4.0, "fridge": None}, MAINS, EV, FRIDGE)
    fridge = rows["own", "fridge"]
    assert (fridge["energy_kwh"], fridge["share_pct"], fridge["coverage_pct"]) == (None, None, 0.0)
    assert rows["own", "ev"]["share_pct"] == pytest.approx(40.0)
    rest = rows["own", "unattributed"]
    assert (rest["energy_kwh"], rest["share_pct"]) == (None, None)
    assert rest["coverage_pct"] == pytest.approx(200 / 3)


def test_nothing_used_has_no_shares():
    rows = shares_of({"mains": 0.0, "ev": 0.0}, MAINS, EV)
    assert rows["own", "ev"]["energy_kwh"] == 0.0
    assert rows["own", "ev"]["share_pct"] is None


def test_second_views_heat_and_sites_without_submeters_are_left_out():
    rows = shares_of(
        {"mains": 10.0, "copy": 10.0, "heat": 5.0, "ev": 4.0, "ev-copy": 4.0},
        MAINS,
        EV,
        make_register("copy", is_primary=False),
        make_register("ev-copy", role="submeter", appliance="ev", is_primary=False),
        make_register("heat", role="submeter", appliance="heating", commodity="heat"),
        make_register("elsewhere", site_id="other-site"),
    )
    assert rows.keys() == {("own", "ev"), ("own", "unattributed")}
    assert rows["own", "ev"]["share_pct"] == pytest.approx(40.0)


def test_submeters_of_one_name_are_added_and_one_without_a_name_goes_by_its_id():
    rows = shares_of(
        {"mains": 10.0, "ev": 4.0, "ev2": 1.0, "sub": 2.0},
        MAINS,
        EV,
        make_register("ev2", role="submeter", appliance="ev"),
        make_register("sub", role="submeter"),
    )
    assert rows["own", "ev"]["energy_kwh"] == pytest.approx(5.0)
    assert rows["own", "sub"]["energy_kwh"] == pytest.approx(2.0)


def test_on_a_monday_this_week_has_null_shares():
    monday = utc("2026-05-18T09:00")
    rows = shares_of({"mains": 10.0, "ev": 4.0}, MAINS, EV, now=monday, period="this-week")
    for row in rows.values():
        assert (row["energy_kwh"], row["share_pct"], row["coverage_pct"]) == (None, None, None)
    assert len(rows) == 2


def test_a_vendors_shares_are_of_its_own_sum_with_other():
    second = figures_of(ev=2.0).with_columns(meter_id=pl.lit("m2"))
    rows = shares_of(
        {"mains": 10.0},
        MAINS,
        figures=pl.concat([figures_of(ev=4.0, fridge=1.0, other=3.0), second]),
    )
    assert rows.keys() == {("digiwatt", name) for name in ("ev", "fridge", "other")}
    assert rows["digiwatt", "ev"]["energy_kwh"] == 6.0
    assert rows["digiwatt", "ev"]["share_pct"] == 60.0
    assert sum(row["share_pct"] for row in rows.values()) == pytest.approx(100.0)
    assert rows["digiwatt", "ev"]["coverage_pct"] is None


def test_a_vendors_figures_of_another_day_or_an_unknown_meter_are_left_out():
    old = figures_of(ev=4.0).with_columns(fetched_on=pl.lit(date(2026, 5, 19)))
    unknown = figures_of(ev=4.0).with_columns(meter_id=pl.lit("not-ours"))
    assert shares_of({"mains": 10.0}, MAINS, figures=pl.concat([old, unknown])) == {}


def test_no_registers_give_no_shares():
    shares = compute_appliance_shares(
        DAILY_ENERGY.empty_frame(), REGISTER.empty_frame(), figures_of(ev=1.0), METERS, now=NOW
    )
    assert shares.is_empty()
    assert shares.schema == APPLIANCE_SHARE.polars_schema
