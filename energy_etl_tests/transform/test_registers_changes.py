"""Only what changed is rewritten."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from energy_etl.errors import TransformError
from energy_etl.tables.core import INTERVAL
from energy_etl.transform.registers_changes import changed_windows
from energy_etl_tests.transform.register_frames import (
    compute,
    minutes,
    readings,
    register,
    series,
)

VALUES = [100.0 + n for n in range(40)]


def test_same_intervals_in_another_order_change_nothing() -> None:
    intervals = compute(readings(series(VALUES))).intervals
    changed = changed_windows(intervals.reverse(), intervals)
    assert (changed.windows.height, changed.rows.height) == (0, 0)
    assert changed.rows.schema == INTERVAL.polars_schema
    assert changed.windows.columns == ["register_id", "from_at", "to_at"]


def test_first_computation_is_one_window_per_register() -> None:
    frame = pl.concat([readings(series(VALUES), "a"), readings(series(VALUES), "b")])
    intervals = compute(frame, register("a"), register("b")).intervals
    changed = changed_windows(INTERVAL.empty_frame(), intervals)
    assert changed.windows.rows() == [
        ("a", minutes(0), minutes(39 * 15)),
        ("b", minutes(0), minutes(39 * 15)),
    ]
    assert_frame_equal(changed.rows, intervals)


def test_late_reading_rewrites_only_the_gap_it_fills() -> None:
    rows = series(VALUES)
    before = compute(readings(rows[:10] + rows[11:])).intervals
    after = compute(readings(rows)).intervals
    changed = changed_windows(before, after)
    assert changed.windows.rows() == [("a", minutes(9 * 15), minutes(11 * 15))]
    assert changed.rows["start_at"].to_list() == [minutes(9 * 15), minutes(10 * 15)]
    assert set(changed.rows["quality"]) == {"measured"}


def test_new_reading_confirms_the_one_before() -> None:
    rows = series(VALUES)
    now = minutes(600)
    before = compute(readings(rows[:-1]), now=now).intervals
    after = compute(readings(rows), now=now).intervals
    changed = changed_windows(before, after)
    assert changed.windows.rows() == [("a", minutes(37 * 15), minutes(39 * 15))]


def test_intervals_that_are_gone_leave_a_window_without_rows() -> None:
    before = compute(readings(series(VALUES))).intervals
    after = before.filter(pl.col("start_at") < minutes(30 * 15))
    changed = changed_windows(before, after)
    assert changed.windows.rows() == [("a", minutes(30 * 15), minutes(39 * 15))]
    assert changed.rows.height == 0


def test_other_flags_alone_are_a_change() -> None:
    before = compute(readings(series(VALUES))).intervals
    at = pl.col("start_at") == minutes(75)
    after = before.with_columns(
        pl.when(at)
        .then(pl.lit(["gap"], dtype=pl.List(pl.String)))
        .otherwise("flags")
        .alias("flags")
    )
    changed = changed_windows(before, after)
    assert changed.windows.rows() == [("a", minutes(75), minutes(90))]
    assert changed.rows["flags"].to_list() == [["gap"]]


def test_null_against_a_number_is_a_change() -> None:
    before = compute(readings(series(VALUES))).intervals
    after = before.with_columns(energy_kwh=pl.lit(None, pl.Float64))
    assert changed_windows(before, after).rows.height == 39


def test_missing_column_is_named() -> None:
    frame = INTERVAL.empty_frame()
    with pytest.raises(TransformError, match="stored intervals lack the columns quality"):
        changed_windows(frame.drop("quality"), frame)
