"""Trends of registers and sites: six periods, a year ago, robust, adjusted for the weather."""

from typing import Final

from energy_etl.tables.model import Column, Table

PERIOD_TREND: Final = Table(
    schema="mart",
    name="period_trend",
    description="One register in one of the six periods, against its previous period, the same "
    "period a year ago, and a vendor. last-week is week on week, last-month month on month, "
    "this-month month to date.",
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
        Column("year_ago_start_on", "date", "First local day of the same period a year ago."),
        Column("year_ago_end_on", "date", "First local day after that."),
        Column("year_ago_energy_kwh", "float", "Energy in the same period a year ago."),
        Column("year_ago_coverage_pct", "float", "Measured share of its intervals."),
        Column("year_on_year_pct", "float", "The trend against it; null below 95 % coverage."),
        Column(
            "year_on_year_per_day_pct",
            "float",
            "The same on the mean per hour: a leap day or a clock change removed.",
        ),
        Column("vendor", "text", "Whose figures stand beside ours; null: none."),
        Column("vendor_energy_kwh", "float", "The vendor's consumption."),
        Column("vendor_trend_pct", "float", "The vendor's trend."),
        Column(
            "vendor_difference_pct",
            "float",
            "100 * (vendor - own) / own; null below 95 % coverage.",
        ),
    ),
    key=("register_id", "period", "computed_on"),
)

TREND_VARIANT: Final = Table(
    schema="mart",
    name="trend_variant",
    description="How a vendor counts its periods, told by its own figures: one hypothesis per row, "
    "`is_best` marks the one that fits.",
    columns=(
        Column("meter_id", "text", "The meter.", is_nullable=False),
        Column("vendor", "text", "Whose figures.", is_nullable=False),
        Column(
            "previous_part",
            "text",
            "elapsed: an open period is compared with the same part of the one before; whole: "
            "with all of it.",
            is_nullable=False,
        ),
        Column("has_today", "bool", "True: open periods run up to the fetch.", False),
        Column("n_figures", "int", "Figures of the vendor that can tell hypotheses apart.", False),
        Column("n_fitting", "int", "Those that this hypothesis explains.", is_nullable=False),
        Column("median_energy_error_pct", "float", "Median of abs(vendor - own) / own; null: none"),
        Column("median_trend_error_points", "float", "Median of abs(vendor - own) trend."),
        Column("is_best", "bool", "True for the one that fits best, if one does.", False),
        Column("verdict", "text", "What it means, or why nothing can be told.", is_nullable=False),
    ),
    key=("meter_id", "vendor", "previous_part", "has_today"),
)

ROBUST_TREND: Final = Table(
    schema="mart",
    name="robust_trend",
    description="Theil-Sen trend of a register's last 3 x 364 complete days: the median of the "
    "slopes between days 52 or 104 weeks apart (same weekday, same time of the year), which "
    "neither the season nor a few odd days move, with its 95 % interval. None before there are 30 "
    "pairs, about 13 months. Other weather than a year ago is part of it: see mart.weather_trend.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("site_id", "text", "Its site.", is_nullable=False),
        Column("computed_on", "date", "Local day D: the window ends before it.", False),
        Column("start_on", "date", "First local day of the window.", is_nullable=False),
        Column("n_days", "int", "Days in it with at least 90 % coverage.", is_nullable=False),
        Column("n_pairs", "int", "Pairs of these days 52 or 104 weeks apart.", False),
        Column("median_kwh_per_day", "float", "Median of the days in a pair, as of 24 hours."),
        Column("slope_kwh_per_day_per_year", "float", "Change of the daily energy in a year."),
        Column("slope_low_kwh_per_day_per_year", "float", "Lower end of its 95 % interval."),
        Column("slope_high_kwh_per_day_per_year", "float", "Upper end of its 95 % interval."),
        Column("slope_pct_per_year", "float", "The slope in percent of the median."),
        Column("is_significant", "bool", "True: 0 is outside of it."),
        Column("reason", "text", "Why there is no trend; null when there is one."),
    ),
    key=("register_id",),
)

SITE_WEATHER: Final = Table(
    schema="mart",
    name="site_weather",
    description="Outdoor temperature of a site on a local day and the degree days of it.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("local_on", "date", "The local day.", is_nullable=False),
        Column("temperature_degc", "float", "Mean of the day.", is_nullable=False),
        Column("heating_degree_days", "float", "max(0, 15.5 - temperature), in K d.", False),
        Column("cooling_degree_days", "float", "max(0, temperature - 22), in K d.", False),
        Column("coverage_pct", "float", "Measured share of the day; 100 for the CSV.", False),
        Column("source", "text", "register: a sensor of the site; csv: weather.csv.", False),
    ),
    key=("site_id", "local_on"),
)

