"""Registers -> intervals: the hand-made vectors, the grid, exchanges, what is provisional."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from energy_etl.errors import TransformError
from energy_etl.tables.core import EDIT, INTERVAL, SAMPLE
from energy_etl_tests.transform.register_frames import (
    HOLD_FOR,
    START,
    check_counter_continues,
    compute,
    exchanges,
    minutes,
    readings,
    real_data,
    register,
    series,
)

# Flags about how readings arrived, which the set of readings cannot know, and the one that says
# where a split was interpolated.
ARRIVAL_FLAGS = {"late", "duplicate"}


def flags_of(frame: pl.DataFrame) -> list[list[str]]:
    return frame["flags"].to_list()


def at_minute(frame: pl.DataFrame, start: float) -> dict[str, Any]:
    return frame.filter(pl.col("start_at") == minutes(start)).row(0, named=True)


@pytest.mark.real_data
def test_register_vectors_give_their_energy_intervals_and_flags() -> None:
    cases = json.loads((real_data() / "register_vectors.json").read_text())["cases"]
    computed = [case for case in cases if "expected_kwh" in case]
    assert len(computed) >= 8
    for case in computed:
        rows = case.get("rows") or case["arrival_order"]
        result = compute(readings(rows), register(digits=case["digits"]))
        intervals = result.intervals
        check_counter_continues(intervals)
        assert intervals["energy_kwh"].sum() == pytest.approx(case["expected_kwh"]), case["id"]
        found = [f for fs in flags_of(intervals) for f in fs if f != "interpolated_edge"]
        expected = [flag for flag in case["flags"] if flag not in ARRIVAL_FLAGS]
        assert set(found) == set(expected), case["id"]
        assert len(found) >= len(expected), case["id"]
        estimated = dict(case.get("estimated_if_linear", []))
        for start, kwh in case.get("intervals", []):
            row = at_minute(intervals, start)
            if kwh is None:
                assert row["quality"] == "estimated", case["id"]
                assert row["flags"] == ["gap", "interpolated_edge"]
            else:
                assert row["quality"] == "measured", case["id"]
            assert row["energy_kwh"] == pytest.approx(estimated[start] if kwh is None else kwh)


def test_zero_glitches_are_flagged_once_each_and_split_evenly() -> None:
    values = [5492.356, 0.0, 5492.756, 0.0, 5493.156]
    result = compute(readings(series(values)))
    assert flags_of(result.intervals) == [
        ["zero_glitch", "interpolated_edge"],
        ["interpolated_edge"],
        ["zero_glitch", "interpolated_edge"],
        ["interpolated_edge"],
    ]
    assert result.intervals["energy_kwh"].to_list() == pytest.approx([0.2] * 4)
    assert result.edits.select("rule", "from_at", "to_at", "n_readings", "evidence").rows() == [
        ("zero_glitch", minutes(15), minutes(15), 1, "0.0 between kept 5492.356 and 5492.756"),
        ("zero_glitch", minutes(45), minutes(45), 1, "0.0 between kept 5492.756 and 5493.156"),
    ]


def test_run_of_dropped_readings_is_one_edit() -> None:
    values = [1000.0, 1000.5, 1001.0, 0.0, 0.0, 0.0, 1003.0, 1003.5, 1004.0]
    edits = compute(readings(series(values))).edits
    assert edits.select("rule", "from_at", "to_at", "n_readings").rows() == [
        ("zero_glitch", minutes(45), minutes(75), 3)
    ]


def test_frames_have_their_tables_columns_and_order() -> None:
    result = compute(
        pl.concat([readings(series([1.0, 2.0, 3.0]), "b"), readings(series([1.0, 2.0, 3.0]), "a")]),
        register("a", kind="instant", unit="degC", commodity="temperature"),
        register("b"),
    )
    assert result.intervals.schema == INTERVAL.polars_schema
    assert result.edits.schema == EDIT.polars_schema
    assert result.samples.schema == SAMPLE.polars_schema
    assert result.intervals.select(INTERVAL.key).is_unique().all()


def test_registers_on_different_grids_come_out_sorted_by_id() -> None:
    values = series([1.0 + n for n in range(25)], 60)
    result = compute(
        pl.concat([readings(values, name) for name in ("c", "a", "d", "b")]),
        register("a", grid_minutes=60),
        register("b", grid_minutes=15),
        register("c", grid_minutes=60),
        register("d", grid_minutes=30),
    )
    key = result.intervals.select(INTERVAL.key)
    assert key.equals(key.sort(INTERVAL.key))
    sums = result.intervals.group_by("register_id").agg(pl.col("energy_kwh").sum())
    assert sums["energy_kwh"].to_list() == pytest.approx([24.0] * 4)


def test_readings_beside_the_edges_are_interpolated_and_flagged() -> None:
    rows = [(7 + 15 * n, 100.0 + 1.5 * n) for n in range(5)]
    intervals = compute(readings(rows)).intervals
    assert intervals["start_at"].to_list() == [minutes(15), minutes(30), minutes(45)]
    assert intervals["energy_kwh"].to_list() == pytest.approx([1.5] * 3)
    assert intervals["quality"].to_list() == ["measured"] * 3
    assert flags_of(intervals) == [["interpolated_edge"]] * 3
    check_counter_continues(intervals)


def test_reading_a_minute_from_the_edge_counts_as_read() -> None:
    rows = [(1 + 15 * n, 100.0 + 1.5 * n) for n in range(5)]
    intervals = compute(readings(rows)).intervals
    assert flags_of(intervals) == [[]] * 3


def test_readings_every_five_minutes_add_up() -> None:
    intervals = compute(readings(series([10.0 + n for n in range(10)], 5))).intervals
    assert intervals["energy_kwh"].to_list() == [3.0, 3.0, 3.0]


def test_gap_is_estimated_and_its_total_is_kept() -> None:
    rows = [*series([10.0, 10.5]), (75.0, 12.5), (90.0, 13.0), (105.0, 13.5)]
    intervals = compute(readings(rows)).intervals
    assert intervals["quality"].to_list() == ["measured", *["estimated"] * 4, *["measured"] * 2]
    assert intervals["energy_kwh"].sum() == pytest.approx(3.5)


def test_hourly_source_on_a_quarter_hour_grid_is_estimated() -> None:
    intervals = compute(readings(series([10.0, 11.0, 12.0], 60))).intervals
    assert set(intervals["quality"]) == {"estimated"}
    assert intervals["energy_kwh"].to_list() == pytest.approx([0.25] * 8)


def test_reset_across_a_gap_invents_nothing() -> None:
    before = [500.0 + 0.5 * n for n in range(8)]
    rows = [*series(before), (180.0, 1.0), (195.0, 1.5), (210.0, 2.0)]
    intervals = compute(readings(rows), register(rating_native_per_hour=10.0)).intervals
    assert intervals["energy_kwh"].sum() == pytest.approx(3.5 + 2.0)
    step = intervals.filter(pl.col("flags").list.contains("reset"))
    assert step.height == 5
    assert set(step["quality"]) == {"estimated"}
    assert step["energy_kwh"].to_list() == pytest.approx([0.2] * 5)
    assert step["register_end_native"].to_list() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    check_counter_continues(intervals)


def test_rollover_within_an_interval_shows_what_the_meter_shows() -> None:
    rows = [(5 + 15 * n, (99_996.0 + 1.5 * n) % 100_000) for n in range(8)]
    intervals = compute(readings(rows), register(digits=5)).intervals
    assert intervals["energy_kwh"].to_list() == pytest.approx([1.5] * 6)
    assert intervals["register_end_native"].is_between(0, 100_000).all()
    assert "rollover" in [flag for flags in flags_of(intervals) for flag in flags]
    check_counter_continues(intervals)


def test_rollover_over_several_intervals_wraps_once() -> None:
    rows = [*series([99_996.0, 99_997.0, 99_998.0]), (90.0, 2.0), (105.0, 3.0), (120.0, 4.0)]
    intervals = compute(readings(rows), register(digits=5, rating_native_per_hour=10.0)).intervals
    assert intervals["energy_kwh"].to_list() == pytest.approx([1.0] * 8)
    end = [99_997, 99_998, 99_999, 0, 1, 2, 3, 4]
    assert intervals["register_end_native"].to_list() == pytest.approx(end)
    check_counter_continues(intervals)


def test_change_of_level_is_implausible_null_and_held() -> None:
    values = [1000.0 + n for n in range(15)] + [400.0 + n for n in range(15)]
    result = compute(readings(series(values)), register(rating_native_per_hour=10.0))
    row = at_minute(result.intervals, 14 * 15)
    assert (row["energy_kwh"], row["quality"], row["flags"]) == (None, "implausible", ["level"])
    assert row["is_pushable"] is False
    assert str(row["hold_reason"]).startswith("implausible")
    assert result.intervals["energy_kwh"].null_count() == 1
    assert result.intervals["energy_kwh"].sum() == pytest.approx(28.0)
    assert result.edits["rule"].to_list() == ["level"]
    check_counter_continues(result.intervals)


def test_counter_inside_a_change_of_level_is_unknown() -> None:
    rows = [*series([1000.0 + n for n in range(15)]), *series([400.0 + n for n in range(45)])[20:]]
    intervals = compute(readings(rows), register(rating_native_per_hour=10.0)).intervals
    inside = intervals.filter(pl.col("quality") == "implausible")
    assert inside.height == 6
    assert inside["register_end_native"].null_count() == 5


def test_declared_exchange_joins_both_counters() -> None:
    values = series([1000.0 + n for n in range(8)])
    new = [(15.0 * (8 + n), 5.0 + n) for n in range(8)]
    declared = exchanges(("a", minutes(112), 1007.4, 4.6))
    result = compute(readings([*values, *new]), declared=declared)
    row = at_minute(result.intervals, 105)
    assert row["energy_kwh"] == pytest.approx(0.8)
    assert row["flags"] == ["exchange"]
    assert row["register_end_native"] == 5.0
    assert result.intervals["energy_kwh"].sum() == pytest.approx(7 + 0.8 + 7)
    assert result.edits.select("rule", "from_at").rows() == [("exchange", minutes(112))]
    check_counter_continues(result.intervals)


def test_exchange_at_an_edge_flags_the_interval_after_it() -> None:
    values = series([1000.0 + n for n in range(8)])
    new = [(15.0 * (8 + n), 1.0 + n) for n in range(8)]
    declared = exchanges(("a", minutes(105), 1007.0, 0.0))
    intervals = compute(readings([*values, *new]), declared=declared).intervals
    assert at_minute(intervals, 90)["register_end_native"] == 1007.0
    assert at_minute(intervals, 105)["flags"] == ["exchange"]
    assert intervals["energy_kwh"].to_list() == pytest.approx([1.0] * 15)
    check_counter_continues(intervals)


def test_exchange_that_has_not_happened_yet_changes_nothing() -> None:
    frame = readings(series([1000.0 + n for n in range(8)]))
    now = minutes(200)
    declared = exchanges(("a", minutes(600), 2000.0, 0.0))
    assert compute(frame, declared=declared, now=now).intervals.equals(
        compute(frame, now=now).intervals
    )


def test_exchange_before_the_first_reading_invents_no_interval() -> None:
    frame = readings([(15.0 * n, 5.0 + n) for n in range(10, 20)])
    declared = exchanges(("a", minutes(15), 900.0, 0.0))
    intervals = compute(frame, declared=declared).intervals
    assert intervals["start_at"].min() == minutes(15)
    assert intervals["energy_kwh"].sum() == pytest.approx(24.0)


def test_newest_intervals_are_provisional_until_a_second_reading_or_hold_for() -> None:
    values = series([100.0 + n for n in range(5)])
    now = minutes(61)
    intervals = compute(readings(values), now=now).intervals
    assert intervals["is_provisional"].to_list() == [False, False, False, True]
    assert intervals["is_pushable"].to_list() == [True, True, True, False]
    reason = intervals["hold_reason"].to_list()[-1]
    assert reason == "provisional: no second reading after it yet"
    later = compute(readings([*values, (75.0, 105.0)]), now=now).intervals
    assert later["is_provisional"].to_list() == [False] * 4 + [True]
    held = compute(readings(values), now=minutes(60) + HOLD_FOR).intervals
    assert held["is_pushable"].all()
    assert held["hold_reason"].null_count() == held.height


def test_trailing_gap_is_provisional_as_a_whole() -> None:
    rows = [*series([100.0, 101.0, 102.0]), (120.0, 108.0)]
    intervals = compute(readings(rows), now=minutes(121)).intervals
    assert intervals["is_provisional"].to_list() == [False] * 2 + [True] * 6


def test_highest_version_wins_and_is_flagged() -> None:
    first = readings(series([100.0, 101.0, 999.0, 103.0, 104.0]))
    second = readings([(30.0, 102.5)], version=2)
    for frame in (pl.concat([first, second]), pl.concat([second, first])):
        intervals = compute(frame).intervals
        assert intervals["energy_kwh"].to_list() == pytest.approx([1.0, 1.5, 0.5, 1.0])
        assert flags_of(intervals) == [[], ["corrected"], [], []]


def test_readings_of_unknown_registers_are_left_out() -> None:
    known = readings(series([1.0, 2.0, 3.0]))
    stranger = readings(series([5.0, 6.0, 7.0]), "stranger")
    assert compute(pl.concat([stranger, known])).intervals.equals(compute(known).intervals)


def test_nothing_in_gives_nothing_out() -> None:
    result = compute(readings([]))
    assert (result.intervals.height, result.edits.height, result.samples.height) == (0, 0, 0)
    assert result.intervals.schema == INTERVAL.polars_schema
    assert compute(readings([(7.0, 5.0)])).intervals.height == 0


@pytest.mark.parametrize(
    ("unit", "kwh", "m3"),
    [("Wh", 0.001, None), ("MWh", 1000.0, None), ("m3", None, 1.0), ("l", None, 0.001)],
)
def test_units_become_kwh_or_cubic_metres(unit: str, kwh: float | None, m3: float | None) -> None:
    intervals = compute(readings(series([1.0, 2.0, 3.0])), register(unit=unit)).intervals
    assert intervals["energy_kwh"].to_list() == [kwh] * 2
    assert intervals["volume_m3"].to_list() == [m3] * 2
    assert intervals["is_pushable"].all()


def test_unit_that_is_neither_energy_nor_volume_is_held() -> None:
    intervals = compute(readings(series([1.0, 2.0, 3.0])), register(unit="EUR")).intervals
    assert not intervals["is_pushable"].any()
    assert intervals["hold_reason"].str.starts_with("no value").all()


@pytest.mark.parametrize(
    ("zone", "grid", "midnight"),
    [
        ("Europe/Berlin", 60, datetime(2024, 1, 14, 23, 0, tzinfo=UTC)),
        ("Asia/Kolkata", 60, datetime(2024, 1, 14, 18, 30, tzinfo=UTC)),
        ("Asia/Kathmandu", 60, datetime(2024, 1, 14, 18, 15, tzinfo=UTC)),
        ("Asia/Kathmandu", 15, datetime(2024, 1, 14, 18, 15, tzinfo=UTC)),
        ("Australia/Lord_Howe", 60, datetime(2024, 1, 14, 13, 0, tzinfo=UTC)),
        ("Australia/Lord_Howe", 60, datetime(2024, 7, 14, 13, 30, tzinfo=UTC)),
        ("Pacific/Chatham", 30, datetime(2024, 7, 14, 11, 15, tzinfo=UTC)),
    ],
)
def test_local_midnight_is_an_edge_in_every_zone(zone: str, grid: int, midnight: datetime) -> None:
    first = midnight - timedelta(hours=5, minutes=7)
    rows = [((first - START).total_seconds() / 60 + 15 * n, 1.0 + n) for n in range(50)]
    intervals = compute(readings(rows), register(zone=zone, grid_minutes=grid)).intervals
    assert midnight in intervals["end_at"].to_list()
    length = intervals["end_at"] - intervals["start_at"]
    assert length.n_unique() == 1


def test_mains_that_stand_still_are_measured_and_stuck() -> None:
    values = [100.0, 101.0, *[102.0] * 14, 103.0, 104.0]
    mains = register(role="mains")
    intervals = compute(readings(series(values)), mains).intervals
    stuck = intervals.filter(pl.col("flags").list.contains("stuck"))
    assert stuck.height == 13
    assert stuck["energy_kwh"].to_list() == [0.0] * 13
    assert set(intervals["quality"]) == {"measured"}


def test_mains_beside_production_may_stand_still() -> None:
    values = [100.0, 101.0, *[102.0] * 14, 103.0, 104.0]
    frame = readings(series(values))
    production = register("pv", role="production")
    assert flags_of(compute(frame, register(role="mains"), production).intervals) == [[]] * 17


def test_suspect_growth_is_kept_flagged_and_named() -> None:
    values = [100.0 + 0.5 * n for n in range(300)]
    values[200:] = [value + 900 for value in values[200:]]
    result = compute(readings(series(values)))
    row = at_minute(result.intervals, 199 * 15)
    assert row["flags"] == ["suspect"]
    assert row["energy_kwh"] == pytest.approx(900.5)
    assert result.edits["rule"].to_list() == ["suspect"]


def test_naive_now_is_refused() -> None:
    with pytest.raises(TransformError, match="aware instant"):
        compute(readings([]), now=datetime(2024, 1, 1))


def test_missing_column_is_named() -> None:
    with pytest.raises(TransformError, match="reading_native"):
        compute(readings([]).drop("reading_native"))


def test_naive_instants_are_refused() -> None:
    frame = readings([]).with_columns(pl.col("read_at").dt.replace_time_zone(None))
    with pytest.raises(TransformError, match="read_at"):
        compute(frame)


def test_register_given_twice_is_refused() -> None:
    with pytest.raises(TransformError, match=r"registers\.csv"):
        compute(readings([]), register(), register())


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(TransformError, match="cumulative, interval or instant"):
        compute(readings([]), register(kind="meter"))


@pytest.mark.real_data
def test_opsd_house_gives_the_expected_daily_energy() -> None:
    folder = real_data()
    wide = pl.read_csv(folder / "opsd_DE_KN_residential4_60min.csv.gz")
    names = [name for name in wide.columns if name.startswith("DE_KN_residential4_")]
    read_at = pl.col("utc_timestamp").str.to_datetime(
        "%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"
    )
    frame = (
        wide.select(
            read_at.alias("read_at"),
            *(pl.col(name).alias(name.removeprefix("DE_KN_residential4_")) for name in names),
        )
        .unpivot(index="read_at", variable_name="register_id", value_name="reading_native")
        .drop_nulls()
        .with_columns(version=pl.lit(1, pl.Int64))
    )
    roles = {"grid_import": "mains", "grid_export": "export", "pv": "production"}
    rows = [
        register(name, grid_minutes=60, role=roles.get(name, "submeter"))
        for name in frame["register_id"].unique().to_list()
    ]
    intervals = compute(frame, *rows).intervals
    check_counter_continues(intervals)
    is_measured = pl.col("quality") == "measured"
    daily = (
        intervals.with_columns(
            local_date=pl.col("start_at").dt.convert_time_zone("Europe/Berlin").dt.date()
        )
        .group_by("register_id", "local_date")
        .agg(
            pl.col("energy_kwh").sum(),
            pl.len().cast(pl.Float64).alias("n"),
            measured_kwh=pl.col("energy_kwh").filter(is_measured).sum(),
            n_measured=is_measured.sum(),
        )
    )
    expected = pl.read_csv(folder / "expected_opsd_daily_kwh.csv", try_parse_dates=True)
    both = expected.join(
        daily, left_on=["meter", "local_date"], right_on=["register_id", "local_date"], how="left"
    )
    assert both.height == 4323
    # Both midnights were read; lines between good readings; native steps alone.
    for column, ours, n_days in (
        ("energy_strict", "energy_kwh", 4184),
        ("energy_interp", "energy_kwh", 4305),
        ("energy_interval_sum", "measured_kwh", 4301),
    ):
        days = both.drop_nulls(column)
        assert days.height == n_days
        assert ((days[ours] - days[column]).abs() <= 1e-6).all(), column
    assert (both["n_measured"].fill_null(0) == both["valid_intervals"]).all()
    whole = both.drop_nulls("energy_strict")
    assert (whole["n"] == whole["hours_in_day"]).all()
