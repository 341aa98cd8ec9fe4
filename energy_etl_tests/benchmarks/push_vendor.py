"""The vendor's own clients, for those who have them: `WATTICS_CLIENTS` names their folder.

Nothing of them is in this repository. In that folder, anywhere:

    jars                 what the Java client needs (HttpClient and HttpCore, Commons Logging and
                         Codec, Gson, Guava), and the client itself
    src/main/java        or its source, which is compiled with the driver
    lib/wattics-api-client.rb    the Ruby client; the gems that it needs are installed

Their environments for tests push to port 8080 of this machine; `WATTICS_CLIENTS_PORT` is for copies
in which that was changed.

A driver makes all measurements, hands them over as one group, and waits until each was answered.
Its clock, and its process's CPU time, begin when it hands them over: starting Java or Ruby is not
counted, and memory is not measured (the table shows what this process takes). Java's driver sends
packets of other streams before, which are not counted either: its first thousand takes five times
as long as those after the fourth.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from energy_etl_tests.benchmarks.measure import BenchmarkError, Clock, Outcome, Task
from energy_etl_tests.benchmarks.push_input import (
    START_AT,
    STEP,
    arrived,
    stream_ids,
    target_of,
)

_VENDOR_PORT: Final = 8080
_DRIVERS: Final = Path(__file__).parent / "clients"
# The slowest of them was seen to send 280 packets per second. They repeat what failed for ever.
_LONGEST_S_PER_PACKET: Final = 0.02
# To start, and to warm up.
START_S: Final = 60.0
_MOST_TO_WARM_UP: Final = 5_000


def clients_folder() -> Path | None:
    """Return the folder that WATTICS_CLIENTS names."""
    named = os.environ.get("WATTICS_CLIENTS")
    return Path(named).expanduser().resolve() if named else None


def vendor_port() -> int:
    """Return the port that the vendor's clients push to."""
    return int(os.environ.get("WATTICS_CLIENTS_PORT", _VENDOR_PORT))


def has_java_client() -> bool:
    """True when Java, its compiler and the vendor's Java client are there."""
    clients = clients_folder()
    has_java = shutil.which("java") is not None and shutil.which("javac") is not None
    return has_java and bool(_jars(clients) or _java_sources(clients))


def has_ruby_client() -> bool:
    """True when Ruby and the vendor's Ruby client are there."""
    return shutil.which("ruby") is not None and bool(_ruby_entries(clients_folder()))


def is_at_vendor_port(task: Task) -> bool:
    """True when a task's collector is where the vendor's clients look for one."""
    parts = urlsplit(task.source)
    return parts.scheme == "http" and parts.port == vendor_port()


def run_java(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Push with the vendor's Java agent."""
    clients = clients_folder()
    classpath = os.pathsep.join(map(str, _jars(clients)))
    sources = os.pathsep.join(map(str, _java_sources(clients)))
    driver = _DRIVERS / "PushDriver.java"
    compiling = ["javac", "-nowarn", "-d", str(folder), "-cp", classpath or "."]
    compiling += ["-sourcepath", sources] if sources else []
    _call([*compiling, str(driver)], START_S)
    warm_up = folder / "warm_up.tsv"
    n_per_stream = min(task.n_per_group, max(1, _MOST_TO_WARM_UP // task.n_groups))
    _write_measurements(warm_up, stream_ids(task), n_per_stream)
    command = ["java", "-cp", f"{folder}{os.pathsep}{classpath}", driver.stem, str(warm_up)]
    return push_with(task, folder, clock, command)


def run_ruby(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Push with the vendor's Ruby agent."""
    entry = _ruby_entries(clients_folder())[0]
    command = ["ruby", "-I", str(entry.parent), str(_DRIVERS / "push_driver.rb"), entry.stem]
    return push_with(task, folder, clock, command)


def push_with(task: Task, folder: Path, clock: Clock, command: Sequence[str]) -> Outcome:
    """Push with a driver: its arguments are the measurements' file, user name and password.

    Raises:
        BenchmarkError: it failed, or did not end.
    """
    target, ids = target_of(task), stream_ids(task)
    measurements = folder / "measurements.tsv"
    _write_measurements(measurements, ids, task.n_per_group)
    arguments = [str(measurements), target.username, target.password]
    longest_s = START_S + task.n_items * _LONGEST_S_PER_PACKET
    took = json.loads(_call([*command, *arguments], longest_s).splitlines()[-1])
    clock.wall_s += took["wall_s"]
    clock.cpu_s += took["cpu_s"]
    return arrived(task, set(ids))


def _write_measurements(path: Path, ids: Sequence[str], n_per_stream: int) -> None:
    """Write stream, milliseconds of 1970 and value: what comes first is of the same instant."""
    start_ms, step_ms = int(START_AT.timestamp() * 1000), int(STEP.total_seconds() * 1000)
    with path.open("w", encoding="ascii") as file:
        for number in range(1, n_per_stream + 1):
            file.writelines(
                f"{stream_id}\t{start_ms + number * step_ms}\t{number * 12.5}\n"
                for stream_id in ids
            )


def _call(command: Sequence[str], longest_s: float) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=longest_s, check=False)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{command[0]} did not end within {longest_s:.0f} s.") from None
    if done.returncode:
        raise BenchmarkError(f"{command[0]} ended with {done.returncode}; see the lines above.")
    return done.stdout.decode()


@cache
def _jars(clients: Path | None) -> tuple[Path, ...]:
    return tuple(sorted(clients.rglob("*.jar"))) if clients else ()


@cache
def _java_sources(clients: Path | None) -> tuple[Path, ...]:
    return tuple(sorted(clients.rglob("src/main/java"))) if clients else ()


@cache
def _ruby_entries(clients: Path | None) -> tuple[Path, ...]:
    return tuple(sorted(clients.rglob("lib/wattics*api*client.rb"))) if clients else ()
