"""Layer `core`: our nouns. One row per stated key, whoever the vendor is.

Sites to tariffs come from the portfolio, readings and appliance estimates from the vendors,
intervals, samples and edits from `transform/`.
"""

from typing import Final

from energy_etl.tables.model import Column, Table

SITE: Final = Table(
    schema="core",
    name="site",
    description="One place with one time zone.",
    columns=(
        Column("site_id", "text", "Our id.", is_nullable=False),
        Column("name", "text", "What people call it.", is_nullable=False),
        Column("zone", "text", "IANA time zone.", is_nullable=False),
        Column(
            "currency", "text", "ISO 4217 currency of its tariffs and costs.", is_nullable=False
        ),
        Column("area_m2", "float", "Floor area in square metres, where known."),
        Column("use", "text", "What it is used for (household, office, ...): makes its peers."),
    ),
    key=("site_id",),
)

METER: Final = Table(
    schema="core",
    name="meter",
    description="One real meter, whichever vendors see it.",
    columns=(
        Column("meter_id", "text", "Our id.", is_nullable=False),
        Column("site_id", "text", "The site it stands in.", is_nullable=False),
        Column("name", "text", "What people call it.", is_nullable=False),
        Column("commodity", "text", "electricity, gas, water, heat or temperature.", False),
    ),
    key=("meter_id",),
)

REGISTER: Final = Table(
    schema="core",
    name="register",
    description="One counter or sensor of a meter: what its readings mean.",
    columns=(
        Column("register_id", "text", "Our id.", is_nullable=False),
        Column("meter_id", "text", "The meter it belongs to.", is_nullable=False),
        Column("site_id", "text", "The site of that meter.", is_nullable=False),
        Column("zone", "text", "IANA time zone of that site.", is_nullable=False),
        Column("commodity", "text", "Commodity of that meter.", is_nullable=False),
        Column("role", "text", "mains, submeter, appliance, export, production or sensor.", False),
        Column(
            "appliance",
            "text",
            "What the submeter or appliance feeds; of a temperature sensor outdoor, or its room; "
            "null for mains.",
        ),
        Column("kind", "text", "cumulative, interval or instant.", is_nullable=False),
        Column("unit", "text", "Unit of reading_native.", is_nullable=False),
        Column("grid_minutes", "int", "Length of its intervals in minutes.", is_nullable=False),
        Column("digits", "int", "Integer digits of the counter; null when unknown."),
        Column("rating_native_per_hour", "float", "Most in an hour (power: most); null: unknown."),
        Column("resolution_native", "float", "Smallest step it can show.", is_nullable=False),
        Column("stamp", "text", "What a time stamp marks: start, end or instant.", False),
        Column("is_primary", "bool", "False for a second view of the same thing.", False),
        Column("phase", "text", "L1, L2 or L3; null: all phases together, or not electrical."),
        Column("nominal_native", "float", "What it should show, such as 230 V; null: unknown."),
    ),
    key=("register_id",),
)

ALIAS: Final = Table(
    schema="core",
    name="alias",
    description="Who is who: one id of ours beside one id of a vendor.",
    columns=(
        Column("thing", "text", "site, meter or register.", is_nullable=False),
        Column("thing_id", "text", "Our id.", is_nullable=False),
        Column("vendor", "text", "The vendor.", is_nullable=False),
        Column("vendor_id", "text", "The vendor's id.", is_nullable=False),
    ),
    key=("thing", "vendor", "vendor_id"),
)

EXCHANGE: Final = Table(
    schema="core",
    name="exchange",
    description="One declared exchange of a meter.",
    columns=(
        Column("register_id", "text", "The register that was exchanged.", is_nullable=False),
        Column("exchanged_at", "instant", "When.", is_nullable=False),
        Column("final_native", "float", "Last value of the old counter.", is_nullable=False),
        Column("initial_native", "float", "First value of the new counter.", is_nullable=False),
    ),
    key=("register_id", "exchanged_at"),
)

GAP: Final = Table(
    schema="core",
    name="gap",
    description="One stretch that somebody declared missing for good.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("from_at", "instant", "Start of the stretch.", is_nullable=False),
        Column("to_at", "instant", "End of the stretch.", is_nullable=False),
        Column("reason", "text", "Why nothing will come."),
    ),
    key=("register_id", "from_at"),
)

MANUAL_EDIT: Final = Table(
    schema="core",
    name="manual_edit",
    description="One decision of a person about readings, which overrules the cleaning.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("from_at", "instant", "First instant it is about.", is_nullable=False),
        Column("to_at", "instant", "Last instant it is about (inclusive).", is_nullable=False),
        Column(
            "action",
            "text",
            "drop: these readings are wrong; keep: they are right, whatever cleaning says; "
            "replace: the reading at from_at shows reading_native.",
            is_nullable=False,
        ),
        Column("reading_native", "float", "For replace: what it shows, in the register's unit."),
        Column("reason", "text", "Why, and who says so.", is_nullable=False),
    ),
    key=("register_id", "from_at", "action"),
)

