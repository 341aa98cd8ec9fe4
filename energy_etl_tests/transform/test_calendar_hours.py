"""Hourly energy: the wall clock's hours, what longer intervals do, and that days are conserved."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.periods import local_day_bounds
from energy_etl.tables.core import INTERVAL
from energy_etl.tables.mart import HOURLY_ENERGY
from energy_etl.transform import calendar_sums
from energy_etl.transform.calendar import compute_daily, compute_hourly
from energy_etl_tests.transform.builders import make_flat_load, make_intervals, make_register, utc

ROME_DAY = utc("2026-05-09T22:00")  # first instant of 2026-05-10 in Rome


@pytest.mark.parametrize(
    ("zone", "day", "around_change"),
    [
        ("Europe/Rome", "2026-03-29", [(1, 4), (3, 4)]),
        ("Europe/Rome", "2026-10-25", [(1, 4), (2, 4), (2, 4), (3, 4)]),
        ("America/New_York", "2026-03-08", [(1, 4), (3, 4)]),
        ("America/New_York", "2026-11-01", [(1, 4), (1, 4), (2, 4)]),
        ("Australia/Lord_Howe", "2026-04-05", [(1, 4), (1, 2), (2, 4)]),
        ("Australia/Lord_Howe", "2026-10-04", [(1, 4), (2, 2), (3, 4)]),
        ("America/Sao_Paulo", "2018-02-17", [(22, 4), (23, 4), (23, 4)]),
    ],
)
def test_a_day_with_a_clock_change_has_the_hours_of_the_wall(
    zone: str, day: str, around_change: list[tuple[int, int]]
):
    start_at, end_at = local_day_bounds(zone, date.fromisoformat(day))
    load = make_flat_load("a", start_at, end_at, kwh=0.25)
    hourly = compute_hourly(load, make_register("a", zone=zone), now=end_at).filter(
        pl.col("local_on") == date.fromisoformat(day)
    )
    found = hourly.select("local_hour", "n_measured").rows()
    at = found.index(around_change[0])
    assert found[at : at + len(around_change)] == around_change
    assert hourly["energy_kwh"].to_list() == hourly["hours"].to_list()
    assert hourly["is_complete"].all()
    assert hourly["n_expected"].to_list() == hourly["n_measured"].to_list()
    assert hourly["hours"].sum() == (end_at - start_at) / timedelta(hours=1)


def test_hours_of_a_zone_at_three_quarters_begin_on_its_wall():
    start_at, end_at = local_day_bounds("Asia/Kathmandu", date(2026, 5, 10))
    load = make_flat_load("a", start_at, end_at, kwh=0.25)
    hourly = compute_hourly(load, make_register("a", zone="Asia/Kathmandu"), now=end_at)
    assert hourly["start_at"][:2].to_list() == [utc("2026-05-09T18:15"), utc("2026-05-09T19:15")]
    assert hourly["energy_kwh"][:24].to_list() == [1.0] * 24


def test_an_hour_without_data_has_a_row_of_nulls_and_not_of_zeros():
    values: list[float | None] = [1.0] * 96
    values[8:12] = [None] * 4
    hourly = compute_hourly(
        make_intervals("a", ROME_DAY, values), make_register("a"), now=ROME_DAY + timedelta(hours=9)
    )
    assert hourly["local_hour"].to_list() == list(range(24))
    row = hourly.row(2, named=True)
    assert row["energy_kwh"] is None
    assert (row["n_expected"], row["n_measured"], row["coverage_pct"]) == (4, 0, 0.0)
    # now is 9:00: what somebody sent of later hours counts, but they are not over.
    assert hourly["is_complete"].to_list() == [True, True, False, *[True] * 6, *[False] * 15]


def test_an_interval_longer_than_an_hour_is_in_the_hour_it_starts_in_and_others_have_no_row():
    load = make_flat_load("a", ROME_DAY, ROME_DAY + timedelta(days=1), minutes=360, kwh=6.0)
    register = make_register("a", zone="Etc/GMT-2", grid_minutes=360)
    hourly = compute_hourly(load, register, now=ROME_DAY + timedelta(hours=23))
    found = hourly.select("local_hour", "energy_kwh", "n_expected", "hours").rows()
    assert found == [(hour, 6.0, 1, 1.0) for hour in (0, 6, 12, 18)]


def test_an_interval_off_the_grid_still_has_its_hour():
    load = make_intervals("a", ROME_DAY + timedelta(hours=3), [2.0], minutes=60)
    register = make_register("a", zone="Etc/GMT-2", grid_minutes=720)
    hourly = compute_hourly(load, register, now=ROME_DAY + timedelta(hours=23))
    assert hourly.select("local_hour", "energy_kwh", "n_expected").rows() == [
        (0, None, 1),
        (3, 2.0, 0),
        (12, None, 1),
    ]
    assert not hourly["is_complete"].any()


def test_an_hourly_register_at_lord_howe_has_half_hours_in_its_hours():
    start_at, end_at = local_day_bounds("Australia/Lord_Howe", date(2026, 10, 4))
    load = make_flat_load("a", start_at, end_at, minutes=30)
    register = make_register("a", zone="Australia/Lord_Howe", grid_minutes=60)
    hourly = compute_hourly(load, register, now=end_at).filter(pl.col("end_at") <= end_at)
    assert hourly["n_expected"].to_list() == [2, 2, 1, *[2] * 21]
    assert hourly["energy_kwh"].to_list() == [2.0, 2.0, 1.0, *[2.0] * 21]


def test_no_intervals_or_only_those_of_unknown_registers_give_an_empty_table():
    now = ROME_DAY + timedelta(days=1)
    for load in (INTERVAL.empty_frame(), make_flat_load("unknown", ROME_DAY, now)):
        hourly = compute_hourly(load, make_register("a"), now=now)
        assert hourly.is_empty()
        assert hourly.schema == HOURLY_ENERGY.polars_schema


@given(
    st.sampled_from(
        ["Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
    ),
    st.datetimes(min_value=datetime(2011, 1, 1), max_value=datetime(2030, 1, 1)),
    st.lists(st.one_of(st.none(), st.floats(min_value=0, max_value=100)), min_size=1, max_size=120),
    st.sampled_from([5, 15, 60, 180]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=8, deadline=None)
def test_hours_partition_the_days_of_any_zone_in_energy_and_intervals(
    zone: str, start: datetime, values: list[float | None], minutes: int, random
):
    start_at = start.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    load = pl.concat(
        [
            make_intervals("a", start_at, values, minutes=minutes),
            make_flat_load("b", start_at - timedelta(days=3), start_at, minutes=60),
        ]
    )
    registers = pl.concat(
        [
            make_register("a", zone=zone, grid_minutes=minutes),
            make_register("b", grid_minutes=60),
            make_register("never-came", zone=zone),
        ]
    )
    now = start_at + timedelta(days=2)
    hourly = compute_hourly(load, registers, now=now)
    daily = compute_daily(load, registers, now=now)
    day = ["register_id", "local_on"]
    of_hours = hourly.group_by(day).agg(
        pl.col("energy_kwh").sum(),
        pl.col("n_expected", "n_measured", "hours").sum(),
        pl.col("start_at").min(),
        has_energy=pl.col("energy_kwh").is_not_null().any(),
    )
    both = daily.join(of_hours, on=day, how="left", suffix="_of_hours")
    assert both["n_expected"].equals(both["n_expected_of_hours"])
    assert both["n_measured"].equals(both["n_measured_of_hours"])
    assert both["has_energy"].equals(both["energy_kwh"].is_not_null())
    off_by = (both["energy_kwh"] - both["energy_kwh_of_hours"]).abs().fill_null(0.0)
    assert (off_by <= 1e-9).all()
    if minutes <= 60:
        assert both["hours"].equals(both["hours_of_hours"])
        assert both["start_at"].equals(both["start_at_of_hours"])
        gaps = hourly.filter(pl.col("end_at") != pl.col("start_at").shift(-1).over("register_id"))
        assert gaps.is_empty()
    assert hourly.equals(hourly.sort(HOURLY_ENERGY.key))

    order = list(range(load.height))
    random.shuffle(order)
    assert compute_hourly(load[order].lazy(), registers.reverse(), now=now).equals(hourly)


def test_rows_cut_into_small_slices_give_the_same_days_and_hours(monkeypatch: pytest.MonkeyPatch):
    now = ROME_DAY + timedelta(days=2)
    names = ("a", "unknown", "b")
    parts = [make_flat_load(name, ROME_DAY, now, minutes=60, kwh=0.1) for name in names]
    load = pl.concat(parts, rechunk=False)
    zones = {"a": "Europe/Rome", "b": "Asia/Kolkata"}
    registers = pl.concat(
        [make_register(name, zone=zone, grid_minutes=60) for name, zone in zones.items()]
    )
    daily, hourly = (each(load, registers, now=now) for each in (compute_daily, compute_hourly))
    monkeypatch.setattr(calendar_sums, "_ROWS_PER_SLICE", 7)
    for rows in (load, load.reverse(), load.sort("start_at"), load.lazy()):
        assert compute_daily(rows, registers, now=now).equals(daily)
        assert compute_hourly(rows, registers, now=now).equals(hourly)
