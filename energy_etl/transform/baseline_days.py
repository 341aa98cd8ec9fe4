"""Which days of a register a baseline may be made of, and when a baseline is refused.

CalTRACK 2.0, section 2.2 (sufficiency) and 3.5 (reporting period). The model itself is
`baseline.py`; what is compared with it `weather_trend.py` and `savings.py`.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_etl.transform.baseline import Fit, Floats, fit_degree_days
from energy_etl.transform.registers_power import has_intervals
from energy_etl.transform.windows import is_energy_register

MIN_DAY_COVERAGE: Final = 0.9
BASELINE_DAYS: Final = 365
# 2.2.1.2: no more than 37 of the 365 days may be missing.
MIN_BASELINE_DAYS: Final = BASELINE_DAYS - 37
# 4.3.2.1: the default threshold of a building.
MAX_CV_RMSE_PCT: Final = 100.0
# What follows the weather at all; water does not.
COMMODITIES: Final = ("electricity", "gas", "heat")
FIT_COLUMNS: Final = (
    "model",
    "balance_heating_degc",
    "balance_cooling_degc",
    "base_kwh_per_day",
    "heating_kwh_per_degree_day",
    "cooling_kwh_per_degree_day",
    "r2",
    "cv_rmse_pct",
)

Kind = Literal[
    "not_energy",
    "wrong_dates",
    "not_begun",
    "no_weather",
    "few_temperatures",
    "insufficient_baseline",
    "insufficient_days",
    "no_consumption",
    "poor_fit",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no figure.

    Attributes:
        kind: short name, the same for all registers.
        message: what is missing, with its numbers.
    """

    kind: Kind
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Days:
    """The sufficient days of one register, in order; all arrays are of one length.

    Attributes:
        on: the local days.
        energy_kwh: energy of each, what is missing within it filled with its mean.
        temperature_degc: outdoor mean of each; NaN: unknown.
    """

    on: npt.NDArray[np.datetime64]
    energy_kwh: Floats
    temperature_degc: Floats

    def __len__(self) -> int:
        return len(self.on)

    def between(self, start_on: date, end_on: date) -> "Days":
        """Return those of [start_on, end_on)."""
        first, last = np.searchsorted(self.on, np.array([start_on, end_on], "datetime64[D]"))
        return self._pick(slice(int(first), int(max(first, last))))

    def with_temperature(self) -> "Days":
        """Return those whose temperature is known."""
        return self._pick(np.isfinite(self.temperature_degc))

    def total_kwh(self) -> float | None:
        """Return their energy; None when there is no day."""
        return float(self.energy_kwh.sum()) if len(self) else None

    def _pick(self, which: slice | npt.NDArray[np.bool_]) -> "Days":
        return Days(self.on[which], self.energy_kwh[which], self.temperature_degc[which])


NO_DAYS: Final = Days(np.array([], "datetime64[D]"), np.array([]), np.array([]))


def judged_registers(registers: pl.DataFrame) -> pl.DataFrame:
    """Pick the primary mains of electricity, gas and heat; add is_energy (gives kWh).

    A meter that counts m3 is in it, so that its row can say why it has no figure: a baseline needs
    energy, not volume (2.1.1.3).

    Args:
        registers: `core.register`, all of a site's.
    """
    return with_is_energy(registers).filter(
        pl.col("role") == "mains", "is_primary", pl.col("commodity").is_in(COMMODITIES), "is_total"
    )


def with_is_energy(registers: pl.DataFrame) -> pl.DataFrame:
    """Add is_energy (gives kWh) and is_total (gives a total of any unit) to all registers."""
    return registers.with_columns(is_energy=is_energy_register(), is_total=has_intervals()).sort(
        "register_id"
    )


