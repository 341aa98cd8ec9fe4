"""Totals per interval (kind interval); means are in `test_registers_means.py`."""

import random
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.transform.calendar import compute_daily, compute_hourly
from energy_etl_tests.transform.register_frames import (
    compute,
    minutes,
    readings,
    real_data,
    register,
    registers,
    series,
)

TOTALS = register(kind="interval", stamp="start")
MAINS = register(kind="interval", stamp="start", role="mains")


def test_start_stamped_totals_begin_at_their_stamp() -> None:
    intervals = compute(readings(series([1.0, 2.0, 3.0])), TOTALS).intervals
    assert intervals["start_at"].to_list() == [minutes(0), minutes(15), minutes(30)]
    assert intervals["energy_kwh"].to_list() == [1.0, 2.0, 3.0]
    assert intervals["register_end_native"].null_count() == 3


def test_end_stamped_totals_end_at_their_stamp() -> None:
    row = register(kind="interval", stamp="end")
    intervals = compute(readings(series([1.0, 2.0, 3.0])), row).intervals
    assert intervals["end_at"].to_list() == [minutes(0), minutes(15), minutes(30)]


def test_interval_without_a_total_is_missing_and_never_zero() -> None:
    intervals = compute(readings([(0, 1.0), (45, 2.0), (60, 1.0)]), TOTALS).intervals
    assert intervals["energy_kwh"].to_list() == [1.0, None, None, 2.0, 1.0]
    assert intervals["quality"].to_list()[1:3] == ["missing"] * 2
    assert intervals["flags"].to_list()[1:3] == [["gap"]] * 2
    assert intervals["hold_reason"].to_list()[1] == "missing: no reading covers it"


def test_impossible_totals_are_null_and_named() -> None:
    values = [1.0, None, -2.0, 1e12, 900.0, 1.0, 1.5]
    row = TOTALS | {"rating_native_per_hour": 10.0}
    result = compute(readings(series(values)), row)
    assert result.intervals["energy_kwh"].to_list() == [1.0, None, None, None, None, 1.0, 1.5]
    assert result.intervals["quality"].to_list() == [
        "measured",
        "missing",
        *["implausible"] * 3,
        "measured",
        "measured",
    ]
    assert result.edits["rule"].to_list() == ["false_high", "implausible", "missing", "negative"]


def test_total_without_a_rating_is_only_suspect() -> None:
    values = [1.0 + 0.01 * (n % 7) for n in range(200)]
    values[150] = 500.0
    intervals = compute(readings(series(values)), TOTALS).intervals
    suspect = intervals.filter(pl.col("flags").list.contains("suspect"))
    assert suspect["energy_kwh"].to_list() == [500.0]


def test_three_hours_of_zeros_on_mains_are_missing() -> None:
    values = [1.0, 1.1, *[0.0] * 12, 1.2, 1.3]
    result = compute(readings(series(values)), MAINS)
    filled = result.intervals.filter(pl.col("quality") == "missing")
    assert filled.height == 12
    assert filled["energy_kwh"].null_count() == 12
    assert filled["flags"].to_list() == [["zero_filled"]] * 12
    assert result.edits.select("rule", "from_at", "to_at", "n_readings").rows() == [
        ("zero_filled", minutes(30), minutes(13 * 15), 12)
    ]


def test_zeros_for_less_than_three_hours_are_zeros() -> None:
    values = [1.0, 1.1, *[0.0] * 11, 1.2, 1.3]
    intervals = compute(readings(series(values)), MAINS).intervals
    assert intervals["energy_kwh"].to_list() == values
    assert set(intervals["quality"]) == {"measured"}


@pytest.mark.parametrize("row", [TOTALS, MAINS | {"commodity": "gas", "unit": "m3"}])
def test_zeros_of_a_submeter_or_of_gas_are_zeros(row: dict[str, object]) -> None:
    intervals = compute(readings(series([1.0, *[0.0] * 30, 1.0])), row).intervals
    assert set(intervals["quality"]) == {"measured"}


def test_zeros_of_mains_beside_production_are_zeros() -> None:
    production = register("pv", role="production", kind="interval", stamp="start")
    frame = readings(series([1.0, *[0.0] * 30, 1.0]))
    assert set(compute(frame, MAINS, production).intervals["quality"]) == {"measured"}


def test_zeros_of_mains_at_the_end_stay_provisional() -> None:
    intervals = compute(
        readings(series([1.0, 1.1, 0.0, 0.0, 0.0])), MAINS, now=minutes(76)
    ).intervals
    assert intervals["is_provisional"].to_list() == [False, False, True, True, True]


def test_same_value_three_times_on_mains_is_stuck() -> None:
    values = [1.0, 1.1, 1.2, 1.2, 1.2, 1.3]
    flags = compute(readings(series(values)), MAINS).intervals["flags"].to_list()
    assert flags == [[], [], ["stuck"], ["stuck"], ["stuck"], []]


