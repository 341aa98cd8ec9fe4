"""What energy costs by our tariffs, beside what a vendor says."""

from typing import Final

from energy_etl.tables.model import Column, Table

DAILY_COST: Final = Table(
    schema="mart",
    name="daily_cost",
    description="Cost of one register on one site-local day by the tariffs of its site. One row "
    "per day of mart.daily_energy for each register that a tariff applies to.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("site_id", "text", "Its site.", is_nullable=False),
        Column("local_on", "date", "The local day.", is_nullable=False),
        Column("currency", "text", "ISO 4217 currency of the tariff.", is_nullable=False),
        Column("cost", "float", "Cost of the priced energy; null: none has a price."),
        Column("priced_kwh", "float", "Energy that a tariff prices; null: none."),
        Column("unpriced_kwh", "float", "Energy in a hole of the tariffs; null: none."),
        Column("price_per_kwh", "float", "cost / priced_kwh: the mean price of the day."),
        Column("coverage_pct", "float", "Measured share of the day's intervals.", False),
    ),
    key=("register_id", "local_on"),
)

PERIOD_COST: Final = Table(
    schema="mart",
    name="period_cost",
    description="Cost of one register in one of the six periods, and a vendor's beside it.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("site_id", "text", "Its site.", is_nullable=False),
        Column("meter_id", "text", "Its meter.", is_nullable=False),
        Column("period", "text", "yesterday, last-seven-days, this-week, ...", is_nullable=False),
        Column("computed_on", "date", "Local day D from which the period is counted.", False),
        Column("start_on", "date", "First local day; null: an empty window."),
        Column("end_on", "date", "First local day after it."),
        Column("currency", "text", "ISO 4217 currency of the tariff.", is_nullable=False),
        Column("energy_kwh", "float", "Energy in the period."),
        Column("coverage_pct", "float", "Measured share of the period's intervals."),
        Column("unpriced_kwh", "float", "Energy of it in a hole of the tariffs; null: none."),
        Column("cost", "float", "Its cost; null when energy of it has no price."),
        Column("previous_cost", "float", "Cost of the previous period."),
        Column("cost_trend_pct", "float", "100 * (cost - previous) / previous."),
        Column("price_per_kwh", "float", "Implied price: cost / energy."),
        Column("vendor", "text", "Whose figures stand beside ours; null: none."),
        Column("vendor_cost", "float", "The vendor's cost, in EUR."),
        Column("vendor_cost_trend_pct", "float", "The vendor's trend of it."),
        Column("vendor_price_per_kwh", "float", "The vendor's implied price: cost / energy."),
        Column(
            "vendor_difference_pct",
            "float",
            "100 * (vendor - own) / own cost; null below 95 % coverage.",
        ),
    ),
    key=("register_id", "period", "computed_on"),
)

COST_FORECAST: Final = Table(
    schema="mart",
    name="cost_forecast",
    description="Energy and cost of the running month: what was measured so far, and for the days "
    "left the mean of the same kind of day (weekday, weekend) in the 28 days before.",
    columns=(
        Column("register_id", "text", "The register.", is_nullable=False),
        Column("site_id", "text", "Its site.", is_nullable=False),
        Column("meter_id", "text", "Its meter.", is_nullable=False),
        Column("month_on", "date", "First day of the month.", is_nullable=False),
        Column("computed_on", "date", "Local day D: days from D on are forecast.", False),
        Column("currency", "text", "ISO 4217 currency of the tariff.", is_nullable=False),
        Column("n_days_left", "int", "Days that are forecast, D included.", is_nullable=False),
        Column(
            "n_days_filled",
            "int",
            "Days before D of which more than 10 % is missing: forecast too.",
            is_nullable=False,
        ),
        Column("energy_so_far_kwh", "float", "Energy of the month's days before D."),
        Column("cost_so_far", "float", "Their cost."),
        Column("forecast_kwh", "float", "Energy of the whole month."),
        Column("forecast_cost", "float", "Cost of the whole month."),
        Column("vendor", "text", "Whose forecast stands beside ours; null: none."),
        Column("vendor_forecast_cost", "float", "The vendor's forecast, in EUR."),
        Column("vendor_difference_pct", "float", "100 * (vendor - own) / own forecast."),
        Column("reason", "text", "Why there is no forecast; null when there is one."),
    ),
    key=("register_id", "month_on"),
)

COST_MARTS: Final = (DAILY_COST, PERIOD_COST, COST_FORECAST)
