"""A project folder as a user has it, the processes that run on it, and what they leave behind."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from energy_etl.cli.processes import free_port
from energy_etl.delivery.outbox import Outbox
from energy_etl.state import open_state

REPOSITORY = Path(__file__).parents[2]
ENERGY_ETL = (sys.executable, "-m", "energy_etl")
DAGSTER = (sys.executable, "-m", "dagster")
# Two slow cores that do something else besides: an answer that takes longer will not come.
START_WAIT_S = 150.0
STOP_WAIT_S = 60.0

# A script's `&` in its plainest form: what it starts inherits that SIGINT is ignored; the trap
# makes it inherit the same for SIGTERM.
_BACKGROUND = 'trap "" INT TERM; "$@" >"$OUT" 2>"$ERR" & echo $!; wait $!; echo $?'

STATES = ("confirmed", "pending", "sent", "held", "rejected", "superseded")
FINISHED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
_REPOSITORIES = """{repositoriesOrError {
  ... on RepositoryConnection {nodes {name location {name}}}}}"""
_RUNS = """{runsOrError {... on Runs {results {runId jobName status startTime endTime}}}}"""
_LAUNCH = """mutation ($p: ExecutionParams!) {launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
_LAUNCH_BACKFILL = """mutation ($p: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $p) {
    __typename ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}}}"""
_BACKFILL = """query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill {status error {message}}}}"""
_AUTOMATION = """query ($r: RepositorySelector!) {
  schedules: schedulesOrError(repositorySelector: $r) {
    ... on Schedules {results {name scheduleState {status}}}}
  sensors: sensorsOrError(repositorySelector: $r) {
    ... on Sensors {results {name sensorState {status}}}}}"""

Found = TypeVar("Found")


class ProjectRoot:
    """One folder with data/portfolio.example in it; `ENERGY_ETL_ROOT` names it."""

    def __init__(self, root: Path) -> None:
        """Copy the portfolios of the repository; nothing else is there yet."""
        self.root = root
        self.data = root / "data"
        self._started: list[Background] = []
        for name in ("portfolio.example", "portfolio.replay"):
            shutil.copytree(REPOSITORY / "data" / name, self.data / name)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ENERGY_ETL_", "DAGSTER"))}
        self.environment = {
            **kept,
            "ENERGY_ETL_ROOT": str(root),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *command: str, timeout_s: float = 120.0, **environment: str) -> "Ended":
        """Run a command to its end in the project's folder."""
        ended = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *command: str, **environment: str) -> "Background":
        """Start a command in the background of a shell whose signals are ignored."""
        self._started.append(Background(self, command, environment))
        return self._started[-1]

    def start_up(self, **environment: str) -> "Background":
        """Start `energy-etl up` with the UI on any free port."""
        return self.start(*ENERGY_ETL, "up", "--port", str(free_port()), **environment)

    def keep(self, site_id: str, registers: Sequence[str], push_from_at: datetime) -> None:
        """Make the portfolio: registers of a site of the example, their streams from an instant."""
        portfolio = self.data / "portfolio"
        shutil.copytree(self.data / "portfolio.example", portfolio)

        def is_kept(row: dict[str, str]) -> bool:
            if "push_from_at" in row:
                row["push_from_at"] = push_from_at.isoformat()
            if "register_id" in row:
                return row["register_id"] in {f"{site_id}.{name}" for name in registers}
            return row["site_id"] == site_id

        for path in sorted(portfolio.glob("*.csv")):
            self.rewrite(path, is_kept)

    @staticmethod
    def rewrite(path: Path, keep: Callable[[dict[str, str]], bool]) -> None:
        """Rewrite a CSV file; `keep` may change the row and says whether it stays."""
        with path.open(newline="", encoding="utf-8") as source:
            reader = csv.DictReader(source)
            header, rows = list(reader.fieldnames or ()), [row for row in reader if keep(row)]
        with path.open("w", newline="", encoding="utf-8") as target:
            writer = csv.DictWriter(target, header)
            writer.writeheader()
            writer.writerows(rows)

    def outbox_counts(self) -> dict[str, int]:
        """Return how many packets are in each state."""
        with open_state(self.data / "state.sqlite") as connection:
            outbox = Outbox(connection)
            return {state: outbox.count(state) for state in STATES}

    def processes(self) -> dict[int, str]:
        """Return pid and command of every live process whose environment names this folder."""
        mark = f"ENERGY_ETL_ROOT={self.root}".encode()
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = command[:200]
        return found

    def end_processes(self) -> dict[int, str]:
        """Kill what is left on this folder; return what that was."""
        left = self.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for background in self._started:
            background.close()
        return left


class Ended:
    """A command that ran to its end."""

    def __init__(self, code: int, out: str, err: str) -> None:
        """Keep exit code, stdout and stderr."""
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        """Show all of it when an assertion fails."""
        return f"exit code {self.code}\nstdout: {self.out[-4000:]}\nstderr: {self.err[-4000:]}"


