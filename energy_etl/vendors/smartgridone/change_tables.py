"""What was changed at SmartgridOne, and the licence mart: the tables beside the vendor's nouns."""

from typing import Final

from energy_etl.tables.model import Column, Table

CHANGE: Final = Table(
    schema="smartgridone",
    name="change",
    description="One call that was to change something at SmartgridOne, and what came of it.",
    columns=(
        Column("change_id", "text", "Our id of the change.", is_nullable=False),
        Column("action", "text", "activate_license, claim_license or update_device.", False),
        Column(
            "subject",
            "text",
            "The whole licence key or the node id it is about.",
            is_nullable=False,
        ),
        Column("asked_by", "text", "The Dagster run or the user of the command line.", False),
        Column("begun_at", "instant", "When the state before it was read last.", False),
        Column("plan_hash", "text", "Hash of the plan that was confirmed.", is_nullable=False),
        Column("method", "text", "POST or PUT.", is_nullable=False),
        Column("url", "text", "What was called.", is_nullable=False),
        Column(
            "request_body", "text", "What was sent, as JSON, licence key included; redacted.", False
        ),
        Column("state_before", "text", "What stood there, as JSON; null: it was not seen."),
        Column("state_planned", "text", "What was to stand there, as JSON.", is_nullable=False),
        Column("state_after", "text", "What was read afterwards, as JSON; null: it was not seen."),
        Column("status", "int", "HTTP status of the answer; null: none came."),
        Column("answer", "text", "The answer's body, redacted; null: none came."),
        Column(
            "outcome",
            "text",
            "done, refused, not_done (no answer, and the state is the old one) or unknown.",
            is_nullable=False,
        ),
        Column("request_id", "text", "The call (raw.request); null: it was not made.", True, True),
    ),
    key=("change_id",),
)

LICENCE_MART: Final = Table(
    schema="mart",
    name="licence",
    description="One licence of SmartgridOne: whose, until when, and for how much power.",
    columns=(
        Column("licence_id_smartgridone", "text", "SmartgridOne's id.", is_nullable=False),
        Column("licence_key_end", "text", "The end of its key; whole in smartgridone.licence."),
        Column("licence_type", "text", "residential or commercial."),
        Column("controller_node_id_smartgridone", "text", "The controller it is claimed for."),
        Column("controller_name", "text", "What people call that controller."),
        Column("site_id", "text", "Our site of that controller; null: the portfolio maps none."),
        Column("customer_name", "text", "The company whose list shows it."),
        Column(
            "licence_status",
            "text",
            "unclaimed, inactive (claimed, not begun), active, ending (within 90 days) or ended.",
            is_nullable=False,
        ),
        Column("starts_at", "instant", "When it began or will; null: not activated."),
        Column("ends_on", "date", "UTC day on which it ends; null: not activated or no duration."),
        Column("days_left", "int", "Days from today to ends_on; negative: it has ended."),
        Column("grid_kw", "float", "Licensed grid connection in kW; null: not limited."),
        Column("solar_kw", "float", "Licensed solar in kW; null: not told."),
        Column("battery_kw", "float", "Licensed batteries in kW; null: not told."),
        Column("ev_kw", "float", "Licensed car charging in kW; null: not told."),
        Column("installed_grid_kw", "float", "Installed below the controller, as properties say."),
        Column("installed_solar_kw", "float", "Installed solar below the controller."),
        Column("installed_battery_kw", "float", "Installed batteries below the controller."),
        Column("installed_ev_kw", "float", "Installed car charging below the controller."),
        Column(
            "has_capacity",
            "bool",
            "False when more is installed than the controller's valid licences allow together; "
            "null: nothing to compare, or the licence is not valid.",
        ),
    ),
    key=("licence_id_smartgridone", "controller_node_id_smartgridone"),
)
