"""Parquet files of readings for the benchmark `transform`, and what they should amount to.

Counters of five zones on a quarter-hour grid, through at least one change of the clock to summer
and one back; one reading in a hundred is missing. Every fifth site has counters with faults: false
readings (zero, too low, too high) and resets, of which the true energy is kept beside.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_etl.tables.core import READING, REGISTER
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.windows import period_windows
from energy_etl_tests.benchmarks.measure import Task

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Kolkata never changes its clock and is half an hour off; Lord Howe changes it by half an hour.
ZONES: Final = (
    "Europe/Rome",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Sydney",
    "Australia/Lord_Howe",
)
START_AT: Final = datetime(2025, 2, 1, tzinfo=UTC)
# From here on readings reach beyond the autumn of the north and the spring of the south.
READINGS_OF_BOTH_CHANGES: Final = 27_000
STEP: Final = timedelta(minutes=15)
_STEP_US: Final = STEP // timedelta(microseconds=1)
_START_US: Final = int(START_AT.timestamp()) * 1_000_000
_MISSING_SHARE: Final = 0.01
# As often as in the history that the cleaning was designed with: in 10 M readings 10,000 false
# ones and 200 resets, all in a fifth of the registers.
_READINGS_PER_FALSE: Final = 200
_READINGS_PER_RESET: Final = 10_000
# Faults that lie closer than this may explain each other: a known limit of the cleaning.
_FAULT_SPACING: Final = 40
REGISTERS_PER_FILE: Final = 50


def write_readings(folder: Path, n_registers: int, n_readings: int) -> Task:
    """Write `readings/*.parquet`, registers, the true energy, and the windows of the six periods.

    Every local midnight that is not before the first reading has one: then the difference of two
    readings never has to be split over two days, and a peer's bare difference is right.

    Returns:
        The task; each register has the same number of readings.
    """
    (folder / "readings").mkdir(parents=True)
    truth: list[dict[str, object]] = []
    for first in range(0, n_registers, REGISTERS_PER_FILE):
        numbers = range(first, min(first + REGISTERS_PER_FILE, n_registers))
        frames = []
        for number in numbers:
            frame, energy_kwh = _readings_of(number, n_readings)
            frames.append(frame)
            row = {"register_id": _register_id(number), "zone": _zone(number)}
            truth.append({**row, "energy_kwh": energy_kwh, "has_faults": _has_faults(number)})
        pl.concat(frames).write_parquet(folder / "readings" / f"{first:06d}.parquet")
    registers = pl.DataFrame(
        [_register(number) for number in range(n_registers)], schema=REGISTER.polars_schema
    )
    registers.write_parquet(folder / "registers.parquet")
    pl.DataFrame(truth).write_parquet(folder / "truth.parquet")
    task = Task(n_registers, n_readings, str(folder))
    _windows(registers, now_of(task)).write_parquet(folder / "windows.parquet")
    return task


def now_of(task: Task) -> datetime:
    """Return the instant of the computation: just after the last reading."""
    return START_AT + _n_slots(task.n_per_group) * STEP


def read_truth(task: Task) -> pl.DataFrame:
    """Return register_id, zone, energy_kwh (what the counter truly grew by) and has_faults."""
    return pl.read_parquet(f"{task.source}/truth.parquet")


def sound_total(task: Task, energies: pl.DataFrame) -> float:
    """Add up the `energy_kwh` of the registers without faults, where all ways must agree.

    Args:
        task: whose truth says which registers those are.
        energies: register_id and energy_kwh, any number of rows per register.
    """
    sound = read_truth(task).filter(~pl.col("has_faults"))
    return float(energies.join(sound, on="register_id", how="semi")["energy_kwh"].sum())


def _windows(registers: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """List zone, period, part (current, previous), start_on, end_on; an empty window has no row."""
    windows = period_windows(registers["zone"].unique().sort(), now).drop_nulls("start_on")
    is_compared = pl.col("part").is_in(("current", "previous"))
    return windows.filter(is_compared).select("zone", "period", "part", "start_on", "end_on")


def _readings_of(number: int, n_readings: int) -> tuple[pl.DataFrame, float]:
    random = np.random.default_rng(number)
    n_slots = _n_slots(n_readings)
    steps = random.gamma(0.6, 0.2, n_slots).round(3)
    counter = 1000.0 + np.cumsum(steps)
    optional = _optional_slots(_zone(number), n_slots)
    is_kept = np.ones(n_slots, dtype=bool)
    is_kept[random.choice(optional, n_slots - n_readings, replace=False)] = False
    kept = np.flatnonzero(is_kept)
    shown, true_kwh = counter[kept], float(counter[-1] - counter[0])
    if _has_faults(number):
        shown = _with_faults(shown, random)
    frame = pl.DataFrame(
        {
            "read_at": pl.Series(_START_US + kept * _STEP_US).cast(UTC_INSTANT),
            "reading_native": np.round(shown, 3),
        }
    ).with_columns(
        register_id=pl.lit(_register_id(number)),
        version=pl.lit(1, pl.Int64),
        vendor=pl.lit("wattsense"),
        received_at=pl.lit(START_AT, UTC_INSTANT),
    )
    return frame.select(READING.polars_schema.names()).cast(READING.polars_schema), true_kwh


def _with_faults(shown: Floats, random: np.random.Generator) -> Floats:
    """Put in resets right after a reading, so that no energy is lost, and false readings."""
    n = len(shown)
    places = random.permutation(np.arange(_FAULT_SPACING, n - _FAULT_SPACING, _FAULT_SPACING))
    n_resets, n_false = n // _READINGS_PER_RESET, n // _READINGS_PER_FALSE
    level = np.zeros(n)
    for place in np.sort(places[:n_resets]):
        level[place:] = shown[place - 1]
    shown = shown - level
    false = places[n_resets : n_resets + n_false]
    false_values = np.stack([np.zeros(len(false)), 0.4 * shown[false], shown[false] + 500.0])
    shown[false] = false_values[np.arange(len(false)) % 3, np.arange(len(false))]
    return shown


def _n_slots(n_readings: int) -> int:
    return round(n_readings / (1 - _MISSING_SHARE))


@lru_cache(maxsize=16)
def _optional_slots(zone: str, n_slots: int) -> Ints:
    """Return the slots that may be missing: not the ends, nor any local midnight."""
    at_us = pl.Series(_START_US + np.arange(n_slots) * _STEP_US)
    local = at_us.cast(UTC_INSTANT).dt.convert_time_zone(zone)
    is_optional = ~((local.dt.hour() == 0) & (local.dt.minute() == 0)).to_numpy()
    is_optional[[0, -1]] = False
    return np.flatnonzero(is_optional)


def _zone(number: int) -> str:
    return ZONES[number % len(ZONES)]


def _has_faults(number: int) -> bool:
    """True for five registers of 25, one of each zone."""
    return number // len(ZONES) % 5 == 0


def _register_id(number: int) -> str:
    return f"site-{number // 10:03d}.register-{number:05d}"


def _register(number: int) -> dict[str, object]:
    return {
        "register_id": _register_id(number),
        "meter_id": f"meter-{number}",
        "site_id": f"site-{number // 10}",
        "zone": _zone(number),
        "commodity": "electricity",
        "role": "submeter",
        "appliance": None,
        "kind": "cumulative",
        "unit": "kWh",
        "grid_minutes": 15,
        "digits": 6,
        "rating_native_per_hour": 40.0,
        "resolution_native": 0.001,
        "stamp": "instant",
        "is_primary": True,
    }
