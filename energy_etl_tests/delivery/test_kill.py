"""Kill -9 of a send run at random moments: nothing lost, nothing doubled, nothing out of order."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from energy_etl.delivery import Outbox, release
from energy_etl_tests.delivery.conftest import (
    NOW,
    CollectorServer,
    body,
    new_id,
    packets,
    plan,
    stamp_ms,
    states,
)

N_STREAMS = 8
N_PACKETS = 200
N_KILLS = 6
MAX_RUNS = 16

# The imports take longer than the runs, so they are done once and each run is a fork of its own.
SENDER = """
import asyncio, os, sys
from energy_etl.delivery import DrainLimits, Outbox, drain
from energy_etl.state import connect
from energy_etl.vendors.wattics.collector import open_collectors
from energy_etl.vendors.wattics.settings import WatticsSettings, sandbox_section

path, url = sys.argv[1:]
section = {**sandbox_section(url), "request_timeout_s": 0.3}
settings = WatticsSettings.model_validate(section)
limits = DrainLimits(request_timeout_s=0.3, backoff_base_s=0.02)

async def run():
    async with open_collectors(settings) as collectors:
        return await drain(Outbox(connect(path)), collectors, limits=limits)

for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        report = asyncio.run(run())
        os._exit(0 if report.is_complete else 1)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def n_collected(server: CollectorServer, ids: list[str]) -> int:
    return sum(len(server.collected(each).stamps_ms) for each in ids)


def wait_for_packets(server: CollectorServer, ids: list[str], n_packets: int) -> None:
    """Return when so many more packets have arrived; 0 is a kill before the first."""
    enough = n_collected(server, ids) + n_packets
    deadline = time.monotonic() + 10.0
    while n_collected(server, ids) < enough and time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.journey
def test_kills_at_random_moments_lose_and_double_nothing(
    outbox: Outbox, server: CollectorServer
) -> None:
    chance = random.Random(7)
    ids = [new_id("kill") for _ in range(N_STREAMS)]
    plans = [plan(stream_id) for stream_id in ids]
    for agreed in plans:
        frame = packets(agreed.stream_id, range(1, N_PACKETS + 1))
        outbox.fill(frame, [agreed], now=NOW)
    release(outbox, plans, [], NOW)
    n_kills = 0
    progress = []

    sender = subprocess.Popen(
        [sys.executable, "-c", SENDER, outbox.path, server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with sender:
        assert sender.stdin is not None
        assert sender.stdout is not None
        for _ in range(MAX_RUNS):
            server.clear()
            # The first calls ask for the last packets; the faults are for the packets after them.
            server.fault("slow", times=2 * N_STREAMS + chance.randrange(20), delay_s=0.0)
            for kind in ("drop_before", "drop_after", "late_commit"):
                server.fault(kind, times=1, delay_s=0.25)
            print("run", file=sender.stdin, flush=True)
            pid = int(sender.stdout.readline())
            if n_kills < N_KILLS:
                wait_for_packets(server, ids, chance.randrange(200))
                os.kill(pid, signal.SIGKILL)
            exit_code = int(sender.stdout.readline())
            progress.append(n_collected(server, ids))
            n_kills += exit_code == -signal.SIGKILL
            if exit_code == 0:
                break

    assert n_kills == N_KILLS
    assert len({n for n in progress if 0 < n < N_STREAMS * N_PACKETS}) >= 3
    for stream_id in ids:
        collected = server.collected(stream_id)
        assert collected.bodies == [body(stream_id, n) for n in range(1, N_PACKETS + 1)]
        assert collected.stamps_ms == [stamp_ms(n) for n in range(1, N_PACKETS + 1)]
        assert (collected.n_duplicates, collected.n_out_of_order) == (0, 0)
        assert set(states(outbox, stream_id).values()) == {"confirmed"}
