"""How much flows through each register of a site: weather, calendar, people, appliances.

`chunk_flows` returns the true flows of one block of 64 UTC days. A block depends on the seed, the
site and its own number alone, never on how far the world was generated, so that more days never
change earlier ones. Loads follow LOCAL time; a cycle that starts before a clock change simply runs
on. Nothing here knows a vendor.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_etl.sandbox.calendar import DAY_MS, LocalTime, local_time, midnight_of_day_ms
from energy_etl.sandbox.fleet import LOADS, PURPOSES, SITES, Load
from energy_etl.sandbox.model import FloatArray, generator

SLOT_MS = 900_000
SLOT_H = 0.25
CHUNK_DAYS = 64
CHUNK_SLOTS = CHUNK_DAYS * 96
GAS_KWH_PER_M3 = 10.55

_YEAR_DAYS = 365.2425
_DISHWASHER = np.array([0.03, 0.30, 0.08, 0.05, 0.04, 0.28, 0.20, 0.02])
_WASHING_MACHINE = np.array([0.05, 0.42, 0.15, 0.06, 0.05, 0.08])
_EV_SLOTS = 28


@dataclass(frozen=True)
class _Chunk:
    """The calendar of one block for one site, and its random numbers."""

    seed: int
    site_id: str
    number: int
    start_ms: int
    local: LocalTime

    @property
    def days(self) -> NDArray[np.int64]:
        """Local days that touch the block, one more on each side."""
        return np.arange(self.local.day[0] - 1, self.local.day[-1] + 2)

    @property
    def hour(self) -> FloatArray:
        return self.local.minute / 60.0

    def slots(self, purpose: str) -> FloatArray:
        """One uniform number per slot of the block."""
        name = (self.site_id, purpose, "slot", self.number)
        return generator(self.seed, *name).random(CHUNK_SLOTS)

    def daily(self, purpose: str, days: NDArray[np.int64], n_columns: int) -> FloatArray:
        """One row of uniform numbers per local day: the same row whichever block asks for it."""
        blocks = days // CHUNK_DAYS
        rows = {
            int(block): generator(self.seed, self.site_id, purpose, "day", int(block)).random(
                (CHUNK_DAYS, n_columns)
            )
            for block in np.unique(blocks)
        }
        table = np.concatenate([rows[int(block)] for block in np.unique(blocks)])
        return table[days - blocks[0] * CHUNK_DAYS]

    def per_slot(self, daily: FloatArray) -> FloatArray:
        """Spread one number per day of `days` over the block's slots."""
        return daily[self.local.day - self.days[0]]


