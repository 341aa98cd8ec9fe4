"""Sites beside their peers: `mart.peer`.

What a site used is `site_profile.py`'s; here it is only put in order among sites like it.
"""

from datetime import datetime
from itertools import pairwise
from typing import Final

import polars as pl

from energy_etl.tables.mart import PEER

MIN_PEERS: Final = 5
MIN_COVERAGE_PCT: Final = 90.0
# Edges between the classes of floor area in m2: flats, houses, large houses and shops, then
# buildings by their order of magnitude.
SIZE_EDGES_M2: Final = (100.0, 250.0, 1000.0, 5000.0, 20000.0)

_GROUP: Final = ("commodity", "use", "size_class", "measure")


def compute_peers(profiles: pl.DataFrame, sites: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Tell where each site stands among its peers in the last 28 complete local days.

    Peers have the same commodity, use and size class (of the floor area), an amount in the same
    unit, and at least 90 % coverage; the site itself is one of them. Quartiles are linear between
    order statistics (type 7 of Hyndman and Fan 1996). `rank` counts from the least, equal amounts
    share the lower rank; `percentile` is 100 * (peers that use less) / (peers - 1). Below five
    peers the group stays hidden: its figures would tell on single households.

    Args:
        profiles: `mart.site_profile`.
        sites: `core.site` (site_id, area_m2, use).
        now: not used: what is recent was decided by the profiles.

    Returns:
        `mart.peer`, one row per profile, sorted by site_id, commodity. `amount` is kWh, or m3
        where a site has no kWh of the commodity.
    """
    del now
    if profiles.is_empty():
        return PEER.empty_frame()
    is_energy = pl.col("consumption_kwh").is_not_null() | pl.col("volume_m3").is_null()
    rows = profiles.join(sites.select("site_id", "use"), on="site_id", how="left").with_columns(
        size_class=_size_class(pl.col("area_m2")),
        measure=pl.when(is_energy).then(pl.lit("kwh")).otherwise(pl.lit("m3")),
        amount=pl.when(is_energy).then("consumption_kwh").otherwise("volume_m3"),
    )
    reason = (
        pl.when(pl.col("use").is_null())
        .then(pl.lit("The use of the site is unknown: enter it in sites.csv."))
        .when(pl.col("size_class").is_null())
        .then(pl.lit("The area of the site is unknown: enter area_m2 in sites.csv."))
        .when(pl.col("amount").is_null())
        .then(pl.lit("Nothing was measured in the last 28 complete days."))
        .when(pl.col("coverage_pct") < MIN_COVERAGE_PCT)
        .then(pl.format("Its coverage of {} % is below 90 %.", pl.col("coverage_pct").round(1)))
    )
    rows = rows.with_columns(reason=reason)
    amount = pl.col("amount")
    peers = (
        rows.filter(pl.col("reason").is_null())
        .with_columns(rank=amount.rank("min").over(_GROUP).cast(pl.Int64))
        .with_columns(
            n_peers=pl.len().over(_GROUP).cast(pl.Int64),
            min=amount.min().over(_GROUP),
            lower_quartile=amount.quantile(0.25, "linear").over(_GROUP),
            median=amount.median().over(_GROUP),
            upper_quartile=amount.quantile(0.75, "linear").over(_GROUP),
            max=amount.max().over(_GROUP),
        )
        .with_columns(percentile=100.0 * (pl.col("rank") - 1) / (pl.col("n_peers") - 1))
    )
    is_shown = pl.col("n_peers") >= MIN_PEERS
    figures = ("min", "lower_quartile", "median", "upper_quartile", "max", "rank", "percentile")
    found = peers.select(
        "site_id",
        "commodity",
        "n_peers",
        *(pl.when(is_shown).then(pl.col(f)).alias(f) for f in figures),
    )
    few = pl.format("Comparable sites in its group: {}; five are needed.", "n_peers")
    return (
        rows.join(found, on=["site_id", "commodity"], how="left")
        .with_columns(pl.col("n_peers").fill_null(0))
        .with_columns(
            reason=pl.coalesce("reason", pl.when(pl.col("n_peers") < MIN_PEERS).then(few))
        )
        .select(PEER.polars_schema.names())
        .cast(PEER.polars_schema)
        .sort("site_id", "commodity")
    )


def _size_class(area_m2: pl.Expr) -> pl.Expr:
    found = pl.when(area_m2 < SIZE_EDGES_M2[0]).then(pl.lit(f"below {SIZE_EDGES_M2[0]:g} m2"))
    for low, high in pairwise(SIZE_EDGES_M2):
        found = found.when(area_m2 < high).then(pl.lit(f"{low:g} to {high:g} m2"))
    last = SIZE_EDGES_M2[-1]
    return found.when(area_m2 >= last).then(pl.lit(f"{last:g} m2 and more"))
