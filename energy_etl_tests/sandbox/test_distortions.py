"""What Wattsense sees differs from the truth only where the distortions say so."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from energy_etl.sandbox.calendar import DAY_MS, from_ms
from energy_etl.sandbox.distortions import JITTER_MS, LATE_MS, RESET_BLOCK_MS, value_at
from energy_etl.sandbox.loads import CHUNK_SLOTS
from energy_etl.sandbox.model import FALSE_HIGH, ZERO_GLITCH
from energy_etl.sandbox.world import World, fixed_clock

CUMULATIVE = ("rome-a.grid_import", "rome-b.fridge", "dublin-a.gas", "berlin-a.heat_pump")


def _cumulative(world):
    return [r for r in world.registers.values() if r.kind == "cumulative"]


def test_true_samples_show_the_register_at_their_very_instant(world):
    for register_id in CUMULATIVE:
        register, samples = world.registers[register_id], world.samples(register_id)
        resets = world.distortions.resets(register_id)
        before = samples.at_ms < min(resets, default=2**62)
        good = (samples.fault == 0) & before
        true_value = value_at(
            world.edges(register_id), samples.at_ms[good] - world.origin_ms, world.slot_ms
        )
        error = np.abs(samples.value_native[good] - true_value * register.native_per_true)
        assert error.max() <= 0.5001 * register.resolution_native


def test_samples_come_once_per_quarter_hour_at_irregular_instants(world):
    samples = world.samples("lordhowe-a.grid_import")
    offset = (samples.at_ms - world.origin_ms + 450_000) % 900_000 - 450_000
    assert np.abs(offset).max() <= JITTER_MS
    assert offset.std() > 10_000
    quarter = (samples.at_ms - world.origin_ms + 450_000) // 900_000
    assert np.all(np.diff(quarter) >= 1)


def test_zero_glitches_and_false_highs_have_their_rates(world):
    n_days = world.n_slots / 96
    zeros = [
        int((world.samples(r.register_id).fault == ZERO_GLITCH).sum()) for r in _cumulative(world)
    ]
    highs = [
        int((world.samples(r.register_id).fault == FALSE_HIGH).sum()) for r in _cumulative(world)
    ]
    assert 0.8 < np.mean(zeros) / (n_days / 20) < 1.2
    assert 0.7 < np.mean(highs) / (n_days / 60) < 1.3
    for register in _cumulative(world)[:6]:
        samples = world.samples(register.register_id)
        assert np.all(samples.value_native[samples.fault == ZERO_GLITCH] == 0.0)
        at = np.flatnonzero(samples.fault == FALSE_HIGH)
        jump = samples.value_native[at] - samples.value_native[at - 1]
        assert np.all(jump > (register.rating_native_per_hour or 0.0))


def test_resets_hit_the_fleet_at_their_rate_and_submeters_among_them(world):
    resets = {r.register_id: world.distortions.resets(r.register_id) for r in _cumulative(world)}
    all_resets = sorted(at for each in resets.values() for at in each)
    extent_ms = world.n_slots * world.slot_ms
    assert abs(len(all_resets) - extent_ms / RESET_BLOCK_MS) <= 1
    on_submeters = [at for rid, each in resets.items() if rid.endswith("heat_pump") for at in each]
    for start in range(world.origin_ms, world.origin_ms + extent_ms - 100 * DAY_MS, 10 * DAY_MS):
        assert 2 <= sum(start <= at < start + 100 * DAY_MS for at in all_resets) <= 4
        assert any(start <= at < start + 100 * DAY_MS for at in on_submeters)


def test_register_restarts_at_zero_after_a_reset(world):
    for register in _cumulative(world):
        samples = world.samples(register.register_id)
        for reset_ms in world.distortions.resets(register.register_id):
            if reset_ms > samples.at_ms[-1]:
                continue
            after = int(np.searchsorted(samples.at_ms, reset_ms))
            rating = register.rating_native_per_hour or 0.0
            assert samples.value_native[after] <= rating * 7.0  # at most a gap lies in between
            assert samples.value_native[after - 1] > 100 * samples.value_native[after]


def test_gaps_are_empty_and_nothing_else_is_missing(world):
    with_gaps = [r for r in world.registers if world.distortions.gaps(r)]
    assert 0.2 < len(with_gaps) / len(world.registers) < 0.5
    for register_id in (*with_gaps[:4], "rome-a.grid_import"):
        samples, gaps = world.samples(register_id), world.distortions.gaps(register_id)
        missing = world.n_slots - len(samples.at_ms)
        expected = 0
        for start, end in gaps:
            assert 4 * 3_600_000 <= end - start <= 6 * 3_600_000
            assert not np.any((samples.at_ms >= start) & (samples.at_ms < end))
            is_within = start < world.origin_ms + world.n_slots * world.slot_ms
            expected += round((end - start) / 900_000) * is_within
        assert abs(missing - expected) <= 2 * len(gaps)


def test_some_samples_come_late_but_never_more_than_three_hours(world):
    samples = world.samples("rome-b.grid_import")
    delay = samples.visible_ms - samples.at_ms
    assert delay.min() >= 0
    assert delay.max() <= LATE_MS
    assert 0.012 < np.mean(delay > 60_000) < 0.028
    assert np.any(np.diff(samples.visible_ms) < 0)  # overtaken by later ones


def test_temperatures_have_no_glitches(world):
    samples = world.samples("newyork-a.temperature")
    assert not samples.fault.any()
    assert np.abs(np.diff(samples.value_native)).max() < 5.0


_BLOCK_MS = CHUNK_SLOTS * World.slot_ms
_NOW = fixed_clock(from_ms(World.origin_ms + 4 * _BLOCK_MS))
_WHOLE = World(now=_NOW)
_EDGES = st.builds(
    lambda number, offset_ms: World.origin_ms + number * _BLOCK_MS + offset_ms,
    st.integers(-1, 6),
    st.integers(-JITTER_MS - 1, JITTER_MS + 1) | st.integers(-_BLOCK_MS, _BLOCK_MS),
)


@settings(deadline=None, max_examples=25)
@given(windows=st.lists(st.tuples(_EDGES, st.none() | _EDGES), min_size=1, max_size=5))
@example(windows=[(0, None)])
def test_windows_in_any_order_show_the_samples_of_the_whole(windows):
    asked = World(now=_NOW)
    whole = _WHOLE.samples("rome-b.fridge")
    for since_ms, until_ms in windows:
        part = asked.samples("rome-b.fridge", since_ms, until_ms)
        last_ms = 2**62 if until_ms is None else until_ms
        for name in ("at_ms", "value_native", "visible_ms", "fault"):
            shown, expected = (
                getattr(all_of, name)[(all_of.at_ms >= since_ms) & (all_of.at_ms < last_ms)]
                for all_of in (part, whole)
            )
            np.testing.assert_array_equal(shown, expected)
