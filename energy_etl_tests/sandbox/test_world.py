"""The seeded truth: same seed same energy, prefix-stable, balanced, by local time."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from energy_etl.sandbox import World, fixed_clock
from energy_etl.sandbox.calendar import local_midnight_ms, local_time
from energy_etl.sandbox.fleet import PURPOSES
from energy_etl.sandbox.loads import CHUNK_SLOTS
from energy_etl.sandbox.model import (
    device_id_wattsense,
    id_digiwatt,
    price_slots,
    property_id_wattsense,
)
from energy_etl_tests.sandbox.conftest import NOW_AT

SAMPLE = ("rome-a.grid_import", "lordhowe-a.pv", "newyork-a.water", "dublin-a.temperature")


def test_fleet_has_the_promised_size(world):
    zones = {site.zone for site in world.sites.values()}
    assert len(world.sites) >= 6
    assert len(zones) >= 4
    assert {"America/New_York", "Australia/Lord_Howe", "Europe/Dublin"} <= zones
    assert len(world.registers) >= 60
    assert len(world.streams) >= 20
    assert {r.unit for r in world.registers.values()} == {"kWh", "Wh", "W", "m3", "degC"}
    assert {r.vendor for r in world.registers.values()} == {"wattsense", "smartgridone"}


def test_each_vendor_has_its_own_distinct_ids(world):
    ids = [
        *(id_digiwatt(site_id) for site_id in world.sites),
        *(device_id_wattsense(site_id) for site_id in world.sites),
        *(property_id_wattsense(register_id) for register_id in world.registers),
        *world.streams,
    ]
    assert max(Counter(ids).values()) == 1
    assert not set(ids) & (set(world.sites) | set(world.registers))


def test_same_seed_gives_the_same_truth_and_another_seed_another(world):
    again = World(now=fixed_clock(NOW_AT))
    other = World(seed=7, now=fixed_clock(NOW_AT))
    for register_id in SAMPLE:
        np.testing.assert_array_equal(world.edges(register_id), again.edges(register_id))
        assert not np.array_equal(world.edges(register_id), other.edges(register_id))


def test_more_time_never_changes_earlier_slots_or_samples(world):
    early = World(now=fixed_clock(datetime(2024, 1, 20, tzinfo=UTC)))
    grown_now = [datetime(2024, 1, 5, tzinfo=UTC)]
    grown = World(now=lambda: grown_now[0])
    for register_id in SAMPLE:
        grown_now[0] = datetime(2024, 1, 5, tzinfo=UTC)
        grown.samples(register_id)
        grown_now[0] = NOW_AT
        np.testing.assert_array_equal(world.edges(register_id), grown.edges(register_id))
        known = early.edges(register_id)
        np.testing.assert_array_equal(world.edges(register_id)[: len(known) - 1], known[:-1])
        for one, other in ((early, world), (world, grown)):
            first, second = one.samples(register_id), other.samples(register_id)
            n = len(first.at_ms)
            for name in ("at_ms", "value_native", "visible_ms", "fault"):
                np.testing.assert_array_equal(getattr(first, name), getattr(second, name)[:n])


def test_import_minus_export_is_consumption_minus_pv_in_each_slot(world):
    for site_id, purposes in PURPOSES.items():
        grid = world.steps(f"{site_id}.grid_import")
        assert grid.min() >= 0.0
        used = world.consumption(site_id)
        if "pv" in purposes:
            export = world.steps(f"{site_id}.grid_export")
            pv = world.steps(f"{site_id}.pv")
            np.testing.assert_allclose(grid - export, used - pv, atol=1e-9)
            assert not np.any((grid > 1e-9) & (export > 1e-9))
            assert export.sum() > 0
        else:
            np.testing.assert_allclose(grid, used, atol=1e-9)


def test_submeters_never_exceed_the_consumption(world):
    for site_id in world.sites:
        parts = sum(
            world.steps(register.register_id)
            for register in world.registers.values()
            if register.site_id == site_id and register.appliance
        )
        assert np.all(parts <= world.consumption(site_id) + 1e-9)


def test_registers_never_fall_and_stay_within_rating_and_digits(world):
    for register in world.registers.values():
        if register.kind == "instant":
            continue
        steps = world.steps(register.register_id)
        assert steps.min() >= 0.0, register.register_id
        assert register.rating_native_per_hour is not None
        rating = register.rating_native_per_hour / register.native_per_true
        peak_per_hour = steps.max() * 3_600_000 / world.slot_ms
        assert 1.5 * peak_per_hour < rating < 9.0 * peak_per_hour, register.register_id
        last = world.edges(register.register_id)[-1] * register.native_per_true
        assert register.digits is None or last < 10.0**register.digits, register.register_id


def test_load_follows_the_local_hour_in_every_zone_on_both_sides_of_a_clock_change(world):
    with_water = [site for key, site in world.sites.items() if f"{key}.water" in world.registers]
    assert len({site.zone for site in with_water}) >= 5
    for site in with_water:
        site_id = site.site_id
        slots = world.origin_ms + np.arange(CHUNK_SLOTS * 6) * world.slot_ms
        local = local_time(site.zone, slots)
        water = world.steps(f"{site_id}.water")[: len(slots)]
        by_hour = np.bincount(local.minute // 60, water, minlength=24)
        assert by_hour.argmax() in (6, 7, 8, 19, 20, 21), site_id
        night, morning = by_hour[2:5].sum(), by_hour[6:9].sum()
        assert night * 4 < morning, site_id


def test_season_and_hemisphere_show_in_temperature_and_pv(world):
    def month_mean(register_id: str, month: int) -> float:
        first = int((datetime(2024, month, 1, tzinfo=UTC) - datetime(2024, 1, 1, tzinfo=UTC)).days)
        return float(world.edges(register_id)[first * 96 : (first + 28) * 96].mean())

    assert month_mean("berlin-a.temperature", 7) > month_mean("berlin-a.temperature", 1) + 10
    assert month_mean("lordhowe-a.temperature", 1) > month_mean("lordhowe-a.temperature", 7) + 4
    pv = world.steps("berlin-a.pv")
    assert pv[170 * 96 : 200 * 96].sum() > 3 * pv[: 30 * 96].sum()
    assert pv[:16].sum() == 0.0  # Berlin at night, in January


@pytest.mark.parametrize(
    ("site_id", "on", "n_slots"),
    [
        ("rome-b", date(2024, 3, 31), 92),
        ("rome-b", date(2024, 10, 27), 100),
        ("lordhowe-a", date(2024, 4, 7), 98),
        ("lordhowe-a", date(2024, 10, 6), 94),
    ],
)
def test_day_of_a_clock_change_holds_plausible_energy(world, site_id, on, n_slots):
    zone = world.sites[site_id].zone
    midnights = [local_midnight_ms(zone, on + timedelta(days=n)) for n in range(-7, 8)]
    slots = [(at - world.origin_ms) // world.slot_ms for at in midnights]
    energy = np.diff(world.edges(f"{site_id}.standby")[slots])
    lengths = np.diff(slots)
    assert lengths[7] == n_slots
    per_slot = energy / lengths
    assert per_slot[7] == pytest.approx(per_slot.mean(), rel=0.06)


def test_each_slot_has_exactly_one_price(world):
    for site_id in world.sites:
        prices = price_slots(world, site_id, 96 * 400)
        assert np.all((prices.eur_per_kwh > 0.1) & (prices.eur_per_kwh < 0.6)), site_id
    rome = price_slots(world, "rome-a", 96 * 8)
    tuesday_noon, tuesday_night = 96 + 44, 96 + 4  # UTC slots of 2024-01-02 (12:00, 02:00 local)
    assert rome.eur_per_kwh[tuesday_noon] == 0.31
    assert rome.eur_per_kwh[tuesday_night] == 0.25
    assert rome.eur_per_kwh[5 * 96 + 44] == 0.25  # Saturday


def test_clock_before_the_world_is_refused_in_one_sentence():
    world = World(now=fixed_clock(datetime(2023, 5, 1, tzinfo=UTC)))
    with pytest.raises(ValueError, match="lies before its world starts"):
        world.now_ms()
    with pytest.raises(ValueError, match="has no zone"):
        fixed_clock(datetime(2025, 1, 1))