def test_totals_finer_than_the_grid_are_added() -> None:
    row = register(kind="interval", stamp="start", grid_minutes=60)
    intervals = compute(readings(series([1.0, 2.0, 3.0, 4.0, 5.0])), row).intervals
    # The second hour has one of its four quarters: a part is no total.
    assert intervals["energy_kwh"].to_list() == [10.0, None]
    assert intervals["quality"].to_list() == ["measured", "missing"]
    assert intervals["flags"].to_list() == [[], ["gap"]]


def test_hour_with_a_quarter_lost_is_missing_until_it_comes() -> None:
    row = register(kind="interval", stamp="end", grid_minutes=60)
    all_four = [(15.0 * n, 1.0) for n in range(1, 13)]
    lost = [each for each in all_four if each[0] != 90.0]
    assert compute(readings(lost), row).intervals["energy_kwh"].to_list() == [4.0, None, 4.0]
    assert compute(readings(all_four), row).intervals["energy_kwh"].to_list() == [4.0, 4.0, 4.0]


def test_part_of_an_interval_before_the_first_reading_is_no_hole() -> None:
    row = register(kind="interval", stamp="end", grid_minutes=60)
    from_half_past = [(15.0 * n, 1.0) for n in range(3, 13)]
    assert compute(readings(from_half_past), row).intervals["energy_kwh"].to_list() == [4.0, 4.0]
    assert compute(readings([(45.0, 1.0), (60.0, 1.0)]), row).intervals.is_empty()


def test_volume_totals_become_cubic_metres() -> None:
    row = TOTALS | {"unit": "l", "commodity": "water"}
    intervals = compute(readings(series([100.0, 250.0])), row).intervals
    assert intervals["volume_m3"].to_list() == pytest.approx([0.1, 0.25])
    assert intervals["energy_kwh"].null_count() == 2


def test_hourly_totals_on_a_finer_grid_are_split_evenly_and_said_to_be_estimates() -> None:
    row = register(kind="interval", stamp="end", rating_native_per_hour=10.0)
    result = compute(readings(series([9.0, 4.0, 8.0, 2.0], step=60)), row)
    assert result.intervals["start_at"][0] == minutes(-60)
    assert (
        result.intervals["energy_kwh"].to_list() == [2.25] * 4 + [1.0] * 4 + [2.0] * 4 + [0.5] * 4
    )
    assert set(result.intervals["quality"]) == {"estimated"}
    assert result.intervals["flags"].to_list() == [["gap"]] * 16
    assert result.edits.is_empty()  # 9 kWh are too much for a quarter of an hour, not for an hour


def test_missing_hour_of_hourly_totals_on_a_finer_grid_is_missing() -> None:
    rows = [(60.0 * n, 4.0) for n in range(30) if n != 20]
    row = register(kind="interval", stamp="start")
    energy = compute(readings(rows), row).intervals["energy_kwh"].to_list()
    assert energy == [1.0] * 80 + [None] * 4 + [1.0] * 36


def test_source_that_leaves_out_its_zeros_is_not_taken_for_a_coarse_one() -> None:
    rows: list[tuple[float, float | None]] = [(0, 1.0), (60, 1.0), (120, 1.0), (135, 1.0)]
    intervals = compute(readings(rows), TOTALS).intervals
    assert intervals.filter(pl.col("energy_kwh").is_not_null())["start_at"].to_list() == [
        minutes(at) for at, _ in rows
    ]


def test_hourly_totals_where_the_zone_halves_the_grid_are_measured() -> None:
    row = register(kind="interval", stamp="start", zone="Australia/Lord_Howe", grid_minutes=60)
    intervals = compute(readings(series([2.0, 3.0, 4.0], step=60)), row).intervals
    assert intervals["energy_kwh"].to_list() == [1.0, 1.0, 1.5, 1.5, 2.0, 2.0]
    assert set(intervals["quality"]) == {"measured"}
    assert intervals["flags"].to_list() == [["interpolated_edge"]] * 6


