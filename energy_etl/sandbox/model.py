"""What a truth consists of: sites, registers, tariffs, streams, samples, and the `Truth` protocol.

No numbers are made here: the seeded truth is in `world.py`, the replayed one in `replay.py`.
Energies are true kWh, volumes m3, temperatures degC; what a register shows in Wh is scaled only
when it is served.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from energy_etl.sandbox.calendar import local_time
from energy_etl.units import WH_PER_KWH, Commodity, Unit

Clock = Callable[[], datetime]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Tariff:
    """A price for some hours of some days: one row of the portfolio's tariffs.csv."""

    site_id: str
    valid_from_on: date
    valid_to_on: date | None
    from_minute: int
    to_minute: int
    days: str
    price_eur_per_kwh: float
    band: str


@dataclass(frozen=True)
class Site:
    """One place in one time zone."""

    site_id: str
    name: str
    zone: str
    area_m2: float
    account: str
    organization: str
    currency: str = "EUR"


@dataclass(frozen=True)
class Register:
    """One register of one meter, as the portfolio describes it.

    `vendor` is whose cloud shows it; `same_as` is the register whose truth it shows once more.
    """

    register_id: str
    site_id: str
    meter_id: str
    name: str
    role: str
    appliance: str | None
    commodity: Commodity
    kind: str
    unit: Unit
    digits: int | None
    rating_native_per_hour: float | None
    resolution_native: float
    vendor: str = "wattsense"
    same_as: str | None = None

    @property
    def purpose(self) -> str:
        """The part of the id after the site: `grid_import`, `heat_pump`."""
        return (self.same_as or self.register_id).rpartition(".")[2]

    @property
    def native_per_true(self) -> float:
        """What one true kWh (m3, degC) is on this register."""
        return WH_PER_KWH if self.unit == "Wh" else 1.0


@dataclass(frozen=True)
class Stream:
    """A data point that was agreed with Wattics for one register."""

    stream_id: str
    register_id: str
    field: str
    content: str
    account: str


@dataclass(frozen=True)
class Samples:
    """What a register sent: instants, native values, when each became visible, and what is wrong.

    `fault` is 0 for a true value, 1 for a zero glitch, 2 for a false high.
    """

    at_ms: IntArray
    value_native: FloatArray
    visible_ms: IntArray
    fault: NDArray[np.int8]


ZERO_GLITCH, FALSE_HIGH = 1, 2


class Truth(Protocol):
    """What the vendor modules read: a seeded world or a replayed house."""

    name: str
    sites: dict[str, Site]
    locations: dict[str, tuple[str, ...]]
    registers: dict[str, Register]
    streams: dict[str, Stream]
    origin_ms: int
    slot_ms: int

    def now_ms(self) -> int:
        """Return the present of this truth."""
        ...

    def edges(self, register_id: str) -> FloatArray:
        """Return the true register (kWh, m3) or value (degC) at each slot's edge, up to now."""
        ...

    def samples(self, register_id: str, since_ms: int = 0, until_ms: int | None = None) -> Samples:
        """Return samples of a register in order of their instants: those of a window, or more."""
        ...

    def tariffs(self, site_id: str) -> tuple[Tariff, ...]:
        """Return a site's tariffs."""
        ...

    def draw(self, *name: object) -> float:
        """Return the uniform number in [0, 1) that belongs to a name."""
        ...


@dataclass
class SlotPrices:
    """Prices per slot of a site, worked out once per extent of the truth."""

    eur_per_kwh: FloatArray
    band: NDArray[np.int64]
    names: list[str] = field(default_factory=list)


def price_slots(truth: Truth, site_id: str, n_slots: int) -> SlotPrices:
    """Return the price and the tariff band of each slot, by the site's local time."""
    at_ms = truth.origin_ms + np.arange(n_slots, dtype=np.int64) * truth.slot_ms
    local = local_time(truth.sites[site_id].zone, at_ms)
    price = np.zeros(n_slots)
    band = np.zeros(n_slots, dtype=np.int64)
    names: list[str] = []
    epoch = date(1970, 1, 1)
    for tariff in truth.tariffs(site_id):
        if tariff.band not in names:
            names.append(tariff.band)
        at = (local.minute >= tariff.from_minute) & (local.minute < tariff.to_minute)
        at &= local.day >= (tariff.valid_from_on - epoch).days
        if tariff.valid_to_on is not None:
            at &= local.day < (tariff.valid_to_on - epoch).days
        if tariff.days != "all":
            at &= (local.weekday >= 5) == (tariff.days == "weekend")
        price[at] = tariff.price_eur_per_kwh
        band[at] = names.index(tariff.band)
    return SlotPrices(price, band, names)


def uniform(seed: int, *name: object) -> float:
    """Return a uniform number in [0, 1) that depends on the seed and the name alone."""
    text = "/".join([str(seed), *map(str, name)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def generator(seed: int, *name: object) -> np.random.Generator:
    """Return a random generator that depends on the seed and the name alone."""
    text = "/".join([str(seed), *map(str, name)])
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    return np.random.Generator(np.random.Philox(key=key))


def _digest(vendor: str, ours: str, length: int) -> str:
    return hashlib.sha1(f"{vendor}/{ours}".encode(), usedforsecurity=False).hexdigest()[:length]


# An id that the Digiwatt page allows ("any non-empty string without whitespaces") and that breaks
# a client which pastes it into a path.
_ODD_SMARTMETER_IDS = {"berlin-a": "a/b?c#..1", "dublin-a": "..", "lordhowe-a": "50%_ü+&=;"}


def id_digiwatt(site_id: str) -> str:
    """Return Digiwatt's smart meter id of a site's mains."""
    return _ODD_SMARTMETER_IDS.get(site_id, _digest("digiwatt", site_id, 7))


def device_id_wattsense(site_id: str) -> str:
    """Return Wattsense's id of the box at a site."""
    return "B" + _digest("wattsense-device", site_id, 10).upper()


def property_id_wattsense(register_id: str) -> str:
    """Return Wattsense's id of the property that carries a register."""
    return "p" + _digest("wattsense", register_id, 11)


# What SmartgridOne measures of each purpose: measurement and field (the unit is its suffix).
FIELDS_SMARTGRIDONE: Final[dict[str, tuple[str, str]]] = {
    "grid_import": ("gridMetrics", "importedAbsEnergyTot_Wh"),
    "grid_export": ("gridMetrics", "exportedAbsEnergyTot_Wh"),
    "pv": ("solarInverterMetrics", "actualPowerTot_W"),
    "ev": ("evChargerMetrics", "importedEnergyDeltaTot_Wh"),
}


def controller_id_smartgridone(site_id: str) -> str:
    """Return SmartgridOne's node id of the controller at a site."""
    return "SGO-" + _digest("smartgridone-controller", site_id, 8).upper()


def node_id_smartgridone(meter_id: str) -> str:
    """Return SmartgridOne's node id of a metering device."""
    return "sgo_" + _digest("smartgridone", meter_id, 10)


def id_wiser(kind: str, ours: str) -> str:
    """Return Wiser's id of a location, site, room or device."""
    return _digest(f"wiser-{kind}", ours, 12)


def id_wattics(register_id: str) -> str:
    """Return the Wattics stream id of a register."""
    return "dp-" + _digest("wattics", register_id, 10)
