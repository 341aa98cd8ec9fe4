"""How much: energy per site-local hour, day, week and month of registers, per day of sites."""

from typing import Final

import polars as pl

from energy_etl.defs.marts import found, made
from energy_etl.tables import Mart, Plot, Query, core, mart
from energy_etl.transform.calendar import compute_daily, compute_hourly
from energy_etl.transform.site_energy import (
    compute_site_daily,
    compute_submeter_balance,
    find_site_faults,
)
from energy_etl.transform.spans import compute_monthly, compute_weekly

# Without the flags and the counter: a third of the bytes.
ENERGY: Final = Query(
    "interval_energy",
    "SELECT register_id, start_at, end_at, energy_kwh, volume_m3, quality, is_provisional "
    "FROM core.interval",
    (core.INTERVAL,),
)

# Mains and what is behind them: no site's consumption, and the name says so.
_TOTALS: Final = {
    "energy_kwh_all_registers": pl.col("energy_kwh").sum(),
    "coverage_pct": pl.col("coverage_pct").mean(),
}

MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.HOURLY_ENERGY,
        compute_hourly,
        ENERGY,
        core.REGISTER,
        note="Intervals added up per hour of the site's wall clock.",
        plot=Plot("local_hour", "energy_kwh", "mean"),
        numbers=_TOTALS,
    ),
    made(
        mart.DAILY_ENERGY,
        compute_daily,
        ENERGY,
        core.REGISTER,
        note="Intervals added up per site-local day.",
        plot=Plot("local_on", "coverage_pct", "mean"),
        numbers=_TOTALS,
    ),
    made(
        mart.WEEKLY_ENERGY,
        compute_weekly,
        mart.DAILY_ENERGY,
        core.REGISTER,
        note="Days added up per local week, Monday to Sunday; the running one is not complete.",
        plot=Plot("week_on", "coverage_pct", "mean"),
        numbers=_TOTALS,
    ),
    made(
        mart.MONTHLY_ENERGY,
        compute_monthly,
        mart.DAILY_ENERGY,
        core.REGISTER,
        note="Days added up per local month; the running one is not complete.",
        plot=Plot("month_on", "coverage_pct", "mean"),
        numbers=_TOTALS,
    ),
    made(
        mart.SITE_DAILY,
        compute_site_daily,
        mart.DAILY_ENERGY,
        core.REGISTER,
        note="Primary registers of each site brought together; null where one of them is silent.",
        plot=Plot("local_on", "consumption_kwh", "sum", pl.col("commodity") == "electricity"),
        numbers={
            "n_site_days": pl.struct("site_id", "local_on").n_unique(),
            "n_site_days_without_data": (pl.col("coverage_pct") == 0).sum(),
            "consumption_kwh": pl.col("consumption_kwh").sum(),
            "coverage_pct": pl.col("coverage_pct").mean(),
        },
    ),
    made(
        mart.SUBMETER_BALANCE,
        compute_submeter_balance,
        mart.DAILY_ENERGY,
        core.REGISTER,
        note="Days on which all registers of a site are complete; electricity.",
        plot=Plot("site_id", "unattributed_pct", "mean"),
        numbers={
            "n_sites_over": (pl.col("n_days_over") > 0).sum(),
            "least_unattributed_pct": pl.col("unattributed_pct").min(),
        },
    ),
)

FINDINGS: Final = (found(find_site_faults, mart.SUBMETER_BALANCE, core.SITE, core.REGISTER),)
