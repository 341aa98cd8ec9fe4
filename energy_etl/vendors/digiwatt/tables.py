"""Digiwatt's tables: one per endpoint, in the units the endpoint speaks (kWh, but Wh in savings).

What is given relative to the day of the fetch is a snapshot with `fetched_on` in its key; what
names its month or its instant is keyed by that and a later fetch replaces an earlier one.
"""

from typing import Final

from energy_etl.tables.model import Column, Table

_METER: Final = Column("smartmeter_id_digiwatt", "text", "Digiwatt's id of the meter.", False)
_PERIOD: Final = Column("period", "text", "yesterday, last-seven-days, this-week, ...", False)
_FETCHED_ON: Final = Column("fetched_on", "date", "Local day of the meter's site.", False)
_FETCHED_ON_LAST: Final = Column(
    "fetched_on", "date", "Local day of the fetch that brought it last.", False, True
)
_MONTH_ON: Final = Column("month_on", "date", "First day of the month.", is_nullable=False)
_APPLIANCE: Final = Column("appliance", "text", "The appliance, in Digiwatt's words.", False)
_BOOKKEEPING: Final = (
    Column("request_id", "text", "The call that brought the row (raw.request).", False, True),
    Column("fetched_at", "instant", "When that call was made.", False, True),
)
_SNAPSHOT_KEY: Final = ("smartmeter_id_digiwatt", "period", "fetched_on")

CONSUMPTION: Final = Table(
    schema="digiwatt",
    name="consumption",
    description="Consumption of one meter in one period, as fetched on a day.",
    columns=(
        _METER,
        _PERIOD,
        _FETCHED_ON,
        Column("consumption_kwh", "float", "Consumption in the period (value)."),
        Column("trend_pct", "float", "Change against the previous period; positive: more."),
        *_BOOKKEEPING,
    ),
    key=_SNAPSHOT_KEY,
)

ESTIMATED_COST: Final = Table(
    schema="digiwatt",
    name="estimated_cost",
    description="Estimated cost of one meter in one period, as fetched on a day.",
    columns=(
        _METER,
        _PERIOD,
        _FETCHED_ON,
        Column("cost_eur", "float", "Estimated cost in the period (value)."),
        Column("trend_pct", "float", "Change against the previous period; positive: more."),
        *_BOOKKEEPING,
    ),
    key=_SNAPSHOT_KEY,
)

CONSUMPTION_DISTRIBUTION: Final = Table(
    schema="digiwatt",
    name="consumption_distribution",
    description="Consumption of one appliance of a meter in one period, as fetched on a day.",
    columns=(
        _METER,
        _PERIOD,
        _FETCHED_ON,
        _APPLIANCE,
        Column("consumption_kwh", "float", "Consumption of the appliance in the period."),
        *_BOOKKEEPING,
    ),
    key=(*_SNAPSHOT_KEY, "appliance"),
)

PERFORMANCE: Final = Table(
    schema="digiwatt",
    name="performance",
    description="One meter against similar users in one period, as fetched on a day.",
    columns=(
        _METER,
        _PERIOD,
        _FETCHED_ON,
        Column("min_consumption_kwh", "float", "Least consumption among similar users."),
        Column("max_consumption_kwh", "float", "Most consumption among similar users."),
        Column("user_consumption_kwh", "float", "Consumption of this meter's user."),
        *_BOOKKEEPING,
    ),
    key=_SNAPSHOT_KEY,
)

SAVINGS: Final = Table(
    schema="digiwatt",
    name="savings",
    description="Last 30 days of one meter (`total`) or one of its appliances, in Wh as sent.",
    columns=(
        _METER,
        _FETCHED_ON,
        Column("part", "text", "total, or the appliance in Digiwatt's words.", False),
        Column("estimated_consumption_wh", "float", "Consumption in Wh, not kWh as elsewhere."),
        Column("estimated_cost_eur", "float", "Cost of that consumption."),
        Column("min_consumption_wh", "float", "Least among similar users (only `total`)."),
        Column("max_consumption_wh", "float", "Most among similar users (only `total`)."),
        Column("user_consumption_wh", "float", "This user among them (only `total`)."),
        *_BOOKKEEPING,
    ),
    key=("smartmeter_id_digiwatt", "fetched_on", "part"),
)

CONSUMPTION_HISTORY: Final = Table(
    schema="digiwatt",
    name="consumption_history",
    description="Consumption of one meter in one of the last 12 months, as fetched last.",
    columns=(
        _METER,
        _MONTH_ON,
        Column("consumption_kwh", "float", "Consumption in the month."),
        _FETCHED_ON_LAST,
        *_BOOKKEEPING,
    ),
    key=("smartmeter_id_digiwatt", "month_on"),
)

COSTS_HISTORY: Final = Table(
    schema="digiwatt",
    name="costs_history",
    description="Cost of one meter in one month, or its forecast, as fetched last.",
    columns=(
        _METER,
        _MONTH_ON,
        Column("is_forecast", "bool", "True for the forecast of a month.", is_nullable=False),
        Column("cost_eur", "float", "Cost of the month."),
        _FETCHED_ON_LAST,
        *_BOOKKEEPING,
    ),
    key=("smartmeter_id_digiwatt", "month_on", "is_forecast"),
)

