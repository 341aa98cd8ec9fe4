"""Writing the warehouse's file anew, so that the disk gets back what deleted rows took.

DuckDB uses freed blocks again but seldom makes a file smaller, and what was deleted can still be
read in them. The copy takes the file's place in one step, while the lock on the old one is held;
whoever opened the old one a moment before looks again (`connection.py`).
"""

import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from energy_etl.errors import WarehouseError
from energy_etl.warehouse.connection import opened_as_source
from energy_etl.warehouse.generation import flush
from energy_etl.warehouse.sql import fill, literal, run

# Of the file's blocks; below it the next weeks fill what is free.
WORTH_IT: Final = 0.2
_PREFIX: Final = ".compacting-"


@dataclass(frozen=True)
class Compaction:
    """What it did: the file's size before and after; `is_done` False: it was not worth it."""

    is_done: bool
    bytes_before: int
    bytes_after: int


def compact(
    path: Path, *, lock_wait_s: float, deleted_bytes: int = 0, worth_it: float = WORTH_IT
) -> Compaction:
    """Write the file anew when enough of it is free.

    A gigabyte takes about ten seconds, and runs wait meanwhile. Killed, it leaves the old file.

    Args:
        path: the writer's file.
        lock_wait_s: how long to wait for whoever holds it.
        deleted_bytes: what was deleted just now: blocks with a row left in them are not free.
        worth_it: least share of the file that is free or deleted; 0: in any case.

    Raises:
        WarehouseLockedError: somebody else held the file for too long.
        WarehouseError: there is no room for the copy.
    """
    path = path.resolve()
    copy = path.with_name(f"{_PREFIX}{uuid.uuid4().hex[:8]}.duckdb")
    try:
        with opened_as_source(path, lock_wait_s=lock_wait_s, is_read_only=False) as connection:
            for leftover in path.parent.glob(f"{_PREFIX}*"):
                leftover.unlink()
            run(connection, "CHECKPOINT source")
            size = path.stat().st_size
            if not _is_worth_it(connection, deleted_bytes, worth_it):
                return Compaction(False, size, size)
            _refuse_no_room(path, size)
            run(connection, fill("ATTACH $path AS compacted", path=literal(str(copy))))
            run(connection, "COPY FROM DATABASE source TO compacted")
            run(connection, "CHECKPOINT compacted")
            os.replace(copy, path)
            flush([path.parent])
            # This one first: until the connection is closed the lock on the copy keeps others off,
            # whose write-ahead log the old file would take for its own.
            run(connection, "DETACH source")
    finally:
        for leftover in (copy, copy.with_name(copy.name + ".wal")):
            leftover.unlink(missing_ok=True)
    return Compaction(True, size, path.stat().st_size)


def _is_worth_it(connection: duckdb.DuckDBPyConnection, deleted_bytes: int, share: float) -> bool:
    ((block_bytes, n_blocks, n_free),) = run(
        connection,
        "SELECT block_size, total_blocks, free_blocks FROM pragma_database_size()"
        " WHERE database_name = 'source'",
    )
    return n_free * block_bytes + deleted_bytes >= share * n_blocks * block_bytes


def _refuse_no_room(path: Path, size: int) -> None:
    room = shutil.disk_usage(path.parent).free
    if room < size:
        raise WarehouseError(
            f"The disk of {path} has {room >> 20} MiB free, and writing the file anew may take "
            f"{size >> 20} MiB: free some space and run again; nothing was lost."
        )
