"""The degree-day model: what is put in comes out, and its interval holds what it promises."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.transform.baseline import BALANCE_DEGC, Floats, fit_degree_days, student_t
from energy_etl_tests.transform.degree_days import make_temperatures

YEAR = make_temperatures(365)


def heated(temperature: Floats, *, base: float, slope: float, balance: float) -> Floats:
    return base + slope * np.maximum(balance - temperature, 0.0)


@settings(max_examples=15, deadline=None)
@given(
    base=st.floats(1.0, 100.0),
    slope=st.floats(0.2, 50.0),
    balance=st.integers(6, 20),
    can_cool=st.booleans(),
)
def test_known_building_is_recovered(base: float, slope: float, balance: int, can_cool: bool):
    fit = fit_degree_days(
        heated(YEAR, base=base, slope=slope, balance=balance), YEAR, can_cool=can_cool
    )
    assert (fit.model, fit.balance_heating_degc, fit.n_days) == ("heating", balance, 365)
    assert fit.base_kwh_per_day == pytest.approx(base, rel=1e-6)
    assert fit.heating_kwh_per_degree_day == pytest.approx(slope, rel=1e-6)
    assert fit.r2 == pytest.approx(1.0)
    assert fit.cv_rmse_pct == pytest.approx(0.0, abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-3, 1e6), seed=st.integers(0, 100))
def test_scaled_energy_scales_the_fit_alone(factor: float, seed: int):
    noise = np.random.default_rng(seed).normal(0.0, 4.0, 365)
    energy = heated(YEAR, base=30.0, slope=3.0, balance=15) + noise
    one = fit_degree_days(energy, YEAR, can_cool=True)
    other = fit_degree_days(factor * energy, YEAR, can_cool=True)
    assert (other.model, other.balance_heating_degc) == (one.model, one.balance_heating_degc)
    assert other.base_kwh_per_day == pytest.approx(factor * one.base_kwh_per_day)
    assert (other.r2, other.cv_rmse_pct) == pytest.approx((one.r2, one.cv_rmse_pct))
    assert other.uncertainty_kwh(factor * 900.0, 30) == pytest.approx(
        factor * (one.uncertainty_kwh(900.0, 30) or 0.0)
    )


def test_grid_search_finds_what_trying_every_pair_does():
    noise = np.random.default_rng(5).normal(0.0, 2.0, 365)
    energy = (
        heated(YEAR, base=20.0, slope=2.0, balance=13) + 1.5 * np.maximum(YEAR - 18, 0.0) + noise
    )
    fit = fit_degree_days(energy, YEAR, can_cool=True)
    tried = {}
    for low, high in itertools.combinations_with_replacement(BALANCE_DEGC, 2):
        heating, cooling = np.maximum(low - YEAR, 0.0), np.maximum(YEAR - high, 0.0)
        if min((heating > 0).sum(), (cooling > 0).sum()) < 10:
            continue
        if min(heating.sum(), cooling.sum()) < 20:
            continue
        design = np.column_stack([np.ones(365), heating, cooling])
        answer, left, rank, _ = np.linalg.lstsq(design, energy)
        if rank == 3 and (answer > 0.0).all():
            tried[(low, high)] = (float(left[0]), *answer)
    best = min(tried, key=lambda pair: tried[pair][0])
    assert (fit.balance_heating_degc, fit.balance_cooling_degc) == best
    assert (
        fit.base_kwh_per_day,
        fit.heating_kwh_per_degree_day,
        fit.cooling_kwh_per_degree_day,
    ) == pytest.approx(tried[best][1:])
    left, total = tried[best][0], float(((energy - energy.mean()) ** 2).sum())
    assert fit.r2 == pytest.approx(1.0 - left / total)
    assert fit.cv_rmse_pct == pytest.approx(100.0 * np.sqrt(left / 363.0) / energy.mean())


def test_gas_that_rises_with_the_heat_gets_no_cooling_model():
    energy = 20.0 + 3.0 * np.maximum(YEAR - 14.0, 0.0)
    assert fit_degree_days(energy, YEAR, can_cool=False).model == "mean"
    assert fit_degree_days(energy, YEAR, can_cool=True).model == "cooling"


def test_negative_intercept_does_not_qualify():
    energy = heated(YEAR, base=-5.0, slope=2.0, balance=18)
    fit = fit_degree_days(energy, YEAR, can_cool=False)
    assert fit.model == "heating"
    assert fit.base_kwh_per_day >= 0.0
    assert fit.balance_heating_degc != 18


def test_few_cold_days_make_no_heating_model():
    temperature = np.full(365, 20.0) + np.linspace(0.0, 0.5, 365)
    temperature[:9] = -10.0
    energy = np.where(temperature < 0.0, 500.0, 10.0)
    assert fit_degree_days(energy, temperature, can_cool=False).model == "mean"


def test_equal_days_are_their_mean_without_r2():
    fit = fit_degree_days(np.full(365, 7.0), YEAR, can_cool=True)
    assert (fit.model, fit.base_kwh_per_day, fit.r2, fit.cv_rmse_pct) == ("mean", 7.0, None, 0.0)


def test_no_consumption_has_no_cv_rmse_and_no_uncertainty():
    fit = fit_degree_days(np.zeros(365), YEAR, can_cool=True)
    assert fit.cv_rmse_pct is None
    assert fit.uncertainty_kwh(0.0, 30) is None


def test_no_day_cannot_be_fitted():
    with pytest.raises(ValueError, match="at least one day"):
        fit_degree_days(np.array([]), np.array([]), can_cool=True)


@pytest.mark.parametrize(("degrees", "table"), [(10, 1.8125), (30, 1.6973), (363, 1.6490)])
def test_student_t_equals_the_table(degrees: int, table: float):
    assert student_t(0.90, degrees) == pytest.approx(table, abs=2e-4)


def test_student_t_without_freedom_is_refused():
    with pytest.raises(ValueError, match="degree of freedom"):
        student_t(0.90, 0)


def test_uncertainty_is_that_of_the_formula():
    noise = np.random.default_rng(3).normal(0.0, 4.0, 365)
    energy = heated(YEAR, base=30.0, slope=3.0, balance=15) + noise
    fit = fit_degree_days(energy, YEAR, can_cool=False)
    residuals = energy - fit.expected_kwh(YEAR)
    rho = max(0.0, float(residuals[1:] @ residuals[:-1] / (residuals @ residuals)))
    effective = 365.0 * (1.0 - rho) / (1.0 + rho)
    months = 60.0 / (365.25 / 12.0)
    fsu_times_savings = (
        student_t(0.90, 364)
        * (-0.00024 * months**2 + 0.03535 * months + 1.00286)
        * (fit.cv_rmse_pct or 0.0)
        / 100.0
        * (365.0 / effective * (1.0 + 2.0 / effective) / 60.0) ** 0.5
        * 2400.0
    )
    assert fit.uncertainty_kwh(2400.0, 60) == pytest.approx(fsu_times_savings)
    assert fit.uncertainty_kwh(2400.0, 0) is None


def test_ninety_percent_interval_of_a_year_holds_the_truth_that_often():
    temperature = make_temperatures(730, seed=2)
    held = 0
    for seed in range(150):
        noise = np.random.default_rng(seed).normal(0.0, 6.0, 730)
        energy = heated(temperature, base=40.0, slope=3.0, balance=15) + noise
        fit = fit_degree_days(energy[:365], temperature[:365], can_cool=False)
        expected = float(fit.expected_kwh(temperature[365:]).sum())
        off = abs(expected - float(energy[365:].sum()))
        held += off <= (fit.uncertainty_kwh(expected, 365) or 0.0)
    assert 0.85 <= held / 150 <= 0.99
