"""SmartgridOne's tables: its nouns, typed, with its ids.

Everything but telemetry is kept as versions in time: what stands now has no `valid_to_at`.
"""

from typing import Final

from energy_etl.tables.model import Column, Table

_REQUEST_ID: Final = Column(
    "request_id", "text", "The call that brought the row (raw.request).", False, True
)
_RECEIVED_AT: Final = Column("received_at", "instant", "When that call was made.", False, True)
# What is not in a complete listing of this name any more has vanished.
_VERSION: Final = (
    Column("listed_in", "text", "The endpoint that lists it.", is_nullable=False),
    Column("valid_from_at", "instant", "When this version was first listed.", is_nullable=False),
    Column("valid_to_at", "instant", "When it was first listed otherwise or no more; null: now."),
)
_CAME_BY: Final = (*_VERSION, _REQUEST_ID, _RECEIVED_AT)

DEVICE: Final = Table(
    schema="smartgridone",
    name="device",
    description="One version of a device: a controller, a meter, an inverter, a wall box.",
    columns=(
        Column("device_id_smartgridone", "int", "SmartgridOne's number (id).", is_nullable=False),
        Column("node_id_smartgridone", "text", "SmartgridOne's node id; null: not told."),
        Column("node_type", "text", "SmartgridOne's kind of device, as sent."),
        Column("is_controller", "bool", "True for a controller: the box at a site.", False),
        Column(
            "controller_node_id_smartgridone",
            "text",
            "The controller above it (its own id for a controller); null: none or several.",
        ),
        Column("parent_node_ids", "flags", "The nodes directly above it.", is_nullable=False),
        Column("child_node_ids", "flags", "The nodes directly below it.", is_nullable=False),
        Column("name", "text", "What people call it."),
        Column("manufacturer", "text", "Who made it."),
        Column("model", "text", "Its model."),
        Column("serial_number", "text", "Its serial number."),
        Column("installed_kw", "float", "Its nominal power in kW, where its properties say so."),
        Column("has_monitor_management", "bool", "True when the account may manage its monitors."),
        Column("editable_properties", "flags", "Properties that the account may edit.", False),
        Column("last_update_text", "text", "Its lastUpdate as sent (needed for skipHash)."),
        Column("updated_at", "instant", "Its lastUpdate."),
        *_CAME_BY,
    ),
    key=("device_id_smartgridone", "valid_from_at"),
)

SERIES: Final = Table(
    schema="smartgridone",
    name="series",
    description="One place where telemetry of a device is kept (its nodeInfluxSeries).",
    columns=(
        Column("node_id_smartgridone", "text", "The device.", is_nullable=False),
        Column("measurement", "text", "What is measured: gridMetrics, ...", is_nullable=False),
        Column("database_name", "text", "The customer's database.", is_nullable=False),
        Column("retention_policy", "text", "rp_one_s, rp_one_m, rp_ten_m, ...", is_nullable=False),
        Column("tags", "text", "Tags that select the device, as JSON with sorted keys.", False),
        Column("fields", "flags", "What it holds; the unit is each name's suffix.", False),
        *_CAME_BY,
    ),
    key=(
        "node_id_smartgridone",
        "measurement",
        "database_name",
        "retention_policy",
        "tags",
        "valid_from_at",
    ),
)

ROLE: Final = Table(
    schema="smartgridone",
    name="role",
    description="One version of a role that the account sees.",
    columns=(
        Column("role_id_smartgridone", "text", "SmartgridOne's id.", is_nullable=False),
        Column("name", "text", "Its name."),
        Column("self_rights", "flags", "Rights over the role itself.", is_nullable=False),
        Column("user_rights", "flags", "Rights of its members.", is_nullable=False),
        *_CAME_BY,
    ),
    key=("role_id_smartgridone", "valid_from_at"),
)

MONITOR: Final = Table(
    schema="smartgridone",
    name="monitor",
    description="One version of what a role may see and edit of a device.",
    columns=(
        Column("monitor_id_smartgridone", "text", "SmartgridOne's id.", is_nullable=False),
        Column("role_id_smartgridone", "text", "The role."),
        Column("device_id_smartgridone", "int", "The device (its number)."),
        Column("has_monitor_management", "bool", "True when the role may pass on such rights."),
        Column("reads", "flags", "Properties that it may read.", is_nullable=False),
        Column("edits", "flags", "Properties that it may edit.", is_nullable=False),
        *_CAME_BY,
    ),
    key=("monitor_id_smartgridone", "valid_from_at"),
)

COMPANY: Final = Table(
    schema="smartgridone",
    name="company",
    description="One version of a company that the account sees.",
    columns=(
        Column("company_id_smartgridone", "text", "SmartgridOne's number.", is_nullable=False),
        Column("customer_id_smartgridone", "text", "Its uuid: its licences are asked for by that."),
        Column("name", "text", "Its name."),
        *_CAME_BY,
    ),
    key=("company_id_smartgridone", "valid_from_at"),
)

LICENCE: Final = Table(
    schema="smartgridone",
    name="licence",
    description="One version of a licence, as the list of a controller or of a customer shows it.",
    columns=(
        Column("licence_id_smartgridone", "text", "SmartgridOne's id.", is_nullable=False),
        Column("listed_for", "text", "The controller's node id or the customer's uuid.", False),
        # Whole, since it has to be typed: the vendor shows it to every account that sees the
        # licence, and takes it from accounts only. Marts and findings show its end.
        Column(
            "licence_key",
            "text",
            "What it is activated and claimed with, whole: an account at SmartgridOne is needed "
            "beside it; share the database only with people who may have it.",
        ),
        Column("licence_type", "text", "residential or commercial."),
        Column("grid_kw", "float", "Capacity of the grid connection in kW; null: not limited."),
        Column("solar_kw", "float", "Capacity of solar in kW; null: not told."),
        Column("battery_kw", "float", "Capacity of batteries in kW; null: not told."),
        Column("ev_kw", "float", "Capacity of car charging in kW; null: not told."),
        Column("created_at", "instant", "When it was made."),
        Column("activated_at", "instant", "When it began; null: not yet."),
        Column("deactivated_at", "instant", "When it was ended; null: it was not."),
        Column("duration_native", "int", "How long it lasts, as sent; the unit is not documented."),
        Column("datalink_ids", "flags", "What it serves; only lists of customers tell.", False),
        *_CAME_BY,
    ),
    key=("licence_id_smartgridone", "listed_in", "listed_for", "valid_from_at"),
)

TELEMETRY: Final = Table(
    schema="smartgridone",
    name="telemetry",
    description="One value of a field of a device at an instant; positive power is import.",
    columns=(
        Column("node_id_smartgridone", "text", "The device.", is_nullable=False),
        Column("field", "text", "The field; the unit is its suffix (_W, _Wh).", False),
        Column("measured_at", "instant", "The instant of the value.", is_nullable=False),
        Column("reading_native", "float", "The value as sent, sign included.", is_nullable=False),
        Column("measurement", "text", "Where it was read: measurement."),
        Column("retention_policy", "text", "Where it was read: retention policy."),
        _REQUEST_ID,
        _RECEIVED_AT,
    ),
    key=("node_id_smartgridone", "field", "measured_at"),
    time_column="measured_at",
)

SMARTGRIDONE_TABLES: Final = (DEVICE, SERIES, ROLE, MONITOR, COMPANY, LICENCE, TELEMETRY)