@settings(max_examples=10, deadline=None)
@given(
    values=st.lists(st.integers(0, 5000), min_size=3, max_size=40),
    step=st.sampled_from([5, 15, 30, 60]),
    stamp=st.sampled_from(["start", "end"]),
    zone=st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"]),
    order=st.randoms(use_true_random=False),
)
def test_energy_of_totals_is_conserved_at_any_step_stamp_zone_and_order_of_arrival(
    values: list[int], step: int, stamp: str, zone: str, order: random.Random
) -> None:
    begin = 30 if zone == "Asia/Kolkata" else 0  # its hours begin at half past in UTC
    first = begin if stamp == "start" else begin + step
    rows = [(float(first + step * n), value / 1000) for n, value in enumerate(values)]
    # Whole hours only: a part of an interval is no total.
    rows = rows[: len(rows) // (60 // step) * (60 // step)]
    row = register(kind="interval", stamp=stamp, zone=zone, grid_minutes=max(step, 15))
    shuffled = list(rows)
    order.shuffle(shuffled)
    in_order, any_order = (compute(readings(each), row).intervals for each in (rows, shuffled))
    assert in_order.equals(any_order)
    assert in_order["energy_kwh"].null_count() == 0
    assert in_order["energy_kwh"].sum() == pytest.approx(sum(value or 0.0 for _, value in rows))
    if rows:
        assert in_order["start_at"].min() == minutes(begin)
        assert in_order["end_at"].max() == minutes(begin + step * len(rows))


@pytest.mark.real_data
def test_steel_plant_with_end_stamps_gives_its_hourly_and_daily_sums() -> None:
    path = real_data() / "uci_steel_industry_15min_2018.csv.gz"
    source = pl.read_csv(path, encoding="utf8-lossy", columns=["date", "Usage_kWh"])
    local = pl.col("date").str.to_datetime("%d/%m/%Y %H:%M", time_unit="us")
    # The midnight row carries the date of the day it ends.
    stamped = source.select(
        pl.when(local.dt.time() == pl.time(0))
        .then(local.dt.offset_by("1d"))
        .otherwise(local)
        .dt.replace_time_zone("Asia/Seoul")
        .dt.convert_time_zone("UTC")
        .alias("read_at"),
        pl.lit("steel").alias("register_id"),
        pl.col("Usage_kWh").cast(pl.Float64).alias("reading_native"),
        pl.lit(1, pl.Int64).alias("version"),
    )
    row = register("steel", kind="interval", stamp="end", zone="Asia/Seoul", role="submeter")
    intervals = compute(stamped, row).intervals
    # The file has its rows in the order of the day: each four are an hour, each 96 a day.
    quarters = source["Usage_kWh"].to_numpy()
    now = datetime(2018, 12, 31, 15, tzinfo=UTC)
    last_on = date(2018, 12, 31)
    daily = compute_daily(intervals, registers(row), now=now).filter(pl.col("local_on") <= last_on)
    hourly = compute_hourly(intervals, registers(row), now=now)
    hourly = hourly.filter(pl.col("local_on") <= last_on)
    assert daily["local_on"].to_list() == [date(2018, 1, 1) + timedelta(n) for n in range(365)]
    assert daily["is_complete"].all()
    assert daily["energy_kwh"].to_list() == pytest.approx(quarters.reshape(-1, 96).sum(axis=1))
    assert hourly["start_at"][0] == datetime(2017, 12, 31, 15, tzinfo=UTC)
    assert hourly["energy_kwh"].to_list() == pytest.approx(quarters.reshape(-1, 4).sum(axis=1))


@pytest.mark.parametrize("unit", ["kWh", "kW"])
@pytest.mark.parametrize("stamp", ["start", "end"])
@pytest.mark.parametrize(("step", "grid"), [(10, 15), (20, 15), (25, 15), (20, 30), (45, 60)])
def test_distance_that_does_not_fit_the_grid_lost_half_of_the_intervals(
    step: int, grid: int, stamp: str, unit: str
) -> None:
    """Ten minutes on a grid of fifteen: every second interval was `missing`, with its energy."""
    n, hole = 24, 13
    values = [0.5 + 0.1 * (i % 7) for i in range(n)]
    begin = [step * (i + (stamp == "end")) for i in range(n)]
    rows = [(float(at), value) for i, (at, value) in enumerate(zip(begin, values, strict=True))]
    del rows[hole]
    row = register(kind="interval", unit=unit, stamp=stamp, grid_minutes=grid)
    intervals = compute(readings(rows), row).intervals
    per_minute = [
        None if i == hole else values[i] / (step if unit == "kWh" else 60)
        for i in range(n)
        for _ in range(step)
    ]
    whole = n * step // grid
    wanted = [per_minute[grid * k : grid * (k + 1)] for k in range(whole)]
    assert intervals["start_at"].to_list()[:whole] == [minutes(grid * k) for k in range(whole)]
    for energy, parts in zip(intervals["energy_kwh"].to_list(), wanted, strict=False):
        known = [part for part in parts if part is not None]
        assert energy == (pytest.approx(sum(known)) if len(known) == grid else None)
    counted = intervals.filter(pl.col("energy_kwh").is_not_null())
    is_estimate = step > 1.5 * grid
    assert set(counted["quality"]) == {
        "estimated" if is_estimate else "measured" if unit == "kWh" else "integrated"
    }
    flag = "gap" if is_estimate else "interpolated_edge"
    assert counted["flags"].list.contains(flag).all()
    assert intervals["energy_kwh"][whole:].null_count() == intervals.height - whole
