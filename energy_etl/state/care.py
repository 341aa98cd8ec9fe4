"""Care of SQLite files, the state file and Dagster's: space, copies, damage, what they hold."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from energy_etl.state.file import BUSY_TIMEOUT_S, in_our_words


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
    with in_our_words(path):
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
    with in_our_words(path), contextlib.closing(sqlite3.connect(path)) as source:
        _back_up(source, target)


def restore_state(copy: Path, path: Path) -> None:
    """Make the state file what a copy says, whole or not at all.

    Raises:
        WarehouseLockedError: somebody held the file for too long; it is as it was.
        WarehouseError: the copy is no SQLite file, or the disk is full.
    """
    # Immutable: a copy that is looked at stays as it is, and needs no log beside it.
    address = f"{copy.resolve().as_uri()}?mode=ro&immutable=1"
    with in_our_words(copy), contextlib.closing(sqlite3.connect(address, uri=True)) as source:
        _back_up(source, path)


def _back_up(source: sqlite3.Connection, target: Path) -> None:
    with in_our_words(target):
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
    with in_our_words(path):
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
    with in_our_words(path):
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
