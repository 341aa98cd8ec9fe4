"""The degree-day model of a register's days: the one home of what the weather explains.

Fitted as CalTRACK 2.0 (daily methods) says, uncertainty as ASHRAE Guideline 14 in CalTRACK's form.
Only arrays of one register in here; which windows are compared with it is `weather_trend.py` and
`savings.py`, which days are fit for it and when it is refused is `baseline_days.py`.
"""

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Model = Literal["mean", "heating", "cooling", "heating_and_cooling"]

# 30 to 90 degF, no more than 3 degF apart (3.2.1 and 3.2.3).
BALANCE_DEGC: Final[Floats] = np.arange(-1.0, 33.0)
# Of a year (3.2.2.2): fewer would let a few odd days make a model.
MIN_DAYS_WITH_DEGREES: Final = 10
MIN_DEGREE_DAYS: Final = 20.0
CONFIDENCE: Final = 0.90
DAYS_PER_MONTH: Final = 365.25 / 12.0


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model, energy per day = base + heating * HDD + cooling * CDD.

    Attributes:
        model: which of the four.
        balance_heating_degc: base of HDD = max(0, base - daily mean); None: it has none.
        balance_cooling_degc: base of CDD = max(0, daily mean - base); None: it has none.
        base_kwh_per_day: the intercept, not negative.
        heating_kwh_per_degree_day: the slope on HDD, positive; None: it has none.
        cooling_kwh_per_degree_day: the slope on CDD, positive; None: it has none.
        r2: 1 - SS_res / SS_tot, 0 for the mean; None when every day is equal.
        cv_rmse_pct: 100 * sqrt(SS_res / (P - c)) / mean, P days and c slopes (CalTRACK 2.0,
            4.3.2.2); None when the mean is not positive.
        n_days: P.
        n_slopes: c.
        autocorrelation: of the residuals, from one day to the next, -1 to 1.
    """

    model: Model
    balance_heating_degc: float | None
    balance_cooling_degc: float | None
    base_kwh_per_day: float
    heating_kwh_per_degree_day: float | None
    cooling_kwh_per_degree_day: float | None
    r2: float | None
    cv_rmse_pct: float | None
    n_days: int
    n_slopes: int
    autocorrelation: float

    def expected_kwh(self, temperature_degc: Floats) -> Floats:
        """Return what the model expects of days with these mean temperatures."""
        expected = np.full(len(temperature_degc), self.base_kwh_per_day)
        if self.balance_heating_degc is not None and self.heating_kwh_per_degree_day is not None:
            degrees = np.maximum(self.balance_heating_degc - temperature_degc, 0.0)
            expected += self.heating_kwh_per_degree_day * degrees
        if self.balance_cooling_degc is not None and self.cooling_kwh_per_degree_day is not None:
            degrees = np.maximum(temperature_degc - self.balance_cooling_degc, 0.0)
            expected += self.cooling_kwh_per_degree_day * degrees
        return expected

    def uncertainty_kwh(self, expected_kwh: float, n_days: int) -> float | None:
        """Return half of the 90 % interval of savings over Q days with this expected total.

        t (a M^2 + b M + d) CV(RMSE) sqrt(P/P' (1 + 2/P') / Q) * expected, with M = Q in months,
        P' = P (1 - rho) / (1 + rho) and rho the autocorrelation of the residuals, not below 0:
        CalTRACK 2.0, 4.3.2.4 (ASHRAE Guideline 14 with the coefficients of Sun and Baltazar 2013
        for daily data), multiplied by the savings, so that it also holds where they are 0. It
        speaks of the model's scatter alone: not of the meter, nor of changes in how the building
        is used. The formula takes the scatter as a share of what is expected, so it is wide in
        the heating season and narrow in days that use less than the year's mean: of a constant
        scatter it held 79 % in 30 days of September, 90 % and more in a year. None without a
        CV(RMSE) or a day.
        """
        if self.cv_rmse_pct is None or n_days < 1:
            return None
        rho = max(self.autocorrelation, 0.0)
        effective = self.n_days * (1.0 - rho) / (1.0 + rho)
        if effective <= 0.0:
            return None
        months = n_days / DAYS_PER_MONTH
        correction = -0.00024 * months**2 + 0.03535 * months + 1.00286
        scatter = np.sqrt(self.n_days / effective * (1.0 + 2.0 / effective) / n_days)
        t = student_t(CONFIDENCE, self.n_days - self.n_slopes)
        return float(t * correction * self.cv_rmse_pct / 100.0 * scatter * abs(expected_kwh))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The best of one kind of model; `heating` and `cooling` are (balance point, slope)."""

    model: Model
    adjusted_r2: float
    base: float
    heating: tuple[float, float] | None = None
    cooling: tuple[float, float] | None = None


