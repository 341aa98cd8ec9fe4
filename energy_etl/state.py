"""`state.sqlite`: what processes must agree on. Changed windows, facts; the outbox stands here too.

Marks are level-triggered: an extraction marks the windows it is about to change BEFORE it commits
its rows, a sensor asks whether any are left, and the run that has used them clears those that it
read. One mark too many costs a repeated computation, one too few would lose data.

Not here: energy data (`warehouse/`), packets (`delivery/outbox.py` makes its own tables through
`connect`). Instants are stored as whole microseconds since 1970 UTC: exact, sortable, no zones.
"""

import contextlib
import re
import shutil
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
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
    with _in_our_words(path):
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
        with _in_our_words(path):
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
    with _in_our_words(path_of(connection)):
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


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch [from_at, to_at) of one register whose readings changed, and through whom."""

    register_id: str
    from_at: datetime
    to_at: datetime
    vendor: str


@dataclass(frozen=True, slots=True)
class Mark(Window):
    """A window that was marked for a stage; `mark_id` grows with time."""

    mark_id: int
    stage: str
    marked_at: datetime


@dataclass(frozen=True, slots=True)
class MarkSummary:
    """All open marks of a stage in one line: what a sensor needs."""

    n_marks: int
    n_registers: int
    from_at: datetime
    to_at: datetime
    last_mark_id: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long a stage has had open marks: what somebody who looks for a fault needs."""

    stage: str
    n_marks: int
    n_registers: int
    oldest_at: datetime


class Marks:
    """The changed windows per stage (`core`, ...): written before the data, cleared after use."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Work on a connection of `connect`."""
        self._connection = connection

    def mark(self, stage: str, windows: Iterable[Window], marked_at: datetime | None = None) -> int:
        """Mark windows, durable on return, and return how many; to be called BEFORE the commit."""
        marked_us = instant_to_us(marked_at or datetime.now(UTC))
        rows = [
            (stage, w.register_id, instant_to_us(w.from_at), instant_to_us(w.to_at), w.vendor)
            for w in windows
        ]
        if rows:
            with transaction(self._connection) as connection:
                connection.executemany(
                    "INSERT INTO mark (stage, register_id, from_us, to_us, vendor, marked_us) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    [(*row, marked_us) for row in rows],
                )
        return len(rows)

    def windows(self, stage: str) -> list[Mark]:
        """Return the open marks of a stage, oldest first."""
        rows = self._connection.execute(
            "SELECT register_id, from_us, to_us, vendor, mark_id, stage, marked_us FROM mark "
            "WHERE stage = ? ORDER BY mark_id",
            (stage,),
        )
        return [
            Mark(
                register_id=row[0],
                from_at=us_to_instant(row[1]),
                to_at=us_to_instant(row[2]),
                vendor=row[3],
                mark_id=row[4],
                stage=row[5],
                marked_at=us_to_instant(row[6]),
            )
            for row in rows
        ]

    def summary(self, stage: str) -> MarkSummary | None:
        """Return the open marks of a stage as one line, None when there are none."""
        n_marks, n_registers, from_us, to_us, last = self._connection.execute(
            "SELECT count(*), count(DISTINCT register_id), min(from_us), max(to_us), max(mark_id) "
            "FROM mark WHERE stage = ?",
            (stage,),
        ).fetchone()
        if not n_marks:
            return None
        return MarkSummary(n_marks, n_registers, us_to_instant(from_us), us_to_instant(to_us), last)

    def waiting(self) -> list[Waiting]:
        """Return each stage that has open marks, by name."""
        rows = self._connection.execute(
            "SELECT stage, count(*), count(DISTINCT register_id), min(marked_us) FROM mark "
            "GROUP BY stage ORDER BY stage"
        )
        return [
            Waiting(stage, n_marks, n_registers, us_to_instant(oldest_us))
            for stage, n_marks, n_registers, oldest_us in rows
        ]

    def clear(
        self, stage: str, up_to_mark_id: int, register_ids: Collection[str] | None = None
    ) -> int:
        """Delete the marks of a stage up to an id that was read, and return how many.

        Marks written since then stay. With `register_ids` only those registers are cleared (one
        that failed keeps its marks).
        """
        with transaction(self._connection) as connection:
            if register_ids is None:
                cursor = connection.execute(
                    "DELETE FROM mark WHERE stage = ? AND mark_id <= ?", (stage, up_to_mark_id)
                )
                return cursor.rowcount
            cursor = connection.executemany(
                "DELETE FROM mark WHERE stage = ? AND mark_id <= ? AND register_id = ?",
                [(stage, up_to_mark_id, register_id) for register_id in set(register_ids)],
            )
            return max(cursor.rowcount, 0)


