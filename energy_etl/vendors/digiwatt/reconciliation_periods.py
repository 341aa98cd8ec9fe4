"""Digiwatt's endpoints against each other within one period: appliances, hours, similar users."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import polars as pl

from energy_etl.periods import PERIODS, local_day_bounds, period_window
from energy_etl.tables import Frames
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.units import WH_PER_KWH
from energy_etl.vendors.digiwatt import tables
from energy_etl.vendors.digiwatt.reconciliation_rows import (
    HALF_KWH,
    HALF_SAVINGS_KWH,
    ID,
    OPEN_PERIODS,
    OTHER,
    PERIOD_KEY,
    TOTAL,
    compared,
    sum_parts,
    without_rest,
)
from energy_etl.vendors.digiwatt.to_core import SAVINGS_PERIOD

# Modelled, not verified: hours carry four decimals.
_HALF_SLOT_KWH: Final = 0.00005
_COMPARED: Final = ("min", "max", "user")


def of_distribution(snapshot: Frames, periods: pl.DataFrame) -> Iterable[pl.DataFrame]:
    """Compare the sum of the appliances with the consumption, and tell what is unattributed.

    Args:
        snapshot: Digiwatt's tables by full name, rows of each meter's newest fetch.
        periods: one row per meter and period.

    Yields:
        Rows of `compared`: distribution_sum and unattributed.
    """
    sums = sum_parts(snapshot[tables.CONSUMPTION_DISTRIBUTION.full_name], PERIOD_KEY)
    totals = snapshot[tables.CONSUMPTION.full_name].select(*PERIOD_KEY, "consumption_kwh")
    rows = periods.join(sums, on=PERIOD_KEY, how="left").join(totals, on=PERIOD_KEY, how="left")
    rounding = HALF_KWH * (pl.col("n_parts").fill_null(0) + 1)
    yield compared(
        rows,
        "distribution_sum",
        "all_kwh",
        "consumption_kwh",
        tolerance=rounding,
        reason="Each appliance and the total are rounded to 0.01 kWh.",
        obstacle=without_rest("consumption_kwh"),
    )
    yield compared(
        rows,
        "unattributed",
        "consumption_kwh",
        "named_kwh",
        tolerance=rounding,
        reason="The difference is what no named appliance explains; it may be below 0 by the "
        "rounding of each figure to 0.01 kWh only.",
    )


def of_disaggregation(snapshot: Frames, slots: pl.DataFrame, fetches: pl.DataFrame) -> pl.DataFrame:
    """Compare the hours of each appliance with its total of the period.

    Open periods may run up to the call (not documented): of both ways the one that fits the whole
    period's sum is taken. Hours that do not tile the period are not compared.

    Args:
        snapshot: Digiwatt's tables by full name, rows of each meter's newest fetch.
        slots: hours of all appliances.
        fetches: one row per meter: its id, zone and fetched_on.

    Returns:
        Rows of `compared`: disaggregation_sum.
    """
    said = snapshot[tables.CONSUMPTION_DISTRIBUTION.full_name].select(
        *PERIOD_KEY, "appliance", said_kwh="consumption_kwh"
    )
    sums = _slot_sums(slots, fetches)
    rows = said.join(sums, on=[*PERIOD_KEY, "appliance"], how="left")
    off_by = (pl.col("sum_kwh") - pl.col("said_kwh")).abs().sum()
    # By period, not by appliance: all of a period run up to the same instant.
    ways = (
        rows.group_by(*PERIOD_KEY, "runs_to_call")
        .agg(off_by=off_by, n_known=pl.col("sum_kwh").count())
        .sort("n_known", "off_by", "runs_to_call", descending=[True, False, False])
        .unique(PERIOD_KEY, keep="first", maintain_order=True)
        .select(*PERIOD_KEY, "runs_to_call")
    )
    found = sums.join(ways, on=[*PERIOD_KEY, "runs_to_call"], how="semi")
    both = said.join(found, on=[*PERIOD_KEY, "appliance"], how="full", coalesce=True)
    n_parts = pl.len().over(PERIOD_KEY)
    # The rest closes the sum of the others, so it carries the rounding of all of them.
    n_rounded = pl.when(pl.col("appliance") == OTHER).then(n_parts + 1).otherwise(1)
    newest_kwh = pl.when("runs_to_call").then("newest_slot_kwh")
    return compared(
        both,
        "disaggregation_sum",
        "sum_kwh",
        "said_kwh",
        tolerance=HALF_KWH * n_rounded
        + _HALF_SLOT_KWH * pl.col("n_slots").fill_null(0)
        + newest_kwh.fill_null(0.0),
        reason="Hours are rounded to 0.0001 kWh, the total to 0.01 kWh; a period that runs up to "
        "the call may have grown by the newest hour.",
        obstacle=pl.when(pl.col("sum_kwh").is_null()).then(
            pl.lit("The hours that came do not cover the period.")
        ),
    )


def _slot_sums(slots: pl.DataFrame, fetches: pl.DataFrame) -> pl.DataFrame:
    """Per meter, period, way and appliance: sum_kwh (null: hours are missing), n_slots, newest."""
    rows = []
    for smartmeter_id, zone, fetched_on in fetches.select(ID, "zone", "fetched_on").iter_rows():
        today_at = local_day_bounds(zone, fetched_on)[0]
        for period in PERIODS:
            window = period_window(period, fetched_on)
            if window.start_on is not None and window.end_on is not None:
                start_at = local_day_bounds(zone, window.start_on)[0]
                end_at = local_day_bounds(zone, window.end_on)[0]
                rows.append((smartmeter_id, period, False, start_at, end_at))
            if period in OPEN_PERIODS:
                start_on = window.start_on or fetched_on
                if period == "last-seven-days":
                    start_on += timedelta(days=1)
                start_at = local_day_bounds(zone, start_on)[0]
                rows.append((smartmeter_id, period, True, start_at, today_at))
    schema = {
        ID: pl.String,
        "period": pl.String,
        "runs_to_call": pl.Boolean,
        "from_at": UTC_INSTANT,
        "to_at": UTC_INSTANT,
    }
    windows = pl.DataFrame(rows, schema=schema, orient="row")
    found = []
    for (period, runs_to_call), window in windows.group_by("period", "runs_to_call"):
        is_within = (pl.col("start_at") >= pl.col("from_at")) & (
            pl.lit(runs_to_call) | (pl.col("end_at") <= pl.col("to_at"))
        )
        last_at = pl.col("end_at").max()
        until = pl.max_horizontal(last_at, pl.col("to_at").first())
        covered = (pl.col("end_at") - pl.col("start_at")).sum()
        found.append(
            slots.join(window.select(ID, "from_at", "to_at"), on=ID)
            .filter(is_within)
            .sort(ID, "appliance", "start_at")
            .group_by(ID, "appliance", maintain_order=True)
            .agg(
                sum_kwh=pl.when(covered == until - pl.col("from_at").first()).then(
                    pl.col("consumption_kwh").sum()
                ),
                n_slots=pl.len(),
                newest_slot_kwh=pl.col("consumption_kwh").last(),
            )
            .with_columns(period=pl.lit(period), runs_to_call=pl.lit(runs_to_call))
        )
    return pl.concat(found)


def of_performance(snapshot: Frames, periods: pl.DataFrame) -> Iterable[pl.DataFrame]:
    """Compare the user with the consumption and with the bounds of similar users.

    Args:
        snapshot: Digiwatt's tables by full name, rows of each meter's newest fetch.
        periods: one row per meter and period.

    Yields:
        Rows of `compared`: performance_user, and performance_bounds with position_pct.
    """
    savings = (
        snapshot[tables.SAVINGS.full_name]
        .filter(pl.col("part") == TOTAL)
        .select(
            ID,
            pl.lit(SAVINGS_PERIOD).alias("period"),
            consumption_kwh=pl.col("estimated_consumption_wh") / WH_PER_KWH,
            **{f"{each}_kwh": pl.col(f"{each}_consumption_wh") / WH_PER_KWH for each in _COMPARED},
        )
    )
    of_periods = (
        periods.select(PERIOD_KEY)
        .join(snapshot[tables.PERFORMANCE.full_name], on=PERIOD_KEY, how="left")
        .join(snapshot[tables.CONSUMPTION.full_name], on=PERIOD_KEY, how="left")
        .select(
            *PERIOD_KEY,
            "consumption_kwh",
            **{f"{each}_kwh": f"{each}_consumption_kwh" for each in _COMPARED},
        )
    )
    is_savings = pl.col("period") == SAVINGS_PERIOD
    rows = pl.concat([of_periods, savings.select(of_periods.columns)])
    rounding = 2 * pl.when(is_savings).then(HALF_SAVINGS_KWH).otherwise(HALF_KWH)
    reason = "Both figures are rounded, to 0.01 kWh or, in savings, to 1 Wh."
    yield compared(
        rows, "performance_user", "user_kwh", "consumption_kwh", tolerance=rounding, reason=reason
    )
    low, high, user = (pl.col(f"{each}_kwh") for each in ("min", "max", "user"))
    position = 100.0 * (user - low) / (high - low)
    all_known = low.is_not_null() & high.is_not_null()
    yield compared(
        rows.with_columns(position_pct=pl.when(high > low).then(position)),
        "performance_bounds",
        user,
        pl.when(all_known).then(pl.min_horizontal(pl.max_horizontal(user, low), high)),
        tolerance=rounding,
        reason=reason,
    )
