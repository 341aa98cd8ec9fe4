"""Streams out of the outbox for good, and single fields out of the packets of others.

To be done under the lease (`lease.py`): a packet on its way would come back with its answer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from energy_etl.delivery.outbox import Outbox
from energy_etl.state import transaction

_OF_A_STREAM: Final = ("packet", "correction", "response", "stream_offset", "stream")
# The record of what was sent loses the number as well: it is what is to be forgotten.
_FIELD_OUT: Final = (
    "UPDATE packet SET body = json_remove(body, ?2), body_before = json_remove(body_before, ?2) "
    "WHERE stream_id = ?1 AND json_type(body, ?2) IS NOT NULL",
    "UPDATE OR REPLACE correction SET body_sent = json_remove(body_sent, ?2), "
    "body_now = iif(body_now = '', '', json_remove(body_now, ?2)) WHERE stream_id = ?1",
    "DELETE FROM correction WHERE stream_id = ?1 AND body_sent = body_now",
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


def forget(outbox: Outbox, part: OutboxPart, register_ids: Iterable[str]) -> None:
    """Delete streams, fields of others' packets, and the marks of registers; all or nothing."""
    with transaction(outbox.connection) as connection:
        # What is deleted is overwritten, so that nobody can read it in the file.
        connection.execute("PRAGMA secure_delete = ON")
        tables = {
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        for stream_id in part.stream_ids:
            for table in (*_OF_A_STREAM, "pruned"):
                if table in tables:
                    # Names of this module.
                    statement = f"DELETE FROM {table} WHERE stream_id = ?"  # noqa: S608
                    connection.execute(statement, (stream_id,))
        for stream_id, field in part.fields:
            for statement in _FIELD_OUT:
                connection.execute(statement, (stream_id, f"$.{field}"))
            connection.execute(
                "DELETE FROM stream_offset WHERE stream_id = ? AND field = ?", (stream_id, field)
            )
        connection.executemany(
            "DELETE FROM mark WHERE register_id = ?", [(name,) for name in register_ids]
        )
        # The mirror is shown anew as a whole: what it shows of the streams is not right any more.
        connection.execute("DELETE FROM mirror")
