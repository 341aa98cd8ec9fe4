"""Registers to intervals to local days: Parquet files of readings -> energy per register and day.

Ours does what the asset does: a bounded number of registers at a time, each judged and laid on its
grid, then added up per day of its zone. The limit reads the files once and does nothing.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from energy_etl.tables.core import EXCHANGE, READING, REGISTER
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.registers import compute_intervals
from energy_etl_tests.benchmarks.measure import (
    Benchmark,
    Case,
    Clock,
    Contender,
    Outcome,
    Scale,
    Task,
)
from energy_etl_tests.benchmarks.transform_peers import run_duckdb, run_pandas

# As defs/assets/core.py has it; a test compares them, since importing it would import dagster.
REGISTERS_PER_BATCH: Final = 200
# Two zones change their clocks within the readings' first hundred days, one has half an hour.
ZONES: Final = ("Europe/Rome", "America/New_York", "Asia/Kolkata", "Australia/Sydney")
HOLD_FOR: Final = timedelta(hours=48)
_START_AT: Final = datetime(2025, 2, 1, tzinfo=UTC)
_STEP: Final = timedelta(minutes=15)
_MISSING_SHARE: Final = 0.01
_REGISTERS_PER_FILE: Final = 50
_SIZES: Final[dict[Scale, tuple[int, int]]] = {"small": (100, 10_000), "full": (1000, 10_000)}


def run_ours(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Compute intervals and days, `REGISTERS_PER_BATCH` registers at a time."""
    del folder
    registers = pl.read_parquet(f"{task.source}/registers.parquet")
    ids = registers["register_id"].to_list()
    now = _START_AT + (task.n_per_group * _STEP) + timedelta(days=3)
    n_readings, days = 0, []
    with clock:
        for start in range(0, len(ids), REGISTERS_PER_BATCH):
            batch = ids[start : start + REGISTERS_PER_BATCH]
            chosen = registers.filter(pl.col("register_id").is_in(batch))
            readings = (
                pl.scan_parquet(f"{task.source}/readings/*.parquet")
                .filter(pl.col("register_id").is_between(pl.lit(batch[0]), pl.lit(batch[-1])))
                .collect()
            )
            n_readings += readings.height
            result = compute_intervals(
                readings, chosen, EXCHANGE.empty_frame(), now=now, hold_for=HOLD_FOR
            )
            days.append(compute_daily(result.intervals, chosen, now=now))
        daily = pl.concat(days)
    return Outcome(n_readings, float(daily["energy_kwh"].sum()))


def run_limit(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Read the columns that matter once, in Polars."""
    del folder
    with clock:
        frame = pl.read_parquet(
            f"{task.source}/readings/*.parquet",
            columns=["register_id", "read_at", "reading_native"],
        )
    bounds = frame.group_by("register_id").agg(
        energy_kwh=pl.col("reading_native").last() - pl.col("reading_native").first()
    )
    return Outcome(frame.height, float(bounds["energy_kwh"].sum()))


def write_readings(folder: Path, n_registers: int, n_readings: int) -> Task:
    """Write counters on a quarter-hour grid, one reading in a hundred missing.

    Returns:
        The task; each register has the same number of readings.
    """
    (folder / "readings").mkdir(parents=True)
    for first in range(0, n_registers, _REGISTERS_PER_FILE):
        numbers = range(first, min(first + _REGISTERS_PER_FILE, n_registers))
        frames = [_readings_of(number, n_readings) for number in numbers]
        pl.concat(frames).write_parquet(folder / "readings" / f"{first:06d}.parquet")
    registers = pl.DataFrame(
        [_register(number) for number in range(n_registers)], schema=REGISTER.polars_schema
    )
    registers.write_parquet(folder / "registers.parquet")
    return Task(n_registers, n_readings, str(folder))


def _readings_of(number: int, n_readings: int) -> pl.DataFrame:
    random = np.random.default_rng(number)
    n_slots = round(n_readings / (1 - _MISSING_SHARE))
    inner = np.sort(random.choice(n_slots - 2, n_readings - 2, replace=False)) + 1
    kept = np.concatenate([[0], inner, [n_slots - 1]])
    counter = 1000.0 + np.cumsum(random.gamma(0.6, 0.2, n_slots))
    start_us = int(_START_AT.timestamp()) * 1_000_000
    at_us = start_us + kept * (_STEP // timedelta(microseconds=1))
    return pl.DataFrame(
        {
            "register_id": [_register_id(number)] * n_readings,
            "read_at": pl.Series(at_us).cast(READING.polars_schema["read_at"]),
            "reading_native": np.round(counter[kept], 3),
            "version": [1] * n_readings,
            "vendor": ["wattsense"] * n_readings,
            "received_at": [_START_AT] * n_readings,
        },
        schema=READING.polars_schema,
    )


def _register_id(number: int) -> str:
    return f"site-{number // 10:03d}.register-{number:05d}"


def _register(number: int) -> dict[str, object]:
    return {
        "register_id": _register_id(number),
        "meter_id": f"meter-{number}",
        "site_id": f"site-{number // 10}",
        "zone": ZONES[number % len(ZONES)],
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


@contextlib.contextmanager
def _cases(scale: Scale, folder: Path) -> Iterator[list[Case]]:
    task = write_readings(folder / "full", *_SIZES[scale])
    title = f"registers to intervals to local days, {task.n_items:,} readings"
    yield [Case(title, task, write_readings(folder / "little", 4, 200))]


BENCHMARK: Final = Benchmark(
    name="transform",
    item="reading",
    per=1_000_000,
    contenders=(
        Contender("energy_etl", "ours", run_ours),
        Contender("DuckDB, lag() window", "peer", run_duckdb, reach=2.0),
        Contender("pandas, groupby diff", "peer", run_pandas, needs=("pandas",), reach=3.0),
        Contender("read once", "limit", run_limit),
    ),
    cases=_cases,
)
