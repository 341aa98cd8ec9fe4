"""Digiwatt's twelve months against each other and against its periods; its prices."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from energy_etl.tables import Frames
from energy_etl.units import WH_PER_KWH
from energy_etl.vendors.digiwatt import tables
from energy_etl.vendors.digiwatt.reconciliation_rows import (
    HALF_KWH,
    ID,
    PERIOD_KEY,
    TOTAL,
    compared,
    sum_parts,
    without_rest,
)
from energy_etl.vendors.digiwatt.to_core import SAVINGS_PERIOD

MONTH_KEY: Final = [ID, "month_on"]
# A mixed-up unit is a factor of 100 or 1000; hours of use and standing charges move a price less.
_PRICE_SHARE: Final = 0.5


def of_months(snapshot: Frames, frames: Frames, fetches: pl.DataFrame) -> Iterable[pl.DataFrame]:
    """Compare the histories with the period last-month, and with the other yearly endpoints.

    Without a part for the rest a yearly sum below its month contradicts nothing.

    Args:
        snapshot: Digiwatt's tables by full name, rows of each meter's newest fetch.
        frames: all inputs by full name.
        fetches: one row per meter: its id and fetched_on.

    Yields:
        Rows of `compared`: history_last_month, costs_last_month, and by month
        yearly_distribution_sum, compound_total, compound_parts.
    """
    history = _months(frames[tables.CONSUMPTION_HISTORY.full_name], fetches).select(
        *MONTH_KEY, history_kwh="consumption_kwh"
    )
    costs = _months(frames[tables.COSTS_HISTORY.full_name], fetches).filter(~pl.col("is_forecast"))
    is_last_month = pl.col("period") == "last-month"
    last_month = fetches.select(
        ID,
        pl.lit("last-month").alias("period"),
        month_on=pl.col("fetched_on").dt.month_start().dt.offset_by("-1mo"),
    )
    for rule, monthly, by_period, column, unit in (
        ("history_last_month", history, tables.CONSUMPTION, "consumption_kwh", "kWh"),
        ("costs_last_month", costs, tables.ESTIMATED_COST, "cost_eur", "EUR"),
    ):
        figure = snapshot[by_period.full_name].filter(is_last_month)
        months = monthly.select(*MONTH_KEY, of_month="history_kwh" if unit == "kWh" else "cost_eur")
        yield compared(
            last_month.join(months, on=MONTH_KEY, how="left").join(
                figure.select(ID, of_period=column), on=ID, how="left"
            ),
            rule,
            "of_month",
            "of_period",
            tolerance=2 * HALF_KWH,
            reason=f"Both figures are rounded to 0.01 {unit}.",
            unit=unit,
        )
    yearly = sum_parts(
        _months(frames[tables.YEARLY_CONSUMPTION_DISTRIBUTION.full_name], fetches), MONTH_KEY
    )
    is_total = pl.col("part") == TOTAL
    compound = _months(frames[tables.YEARLY_COMPOUND_CONSUMPTION.full_name], fetches)
    compound_sums = compound.group_by(MONTH_KEY).agg(
        total_kwh=pl.col("consumption_kwh").filter(is_total).first(),
        parts_kwh=pl.when(pl.col("consumption_kwh").is_not_null().all() & (~is_total).any()).then(
            pl.col("consumption_kwh").filter(~is_total).sum()
        ),
        n_bands=pl.len(),
    )
    rows = (
        history.join(yearly, on=MONTH_KEY, how="full", coalesce=True)
        .join(compound_sums, on=MONTH_KEY, how="full", coalesce=True)
        .with_columns(period=pl.col("month_on").dt.strftime("%Y-%m"))
    )
    yield compared(
        rows,
        "yearly_distribution_sum",
        "all_kwh",
        "history_kwh",
        tolerance=HALF_KWH * (pl.col("n_parts").fill_null(0) + 1),
        reason="Each appliance and the month are rounded to 0.01 kWh.",
        obstacle=without_rest("history_kwh"),
    )
    yield compared(
        rows,
        "compound_total",
        "total_kwh",
        "history_kwh",
        tolerance=2 * HALF_KWH,
        reason="Both figures are rounded to 0.01 kWh.",
    )
    yield compared(
        rows,
        "compound_parts",
        "parts_kwh",
        "total_kwh",
        tolerance=HALF_KWH * pl.col("n_bands").fill_null(0),
        reason="Each part and the total are rounded to 0.01 kWh.",
    )


def _months(rows: pl.DataFrame, fetches: pl.DataFrame) -> pl.DataFrame:
    """Return the twelve complete months before the fetch: older ones are not asked for again."""
    this_month = pl.col("newest_on").dt.month_start()
    return (
        rows.join(fetches.select(ID, newest_on="fetched_on"), on=ID)
        .filter(pl.col("month_on") < this_month)
        .filter(pl.col("month_on") >= this_month.dt.offset_by("-12mo"))
    )


def of_prices(snapshot: Frames, frames: Frames, fetches: pl.DataFrame) -> pl.DataFrame:
    """Compare each cost over its consumption with the median of all of the meter's.

    Periods, the last 30 days and the months; no price where nothing was consumed.

    Args:
        snapshot: Digiwatt's tables by full name, rows of each meter's newest fetch.
        frames: all inputs by full name.
        fetches: one row per meter: its id and fetched_on.

    Returns:
        Rows of `compared`: implied_price, in EUR/kWh.
    """
    columns = [ID, "period", "cost_eur", "energy_kwh"]
    consumption = snapshot[tables.CONSUMPTION.full_name].select(
        *PERIOD_KEY, energy_kwh="consumption_kwh"
    )
    costs = snapshot[tables.ESTIMATED_COST.full_name].select(*PERIOD_KEY, "cost_eur")
    savings = (
        snapshot[tables.SAVINGS.full_name]
        .filter(pl.col("part") == TOTAL)
        .select(
            ID,
            pl.lit(SAVINGS_PERIOD).alias("period"),
            cost_eur="estimated_cost_eur",
            energy_kwh=pl.col("estimated_consumption_wh") / WH_PER_KWH,
        )
    )
    energy = _months(frames[tables.CONSUMPTION_HISTORY.full_name], fetches)
    cost = _months(frames[tables.COSTS_HISTORY.full_name], fetches).filter(~pl.col("is_forecast"))
    months = energy.join(cost.select(*MONTH_KEY, "cost_eur"), on=MONTH_KEY).select(
        ID,
        "cost_eur",
        period=pl.col("month_on").dt.strftime("%Y-%m"),
        energy_kwh="consumption_kwh",
    )
    rows = pl.concat(
        [
            costs.join(consumption, on=PERIOD_KEY).select(columns),
            savings.select(columns),
            months.select(columns),
        ]
    )
    has_energy = pl.col("energy_kwh") > 0
    price = pl.when(has_energy).then(pl.col("cost_eur") / pl.col("energy_kwh"))
    rows = rows.with_columns(price=price).with_columns(usual=pl.col("price").median().over(ID))
    rounding = HALF_KWH * (1 + pl.col("usual").abs()) / pl.col("energy_kwh")
    return compared(
        rows,
        "implied_price",
        "price",
        "usual",
        tolerance=_PRICE_SHARE * pl.col("usual").abs() + pl.when(has_energy).then(rounding),
        reason="Hours of use and standing charges move a price, a mixed-up unit by a factor of "
        "100: half of the meter's median price.",
        unit="EUR/kWh",
        obstacle=pl.when(~has_energy)
        .then(pl.lit("Nothing was consumed, so there is no price."))
        .when(pl.col("price").count().over(ID) < 2)
        .then(pl.lit("There is no second price to compare with.")),
    )
