"""Daily energy: clock changes, days without data, conservation, and a real house."""

import math
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.periods import local_day_bounds, local_day_of
from energy_etl.tables.core import INTERVAL, REGISTER
from energy_etl.tables.mart import DAILY_ENERGY
from energy_etl.transform.calendar import compute_daily
from energy_etl_tests.transform.builders import make_flat_load, make_intervals, make_register, utc

ROME_DAY = utc("2026-05-09T22:00")  # first instant of 2026-05-10 in Rome


def day_of(daily: pl.DataFrame, day: str, register_id: str = "a") -> dict:
    rows = daily.filter(
        pl.col("local_on") == date.fromisoformat(day), pl.col("register_id") == register_id
    )
    assert rows.height == 1
    return rows.row(0, named=True)


@pytest.mark.parametrize(
    ("zone", "day", "quarters"),
    [
        ("Europe/Rome", "2026-03-29", 92),
        ("Europe/Rome", "2026-10-25", 100),
        ("America/New_York", "2026-03-08", 92),
        ("America/New_York", "2026-11-01", 100),
        ("Australia/Lord_Howe", "2026-04-05", 98),
        ("Australia/Lord_Howe", "2026-10-04", 94),
        ("America/Sao_Paulo", "2018-11-04", 92),
        ("America/Sao_Paulo", "2018-02-17", 100),
    ],
)
def test_a_day_with_a_clock_change_holds_its_real_intervals(zone: str, day: str, quarters: int):
    start_at, end_at = local_day_bounds(zone, date.fromisoformat(day))
    around = timedelta(days=2)
    load = make_flat_load("a", start_at - around, end_at + around, kwh=0.25)
    daily = compute_daily(load, make_register("a", zone=zone), now=end_at + around)
    row = day_of(daily, day)
    assert (row["start_at"], row["end_at"]) == (start_at, end_at)
    assert (row["n_expected"], row["n_measured"]) == (quarters, quarters)
    assert row["hours"] == quarters / 4
    assert row["energy_kwh"] == quarters / 4
    assert row["coverage_pct"] == 100.0
    assert row["is_complete"]
    neighbours = daily.filter(pl.col("is_complete") & (pl.col("n_expected") == 96))
    assert neighbours["energy_kwh"].unique().to_list() == [24.0]


def test_a_day_without_data_has_a_row_of_nulls_and_not_of_zeros():
    before = make_flat_load("a", ROME_DAY, ROME_DAY + timedelta(days=1))
    after = make_flat_load("a", ROME_DAY + timedelta(days=2), ROME_DAY + timedelta(days=3))
    daily = compute_daily(
        pl.concat([before, after]), make_register("a"), now=ROME_DAY + timedelta(days=5)
    )
    assert daily["local_on"].to_list() == [date(2026, 5, day) for day in range(10, 16)]
    row = day_of(daily, "2026-05-11")
    assert row["energy_kwh"] is None
    assert (row["n_expected"], row["n_measured"], row["coverage_pct"]) == (96, 0, 0.0)
    assert not row["is_complete"]


def test_days_up_to_now_have_rows_and_the_running_day_is_not_complete():
    # now is 10:00 in Rome, and somebody sent the whole day in advance.
    load = make_flat_load("a", ROME_DAY, ROME_DAY + timedelta(days=1))
    daily = compute_daily(load, make_register("a"), now=ROME_DAY + timedelta(hours=10))
    row = day_of(daily, "2026-05-10")
    assert row["n_measured"] == row["n_expected"] == 96
    assert not row["is_complete"]


def test_intervals_of_days_after_now_are_left_out():
    load = make_flat_load("a", ROME_DAY, ROME_DAY + timedelta(days=3))
    daily = compute_daily(load, make_register("a"), now=ROME_DAY + timedelta(hours=10))
    assert daily["local_on"].to_list() == [date(2026, 5, 10)]
    assert daily["energy_kwh"].to_list() == [96.0]


