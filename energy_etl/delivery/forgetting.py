"""Streams out of the outbox for good, and single fields out of the packets of others.

To be done under the lease (`lease.py`): a packet on its way would come back with its answer.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Final

from energy_etl.delivery.outbox import Outbox
from energy_etl.state import transaction

# The record of what was sent loses the number as well: it is what is to be forgotten.
_FIELD_OUT: Final = (
    "UPDATE packet SET body = json_remove(body, :path), "
    "body_before = json_remove(body_before, :path) "
    "WHERE stream_id = :stream_id AND json_type(body, :path) IS NOT NULL",
    "UPDATE OR REPLACE correction SET body_sent = json_remove(body_sent, :path), "
    "body_now = iif(body_now = '', '', json_remove(body_now, :path)) WHERE stream_id = :stream_id",
    "DELETE FROM correction WHERE stream_id = :stream_id AND body_sent = body_now",
)


@dataclass(frozen=True, slots=True)
class OutboxPart:
    """What of the outbox tells one thing: whole streams, and fields in packets of others."""

    stream_ids: frozenset[str]
    fields: frozenset[tuple[str, str]]


def count_packets(outbox: Outbox, part: OutboxPart) -> Mapping[str, int]:
    """Return how many packets each stream has."""
    ids = sorted({*part.stream_ids, *(stream_id for stream_id, _ in part.fields)})
    return {
        stream_id: outbox.connection.execute(
            "SELECT count(*) FROM packet WHERE stream_id = ?", (stream_id,)
        ).fetchone()[0]
        for stream_id in ids
    }


def forget(outbox: Outbox, part: OutboxPart, register_ids: Collection[str]) -> None:
    """Delete streams, fields of others' packets, and the marks of registers; all or nothing."""
    with transaction(outbox.connection) as connection:
        # What is deleted is overwritten, so that nobody can read it in the file.
        connection.execute("PRAGMA secure_delete = ON")
        for table, columns in _tables(connection).items():
            # Whatever table it is that keeps something by stream or by register.
            for column, ids in (("stream_id", part.stream_ids), ("register_id", register_ids)):
                if column in columns:
                    # Names of this program's own tables.
                    statement = f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608
                    connection.executemany(statement, [(each,) for each in ids])
        for stream_id, field in part.fields:
            for statement in _FIELD_OUT:
                connection.execute(statement, {"stream_id": stream_id, "path": f"$.{field}"})
            connection.execute(
                "DELETE FROM stream_offset WHERE stream_id = ? AND field = ?", (stream_id, field)
            )
        # The mirror is shown anew as a whole: what it shows of the streams is not right any more.
        connection.execute("DELETE FROM mirror")


def _tables(connection: Connection) -> dict[str, set[str]]:
    """Return the columns of each table."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    return {
        name: {row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')}
        for (name,) in names
    }
