"""Wattsense's tables: its nouns, typed, with its ids; who may do what is in `tables_access.py`."""

from typing import Final

from energy_etl.tables.model import Column, Table
from energy_etl.vendors.wattsense.tables_access import (
    ACCESS_TABLES,
    BROUGHT_BY,
    INFO_COLUMNS,
    LISTED_IN,
    VALID,
)

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
        Column("hardware_version", "text", "Version of the hardware."),
        Column("software_version", "text", "Version of the software."),
        Column("bsp_version", "text", "Version of the board support package."),
        Column("config_origin", "text", "Who configures it: da or cloud, as sent."),
        Column("zone", "text", "IANA time zone in its tag `timezone`, where it has one."),
        Column("tags", "text", "Its tags as JSON with sorted keys."),
        *BROUGHT_BY,
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
        *BROUGHT_BY,
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
        Column("equipment_id_wattsense", "text", "The equipment it is read from."),
        Column("external_id", "text", "The id its owner gave it at Wattsense."),
        Column("written_at", "instant", "When a value was last written to it; null: never."),
        Column("write_payload_text", "text", "The value that was written, as text."),
        Column("tags", "text", "Its tags as JSON with sorted keys."),
        *BROUGHT_BY,
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
        *BROUGHT_BY,
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
        *INFO_COLUMNS,
        *BROUGHT_BY,
    ),
    key=("organization_id_wattsense",),
)

CONFIGURATION: Final = Table(
    schema="wattsense",
    name="configuration",
    description="One revision of a box's configuration.",
    columns=(
        Column("device_id_wattsense", "text", "The box.", is_nullable=False),
        Column("revision_id_wattsense", "text", "Wattsense's id (revisionId).", is_nullable=False),
        Column("parent_revision_id_wattsense", "text", "The revision it was made from."),
        Column("status", "text", "DRAFT, SENT, DISCARDED, CURRENT or ARCHIVED, as sent."),
        Column("notes", "text", "Free text of who made it."),
        Column("created_at", "instant", "When it was made."),
        Column("updated_at", "instant", "When it was last changed."),
        Column("n_properties", "int", "Properties in it.", is_nullable=False),
        Column("n_equipments", "int", "Equipments in it.", is_nullable=False),
        Column("n_networks", "int", "Networks in it.", is_nullable=False),
        Column("n_errors", "int", "Errors that Wattsense found in it.", is_nullable=False),
        *BROUGHT_BY,
    ),
    key=("device_id_wattsense", "revision_id_wattsense"),
)

EQUIPMENT: Final = Table(
    schema="wattsense",
    name="equipment",
    description="One equipment (a meter, a controller) in the current configuration of a box.",
    columns=(
        Column("device_id_wattsense", "text", "The box.", is_nullable=False),
        Column("equipment_id_wattsense", "text", "Wattsense's id.", is_nullable=False),
        Column("name", "text", "What people call it."),
        Column("protocol", "text", "LORAWAN_V1_0, BACNET_IP_GATEWAY, ..., as sent."),
        Column("tags", "text", "Its tags as JSON with sorted keys."),
        *BROUGHT_BY,
    ),
    key=("device_id_wattsense", "equipment_id_wattsense"),
)

DEVICE_SUBSCRIPTION: Final = Table(
    schema="wattsense",
    name="device_subscription",
    description="One state of a box's billing subscription, for as long as it lasted.",
    columns=(
        Column("device_id_wattsense", "text", "The box.", is_nullable=False),
        Column("status", "text", "ACTIVE or SUSPENDED, as sent."),
        Column("is_suspended", "bool", "True when the status says so; null: not told."),
        Column("rate_plan", "text", "Its rate plan, as sent."),
        Column("start_on", "date", "First day."),
        Column("end_on", "date", "Last day; null: none is set."),
        Column("is_renewed_automatically", "bool", "True when it goes on by itself."),
        Column("is_yearly", "bool", "True when it is paid by the year."),
        Column("is_managed_by_wattsense", "bool", "True when Wattsense keeps it."),
        Column("addons", "text", "Its add-ons as JSON."),
        Column("options", "text", "Its options as JSON."),
        Column("updated_at", "instant", "When it was last changed at Wattsense."),
        LISTED_IN,
        *VALID,
        *BROUGHT_BY,
    ),
    key=("device_id_wattsense", "valid_from_at"),
)

WATTSENSE_TABLES: Final = (
    ORGANIZATION,
    DEVICE,
    DEVICE_SUBSCRIPTION,
    CONFIGURATION,
    EQUIPMENT,
    PROPERTY,
    LATEST,
    HISTORY,
    *ACCESS_TABLES,
)
