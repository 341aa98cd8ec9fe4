"""What it costs: days, periods and the running month by our tariffs, a vendor's costs beside."""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.defs.marts import found, made
from energy_etl.defs.marts.energy import ENERGY
from energy_etl.tables import Check, Frames, Mart, Plot, Verdict, core, mart
from energy_etl.transform.cost_forecast import compute_cost_forecasts
from energy_etl.transform.costs import compute_daily_cost, compute_period_costs
from energy_etl.transform.tariff_findings import find_tariff_faults

_TOLERANCE_KWH: Final = 1e-6
# Euros and dollars do not add up.
_HAS_ONE_CURRENCY: Final = pl.col("currency").n_unique() == 1


def _daily(
    intervals: pl.DataFrame,
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    tariffs: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    del now  # the days are those of mart.daily_energy
    return compute_daily_cost(intervals, daily, registers, tariffs)


MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.DAILY_COST,
        _daily,
        ENERGY,
        mart.DAILY_ENERGY,
        core.REGISTER,
        core.TARIFF,
        note="Each interval at the price in force on the wall clock of its site. Costs of export "
        "are negative. What has no price is in unpriced_kwh.",
        plot=Plot("local_on", "cost", only=_HAS_ONE_CURRENCY),
        numbers={
            "cost": pl.when(_HAS_ONE_CURRENCY).then(pl.col("cost").sum()),
            "priced_kwh": pl.col("priced_kwh").sum(),
            "unpriced_kwh": pl.col("unpriced_kwh").sum(),
        },
    ),
    made(
        mart.PERIOD_COST,
        compute_period_costs,
        mart.DAILY_COST,
        mart.DAILY_ENERGY,
        core.REGISTER,
        core.VENDOR_FIGURE,
        note="Own cost beside the vendor's; the implied prices tell whether energy or price "
        "differs. Compared only in the vendor's currency.",
        plot=Plot("period", "vendor_difference_pct", "median"),
        numbers={
            "n_with_cost": pl.col("cost").count(),
            "n_with_vendor": pl.col("vendor_cost").count(),
            "median_vendor_difference_pct": pl.col("vendor_difference_pct").median(),
        },
    ),
    made(
        mart.COST_FORECAST,
        compute_cost_forecasts,
        ENERGY,
        mart.DAILY_ENERGY,
        mart.DAILY_COST,
        core.REGISTER,
        core.TARIFF,
        core.VENDOR_MONTH,
        note="The running month: what was measured, and for the days left what the same kind of "
        "day used in the 28 days before, at the prices of the days left.",
        plot=Plot("register_id", "forecast_cost", only=_HAS_ONE_CURRENCY),
        numbers={
            "forecast_cost": pl.when(_HAS_ONE_CURRENCY).then(pl.col("forecast_cost").sum()),
            "n_refused": pl.col("reason").count(),
            "median_vendor_difference_pct": pl.col("vendor_difference_pct").median(),
        },
    ),
)

FINDINGS: Final = (
    found(find_tariff_faults, mart.DAILY_COST, mart.DAILY_ENERGY, core.REGISTER, core.TARIFF),
)


def _judge_energy(frames: Frames, now: datetime) -> Verdict:
    del now
    key = ["register_id", "local_on"]
    energy = pl.col("priced_kwh").fill_null(0.0) + pl.col("unpriced_kwh").fill_null(0.0)
    difference = (energy - pl.col("energy_kwh").fill_null(0.0)).abs()
    both = frames[mart.DAILY_COST.full_name].join(
        frames[mart.DAILY_ENERGY.full_name].select(*key, "energy_kwh"), on=key, how="left"
    )
    wrong = both.filter(difference > _TOLERANCE_KWH).sort(key)
    numbers = {"days": both.height, "days_that_differ": wrong.height}
    if wrong.is_empty():
        return Verdict(passed=True, numbers=numbers)
    register_id, local_on = wrong.select(key).row(0)
    return Verdict(
        passed=False,
        numbers=numbers,
        message=f"Priced and unpriced energy is not the day's energy on {wrong.height} days, the "
        f"first one of register {register_id} on {local_on}: compute mart.daily_energy and "
        "mart.daily_cost again in one run.",
    )


CHECKS: Final = (
    Check(
        mart.DAILY_COST,
        "energy_is_priced_once",
        "Priced and unpriced energy add up to the energy of each day.",
        (mart.DAILY_COST, mart.DAILY_ENERGY),
        _judge_energy,
    ),
)
