"""Child processes: started in a session of their own, and gone when we are.

Dagster started with `&` from a script inherits ignored signals; a handler set here before the
child starts makes exec give it the default ones, so that SIGTERM works on it.
"""

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from energy_etl.errors import EnergyEtlError

STOP_WAIT_S: Final = 15.0
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


@dataclass(frozen=True, slots=True)
class Child:
    """One started process; its pid is also its session and process group."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path

    def is_running(self) -> bool:
        """True until the process has ended."""
        return self.process.poll() is None


def start_child(
    name: str, command: Sequence[str], log_dir: Path, environment: Mapping[str, str]
) -> Child:
    """Start a process in its own session and in `log_dir`, its output in `<name>.log` there."""
    log_dir.mkdir(parents=True, exist_ok=True)
    log_path = log_dir / f"{name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            # Not where people keep files: Dagster puts the `.env` of its working directory into the
            # environment, where an old secret outlives the file's, and Python imports from there.
            cwd=log_dir,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    return Child(name, process, log_path)


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent is gone: killed with -9 it cannot stop anybody.

    A daemon left alone would submit runs beside the next one's.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def stop_children(children: Sequence[Child]) -> None:
    """End each child and every process of its session: SIGTERM, then SIGKILL after a wait."""
    for signal_number, wait_s in ((signal.SIGTERM, STOP_WAIT_S), (signal.SIGKILL, 5.0)):
        sessions = {child.process.pid for child in children}
        left = _pids_of_sessions(sessions)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            for child in children:
                child.process.poll()
            if not _pids_of_sessions(sessions):
                return
            time.sleep(0.1)


def _pids_of_sessions(sessions: set[int]) -> list[int]:
    """Return the live processes of these sessions (a run worker may leave its process group)."""
    pids: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The command name stands in parentheses and may hold spaces.
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) in sessions and fields[0] != "Z":
                pids.append(int(entry.name))
    return pids


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Catch SIGINT and SIGTERM, also where they were ignored; yields a question: were we asked?"""
    asked: list[int] = []
    caught = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda n, _: asked.append(n)) for number in caught]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(caught, previous, strict=True):
            signal.signal(number, handler)


def free_port(wanted: int | None = None) -> int:
    """Return a free loopback port; the wanted one when nothing listens there."""
    for port in (wanted, 0) if wanted else (0,):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]
    raise EnergyEtlError("No loopback port is free: close some programs, then run again.")


def wait_until_answering(
    url: str, child: Child, deadline_s: float, is_stopped: Callable[[], bool] = lambda: False
) -> bool:
    """Wait until a child answers 200 at a loopback URL; False when we were asked to stop.

    Raises:
        EnergyEtlError: the child ended or did not answer in time; names its log.
    """

    def is_answering() -> bool:
        # Somebody else may listen there, and speak no HTTP.
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            urllib.request.urlopen(url, timeout=5) as answer,
        ):
            return answer.status == 200
        return False

    return wait_until(is_answering, url, child, deadline_s, is_stopped)


def wait_until(
    is_answering: Callable[[], bool],
    where: str,
    child: Child,
    deadline_s: float,
    is_stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Wait until a child can be asked at a place; otherwise as `wait_until_answering`."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline and not is_stopped():
        if not child.is_running():
            raise EnergyEtlError(
                f"The {child.name} ended with code {child.process.returncode} before it answered: "
                f"{_last_line(child.log_path)} See {child.log_path}."
            )
        if is_answering():
            return True
        time.sleep(0.2)
    if is_stopped():
        return False
    raise EnergyEtlError(
        f"The {child.name} did not answer at {where} within {deadline_s:.0f} s: "
        f"see {child.log_path}."
    )


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing."
