"""Digiwatt's figures against ours: the last 30 days, and the trends."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import polars as pl
from polars.expr.whenthen import Then

from energy_etl.periods import PERIODS
from energy_etl.tables import Frames, core, mart
from energy_etl.units import WH_PER_KWH
from energy_etl.vendors.digiwatt import tables
from energy_etl.vendors.digiwatt.reconciliation_rows import (
    HALF_SAVINGS_KWH,
    ID,
    OPEN_PERIODS,
    PERIOD_KEY,
    TOTAL,
    compared,
)
from energy_etl.vendors.digiwatt.to_core import NAME, SAVINGS_PERIOD

# Class B of EN 50470-3 is 1 % for each of two meters of one load.
_OWN_SHARE: Final = 0.02
_MIN_COVERAGE: Final = 0.95
_TREND_POINTS: Final = 1.0
_SAVINGS_DAYS: Final = 30


def of_own(snapshot: Frames, frames: Frames, fetches: pl.DataFrame) -> Iterable[pl.DataFrame]:
    """Compare the last 30 days of savings and the trends with those of the meter's mains register.

    Args:
        snapshot: Digiwatt's tables by full name, rows of each meter's newest fetch.
        frames: all inputs by full name.
        fetches: one row per meter: its ids and fetched_on.

    Yields:
        Rows of `compared`: savings_consumption (kWh) and trend (%).
    """
    # Whatever counts or integrates to kWh has trends; voltages and the like have none.
    with_energy = frames[mart.PERIOD_TREND.full_name].select("register_id").unique()
    registers = frames[core.REGISTER.full_name].filter(
        (pl.col("role") == "mains") & pl.col("is_primary") & (pl.col("commodity") == "electricity")
    )
    registers = registers.join(with_energy, on="register_id", how="semi")
    mains = registers.filter(pl.len().over("meter_id") == 1).select("register_id", "meter_id")
    ours = fetches.join(mains, on="meter_id", how="left")
    first_on = pl.col("fetched_on") - timedelta(days=_SAVINGS_DAYS)
    is_in = pl.col("local_on").is_between(first_on, "fetched_on", closed="left")
    n_expected, n_measured = pl.col("n_expected").sum(), pl.col("n_measured").sum()
    n_unknown = n_expected - n_measured - pl.col("n_estimated").sum()
    days = (
        ours.join(frames[mart.DAILY_ENERGY.full_name], on="register_id")
        .filter(is_in)
        .sort("register_id", "local_on")
        .group_by(ID, maintain_order=True)
        .agg(
            own_kwh=pl.col("energy_kwh").sum(),
            n_days=pl.len(),
            share=n_measured / n_expected,
            # Of what is known: so much may be missing from our sum.
            unknown_share=n_unknown / (n_expected - n_unknown),
        )
    )
    savings = (
        snapshot[tables.SAVINGS.full_name]
        .filter(pl.col("part") == TOTAL)
        .select(ID, vendor_kwh=pl.col("estimated_consumption_wh") / WH_PER_KWH)
    )
    off_by = _OWN_SHARE + pl.col("unknown_share")
    is_covered = (pl.col("n_days") == _SAVINGS_DAYS) & (pl.col("share") >= _MIN_COVERAGE)
    yield compared(
        ours.select(ID, "register_id")
        .join(savings, on=ID, how="left")
        .join(days, on=ID, how="left")
        .with_columns(period=pl.lit(SAVINGS_PERIOD)),
        "savings_consumption",
        "vendor_kwh",
        "own_kwh",
        tolerance=(off_by * pl.col("own_kwh").abs()).fill_null(0.0) + HALF_SAVINGS_KWH,
        reason="Two meters of class B (EN 50470-3) may differ by 1 % each, and our sum lacks the "
        "intervals that we do not know.",
        obstacle=_no_register()
        .when(~is_covered.fill_null(value=False))
        .then(pl.lit("Less than 95 % of the 30 days were measured by us.")),
    )
    yield _of_trends(snapshot, frames, ours)


def _no_register() -> Then:
    return pl.when(pl.col("register_id").is_null()).then(
        pl.lit("The meter has not exactly one primary mains register.")
    )


def _of_trends(snapshot: Frames, frames: Frames, ours: pl.DataFrame) -> pl.DataFrame:
    own = frames[mart.PERIOD_TREND.full_name].select(
        "register_id",
        "period",
        "trend_pct",
        "trend_whole_pct",
        pl.col("computed_on").alias("fetched_on"),
    )
    variants = (
        frames[mart.TREND_VARIANT.full_name]
        .filter((pl.col("vendor") == NAME) & pl.col("is_best"))
        .unique("meter_id", keep="first", maintain_order=True)
        .select("meter_id", "previous_part", "has_today")
    )
    rows = (
        ours.join(pl.DataFrame({"period": PERIODS}), how="cross")
        .join(
            snapshot[tables.CONSUMPTION.full_name].select(*PERIOD_KEY, vendor_pct="trend_pct"),
            on=PERIOD_KEY,
            how="left",
        )
        .join(own, on=["register_id", "period", "fetched_on"], how="left")
        .join(variants, on="meter_id", how="left")
    )
    is_open = pl.col("period").is_in(OPEN_PERIODS)
    is_whole = is_open & (pl.col("previous_part") == "whole").fill_null(value=False)
    own_pct = pl.when(is_whole).then("trend_whole_pct").otherwise("trend_pct")
    return compared(
        rows,
        "trend",
        "vendor_pct",
        own_pct,
        tolerance=_TREND_POINTS,
        reason="The vendor's trend is a whole percentage: 1 point.",
        unit="%",
        obstacle=_no_register()
        .when(is_open & pl.col("previous_part").is_null())
        .then(pl.lit("How the vendor counts an open period is not known (mart.trend_variant)."))
        .when(is_open & pl.col("has_today"))
        .then(pl.lit("The vendor counts today in, our periods are complete days."))
        .when(pl.col("vendor_pct").is_not_null() & own_pct.is_null())
        .then(
            pl.lit(
                "We have no trend of that day: too little was measured, or it was not computed on "
                "the day of the fetch."
            )
        ),
    )
