"""Fills and sends in processes of their own, killed at random moments, until all is delivered.

The test runs it small, the soak at full size.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from energy_etl_tests.delivery.conftest import CollectorServer
from energy_etl_tests.delivery.known_intervals import (
    N_DAYS,
    KnownStream,
    differences,
    expected,
    intervals_of,
    stream_map,
)

MAX_ROUNDS_BESIDE_KILLS = 25
REQUEST_TIMEOUT_S = 0.3

# The imports take longer than the runs, so they are done once and each run is a fork of its own.
# Each line names the processes of a round: `fill:0,2 send`, `blind` for a send that never asks.
WORKER = """
import asyncio, os, sys
from energy_etl_tests.delivery import worker

path, url, name = sys.argv[1:]
for line in sys.stdin:
    pids = []
    for task in line.split():
        pid = os.fork()
        if pid == 0:
            os._exit(worker.run(task, path, url, name))
        pids.append(pid)
    print(*pids, flush=True)
    print(*[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids], flush=True)
"""


@dataclass
class Killed:
    """What a loop did: kills by kind of process, packets at the collector after each round."""

    n_kills: dict[str, int] = field(default_factory=dict)
    progress: list[int] = field(default_factory=list)


class Workers:
    """A process that forks fills and sends on demand."""

    def __init__(self, state_path: str, url: str, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, state_path, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()

    def start(self, *tasks: str) -> list[int]:
        """Fork one process for each task and return their pids."""
        assert self._process.stdin is not None
        print(*tasks, file=self._process.stdin, flush=True)
        return self._numbers()

    def ended(self) -> list[int]:
        """Wait for the processes that were started and return their exit codes."""
        return self._numbers()

    def _numbers(self) -> list[int]:
        assert self._process.stdout is not None
        return [int(word) for word in self._process.stdout.readline().split()]


@contextlib.contextmanager
def workers(state_path: str, url: str, name: str) -> Iterator[Workers]:
    """Start the process that forks, and end it."""
    started = Workers(state_path, url, name)
    try:
        yield started
    finally:
        started.close()


def kill_until_delivered(
    workers: Workers,
    server: CollectorServer,
    streams: Sequence[KnownStream],
    *,
    n_kills: int,
    seed: int,
    send: str = "send",
) -> Killed:
    """Fill day after day in any order beside sends, kill either at random, and go on to the end.

    Ends when every day is filled and a send says that nothing is left; gives up after some rounds
    without a kill.
    """
    chance = random.Random(seed)
    killed = Killed({"fill": 0, "send": 0})
    days = chance.sample(range(N_DAYS), N_DAYS)
    filled: list[int] = []
    for _ in range(n_kills + MAX_ROUNDS_BESIDE_KILLS):
        server.clear()
        # The first calls ask for the last packets; the faults are for the packets after them.
        server.fault("slow", times=2 * len(streams) + chance.randrange(20), delay_s=0.0)
        for kind in chance.sample(("drop_before", "drop_after", "late_commit"), 3):
            server.fault(kind, times=1, delay_s=0.8 * REQUEST_TIMEOUT_S)
        fill = sorted({*filled, chance.choice(days)})
        is_filled = len(filled) == len(days)
        tasks = [send] if is_filled else [f"fill:{','.join(map(str, fill))}", send]
        kinds = [task.partition(":")[0] for task in tasks]
        before = n_collected(server, streams)
        pids = dict(zip(kinds, workers.start(*tasks), strict=True))
        # One of the two; the other goes on beside it, as in life.
        n_left = n_kills - sum(killed.n_kills.values())
        if "fill" in pids and killed.n_kills["fill"] < n_kills // 2:
            # A fill takes a tenth of a second; the first must not get away.
            time.sleep(chance.uniform(0.0, 0.12 if killed.n_kills["fill"] else 0.03))
            kill(pids["fill"])
        elif n_left and 0 in filled:
            wait_for_packets(server, streams, before + chance.randrange(200))
            kill(pids[send])
        codes = dict(zip(kinds, workers.ended(), strict=True))
        for kind, code in codes.items():
            key = "fill" if kind == "fill" else "send"
            killed.n_kills[key] += code == -signal.SIGKILL
        killed.progress.append(n_collected(server, streams))
        if codes.get("fill") == 0:
            filled = fill
        if is_filled and codes[send] == 0:
            return killed
    raise AssertionError(f"not delivered: {killed}")


def kill(pid: int) -> None:
    """Kill with -9 what may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def n_collected(server: CollectorServer, streams: Sequence[KnownStream]) -> int:
    """Count what the collector received of the streams."""
    return sum(len(server.collected(s.stream_id, s.credential).stamps_ms) for s in streams)


def wait_for_packets(
    server: CollectorServer, streams: Sequence[KnownStream], n_packets: int
) -> None:
    """Return when so many packets have arrived, or after two seconds."""
    deadline = time.monotonic() + 2.0
    while n_collected(server, streams) < n_packets and time.monotonic() < deadline:
        time.sleep(0.004)


def faults_found(server: CollectorServer, streams: Sequence[KnownStream]) -> dict[str, list[str]]:
    """Compare what the collector holds with what the intervals say through the stream map."""
    due = expected(intervals_of(streams, range(N_DAYS)), *stream_map(streams))
    return {
        stream.stream_id: differences(
            server.collected(stream.stream_id, stream.credential).bodies, due[stream.stream_id]
        )
        for stream in streams
    }
