"""Disaggregation metrics: a vendor's estimates beside submeters -> error, NEP, NDE and F1.

Ours does what the mart does: finds each estimate's submeter, adds the truth up to the estimate's
intervals where it tiles them, scores, and tries shifts. The limit reads both files once.
"""

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from energy_etl.tables.core import APPLIANCE_INTERVAL, REGISTER
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.disaggregation_scores import compute_disaggregation_scores
from energy_etl_tests.benchmarks.disaggregation_peers import SCORES, run_duckdb, run_pandas
from energy_etl_tests.benchmarks.measure import (
    Answers,
    Benchmark,
    BenchmarkError,
    Case,
    Clock,
    Contender,
    Outcome,
    Scale,
    Task,
)

# From the rule book, not from our code: the contenders must agree on what "on" is.
THRESHOLD_W: Final = {
    "kettle": 2000.0,
    "microwave": 200.0,
    "fridge": 50.0,
    "washingMachine": 20.0,
    "dishwasher": 10.0,
}
TOLERANCE: Final = 1e-9
_START_US: Final = int(datetime(2025, 2, 1, tzinfo=UTC).timestamp()) * 1_000_000
_STEP: Final = timedelta(minutes=15)
_STEP_US: Final = _STEP // timedelta(microseconds=1)
_KWH_PER_W: Final = 0.25 / 1000
_ON_SHARE: Final = 0.2
_UNKNOWN_SHARE: Final = 0.01
# Every tenth estimate comes one interval late.
_SHIFTED: Final = 10
_ESTIMATES_PER_FILE: Final = 50
_SIZES: Final[dict[Scale, tuple[int, int]]] = {
    "small": (25, 40_000),
    "full": (250, 40_000),
    "huge": (250, 40_000),
}
_INTERVAL_COLUMNS: Final = (
    "register_id",
    "start_at",
    "end_at",
    "energy_kwh",
    "quality",
    "is_provisional",
)


