"""Energy per site-local hour, day, week and month: of registers, and of whole sites."""

from typing import Final

from energy_etl.tables.model import Column, Table

_REGISTER: Final = (
    Column("register_id", "text", "The register.", is_nullable=False),
    Column("site_id", "text", "Its site.", is_nullable=False),
)
_BOUNDS: Final = (
    Column("start_at", "instant", "Its first instant.", is_nullable=False),
    Column("end_at", "instant", "The first instant after it.", is_nullable=False),
    Column("hours", "float", "Its length in hours, clock changes included.", is_nullable=False),
)
_TOTALS: Final = (
    Column("energy_kwh", "float", "Energy of the intervals that have one; null when none has."),
    Column("volume_m3", "float", "Volume of the intervals that have one; null when none has."),
    Column("n_expected", "int", "Intervals it has.", is_nullable=False),
    Column(
        "n_measured",
        "int",
        "Intervals that were measured (counted, or integrated from power).",
        is_nullable=False,
    ),
    Column("n_estimated", "int", "Intervals that were estimated within a measured total.", False),
    Column("coverage_pct", "float", "100 * n_measured / n_expected.", is_nullable=False),
    Column(
        "is_complete",
        "bool",
        "True when it is over, every interval has a value and none is provisional.",
        False,
    ),
)

HOURLY_ENERGY: Final = Table(
    schema="mart",
    name="hourly_energy",
    description="One register in one site-local hour of the wall clock. A day has 23 to 25 of "
    "them, the repeated hour of autumn twice (told apart by start_at); where the clock changes by "
    "half an hour one is shorter. Of a register with longer intervals only the hours that one "
    "starts in, with all its energy.",
    columns=(
        *_REGISTER,
        Column("local_on", "date", "The local day.", is_nullable=False),
        Column("local_hour", "int", "Hour on the wall clock, 0 to 23.", is_nullable=False),
        *_BOUNDS,
        *_TOTALS,
    ),
    key=("register_id", "start_at"),
    time_column="start_at",
)

DAILY_ENERGY: Final = Table(
    schema="mart",
    name="daily_energy",
    description="One register on one site-local day (23 to 25 hours long), also when nothing came.",
    columns=(
        *_REGISTER,
        Column("local_on", "date", "The local day.", is_nullable=False),
        *_BOUNDS,
        *_TOTALS,
    ),
    key=("register_id", "local_on"),
)

WEEKLY_ENERGY: Final = Table(
    schema="mart",
    name="weekly_energy",
    description="One register in one site-local week, Monday to Sunday, also the running one.",
    columns=(
        *_REGISTER,
        Column("week_on", "date", "Monday of the week.", is_nullable=False),
        *_BOUNDS,
        *_TOTALS,
    ),
    key=("register_id", "week_on"),
)

MONTHLY_ENERGY: Final = Table(
    schema="mart",
    name="monthly_energy",
    description="One register in one site-local month, also the running one.",
    columns=(
        *_REGISTER,
        Column("month_on", "date", "First day of the month.", is_nullable=False),
        *_BOUNDS,
        *_TOTALS,
    ),
    key=("register_id", "month_on"),
)

SITE_DAILY: Final = Table(
    schema="mart",
    name="site_daily",
    description="One site and commodity on one local day, from the site's first interval on, also "
    "when nothing came. Made of primary registers; a figure is null when one of its registers is "
    "silent all day. Where some intervals are missing it is the sum of the others: is_complete and "
    "coverage_pct tell.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("commodity", "text", "electricity, gas, water or heat.", is_nullable=False),
        Column("local_on", "date", "The local day.", is_nullable=False),
        *_BOUNDS,
        Column("consumption_kwh", "float", "Mains + production - export; null: not all known."),
        Column("mains_kwh", "float", "What came through the mains."),
        Column("export_kwh", "float", "What was fed back; null without an export register."),
        Column("production_kwh", "float", "What was produced; null without such a register."),
        Column("submetered_kwh", "float", "Sum of submeters and appliances; null: none has any."),
        Column("volume_m3", "float", "Volume through the mains; null: no volume is measured."),
        Column("n_registers", "int", "Mains, export and production registers in it.", False),
        Column(
            "coverage_pct", "float", "Measured share of those registers' intervals; null: no such."
        ),
        Column("is_complete", "bool", "True when each of them is complete on the day.", False),
    ),
    key=("site_id", "commodity", "local_on"),
)

ENERGY_MARTS: Final = (HOURLY_ENERGY, DAILY_ENERGY, WEEKLY_ENERGY, MONTHLY_ENERGY, SITE_DAILY)
