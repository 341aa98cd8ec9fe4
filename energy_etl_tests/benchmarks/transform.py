"""Registers to intervals to local days to trends: Parquet files of readings -> daily energy.

Ours does what the assets do: a bounded number of registers at a time, each judged and laid on its
grid, then added up per day of its zone; trends over all days. The limit reads the files once and
does nothing.
"""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl

from energy_etl.tables.core import EXCHANGE, VENDOR_FIGURE
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.registers import compute_intervals
from energy_etl.transform.registers_readings import NEEDED_COLUMNS
from energy_etl.transform.trends import compute_period_trends
from energy_etl_tests.benchmarks.measure import (
    Benchmark,
    Case,
    Clock,
    Contender,
    Outcome,
    Scale,
    Task,
)
from energy_etl_tests.benchmarks.transform_agreement import agree
from energy_etl_tests.benchmarks.transform_input import now_of, sound_total, write_readings
from energy_etl_tests.benchmarks.transform_peers import run_duckdb, run_pandas

# As defs/assets/core.py has it; a test compares them, since importing it would import dagster.
READINGS_PER_BATCH: Final = 2_000_000
HOLD_FOR: Final = timedelta(hours=48)
# pandas holds every reading several times over: 100 M of them are more than most machines have.
_MOST_FOR_PANDAS: Final = 30_000_000
_SIZES: Final[dict[Scale, tuple[tuple[int, int], ...]]] = {
    "small": ((25, 40_000),),
    "full": ((250, 40_000),),
    "huge": ((250, 40_000), (2500, 40_000)),
}


def run_ours(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Compute intervals and days, whole registers of a batch at a time, then the trends."""
    del folder
    now = now_of(task)
    n_readings, days = 0, []
    with clock:
        registers = pl.read_parquet(f"{task.source}/registers.parquet")
        ids = registers["register_id"].to_list()
        per_batch = max(1, READINGS_PER_BATCH // task.n_per_group)
        for start in range(0, len(ids), per_batch):
            batch = ids[start : start + per_batch]
            chosen = registers.filter(pl.col("register_id").is_in(batch))
            readings = (
                pl.scan_parquet(f"{task.source}/readings/*.parquet")
                .filter(pl.col("register_id").is_between(pl.lit(batch[0]), pl.lit(batch[-1])))
                .select(NEEDED_COLUMNS)
                .collect()
            )
            n_readings += readings.height
            result = compute_intervals(
                readings, chosen, EXCHANGE.empty_frame(), now=now, hold_for=HOLD_FOR
            )
            del readings
            days.append(compute_daily(result.intervals, chosen, now=now))
            del result
        daily = pl.concat(days)
        trends = compute_period_trends(daily, registers, VENDOR_FIGURE.empty_frame(), now=now)
    found = {
        "daily": daily.select("register_id", "local_on", "energy_kwh"),
        "trend": trends.select(
            "register_id", "period", "energy_kwh", "previous_energy_kwh", "trend_pct"
        ),
    }
    return Outcome(n_readings, sound_total(task, daily), found)


def run_limit(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Read the columns that matter once, in Polars, a file at a time."""
    del folder
    n_readings, ends = 0, []
    for path in sorted(Path(task.source, "readings").glob("*.parquet")):
        with clock:
            frame = pl.read_parquet(path, columns=["register_id", "read_at", "reading_native"])
        n_readings += frame.height
        grown = pl.col("reading_native").last() - pl.col("reading_native").first()
        ends.append(frame.group_by("register_id").agg(energy_kwh=grown))
        del frame
    return Outcome(n_readings, sound_total(task, pl.concat(ends)))


@contextlib.contextmanager
def _cases(scale: Scale, folder: Path) -> Iterator[list[Case]]:
    little = write_readings(folder / "little", 10, 3000)
    cases = []
    for n_registers, n_readings in _SIZES[scale]:
        task = write_readings(folder / str(n_registers), n_registers, n_readings)
        title = f"registers to intervals to local days to trends, {task.n_items:,} readings"
        cases.append(Case(title, task, little))
    yield cases


BENCHMARK: Final = Benchmark(
    name="transform",
    item="reading",
    per=1_000_000,
    contenders=(
        Contender("energy_etl", "ours", run_ours),
        Contender("DuckDB, lag() window", "peer", run_duckdb, reach=2.0),
        Contender(
            "pandas, groupby diff",
            "peer",
            run_pandas,
            needs=("pandas",),
            reach=3.0,
            most_items=_MOST_FOR_PANDAS,
        ),
        Contender("read once", "limit", run_limit, reach=4.0),
    ),
    cases=_cases,
    agree=agree,
    remark=(
        "energy_etl alone judges each reading against both sides (zero, too low, too high, reset, "
        "rollover, level), spreads gaps over a grid of intervals that carry quality, flags, the "
        "counter and why they may not be delivered, counts coverage per day and period, and has "
        "a second trend variant, one per day and one against last year. The peers take bare "
        "differences of neighbouring readings."
    ),
)
