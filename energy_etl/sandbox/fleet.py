"""The example fleet: seven sites in six zones, their registers, tariffs and Wattics streams.

Fixed by hand and independent of the seed, because the example portfolio names these ids. How much
flows through them is in `loads.py`.
"""

from dataclasses import dataclass, replace
from datetime import date

from energy_etl.sandbox.model import (
    FIELDS_SMARTGRIDONE,
    Register,
    Site,
    Stream,
    Tariff,
    id_wattics,
)
from energy_etl.units import Commodity, Unit


@dataclass(frozen=True)
class Load:
    """The physical traits of a site: what `loads.py` needs to work out its energy."""

    latitude: float
    longitude: float
    mean_degc: float
    season_degc: float  # negative in the southern hemisphere: warmest in January
    swing_degc: float
    people: float
    pv_kw: float = 0.0
    ev_kw: float = 0.0
    heat_kw_per_k: float = 0.0


SITES: dict[str, Site] = {
    site.site_id: site
    for site in (
        Site("rome-a", "Villa Appia", "Europe/Rome", 180.0, "main", "north"),
        Site("rome-b", "Trastevere flat", "Europe/Rome", 85.0, "main", "north"),
        Site("berlin-a", "Pankow house", "Europe/Berlin", 160.0, "main", "north"),
        Site("dublin-a", "Rathmines terrace", "Europe/Dublin", 120.0, "main", "north"),
        Site("newyork-a", "Brooklyn brownstone", "America/New_York", 210.0, "second", "south"),
        Site("lordhowe-a", "Lagoon lodge", "Australia/Lord_Howe", 140.0, "second", "south"),
        Site("ghent-a", "Patershol house", "Europe/Brussels", 150.0, "main", "north"),
    )
}

LOADS: dict[str, Load] = {
    "rome-a": Load(41.9, 12.5, 16.0, 8.5, 5.0, 1.3, pv_kw=5.0, ev_kw=7.4, heat_kw_per_k=0.22),
    "rome-b": Load(41.9, 12.5, 16.0, 8.5, 5.0, 0.8, heat_kw_per_k=0.13),
    "berlin-a": Load(52.6, 13.4, 10.0, 9.5, 4.5, 1.2, pv_kw=6.0, ev_kw=11.0, heat_kw_per_k=0.19),
    "dublin-a": Load(53.3, -6.3, 10.0, 5.0, 3.0, 1.0, pv_kw=3.0, heat_kw_per_k=0.16),
    "newyork-a": Load(40.7, -74.0, 12.5, 12.0, 4.0, 1.5, ev_kw=7.4, heat_kw_per_k=0.24),
    "lordhowe-a": Load(-31.5, 159.1, 19.0, -4.0, 3.0, 1.1, pv_kw=4.0, heat_kw_per_k=0.15),
    "ghent-a": Load(51.1, 3.7, 10.5, 7.5, 4.0, 1.2, pv_kw=5.0, ev_kw=7.4, heat_kw_per_k=0.17),
}


@dataclass(frozen=True)
class _Kind:
    """A register's traits that do not depend on the site; ratings are about twice the peak."""

    name: str
    meter: str
    role: str
    appliance: str | None
    commodity: Commodity
    unit: Unit
    rating_per_hour: float | None


