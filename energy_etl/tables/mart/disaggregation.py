"""Who used the energy: shares, and how good a vendor's disaggregation is."""

from typing import Final

from energy_etl.tables.model import Column, Table

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
        Column("energy_kwh", "float", "Its energy; null: nothing was measured, or a part of it."),
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
        Column(
            "nep",
            "float",
            "Normalised error: sum of abs(own - vendor) over intervals / sum of own, 0 or more; "
            "null: no truth.",
        ),
        Column(
            "nde",
            "float",
            "Root of sum (own - vendor)^2 / sum own^2 (with the root), 0 or more; null: no truth.",
        ),
        Column(
            "f1",
            "float",
            "2 TP / (2 TP + FP + FN) of on and off, 0 to 1, of an estimate of all zeros 0; on: "
            "above on_threshold_w. Null: never on.",
        ),
        Column(
            "on_threshold_w",
            "float",
            "Mean power above which it counts as on: kettle 2000, microwave 200, fridge 50, "
            "washingMachine 20, dishwasher 10, else 10.",
            is_nullable=False,
        ),
        Column("best_shift_minutes", "int", "Shift of the estimate that fits best (0: aligned)."),
        Column("nep_aligned", "float", "nep with the estimate shifted by best_shift_minutes."),
        Column("nep_floor", "float", "nep of an estimate of all zeros: 1; null: no truth."),
        Column("nde_floor", "float", "nde of an estimate of all zeros: 1; null: no truth."),
    ),
    key=("meter_id", "vendor", "appliance"),
)

DISAGGREGATION_TOTAL: Final = Table(
    schema="mart",
    name="disaggregation_total",
    description="All appliances of a meter that have both a submeter and a vendor's estimate, "
    "judged together on shared intervals, beside the score of an estimate of all zeros.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("meter_id", "text", "The meter whose load was disaggregated.", is_nullable=False),
        Column("vendor", "text", "Whose estimate.", is_nullable=False),
        Column("from_at", "instant", "Start of the first shared interval.", is_nullable=False),
        Column("to_at", "instant", "End of the last shared interval.", is_nullable=False),
        Column("n_appliances", "int", "Appliances that are judged.", is_nullable=False),
        Column("n_intervals", "int", "Intervals in which all of them and the mains are known."),
        Column(
            "mains_kwh",
            "float",
            "Consumption of the site (import + production - export) in those intervals; null: no "
            "mains register.",
        ),
        Column("own_kwh", "float", "Of it by the submeters."),
        Column("vendor_kwh", "float", "Of it by the vendor's estimates of the same appliances."),
        Column(
            "fraction_assigned_correctly",
            "float",
            "Sum over appliances of min(share of own_kwh, share of vendor_kwh), 0 to 1; 1 with one "
            "appliance. Null: either has no energy, as an estimate of all zeros has none.",
        ),
        Column(
            "total_energy_accuracy",
            "float",
            "1 - sum of abs(vendor - own) over appliances and intervals / (2 * mains), at most 1 "
            "(Kolter and Johnson 2011); null: no mains.",
        ),
        Column(
            "total_energy_accuracy_aligned",
            "float",
            "The same with the estimates shifted by best_shift_minutes.",
        ),
        Column(
            "total_energy_accuracy_floor",
            "float",
            "The same for an estimate of all zeros, 1 - own / (2 * mains): what a vendor has to "
            "beat.",
        ),
        Column("best_shift_minutes", "int", "Shift that fits all of them best (0: aligned)."),
    ),
    key=("meter_id", "vendor"),
)

DISAGGREGATION_MARTS: Final = (APPLIANCE_SHARE, DISAGGREGATION_SCORE, DISAGGREGATION_TOTAL)
