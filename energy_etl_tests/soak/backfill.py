"""A backfill through the UI's API, interrupted twice: by the power, and politely.

`energy-etl up` with the hourly schedules on, `energy-etl streams create` for the streams that the
example has not mapped, one backfill over every day. In the middle of the loading every process of
the folder is killed with -9, in the middle of the sending `up` gets SIGTERM; each time `up` is
started again, and nothing else is done. At the end the collector holds what core.interval says,
packet by packet.
"""

import contextlib
import csv
import json
import os
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from energy_etl.defs.resources import Etl
from energy_etl.tables import core, push
from energy_etl_tests.delivery.known_intervals import differences, expected
from energy_etl_tests.journeys.project_root import (
    ENERGY_ETL,
    FINISHED,
    Background,
    ProjectRoot,
    WebServer,
    fetch,
    wait_for,
)

LOOK_EVERY_S = 2.0
# As long as a start takes, and longer than the daemon needs to look at a backfill again.
HOLD_FOR_HOURS = "0.1"
# Of minutes per partition; whatever takes longer hangs.
LONGEST_S_PER_DAY = 30.0
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass
class Spent:
    """What the processes of the folder used, by what they are."""

    cpu_s: dict[int, tuple[str, float]] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def look(self, project: ProjectRoot) -> None:
        """Note the processor time and the largest size of each process so far."""
        for pid, command in project.processes().items():
            kind = _kind(command)
            with contextlib.suppress(OSError, StopIteration):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                self.cpu_s[pid] = kind, (int(fields[11]) + int(fields[12])) * _TICK_S
                status = Path(f"/proc/{pid}/status").read_text().splitlines()
                peak = next(line for line in status if line.startswith("VmHWM"))
                self.peak_mb[kind] = max(self.peak_mb[kind], int(peak.split()[1]) / 1024)

    def cpu_by_kind(self) -> dict[str, float]:
        """Return the processor seconds of each kind of process."""
        found: dict[str, float] = defaultdict(float)
        for kind, cpu_s in self.cpu_s.values():
            found[kind] += cpu_s
        return dict(found)


def _kind(command: str) -> str:
    for mark, kind in (
        (" sandbox ", "sandbox"),
        ("dagster_webserver", "webserver"),
        ("dagster._daemon", "daemon"),
        # The default launcher forks a run off its code server.
        ("spawn_main", "runs"),
        ("code-server", "code servers"),
        (" api grpc", "code servers"),
    ):
        if mark in command:
            return kind
    return "up"


@dataclass
class Seen:
    """The backfill's status, every run, and how many packets are in each state."""

    status: str
    runs: list[dict[str, Any]]
    counts: dict[str, int]

    def __str__(self) -> str:
        """Show it on one line."""
        runs = [f"{r['jobName']} {r['status']}" for r in self.runs if r["status"] != "SUCCESS"]
        counts = {state: n for state, n in self.counts.items() if n}
        return f"{self.status}, {len(self.runs)} runs, {counts} {runs}"


def _is_over(seen: Seen) -> bool:
    is_quiet = all(run["status"] in FINISHED for run in seen.runs)
    n_left = seen.counts["pending"] + seen.counts["sent"] + seen.counts["held"]
    return seen.status == "COMPLETED_SUCCESS" and is_quiet and not n_left


def run(folder: Path, *, n_days: int, n_streams: int) -> list[str]:
    """Backfill so many days of so many streams and return what there is to say.

    Raises:
        AssertionError: something failed, took too long, or did not arrive as it should.
    """
    project = ProjectRoot(folder)
    try:
        return _Soak(project, n_days, n_streams).run()
    finally:
        project.end_processes()