def sufficient_days(
    daily: pl.DataFrame, registers: pl.DataFrame, weather: pl.DataFrame
) -> dict[str, Days]:
    """Pick the days of each register that a baseline or a comparison may use.

    A day is sufficient when at least 90 % of its intervals were measured; what is missing in it is
    filled with the mean of what is there (2.2.2.1). A day of exactly 0 on mains of electricity is
    missing, not so on gas (2.2.1.4). A local day counts as a day, whatever its length (3.3.3.5).

    Args:
        daily: `mart.daily_energy`.
        registers: rows of `with_is_energy`; those without energy have no days.
        weather: `mart.site_weather`.

    Returns:
        By register_id; a register without a sufficient day is not in it.
    """
    wanted = registers.filter("is_energy").select("register_id", "commodity", "role")
    energy, n_known = pl.col("energy_kwh"), pl.col("n_measured") + pl.col("n_estimated")
    is_dead = (energy == 0.0) & (pl.col("commodity") == "electricity") & (pl.col("role") == "mains")
    days = (
        daily.join(wanted, on="register_id")
        .filter(
            energy.is_finite(),
            pl.col("n_measured") >= MIN_DAY_COVERAGE * pl.col("n_expected"),
            n_known > 0,
            ~is_dead,
        )
        .select(
            "register_id",
            "site_id",
            "local_on",
            energy_kwh=energy * pl.col("n_expected") / n_known,
        )
        .join(
            weather.select("site_id", "local_on", "temperature_degc"),
            on=["site_id", "local_on"],
            how="left",
        )
        .sort("register_id", "local_on")
    )
    return {
        str(register_id): Days(
            rows["local_on"].to_numpy().astype("datetime64[D]"),
            rows["energy_kwh"].to_numpy(),
            rows["temperature_degc"].fill_null(float("nan")).to_numpy(),
        )
        for (register_id,), rows in days.partition_by("register_id", as_dict=True).items()
    }


def baseline_start_on(end_on: date) -> date:
    """Return the earliest day that a baseline up to end_on may begin with (3.1.3)."""
    return end_on - timedelta(days=BASELINE_DAYS)


def fit_baseline(
    days: Days, start_on: date, end_on: date, *, commodity: str
) -> tuple[Fit | None, Refusal | None]:
    """Fit the model to the sufficient days of [start_on, end_on), or tell why not.

    Refused: a window without any temperature; fewer than 328 of 365 days with sufficient energy
    and temperature (2.2.1.2), so also a shorter window; no consumption at all; a CV(RMSE) above
    100 % (4.3.2.1), and then the fit is returned too, so that it can be stated.
    """
    window = days.between(start_on, end_on)
    both = window.with_temperature()
    if len(window) and not len(both):
        return None, Refusal(
            "no_weather", f"the site has no outdoor temperature from {start_on} to {end_on}."
        )
    if len(window) < MIN_BASELINE_DAYS:
        return None, Refusal(
            "insufficient_baseline",
            f"{len(window)} days from {start_on} to {end_on} have at least 90 % coverage, and "
            f"a baseline needs {MIN_BASELINE_DAYS} of {BASELINE_DAYS}.",
        )
    if len(both) < MIN_BASELINE_DAYS:
        return None, Refusal(
            "few_temperatures",
            f"{len(both)} of the days from {start_on} to {end_on} have an outdoor temperature, "
            f"and a baseline needs {MIN_BASELINE_DAYS} of {BASELINE_DAYS}.",
        )
    # 3.2.1.1: cooling is not considered for gas; heat is delivered for heating too.
    can_cool = commodity == "electricity"
    fit = fit_degree_days(both.energy_kwh, both.temperature_degc, can_cool=can_cool)
    if fit.cv_rmse_pct is None:
        return fit, Refusal(
            "no_consumption", f"the energy from {start_on} to {end_on} adds up to 0 or less."
        )
    if fit.cv_rmse_pct > MAX_CV_RMSE_PCT:
        return fit, Refusal(
            "poor_fit",
            f"the days scatter by {fit.cv_rmse_pct:.1f} % of their mean around the fit (CV(RMSE)), "
            f"and {MAX_CV_RMSE_PCT:.0f} % is the limit.",
        )
    return fit, None
