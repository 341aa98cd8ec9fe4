"""Instantaneous values (kind instant): time-weighted means of the lines between readings."""

from datetime import datetime, timedelta
from fractions import Fraction
from math import isclose

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from energy_etl_tests.transform.register_frames import (
    HOLD_FOR,
    LATER,
    START,
    compute,
    minutes,
    readings,
    register,
    series,
)

SENSOR = register(kind="instant", unit="degC", commodity="temperature", role="sensor")
STEP_S = 900
LONGEST_S = 1350
Rows = list[tuple[float, float | None]]


def samples_of(rows: Rows, *, now: datetime = LATER, **changed: object) -> pl.DataFrame:
    return compute(readings(rows), SENSOR | changed, now=now).samples


def in_minutes(instants_s: list[int], values: list[float]) -> Rows:
    return [(at_s / 60, value) for at_s, value in zip(instants_s, values, strict=True)]


def seconds(at: datetime) -> int:
    return (at - START) // timedelta(seconds=1)


@st.composite
def instants(draw: st.DrawFn, longest_s: int = LONGEST_S) -> list[int]:
    """Draw instants, in seconds after START, no further apart than told."""
    steps = draw(st.lists(st.integers(1, longest_s), min_size=2, max_size=60))
    at_s, found = draw(st.integers(-STEP_S, STEP_S)), []
    for step in steps:
        at_s += step
        found.append(at_s)
    return found


def covered_edges(at_s: list[int]) -> list[int]:
    """Starts of the intervals between the first and the last instant."""
    first, last = -(-at_s[0] // STEP_S), at_s[-1] // STEP_S
    return [n * STEP_S for n in range(first, last)]


@settings(max_examples=15, deadline=None)
@given(instants(), st.floats(-1e6, 1e6))
def test_constant_signal_is_exactly_itself_in_every_interval(at_s: list[int], value: float) -> None:
    samples = samples_of(in_minutes(at_s, [value] * len(at_s)))
    assert samples["sample_native"].to_list() == [value] * samples.height
    assert [seconds(at) for at in samples["start_at"]] == covered_edges(at_s)
    assert not samples["is_provisional"].any()


@settings(max_examples=15, deadline=None)
@given(instants(), st.floats(-50, 50), st.floats(-0.01, 0.01))
def test_linear_signal_is_its_value_at_the_middle(
    at_s: list[int], offset: float, slope: float
) -> None:
    samples = samples_of(in_minutes(at_s, [offset + slope * at for at in at_s]))
    for start_at, mean in samples.select("start_at", "sample_native").rows():
        expected = offset + slope * (seconds(start_at) + STEP_S / 2)
        assert isclose(mean, expected, rel_tol=1e-9, abs_tol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(-45, 45), min_size=2, max_size=100))
def test_jitter_around_the_quarter_hours_makes_no_hole(jitter_s: list[int]) -> None:
    at_s = [STEP_S * n + off for n, off in enumerate(jitter_s)]
    samples = samples_of(in_minutes(at_s, [float(n % 7) for n in range(len(at_s))]))
    assert [seconds(at) for at in samples["start_at"]] == covered_edges(at_s)


def test_interval_that_no_reading_falls_into_has_a_value() -> None:
    samples = samples_of([(-1, 10.0), (14, 10.0), (15.5, 13.0), (29.5, 13.0), (45.5, 21.0)])
    assert samples["n_readings"].to_list() == [1, 2, 0]
    assert samples["sample_native"][2] == pytest.approx(13.0 + 8.0 * (8.0 / 16.0))


@settings(max_examples=15, deadline=None)
@given(instants(), st.integers(LONGEST_S + 1, 20_000), st.data())
def test_gap_leaves_out_the_intervals_that_it_touches_and_no_other(
    at_s: list[int], gap_s: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(at_s) - 1))
    late_s = gap_s - (at_s[k] - at_s[k - 1])
    moved = [*at_s[:k], *(at + late_s for at in at_s[k:])]
    samples = samples_of(in_minutes(moved, [1.0] * len(moved)))
    expected = [
        start
        for start in covered_edges(moved)
        if start + STEP_S <= moved[k - 1] or start >= moved[k]
    ]
    assert [seconds(at) for at in samples["start_at"]] == expected


def test_gap_of_one_and_a_half_steps_is_none_and_a_second_more_is_one() -> None:
    assert samples_of([(0, 1.0), (22.5, 1.0), (45, 1.0)]).height == 3
    samples = samples_of([(0, 1.0), (22.5 + 1 / 60, 1.0), (45, 1.0)])
    assert samples["start_at"].to_list() == [minutes(30)]


@settings(max_examples=12, deadline=None)
@given(instants(2_000), st.data())
def test_means_are_those_of_exact_arithmetic(at_s: list[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(-40, 60), min_size=len(at_s), max_size=len(at_s)))
    lines = list(zip(at_s[:-1], at_s[1:], values[:-1], values[1:], strict=True))
    expected: dict[int, tuple[Fraction, int]] = {}
    for start in covered_edges(at_s):
        end, covered, area = start + STEP_S, 0, Fraction(0)
        for a, b, low, high in lines:
            lo, hi = max(a, start), min(b, end)
            if hi > lo and b - a <= LONGEST_S:
                middle = Fraction(lo + hi, 2)
                share = (middle - a) / (b - a)
                area += (Fraction(low) + (Fraction(high) - Fraction(low)) * share) * (hi - lo)
                covered += hi - lo
        if covered == STEP_S:
            expected[start] = (area / STEP_S, sum(start <= at < end for at in at_s))
    samples = samples_of(in_minutes(at_s, values))
    found = samples.select("start_at", "sample_native", "n_readings").rows()
    assert [seconds(row[0]) for row in found] == list(expected)
    for (_, mean, n_readings), (exact, n_expected) in zip(found, expected.values(), strict=True):
        assert isclose(mean, float(exact), rel_tol=1e-12, abs_tol=1e-10)
        assert n_readings == n_expected


