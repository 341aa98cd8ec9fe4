"""Who used the energy: appliance shares by submeters and by vendors.

Names as nilmtk has them: mains, appliance, submeter. How good a vendor's estimate is, is
`disaggregation_scores.py`; trends are `trends.py`.
"""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.tables.mart import APPLIANCE_SHARE
from energy_etl.transform.sums import exact_sum
from energy_etl.transform.windows import (
    CONSUMPTION_SIGN,
    is_energy_register,
    part_of,
    period_windows,
    sum_windows,
)

UNATTRIBUTED: Final = "unattributed"
OWN: Final = "own"

SUBMETER_ROLES: Final = ("submeter", "appliance")


def compute_appliance_shares(
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    vendor_appliance_figures: pl.DataFrame,
    meters: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Share out each site's electricity over its appliances, by submeters and by each vendor.

    Own: the site's consumption is import + production - export of its primary electricity
    registers over the period, null when one of them has no energy there. Each submeter or
    appliance has its share of it, and `unattributed` = consumption - sum of what the submeters
    measured, which may be slightly negative and is never clipped; null when one of them has no
    energy there, since what it would have measured is not unattributed. A submeter without a name
    is called by its register_id. Sites without submeters have no own rows.
    By vendor: the share of the sum of that vendor's appliances (its `other` included), over all
    meters of the site, of the figures that were fetched on the computed day.

    Args:
        daily: `mart.daily_energy`.
        registers: `core.register`.
        vendor_appliance_figures: `core.vendor_appliance_figure`.
        meters: `core.meter` (meter_id, site_id).
        now: the instant of the computation.

    Returns:
        `mart.appliance_share`, sorted by its key. Shares are null when what they are a share of
        is null or not above 0; coverage is that of all registers that a row is made of, null for
        vendors and for empty windows.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    if registers.is_empty():
        return APPLIANCE_SHARE.empty_frame()
    windows = period_windows(registers["zone"].unique().sort(), now)
    windows = windows.filter(pl.col("part") == "current")
    rows = [
        _own_shares(daily, registers, windows),
        _vendor_shares(registers, vendor_appliance_figures, meters, windows),
    ]
    return pl.concat(rows).sort(APPLIANCE_SHARE.key)


def _own_shares(
    daily: pl.DataFrame, registers: pl.DataFrame, windows: pl.DataFrame
) -> pl.DataFrame:
    is_electric = is_energy_register() & (pl.col("commodity") == "electricity")
    electric = registers.filter(is_electric & pl.col("is_primary"))
    totals = part_of(
        sum_windows(daily, electric, windows),
        "current",
        "computed_on",
        "energy_kwh",
        "n_measured",
        "n_expected",
    ).join(electric.select("register_id", "site_id", "role", "appliance"), on="register_id")
    period = ["site_id", "period", "computed_on"]
    counts = [pl.col("n_measured", "n_expected").sum()]
    is_submeter = pl.col("role").is_in(SUBMETER_ROLES)
    appliances = (
        totals.filter(is_submeter)
        .group_by(*period, pl.coalesce("appliance", "register_id").alias("appliance"))
        .agg(
            exact_sum(pl.col("energy_kwh")).alias("energy_kwh"),
            *counts,
            has_unknown=pl.col("energy_kwh").is_null().any(),
        )
    )
    signed = pl.col("energy_kwh") * pl.col("role").replace_strict(
        CONSUMPTION_SIGN, default=0.0, return_dtype=pl.Float64
    )
    is_known = pl.col("energy_kwh").is_not_null().all() & (pl.col("role") == "mains").any()
    sites = (
        totals.filter(pl.col("role").is_in(list(CONSUMPTION_SIGN)))
        .group_by(period)
        .agg(pl.when(is_known).then(exact_sum(signed)).alias("consumption_kwh"), *counts)
    )
    attributed = appliances.group_by(period).agg(
        attributed_kwh=pl.when(~pl.col("has_unknown").any()).then(exact_sum(pl.col("energy_kwh"))),
        sub_measured=pl.col("n_measured").sum(),
        sub_expected=pl.col("n_expected").sum(),
    )
    rest = attributed.join(sites, on=period, how="left").select(
        *period,
        pl.lit(UNATTRIBUTED).alias("appliance"),
        (pl.col("consumption_kwh") - pl.col("attributed_kwh")).alias("energy_kwh"),
        pl.col("n_measured").fill_null(0) + pl.col("sub_measured"),
        pl.col("n_expected").fill_null(0) + pl.col("sub_expected"),
    )
    rows = pl.concat([appliances.drop("has_unknown"), rest], how="vertical_relaxed").join(
        sites.select(*period, "consumption_kwh"), on=period, how="left"
    )
    share = 100.0 * pl.col("energy_kwh") / pl.col("consumption_kwh")
    return _as_shares(
        rows.with_columns(
            source=pl.lit(OWN),
            share_pct=pl.when(pl.col("consumption_kwh") > 0).then(share),
            coverage_pct=pl.when(pl.col("n_expected") > 0).then(
                100.0 * pl.col("n_measured") / pl.col("n_expected")
            ),
        )
    )


def _vendor_shares(
    registers: pl.DataFrame,
    figures: pl.DataFrame,
    meters: pl.DataFrame,
    windows: pl.DataFrame,
) -> pl.DataFrame:
    sites = registers.select("site_id", "zone").unique().join(windows, on="zone")
    key = ["site_id", "period", "computed_on", "source"]
    rows = (
        figures.join(meters.select("meter_id", "site_id"), on="meter_id")
        .rename({"fetched_on": "computed_on", "vendor": "source"})
        .join(
            sites.select("site_id", "period", "computed_on"),
            on=["site_id", "period", "computed_on"],
        )
        .group_by(*key, "appliance")
        .agg(energy_kwh=exact_sum(pl.col("energy_kwh")))
    )
    sums = rows.group_by(key).agg(sum_kwh=exact_sum(pl.col("energy_kwh")))
    share = 100.0 * pl.col("energy_kwh") / pl.col("sum_kwh")
    return _as_shares(
        rows.join(sums, on=key).with_columns(
            share_pct=pl.when(pl.col("sum_kwh") > 0).then(share),
            coverage_pct=pl.lit(None, pl.Float64),
        )
    )


def _as_shares(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(APPLIANCE_SHARE.polars_schema.names()).cast(APPLIANCE_SHARE.polars_schema)
