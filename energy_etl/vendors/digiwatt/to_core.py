"""Digiwatt's tables -> its figures and appliance estimates in our nouns; pure.

The unit trap ends here: savings come in Wh, all else in kWh, and core holds kWh. Smart meters that
nobody has mapped (portfolio column `meter_id_digiwatt`) are left out.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from energy_etl.tables.core import (
    APPLIANCE_INTERVAL,
    VENDOR_APPLIANCE_FIGURE,
    VENDOR_FIGURE,
    VENDOR_MONTH,
)
from energy_etl.tables.model import Table
from energy_etl.units import WH_PER_KWH
from energy_etl.vendors import UNMAPPED_SCHEMA, VendorBatch, WhoIsWho, Whole, Write
from energy_etl.vendors.digiwatt import tables

NAME: Final = "digiwatt"
SAVINGS_PERIOD: Final = "last-30-days"
_ID: Final = "smartmeter_id_digiwatt"
_SNAPSHOT: Final = [_ID, "period", "fetched_on"]


def to_core(batch: VendorBatch, who: WhoIsWho) -> list[Write]:
    """Turn a batch into figures per period, figures per appliance, intervals and months."""
    figures, of_appliances, intervals = (
        to_vendor_figures(batch, who.alias),
        to_appliance_figures(batch, who.alias),
        to_appliance_intervals(batch, who.alias),
    )
    # An appliance that an answer names no more must not stay beside the others.
    answers = of_appliances.select("meter_id", "vendor", "period", "fetched_on").unique()
    writes = (
        Write(VENDOR_FIGURE, figures, "merge"),
        Write(VENDOR_APPLIANCE_FIGURE, of_appliances, Whole(answers)),
        Write(APPLIANCE_INTERVAL, intervals, "merge"),
        Write(VENDOR_MONTH, to_vendor_months(batch, who.alias), "merge"),
    )
    return [write for write in writes if write.frame.height]


def to_vendor_figures(batch: VendorBatch, alias: pl.DataFrame) -> pl.DataFrame:
    """One row per meter, period and day of the fetch, sorted; kWh, EUR and percent.

    Consumption, costs and performance meet in one row; a figure whose endpoint failed is null. The
    last 30 days of savings are the period `last-30-days`.
    """
    consumption = batch.frame(tables.CONSUMPTION).select(
        *_SNAPSHOT, "trend_pct", "fetched_at", energy_kwh="consumption_kwh"
    )
    costs = batch.frame(tables.ESTIMATED_COST).select(
        *_SNAPSHOT, "cost_eur", cost_trend_pct="trend_pct"
    )
    performance = batch.frame(tables.PERFORMANCE).select(
        *_SNAPSHOT, peer_min_kwh="min_consumption_kwh", peer_max_kwh="max_consumption_kwh"
    )
    periods = consumption.join(costs, on=_SNAPSHOT, how="full", coalesce=True).join(
        performance, on=_SNAPSHOT, how="full", coalesce=True
    )
    savings = _savings(batch).filter(pl.col("part") == "total")
    # When the consumption was asked for: what a period that runs up to now goes up to.
    wanted = [name for name in VENDOR_FIGURE.polars_schema if name not in ("meter_id", "vendor")]
    last_30_days = savings.select(
        _ID,
        "period",
        "fetched_on",
        "fetched_at",
        pl.lit(None, pl.Float64).alias("trend_pct"),
        pl.lit(None, pl.Float64).alias("cost_trend_pct"),
        energy_kwh=pl.col("estimated_consumption_wh") / WH_PER_KWH,
        cost_eur="estimated_cost_eur",
        peer_min_kwh=pl.col("min_consumption_wh") / WH_PER_KWH,
        peer_max_kwh=pl.col("max_consumption_wh") / WH_PER_KWH,
    )
    figures = pl.concat([periods.select(_ID, *wanted), last_30_days.select(_ID, *wanted)])
    return _mapped(figures, alias, VENDOR_FIGURE)


def to_appliance_figures(batch: VendorBatch, alias: pl.DataFrame) -> pl.DataFrame:
    """One row per meter, period, day of the fetch and appliance, in kWh, sorted.

    Rows without a value are left out: core knows no appliance figure that is null.
    """
    columns = [*_SNAPSHOT, "appliance", "energy_kwh"]
    shares = batch.frame(tables.CONSUMPTION_DISTRIBUTION).select(
        *_SNAPSHOT, "appliance", energy_kwh="consumption_kwh"
    )
    savings = (
        _savings(batch)
        .filter(pl.col("part") != "total")
        .select(
            *_SNAPSHOT,
            appliance="part",
            energy_kwh=pl.col("estimated_consumption_wh") / WH_PER_KWH,
        )
    )
    figures = pl.concat([shares.select(columns), savings.select(columns)])
    valued = figures.filter(pl.col("energy_kwh").is_not_null())
    return _mapped(valued, alias, VENDOR_APPLIANCE_FIGURE)


def to_appliance_intervals(batch: VendorBatch, alias: pl.DataFrame) -> pl.DataFrame:
    """One row per meter, appliance and interval, in kWh, sorted."""
    series = batch.frame(tables.DISAGGREGATION).rename({"consumption_kwh": "energy_kwh"})
    return _mapped(series, alias, APPLIANCE_INTERVAL)


def to_vendor_months(batch: VendorBatch, alias: pl.DataFrame) -> pl.DataFrame:
    """One row per meter, month and forecast or not, in kWh and EUR, sorted."""
    key = [_ID, "month_on", "is_forecast"]
    energy = batch.frame(tables.CONSUMPTION_HISTORY).select(
        _ID,
        "month_on",
        pl.lit(value=False).alias("is_forecast"),
        energy_kwh="consumption_kwh",
    )
    costs = batch.frame(tables.COSTS_HISTORY).select(*key, "cost_eur")
    months = energy.join(costs, on=key, how="full", coalesce=True)
    return _mapped(months, alias, VENDOR_MONTH)


def find_unmapped(frames: Mapping[str, pl.DataFrame], alias: pl.DataFrame) -> pl.DataFrame:
    """Return nothing: Digiwatt lists no meters, only those of the portfolio are asked for."""
    del frames, alias
    return pl.DataFrame(schema=UNMAPPED_SCHEMA)


def _savings(batch: VendorBatch) -> pl.DataFrame:
    return batch.frame(tables.SAVINGS).with_columns(period=pl.lit(SAVINGS_PERIOD))


def _mapped(frame: pl.DataFrame, alias: pl.DataFrame, table: Table) -> pl.DataFrame:
    ours = alias.filter((pl.col("thing") == "meter") & (pl.col("vendor") == NAME)).select(
        "vendor_id", meter_id="thing_id"
    )
    return (
        frame.join(ours, left_on=_ID, right_on="vendor_id")
        .with_columns(vendor=pl.lit(NAME))
        .select(table.polars_schema.names())
        .sort(table.key)
    )