def chunk_flows(seed: int, site_id: str, number: int, origin_ms: int) -> dict[str, FloatArray]:
    """Return a block's true flow per slot (kWh, m3) and, for temperature, degC at each slot edge.

    Args:
        seed: the world's seed.
        site_id: one of the example fleet's sites.
        number: the block, counted in 64 UTC days from the origin.
        origin_ms: the world's origin.

    Returns:
        One array of 6,144 flows per register of the site; `temperature` has 6,145 edges.
    """
    load = LOADS[site_id]
    start_ms = origin_ms + number * CHUNK_SLOTS * SLOT_MS
    edge_ms = start_ms + np.arange(CHUNK_SLOTS + 1, dtype=np.int64) * SLOT_MS
    local_edges = local_time(SITES[site_id].zone, edge_ms)
    local = LocalTime(local_edges.day[:-1], local_edges.minute[:-1], local_edges.weekday[:-1])
    chunk = _Chunk(seed, site_id, number, start_ms, local)

    temperature = _temperature(chunk, load, edge_ms, local_edges)
    outdoor = temperature[:-1]
    activity = _activity(chunk)
    thermal = _thermal_kw(chunk, load, outdoor, activity) * SLOT_H
    flows: dict[str, FloatArray] = {"temperature": temperature, "heat": thermal}
    flows |= _appliances(chunk, load, outdoor)
    flows["water"] = _water_m3(chunk, load, activity)
    cooking_m3 = 0.04 * activity * _peak(chunk.hour, 19.0, 1.0) * SLOT_H
    flows["gas"] = thermal / 0.92 / GAS_KWH_PER_M3 + cooking_m3
    cop = np.clip(3.6 + 0.06 * (outdoor - 7.0), 2.0, 5.0)
    flows["heat_pump"] = thermal / cop + 0.012 * SLOT_H
    flows["pv"] = _pv_kw(chunk, load, edge_ms[:-1] + SLOT_MS // 2) * SLOT_H
    return _balance(site_id, flows, _unmetered_kw(chunk, load, activity) * SLOT_H)


def _balance(site_id: str, flows: dict[str, FloatArray], unmetered: FloatArray) -> dict:
    """Add the grid's side: import - export = consumption - PV in each slot."""
    purposes = PURPOSES[site_id]
    metered = ("heat_pump", "ev", "dishwasher", "washing_machine", "fridge", "standby")
    consumption = unmetered.copy()
    for purpose in metered:
        if purpose in purposes:
            consumption += flows[purpose]
    net = consumption - flows["pv"] if "pv" in purposes else consumption
    flows["grid_import"] = np.maximum(net, 0.0)
    flows["grid_export"] = np.maximum(-net, 0.0)
    return {purpose: flows[purpose] for purpose in purposes} | {"consumption": consumption}


def _peak(hour: FloatArray, centre: float, width: float) -> FloatArray:
    """A bell of height 1 around an hour of the day, across midnight."""
    distance = np.abs((hour - centre + 12.0) % 24.0 - 12.0)
    return np.exp(-0.5 * (distance / width) ** 2)


def _temperature(
    chunk: _Chunk, load: Load, edge_ms: NDArray[np.int64], local: LocalTime
) -> FloatArray:
    days = chunk.days
    # A week's weather: each day remembers the five before it.
    first = days[0] - 5
    long_days = np.arange(first, days[-1] + 1)
    noise = (chunk.daily("weather", long_days, 1)[:, 0] * 2.0 - 1.0) * 1.7
    memory = np.zeros(len(days))
    for lag in range(6):
        memory += 0.75**lag * noise[5 - lag : 5 - lag + len(days)]
    hour = local.minute / 60.0
    position = local.day - days[0] + hour / 24.0 - 0.5
    day = np.floor(position).astype(np.int64)
    part = position - day
    smooth = memory[day] * (1.0 - part) + memory[day + 1] * part
    season = np.cos(2.0 * np.pi * (edge_ms / DAY_MS - 201.0) / _YEAR_DAYS)
    swing = load.swing_degc * np.cos(2.0 * np.pi * (hour - 15.0) / 24.0)
    return load.mean_degc + load.season_degc * season + swing + 2.0 * smooth


def _activity(chunk: _Chunk) -> FloatArray:
    """How many of the people are up and at home, 0.1 to 1."""
    hour, weekend = chunk.hour, chunk.local.weekday >= 5
    stays = chunk.per_slot(chunk.daily("presence", chunk.days, 1)[:, 0])
    is_away = (hour >= 8.5) & (hour < 17.0) & (stays < np.where(weekend, 0.25, 0.72))
    is_asleep = (hour < 6.5) | (hour >= 23.25)
    return np.where(is_asleep, 0.1, np.where(is_away, 0.2, 1.0))


def _unmetered_kw(chunk: _Chunk, load: Load, activity: FloatArray) -> FloatArray:
    hour = chunk.hour
    season = np.cos(2.0 * np.pi * (chunk.local.day - 201.0) / _YEAR_DAYS)
    dark = (0.6 - 0.4 * season * np.sign(load.season_degc)) * _peak(hour, 20.5, 2.0)
    cooking = (
        0.35 * _peak(hour, 7.25, 0.7) + 0.3 * _peak(hour, 12.5, 0.8) + 0.9 * _peak(hour, 19.0, 1.1)
    )
    noise = 0.4 + 1.2 * chunk.slots("unmetered")
    return load.people * (0.05 + activity * (0.08 + 0.25 * dark + cooking) * noise)


def _thermal_kw(chunk: _Chunk, load: Load, outdoor: FloatArray, activity: FloatArray) -> FloatArray:
    hour = chunk.hour
    setback = np.where((hour < 5.5) | (hour >= 22.5), 0.7, 1.0)
    heating = load.heat_kw_per_k * np.maximum(17.0 - outdoor, 0.0) * setback
    hot_water = load.people * activity * (0.9 * _peak(hour, 7.0, 0.8) + 0.7 * _peak(hour, 20.5, 1))
    return (heating + hot_water) * (0.85 + 0.3 * chunk.slots("thermal")) + 0.01


def _water_m3(chunk: _Chunk, load: Load, activity: FloatArray) -> FloatArray:
    hour, draw = chunk.hour, chunk.slots("water")
    wish = _peak(hour, 7.25, 0.9) + 0.4 * _peak(hour, 12.5, 1.0) + 0.9 * _peak(hour, 20.0, 1.6)
    litres = load.people * activity * (2.0 + 55.0 * wish) * draw**2.5
    return np.where(draw < 0.35, 0.0, litres) / 1000.0


def _pv_kw(chunk: _Chunk, load: Load, mid_ms: NDArray[np.int64]) -> FloatArray:
    clear = 0.22 + 0.78 * chunk.per_slot(chunk.daily("cloud", chunk.days, 1)[:, 0]) ** 0.6
    latitude = np.radians(load.latitude)
    season = np.cos(2.0 * np.pi * (mid_ms / DAY_MS - 172.0) / _YEAR_DAYS)
    declination = np.radians(23.44) * season
    sun = 2.0 * np.pi * ((mid_ms % DAY_MS) / DAY_MS + load.longitude / 360.0 - 0.5)
    height = np.sin(latitude) * np.sin(declination)
    height += np.cos(latitude) * np.cos(declination) * np.cos(sun)
    power = load.pv_kw * 0.9 * np.maximum(height, 0.0) ** 1.15 * clear
    return power * (0.75 + 0.25 * chunk.slots("cloud"))


def _appliances(chunk: _Chunk, load: Load, outdoor: FloatArray) -> dict[str, FloatArray]:
    days = chunk.days
    weekend = (days + 3) % 7 >= 5
    draw = chunk.daily("cycles", days, 9)
    runs_dishes = draw[:, 0] < 0.35 + 0.25 * load.people
    dishes_at = np.where(draw[:, 1] < 0.75, 76 + draw[:, 2] * 14, 53 + draw[:, 2] * 8)
    runs_wash = draw[:, 3] < np.where(weekend, 0.65, 0.3)
    wash_at = np.where(weekend, 36 + draw[:, 4] * 24, 70 + draw[:, 4] * 12)
    shape = 0.85 + 0.3 * draw[:, 5]
    dishes = np.outer(shape * runs_dishes, _DISHWASHER)
    wash = np.outer(shape * runs_wash, _WASHING_MACHINE)
    charge = np.where(draw[:, 6] < 0.45, 5.0 + 22.0 * draw[:, 7], 0.0)
    per_slot = load.ev_kw * SLOT_H
    ev = np.clip(charge[:, None] - np.arange(_EV_SLOTS) * per_slot, 0.0, per_slot)
    level = chunk.per_slot(chunk.daily("standby", days, 1)[:, 0])
    fridge_kw = 0.038 * (1.0 + 0.012 * np.clip(outdoor - 18.0, -8.0, 15.0))
    return {
        "dishwasher": _cycles(chunk, dishes, dishes_at),
        "washing_machine": _cycles(chunk, wash, wash_at),
        "ev": _cycles(chunk, ev, 72 + draw[:, 8] * 20) + 0.004 * SLOT_H,
        "fridge": fridge_kw * (0.55 + 0.9 * chunk.slots("fridge")) * SLOT_H,
        "standby": (0.045 + 0.035 * load.people) * (0.95 + 0.1 * level) * SLOT_H,
    }


def _cycles(chunk: _Chunk, energy: NDArray[Any], start_slot: FloatArray) -> FloatArray:
    """Lay one cycle per local day over the block; energy is (days, slots of the cycle)."""
    zone = SITES[chunk.site_id].zone
    midnight_ms = np.array([midnight_of_day_ms(zone, day) for day in chunk.days])
    first = (midnight_ms - chunk.start_ms) // SLOT_MS + start_slot.astype(np.int64)
    at = first[:, None] + np.arange(energy.shape[1])
    inside = (at >= 0) & (at < CHUNK_SLOTS)
    flow = np.zeros(CHUNK_SLOTS)
    np.add.at(flow, at[inside], energy[inside])
    return flow