def test_a_missing_interval_makes_the_day_incomplete_and_the_rest_still_counts():
    values: list[float | None] = [1.0] * 96
    values[40] = None
    daily = compute_daily(
        make_intervals("a", ROME_DAY, values), make_register("a"), now=ROME_DAY + timedelta(days=1)
    )
    row = day_of(daily, "2026-05-10")
    assert row["energy_kwh"] == 95.0
    assert row["n_measured"] == 95
    assert row["coverage_pct"] == pytest.approx(100 * 95 / 96)
    assert not row["is_complete"]


def test_estimated_intervals_count_as_energy_but_not_as_coverage():
    half = timedelta(hours=12)
    load = pl.concat(
        [
            make_flat_load("a", ROME_DAY, ROME_DAY + half),
            make_flat_load("a", ROME_DAY + half, ROME_DAY + 2 * half, quality="estimated"),
        ]
    )
    row = day_of(
        compute_daily(load, make_register("a"), now=ROME_DAY + timedelta(days=1)), "2026-05-10"
    )
    assert row["energy_kwh"] == 96.0
    assert (row["n_measured"], row["n_estimated"], row["coverage_pct"]) == (48, 48, 50.0)
    assert row["is_complete"]


def test_a_provisional_interval_makes_the_day_incomplete():
    load = make_flat_load("a", ROME_DAY, ROME_DAY + timedelta(days=1)).with_columns(
        is_provisional=pl.col("start_at") == pl.col("start_at").max()
    )
    daily = compute_daily(load, make_register("a"), now=ROME_DAY + timedelta(days=1))
    assert not day_of(daily, "2026-05-10")["is_complete"]


def test_a_volume_register_has_volume_and_no_energy():
    water = make_intervals("a", ROME_DAY, [0.01] * 96, column="volume_m3")
    register = make_register("a", commodity="water", unit="m3")
    row = day_of(compute_daily(water, register, now=ROME_DAY + timedelta(days=1)), "2026-05-10")
    assert row["volume_m3"] == pytest.approx(0.96)
    assert row["energy_kwh"] is None
    assert row["is_complete"]


def test_instant_and_unknown_registers_are_left_out():
    load = pl.concat(
        [make_flat_load(name, ROME_DAY, ROME_DAY + timedelta(days=1)) for name in ("a", "b", "c")]
    )
    registers = pl.concat([make_register("a"), make_register("b", kind="instant", unit="degC")])
    daily = compute_daily(load, registers, now=ROME_DAY + timedelta(days=1))
    assert daily["register_id"].unique().to_list() == ["a"]


def test_each_register_begins_with_its_own_first_day():
    load = pl.concat(
        [
            make_flat_load("b", ROME_DAY, ROME_DAY + timedelta(days=1)),
            make_flat_load("a", ROME_DAY + timedelta(days=1), ROME_DAY + timedelta(days=2)),
        ]
    )
    registers = pl.concat([make_register(name) for name in ("a", "b", "never-came")])
    daily = compute_daily(load, registers, now=ROME_DAY + timedelta(days=2))
    assert daily.select("register_id", "local_on").rows() == [
        ("a", date(2026, 5, 11)),
        ("a", date(2026, 5, 12)),
        ("b", date(2026, 5, 10)),
        ("b", date(2026, 5, 11)),
        ("b", date(2026, 5, 12)),
    ]


def test_first_on_gives_every_register_rows_from_there_and_leaves_out_what_is_before():
    load = make_flat_load("a", ROME_DAY, ROME_DAY + timedelta(days=2))
    registers = pl.concat(
        [
            make_register("a"),
            make_register("never-came"),
            make_register("elsewhere", zone="America/New_York"),
        ]
    )
    daily = compute_daily(
        load, registers, now=ROME_DAY + timedelta(days=2), first_on=date(2026, 5, 11)
    )
    assert daily.select("register_id", "local_on", "energy_kwh").rows() == [
        ("a", date(2026, 5, 11), 96.0),
        ("a", date(2026, 5, 12), None),
        ("elsewhere", date(2026, 5, 11), None),
        ("never-came", date(2026, 5, 11), None),
        ("never-came", date(2026, 5, 12), None),
    ]


