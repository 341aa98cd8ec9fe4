"""More or less: the six periods, a vendor's figures beside ours, and how the vendor counts."""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.defs.marts import made
from energy_etl.tables import Check, Frames, Mart, Plot, Query, Verdict, core, mart
from energy_etl.transform.robust_trend import compute_robust_trends
from energy_etl.transform.trend_variant import compute_trend_variants
from energy_etl.transform.trends import compute_period_trends
from energy_etl.transform.vendor_drift import compute_vendor_drift

# Only of meters that a vendor has figures of, and only as far back as INTERVAL_DAYS.
VENDOR_MAINS: Final = Query(
    "vendor_mains_intervals",
    "SELECT register_id, start_at, end_at, energy_kwh, "
    "quality IN ('measured', 'integrated') AS is_measured "
    "FROM core.interval JOIN core.register USING (register_id) "
    "WHERE role = 'mains' AND is_primary "
    "AND meter_id IN (SELECT meter_id FROM core.vendor_figure) "
    "AND start_at >= (SELECT max(fetched_on) FROM core.vendor_figure) - INTERVAL 97 DAY",
    (core.INTERVAL, core.REGISTER, core.VENDOR_FIGURE),
)

MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.PERIOD_TREND,
        compute_period_trends,
        mart.DAILY_ENERGY,
        core.REGISTER,
        core.VENDOR_FIGURE,
        note="Complete local days only; the six periods end at the day of the computation.",
        plot=Plot("period", "trend_pct", "median"),
        numbers={
            "n_with_trend": pl.col("trend_pct").count(),
            "n_year_on_year": pl.col("year_on_year_pct").count(),
            "n_beside_vendor": pl.col("vendor").count(),
        },
    ),
    made(
        mart.TREND_VARIANT,
        compute_trend_variants,
        core.VENDOR_FIGURE,
        VENDOR_MAINS,
        core.REGISTER,
        note="Does a vendor's open period include today, and is it compared with the elapsed part "
        "or the whole of the one before: what explains its own figures.",
        plot=Plot("previous_part", "n_fitting", "sum"),
        numbers={
            "n_meters": pl.struct("meter_id", "vendor").n_unique(),
            "n_told": pl.col("is_best").sum(),
        },
    ),
    made(
        mart.ROBUST_TREND,
        compute_robust_trends,
        mart.DAILY_ENERGY,
        core.REGISTER,
        note="Theil-Sen over up to 3 x 364 complete days, each against days 52 or 104 weeks apart.",
        plot=Plot("register_id", "slope_pct_per_year", "mean"),
        numbers={
            "n_with_trend": pl.col("slope_kwh_per_day_per_year").count(),
            "n_significant": pl.col("is_significant").sum(),
        },
    ),
)

_SHOWN: Final = 5


def judge_vendor_drift(frames: Frames, now: datetime) -> Verdict:
    """Warn when a vendor's energy or trend of a period is not what we measured.

    Args:
        frames: mart.period_trend and mart.trend_variant.
        now: not looked at.
    """
    del now
    compared = compute_vendor_drift(
        frames[mart.PERIOD_TREND.full_name], frames[mart.TREND_VARIANT.full_name]
    )
    off = compared.filter(pl.col("is_energy_off") | pl.col("is_trend_off"))
    numbers = {
        "n_compared": compared.height,
        "n_energy_off": compared["is_energy_off"].sum(),
        "n_trend_off": compared["is_trend_off"].sum(),
    }
    if off.is_empty():
        return Verdict(True, numbers)
    shown = "; ".join(
        f"{row['register_id']} {row['period']}: {row['vendor']} "
        f"{_told(row['vendor_energy_kwh'], 'vendor_trend_pct', row)}, "
        f"measured {_told(row['energy_kwh'], 'own_trend_pct', row)}"
        for row in off.head(_SHOWN).iter_rows(named=True)
    )
    more = f"; and {off.height - _SHOWN} more" if off.height > _SHOWN else ""
    return Verdict(
        False,
        numbers,
        f"{off.height} of {compared.height} vendor figures differ from ours ({shown}{more}): look "
        "at core.edit and mart.coverage of these registers first, then ask the vendor which meter "
        "it reads.",
    )


def _told(energy_kwh: float | None, trend: str, row: dict) -> str:
    energy = "no energy" if energy_kwh is None else f"{energy_kwh:.2f} kWh"
    return energy if row[trend] is None else f"{energy} ({row[trend]:+.1f} %)"


CHECKS: Final = (
    Check(
        table=mart.PERIOD_TREND,
        name="vendor_drift",
        description="A vendor's energy and trend of a period are ours within 2 % and 1.5 points; "
        "open periods only where mart.trend_variant knows how the vendor counts.",
        inputs=(mart.PERIOD_TREND, mart.TREND_VARIANT),
        judge=judge_vendor_drift,
    ),
)
