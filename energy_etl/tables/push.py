"""Layer `push`: the stream map, packets and their state, delivery per stream.

The outbox itself lives in `state.sqlite` (delivery/outbox.py); these are its mirror for people.
"""

from typing import Final

from energy_etl.tables.model import Column, Table

STREAM: Final = Table(
    schema="push",
    name="stream",
    description="One stream at Wattics, and what feeds the first field of its packets.",
    columns=(
        Column("stream_id", "text", "The id agreed with Wattics.", is_nullable=False),
        Column("register_id", "text", "The register that feeds it; null: files do (push csv)."),
        Column("field", "text", "Field of the packet: pC_1, value, ...", is_nullable=False),
        Column("content", "text", "cumulative_wh, interval, sample or file.", is_nullable=False),
        Column("interval_minutes", "int", "Agreed spacing of its packets.", is_nullable=False),
        Column("credential", "text", "Name of the credential set that may push it.", False),
        Column("push_from_at", "instant", "No packet is stamped before this."),
        Column("estimates", "text", "send, or hold: estimated intervals wait for readings.", False),
        Column("is_historical", "bool", "True: packets behind the last one are sent too.", False),
        Column("zone", "text", "Zone of the local times in its files; null: it has no files."),
    ),
    key=("stream_id",),
)

STREAM_FIELD: Final = Table(
    schema="push",
    name="stream_field",
    description="A further field of a stream's packets, and the register that feeds it.",
    columns=(
        Column("stream_id", "text", "The stream.", is_nullable=False),
        Column("field", "text", "Field of the packet: aP_1, v_12, pC_2, ...", is_nullable=False),
        Column("register_id", "text", "The register that feeds it.", is_nullable=False),
        Column("content", "text", "cumulative_wh, interval or sample.", is_nullable=False),
    ),
    key=("stream_id", "field"),
)

PACKET: Final = Table(
    schema="push",
    name="packet",
    description="One packet of a stream and what became of it.",
    columns=(
        Column("stream_id", "text", "The stream.", is_nullable=False),
        Column("stamped_at", "instant", "The instant in its time stamp.", is_nullable=False),
        Column("body", "text", "The JSON that is sent.", is_nullable=False),
        Column(
            "state",
            "text",
            "held, pending, sent, confirmed, rejected, superseded, or dropped (given up).",
            is_nullable=False,
        ),
        Column("hold_reason", "text", "Why it waits or was dropped; null when neither."),
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
        Column("field", "text", "The cumulative field: pC_1, pC_2 or pC_3.", is_nullable=False),
        Column("from_at", "instant", "The packets stamped from here on.", is_nullable=False),
        Column("offset_wh", "float", "Added to the register's Wh.", is_nullable=False),
        Column("is_frozen", "bool", "True once a packet that used it was sent.", False),
    ),
    key=("stream_id", "field", "from_at"),
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
        Column("n_dropped", "int", "Given up by a person, never sent.", is_nullable=False),
        Column("first_sent_at", "instant", "Stamp of the oldest accepted packet."),
        Column("last_sent_at", "instant", "Stamp of the newest accepted packet."),
        Column("last_confirmed_at", "instant", "Stamp of the newest confirmed packet."),
        Column("lag_minutes", "float", "How long its next packet is overdue; null: none awaited."),
        Column("n_holes", "int", "Stretches between accepted packets with none in them.", False),
        Column("n_missing", "int", "Packets that would fill these holes.", is_nullable=False),
        Column("interval_minutes", "int", "Agreed spacing; null: not in streams.csv any more."),
        Column("spacing_minutes", "float", "Median spacing of the newest accepted packets."),
        Column("hold_reason", "text", "Why the oldest held packet waits, or none is there."),
        Column("failure", "text", "Why the last send of the stream failed; null: it did not."),
        Column("retry_at", "instant", "When it is tried again; null: at once, or parked."),
        Column("parked_reason", "text", "Why the stream is parked; null when it is not."),
        Column("parked_at", "instant", "Since when it is parked."),
    ),
    key=("stream_id",),
)

HOLE: Final = Table(
    schema="push",
    name="hole",
    description="A stretch between two accepted packets of a stream for which none was sent.",
    columns=(
        Column("stream_id", "text", "The stream.", is_nullable=False),
        Column("after_at", "instant", "Stamp of the accepted packet before it.", is_nullable=False),
        Column("before_at", "instant", "Stamp of the next accepted packet.", is_nullable=False),
        Column("n_missing", "int", "Packets that would fill it.", is_nullable=False),
        Column("is_declared", "bool", "True where gaps.csv declares it missing.", False),
    ),
    key=("stream_id", "after_at"),
    time_column="after_at",
)

RESPONSE: Final = Table(
    schema="push",
    name="response",
    description="One answer of Wattics to one packet, or that none came.",
    columns=(
        Column("response_id", "int", "Running number of the outbox.", is_nullable=False),
        Column("stream_id", "text", "The stream.", is_nullable=False),
        Column("stamped_at", "instant", "The instant of the packet.", is_nullable=False),
        Column("posted_at", "instant", "When the packet was posted.", is_nullable=False),
        Column("seconds", "float", "Until the answer, or until none came.", is_bookkeeping=True),
        Column("status", "int", "HTTP status; null: no answer came."),
        Column("text", "text", "Beginning of the answer, or why there is none; null when 200."),
    ),
    key=("response_id",),
    time_column="posted_at",
)

MIRROR: Final = Table(
    schema="push",
    name="mirror",
    description="One row: which state of the outbox the other tables show (delivery/mirror.py).",
    columns=(
        Column("token", "text", "Known to that outbox only.", False, is_bookkeeping=True),
        Column("response_id", "int", "The newest response that is shown.", is_nullable=False),
        Column("mirrored_at", "instant", "When it was read.", False, is_bookkeeping=True),
    ),
    key=("response_id",),
    is_published=False,
)

# Those that people read.
PUSH_TABLES: Final = (
    STREAM,
    STREAM_FIELD,
    PACKET,
    CORRECTION,
    STREAM_OFFSET,
    STREAM_STATUS,
    HOLE,
    RESPONSE,
)
