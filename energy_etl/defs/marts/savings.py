"""What was saved: measures and the last 30 days against their baselines."""

from typing import Final

import polars as pl

from energy_etl.defs.marts import found, made
from energy_etl.tables import Mart, Plot, core, mart
from energy_etl.transform.savings import compute_savings, compute_savings_findings

MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.SAVINGS,
        compute_savings,
        mart.DAILY_ENERGY,
        core.REGISTER,
        mart.SITE_WEATHER,
        core.MEASURE,
        core.VENDOR_FIGURE,
        note="Avoided energy (IPMVP option C, CalTRACK 2.0 daily) with its 90 % uncertainty; "
        "without a sufficient baseline the reason stands in the row.",
        plot=Plot("register_id", "savings_pct", "mean"),
        numbers={
            "n_judged": pl.col("savings_kwh").count(),
            "n_refused": pl.col("reason").count(),
        },
    ),
)

FINDINGS: Final = (found(compute_savings_findings, mart.SAVINGS),)