class _Soak:
    def __init__(self, project: ProjectRoot, n_days: int, n_streams: int) -> None:
        self.project = project
        self.n_days = n_days
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.from_at = today - timedelta(days=n_days - 1)
        self.days = [(self.from_at + timedelta(days=n)).date().isoformat() for n in range(n_days)]
        self.registers = _choose(project, n_streams)
        self.spent = Spent()
        self.shown = ""

    def run(self) -> list[str]:
        up, server = self._start()
        ended = self.project.run(*ENERGY_ETL, "streams", "create", "--yes")
        assert ended.code == 0, ended
        _push_from(self.project, self.from_at)
        # Long enough to be seen; it ends with the sandbox, which is killed, too.
        slow = {"vendor": "wattsense", "kind": "slow", "times": None, "delay_s": 0.5}
        fetch(f"{up.sandbox_url()}/_sandbox/faults", json.dumps(slow).encode())
        began = time.monotonic()
        backfill_id = server.launch_backfill("wattsense/history", self.days)
        self._wait(server, backfill_id, self._is_loading)
        # The hourly schedule has its own minute; this is what it asks for, now.
        server.launch("extract_wattsense", first_on=self.days[-1], last_on=self.days[-1])
        self._lose_power()
        lost_s = time.monotonic() - began
        up, server = self._start()
        self._wait(server, backfill_id, self._is_sending)
        ended = up.stop(signal.SIGTERM)
        assert ended.code == 0, ended
        assert not self.project.processes()
        stopped_s = time.monotonic() - began
        up, server = self._start()
        self._wait(server, backfill_id, _is_over)
        minutes = (time.monotonic() - began) / 60
        counts = self.project.outbox_counts()
        runs = server.runs()
        ended = up.stop(signal.SIGTERM)
        assert ended.code == 0, ended
        self._compare()
        loads = [
            r["endTime"] - r["startTime"]
            for r in runs
            if r["status"] == "SUCCESS" and not r["jobName"].startswith(("compute", "send"))
        ]
        cpu = self.spent.cpu_by_kind()
        return [
            f"{self.n_days} days x {len(self.registers)} streams in {minutes:.1f} minutes, "
            f"interrupted after {lost_s / 60:.1f} and {stopped_s / 60:.1f} minutes",
            f"{counts['confirmed']} packets confirmed, each as core.interval says",
            f"{len(runs)} runs; loading took {sum(loads) / self.n_days:.2f} s per partition",
            "processor seconds per partition: "
            + ", ".join(f"{k} {v / self.n_days:.2f}" for k, v in sorted(cpu.items())),
            "largest process, MB: "
            + ", ".join(f"{k} {v:.0f}" for k, v in sorted(self.spent.peak_mb.items())),
        ]

    def _start(self) -> tuple[Background, WebServer]:
        up = self.project.start_up(ENERGY_ETL_HOLD_FOR_HOURS=HOLD_FOR_HOURS)
        server = WebServer(up.url())
        server.wait_until_loaded()
        return up, server

    def _lose_power(self) -> None:
        """Kill everything at once: nobody can tidy up."""
        for pid in self.project.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.project.processes() or None, 30)

    def _is_loading(self, seen: Seen) -> bool:
        loads = [run["status"] for run in seen.runs if run["jobName"] == "__ASSET_JOB"]
        n_batches = -(-self.n_days // 31)
        return "STARTED" in loads and loads.count("SUCCESS") >= n_batches // 3

    def _is_sending(self, seen: Seen) -> bool:
        n_due = len(self.registers) * 96 * (self.n_days - 1)
        return seen.counts["sent"] + seen.counts["confirmed"] >= n_due / 2

    def _wait(
        self, server: WebServer, backfill_id: str, is_reached: Callable[[Seen], bool]
    ) -> None:
        deadline = time.monotonic() + max(self.n_days, 20) * LONGEST_S_PER_DAY
        while time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
            self.spent.look(self.project)
            seen = Seen(
                server.backfill_status(backfill_id), server.runs(), self.project.outbox_counts()
            )
            if (line := str(seen)) != self.shown:
                self.shown = line
                print(f"{datetime.now(UTC):%H:%M:%S} {line}", file=sys.stderr, flush=True)
            assert seen.status not in ("COMPLETED_FAILED", "FAILED", "CANCELED"), line
            assert not seen.counts["rejected"], line
            if is_reached(seen):
                return
            assert seen.status == "REQUESTED" or is_reached != self._is_loading, "nothing to kill"
        raise AssertionError(f"it took too long: {self.shown}")

    def _compare(self) -> None:
        """Compare the collector's own files with core.interval, stream by stream."""
        etl = Etl(root=str(self.project.root))
        frames = etl.portfolio().frames
        received: dict[str, list[str]] = defaultdict(list)
        for account in ("main", "second"):
            path = self.project.data / "sandbox" / f"wattics-{account}.jsonl"
            with path.open("rb") as lines:
                for line in lines:
                    packet = msgspec.json.decode(line)["packet"]
                    received[packet["id"]].append(msgspec.json.encode(packet).decode())
        streams = frames[push.STREAM]
        assert set(received) == set(streams["stream_id"]), "some streams got nothing"
        for stream_id in streams["stream_id"]:
            one = streams.filter(stream_id=stream_id)
            rows = etl.warehouse().read_table(
                core.INTERVAL, "register_id = ?", [one["register_id"][0]]
            )
            due = expected(rows, one, frames[core.REGISTER])[stream_id]
            found = differences(received[stream_id], due)
            assert not found, f"{stream_id}: {found}"
            assert len(due) > 0.95 * 96 * (self.n_days - 1), f"{stream_id}: {len(due)} packets"


def _choose(project: ProjectRoot, n_streams: int) -> list[str]:
    """Make the portfolio of the first counters that Wattsense serves; return their ids."""
    portfolio = project.data / "portfolio"
    shutil.copytree(project.data / "portfolio.example", portfolio)
    with (portfolio / "registers.csv").open(newline="", encoding="utf-8") as source:
        counters = [
            row
            for row in csv.DictReader(source)
            if row["register_id_wattsense"] and row["kind"] == "cumulative"
        ][:n_streams]
    assert len(counters) == n_streams, f"the example has {len(counters)} counters only"
    registers = {row["register_id"] for row in counters}
    meters = {row["meter_id"] for row in counters}
    sites = {register_id.partition(".")[0] for register_id in registers}

    def is_kept(row: dict[str, str]) -> bool:
        if "register_id" in row:
            return row["register_id"] in registers
        if "meter_id" in row:
            return row["meter_id"] in meters
        return row.get("site_id", next(iter(sites))) in sites

    for path in sorted(portfolio.glob("*.csv")):
        project.rewrite(path, is_kept)
    return sorted(registers)


def _push_from(project: ProjectRoot, from_at: datetime) -> None:
    def set_start(row: dict[str, str]) -> bool:
        row["push_from_at"] = from_at.isoformat()
        return True

    project.rewrite(project.data / "portfolio" / "streams.csv", set_start)
