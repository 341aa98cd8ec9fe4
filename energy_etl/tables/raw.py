"""Layer `raw`: every call and every answer as received; append-only, never published.

Everything else can be rebuilt from it without a vendor. What an answer means is not known here.
"""

from typing import Final

from energy_etl.tables.model import Column, Table

REQUEST: Final = Table(
    schema="raw",
    name="request",
    description="One call to a vendor, answered or not.",
    columns=(
        Column("request_id", "text", "Our id of the call.", is_nullable=False),
        Column("vendor", "text", "The vendor that was called.", is_nullable=False),
        Column("endpoint", "text", "Name of the endpoint, as the client calls it.", False),
        Column("url", "text", "The URL with secrets removed.", is_nullable=False),
        Column("params", "text", "JSON of what the call was made for (meter, window, period)."),
        Column("status", "int", "HTTP status; null when no answer came."),
        Column("body_sha256", "text", "Key of the answer in raw.body; null when none is kept."),
        Column(
            "error",
            "text",
            "Why the call failed, redacted; null when it did not, as at a 404 that is an answer.",
        ),
        Column("requested_at", "instant", "When the call was made.", is_nullable=False),
        Column("elapsed_ms", "float", "Duration of the call in milliseconds."),
    ),
    key=("request_id",),
    time_column="requested_at",
    is_published=False,
)

BODY: Final = Table(
    schema="raw",
    name="body",
    description="One answer as received (secrets and known personal fields removed), per hash.",
    columns=(
        Column("body_sha256", "text", "SHA-256 of the stored bytes.", is_nullable=False),
        Column("body_zlib", "bytes", "The answer, zlib-compressed.", is_nullable=False),
        Column("n_bytes", "int", "Length before compression.", is_nullable=False),
    ),
    key=("body_sha256",),
    is_published=False,
)

QUARANTINE: Final = Table(
    schema="raw",
    name="quarantine",
    description="One row of an answer that failed validation; its neighbours were kept.",
    columns=(
        Column("request_id", "text", "The call that brought it (raw.request).", False),
        Column("vendor", "text", "The vendor.", is_nullable=False),
        Column("endpoint", "text", "Name of the endpoint.", is_nullable=False),
        Column("row_number", "int", "Place of the row in the answer, from 0.", False),
        Column("reasons", "text", "Which rules it broke, comma-separated.", is_nullable=False),
        Column("raw_text", "text", "The row as received, cut at 2,000 characters.", False),
    ),
    key=("request_id", "row_number"),
    is_published=False,
)

RAW_TABLES: Final = (REQUEST, BODY, QUARANTINE)
