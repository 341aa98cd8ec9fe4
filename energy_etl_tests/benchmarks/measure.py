"""One contender, measured in a process of its own.

A process is started for each run, so that no contender finds caches, imports or memory of another.
What it does once on a small piece is not counted (imports on first use, warm caches), nor is what
it does outside its clock (making the input, looking at the result).
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, Self

import polars as pl

Role = Literal["ours", "peer", "limit"]
# huge: also those cases that take minutes and gigabytes.
Scale = Literal["small", "full", "huge"]
# What a contender found, by name.
Answers = Mapping[str, pl.DataFrame]
_PACKAGE: Final = "energy_etl_tests.benchmarks"
_KIB_PER_MIB: Final = 1024


class BenchmarkError(RuntimeError):
    """A contender did not do its work; its time would mean nothing."""


@dataclass(frozen=True, slots=True)
class Task:
    """What there is to do: n_groups (registers, streams) with n_per_group items each.

    `source` is where the items come from or go to: a server's URL or a folder.
    """

    n_groups: int
    n_per_group: int
    source: str = ""

    @property
    def n_items(self) -> int:
        """Readings or packets in all."""
        return self.n_groups * self.n_per_group


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a contender did: all contenders of a benchmark must agree on both per item.

    `answers` are what `Benchmark.agree` compares row by row, of the contenders that have rows.
    """

    n_items: int
    total: float
    answers: Answers = field(default_factory=dict)


class Clock:
    """Adds up CPU and wall seconds of its `with` blocks."""

    def __init__(self) -> None:
        """Start at zero."""
        self.cpu_s = 0.0
        self.wall_s = 0.0

    def __enter__(self) -> Self:
        """Go on counting."""
        self._wall_s = time.perf_counter()
        self._cpu_s = _cpu_s()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting."""
        self.cpu_s += _cpu_s() - self._cpu_s
        self.wall_s += time.perf_counter() - self._wall_s


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: for people.
        role: ours, a peer, or what no way can be faster than.
        run: does the task, within the clock, using an empty folder.
        fewer: makes the task smaller for a slow contender without costs of its own at the start;
            all figures are per item.
        needs: packages that only the benchmark's venv has.
        is_there: says whether what else it needs is on this machine.
        takes: says which tasks it can do at all.
        reach: what the ratio to the first of ours should be at least (limit: at most).
        reach_per_s: the same of items per second of wall time; of ours: the share of the ideal.
        most_items: left out of tasks that are larger, because it holds all of them in memory.
    """

    name: str
    role: Role
    run: Callable[[Task, Path, Clock], Outcome]
    fewer: Callable[[Task], Task] = lambda task: task
    needs: tuple[str, ...] = ()
    is_there: Callable[[], bool] = lambda: True
    takes: Callable[[Task], bool] = lambda task: True
    reach: float | None = None
    reach_per_s: float | None = None
    most_items: int | None = None

    def is_able(self, task: Task) -> bool:
        """True when it can do the task, and that is not too large for it."""
        return self.takes(task) and (self.most_items is None or task.n_items <= self.most_items)

    def is_installed(self) -> bool:
        """True when every package that it needs is there, and what else it needs."""
        return all(find_spec(name) is not None for name in self.needs) and self.is_there()


@dataclass(frozen=True, slots=True)
class Case:
    """A task and the small one that comes first.

    `ideal_per_s`: items per second that nobody can exceed, because answers take their time.
    """

    title: str
    task: Task
    warm_up: Task
    ideal_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One row of the report; a module `energy_etl_tests.benchmarks.<name>` has it as BENCHMARK.

    Attributes:
        item: what is counted, "reading".
        per: figures are CPU seconds per this many items.
        contenders: ours first.
        cases: starts servers and makes inputs, and yields what to measure.
        agree: compares what the contenders of a task found, ours first, and says what was
            compared; raises BenchmarkError when they differ.
        remark: what ours does beside that, for those who read the ratios.
        is_by_wall: items per second of wall time are what counts too.
    """

    name: str
    item: str
    per: int
    contenders: tuple[Contender, ...]
    cases: Callable[[Scale, Path], AbstractContextManager[list[Case]]]
    agree: Callable[[Task, Mapping[str, Answers]], list[str]] | None = None
    remark: str = ""
    is_by_wall: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run of one contender took."""

    n_items: int
    total: float
    cpu_s: float
    wall_s: float
    peak_rss_mib: float


