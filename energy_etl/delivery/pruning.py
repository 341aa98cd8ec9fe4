"""Old packets and answers out of the outbox, and what must stay there all the same.

Only packets that a read-back confirmed go, oldest first, and never:

* the last confirmed one of a stream and what is behind it: the vendor's last packet is compared
  with it before anything is sent;
* one that an offset rests on (the newest with its field): else a counter could fall;
* any of a stream that takes older packets after newer ones: a hole may still be filled there.

What went is remembered as one stamp per stream, and a trigger keeps whatever is computed of before
it out: it would be held for ever, as if it had never been sent. Corrections stay.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from sqlite3 import Connection
from typing import Final

from energy_etl.delivery.outbox import Outbox
from energy_etl.state import instant_to_us, transaction, us_to_instant

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS pruned (
        stream_id TEXT PRIMARY KEY, up_to_ms INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TRIGGER IF NOT EXISTS packet_was_pruned BEFORE INSERT ON packet
        WHEN NEW.stamped_ms <= (SELECT up_to_ms FROM pruned WHERE stream_id = NEW.stream_id)
        BEGIN SELECT RAISE(IGNORE); END""",
)
# So much at once: acknowledgements of a send run wait for each transaction.
_BATCH: Final = 5_000
_OLD: Final = (
    "FROM packet WHERE stream_id = :stream_id AND stamped_ms <= :up_to_ms "
    "AND confirmed_us < :before_us AND state IN ('confirmed', 'superseded')"
)
_COUNT_OLD: Final = " ".join(("SELECT count(*), min(stamped_ms), max(stamped_ms)", _OLD))
_NEXT_OLD: Final = " ".join(("SELECT stamped_ms", _OLD, "ORDER BY stamped_ms LIMIT :batch"))


@dataclass(frozen=True, slots=True)
class OldRows:
    """Rows that may go: how many, and the instants of the first and the last; None: none."""

    n_rows: int
    first_at: datetime | None
    last_at: datetime | None


def old_packets(outbox: Outbox, before: datetime) -> OldRows:
    """Count the packets that were confirmed before an instant and may go, by their stamps."""
    n_rows, stamps = 0, []
    for stream_id, up_to_ms in _limits(outbox):
        arguments = _arguments(stream_id, up_to_ms, before)
        n, first_ms, last_ms = outbox.connection.execute(_COUNT_OLD, arguments).fetchone()
        if n:
            n_rows += n
            stamps += [first_ms, last_ms]
    return _rows(n_rows, *((min(stamps) * 1000, max(stamps) * 1000) if stamps else (None, None)))


def old_responses(outbox: Outbox, before: datetime) -> OldRows:
    """Count the vendor's answers to packets that were posted before an instant."""
    return _rows(
        *outbox.connection.execute(
            "SELECT count(*), min(posted_us), max(posted_us) FROM response WHERE posted_us < ?",
            (instant_to_us(before),),
        ).fetchone()
    )


def prune_packets(outbox: Outbox, before: datetime) -> int:
    """Delete the packets that `old_packets` counts and return how many; safe to be killed in."""
    connection = outbox.connection
    for statement in _SCHEMA:
        connection.execute(statement)
    return sum(
        n_deleted
        for stream_id, up_to_ms in _limits(outbox)
        for n_deleted in _batches(connection, _arguments(stream_id, up_to_ms, before))
    )


def prune_responses(outbox: Outbox, before: datetime) -> int:
    """Delete the answers that `old_responses` counts and return how many."""
    n_deleted = 0
    while True:
        with transaction(outbox.connection) as connection:
            n_batch = connection.execute(
                "DELETE FROM response WHERE response_id IN (SELECT response_id FROM response "
                "WHERE posted_us < ? LIMIT ?)",
                (instant_to_us(before), _BATCH),
            ).rowcount
        n_deleted += n_batch
        if n_batch < _BATCH:
            return n_deleted


def _limits(outbox: Outbox) -> Iterator[tuple[str, int]]:
    """Yield each stream of which packets may go, and the newest stamp that may."""
    rests_on: dict[str, datetime] = {}
    for stream_id, used_to_at in outbox.offsets()["stream_id", "used_to_at"].iter_rows():
        if used_to_at is not None:
            rests_on[stream_id] = min(used_to_at, rests_on.get(stream_id, used_to_at))
    for state in outbox.streams():
        if state.is_historical or state.last_confirmed_ms is None:
            continue
        needed_ms = state.last_confirmed_ms
        if state.stream_id in rests_on:
            needed_ms = min(needed_ms, instant_to_us(rests_on[state.stream_id]) // 1000)
        yield state.stream_id, needed_ms - 1


def _batches(connection: Connection, arguments: dict[str, object]) -> Iterator[int]:
    while True:
        with transaction(connection):
            stamps = [
                row[0] for row in connection.execute(_NEXT_OLD, {**arguments, "batch": _BATCH})
            ]
            if stamps:
                connection.execute(
                    "INSERT INTO pruned VALUES (?1, ?2) ON CONFLICT (stream_id) DO UPDATE "
                    "SET up_to_ms = max(up_to_ms, ?2)",
                    (arguments["stream_id"], stamps[-1]),
                )
                connection.executemany(
                    "DELETE FROM packet WHERE stream_id = ? AND stamped_ms = ?",
                    [(arguments["stream_id"], stamp) for stamp in stamps],
                )
        yield len(stamps)
        if len(stamps) < _BATCH:
            return


def _arguments(stream_id: str, up_to_ms: int, before: datetime) -> dict[str, object]:
    return {"stream_id": stream_id, "up_to_ms": up_to_ms, "before_us": instant_to_us(before)}


def _rows(n_rows: int, first_us: int | None, last_us: int | None) -> OldRows:
    first_at, last_at = (None if us is None else us_to_instant(us) for us in (first_us, last_us))
    return OldRows(n_rows, first_at, last_at)