def get_fact(connection: sqlite3.Connection, name: str) -> str | None:
    """Return a fact that was set, None when it never was."""
    row = connection.execute("SELECT fact FROM fact WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def set_fact(connection: sqlite3.Connection, name: str, fact: str) -> None:
    """Set a fact (`demo_now`, ...), durable on return."""
    with transaction(connection):
        connection.execute(
            "INSERT INTO fact (name, fact) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET fact = excluded.fact",
            (name, fact),
        )


@contextlib.contextmanager
def _in_our_words(path: Path | str) -> Iterator[None]:
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


def give_back_space(path: Path, *, worth_it: float = 0.2, wait_s: float = BUSY_TIMEOUT_S) -> int:
    """Write a SQLite file anew when enough of it is free; return the bytes that the disk got back.

    Whoever writes meanwhile waits, or is waited for; killed, it leaves the file as it was.

    Args:
        path: any SQLite file; one that is not there has nothing to give.
        worth_it: least share of free pages; 0: in any case, and nothing deleted can be read in it.
        wait_s: how long to wait for others.

    Raises:
        WarehouseLockedError: others held the file for longer than wait_s; it is as it was.
        WarehouseError: it is no SQLite file, or the disk is full.
    """
    if not path.exists():
        return 0
    before = path.stat().st_size
    with _in_our_words(path):
        connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None)
        try:
            n_pages, n_free = (
                connection.execute(f"PRAGMA {what}").fetchone()[0]
                for what in ("page_count", "freelist_count")
            )
            if n_free < worth_it * n_pages or not n_pages:
                return 0
            connection.execute("VACUUM")
            # In WAL mode the new pages are in the log until now, and the old ones in the file.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
    return before - path.stat().st_size


def copy_state(path: Path, target: Path) -> None:
    """Write a consistent copy of a state file that others may write meanwhile.

    Raises:
        WarehouseLockedError: somebody held the file for too long.
        WarehouseError: it is no SQLite file, or the disk is full.
    """
    with _in_our_words(path), contextlib.closing(sqlite3.connect(path)) as source:
        _back_up(source, target)


def restore_state(copy: Path, path: Path) -> None:
    """Make the state file what a copy says, whole or not at all.

    Raises:
        WarehouseLockedError: somebody held the file for too long; it is as it was.
        WarehouseError: the copy is no SQLite file, or the disk is full.
    """
    # Immutable: a copy that is looked at stays as it is, and needs no log beside it.
    address = f"{copy.resolve().as_uri()}?mode=ro&immutable=1"
    with _in_our_words(copy), contextlib.closing(sqlite3.connect(address, uri=True)) as source:
        _back_up(source, path)


def _back_up(source: sqlite3.Connection, target: Path) -> None:
    with _in_our_words(target):
        connection = sqlite3.connect(target, timeout=BUSY_TIMEOUT_S)
        try:
            source.backup(connection)
        finally:
            connection.close()


def find_damage(path: Path, *, max_s: float) -> str | None:
    """Return what SQLite finds wrong in the file, None when nothing (or not in the time given).

    The file is not changed, nor made where it is missing.

    Raises:
        WarehouseLockedError: another process holds the whole file.
        WarehouseError: it is no SQLite file, or cannot be opened.
    """
    deadline = time.monotonic() + max_s
    with _in_our_words(path):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=max_s)
        try:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            (first,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                raise
            return None
        finally:
            connection.close()
    return None if first == "ok" else str(first)


def rows_as_text(path: Path) -> Iterator[str]:
    """Yield each row of any SQLite file, with what is in its log only, a line per cell.

    Raises:
        WarehouseLockedError: another process holds the whole file.
        WarehouseError: it is no SQLite file, or damaged.
    """
    with _in_our_words(path):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            connection.text_factory = _text
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in tables.fetchall():
                quoted = table.replace('"', '""')
                # The file tells which tables it has.
                for row in connection.execute(f'SELECT * FROM "{quoted}"'):  # noqa: S608
                    yield "\n".join(
                        _text(cell) if isinstance(cell, bytes) else str(cell) for cell in row
                    )
        finally:
            connection.close()


def _text(cell: bytes) -> str:
    return cell.decode("utf-8", "replace")


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
