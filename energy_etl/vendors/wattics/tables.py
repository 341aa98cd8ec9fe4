"""Wattics' tables: what it lists, and what it says it holds of the streams that are pushed.

`reference` of a meter is the id of its stream. What is listed is kept as versions in time.
"""

from typing import Final

from energy_etl.tables.model import Column, Table

_METER: Final = Column("meter_id_wattics", "text", "Wattics' id of the meter.", False)
_LOCAL_ON: Final = Column("local_on", "date", "Day at the meter's site.", is_nullable=False)
_MONTH_ON: Final = Column(
    "month_on", "date", "First day of its month: what was asked for at once.", False
)
_SLOT: Final = Column(
    "slot", "text", "Start of the slot on that day, such as 13h15m, or total.", False
)
_VERSION: Final = (
    Column("valid_from_at", "instant", "When it was first listed so.", is_nullable=False),
    Column("valid_to_at", "instant", "When it was no longer listed so; null: it still is."),
)
_BOOKKEEPING: Final = (
    Column("request_id", "text", "The call that brought the row (raw.request).", False, True),
    Column("fetched_at", "instant", "When that call was made.", False, True),
)

ORGANIZATION: Final = Table(
    schema="wattics",
    name="organization",
    description="One organization of the account, as listed in a stretch of time.",
    columns=(
        Column("organization_id_wattics", "text", "Wattics' id of the organization.", False),
        Column("name", "text", "Its name."),
        *_VERSION,
        *_BOOKKEEPING,
    ),
    key=("organization_id_wattics", "valid_from_at"),
)

SITE: Final = Table(
    schema="wattics",
    name="site",
    description="One site of an organization, as listed in a stretch of time.",
    columns=(
        Column("site_id_wattics", "text", "Wattics' id of the site.", is_nullable=False),
        Column("organization_id_wattics", "text", "The organization it was listed for.", False),
        Column("name", "text", "Its name."),
        Column("city", "text", "Its city."),
        Column("country", "text", "Its country."),
        *_VERSION,
        *_BOOKKEEPING,
    ),
    key=("site_id_wattics", "valid_from_at"),
)

METER: Final = Table(
    schema="wattics",
    name="meter",
    description="One meter (data point) of a site, as listed in a stretch of time.",
    columns=(
        _METER,
        Column("organization_id_wattics", "text", "The organization it was listed for.", False),
        Column("site_id_wattics", "text", "The site it was listed for.", is_nullable=False),
        Column("reference", "text", "The id of its stream."),
        Column("name", "text", "Its name."),
        Column("meter_type", "text", "What it measures, in Wattics' words (type)."),
        Column("process_sampling_rate_minutes", "int", "Agreed spacing of its packets."),
        Column("unit", "text", "Unit in Wattics' words."),
        Column("wh_per_pulse", "float", "Wh of one pulse, of a pulse counter."),
        Column("reading", "text", "How its numbers are to be read: cum, avg, ..."),
        *_VERSION,
        *_BOOKKEEPING,
    ),
    key=("meter_id_wattics", "valid_from_at"),
)

RAW_DATA: Final = Table(
    schema="wattics",
    name="raw_data",
    description="Active power of one meter at one instant, as Wattics holds it.",
    columns=(
        _METER,
        Column("measured_at", "instant", "The instant (timestamp).", is_nullable=False),
        Column("power_w", "float", "Active power (total or value).", is_nullable=False),
        *_BOOKKEEPING,
    ),
    key=("meter_id_wattics", "measured_at"),
    time_column="measured_at",
)

CONSUMPTION: Final = Table(
    schema="wattics",
    name="consumption",
    description="Consumption of one meter in one slot of a local day, or on the whole day.",
    columns=(
        _METER,
        _MONTH_ON,
        _LOCAL_ON,
        _SLOT,
        Column("consumption_native", "float", "The number, in unit_wattics.", is_nullable=False),
        Column("unit_wattics", "text", "The unit as sent; Watt stands for Wh.", False),
        Column("energy_wh", "float", "The same in Wh; null where the unit is none of energy."),
        *_BOOKKEEPING,
    ),
    key=("meter_id_wattics", "local_on", "slot"),
)

COST: Final = Table(
    schema="wattics",
    name="cost",
    description="Cost of one meter in one slot of a local day, or on the whole day.",
    columns=(
        _METER,
        _MONTH_ON,
        _LOCAL_ON,
        _SLOT,
        Column("cost_native", "float", "The number, in the currency.", is_nullable=False),
        Column("currency", "text", "Three capitals, as sent.", is_nullable=False),
        *_BOOKKEEPING,
    ),
    key=("meter_id_wattics", "local_on", "slot"),
)

ASKED_MONTH: Final = Table(
    schema="wattics",
    name="asked_month",
    description="One month of a meter whose consumptions Wattics was asked for and answered.",
    columns=(
        _METER,
        Column("month_on", "date", "First day of the month.", is_nullable=False),
        Column(
            "pushed_to_at",
            "instant",
            "When the newest packet was accepted that had been pushed to its stream when it was "
            "asked; null: none had been.",
        ),
        *_BOOKKEEPING,
    ),
    key=("meter_id_wattics", "month_on"),
)

WATTICS_TABLES: Final = (ORGANIZATION, SITE, METER, RAW_DATA, CONSUMPTION, COST, ASKED_MONTH)

STREAM_COMPARISON: Final = Table(
    schema="mart",
    name="stream_comparison",
    description="What was pushed to one stream on one local day, and what Wattics holds of it.",
    columns=(
        Column("stream_id", "text", "The stream.", is_nullable=False),
        Column("local_on", "date", "Day at the register's site.", is_nullable=False),
        Column("register_id", "text", "The register that feeds it.", is_nullable=False),
        Column("meter_id_wattics", "text", "Its meter at Wattics; null: none is listed."),
        Column("unit", "text", "Unit of the three numbers.", is_nullable=False),
        Column("n_packets", "int", "Packets accepted before Wattics was asked.", False),
        Column("n_confirmed", "int", "Those of them that a read-back confirmed.", False),
        Column("pushed_native", "float", "What these packets amount to; null: no amount."),
        Column("held_native", "float", "What Wattics says it holds; null: nothing."),
        Column("difference_native", "float", "Held less pushed; null: one of them is missing."),
        Column(
            "verdict",
            "text",
            "equal, differs, not held (pushed, and Wattics has nothing), not pushed (Wattics has "
            "what was not pushed from here) or not asked.",
            is_nullable=False,
        ),
    ),
    key=("stream_id", "local_on"),
)
