"""Power becomes energy where nobody counts energy, and says so."""

import itertools
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.transform.registers import compute_intervals
from energy_etl.transform.registers_power import compare_neighbours
from energy_etl_tests.transform.register_frames import (
    HOLD_FOR,
    LATER,
    compute,
    exchanges,
    manual_edit,
    manual_edits,
    minutes,
    readings,
    register,
    registers,
    series,
)

PV = register(kind="instant", unit="W", role="production", rating_native_per_hour=None, digits=None)


def test_constant_power_is_power_times_time() -> None:
    intervals = compute(readings(series([2000.0] * 7, step=5)), PV).intervals
    assert intervals["energy_kwh"].to_list() == pytest.approx([0.5, 0.5])
    assert intervals["quality"].to_list() == ["integrated", "integrated"]
    assert intervals["register_end_native"].null_count() == 2
    assert intervals["is_pushable"].all()


def test_rising_power_is_integrated_along_its_line() -> None:
    intervals = compute(readings([(0.0, 0.0), (15.0, 4000.0)]), PV).intervals
    assert intervals["energy_kwh"].to_list() == pytest.approx([0.5])


def test_power_beside_a_counter_of_the_same_role_stays_a_sample() -> None:
    counter = register("b", kind="cumulative", unit="kWh", role="production")
    result = compute(readings(series([2000.0] * 4)), PV, counter)
    assert result.intervals.is_empty()
    assert result.samples["sample_native"].to_list() == pytest.approx([2000.0] * 3)


def test_power_beside_a_counter_of_another_role_is_integrated() -> None:
    counter = register("b", kind="cumulative", unit="kWh", role="mains")
    result = compute(readings(series([2000.0] * 4)), PV, counter)
    assert result.intervals["energy_kwh"].to_list() == pytest.approx([0.5] * 3)


def test_hole_in_power_is_missing_and_no_zero() -> None:
    rows = [*series([1000.0] * 3), *((minute, 1000.0) for minute in (120.0, 135.0, 150.0))]
    intervals = compute(readings(rows), PV).intervals
    assert (
        intervals["quality"].to_list() == ["integrated"] * 2 + ["missing"] * 6 + ["integrated"] * 2
    )
    missing = intervals.filter(pl.col("quality") == "missing")
    assert missing["energy_kwh"].null_count() == 6
    assert missing["flags"].to_list() == [["gap"]] * 6
    assert not missing["is_pushable"].any()


def test_power_against_the_registers_direction_counts_nothing_and_stays_visible() -> None:
    result = compute(readings(series([-500.0, -500.0, 1000.0, 1000.0])), PV)
    assert result.intervals["energy_kwh"].to_list() == pytest.approx([0.0, 0.125, 0.25])
    assert result.samples["sample_native"][0] == pytest.approx(-500.0)


@pytest.mark.parametrize("no_value", [None, float("nan"), -1e16, 1e16])
def test_reading_without_a_value_was_integrated_as_zero(no_value: float | None) -> None:
    """`max_horizontal` passes over null and NaN; where it did not, the computation broke off."""
    result = compute(readings(series([500.0] * 2 + [no_value] * 2 + [500.0] * 2)), PV)
    assert result.intervals["energy_kwh"].to_list() == [0.125, None, None, None, 0.125]
    between = compute(readings(series([500.0, 500.0, no_value, 500.0], step=10)), PV).intervals
    assert between["energy_kwh"].to_list() == pytest.approx([0.125] * 2)


def test_last_interval_of_power_is_provisional() -> None:
    frame = readings(series([1000.0] * 4))
    intervals = compute(frame, PV, now=minutes(50)).intervals
    assert intervals["is_provisional"].to_list() == [False, False, True]


def test_kilowatts_are_kilowatts() -> None:
    intervals = compute(readings(series([2.0, 2.0])), PV | {"unit": "kW"}).intervals
    assert intervals["energy_kwh"].to_list() == pytest.approx([0.5])


@settings(max_examples=10, deadline=None)
@given(
    powers=st.lists(st.floats(0.0, 1e5), min_size=4, max_size=30),
    at=st.lists(st.integers(1, 20), min_size=30, max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_energy_is_the_area_below_the_power_in_any_order_of_arrival(
    powers: list[float], at: list[int], order: random.Random
) -> None:
    minute, rows = 0.0, []
    for power, step in zip(powers, at, strict=False):
        rows.append((minute, power))
        minute += step
    first_edge, last_edge = 0.0, rows[-1][0] // 15 * 15
    area_wmin = 0.0
    for (a, p), (b, q) in itertools.pairwise(rows):
        lo, hi = max(a, first_edge), min(b, last_edge)
        if hi > lo:
            middle = p + (q - p) * ((lo + hi) / 2 - a) / (b - a)
            area_wmin += middle * (hi - lo)
    shuffled = list(rows)
    order.shuffle(shuffled)
    in_order, any_order = (compute(readings(each), PV).intervals for each in (rows, shuffled))
    assert in_order.equals(any_order)
    assert in_order["energy_kwh"].sum() == pytest.approx(area_wmin / 60e3, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("spike", [1e9, -1e9])
def test_spike_of_momentary_power_beyond_the_rating_became_energy(spike: float) -> None:
    """Only counters and means were held to their rating: 125,000 kWh in a quarter of an hour."""
    frame = readings(series([1000.0, 1000.0, 1000.0, spike, 1000.0, 1000.0, 1000.0]))
    result = compute(frame, PV | {"rating_native_per_hour": 10_000.0})
    assert result.intervals["energy_kwh"].to_list() == [0.25, 0.25, None, None, 0.25, 0.25]
    assert result.samples["sample_native"].to_list() == [1000.0] * 4
    assert result.edits.select("rule", "from_at").rows() == [("false_high", minutes(45))]


def test_momentary_power_far_beyond_the_usual_was_neither_flagged_nor_told() -> None:
    values = [1000.0] * 250
    values[125] = 5e6
    result = compute(readings(series(values)), PV)
    suspect = pl.col("flags").list.contains("suspect")
    assert result.intervals.filter(suspect)["end_at"].to_list() == [minutes(1875), minutes(1890)]
    assert result.edits.select("rule", "n_readings").rows() == [("suspect", 2)]
    kept = compute(
        readings(series(values)), PV, decided=manual_edits(manual_edit("keep", 1860, 1890))
    )
    assert kept.intervals.filter(suspect).is_empty()
    assert kept.intervals["energy_kwh"].equals(result.intervals["energy_kwh"])


def test_counter_that_is_left_out_for_a_fault_still_keeps_power_from_counting() -> None:
    counter = registers(register("b", unit="kWh", role="production"))
    alone = compare_neighbours(registers(PV))
    beside = compare_neighbours(registers(PV), counter)
    assert alone.rows() == [("a", True, True)]
    assert beside.rows() == [("a", False, True)]
    result = compute_intervals(
        readings(series([2000.0] * 4)),
        registers(PV),
        exchanges(),
        left_out=counter,
        now=LATER,
        hold_for=HOLD_FOR,
    )
    assert result.intervals.is_empty()
    assert result.samples.height == 3
