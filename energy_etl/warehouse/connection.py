"""Opening the DuckDB file: lock wait with jitter, UTC, errors as one sentence.

DuckDB lets one process write or many read, never both, so every file is attached for a short time
and detached in `finally`. Within this process the same file is opened by one thread at a time,
because DuckDB refuses to attach it twice.

The engine that files are attached to lives as long as the process: making one costs 20 ms of CPU
time (reading the catalog of a hundred tables 35 more), twenty times in a computation. After any
error it is left behind and a new one is made, because a fatal error (a full disk in mid-commit)
spoils everything that is attached to it.
"""

import itertools
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import duckdb

from energy_etl.errors import WarehouseError, WarehouseLockedError
from energy_etl.warehouse.sql import fill, literal, quoted, run

_HOLDER: Final = re.compile(r"Conflicting lock is held in (?P<program>.*?) ?\(PID (?P<pid>\d+)\)")
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5
_SHOWN_COMMAND: Final = 80

# Extensions are never fetched: nothing here may reach out to the network by itself.
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": False,
    # Where pyarrow is installed DuckDB lets it apply a join's filters to a registered frame, which
    # fails on the texts that Polars hands out (duckdb-python issue 227): every write broke.
    "disabled_optimizers": "join_filter_pushdown",
}


class _Turn:
    """Whose turn it is, in this process, to have one file open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def taken(self, path: Path, wait_s: float) -> Iterator[None]:
        if self._owner == threading.get_ident():
            raise WarehouseError(
                f"{path} is already open in this thread, so it cannot be opened again: inside"
                " `with warehouse.write() as writer` read through the writer, or read before it."
            )
        if not self._lock.acquire(timeout=wait_s):
            raise WarehouseLockedError(
                f"{path} was held by another thread of this process for more than {wait_s:g} s:"
                " wait for its write to end, then run again."
            )
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None
            self._lock.release()


_turns: dict[Path, _Turn] = {}
_turns_lock = threading.Lock()


def _turn(path: Path) -> _Turn:
    with _turns_lock:
        return _turns.setdefault(path, _Turn())


class _Engine:
    """The in-memory database of this process that files are attached to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: duckdb.DuckDBPyConnection | None = None
        self._pid = 0
        self._names = itertools.count()

    def cursor(self) -> tuple[duckdb.DuckDBPyConnection, str]:
        """Return a connection of its own, and a name to attach a file under."""
        with self._lock:
            # Threads do not survive a fork, and an engine without its threads hangs.
            if self._kept is None or self._pid != os.getpid():
                self._kept = duckdb.connect(":memory:", config=_CONFIG)
                self._pid = os.getpid()
            return self._kept.cursor(), f"file_{next(self._names)}"

    def leave(self) -> None:
        """Make a new one for whoever comes next; what is open on the old one goes on."""
        with self._lock:
            self._kept = None


_engine = _Engine()


