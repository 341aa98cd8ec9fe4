"""A million packets: what a send run holds in memory does not depend on how many are due.

The outbox is filled by another process, as in production, where intervals become packets in one run
and are sent in another.
"""

import contextlib
import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from energy_etl.delivery.outbox import Outbox
from energy_etl.state import connect
from energy_etl_tests.benchmarks.measure import (
    Benchmark,
    BenchmarkError,
    Case,
    Clock,
    Contender,
    Outcome,
    Scale,
    Task,
)
from energy_etl_tests.benchmarks.push import drain_all, fill
from energy_etl_tests.benchmarks.push_input import arrived, make_packets, target_of
from energy_etl_tests.benchmarks.serving import collector_server

_N_STREAMS: Final = 100
_N_PACKETS: Final[dict[Scale, tuple[int, ...]]] = {
    "small": (2_000,),
    "full": (20_000, 100_000),
    "huge": (100_000, 1_000_000),
}
_STREAMS_AT_ONCE: Final = 10


def run_ours(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Empty an outbox that another process has filled."""
    path = folder / "state.sqlite"
    filler = multiprocessing.get_context("spawn").Process(target=_fill_alone, args=(task, path))
    filler.start()
    filler.join()
    if filler.exitcode:
        raise BenchmarkError(f"The outbox was not filled ({filler.exitcode}); see above.")
    with contextlib.closing(connect(path)) as connection:
        outbox = Outbox(connection)
        drain_all(outbox, target_of(task), clock)
        ids = {stream.stream_id for stream in outbox.streams()}
        n_confirmed = outbox.count("confirmed")
    found = arrived(task, ids)
    if n_confirmed != found.n_items:
        raise BenchmarkError(f"{found.n_items} packets arrived and {n_confirmed} are confirmed.")
    return found


def run_filling(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Take them in and release them, the streams of some sites at a time."""
    return _filled(task, folder / "state.sqlite", clock)


def _fill_alone(task: Task, path: Path) -> None:
    _filled(task, path, Clock())


def _filled(task: Task, path: Path, clock: Clock) -> Outcome:
    with contextlib.closing(connect(path)) as connection:
        outbox = Outbox(connection)
        for first in range(0, task.n_groups, _STREAMS_AT_ONCE):
            n_streams = min(_STREAMS_AT_ONCE, task.n_groups - first)
            fill(outbox, make_packets(replace(task, n_groups=n_streams)), clock)
        n_pending = outbox.count("pending")
    return Outcome(n_pending, float(n_pending))


@contextlib.contextmanager
def _cases(scale: Scale, folder: Path) -> Iterator[list[Case]]:
    del folder
    with collector_server() as url:
        tasks = [Task(_N_STREAMS, n // _N_STREAMS, url) for n in _N_PACKETS[scale]]
        yield [
            Case(f"one outbox, {task.n_items:,} packets", task, replace(task, n_per_group=1))
            for task in tasks
        ]


BENCHMARK: Final = Benchmark(
    name="push_memory",
    item="packet",
    per=1_000,
    contenders=(
        Contender("energy_etl, one send run", "ours", run_ours),
        Contender("energy_etl, filling alone", "ours", run_filling),
    ),
    cases=_cases,
    remark="the send run is to stay below 300 MiB, however many packets there are",
    is_by_wall=True,
)
