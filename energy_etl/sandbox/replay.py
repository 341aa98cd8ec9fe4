"""Real registers from a folder instead of a seeded world: `energy-etl sandbox --replay DIR`.

Reads the Open Power System Data household file of one house near Konstanz (nine cumulative kWh
registers, hourly, with gaps). Wattsense serves the readings exactly as they are in the file; what
other vendors need (energy per hour) is linear between the readings. The present of a replay is one
hour after the last reading of the file unless another clock is given.
"""

import csv
import gzip
import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

from energy_etl.sandbox.calendar import from_ms, to_ms
from energy_etl.sandbox.model import (
    FloatArray,
    Register,
    Samples,
    Site,
    Stream,
    Tariff,
    id_wattics,
    uniform,
)

FILE_NAME = "opsd_DE_KN_residential4_60min.csv.gz"
SITE_ID = "opsd"
HOUR_MS = 3_600_000
_PREFIX = "DE_KN_residential4_"

# What a download that broke off, or another file of that name, is read as.
_DAMAGES = (
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    csv.Error,
    LookupError,
    TypeError,
    ValueError,
)

# role, appliance, rating in kWh per hour: above each real step of the file, the longest ones too
# (8.4 for PV, 8.0 for export, 4.8 for import, 3.1 for the wallbox).
_REGISTERS: dict[str, tuple[str, str, str | None, float]] = {
    "grid_import": ("mains", "mains", None, 17.0),
    "grid_export": ("mains", "export", None, 12.0),
    "pv": ("pv", "production", None, 12.0),
    "ev": ("ev", "submeter", "ev", 11.0),
    "heat_pump": ("heat_pump", "submeter", "heatPump", 6.0),
    "dishwasher": ("dishwasher", "appliance", "dishwasher", 3.0),
    "freezer": ("freezer", "appliance", "freezer", 0.5),
    "refrigerator": ("refrigerator", "appliance", "fridge", 0.5),
    "washing_machine": ("washing_machine", "appliance", "washingMachine", 4.0),
}


class DamagedFileError(RuntimeError):
    """The file of the house is not as it was published."""


class Replay:
    """One real house; it implements `Truth` with a grid of 60 minutes."""

    name = "replay"
    slot_ms = HOUR_MS

    def __init__(self, folder: str | Path, now: Callable[[], datetime] | None = None) -> None:
        """Read the file of the house in `folder`.

        Raises:
            FileNotFoundError: it is not there; the message names it.
            DamagedFileError: it is cut off, or another file of that name.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no {FILE_NAME}; give the folder of the Open Power System Data file"
            )
        self.sites = {SITE_ID: Site(SITE_ID, "OPSD house", "Europe/Berlin", 180.0, "main", "north")}
        self.locations = {"Konstanz": (SITE_ID,)}
        self.registers = {r.register_id: r for r in map(_register, _REGISTERS)}
        self.streams = {s.stream_id: s for s in map(_stream, self.registers)}
        try:
            self._readings = _read(path)
            first = min(samples.at_ms[0] for samples in self._readings.values())
            last = max(samples.at_ms[-1] for samples in self._readings.values())
        except _DAMAGES as error:
            raise DamagedFileError(
                f"{path} is damaged ({type(error).__name__}: {error}); download it again"
            ) from error
        self.origin_ms = int(first) // HOUR_MS * HOUR_MS
        self._last_ms = int(last)
        self._now = now or (lambda: from_ms(last) + timedelta(hours=1))
        edge_ms = np.arange(self.origin_ms, self._last_ms + HOUR_MS + 1, HOUR_MS)
        self._edges = {
            register_id: np.interp(edge_ms, samples.at_ms, samples.value_native)
            for register_id, samples in self._readings.items()
        }

    def now_ms(self) -> int:
        """Return the present of the replay."""
        return to_ms(self._now())

    def edges(self, register_id: str) -> FloatArray:
        """Return the register at each hour, linear between the readings of the file."""
        return self._edges[register_id]

    def samples(self, register_id: str, since_ms: int = 0, until_ms: int | None = None) -> Samples:
        """Return the readings of the file, all of them, each one visible from its own instant."""
        return self._readings[register_id]

    def tariffs(self, site_id: str) -> tuple[Tariff, ...]:
        """Return the one flat tariff that the house is given."""
        return (Tariff(site_id, date(2015, 1, 1), None, 0, 1440, "all", 0.287, "flat"),)

    def draw(self, *name: object) -> float:
        """Return the uniform number in [0, 1) that belongs to a name."""
        return uniform(0, *name)


def _register(purpose: str) -> Register:
    meter, role, appliance, rating = _REGISTERS[purpose]
    return Register(
        register_id=f"{SITE_ID}.{purpose}",
        site_id=SITE_ID,
        meter_id=f"{SITE_ID}.{meter}",
        name=purpose.replace("_", " ").capitalize(),
        role=role,
        appliance=appliance,
        commodity="electricity",
        kind="cumulative",
        unit="kWh",
        digits=None,
        rating_native_per_hour=rating,
        resolution_native=0.001,
    )


def _stream(register_id: str) -> Stream:
    return Stream(id_wattics(register_id), register_id, "pC_1", "cumulative_wh", "main")


def _read(path: Path) -> dict[str, Samples]:
    readings: dict[str, list[tuple[int, float]]] = {purpose: [] for purpose in _REGISTERS}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["utc_timestamp"]).astimezone(UTC)
            for purpose, rows in readings.items():
                if text := row[_PREFIX + purpose]:
                    rows.append((to_ms(at), float(text)))
    samples: dict[str, Samples] = {}
    for purpose, rows in readings.items():
        at_ms = np.array([at for at, _ in rows], dtype=np.int64)
        value = np.array([value for _, value in rows])
        clean = np.zeros(len(rows), dtype=np.int8)
        samples[f"{SITE_ID}.{purpose}"] = Samples(at_ms, value, at_ms, clean)
    return samples