TARIFF: Final = Table(
    schema="core",
    name="tariff",
    description="One price of a site within its validity and its hours of the local day.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("commodity", "text", "electricity, gas, water or heat.", is_nullable=False),
        Column("role", "text", "The registers it prices: mains, or export (a credit).", False),
        Column("valid_from_on", "date", "First local day.", is_nullable=False),
        Column("valid_to_on", "date", "First local day after it; null: open."),
        Column("from_local_time", "text", "Start of its hours, HH:MM.", is_nullable=False),
        Column("to_local_time", "text", "End of its hours, HH:MM (24:00: midnight).", False),
        Column("days", "text", "all, weekdays or weekend.", is_nullable=False),
        Column("price_per_kwh", "float", "Price of a kWh in `currency`.", is_nullable=False),
        Column("currency", "text", "ISO 4217 currency of the price.", is_nullable=False),
    ),
    key=("site_id", "commodity", "role", "valid_from_on", "from_local_time", "days"),
)

MEASURE: Final = Table(
    schema="core",
    name="measure",
    description="One measure that was meant to save energy, with what is compared.",
    columns=(
        Column("measure_id", "text", "Our id.", is_nullable=False),
        Column("register_id", "text", "The register that should show it.", is_nullable=False),
        Column("name", "text", "What was done.", is_nullable=False),
        Column("baseline_start_on", "date", "First local day of the baseline.", False),
        Column("baseline_end_on", "date", "First local day after it (works begin).", False),
        Column("reporting_start_on", "date", "First local day after the works.", False),
        Column("reporting_end_on", "date", "First local day after the period; null: open."),
    ),
    key=("measure_id",),
)

WEATHER: Final = Table(
    schema="core",
    name="weather",
    description="Outdoor temperature of a site on a local day, from weather.csv.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("local_on", "date", "The local day.", is_nullable=False),
        Column("temperature_degc", "float", "Mean of the day.", is_nullable=False),
    ),
    key=("site_id", "local_on"),
)

PORTFOLIO_PROBLEM: Final = Table(
    schema="core",
    name="portfolio_problem",
    description="One cell of the portfolio's files that could not be used; its row was left out, "
    "and what depends on it.",
    columns=(
        Column("file", "text", "The file.", is_nullable=False),
        Column("line", "int", "Its line; 1: the header, 0: the whole file.", is_nullable=False),
        Column("columns", "text", "The column, or columns; empty: the whole line.", False),
        Column("message", "text", "What is wrong and what to write instead.", False),
    ),
    key=("file", "line", "columns", "message"),
)

READING: Final = Table(
    schema="core",
    name="reading",
    description="One value of a register at an instant, in each version that was received.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("read_at", "instant", "The instant the value belongs to.", is_nullable=False),
        Column("reading_native", "float", "The value in the register's unit; null: none given."),
        Column(
            "version", "int", "1 for the first value received, counted up by corrections.", False
        ),
        Column("vendor", "text", "The vendor that delivered it.", is_nullable=False),
        Column("received_at", "instant", "When this version came.", False, is_bookkeeping=True),
    ),
    key=("register_id", "read_at", "version"),
    time_column="read_at",
)

INTERVAL: Final = Table(
    schema="core",
    name="interval",
    description="One half-open interval [start_at, end_at) of a register's grid with its total.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("start_at", "instant", "Start of the interval.", is_nullable=False),
        Column("end_at", "instant", "End of the interval.", is_nullable=False),
        Column("energy_kwh", "float", "Energy; null when missing or not an energy register."),
        Column("volume_m3", "float", "Volume; null when missing or not a volume register."),
        Column("register_end_native", "float", "The counter's value at end_at, null: unknown."),
        Column(
            "quality",
            "text",
            "measured, integrated (from power), estimated, missing or implausible.",
            False,
        ),
        Column(
            "flags",
            "flags",
            "What happened: reset, rollover, gap, dip, ...; manual: leans on a value replaced by "
            "hand.",
            is_nullable=False,
        ),
        Column("is_provisional", "bool", "True until readings beyond it confirm it.", False),
        Column("is_pushable", "bool", "True when it may be delivered.", is_nullable=False),
        Column("hold_reason", "text", "Why it may not be delivered; null when it may."),
    ),
    key=("register_id", "start_at"),
    time_column="start_at",
)

EDIT: Final = Table(
    schema="core",
    name="edit",
    description="One run of readings that cleaning or a person dropped, kept or explained; raw "
    "stays untouched.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column(
            "rule",
            "text",
            "zero_glitch, false_low, false_high, dip, reset, rollover, ...; manual_drop, "
            "manual_keep, manual_replace: a row of core.manual_edit that applied.",
            is_nullable=False,
        ),
        Column("from_at", "instant", "First reading of the run.", is_nullable=False),
        Column("to_at", "instant", "Last reading of the run.", is_nullable=False),
        Column("n_readings", "int", "Readings in the run.", is_nullable=False),
        Column("evidence", "text", "The values that decided it.", is_nullable=False),
    ),
    key=("register_id", "rule", "from_at"),
    time_column="from_at",
)

