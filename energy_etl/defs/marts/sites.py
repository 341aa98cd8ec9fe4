"""Sites beside each other: the shape of their load, by area, among their peers."""

from typing import Final

import polars as pl

from energy_etl.defs.marts import made
from energy_etl.tables import Mart, Plot, core, mart
from energy_etl.transform.peers import compute_peers
from energy_etl.transform.site_profile import compute_site_profiles

MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.SITE_PROFILE,
        compute_site_profiles,
        mart.SITE_DAILY,
        mart.HOURLY_ENERGY,
        core.REGISTER,
        core.SITE,
        note="The last 28 complete local days; ordered by coverage, the worst first.",
        plot=Plot("site_id", "consumption_kwh_per_m2", "sum"),
        numbers={
            "worst_coverage_pct": pl.col("coverage_pct").min(),
            "consumption_kwh": pl.col("consumption_kwh").sum(),
        },
    ),
    made(
        mart.PEER,
        compute_peers,
        mart.SITE_PROFILE,
        core.SITE,
        note="Same commodity, use (sites.csv) and size class; hidden below five sites.",
        plot=Plot("site_id", "percentile", "max", pl.col("commodity") == "electricity"),
        numbers={"n_compared": pl.col("percentile").count()},
    ),
)