def benchmark_of(name: str) -> Benchmark:
    """Import a benchmark by its name."""
    return importlib.import_module(f"{_PACKAGE}.{name}").BENCHMARK


def measure(
    benchmark: Benchmark, contender: Contender, case: Case, answers: Path | None = None
) -> Measurement:
    """Run a contender once in a fresh process.

    Args:
        benchmark: the row of the report.
        contender: one of its contenders.
        case: its task, and the one to warm up with.
        answers: an empty folder for what it found, one Parquet file each.

    Raises:
        BenchmarkError: it failed, or did something else than its task.
    """
    task = contender.fewer(case.task)
    tasks = json.dumps([asdict(case.warm_up), asdict(task)])
    command = [sys.executable, "-m", f"{_PACKAGE}.measure", benchmark.name, contender.name, tasks]
    if answers is not None:
        command.append(str(answers))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise BenchmarkError(
            f"{benchmark.name}: {contender.name} ended with {done.returncode}; see the lines above."
        )
    found = Measurement(**json.loads(done.stdout.splitlines()[-1]))
    if found.n_items != task.n_items:
        raise BenchmarkError(
            f"{benchmark.name}: {contender.name} handled {found.n_items} of {task.n_items} "
            f"{benchmark.item}s: its figures would mean nothing."
        )
    return found


def read_answers(folder: Path) -> dict[str, pl.DataFrame]:
    """Return what a contender left in the folder that `measure` gave it."""
    return {path.stem: pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def run_here(contender: Contender, tasks: list[Task], answers: Path | None = None) -> Measurement:
    """Run the tasks in this process, and return what the last one took.

    What it found goes to the folder `answers`, after everything is measured. Temporary files lie in
    memory or on disk, wherever the system keeps them: the same for all.
    """
    clock, outcome = Clock(), Outcome(0, 0.0)
    with tempfile.TemporaryDirectory(prefix="energy-etl-bench-") as folder:
        for number, task in enumerate(tasks):
            clock, place = Clock(), Path(folder) / str(number)
            place.mkdir()
            outcome = contender.run(task, place, clock)
    found = Measurement(
        outcome.n_items, outcome.total, clock.cpu_s, clock.wall_s, _peak_rss_kib() / _KIB_PER_MIB
    )
    if answers is not None:
        for name, frame in outcome.answers.items():
            frame.write_parquet(answers / f"{name}.parquet")
    return found


def _main(name: str, contender_name: str, tasks: str, answers: str | None = None) -> None:
    contender = next(c for c in benchmark_of(name).contenders if c.name == contender_name)
    folder = None if answers is None else Path(answers)
    found = run_here(contender, [Task(**task) for task in json.loads(tasks)], folder)
    print(json.dumps(asdict(found)), flush=True)


def _cpu_s() -> float:
    own, children = (resource.getrusage(w) for w in (_SELF, _CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


_SELF: Final = resource.RUSAGE_SELF
_CHILDREN: Final = resource.RUSAGE_CHILDREN


def _peak_rss_kib() -> int:
    # ru_maxrss of a process begins with what its parent had when it forked; VmHWM does not.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return resource.getrusage(_SELF).ru_maxrss


def machine() -> dict[str, Any]:
    """Return what figures depend on: processors, Python, versions of what is compared."""
    names = ("polars", "duckdb", "msgspec", "httpx", "aiohttp", "pydantic", "dlt", "pandas")
    versions: Iterator[tuple[str, str]] = (
        (name, importlib.import_module(name).__version__) for name in names if find_spec(name)
    )
    return {
        "n_processors": len(os.sched_getaffinity(0)),
        "python": sys.version.split()[0],
        "versions": dict(versions),
    }


if __name__ == "__main__":
    _main(*sys.argv[1:])