SAMPLE: Final = Table(
    schema="core",
    name="sample",
    description="Time-weighted mean of an instantaneous quantity (not energy) over one interval "
    "[start_at, end_at); no row where readings are more than 1.5 grid steps apart.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("start_at", "instant", "Start of the interval.", is_nullable=False),
        Column("end_at", "instant", "End of the interval.", is_nullable=False),
        Column(
            "sample_native",
            "float",
            "Time-weighted mean of the straight lines between readings, or of the means that the "
            "source sends (kind interval), in the register's unit.",
            is_nullable=False,
        ),
        Column("n_readings", "int", "Readings within the interval; may be 0.", is_nullable=False),
        Column("is_provisional", "bool", "True until a reading at or after its end exists.", False),
    ),
    key=("register_id", "start_at"),
    time_column="start_at",
)

APPLIANCE_INTERVAL: Final = Table(
    schema="core",
    name="appliance_interval",
    description="A vendor's estimate of one appliance's energy over one interval.",
    columns=(
        Column("meter_id", "text", "The meter whose load was disaggregated.", is_nullable=False),
        Column("vendor", "text", "Who estimated it.", is_nullable=False),
        Column("appliance", "text", "The appliance, in the vendor's vocabulary.", False),
        Column("start_at", "instant", "Start of the interval.", is_nullable=False),
        Column("end_at", "instant", "End of the interval.", is_nullable=False),
        Column("energy_kwh", "float", "Estimated energy.", is_nullable=False),
    ),
    key=("meter_id", "vendor", "appliance", "start_at"),
    time_column="start_at",
)

VENDOR_FIGURE: Final = Table(
    schema="core",
    name="vendor_figure",
    description="A vendor's own figure for a meter and a period, by the day it was fetched.",
    columns=(
        Column("meter_id", "text", "The meter.", is_nullable=False),
        Column("vendor", "text", "Whose figure.", is_nullable=False),
        Column("period", "text", "yesterday, last-seven-days, this-week, ...", is_nullable=False),
        Column("fetched_on", "date", "Local day of the fetch: the periods end there.", False),
        Column("energy_kwh", "float", "Consumption by the vendor."),
        Column("trend_pct", "float", "Change against the previous period by the vendor."),
        Column("cost_eur", "float", "Cost by the vendor."),
        Column("cost_trend_pct", "float", "Change of the cost by the vendor."),
        Column("peer_min_kwh", "float", "Least consumption of similar users by the vendor."),
        Column("peer_max_kwh", "float", "Most consumption of similar users by the vendor."),
        Column("fetched_at", "instant", "When it was asked for.", is_bookkeeping=True),
    ),
    key=("meter_id", "vendor", "period", "fetched_on"),
)

VENDOR_APPLIANCE_FIGURE: Final = Table(
    schema="core",
    name="vendor_appliance_figure",
    description="A vendor's own figure for one appliance of a meter and a period.",
    columns=(
        Column("meter_id", "text", "The meter.", is_nullable=False),
        Column("vendor", "text", "Whose figure.", is_nullable=False),
        Column("period", "text", "yesterday, last-seven-days, this-week, ...", is_nullable=False),
        Column("fetched_on", "date", "Local day of the fetch: the periods end there.", False),
        Column("appliance", "text", "The appliance, in the vendor's vocabulary.", False),
        Column("energy_kwh", "float", "Consumption of the appliance by the vendor.", False),
    ),
    key=("meter_id", "vendor", "period", "fetched_on", "appliance"),
)

VENDOR_MONTH: Final = Table(
    schema="core",
    name="vendor_month",
    description="A vendor's own figures of a meter for a month, or its forecast of one.",
    columns=(
        Column("meter_id", "text", "The meter.", is_nullable=False),
        Column("vendor", "text", "Whose figure.", is_nullable=False),
        Column("month_on", "date", "First day of the month.", is_nullable=False),
        Column("is_forecast", "bool", "True for the forecast of a running month.", False),
        Column("energy_kwh", "float", "Consumption by the vendor; null: none given."),
        Column("cost_eur", "float", "Cost by the vendor; null: none given."),
    ),
    key=("meter_id", "vendor", "month_on", "is_forecast"),
)

CORE_TABLES: Final = (
    SITE,
    METER,
    REGISTER,
    ALIAS,
    EXCHANGE,
    GAP,
    MANUAL_EDIT,
    TARIFF,
    MEASURE,
    WEATHER,
    PORTFOLIO_PROBLEM,
    READING,
    INTERVAL,
    EDIT,
    SAMPLE,
    APPLIANCE_INTERVAL,
    VENDOR_FIGURE,
    VENDOR_APPLIANCE_FIGURE,
    VENDOR_MONTH,
)