def fit_degree_days(energy_kwh: Floats, temperature_degc: Floats, *, can_cool: bool) -> Fit:
    """Fit mean, heating, cooling and both by least squares; return the best that qualifies.

    Balance points are searched on a grid of 1 K from -1 to 32 degC (30 to 90 degF), the cooling one
    not below the heating one, each with at least 10 days and 20 degree days per 365. A model
    qualifies when its slopes are positive and its intercept is not negative; the highest adjusted
    R2 wins, and of equal ones the simpler (CalTRACK 2.0, 3.2 to 3.4; version 2 asks for no p-value
    any more: a slope without a meaning shows in R2, which is stated).

    Args:
        energy_kwh: energy of each day, finite, in the order of the days.
        temperature_degc: mean of the same days, finite.
        can_cool: False for gas and heat, where cooling is not considered (3.2.1.1).

    Returns:
        The fit; the mean when no other model qualifies, or on fewer than four days.

    Raises:
        ValueError: there is no day.
    """
    n = len(energy_kwh)
    if n == 0:
        raise ValueError("A fit needs at least one day.")
    mean = float(energy_kwh.mean())
    centred = energy_kwh - mean
    total = float(centred @ centred)
    candidates = [_Candidate("mean", 0.0, mean)]
    # Below what rounding leaves of equal values there is nothing to explain.
    if n > 3 and total > n * (1e-12 * abs(mean)) ** 2:
        candidates += _candidates(centred, mean, total, temperature_degc, can_cool=can_cool)
    # What rounding makes better is not better: the first of equal ones is the simplest.
    best = max(candidates, key=lambda each: round(each.adjusted_r2, 9))
    return _as_fit(best, energy_kwh, temperature_degc, total)


def student_t(confidence: float, degrees: int) -> float:
    """Return the two-sided quantile of Student's t, by the expansion of Cornish and Fisher.

    Abramowitz and Stegun 26.7.5; off by less than 0.1 % from 10 degrees of freedom on, and a fit
    here has hundreds.

    Raises:
        ValueError: there is no degree of freedom.
    """
    if degrees < 1:
        raise ValueError("Student's t needs at least one degree of freedom.")
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    return (
        z
        + (z**3 + z) / (4.0 * degrees)
        + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * degrees**2)
        + (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / (384.0 * degrees**3)
    )


@dataclass(frozen=True, slots=True)
class _Degrees:
    """Degree days of each day over each balance point that may be used (days x points)."""

    balance: Floats
    mean: Floats
    centred: Floats

    @classmethod
    def of(cls, degrees: Floats) -> "_Degrees":
        years = len(degrees) / 365.0
        is_enough = ((degrees > 0.0).sum(axis=0) >= MIN_DAYS_WITH_DEGREES * years) & (
            degrees.sum(axis=0) >= MIN_DEGREE_DAYS * years
        )
        used = degrees[:, is_enough]
        mean = used.mean(axis=0)
        return cls(BALANCE_DEGC[is_enough], mean, used - mean)


def _candidates(
    centred: Floats, mean: float, total: float, temperature_degc: Floats, *, can_cool: bool
) -> list[_Candidate]:
    """The best heating, cooling and combined model, those that qualify."""
    heating = _Degrees.of(np.maximum(BALANCE_DEGC - temperature_degc[:, None], 0.0))
    found = [_best_single("heating", heating, centred, mean, total)]
    if can_cool:
        cooling = _Degrees.of(np.maximum(temperature_degc[:, None] - BALANCE_DEGC, 0.0))
        found.append(_best_single("cooling", cooling, centred, mean, total))
        found.append(_best_pair(heating, cooling, centred, mean, total))
    return [each for each in found if each is not None]