_FIT: Final = (
    Column("model", "text", "mean, heating, cooling or heating_and_cooling; null: no fit."),
    Column("balance_heating_degc", "float", "Base of the heating degree days."),
    Column("balance_cooling_degc", "float", "Base of the cooling degree days."),
    Column("base_kwh_per_day", "float", "Intercept: what does not depend on the weather."),
    Column("heating_kwh_per_degree_day", "float", "Slope on the heating degree days."),
    Column("cooling_kwh_per_degree_day", "float", "Slope on the cooling degree days."),
    Column("r2", "float", "Share of the variance that the fit explains."),
    Column("cv_rmse_pct", "float", "100 * root mean squared error / mean."),
)

WEATHER_TREND: Final = Table(
    schema="mart",
    name="weather_trend",
    description="Energy of the last 30 complete days against the 30 days a year before, raw and "
    "with the weather taken out by a degree-day fit; refused when the fit is poor.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("site_id", "text", "Its site.", is_nullable=False),
        Column("computed_on", "date", "Local day D: the windows are counted from it.", False),
        Column("n_fit_days", "int", "Days that the fit is made of.", is_nullable=False),
        *_FIT,
        Column(
            "energy_kwh",
            "float",
            "Energy of the days among the last 30 that can be used; null: fewer than 27.",
        ),
        Column("expected_kwh", "float", "What the fit expects for their weather."),
        Column("previous_energy_kwh", "float", "The same of the 30 days 52 weeks before."),
        Column("previous_expected_kwh", "float", "What the fit expects for their weather."),
        Column("trend_pct", "float", "Raw trend between the two."),
        Column("normalised_trend_pct", "float", "The same, each per its expected energy."),
        Column("reason", "text", "Why it is refused (null figures); null when it is not."),
    ),
    key=("register_id",),
)

SAVINGS: Final = Table(
    schema="mart",
    name="savings",
    description="Avoided energy use (IPMVP option C, CalTRACK daily methods): what the baseline "
    "expects of the reporting period's days, less what was measured. One row per measure of "
    "measures.csv, and per mains one for the last 30 days against the year before them.",
    columns=(
        Column("measure_id", "text", "The measure, or last-30-days.", is_nullable=False),
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("register_id", "text", "The register that is judged.", is_nullable=False),
        Column("computed_on", "date", "Local day D of the computation.", is_nullable=False),
        Column("baseline_start_on", "date", "First day of the baseline.", is_nullable=False),
        Column("baseline_end_on", "date", "First day after it.", is_nullable=False),
        Column("reporting_start_on", "date", "First day of the reporting period.", False),
        Column("reporting_end_on", "date", "First day after it.", is_nullable=False),
        Column("n_baseline_days", "int", "Its sufficient days with a temperature.", False),
        Column("n_reporting_days", "int", "Sufficient days in the reporting period.", False),
        *_FIT,
        Column("measured_kwh", "float", "Energy of the sufficient reporting days."),
        Column("baseline_kwh", "float", "What the baseline expects of them."),
        Column("savings_kwh", "float", "baseline_kwh - measured_kwh; negative: more was used."),
        Column("savings_pct", "float", "100 * savings / baseline."),
        Column(
            "uncertainty_kwh",
            "float",
            "Half of its 90 % interval (ASHRAE Guideline 14, as CalTRACK has it); too narrow for "
            "a few days of low use, where it held in about 70 % of simulations.",
        ),
        Column("reason", "text", "Why it is refused (null figures); null when it is not."),
        Column("vendor", "text", "Whose figures stand beside ours; null: none."),
        Column("vendor_measured_kwh", "float", "The vendor's energy of the last 30 days."),
        Column("vendor_cost", "float", "The vendor's cost of them, in its currency."),
        Column("vendor_difference_pct", "float", "100 * (vendor - own) / own measured energy."),
    ),
    key=("measure_id", "register_id"),
)

TREND_MARTS: Final = (
    PERIOD_TREND,
    TREND_VARIANT,
    ROBUST_TREND,
    SITE_WEATHER,
    WEATHER_TREND,
    SAVINGS,
)
