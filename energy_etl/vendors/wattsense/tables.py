"""Wattsense's tables: its nouns, typed, with its ids."""

from typing import Final

from energy_etl.tables.model import Column, Table

_REQUEST_ID: Final = Column(
    "request_id", "text", "The call that brought the row (raw.request).", False, True
)
_RECEIVED_AT: Final = Column("received_at", "instant", "When that call was made.", False, True)

DEVICE: Final = Table(
    schema="wattsense",
    name="device",
    description="One Wattsense box.",
    columns=(
        Column("device_id_wattsense", "text", "Wattsense's id (deviceId).", is_nullable=False),
        Column("name", "text", "What people call it."),
        Column("description", "text", "Free text of its owner."),
        Column("organization_id_wattsense", "text", "The organization that owns it."),
        Column("tenant_id_wattsense", "text", "That organization's parent."),
        Column("device_group_id_wattsense", "text", "Its device group."),
        Column("site_id_wattsense", "text", "Wattsense's id of its site."),
        Column("external_id", "text", "The id its owner gave it at Wattsense."),
        Column("hardware_id", "text", "Id of the hardware."),
        Column("status", "text", "ONLINE or another state, as sent."),
        Column("zone", "text", "IANA time zone in its tag `timezone`, where it has one."),
        Column("tags", "text", "Its tags as JSON with sorted keys."),
        _REQUEST_ID,
        _RECEIVED_AT,
    ),
    key=("device_id_wattsense",),
)

PROPERTY: Final = Table(
    schema="wattsense",
    name="property",
    description="One property (data point) of a box, as its current configuration says.",
    columns=(
        Column("device_id_wattsense", "text", "The box.", is_nullable=False),
        Column("property_id_wattsense", "text", "Wattsense's id (propertyId).", is_nullable=False),
        Column("equipment_id_wattsense", "text", "The equipment it is read from."),
        Column("slug", "text", "Its short name in URLs."),
        Column("name", "text", "What people call it."),
        Column("description", "text", "Free text of its owner."),
        Column("access_type", "text", "REMOTE_READ_ONLY, REMOTE_READ_WRITE, LOCAL, ..."),
        Column("is_disabled", "bool", "True when it is switched off; null: not told."),
        Column("kind", "text", "Wattsense's kind, as sent."),
        Column("unit_text", "text", "Its unit, in Wattsense's free text."),
        Column("scaling_a", "float", "Factor of its scaling a*x+b."),
        Column("scaling_b", "float", "Summand of its scaling a*x+b."),
        Column("tags", "text", "Its tags as JSON with sorted keys."),
        _REQUEST_ID,
        _RECEIVED_AT,
    ),
    key=("device_id_wattsense", "property_id_wattsense"),
)

LATEST: Final = Table(
    schema="wattsense",
    name="latest",
    description="Latest value of one property, as of the last fetch.",
    columns=(
        Column("device_id_wattsense", "text", "The box.", is_nullable=False),
        Column("property_id_wattsense", "text", "The property.", is_nullable=False),
        Column("slug", "text", "Its short name in URLs."),
        Column("name", "text", "What people call it."),
        Column("unit_text", "text", "Its unit, in Wattsense's free text."),
        Column("measured_at", "instant", "When the value was read; null: never."),
        Column("payload_text", "text", "The payload when it came as text; null: it was a number."),
        Column("payload_number", "float", "The payload as a number; null: it is none."),
        Column("scaled_payload", "float", "The payload after Wattsense's scaling; often null."),
        Column("reading_native", "float", "scaled_payload, else payload_number."),
        Column("is_out_of_service", "bool", "True when Wattsense says so; null: not told."),
        _REQUEST_ID,
        _RECEIVED_AT,
    ),
    key=("device_id_wattsense", "property_id_wattsense"),
)

HISTORY: Final = Table(
    schema="wattsense",
    name="history",
    description="One historical value of a property, at the irregular instant it was read.",
    columns=(
        Column("device_id_wattsense", "text", "The box.", is_nullable=False),
        Column("property_id_wattsense", "text", "The property.", is_nullable=False),
        Column("measured_at", "instant", "When the value was read.", is_nullable=False),
        Column("payload_text", "text", "The payload when it came as text; null: it was a number."),
        Column("payload_number", "float", "The payload as a number; null: it is none."),
        Column("scaled_payload", "float", "The payload after Wattsense's scaling; often null."),
        Column("reading_native", "float", "scaled_payload, else payload_number."),
        _REQUEST_ID,
        _RECEIVED_AT,
    ),
    key=("device_id_wattsense", "property_id_wattsense", "measured_at"),
    time_column="measured_at",
)

ORGANIZATION: Final = Table(
    schema="wattsense",
    name="organization",
    description="One organization that the credential can see.",
    columns=(
        Column("organization_id_wattsense", "text", "Wattsense's id.", is_nullable=False),
        Column("tenant_id_wattsense", "text", "The organization that manages it."),
        Column("name", "text", "Its name."),
        _REQUEST_ID,
        _RECEIVED_AT,
    ),
    key=("organization_id_wattsense",),
)

WATTSENSE_TABLES: Final = (ORGANIZATION, DEVICE, PROPERTY, LATEST, HISTORY)
