"""The outbox's tables in `state.sqlite`, and how those of an earlier version get what is new.

Instants are whole milliseconds (stamps of packets) or microseconds (our own) of 1970 UTC.
"""

import sqlite3
from typing import Final, Literal

from energy_etl.state import transaction

State = Literal["held", "pending", "sent", "confirmed", "rejected", "superseded", "dropped"]

NOT_RELEASED: Final = "not yet released"
BEHIND: Final = "behind the last packet sent: the vendor takes packets in chronological order only"
WITHDRAWN: Final = "withdrawn: its interval may no longer be delivered"

# Before every stamp.
EARLIEST_MS: Final = -(2**62)

# Why a packet waits, from what is known of it and its stream: written into each packet, a sentence
# that changes would rewrite a year of them. Needs `packet JOIN stream` and REASONS.
HOLD_REASON: Final = """CASE WHEN state <> 'held' THEN hold_reason
    WHEN is_withdrawn THEN :withdrawn
    WHEN stamped_ms <= last_sent_ms AND NOT is_historical THEN :behind
    ELSE coalesce(wait_reason, :not_released) END"""
REASONS: Final = {"withdrawn": WITHDRAWN, "behind": BEHIND, "not_released": NOT_RELEASED}

_SCHEMA: Final = (
    # stamped_ms: packets are stamped in milliseconds. body_before: the body that a sender read of
    # a pending packet before a fill changed it; it may be the one in flight. is_estimated: no
    # reading stands behind it yet. is_incomplete: fields are missing in it that may still come.
    # hold_reason: why it was dropped (why it is held: HOLD_REASON).
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
    # unparks it. others_ms: the vendor's last packet when it was parked because we had not sent
    # that. forgot_ms: the vendor's last packet when it was parked because what it had confirmed
    # behind that was gone (EARLIEST_MS: it had none). is_historical: the vendor takes packets
    # behind the last one. is_confirmable: it answers which packet came last. wait_reason: what its
    # held packets wait for. touched_ms: the oldest stamp that changed since the last mirroring
    # began; mirroring_ms: the same of a mirroring that is not known to be done.
    """CREATE TABLE IF NOT EXISTS stream (
        stream_id TEXT PRIMARY KEY, credential TEXT NOT NULL, released_ms INTEGER,
        last_sent_ms INTEGER, last_confirmed_ms INTEGER, parked_reason TEXT, parked_us INTEGER,
        retry_us INTEGER, n_failures INTEGER NOT NULL DEFAULT 0, failure TEXT,
        release_us INTEGER, is_sending INTEGER NOT NULL DEFAULT 0, refused_by TEXT,
        is_historical INTEGER NOT NULL DEFAULT 0, wait_reason TEXT, touched_ms INTEGER,
        mirroring_ms INTEGER, others_ms INTEGER, is_confirmable INTEGER NOT NULL DEFAULT 1,
        forgot_ms INTEGER) WITHOUT ROWID""",
    # fed_by: the register that it is added to; '': files; null: not known, of a version before.
    """CREATE TABLE IF NOT EXISTS stream_offset (
        stream_id TEXT NOT NULL, field TEXT NOT NULL, from_ms INTEGER NOT NULL,
        offset_wh REAL NOT NULL, is_frozen INTEGER NOT NULL DEFAULT 0, fed_by TEXT,
        PRIMARY KEY (stream_id, field, from_ms)) WITHOUT ROWID""",
    # since_us: when the stream was shown first; its first packet is not awaited before that.
    """CREATE TABLE IF NOT EXISTS watched (
        stream_id TEXT PRIMARY KEY, since_us INTEGER NOT NULL) WITHOUT ROWID""",
    # AUTOINCREMENT: an id is never given twice, so whoever read up to one has seen all before it.
    """CREATE TABLE IF NOT EXISTS response (
        response_id INTEGER PRIMARY KEY AUTOINCREMENT, stream_id TEXT NOT NULL,
        stamped_ms INTEGER NOT NULL, posted_us INTEGER NOT NULL, seconds REAL NOT NULL,
        status INTEGER, text TEXT)""",
    # One row: the newest mirroring that was begun, and the newest that is known to be done.
    """CREATE TABLE IF NOT EXISTS mirror (
        mirror_id INTEGER PRIMARY KEY CHECK (mirror_id = 1), begun TEXT, done TEXT)""",
)
# Triggers, because a statement that somebody adds cannot forget them. They cost one look into a
# small table per packet, a tenth of an acknowledgement. The long number is EARLIEST_MS.
_TRIGGERS: Final = (
    """CREATE TRIGGER IF NOT EXISTS packet_touched_by_insert AFTER INSERT ON packet
        WHEN NEW.stamped_ms < (SELECT coalesce(touched_ms, 4611686018427387904) FROM stream
            WHERE stream_id = NEW.stream_id)
        BEGIN UPDATE stream SET touched_ms = NEW.stamped_ms WHERE stream_id = NEW.stream_id; END""",
    """CREATE TRIGGER IF NOT EXISTS packet_touched_by_update AFTER UPDATE ON packet
        WHEN NEW.stamped_ms < (SELECT coalesce(touched_ms, 4611686018427387904) FROM stream
            WHERE stream_id = NEW.stream_id)
        BEGIN UPDATE stream SET touched_ms = NEW.stamped_ms WHERE stream_id = NEW.stream_id; END""",
    """CREATE TRIGGER IF NOT EXISTS packet_touched_by_delete AFTER DELETE ON packet
        WHEN OLD.stamped_ms < (SELECT coalesce(touched_ms, 4611686018427387904) FROM stream
            WHERE stream_id = OLD.stream_id)
        BEGIN UPDATE stream SET touched_ms = OLD.stamped_ms WHERE stream_id = OLD.stream_id; END""",
    """CREATE TRIGGER IF NOT EXISTS correction_touched_by_insert AFTER INSERT ON correction
        WHEN NEW.stamped_ms < (SELECT coalesce(touched_ms, 4611686018427387904) FROM stream
            WHERE stream_id = NEW.stream_id)
        BEGIN UPDATE stream SET touched_ms = NEW.stamped_ms WHERE stream_id = NEW.stream_id; END""",
    # Held packets tell another reason when their stream has passed them, or waits for something
    # else. (With IS NULL instead of the number the index would not be used.)
    """CREATE TRIGGER IF NOT EXISTS stream_passed AFTER UPDATE OF last_sent_ms ON stream
        WHEN NEW.last_sent_ms IS NOT OLD.last_sent_ms BEGIN
        UPDATE stream SET touched_ms = (SELECT min(stamped_ms) FROM packet WHERE state = 'held'
            AND packet.stream_id = NEW.stream_id AND stamped_ms <= NEW.last_sent_ms
            AND stamped_ms > coalesce(OLD.last_sent_ms, -4611686018427387904))
        WHERE stream_id = NEW.stream_id AND EXISTS (SELECT 1 FROM packet WHERE state = 'held'
            AND packet.stream_id = NEW.stream_id AND stamped_ms <= NEW.last_sent_ms
            AND stamped_ms > coalesce(OLD.last_sent_ms, -4611686018427387904)
            AND stamped_ms < coalesce(touched_ms, 4611686018427387904)); END""",
    """CREATE TRIGGER IF NOT EXISTS stream_waits AFTER UPDATE OF wait_reason, is_historical
        ON stream WHEN (NEW.wait_reason, NEW.is_historical)
        IS NOT (OLD.wait_reason, OLD.is_historical) BEGIN
        UPDATE stream SET touched_ms = (SELECT min(stamped_ms) FROM packet WHERE state = 'held'
            AND packet.stream_id = NEW.stream_id)
        WHERE stream_id = NEW.stream_id AND EXISTS (SELECT 1 FROM packet WHERE state = 'held'
            AND packet.stream_id = NEW.stream_id
            AND stamped_ms < coalesce(touched_ms, 4611686018427387904)); END""",
)
_INCOMING: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS incoming (stream_id TEXT NOT NULL, stamped_ms INTEGER "
    "NOT NULL, body TEXT NOT NULL, is_estimated INTEGER NOT NULL, is_incomplete INTEGER NOT NULL, "
    "PRIMARY KEY (stream_id, stamped_ms)) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS whole (stream_id TEXT PRIMARY KEY, from_ms INTEGER NOT NULL) "
    "WITHOUT ROWID",
    # Of what came in, what is not there like that; and what is there, but did not come in.
    "CREATE TEMP TABLE IF NOT EXISTS changed (stream_id TEXT NOT NULL, stamped_ms INTEGER "
    "NOT NULL, body TEXT NOT NULL, is_estimated INTEGER NOT NULL, is_incomplete INTEGER NOT NULL, "
    "PRIMARY KEY (stream_id, stamped_ms)) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS missing (stream_id TEXT NOT NULL, stamped_ms INTEGER "
    "NOT NULL, is_before_start INTEGER NOT NULL, PRIMARY KEY (stream_id, stamped_ms)) "
    "WITHOUT ROWID",
)
# Columns that came later, with what they are in rows of before.
_ADDED: Final = {
    "packet": ("is_incomplete INTEGER NOT NULL DEFAULT 0",),
    "stream": (
        "refused_by TEXT",
        "is_historical INTEGER NOT NULL DEFAULT 0",
        "wait_reason TEXT",
        "touched_ms INTEGER",
        "mirroring_ms INTEGER",
        "others_ms INTEGER",
        "is_confirmable INTEGER NOT NULL DEFAULT 1",
        "forgot_ms INTEGER",
    ),
    "stream_offset": ("fed_by TEXT",),
}
# Offsets once had no field: packets had one number each, and that was what they were for. Those of
# a stream without packets are computed anew with the next fill.
_OFFSETS_OF_FIELDS: Final = (
    "ALTER TABLE stream_offset RENAME TO stream_offset_before",
    next(statement for statement in _SCHEMA if "EXISTS stream_offset" in statement),
    """INSERT INTO stream_offset SELECT stream_id, field, from_ms, offset_wh, is_frozen, NULL
        FROM stream_offset_before JOIN (
            SELECT stream_id, (SELECT key FROM json_each(body) WHERE type IN ('integer', 'real'))
            AS field FROM packet JOIN (SELECT stream_id, max(stamped_ms) AS stamped_ms FROM packet
            GROUP BY stream_id) USING (stream_id, stamped_ms)
        ) USING (stream_id) WHERE field IS NOT NULL""",
    "DROP TABLE stream_offset_before",
)


def create_tables(connection: sqlite3.Connection) -> None:
    """Make what is missing; the same again changes nothing."""
    connection.execute("PRAGMA temp_store=MEMORY")
    for statement in (*_SCHEMA, *_INCOMING):
        connection.execute(statement)
    for table, columns in _ADDED.items():
        there = _columns(connection, table)
        for column in columns:
            if column.split()[0] not in there:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    if "field" not in _columns(connection, "stream_offset"):
        with transaction(connection):
            # Asked again under the lock: another process may have done it meanwhile.
            if "field" not in _columns(connection, "stream_offset"):
                for statement in _OFFSETS_OF_FIELDS:
                    connection.execute(statement)
    for statement in _TRIGGERS:
        connection.execute(statement)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
