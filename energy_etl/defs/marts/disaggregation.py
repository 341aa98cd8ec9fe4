"""Who: appliances by submeters and by vendors, and how good the vendors' estimates are."""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.defs.marts import made
from energy_etl.tables import Mart, Plot, Query, core, mart
from energy_etl.transform.disaggregation import OWN, compute_appliance_shares
from energy_etl.transform.disaggregation_scores import compute_disaggregation_scores
from energy_etl.transform.disaggregation_total import compute_disaggregation_totals

# What can judge an estimate, and what the site used: only where there is an estimate.
TRUTH: Final = Query(
    "judging_intervals",
    "SELECT register_id, start_at, end_at, energy_kwh, quality, is_provisional "
    "FROM core.interval JOIN core.register USING (register_id) "
    "WHERE is_primary AND commodity = 'electricity' "
    "AND role IN ('submeter', 'appliance', 'mains', 'production', 'export') "
    "AND quality IN ('measured', 'integrated') "
    "AND start_at >= (SELECT min(start_at) FROM core.appliance_interval)",
    (core.INTERVAL, core.REGISTER, core.APPLIANCE_INTERVAL),
)


def _scores(
    estimates: pl.DataFrame, truth: pl.DataFrame, registers: pl.DataFrame, *, now: datetime
) -> pl.DataFrame:
    del now  # a score is about intervals, whenever it is computed
    return compute_disaggregation_scores(estimates, truth, registers)


def _totals(
    estimates: pl.DataFrame, truth: pl.DataFrame, registers: pl.DataFrame, *, now: datetime
) -> pl.DataFrame:
    del now
    return compute_disaggregation_totals(estimates, truth, registers)


MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.APPLIANCE_SHARE,
        compute_appliance_shares,
        mart.DAILY_ENERGY,
        core.REGISTER,
        core.VENDOR_APPLIANCE_FIGURE,
        core.METER,
        note="Shares by submeters and by vendors, with what is left unattributed.",
        plot=Plot(
            "appliance",
            "share_pct",
            "mean",
            # A vendor's shares are of its own sum: no mean of both.
            (pl.col("period") == "last-week") & (pl.col("source") == OWN),
        ),
    ),
    made(
        mart.DISAGGREGATION_SCORE,
        _scores,
        core.APPLIANCE_INTERVAL,
        TRUTH,
        core.REGISTER,
        note="The vendors' disaggregation against the submeters.",
        plot=Plot("appliance", "nep", "median"),
        numbers={
            "median_nep": pl.col("nep").median(),
            "n_shifted": (pl.col("best_shift_minutes") != 0).sum(),
            "n_no_better_than_nothing": (pl.col("nep") >= pl.col("nep_floor")).sum(),
        },
    ),
    made(
        mart.DISAGGREGATION_TOTAL,
        _totals,
        core.APPLIANCE_INTERVAL,
        TRUTH,
        core.REGISTER,
        note="All judged appliances of a meter together; compare the accuracy with its floor.",
        plot=Plot("meter_id", "total_energy_accuracy", "mean"),
        numbers={
            "median_accuracy": pl.col("total_energy_accuracy").median(),
            "median_floor": pl.col("total_energy_accuracy_floor").median(),
        },
    ),
)
