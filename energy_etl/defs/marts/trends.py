"""More or less: the six periods, a vendor's figures beside ours."""

from typing import Final

import polars as pl

from energy_etl.defs.marts import made
from energy_etl.tables import Mart, Plot, core, mart
from energy_etl.transform.trends import compute_period_trends

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
)
