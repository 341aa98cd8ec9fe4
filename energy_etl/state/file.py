"""The file: opened the same way everywhere, one transaction at a time, errors in our words.

Instants are stored as whole microseconds since 1970 UTC: exact, sortable, no zones.
"""

import contextlib
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from energy_etl.errors import EnergyEtlError, WarehouseError, WarehouseLockedError

BUSY_TIMEOUT_S: Final = 30.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_WAL_WRITE_LOCK: Final = 120
_LEAST_FREE_BYTES: Final = 128 * 1024
_SCHEMA: Final = (
    # AUTOINCREMENT: an id is never given twice, so clearing up to an id that was read can never
    # take a mark that came later.
    """CREATE TABLE IF NOT EXISTS mark (
        mark_id INTEGER PRIMARY KEY AUTOINCREMENT, stage TEXT NOT NULL, register_id TEXT NOT NULL,
        from_us INTEGER NOT NULL, to_us INTEGER NOT NULL, vendor TEXT NOT NULL,
        marked_us INTEGER NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS mark_by_stage ON mark (stage, mark_id)",
    "CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, fact TEXT NOT NULL)",
)


def instant_to_us(instant: datetime) -> int:
    """Return whole microseconds since 1970 UTC; a naive datetime is a ValueError."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no zone: an instant is an aware datetime")
    return (instant - _EPOCH) // _MICROSECOND


def us_to_instant(instant_us: int) -> datetime:
    """Return the aware UTC datetime of whole microseconds since 1970."""
    return _EPOCH + instant_us * _MICROSECOND


def connect(path: Path | str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """Open (and create) the state file: WAL, full sync, autocommit.

    A connection belongs to the thread that opened it. Writes of several statements go through
    `transaction`. The caller closes it.

    Raises:
        WarehouseLockedError: somebody held the file for longer than busy_timeout_s.
        WarehouseError: the file cannot be opened or is no SQLite file.
    """
    with in_our_words(path):
        connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
        try:
            _switch_to_wal(connection, busy_timeout_s)
            connection.execute("PRAGMA synchronous=FULL")
            for statement in _SCHEMA:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def open_state(path: Path | str) -> Iterator[sqlite3.Connection]:
    """`connect`, and close at the end; what SQLite refuses meanwhile is told in our words too.

    Raises:
        WarehouseLockedError: somebody held the file for too long.
        WarehouseError: the file cannot be opened, is damaged, or its disk is full.
    """
    connection = connect(path)
    try:
        with in_our_words(path):
            yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Everything within, or nothing; holds the write lock from its start.

    Raises:
        WarehouseLockedError: another process held the write lock for too long; nothing was written.
        WarehouseError: the disk is full or the file is damaged; nothing was written.
    """
    with in_our_words(path_of(connection)):
        # IMMEDIATE: a transaction that reads first and writes later cannot be refused half-way.
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # A full disk ends the transaction by itself; a second ROLLBACK would hide the cause.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def path_of(connection: sqlite3.Connection) -> str:
    """Return the file behind a connection."""
    return connection.execute("PRAGMA database_list").fetchone()[2]


@contextlib.contextmanager
def in_our_words(path: Path | str) -> Iterator[None]:
    """Tell what SQLite refuses of a file as one of our errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(error, path) from error


def _translated(error: sqlite3.Error, path: Path | str) -> EnergyEtlError:
    reason = str(error)
    if "locked" in reason or "busy" in reason:
        return WarehouseLockedError(
            f"{path} is being written by another process{_writer(path)} ({reason}): "
            "nothing was written, run again when that process has ended."
        )
    # Without room for its shared memory SQLite speaks of an I/O error.
    if "full" in reason or ("I/O" in reason and not _has_room(path)):
        return WarehouseError(
            f"The disk of {path} is full ({reason}): nothing was written, make room and run again."
        )
    return WarehouseError(
        f"{path} cannot be used as the state file ({reason}): "
        "check the path and its rights, or restore the file from a copy."
    )


def writer_pid(path: Path | str) -> int | None:
    """Return the process that holds the write lock; None: nobody, or the kernel does not tell."""
    try:
        inode = Path(f"{path}-shm").stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return None
    # In WAL mode it is byte 120 of the shared memory: `.. WRITE <pid> <device>:<inode> 120 ..`.
    found = re.search(rf" WRITE (\d+) \S+:{inode} {_WAL_WRITE_LOCK} ", locks)
    return int(found.group(1)) if found else None


def _writer(path: Path | str) -> str:
    """Name the process that holds the write lock, where the kernel tells; else nothing."""
    pid = writer_pid(path)
    return f", {pid}," if pid is not None else ""


def _has_room(path: Path | str) -> bool:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(Path(path).parent).free >= _LEAST_FREE_BYTES
    return True


def _switch_to_wal(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    # SQLite does not wait for its busy time-out when two processes make the same new file WAL.
    deadline = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
