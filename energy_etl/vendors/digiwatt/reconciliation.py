"""Digiwatt against itself and against us: `mart.vendor_reconciliation`; pure.

Which figures must be equal, and why they may differ by so much, stands in `reconciliation_periods`,
`reconciliation_months` and `reconciliation_own`; what people are told of it (checks, findings) in
`reconciliation_report`. Figures of ours come from layer mart.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from energy_etl.periods import PERIODS, local_day_of
from energy_etl.tables import Frames, Input, Mart, Plot, Query, core, mart
from energy_etl.vendors.digiwatt import tables
from energy_etl.vendors.digiwatt.reconciliation_months import of_months, of_prices
from energy_etl.vendors.digiwatt.reconciliation_own import of_own
from energy_etl.vendors.digiwatt.reconciliation_periods import (
    of_disaggregation,
    of_distribution,
    of_performance,
)
from energy_etl.vendors.digiwatt.reconciliation_rows import ID
from energy_etl.vendors.digiwatt.tables import VENDOR_RECONCILIATION
from energy_etl.vendors.digiwatt.to_core import NAME

# Figures of a fetch that is older say nothing about the vendor of today.
_MAX_AGE: Final = timedelta(days=35)
# What two roundings and a sum of floats may add.
_FLOAT_SLACK: Final = 1e-9
# Sums of a group are added in any order: the last bits would make an equal row look changed.
_DECIMALS: Final = 9

# The longest period reaches back to the first of last month; more is not looked at.
SLOTS: Final = Query(
    "digiwatt_recent_slots",
    "SELECT smartmeter_id_digiwatt, appliance, start_at, end_at, consumption_kwh "
    "FROM digiwatt.disaggregation JOIN (SELECT smartmeter_id_digiwatt, "
    "max(fetched_on) AS newest_on FROM digiwatt.consumption_distribution "
    "GROUP BY smartmeter_id_digiwatt) USING (smartmeter_id_digiwatt) "
    "WHERE start_at >= newest_on - INTERVAL 64 DAY",
    (tables.DISAGGREGATION, tables.CONSUMPTION_DISTRIBUTION),
)
INPUTS: Final[tuple[Input, ...]] = (
    tables.CONSUMPTION,
    tables.ESTIMATED_COST,
    tables.CONSUMPTION_DISTRIBUTION,
    tables.PERFORMANCE,
    tables.SAVINGS,
    tables.CONSUMPTION_HISTORY,
    tables.COSTS_HISTORY,
    tables.YEARLY_CONSUMPTION_DISTRIBUTION,
    tables.YEARLY_COMPOUND_CONSUMPTION,
    SLOTS,
    core.ALIAS,
    core.METER,
    core.SITE,
    core.REGISTER,
    mart.DAILY_ENERGY,
    mart.PERIOD_TREND,
    mart.TREND_VARIANT,
)


def compute_reconciliations(frames: Frames, now: datetime) -> pl.DataFrame:
    """Compare what must be equal, for the newest fetch of each meter of the last 35 days.

    A figure that did not come, or that cannot be compared, makes the row `not_comparable` with the
    reason, never a difference. Months and hours that came with an earlier fetch count, since what
    came again unchanged is not written again. Where the vendor's periods may run up to the call
    (the document does not tell) both ways are tried and the one that fits the period's sum is
    taken; a trend is compared by the variant that `mart.trend_variant` found, and an open period's
    not at all while none is known.

    Args:
        frames: those of `INPUTS` by full name.
        now: the instant of the computation.

    Returns:
        `mart.vendor_reconciliation`, sorted by its key.
    """
    fetches = _fetches(frames, now)
    if fetches.is_empty():
        return VENDOR_RECONCILIATION.empty_frame()
    periods = fetches.join(pl.DataFrame({"period": PERIODS}), how="cross")
    snapshot = {
        each.full_name: frames[each.full_name].join(
            fetches.select(ID, "fetched_on"), on=[ID, "fetched_on"], how="semi"
        )
        for each in (
            tables.CONSUMPTION,
            tables.ESTIMATED_COST,
            tables.CONSUMPTION_DISTRIBUTION,
            tables.PERFORMANCE,
            tables.SAVINGS,
        )
    }
    compared = [
        *of_distribution(snapshot, periods),
        of_disaggregation(snapshot, frames[SLOTS.full_name], fetches),
        *of_performance(snapshot, periods),
        *of_own(snapshot, frames, fetches),
        *of_months(snapshot, frames, fetches),
        of_prices(snapshot, frames, fetches),
    ]
    wanted = [ID, "rule", "period", "appliance", "unit", "left_native", "right_native"]
    rows = pl.concat(
        [
            frame.with_columns(
                **{
                    name: pl.lit(None, dtype)
                    for name, dtype in (("appliance", pl.String), ("position_pct", pl.Float64))
                    if name not in frame.columns
                }
            ).select(*wanted, "tolerance_native", "reason", "obstacle", "position_pct")
            for frame in compared
        ]
    )
    return (
        _judged(rows)
        .join(fetches, on=ID)
        .with_columns(vendor=pl.lit(NAME))
        .select(VENDOR_RECONCILIATION.polars_schema.names())
        .cast(VENDOR_RECONCILIATION.polars_schema)
        .sort(VENDOR_RECONCILIATION.key)
    )


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    difference = pl.col("left_native") - pl.col("right_native")
    obstacle = (
        pl.when(pl.col("obstacle").is_not_null())
        .then("obstacle")
        .when(pl.col("left_native").is_null() & pl.col("right_native").is_null())
        .then(pl.lit("Neither figure came with this fetch."))
        .when(difference.is_null())
        .then(pl.lit("One of the two figures did not come with this fetch."))
    )
    # What appliances explain may be less than the total, the rest is unattributed; never more.
    is_far = (
        pl.when(pl.col("rule") == "unattributed").then(-difference).otherwise(difference.abs())
        > pl.col("tolerance_native") + _FLOAT_SLACK
    )
    return rows.with_columns(
        difference_native=difference,
        reason=pl.coalesce(obstacle, "reason"),
        verdict=pl.when(obstacle.is_not_null())
        .then(pl.lit("not_comparable"))
        .when(is_far)
        .then(pl.lit("differs"))
        .otherwise(pl.lit("agrees")),
    ).with_columns(
        pl.col("left_native", "right_native", "difference_native", "tolerance_native").round(
            _DECIMALS
        )
    )


def _fetches(frames: Frames, now: datetime) -> pl.DataFrame:
    """One row per mapped meter: its ids, zone, and the day of its newest fetch (fetched_on)."""
    ours = (
        frames[core.ALIAS.full_name]
        .filter((pl.col("thing") == "meter") & (pl.col("vendor") == NAME))
        .select(pl.col("vendor_id").alias(ID), meter_id="thing_id")
        .join(frames[core.METER.full_name].select("meter_id", "site_id"), on="meter_id")
        .join(frames[core.SITE.full_name].select("site_id", "zone"), on="site_id")
    )
    days = pl.concat(
        frames[table.full_name].select(ID, "fetched_on")
        for table in (tables.CONSUMPTION, tables.CONSUMPTION_DISTRIBUTION, tables.SAVINGS)
    )
    newest = days.group_by(ID).agg(pl.col("fetched_on").max())
    # Ids of ours that share a smart meter are one meter: the portfolio refuses that.
    fetches = ours.join(newest, on=ID).unique(ID, keep="first", maintain_order=True)
    zones = fetches["zone"].unique().to_list()
    oldest = {zone: local_day_of(zone, now) - _MAX_AGE for zone in zones}
    return fetches.filter(
        pl.col("fetched_on") >= pl.col("zone").replace_strict(oldest, return_dtype=pl.Date)
    ).sort(ID)


MART: Final = Mart(
    VENDOR_RECONCILIATION,
    INPUTS,
    compute_reconciliations,
    note="Digiwatt's endpoints against each other and against ours; look at what differs.",
    plot=Plot("rule", "n", only=pl.col("verdict") == "differs"),
    numbers={
        "n_agrees": (pl.col("verdict") == "agrees").sum(),
        "n_differs": (pl.col("verdict") == "differs").sum(),
        "n_not_comparable": (pl.col("verdict") == "not_comparable").sum(),
    },
)