def run_ours(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Score every estimate at once, as the mart does."""
    del folder
    with clock:
        estimates = pl.read_parquet(f"{task.source}/estimates/*.parquet")
        registers = pl.read_parquet(f"{task.source}/registers.parquet")
        intervals = pl.scan_parquet(f"{task.source}/intervals/*.parquet")
        scores = compute_disaggregation_scores(estimates, intervals, registers)
    score = scores.select(
        "meter_id", "appliance", *SCORES[:3], "error_in_assigned_energy_kwh", *SCORES[4:]
    ).rename({"error_in_assigned_energy_kwh": SCORES[3]})
    return Outcome(estimates.height, float(score["own_kwh"].sum()), {"score": score})


def run_limit(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Read the columns that matter once, in Polars, and find the truth that counts."""
    del folder
    columns = ["start_at", "end_at", "energy_kwh"]
    with clock:
        estimates = pl.read_parquet(f"{task.source}/estimates/*.parquet", columns=columns)
        intervals = pl.read_parquet(
            f"{task.source}/intervals/*.parquet", columns=[*columns, "quality"]
        )
    own_kwh = intervals.filter(pl.col("quality") == "measured")["energy_kwh"].sum()
    return Outcome(estimates.height, float(own_kwh))


def agree(task: Task, answers: Mapping[str, Answers]) -> list[str]:
    """Compare every score of every estimate, relative to ours.

    Raises:
        BenchmarkError: two differ, or one has a score that the other has not.
    """
    (ours_name, ours), *peers = answers.items()
    own = ours["score"]
    if own.height != task.n_groups:
        raise BenchmarkError(f"{ours_name} scored {own.height} of {task.n_groups} estimates.")
    told = []
    for name, found in peers:
        both = own.join(found["score"], on=["meter_id", "appliance"], how="full", suffix="_peer")
        for column in SCORES:
            mine, theirs = pl.col(column), pl.col(f"{column}_peer")
            is_same = ((mine - theirs).abs() <= TOLERANCE * mine.abs()).fill_null(False)
            differing = both.filter(~is_same)
            if differing.height:
                row = differing.row(0, named=True)
                raise BenchmarkError(
                    f"{ours_name} and {name}: {column} differs in {differing.height} of "
                    f"{both.height} estimates, such as {row['meter_id']} {row['appliance']}: "
                    f"{row[column]} against {row[f'{column}_peer']}."
                )
        told.append(
            f"{name}: {', '.join(SCORES)} of {both.height} estimates equal within {TOLERANCE:g} "
            "of their value."
        )
    return told


def write_estimates(folder: Path, n_estimates: int, n_intervals: int) -> Task:
    """Write estimates, the submeters' intervals, registers and thresholds.

    Returns:
        The task: so many estimates (five per meter), each with so many intervals.
    """
    for name in ("estimates", "intervals"):
        (folder / name).mkdir(parents=True)
    for first in range(0, n_estimates, _ESTIMATES_PER_FILE):
        numbers = range(first, min(first + _ESTIMATES_PER_FILE, n_estimates))
        pairs = [_pair_of(number, n_intervals) for number in numbers]
        for name, frames in zip(("estimates", "intervals"), zip(*pairs, strict=True), strict=True):
            pl.concat(frames).write_parquet(folder / name / f"{first:06d}.parquet")
    rows = [_register(number, "appliance") for number in range(n_estimates)]
    rows += [_register(number, "mains") for number in range(0, n_estimates, len(THRESHOLD_W))]
    pl.DataFrame(rows, schema=REGISTER.polars_schema).write_parquet(folder / "registers.parquet")
    pl.DataFrame(
        {"appliance": list(THRESHOLD_W), "on_threshold_w": list(THRESHOLD_W.values())}
    ).write_parquet(folder / "thresholds.parquet")
    return Task(n_estimates, n_intervals, str(folder))


def _pair_of(number: int, n_intervals: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """An estimate that misses, invents and misjudges, and the truth beside it."""
    random = np.random.default_rng(number)
    threshold_w = THRESHOLD_W[_appliance(number)]
    is_on = random.random(n_intervals) < _ON_SHARE
    on_w = threshold_w * random.uniform(1.1, 2.0, n_intervals)
    own_w = np.where(is_on, on_w, random.uniform(0.0, 0.1, n_intervals) * threshold_w)
    is_said_on = is_on ^ (random.random(n_intervals) < 0.05)
    said_w = np.where(is_on, own_w, on_w) * random.uniform(0.8, 1.1, n_intervals)
    vendor_w = np.roll(np.where(is_said_on, said_w, 0.0), 1 if number % _SHIFTED == 0 else 0)
    is_unknown = random.random(n_intervals) < _UNKNOWN_SHARE
    start_at = pl.Series(_START_US + np.arange(n_intervals) * _STEP_US).cast(UTC_INSTANT)
    spans = pl.DataFrame({"start_at": start_at}).with_columns(end_at=pl.col("start_at") + _STEP)
    estimates = spans.with_columns(
        meter_id=pl.lit(_meter_id(number)),
        vendor=pl.lit("digiwatt"),
        appliance=pl.lit(_appliance(number)),
        energy_kwh=pl.Series((vendor_w * _KWH_PER_W).round(4)),
    ).select(APPLIANCE_INTERVAL.polars_schema.names())
    quality = pl.Series(np.where(is_unknown, "estimated", "measured"))
    intervals = spans.with_columns(
        register_id=pl.lit(_register_id(number)),
        energy_kwh=pl.Series((own_w * _KWH_PER_W).round(6)),
        quality=quality,
        is_provisional=pl.lit(False),
    ).select(_INTERVAL_COLUMNS)
    return estimates, intervals


def _appliance(number: int) -> str:
    return list(THRESHOLD_W)[number % len(THRESHOLD_W)]


def _meter_id(number: int) -> str:
    return f"meter-{number // len(THRESHOLD_W):04d}"


def _register_id(number: int) -> str:
    return f"{_meter_id(number)}.{_appliance(number)}"


def _register(number: int, role: str) -> dict[str, object]:
    is_appliance = role == "appliance"
    return {
        "register_id": _register_id(number) if is_appliance else f"{_meter_id(number)}.import",
        "meter_id": _register_id(number) if is_appliance else _meter_id(number),
        "site_id": f"site-{number // len(THRESHOLD_W):04d}",
        "zone": "Europe/Rome",
        "commodity": "electricity",
        "role": role,
        "appliance": _appliance(number) if is_appliance else None,
        "kind": "cumulative",
        "unit": "kWh",
        "grid_minutes": 15,
        "resolution_native": 0.001,
        "stamp": "instant",
        "is_primary": True,
    }


@contextlib.contextmanager
def _cases(scale: Scale, folder: Path) -> Iterator[list[Case]]:
    task = write_estimates(folder / "full", *_SIZES[scale])
    title = f"disaggregation metrics, {task.n_items:,} intervals"
    yield [Case(title, task, write_estimates(folder / "little", 10, 1000))]


BENCHMARK: Final = Benchmark(
    name="disaggregation",
    item="interval",
    per=1_000_000,
    contenders=(
        Contender("energy_etl", "ours", run_ours),
        Contender("DuckDB, join and sums", "peer", run_duckdb),
        Contender("pandas, merge and groupby", "peer", run_pandas, needs=("pandas",), reach=2.0),
        Contender("read once", "limit", run_limit),
    ),
    cases=_cases,
    agree=agree,
    remark=(
        "energy_etl alone tries each estimate at nine shifts before it blames it, adds the truth "
        "up where an estimate's intervals are longer than the submeter's, and refuses a truth that "
        "does not tile them. The peers join on equal starts and ends."
    ),
)