_KINDS: dict[str, _Kind] = {
    "grid_import": _Kind("Grid import", "mains", "mains", None, "electricity", "kWh", None),
    "grid_export": _Kind("Grid export", "mains", "export", None, "electricity", "kWh", None),
    "pv": _Kind("PV production", "pv", "production", None, "electricity", "kWh", None),
    "heat_pump": _Kind("Heat pump", "", "submeter", "heatPump", "electricity", "kWh", 5.5),
    "ev": _Kind("Wallbox", "", "submeter", "ev", "electricity", "kWh", None),
    "dishwasher": _Kind("Dishwasher", "", "appliance", "dishwasher", "electricity", "kWh", 3.0),
    "washing_machine": _Kind(
        "Washing machine", "", "appliance", "washingMachine", "electricity", "kWh", 4.0
    ),
    "fridge": _Kind("Fridge", "", "appliance", "fridge", "electricity", "kWh", 0.2),
    "standby": _Kind("Standby", "", "appliance", "standby", "electricity", "kWh", 0.25),
    "gas": _Kind("Gas", "", "mains", None, "gas", "m3", 1.8),
    "water": _Kind("Water", "", "mains", None, "water", "m3", 0.7),
    "heat": _Kind("Heat", "", "mains", None, "heat", "kWh", 16.0),
    "temperature": _Kind("Outdoor temperature", "", "sensor", None, "temperature", "degC", None),
}

_APPLIANCES = ("dishwasher", "washing_machine", "fridge", "standby")
_SOLAR = ("grid_import", "grid_export", "pv")
PURPOSES: dict[str, tuple[str, ...]] = {
    "rome-a": (*_SOLAR, "heat_pump", "ev", *_APPLIANCES, "water", "heat", "temperature"),
    "rome-b": ("grid_import", *_APPLIANCES, "gas", "water", "heat", "temperature"),
    "berlin-a": (*_SOLAR, "heat_pump", "ev", *_APPLIANCES, "water", "heat", "temperature"),
    "dublin-a": (*_SOLAR, *_APPLIANCES, "gas", "water", "heat", "temperature"),
    "newyork-a": ("grid_import", "ev", *_APPLIANCES, "gas", "water", "heat", "temperature"),
    "lordhowe-a": (*_SOLAR, "heat_pump", *_APPLIANCES, "water", "heat", "temperature"),
    "ghent-a": (*_SOLAR, "ev"),
}
# The places that a Schneider customer gave his consent for.
LOCATIONS: dict[str, tuple[str, ...]] = {"Rome": ("rome-a", "rome-b"), "Dublin": ("dublin-a",)}
# Sites whose meters SmartgridOne shows, and the one mains that is seen through two vendors.
_SMARTGRIDONE_SITES = {"ghent-a"}
_SEEN_TWICE = "berlin-a.grid_import"

# These count in Wh instead of kWh: most registers of a fleet agree, and the odd ones hurt.
_IN_WH = {"rome-b.fridge", "rome-b.standby", "newyork-a.grid_import", "dublin-a.washing_machine"}


def _rating_kw(site_id: str, purpose: str) -> float | None:
    load = LOADS[site_id]
    if purpose == "grid_import":
        return 2.0 * (load.ev_kw + (4.0 if "heat_pump" in PURPOSES[site_id] else 2.0)) + 4.0
    if purpose in ("grid_export", "pv"):
        return 2.0 * load.pv_kw
    if purpose == "ev":
        return 2.0 * load.ev_kw
    return _KINDS[purpose].rating_per_hour


def _register(site_id: str, purpose: str) -> Register:
    kind = _KINDS[purpose]
    register_id = f"{site_id}.{purpose}"
    is_wh = register_id in _IN_WH
    rating = _rating_kw(site_id, purpose)
    is_instant = purpose == "temperature"
    return Register(
        register_id=register_id,
        site_id=site_id,
        meter_id=f"{site_id}.{kind.meter or purpose}",
        name=kind.name,
        role=kind.role,
        appliance=kind.appliance,
        commodity=kind.commodity,
        kind="instant" if is_instant else "cumulative",
        unit="Wh" if is_wh else kind.unit,
        digits=None if is_instant else 9 if is_wh else 6,
        rating_native_per_hour=None if rating is None else rating * (1000.0 if is_wh else 1.0),
        resolution_native=0.1 if is_instant else 1.0 if is_wh else 0.001,
    )


