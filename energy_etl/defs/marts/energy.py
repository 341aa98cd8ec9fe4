"""How much: energy per site-local day of registers."""

from typing import Final

import polars as pl

from energy_etl.defs.marts import made
from energy_etl.tables import Mart, Plot, Query, core, mart
from energy_etl.transform.calendar import compute_daily

# Without the flags and the counter: a third of the bytes.
ENERGY: Final = Query(
    "interval_energy",
    "SELECT register_id, start_at, end_at, energy_kwh, volume_m3, quality, is_provisional "
    "FROM core.interval",
    (core.INTERVAL,),
)

MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.DAILY_ENERGY,
        compute_daily,
        ENERGY,
        core.REGISTER,
        note="Intervals added up per site-local day.",
        plot=Plot("local_on", "coverage_pct", "mean"),
        numbers={
            "energy_kwh": pl.col("energy_kwh").sum(),
            "coverage_pct": pl.col("coverage_pct").mean(),
        },
    ),
)
