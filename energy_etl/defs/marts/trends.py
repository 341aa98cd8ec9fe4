"""More or less: the six periods, a vendor's figures beside ours, and how the vendor counts."""

from typing import Final

import polars as pl

from energy_etl.defs.marts import made
from energy_etl.tables import Mart, Plot, Query, core, mart
from energy_etl.transform.trend_variant import compute_trend_variants
from energy_etl.transform.trends import compute_period_trends

# Only of meters that a vendor has figures of, and no further back than their windows (INTERVAL_DAYS).
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
        numbers={"n_with_trend": pl.col("trend_pct").count()},
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
)