def _register_smartgridone(seen: Register) -> Register:
    """Return a register as SmartgridOne shows it: Wh counted or per interval, or power alone."""
    field = FIELDS_SMARTGRIDONE[seen.purpose][1]
    is_power, is_delta = field.endswith("_W"), "Delta" in field
    rating = seen.rating_native_per_hour
    return replace(
        seen,
        vendor="smartgridone",
        kind="instant" if is_power else "interval" if is_delta else "cumulative",
        unit="W" if is_power else "Wh",
        digits=None,
        rating_native_per_hour=None if is_power or rating is None else rating * 1000.0,
        resolution_native=1.0,
    )


def _registers() -> dict[str, Register]:
    found: dict[str, Register] = {}
    for site_id, purposes in PURPOSES.items():
        for purpose in purposes:
            register = _register(site_id, purpose)
            if site_id in _SMARTGRIDONE_SITES:
                register = _register_smartgridone(register)
            found[register.register_id] = register
    seen = found[_SEEN_TWICE]
    again = _register_smartgridone(replace(seen, same_as=_SEEN_TWICE))
    register_id = f"{_SEEN_TWICE}_again"
    found[register_id] = replace(
        again, register_id=register_id, meter_id=f"{seen.meter_id}_again", name="Mains, seen again"
    )
    return found


REGISTERS: dict[str, Register] = _registers()

# What is pushed, with the field of the packet and what it holds.
_PUSHED: dict[str, tuple[str, str]] = {
    "grid_import": ("pC_1", "cumulative_wh"),
    "heat_pump": ("pC_1", "cumulative_wh"),
    "ev": ("pC_1", "cumulative_wh"),
    "pv": ("value", "interval"),
    "gas": ("value", "interval"),
    "water": ("value", "interval"),
    "temperature": ("value", "sample"),
}


def build_streams(registers: dict[str, Register], sites: dict[str, Site]) -> dict[str, Stream]:
    """Return the streams of the example fleet by stream id."""
    streams: dict[str, Stream] = {}
    for register in registers.values():
        # A meter that is seen twice is pushed once; a total per interval has no counter to push.
        is_pushable = register.same_as is None and register.kind != "interval"
        if register.purpose in _PUSHED and is_pushable:
            stream_id = id_wattics(register.register_id)
            account = sites[register.site_id].account
            streams[stream_id] = Stream(
                stream_id, register.register_id, *_PUSHED[register.purpose], account
            )
    return streams


_DAY, _PEAK_FROM, _PEAK_TO = 24 * 60, 7 * 60, 23 * 60


def _flat(site_id: str, start: date, end: date | None, price: float) -> tuple[Tariff, ...]:
    return (Tariff(site_id, start, end, 0, _DAY, "all", price, "flat"),)


def _day_night(site_id: str, start: date, peak: float, off_peak: float) -> tuple[Tariff, ...]:
    rows = (
        (0, _PEAK_FROM, "all", off_peak, "offPeak"),
        (_PEAK_FROM, _PEAK_TO, "weekdays", peak, "peak"),
        (_PEAK_FROM, _PEAK_TO, "weekend", off_peak, "offPeak"),
        (_PEAK_TO, _DAY, "all", off_peak, "offPeak"),
    )
    return tuple(Tariff(site_id, start, None, *row) for row in rows)


_START, _RISE = date(2023, 12, 1), date(2026, 7, 1)
TARIFFS: dict[str, tuple[Tariff, ...]] = {
    "rome-a": _day_night("rome-a", _START, 0.31, 0.25),
    "rome-b": (
        *_flat("rome-b", _START, _RISE, 0.29),
        *_flat("rome-b", _RISE, None, 0.305),
    ),
    "berlin-a": _flat("berlin-a", _START, None, 0.402),
    "dublin-a": _day_night("dublin-a", _START, 0.38, 0.24),
    "newyork-a": _flat("newyork-a", _START, None, 0.22),
    "lordhowe-a": _flat("lordhowe-a", _START, None, 0.36),
    "ghent-a": _day_night("ghent-a", _START, 0.36, 0.29),
}
