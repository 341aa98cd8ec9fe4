"""Sites beside each other: profile of the load, comparison by area, peer groups."""

from typing import Final

from energy_etl.tables.model import Column, Table

SITE_PROFILE: Final = Table(
    schema="mart",
    name="site_profile",
    description="One site and commodity over the last 28 complete local days: how much, how much "
    "per area, when, and how well measured. The worst coverage has coverage_rank 1.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("commodity", "text", "electricity, gas, water or heat.", is_nullable=False),
        Column("computed_on", "date", "Local day D: the 28 days end before it.", False),
        Column("coverage_rank", "int", "1 for the worst coverage of all sites.", False),
        Column("coverage_pct", "float", "Measured share of its intervals.", is_nullable=False),
        Column("area_m2", "float", "Floor area, where known."),
        Column("consumption_kwh", "float", "Consumption (mains + production - export)."),
        Column("consumption_kwh_per_m2", "float", "By area; null where that is unknown."),
        Column("volume_m3", "float", "Volume, for gas and water in m3."),
        Column("mean_kw", "float", "Mean of the hours that are known."),
        Column("base_load_kw", "float", "5th percentile of the hourly means."),
        Column("peak_kw", "float", "Highest hourly mean."),
        Column("peak_at", "instant", "Start of that hour."),
        Column("load_factor", "float", "mean_kw / peak_kw, 0 to 1; null: no positive peak."),
        Column("night_share_pct", "float", "Energy of the local hours 0 to 5, of all."),
        Column("weekend_share_pct", "float", "Energy of Saturday and Sunday, of all."),
    ),
    key=("site_id", "commodity"),
)

PEER: Final = Table(
    schema="mart",
    name="peer",
    description="One site among its peers (same commodity, use and size class, coverage of at "
    "least 90 %) over the last 28 complete local days; hidden below five sites.",
    columns=(
        Column("site_id", "text", "The site.", is_nullable=False),
        Column("commodity", "text", "electricity, gas, water or heat.", is_nullable=False),
        Column("computed_on", "date", "Local day D of the site.", is_nullable=False),
        Column("use", "text", "What its building is used for; null: unknown, no peers."),
        Column("size_class", "text", "Class of its floor area; null: unknown, no peers."),
        Column("measure", "text", "kwh or m3 (water, gas in m3).", is_nullable=False),
        Column("amount", "float", "Consumption of the site in that unit; null: not comparable."),
        Column("n_peers", "int", "Sites of the group with enough coverage, this one too.", False),
        Column("min", "float", "Least of the group."),
        Column("lower_quartile", "float", "25th percentile of the group (linear)."),
        Column("median", "float", "50th percentile."),
        Column("upper_quartile", "float", "75th percentile."),
        Column("max", "float", "Most of the group."),
        Column("rank", "int", "1 for the least; equal amounts share the lower rank."),
        Column("percentile", "float", "Share of the other peers that use less, 0 to 100."),
        Column("reason", "text", "Why it is hidden (null figures); null when it is not."),
    ),
    key=("site_id", "commodity"),
)

SITE_MARTS: Final = (SITE_PROFILE, PEER)
