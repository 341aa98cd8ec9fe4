"""`Marks`: the changed windows, level-triggered.

An extraction marks the windows it is about to change BEFORE it commits its rows, a sensor asks
whether any are left, and the run that has used them clears those that it read. One mark too many
costs a repeated computation, one too few would lose data.
"""

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from energy_etl.state.file import instant_to_us, transaction, us_to_instant


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
