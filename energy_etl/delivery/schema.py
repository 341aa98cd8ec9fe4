"""The outbox's tables in `state.sqlite`, and how those of an earlier version get what is new.

Instants are whole milliseconds (stamps of packets) or microseconds (our own) of 1970 UTC.
"""

import sqlite3
from typing import Final

_SCHEMA: Final = (
    # stamped_ms: packets are stamped in milliseconds. body_before: the body that a pending packet
    # had before a fill changed it; it may be the one in flight. is_estimated: no reading stands
    # behind it yet. is_incomplete: fields are missing in it that may still come.
    """CREATE TABLE IF NOT EXISTS packet (
        stream_id TEXT NOT NULL, stamped_ms INTEGER NOT NULL, body TEXT NOT NULL,
        state TEXT NOT NULL, hold_reason TEXT, is_withdrawn INTEGER NOT NULL DEFAULT 0,
        is_estimated INTEGER NOT NULL DEFAULT 0, is_incomplete INTEGER NOT NULL DEFAULT 0,
        n_attempts INTEGER NOT NULL DEFAULT 0, status INTEGER, error TEXT, body_before TEXT,
        filled_us INTEGER NOT NULL, sent_us INTEGER, confirmed_us INTEGER,
        PRIMARY KEY (stream_id, stamped_ms)) WITHOUT ROWID""",
    # Every question is "the packets of one state of one stream in order".
    "CREATE INDEX IF NOT EXISTS packet_by_state ON packet (state, stream_id, stamped_ms)",
    """CREATE TABLE IF NOT EXISTS correction (
        stream_id TEXT NOT NULL, stamped_ms INTEGER NOT NULL, body_sent TEXT NOT NULL,
        body_now TEXT NOT NULL, noticed_us INTEGER NOT NULL,
        PRIMARY KEY (stream_id, stamped_ms, body_now)) WITHOUT ROWID""",
    # is_sending: a drain has begun and it is not known how it ended (it runs, or it was killed).
    # retry_us, n_failures: when the sensor may ask again after a failed drain (a drain that
    # somebody starts tries at once). release_us: when the oldest held packet has waited enough.
    # refused_by: fingerprint of the credential that was refused when it was parked; another one
    # unparks it. is_historical: the vendor takes packets behind the last one.
    """CREATE TABLE IF NOT EXISTS stream (
        stream_id TEXT PRIMARY KEY, credential TEXT NOT NULL, released_ms INTEGER,
        last_sent_ms INTEGER, last_confirmed_ms INTEGER, parked_reason TEXT, parked_us INTEGER,
        retry_us INTEGER, n_failures INTEGER NOT NULL DEFAULT 0, failure TEXT,
        release_us INTEGER, is_sending INTEGER NOT NULL DEFAULT 0, refused_by TEXT,
        is_historical INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS stream_offset (
        stream_id TEXT NOT NULL, field TEXT NOT NULL, from_ms INTEGER NOT NULL,
        offset_wh REAL NOT NULL, is_frozen INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (stream_id, field, from_ms)) WITHOUT ROWID""",
    # AUTOINCREMENT: an id is never given twice, so whoever read up to one has seen all before it.
    """CREATE TABLE IF NOT EXISTS response (
        response_id INTEGER PRIMARY KEY AUTOINCREMENT, stream_id TEXT NOT NULL,
        stamped_ms INTEGER NOT NULL, posted_us INTEGER NOT NULL, seconds REAL NOT NULL,
        status INTEGER, text TEXT)""",
)
_INCOMING: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS incoming (stream_id TEXT NOT NULL, stamped_ms INTEGER "
    "NOT NULL, body TEXT NOT NULL, is_estimated INTEGER NOT NULL, is_incomplete INTEGER NOT NULL, "
    "PRIMARY KEY (stream_id, stamped_ms)) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS whole (stream_id TEXT PRIMARY KEY) WITHOUT ROWID",
)
# Columns that came later, with what they are in rows of before.
_ADDED: Final = {
    "packet": ("is_incomplete INTEGER NOT NULL DEFAULT 0",),
    "stream": ("refused_by TEXT", "is_historical INTEGER NOT NULL DEFAULT 0"),
}


def create_tables(connection: sqlite3.Connection) -> None:
    """Make what is missing; the same again changes nothing."""
    connection.execute("PRAGMA temp_store=MEMORY")
    for statement in (*_SCHEMA, *_INCOMING):
        connection.execute(statement)
    for table, columns in _ADDED.items():
        there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for column in columns:
            if column.split()[0] not in there:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