@contextmanager
def opened(
    path: Path, *, is_read_only: bool, lock_wait_s: float
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the file as the current database, in UTC, and detach it whatever happens.

    Raises:
        WarehouseLockedError: another process (named) or thread held it longer than `lock_wait_s`.
        WarehouseError: missing, damaged, made by a newer DuckDB, disk full, bad SQL.
    """
    path = path.resolve()
    deadline = time.monotonic() + lock_wait_s
    with _turn(path).taken(path, lock_wait_s), errors_named(path):
        connection, name = _engine.cursor()
        try:
            run(connection, "SET TimeZone = 'UTC'")
            _attach(connection, path, name, is_read_only, deadline, lock_wait_s)
            run(connection, fill("USE $name", name=quoted(name)))
            yield connection
            _detach(connection, name)
        except BaseException:
            _engine.leave()
            # Others may still be at work on that engine, and would hold the file with it.
            with suppress(duckdb.Error):
                _detach(connection, name)
            raise
        finally:
            connection.close()


@contextmanager
def opened_as_source(
    path: Path, *, lock_wait_s: float, is_read_only: bool = True
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Attach the file as `source` to a connection of its own.

    A connection that was opened read-only cannot attach a second file for writing; this one can.
    """
    path = path.resolve()
    deadline = time.monotonic() + lock_wait_s
    with _turn(path).taken(path, lock_wait_s), errors_named(path):
        connection = duckdb.connect(":memory:", config=_CONFIG)
        try:
            run(connection, "SET TimeZone = 'UTC'")
            _attach(connection, path, "source", is_read_only, deadline, lock_wait_s)
            yield connection
        finally:
            connection.close()


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Turn DuckDB's errors into sentences about this file."""
    try:
        yield
    except duckdb.Error as error:
        raise WarehouseError(_sentence(path, error)) from error


def _attach(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    name: str,
    is_read_only: bool,
    deadline: float,
    lock_wait_s: float,
) -> None:
    statement = fill(
        "ATTACH $path AS $name$mode",
        path=literal(str(path)),
        name=quoted(name),
        mode=" (READ_ONLY)" if is_read_only else "",
    )
    pause_s = _FIRST_PAUSE_S
    while True:
        before = _inode(path)
        try:
            run(connection, statement)
        except duckdb.IOException as error:
            pause_s = _wait_or_raise(path, error, pause_s, deadline, lock_wait_s)
            continue
        # Opened before a compaction put another file in its place, and locked after it, what is
        # attached is no file of anybody any more: what is written to it would be lost.
        if before in (None, _inode(path)):
            return
        run(connection, fill("DETACH $name", name=quoted(name)))


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _detach(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    run(connection, "USE memory")
    run(connection, fill("DETACH $name", name=quoted(name)))


def _wait_or_raise(
    path: Path, error: duckdb.IOException, pause_s: float, deadline: float, lock_wait_s: float
) -> float:
    """Sleep when the lock is held and there is time left; return the next pause."""
    if "Could not set lock" not in str(error):
        raise error
    if time.monotonic() >= deadline:
        raise WarehouseLockedError(
            f"{path} is locked by {_holder(str(error))} and was not released within"
            f" {lock_wait_s:g} s: wait for that process or end it, then run again"
            " (to look at data, open energy.duckdb instead: it is never locked)."
        ) from error
    # Jitter, so that several waiting processes do not ask in step.
    time.sleep(min(pause_s * random.uniform(0.5, 1.5), max(deadline - time.monotonic(), 0.001)))
    return min(pause_s * 2, _LONGEST_PAUSE_S)


def _holder(message: str) -> str:
    found = _HOLDER.search(message)
    if found is None:
        return "another process"
    command = _command(int(found["pid"])) or found["program"]
    return f"process {found['pid']} ({command})" if command else f"process {found['pid']}"


def _command(pid: int) -> str:
    """Return the start of a process's command line, up to the first option that may be secret."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    shown: list[str] = []
    for word in words:
        # What follows an option may be secret; `-m` names a module.
        if word.startswith("-") and word != "-m":
            break
        shown.append(" ".join(word.split()))
    return " ".join(shown).strip()[:_SHOWN_COMMAND]


def _sentence(path: Path, error: duckdb.Error) -> str:
    text = " ".join(str(error).split())[:500]
    if "No space left on device" in text:
        return (
            f"The disk of {path} is full: free some space and run again;"
            " what was committed before is still there."
        )
    if "does not exist" in text and not path.exists():
        return f"There is no warehouse at {path}: run `energy-etl init` or load something first."
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"{path}: the memory was not enough ({text}): take a shorter range and run again."
    if (
        "not a valid DuckDB" in text
        or "Corrupt database file" in text
        or isinstance(error, duckdb.SerializationException)
    ):
        return (
            f"{path} is no DuckDB file that this version can read ({text}): move it away and"
            " restore an export with `energy-etl import`, or update duckdb when a newer version"
            " wrote it."
        )
    return (
        f"{path}: DuckDB refused the statement ({text}): run again, and report it if it stays so."
    )