def test_first_on_leaves_out_what_is_before_in_each_of_several_zones():
    zones = ["America/New_York", "Asia/Kolkata", "Europe/Rome"]
    load = [make_flat_load(zone, ROME_DAY, ROME_DAY + timedelta(days=4)) for zone in zones]
    registers = pl.concat([make_register(zone, zone=zone) for zone in zones])
    daily = compute_daily(
        pl.concat(load), registers, now=ROME_DAY + timedelta(days=4), first_on=date(2026, 5, 12)
    )
    full = daily.filter(pl.col("local_on") == date(2026, 5, 12))
    assert full.select("register_id", "energy_kwh").rows() == [(zone, 96.0) for zone in zones]
    assert daily["local_on"].min() == date(2026, 5, 12)


def test_an_hourly_register_at_lord_howe_counts_the_half_hours_it_was_split_into():
    # Midnight is at 13:30 UTC in winter and 13:00 in summer: no grid of hours fits both.
    start_at, end_at = local_day_bounds("Australia/Lord_Howe", date(2026, 10, 4))
    around = timedelta(days=1)
    load = make_flat_load("a", start_at - around, end_at + around, minutes=30)
    register = make_register("a", zone="Australia/Lord_Howe", grid_minutes=60)
    daily = compute_daily(load, register, now=end_at + around)
    assert daily["n_expected"].to_list()[:3] == [48, 47, 48]
    assert daily["coverage_pct"].to_list()[:3] == [100.0, 100.0, 100.0]


def test_an_hourly_register_in_kolkata_counts_hours_from_half_past():
    start_at, end_at = local_day_bounds("Asia/Kolkata", date(2026, 5, 10))
    load = make_flat_load("a", start_at, end_at, minutes=60)
    register = make_register("a", zone="Asia/Kolkata", grid_minutes=60)
    row = day_of(compute_daily(load, register, now=end_at), "2026-05-10")
    assert (row["n_expected"], row["n_measured"], row["is_complete"]) == (24, 24, True)


def test_a_date_that_the_zone_left_out_has_no_row():
    load = make_flat_load("a", utc("2011-12-28T10:00"), utc("2012-01-02T10:00"))
    daily = compute_daily(
        load, make_register("a", zone="Pacific/Apia"), now=utc("2012-01-01T00:00")
    )
    assert [day.day for day in daily["local_on"]] == [28, 29, 31, 1]
    assert daily["energy_kwh"].to_list() == [96.0, 96.0, 96.0, 96.0]


def test_no_intervals_or_no_registers_give_an_empty_table():
    now = utc("2026-05-10T00:00")
    assert compute_daily(INTERVAL.empty_frame(), make_register("a"), now=now).is_empty()
    load = make_flat_load("a", ROME_DAY, ROME_DAY + timedelta(days=1))
    empty = compute_daily(load, REGISTER.empty_frame(), now=now)
    assert empty.is_empty()
    assert empty.schema == DAILY_ENERGY.polars_schema


def test_values_that_no_sum_takes_left_a_day_complete_with_half_of_its_energy():
    load = make_intervals("a", ROME_DAY, [1.0, math.nan, 1.0, math.inf] * 24)
    daily = compute_daily(load, make_register("a"), now=ROME_DAY + timedelta(days=1))
    row = daily.row(0, named=True)
    assert (row["energy_kwh"], row["n_measured"], row["coverage_pct"]) == (48.0, 48, 50.0)
    assert not row["is_complete"]


