"""`energy-etl up`: sandbox, web server and daemon as one, and none of them left behind.

A second daemon on one DAGSTER_HOME works and submits batches twice, so the home is locked first.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import dagster as dg
from filelock import FileLock, Timeout

from energy_etl.cli.processes import (
    Child,
    free_port,
    start_child,
    stop_children,
    stop_signals,
    wait_until,
    wait_until_answering,
)
from energy_etl.cli.sandbox_consent import try_sandbox_consent
from energy_etl.cli.setup import claim_world, prepare, today_at
from energy_etl.defs.activity import active_runs
from energy_etl.defs.instance import open_instance
from energy_etl.errors import ConfigurationError, EnergyEtlError
from energy_etl.settings import PREFIX, ROOT_VARIABLE, Settings
from energy_etl.vendors import project_settings

START_DEADLINE_S = 120.0
_SANDBOX_PORT: Final = 8080
_DEFINITIONS = "energy_etl.definitions"
# One server of the code for both: left alone, the web server starts one, and the daemon another
# each minute, which is a twelfth of a slow core for ever.
_WORKSPACE = """\
load_from:
  - grpc_server:
      socket: {socket}
      location_name: {definitions}
"""


@contextlib.contextmanager
def locked_home(dagster_home: Path) -> Iterator[None]:
    """Hold DAGSTER_HOME for this process.

    Raises:
        ConfigurationError: `up` or `demo` of another terminal holds it.
    """
    dagster_home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(dagster_home / "up.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigurationError(
            f"{dagster_home} is in use by another `energy-etl up` or `energy-etl demo`: "
            "stop that one first."
        ) from None
    try:
        yield
    finally:
        lock.release()


def start_sandbox(
    settings: Settings, *, port: int, now: str | None = None, replay: Path | None = None
) -> tuple[Child, str]:
    """Start the vendor sandbox as a child, its collector's state under data/; returns its URL."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "energy_etl", "sandbox", "--port", str(port)]
    command += ["--state-dir", str(settings.data_dir / "sandbox")]
    command += ["--now", now] if now else []
    command += ["--replay", str(replay)] if replay else []
    child = start_child("sandbox", command, settings.data_dir / "logs", {})
    try:
        wait_until_answering(f"{url}/_sandbox/health", child, START_DEADLINE_S)
    except EnergyEtlError:
        stop_children([child])
        raise
    return child, url


def run_up(settings: Settings, *, port: int, replay: Path | None) -> None:
    """Run everything until SIGINT or SIGTERM, then end active runs and every process."""
    with locked_home(settings.dagster_home), stop_signals() as is_stopped:
        replay = claim_world(settings, replay) if settings.target == "sandbox" else None
        prepare(settings, replay=replay, push_from_at=today_at())
        close_lost_runs(settings, "The program that ran it is gone: it was killed, or the power.")
        children: list[Child] = []
        # For the code server's socket: short, for sockets want short paths, and the user's alone.
        sockets = tempfile.TemporaryDirectory(prefix="energy-etl-")
        try:
            socket = Path(sockets.name) / "code"
            url = _start(settings, children, port, replay, socket, is_stopped)
            if url and not is_stopped():
                print(f"energy_etl is up: {url} (stop with Ctrl-C)", flush=True)
            while not is_stopped():
                ended = [child for child in children if not child.is_running()]
                if ended:
                    raise EnergyEtlError(
                        f"The {ended[0].name} ended with code {ended[0].process.returncode}: "
                        f"see {ended[0].log_path}, then run `energy-etl up` again."
                    )
                time.sleep(0.2)
            print("Stopping ...", file=sys.stderr, flush=True)
        finally:
            _end_active_runs(settings)
            stop_children(children)
            sockets.cleanup()
            close_lost_runs(settings, "`energy-etl up` was stopped.")


