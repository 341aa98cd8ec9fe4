"""Layer `mart`: what people read. Each figure says how much of it was measured."""

from typing import Final

from energy_etl.tables.model import Column, Table

DAILY_ENERGY: Final = Table(
    schema="mart",
    name="daily_energy",
    description="One register on one site-local day (23 to 25 hours long), also when nothing came.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("site_id", "text", "Its site.", is_nullable=False),
        Column("local_on", "date", "The local day.", is_nullable=False),
        Column("start_at", "instant", "First instant of the day.", is_nullable=False),
        Column("end_at", "instant", "First instant of the next day.", is_nullable=False),
        Column("hours", "float", "Length of the day in hours.", is_nullable=False),
        Column("energy_kwh", "float", "Energy of the intervals that have one; null when none has."),
        Column("volume_m3", "float", "Volume of the intervals that have one; null when none has."),
        Column("n_expected", "int", "Intervals the day has.", is_nullable=False),
        Column(
            "n_measured",
            "int",
            "Intervals that were measured (counted, or integrated from power).",
            is_nullable=False,
        ),
        Column(
            "n_estimated", "int", "Intervals that were estimated within a measured total.", False
        ),
        Column("coverage_pct", "float", "100 * n_measured / n_expected.", is_nullable=False),
        Column(
            "is_complete",
            "bool",
            "True when every interval has a value and none is provisional.",
            False,
        ),
    ),
    key=("register_id", "local_on"),
)

PERIOD_TREND: Final = Table(
    schema="mart",
    name="period_trend",
    description="One register in one of the six periods, against its previous period and a vendor.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("site_id", "text", "Its site.", is_nullable=False),
        Column("meter_id", "text", "Its meter.", is_nullable=False),
        Column("period", "text", "yesterday, last-seven-days, this-week, ...", is_nullable=False),
        Column("computed_on", "date", "Local day D from which the period is counted.", False),
        Column("start_on", "date", "First local day; null: an empty window (Monday's this-week)."),
        Column("end_on", "date", "First local day after it."),
        Column("previous_start_on", "date", "First local day of what it is compared with."),
        Column("previous_end_on", "date", "First local day after that."),
        Column("energy_kwh", "float", "Energy in the period; null when nothing was measured."),
        Column("previous_energy_kwh", "float", "Energy in the previous period."),
        Column("coverage_pct", "float", "Measured share of the period's intervals."),
        Column(
            "previous_coverage_pct", "float", "Measured share of the previous period's intervals."
        ),
        Column(
            "trend_pct", "float", "100 * (energy - previous) / previous; null below 95 % coverage."
        ),
        Column(
            "trend_per_day_pct", "float", "The same on the mean per hour: unequal lengths removed."
        ),
        Column("trend_whole_pct", "float", "The trend against the whole previous period."),
        Column("vendor", "text", "Whose figures stand beside ours; null: none."),
        Column("vendor_energy_kwh", "float", "The vendor's consumption."),
        Column("vendor_trend_pct", "float", "The vendor's trend."),
        Column("vendor_difference_pct", "float", "100 * (vendor - own) / own."),
    ),
    key=("register_id", "period", "computed_on"),
)

APPLIANCE_SHARE: Final = Table(
    schema="mart",
    name="appliance_share",
    description="One appliance's share of a site's consumption in a period, or `unattributed`.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("period", "text", "yesterday, last-seven-days, this-week, ...", is_nullable=False),
        Column("computed_on", "date", "Local day D from which the period is counted.", False),
        Column("source", "text", "own: submeters; else the vendor that estimated it.", False),
        Column("appliance", "text", "The appliance, or unattributed.", is_nullable=False),
        Column("energy_kwh", "float", "Its energy; null when nothing was measured."),
        Column("share_pct", "float", "Of the site's consumption (import + production - export)."),
        Column("coverage_pct", "float", "Measured share of the intervals used."),
    ),
    key=("site_id", "period", "computed_on", "source", "appliance"),
)

DISAGGREGATION_SCORE: Final = Table(
    schema="mart",
    name="disaggregation_score",
    description="A vendor's estimate of one appliance against its submeter, on shared intervals.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("meter_id", "text", "The meter whose load was disaggregated.", is_nullable=False),
        Column("vendor", "text", "Whose estimate.", is_nullable=False),
        Column("appliance", "text", "The appliance.", is_nullable=False),
        Column("register_id", "text", "The submeter that tells the truth.", is_nullable=False),
        Column("from_at", "instant", "Start of the first shared interval.", is_nullable=False),
        Column("to_at", "instant", "End of the last shared interval.", is_nullable=False),
        Column("n_intervals", "int", "Shared intervals.", is_nullable=False),
        Column("own_kwh", "float", "Energy by the submeter.", is_nullable=False),
        Column("vendor_kwh", "float", "Energy by the vendor.", is_nullable=False),
        Column("error_in_assigned_energy_kwh", "float", "abs(own - vendor).", is_nullable=False),
        Column("nep", "float", "Sum of absolute errors over sum of truth; null: no truth."),
        Column("nde", "float", "Root of squared errors over squared truth (with the root)."),
        Column("f1", "float", "F1 of on and off at the appliance's threshold; null: never on."),
        Column("on_threshold_w", "float", "Mean power above which it counts as on.", False),
        Column("best_shift_minutes", "int", "Shift of the estimate that fits best (0: aligned)."),
    ),
    key=("meter_id", "vendor", "appliance"),
)

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

MART_TABLES: Final = (
    DAILY_ENERGY,
    PERIOD_TREND,
    APPLIANCE_SHARE,
    DISAGGREGATION_SCORE,
    COVERAGE,
    FINDING,
)