@given(
    st.sampled_from(
        ["Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
    ),
    st.datetimes(min_value=datetime(2011, 1, 1), max_value=datetime(2030, 1, 1)),
    st.lists(st.one_of(st.none(), st.floats(min_value=0, max_value=100)), min_size=1, max_size=120),
    st.randoms(use_true_random=False),
)
@settings(max_examples=12, deadline=None)
def test_any_intervals_in_any_order_keep_their_energy_on_their_local_day(
    zone: str, start: datetime, values: list[float | None], random
):
    start_at = start.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    load = make_intervals("a", start_at, values)
    other = make_flat_load("b", start_at - timedelta(days=9), start_at)
    registers = pl.concat([make_register("a", zone=zone), make_register("b")])
    now = start_at + timedelta(days=6)
    daily = compute_daily(pl.concat([load, other]), registers, now=now)

    by_day: dict[date, list[float]] = {}
    for at, value in load.select("start_at", "energy_kwh").iter_rows():
        if value is not None:
            by_day.setdefault(local_day_of(zone, at), []).append(value)
    mine = daily.filter(pl.col("register_id") == "a")
    found = dict(mine.select("local_on", "energy_kwh").drop_nulls().iter_rows())
    assert found.keys() == by_day.keys()
    for day, parts in by_day.items():
        assert found[day] == pytest.approx(math.fsum(parts), rel=1e-12, abs=1e-12)

    order = list(range(load.height + other.height))
    random.shuffle(order)
    shuffled = pl.concat([load, other])[order].lazy()
    assert compute_daily(shuffled, registers.reverse(), now=now).equals(daily)
    assert daily.schema == DAILY_ENERGY.polars_schema
    assert daily.equals(daily.sort(DAILY_ENERGY.key))


@pytest.mark.real_data
def test_a_real_house_over_three_clock_changes_has_the_days_that_pandas_found():
    folder = os.environ.get("ENERGY_ETL_REAL_DATA")
    if not folder:
        pytest.skip("ENERGY_ETL_REAL_DATA names no folder with the OPSD house")
    prefix = "DE_KN_residential4_"
    wide = pl.read_csv(Path(folder) / "opsd_DE_KN_residential4_60min.csv.gz", infer_schema_length=0)
    names = [name for name in wide.columns if name.startswith(prefix)]
    start_at = pl.col("utc_timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
    long = (
        wide.select(start_at.dt.replace_time_zone("UTC").alias("start_at"), *names)
        .unpivot(index="start_at", variable_name="meter", value_name="reading")
        .with_columns(
            register_id=pl.col("meter").str.strip_prefix(prefix),
            reading=pl.col("reading").cast(pl.Float64),
        )
        .sort("register_id", "start_at")
    )
    # Hours between two neighbouring readings only: that is what `energy_interval_sum` adds up.
    step = pl.col("reading").shift(-1).over("register_id") - pl.col("reading")
    intervals = long.select(
        "register_id",
        "start_at",
        energy_kwh=step,
        volume_m3=pl.lit(None, pl.Float64),
        quality=pl.lit("measured"),
        is_provisional=pl.lit(False),
    ).drop_nulls("energy_kwh")
    registers = pl.concat(
        [
            make_register(name.removeprefix(prefix), zone="Europe/Berlin", grid_minutes=60)
            for name in names
        ]
    )
    daily = compute_daily(intervals, registers, now=utc("2017-02-10T12:00"))
    expected = pl.read_csv(
        Path(folder) / "expected_opsd_daily_kwh.csv", schema_overrides={"local_date": pl.Date}
    ).filter(pl.col("valid_intervals") > 0)
    both = expected.join(
        daily, left_on=["meter", "local_date"], right_on=["register_id", "local_on"]
    )
    assert both.height == expected.height > 4_000
    assert both.filter(pl.col("n_expected") != pl.col("expected_intervals")).is_empty()
    assert both.filter(pl.col("n_measured") != pl.col("valid_intervals")).is_empty()
    assert both.filter(pl.col("hours") != pl.col("hours_in_day")).is_empty()
    assert both.filter(pl.col("hours") != 24).height == 27
    off_by = (both["energy_kwh"] - both["energy_interval_sum"]).abs().max()
    assert isinstance(off_by, float)
    assert off_by < 1e-6
