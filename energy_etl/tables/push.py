"""Layer `push`: the stream map, packets and their state, delivery per stream.

The outbox itself lives in `state.sqlite` (delivery/outbox.py); these are its mirror for people.
"""

from typing import Final

from energy_etl.tables.model import Column, Table

STREAM: Final = Table(
    schema="push",
    name="stream",
    description="One stream at Wattics and the register that feeds it.",
    columns=(
        Column("stream_id", "text", "The id agreed with Wattics.", is_nullable=False),
        Column("register_id", "text", "The register that feeds it.", is_nullable=False),
        Column("field", "text", "Field of the packet: pC_1, value, ...", is_nullable=False),
        Column("content", "text", "cumulative_wh, interval or sample.", is_nullable=False),
        Column("interval_minutes", "int", "Agreed spacing of its packets.", is_nullable=False),
        Column("credential", "text", "Name of the credential set that may push it.", False),
        Column("push_from_at", "instant", "No packet is stamped before this."),
    ),
    key=("stream_id",),
)

PACKET: Final = Table(
    schema="push",
    name="packet",
    description="One packet of a stream and what became of it.",
    columns=(
        Column("stream_id", "text", "The stream.", is_nullable=False),
        Column("stamped_at", "instant", "The instant in its time stamp.", is_nullable=False),
        Column("body", "text", "The JSON that is sent.", is_nullable=False),
        Column("state", "text", "held, pending, sent, confirmed, rejected or superseded.", False),
        Column("hold_reason", "text", "Why it waits; null when it does not."),
        Column("n_attempts", "int", "Times it was posted.", is_nullable=False, is_bookkeeping=True),
        Column("status", "int", "HTTP status of the last attempt."),
        Column("error", "text", "Why the last attempt failed."),
        Column("filled_at", "instant", "When it came into the outbox.", is_bookkeeping=True),
        Column("sent_at", "instant", "When it was accepted.", is_bookkeeping=True),
        Column("confirmed_at", "instant", "When a read-back confirmed it.", is_bookkeeping=True),
    ),
    key=("stream_id", "stamped_at"),
    time_column="stamped_at",
)

CORRECTION: Final = Table(
    schema="push",
    name="correction",
    description="One changed value behind a packet that had been sent: told, never sent.",
    columns=(
        Column("stream_id", "text", "The stream.", is_nullable=False),
        Column("stamped_at", "instant", "The instant of the packet.", is_nullable=False),
        Column("body_sent", "text", "What was sent.", is_nullable=False),
        Column("body_now", "text", "What would be sent today.", is_nullable=False),
        Column("noticed_at", "instant", "When it was noticed.", False, is_bookkeeping=True),
    ),
    key=("stream_id", "stamped_at", "body_now"),
)

STREAM_OFFSET: Final = Table(
    schema="push",
    name="stream_offset",
    description="What is added to a register from an instant on, so that a stream never falls.",
    columns=(
        Column("stream_id", "text", "The stream.", is_nullable=False),
        Column("from_at", "instant", "The packets stamped from here on.", is_nullable=False),
        Column("offset_wh", "float", "Added to the register's Wh.", is_nullable=False),
        Column("is_frozen", "bool", "True once a packet that used it was sent.", False),
    ),
    key=("stream_id", "from_at"),
)

STREAM_STATUS: Final = Table(
    schema="push",
    name="stream_status",
    description="Delivery of one stream, as of the end of the last push.",
    columns=(
        Column("stream_id", "text", "The stream.", is_nullable=False),
        Column("n_sent", "int", "Accepted, not yet confirmed.", is_nullable=False),
        Column("n_confirmed", "int", "Confirmed by a read-back.", is_nullable=False),
        Column("n_pending", "int", "Released and waiting to be sent.", is_nullable=False),
        Column("n_held", "int", "Waiting behind a hole or for confirmation.", is_nullable=False),
        Column("n_rejected", "int", "Refused by Wattics.", is_nullable=False),
        Column("n_superseded", "int", "Changed after they were sent.", is_nullable=False),
        Column("last_sent_at", "instant", "Stamp of the newest accepted packet."),
        Column("last_confirmed_at", "instant", "Stamp of the newest confirmed packet."),
        Column("hold_reason", "text", "Why the oldest held packet waits."),
        Column("parked_reason", "text", "Why the stream is parked; null when it is not."),
    ),
    key=("stream_id",),
)

PUSH_TABLES: Final = (STREAM, PACKET, CORRECTION, STREAM_OFFSET, STREAM_STATUS)
