"""How far the data can be trusted: coverage, balances, electrical consistency, findings."""

from typing import Final

from energy_etl.tables.model import Column, Table

COVERAGE: Final = Table(
    schema="mart",
    name="coverage",
    description="How complete one register is over the last seven complete local days.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("site_id", "text", "Its site.", is_nullable=False),
        Column("computed_on", "date", "Local day D: the seven days end before it.", False),
        Column("n_expected", "int", "Intervals expected.", is_nullable=False),
        Column("n_measured", "int", "Intervals measured.", is_nullable=False),
        Column("n_estimated", "int", "Intervals estimated.", is_nullable=False),
        Column("coverage_pct", "float", "100 * n_measured / n_expected.", is_nullable=False),
        Column("last_read_at", "instant", "Its newest reading; null: none ever."),
    ),
    key=("register_id",),
)

SUBMETER_BALANCE: Final = Table(
    schema="mart",
    name="submeter_balance",
    description="Sum of a site's submeters against its consumption over the last seven complete "
    "local days: more than there is means a wrong map, sign or unit.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("computed_on", "date", "Local day D: the seven days end before it.", False),
        Column("n_days", "int", "Days on which both are complete.", is_nullable=False),
        Column(
            "n_days_over",
            "int",
            "Of them, days with more submetered than consumed, by 2 % and 0.1 kWh or more.",
            is_nullable=False,
        ),
        Column("consumption_kwh", "float", "Consumption on the n_days."),
        Column("submetered_kwh", "float", "Sum of the submeters on them."),
        Column("unattributed_kwh", "float", "What no submeter measured; may be negative."),
        Column("unattributed_pct", "float", "In percent of the consumption."),
    ),
    key=("site_id",),
)

ELECTRICAL_CHECK: Final = Table(
    schema="mart",
    name="electrical_check",
    description="One rule between the electrical quantities of a meter and how often it failed.",
    columns=(
        Column("meter_id", "text", "The meter.", is_nullable=False),
        Column("site_id", "text", "Its site.", is_nullable=False),
        Column(
            "rule",
            "text",
            "power_triangle (P2+Q2=S2), voltage_limits, sum_of_phases, apparent_power (S=U*I), "
            "phases_not_measured.",
            is_nullable=False,
        ),
        Column("phase", "text", "L1, L2, L3, or total.", is_nullable=False),
        Column("quantity", "text", "The unit it is about: W, var, VA, V, A.", is_nullable=False),
        Column("from_at", "instant", "Start of the first interval checked.", is_nullable=False),
        Column("to_at", "instant", "End of the last interval checked.", is_nullable=False),
        Column("n_checked", "int", "Intervals with all the quantities needed.", False),
        Column("n_failed", "int", "Of them, those that break the rule.", is_nullable=False),
        Column("worst_at", "instant", "Start of the interval that breaks it most."),
        Column("worst_native", "float", "By how much, in the quantity's unit."),
    ),
    key=("meter_id", "rule", "phase", "quantity"),
)

FINDING: Final = Table(
    schema="mart",
    name="finding",
    description="One thing that somebody should look at: what, where, and the next step.",
    columns=(
        Column("kind", "text", "Short name of the finding.", is_nullable=False),
        Column("place", "text", "The site, register, meter or vendor id it is about.", False),
        Column("from_at", "instant", "Start of what it is about, where it has one."),
        Column("to_at", "instant", "End of what it is about."),
        Column("message", "text", "What was found.", is_nullable=False),
        Column("next_step", "text", "What to do.", is_nullable=False),
    ),
    key=("kind", "place", "from_at"),
)

QUALITY_MARTS: Final = (COVERAGE, SUBMETER_BALANCE, ELECTRICAL_CHECK, FINDING)