YEARLY_CONSUMPTION_DISTRIBUTION: Final = Table(
    schema="digiwatt",
    name="yearly_consumption_distribution",
    description="Consumption of one appliance of a meter in one month, as fetched last.",
    columns=(
        _METER,
        _MONTH_ON,
        _APPLIANCE,
        Column("consumption_kwh", "float", "Consumption of the appliance in the month."),
        _FETCHED_ON_LAST,
        *_BOOKKEEPING,
    ),
    key=("smartmeter_id_digiwatt", "month_on", "appliance"),
)

YEARLY_COMPOUND_CONSUMPTION: Final = Table(
    schema="digiwatt",
    name="yearly_compound_consumption",
    description="Consumption of a meter in one month (`total`) or one part of it, fetched last.",
    columns=(
        _METER,
        _MONTH_ON,
        Column("part", "text", "total, or the part in Digiwatt's words.", is_nullable=False),
        Column("consumption_kwh", "float", "Consumption of the part in the month."),
        _FETCHED_ON_LAST,
        *_BOOKKEEPING,
    ),
    key=("smartmeter_id_digiwatt", "month_on", "part"),
)

DISAGGREGATION: Final = Table(
    schema="digiwatt",
    name="disaggregation",
    description="Estimated consumption of one appliance of a meter over one interval.",
    columns=(
        _METER,
        _APPLIANCE,
        Column("start_at", "instant", "Start of the interval.", is_nullable=False),
        Column("end_at", "instant", "End of the interval: where the next one starts.", False),
        Column("consumption_kwh", "float", "Estimated consumption in the interval.", False),
        Column("period", "text", "The period it was asked for.", False, True),
        _FETCHED_ON_LAST,
        *_BOOKKEEPING,
    ),
    key=("smartmeter_id_digiwatt", "appliance", "start_at"),
    time_column="start_at",
)

SCHEMA_DRIFT: Final = Table(
    schema="digiwatt",
    name="schema_drift",
    description="One field of an endpoint that came though unknown, or is known and did not come.",
    columns=(
        Column("endpoint", "text", "The endpoint.", is_nullable=False),
        Column("field", "text", "The field, with its place in the answer.", is_nullable=False),
        Column("kind", "text", "unknown or missing.", is_nullable=False),
        Column("fetched_on", "date", "Local day of the fetch.", is_nullable=False),
        Column("n_seen", "int", "Objects of that fetch it was seen in.", False, True),
        Column("fetched_at", "instant", "When the last of those calls was made.", False, True),
    ),
    key=("endpoint", "field", "kind", "fetched_on"),
)

VENDOR_RECONCILIATION: Final = Table(
    schema="mart",
    name="vendor_reconciliation",
    description="Two figures that must be equal, of the vendor's newest fetch of a meter (of the "
    "last 35 days): two of its endpoints, or one of its and ours. Left, right, and a verdict.",
    columns=(
        Column("meter_id", "text", "The meter.", is_nullable=False),
        Column("vendor", "text", "Whose figures.", is_nullable=False),
        Column(
            "rule",
            "text",
            "What is compared, left = right. distribution_sum: sum of the appliances = "
            "consumption. unattributed: consumption less the named appliances (the difference is "
            "the residual). disaggregation_sum: sum of an appliance's hours = its total. "
            "performance_user: the user = consumption. performance_bounds: the user = the user "
            "within min and max. implied_price: cost / consumption = the meter's median. "
            "savings_consumption: consumption of savings = our last 30 days. trend: trend = ours. "
            "history_last_month, costs_last_month: last month of the history = period last-month. "
            "yearly_distribution_sum: sum of a month's appliances = history. compound_total: "
            "total = history. compound_parts: sum of the parts = total.",
            is_nullable=False,
        ),
        Column("period", "text", "The period, last-30-days, or the month as YYYY-MM.", False),
        Column("appliance", "text", "The appliance; null where the rule is about the whole."),
        _FETCHED_ON,
        Column("unit", "text", "Unit of the figures: kWh, EUR, EUR/kWh or %.", is_nullable=False),
        Column("left_native", "float", "The left figure; null: it did not come."),
        Column("right_native", "float", "The right figure; null: it did not come."),
        Column("difference_native", "float", "left - right; null: one of them is missing."),
        Column("tolerance_native", "float", "What they may differ by; reason tells why."),
        Column("position_pct", "float", "performance_bounds: from min (0) to max (100)."),
        Column("verdict", "text", "agrees, differs or not_comparable.", is_nullable=False),
        Column("reason", "text", "Why so much is tolerated, or why nothing can be told.", False),
    ),
    key=("meter_id", "vendor", "rule", "period", "appliance", "fetched_on"),
)

DIGIWATT_TABLES: Final = (
    CONSUMPTION,
    ESTIMATED_COST,
    CONSUMPTION_DISTRIBUTION,
    PERFORMANCE,
    SAVINGS,
    CONSUMPTION_HISTORY,
    COSTS_HISTORY,
    YEARLY_CONSUMPTION_DISTRIBUTION,
    YEARLY_COMPOUND_CONSUMPTION,
    DISAGGREGATION,
    SCHEMA_DRIFT,
)