@settings(max_examples=10, deadline=None)
@given(instants(2_000), st.data())
def test_order_repeats_other_registers_and_older_readings_change_no_bit(
    at_s: list[int], data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.floats(-40, 60), min_size=len(at_s), max_size=len(at_s)))
    frame = readings(in_minutes(at_s, values))
    alone = compute(frame, SENSOR).samples
    order = data.draw(st.permutations(range(frame.height)))
    again = data.draw(st.lists(st.integers(0, frame.height - 1), max_size=10))
    assert_frame_equal(compute(frame[[*order, *again]], SENSOR).samples, alone, check_exact=True)
    before = in_minutes([at - 2 * (at_s[-1] - at_s[0]) - STEP_S for at in at_s], values)
    others = pl.concat([readings(before), frame, readings(in_minutes(at_s, values), "0")])
    together = compute(others, SENSOR, SENSOR | {"register_id": "0"}).samples
    recent = together.filter(
        pl.col("register_id") == "a", pl.col("start_at") >= minutes(at_s[0] / 60)
    )
    assert_frame_equal(recent, alone, check_exact=True)


@settings(max_examples=10, deadline=None)
@given(instants(), st.sampled_from(["UTC", "Australia/Lord_Howe", "America/New_York"]))
def test_change_of_clocks_changes_nothing(at_s: list[int], zone: str) -> None:
    # START is the morning on which Berlin changes its clocks.
    rows = in_minutes(at_s, [float(at % 13) for at in at_s])
    assert_frame_equal(samples_of(rows), samples_of(rows, zone=zone), check_exact=True)


def test_hourly_source_where_the_grid_is_halved_has_no_holes() -> None:
    # Lord Howe's summer time is half an hour, so hours are cut in two; the source is still hourly.
    rows = series([10.0, 20.0, 30.0], step=60)
    samples = samples_of(rows, zone="Australia/Lord_Howe", grid_minutes=60)
    assert samples["sample_native"].to_list() == [12.5, 17.5, 22.5, 27.5]
    assert samples["n_readings"].to_list() == [1, 0, 1, 0]


def test_last_interval_is_provisional_until_a_reading_at_its_end() -> None:
    rows: Rows = [(0, 20.0), (10, 20.0), (20, 24.0)]
    samples = samples_of(rows, now=minutes(31))
    assert samples.select("start_at", "is_provisional", "n_readings").rows() == [
        (minutes(0), False, 2),
        (minutes(15), True, 1),
    ]
    # From 22.0 at the edge to 24.0 at the last reading.
    assert samples["sample_native"][1] == pytest.approx(23.0)
    samples = samples_of([*rows, (30, 24.0)], now=minutes(31))
    assert samples["is_provisional"].to_list() == [False, False]
    assert samples["sample_native"][1] == pytest.approx((23.0 * 5 + 24.0 * 10) / 15)


def test_last_interval_without_an_end_is_a_hole_after_hold_for() -> None:
    rows: Rows = [(0, 20.0), (10, 20.0), (20, 24.0)]
    before = samples_of(rows, now=minutes(30) + HOLD_FOR - timedelta(seconds=1))
    assert before["is_provisional"].to_list() == [False, True]
    after = samples_of(rows, now=minutes(30) + HOLD_FOR)
    assert after["start_at"].to_list() == [minutes(0)]


def test_last_interval_that_begins_in_a_hole_has_no_row() -> None:
    samples = samples_of([(0, 20.0), (15, 20.0), (47, 20.0), (50, 20.0)], now=minutes(51))
    assert samples["start_at"].to_list() == [minutes(0)]


@settings(max_examples=10, deadline=None)
@given(instants(), st.data())
def test_what_is_confirmed_no_longer_depends_on_what_comes_after(
    at_s: list[int], data: st.DataObject
) -> None:
    assume(len(at_s) > 2)
    rows = in_minutes(at_s, [float(at % 17) for at in at_s])
    n = data.draw(st.integers(2, len(rows)))
    known = samples_of(rows[:n], now=minutes(rows[n - 1][0])).filter(~pl.col("is_provisional"))
    assert_frame_equal(samples_of(rows).head(known.height), known, check_exact=True)


def test_readings_without_a_value_are_named_and_bridged_or_a_hole() -> None:
    rows: Rows = [
        (0, 20.0),
        (7, None),
        (15, 20.0),
        (30, float("nan")),
        (45, 20.0),
        (60, float("inf")),
        (62, 20.0),
        (75, 21.0),
    ]
    result = compute(readings(rows), SENSOR)
    assert result.intervals.is_empty()
    assert result.samples.select("start_at", "sample_native").rows() == [
        (minutes(0), 20.0),
        (minutes(45), 20.0),
        (minutes(60), pytest.approx((20.0 * 2 + 20.5 * 13) / 15)),
    ]
    assert result.edits.select("rule", "n_readings").rows() == [
        ("implausible", 1),
        ("missing", 1),
        ("missing", 1),
    ]


@pytest.mark.parametrize("rows", [[(0, 20.0)], [(0, None), (15, None)], [(0, 1.0), (60, 1.0)]])
def test_without_two_readings_near_each_other_there_is_no_row(rows: Rows) -> None:
    assert samples_of(rows).is_empty()