def _best_single(
    model: Literal["heating", "cooling"],
    degrees: _Degrees,
    centred: Floats,
    mean: float,
    total: float,
) -> _Candidate | None:
    if not len(degrees.balance):
        return None
    squares = (degrees.centred**2).sum(axis=0)
    products = degrees.centred.T @ centred
    is_varied = squares > 0.0
    slope = np.divide(products, squares, out=np.zeros_like(products), where=is_varied)
    base = mean - slope * degrees.mean
    left = np.maximum(total - slope * products, 0.0)
    adjusted = _adjusted_r2(left, total, len(centred), 1)
    adjusted[~(is_varied & (slope > 0.0) & (base >= 0.0))] = -np.inf
    k = int(adjusted.argmax())
    if not np.isfinite(adjusted[k]):
        return None
    line = (float(degrees.balance[k]), float(slope[k]))
    return _Candidate(
        model,
        float(adjusted[k]),
        float(base[k]),
        heating=line if model == "heating" else None,
        cooling=line if model == "cooling" else None,
    )


def _best_pair(
    heating: _Degrees, cooling: _Degrees, centred: Floats, mean: float, total: float
) -> _Candidate | None:
    """Least squares with two slopes for all pairs at once, by the 2 x 2 normal equations."""
    if not len(heating.balance) or not len(cooling.balance):
        return None
    hh = (heating.centred**2).sum(axis=0)[:, None]
    cc = (cooling.centred**2).sum(axis=0)[None, :]
    hc = heating.centred.T @ cooling.centred
    hy = (heating.centred.T @ centred)[:, None]
    cy = (cooling.centred.T @ centred)[None, :]
    determinant = hh * cc - hc**2
    # Where the two lines are nearly one, no slope of either can be told.
    is_told = determinant > 1e-9 * hh * cc
    safe = np.where(is_told, determinant, 1.0)
    on_heating, on_cooling = (hy * cc - cy * hc) / safe, (cy * hh - hy * hc) / safe
    base = mean - on_heating * heating.mean[:, None] - on_cooling * cooling.mean[None, :]
    left = np.maximum(total - on_heating * hy - on_cooling * cy, 0.0)
    adjusted = _adjusted_r2(left, total, len(centred), 2)
    is_apart = cooling.balance[None, :] >= heating.balance[:, None]
    is_right = is_told & is_apart & (on_heating > 0.0) & (on_cooling > 0.0) & (base >= 0.0)
    adjusted[~is_right] = -np.inf
    h, c = np.unravel_index(int(adjusted.argmax()), adjusted.shape)
    if not np.isfinite(adjusted[h, c]):
        return None
    return _Candidate(
        "heating_and_cooling",
        float(adjusted[h, c]),
        float(base[h, c]),
        heating=(float(heating.balance[h]), float(on_heating[h, c])),
        cooling=(float(cooling.balance[c]), float(on_cooling[h, c])),
    )


def _adjusted_r2(left: Floats, total: float, n: int, n_slopes: int) -> Floats:
    """1 - (SS_res / (P - c - 1)) / (SS_tot / (P - 1)): CalTRACK 2.0, 3.4.3.3."""
    return 1.0 - (left / (n - n_slopes - 1)) / (total / (n - 1))


def _as_fit(best: _Candidate, energy_kwh: Floats, temperature_degc: Floats, total: float) -> Fit:
    heating, cooling = best.heating or (None, None), best.cooling or (None, None)
    n, n_slopes = len(energy_kwh), (best.heating is not None) + (best.cooling is not None)
    fit = Fit(
        model=best.model,
        balance_heating_degc=heating[0],
        balance_cooling_degc=cooling[0],
        base_kwh_per_day=best.base,
        heating_kwh_per_degree_day=heating[1],
        cooling_kwh_per_degree_day=cooling[1],
        r2=None,
        cv_rmse_pct=None,
        n_days=n,
        n_slopes=n_slopes,
        autocorrelation=0.0,
    )
    residuals = energy_kwh - fit.expected_kwh(temperature_degc)
    left = float(residuals @ residuals)
    mean = float(energy_kwh.mean())
    explained = 0.0 if best.model == "mean" else max(0.0, 1.0 - left / total)
    return replace(
        fit,
        r2=explained if total > 0.0 else None,
        cv_rmse_pct=float(100.0 * np.sqrt(left / (n - n_slopes)) / mean) if mean > 0.0 else None,
        autocorrelation=float(residuals[1:] @ residuals[:-1]) / left if left > 0.0 else 0.0,
    )