class Background:
    """A command in the background of a shell script."""

    def __init__(
        self, project: ProjectRoot, command: Sequence[str], environment: dict[str, str]
    ) -> None:
        """Start it; its output goes to files, as with `>out 2>err &`."""
        self.out_path, self.err_path = project.root / "out", project.root / "err"
        # Empty: what an earlier command of this folder said is no answer of this one.
        self.out_path.write_text("")
        self.err_path.write_text("")
        self._project = project
        self._shell = subprocess.Popen(
            ["sh", "-c", _BACKGROUND, "sh", *command],
            cwd=project.root,
            env={
                **project.environment,
                **environment,
                "OUT": str(self.out_path),
                "ERR": str(self.err_path),
            },
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._shell.stdout is not None
        self.pid = int(self._shell.stdout.readline())

    def said(self) -> str:
        """Return stdout and stderr so far."""
        paths = (self.out_path, self.err_path)
        return "\n".join(path.read_text(encoding="utf-8") for path in paths)

    def url(self) -> str:
        """Wait until `up` prints its URL and return it."""

        def printed() -> str | None:
            assert self._shell.poll() is None, f"it ended:\n{self.said()}"
            match = re.search(r"http://127\.0\.0\.1:\d+", self.out_path.read_text())
            return match.group() if match else None

        return wait_for(printed, START_WAIT_S, self.said)

    def sandbox_url(self) -> str:
        """Return where the sandbox that `up` started answers."""
        commands = self._project.processes().values()
        ports = [re.search(r" sandbox --port (\d+)", command) for command in commands]
        return next(f"http://127.0.0.1:{port.group(1)}" for port in ports if port)

    def stop(self, signal_number: int = signal.SIGTERM) -> Ended:
        """Send a signal to the one process that the user knows; return how it ended."""
        assert self._shell.stdout is not None
        os.kill(self.pid, signal_number)
        out, _ = self._shell.communicate(timeout=STOP_WAIT_S)
        return Ended(int(out), self.out_path.read_text(), self.err_path.read_text())

    def close(self) -> None:
        """End the shell."""
        self._shell.kill()
        self._shell.communicate()


class WebServer:
    """Dagster's GraphQL, as the UI uses it."""

    def __init__(self, url: str) -> None:
        """Name a web server that answers."""
        self.url = url

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send a query or a mutation and return its data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        answer = fetch(f"{self.url}/graphql", body)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def wait_until_loaded(self) -> None:
        """Wait until the code location is there; the web server answers before that."""
        wait_for(lambda: self._repository() or None, START_WAIT_S)

    def launch(self, job_name: str, first_on: str, last_on: str) -> str:
        """Launch a job for the days of a range, as the launchpad does; return the run's id."""
        tags = {
            "dagster/asset_partition_range_start": first_on,
            "dagster/asset_partition_range_end": last_on,
        }
        launched = self.ask(
            _LAUNCH,
            p={
                "selector": {**self._repository(), "jobName": job_name},
                "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
            },
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def launch_backfill(self, asset: str, days: Sequence[str]) -> str:
        """Launch a backfill of an asset's partitions, as the UI does; return its id."""
        launched = self.ask(
            _LAUNCH_BACKFILL,
            p={"assetSelection": [{"path": asset.split("/")}], "partitionNames": [*days]},
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def backfill_status(self, backfill_id: str) -> str:
        """Return what the UI shows of a backfill; it fails with what the daemon says of it."""
        shown = self.ask(_BACKFILL, id=backfill_id)["partitionBackfillOrError"]
        assert not shown["error"], shown
        return shown["status"]

    def runs(self) -> list[dict[str, Any]]:
        """Return every run, the newest first."""
        return self.ask(_RUNS)["runsOrError"]["results"]

    def automation(self) -> dict[str, str]:
        """Return the status of each schedule and sensor."""
        data = self.ask(_AUTOMATION, r=self._repository())
        return {
            **{s["name"]: s["scheduleState"]["status"] for s in data["schedules"]["results"]},
            **{s["name"]: s["sensorState"]["status"] for s in data["sensors"]["results"]},
        }

    def _repository(self) -> dict[str, str]:
        nodes = self.ask(_REPOSITORIES)["repositoriesOrError"].get("nodes")
        if not nodes:
            return {}
        location = nodes[0]["location"]["name"]
        return {"repositoryName": nodes[0]["name"], "repositoryLocationName": location}


def fetch(url: str, body: bytes | None = None) -> Any:
    """GET, or POST a JSON body, and return the answer's JSON."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def wait_for(
    look: Callable[[], Found | None],
    within_s: float,
    told: Callable[[], object] = lambda: "",
    every_s: float = 0.3,
) -> Found:
    """Look until something is there; fail with what is told when it does not come in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(every_s)
    raise AssertionError(f"not within {within_s:.0f} s: {look.__qualname__}\n{told()}")