def close_lost_runs(settings: Settings, message: str) -> None:
    """Report the runs whose workers are gone as cancelled; queued ones go on at the next start.

    For who holds the home only: then nobody else runs anything. Left as started, such a run would
    keep its pool's slot and make sensors wait for it for ever. A run of a backfill is reported as
    failed: the daemon then runs it again, where a cancelled one ends its backfill with a hole.
    """
    with open_instance(settings.dagster_home) as instance:
        for run in _runs_with_worker(instance):
            if _is_of_backfill(run):
                instance.report_run_failed(run, message=message)
            else:
                instance.report_run_canceled(run, message=message)


def _start(
    settings: Settings,
    children: list[Child],
    port: int,
    replay: Path | None,
    socket: Path,
    is_stopped: Callable[[], bool],
) -> str | None:
    environment = {
        "DAGSTER_HOME": str(settings.dagster_home),
        ROOT_VARIABLE: str(settings.root),
        # A web server left alone opens a browser's telemetry otherwise.
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    if settings.target == "sandbox":
        print("Starting the vendor sandbox ...", file=sys.stderr, flush=True)
        child, url = _start_usual_sandbox(settings, replay)
        children.append(child)
        environment[f"{PREFIX}SANDBOX_URL"] = url
        # A sandbox that was started anew has forgotten every consent.
        try_sandbox_consent(project_settings(settings.root, sandbox_url=url))
    workspace = settings.dagster_home / "workspace.yaml"
    workspace.write_text(
        _WORKSPACE.format(socket=socket, definitions=_DEFINITIONS), encoding="utf-8"
    )
    print("Starting Dagster ...", file=sys.stderr, flush=True)
    web_port = free_port(port)
    python, logs = sys.executable, settings.data_dir / "logs"
    code = [python, "-m", "dagster", "api", "grpc", "-m", _DEFINITIONS, "-s", str(socket)]
    # Code is looked for in the working directory first: not where people keep files of their own.
    code += ["-d", str(settings.dagster_home), "--location-name", _DEFINITIONS]
    children.append(start_child("code-server", code, logs, environment))
    # The socket is there once the code is loaded; who asks before that remembers a failure.
    if not wait_until(socket.exists, str(socket), children[-1], START_DEADLINE_S, is_stopped):
        return None
    web = [python, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(web_port)]
    daemon = [python, "-m", "dagster._daemon", "run"]
    children.append(start_child("webserver", [*web, "-w", str(workspace)], logs, environment))
    children.append(start_child("daemon", [*daemon, "-w", str(workspace)], logs, environment))
    url = f"http://127.0.0.1:{web_port}"
    answered = wait_until_answering(
        f"{url}/server_info", children[-2], START_DEADLINE_S, is_stopped
    )
    return url if answered else None


def _start_usual_sandbox(settings: Settings, replay: Path | None) -> tuple[Child, str]:
    """Start the sandbox on its usual port; say so when it had to be another."""
    port = free_port(_SANDBOX_PORT)
    child, url = start_sandbox(settings, port=port, replay=replay)
    if port != _SANDBOX_PORT:
        told = f"The vendor sandbox answers at {url}, for port {_SANDBOX_PORT} is taken."
        print(told, file=sys.stderr, flush=True)
    return child, url


def _end_active_runs(settings: Settings) -> None:
    """Ask run workers to stop: SIGTERM on the code server alone leaves them behind.

    Those of a backfill are ended with their session: asked, they would be cancelled for good.
    """
    with open_instance(settings.dagster_home) as instance:
        for run in _runs_with_worker(instance):
            if _is_of_backfill(run):
                continue
            # A worker that cannot be asked is ended with its session in the next step.
            with contextlib.suppress(dg.DagsterError, OSError):
                instance.run_launcher.terminate(run.run_id)


def _is_of_backfill(run: dg.DagsterRun) -> bool:
    return "dagster/backfill" in run.tags


def _runs_with_worker(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    return [run for run in active_runs(instance) if run.status != dg.DagsterRunStatus.QUEUED]
