"""Push to a collector that takes 40 ms for each answer: all streams at once wait, nobody computes.

Nobody can send more than one packet of each stream per 40 ms; the report says what share of that
each reaches. Ours asks for the last packet of each stream before and after, two answers more.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from energy_etl_tests.benchmarks import push, push_peers
from energy_etl_tests.benchmarks.measure import (
    Benchmark,
    Case,
    Clock,
    Contender,
    Outcome,
    Scale,
    Task,
)
from energy_etl_tests.benchmarks.serving import collector_server

DELAY_S: Final = 0.04
_N_STREAMS: Final = (8, 32, 128)
_N_PER_STREAM: Final[dict[Scale, int]] = {"small": 10, "full": 100, "huge": 100}


def _all_at_once(run: Callable[..., Outcome]) -> Callable[[Task, Path, Clock], Outcome]:
    """Let a contender have as many streams under way as there are."""

    def run_all(task: Task, folder: Path, clock: Clock) -> Outcome:
        return run(task, folder, clock, n_parallel=task.n_groups)

    return run_all


@contextlib.contextmanager
def _cases(scale: Scale, folder: Path) -> Iterator[list[Case]]:
    del folder
    with collector_server(DELAY_S) as url:
        tasks = [Task(n, _N_PER_STREAM[scale], url) for n in _N_STREAMS]
        yield [
            Case(
                f"{DELAY_S * 1000:.0f} ms per answer, {task.n_groups} streams, "
                f"{task.n_items:,} packets",
                task,
                replace(task, n_groups=2, n_per_group=2),
                ideal_per_s=task.n_groups / DELAY_S,
            )
            for task in tasks
        ]


def _fifth(task: Task) -> Task:
    return replace(task, n_per_group=max(1, task.n_per_group // 5))


BENCHMARK: Final = Benchmark(
    name="push_latency",
    item="packet",
    per=1_000,
    contenders=(
        Contender("energy_etl", "ours", _all_at_once(push.run_ours), reach_per_s=0.85),
        Contender(
            "aiohttp alone, nothing kept",
            "peer",
            _all_at_once(push_peers.run_aiohttp),
            needs=("aiohttp",),
        ),
        Contender(
            "httpx, a client per worker",
            "peer",
            _all_at_once(push_peers.run_httpx_per_worker),
            fewer=_fifth,
        ),
        Contender(
            "httpx, one shared client",
            "peer",
            _all_at_once(push_peers.run_httpx_shared),
            fewer=_fifth,
        ),
        Contender("bare connections, uvloop", "limit", push.run_limit),
    ),
    cases=_cases,
    is_by_wall=True,
)
