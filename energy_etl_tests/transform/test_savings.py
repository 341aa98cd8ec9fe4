"""Savings: found where they are, refused where the data does not carry them."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables.core import MEASURE, VENDOR_FIGURE
from energy_etl.tables.mart import FINDING, SAVINGS, SITE_WEATHER
from energy_etl.transform.baseline import Floats
from energy_etl.transform.savings import compute_savings, compute_savings_findings
from energy_etl_tests.transform.builders import make_register, utc
from energy_etl_tests.transform.degree_days import (
    FIRST_ON,
    make_daily,
    make_temperatures,
    make_weather,
)

# A year of baseline, ten days of works, 30 days after: D is 2025-10-11.
N_DAYS = 405
NOW = utc("2025-10-11T12:00")
TEMPERATURES = make_temperatures(N_DAYS)
WEATHER = make_weather(TEMPERATURES)
GAS = make_register("a", zone="UTC", commodity="gas", meter_id="m")
NO_MEASURES = MEASURE.empty_frame()
NO_FIGURES = VENDOR_FIGURE.empty_frame()


def day(n: int) -> date:
    return FIRST_ON + timedelta(days=n)


def measure(**columns: object) -> pl.DataFrame:
    row: dict[str, object] = {
        "measure_id": "boiler",
        "register_id": "a",
        "name": "New boiler",
        "baseline_start_on": day(0),
        "baseline_end_on": day(365),
        "reporting_start_on": day(375),
        "reporting_end_on": None,
    }
    return pl.DataFrame([row | columns], schema=MEASURE.polars_schema)


def figure(**columns: object) -> pl.DataFrame:
    row: dict[str, object] = {
        "meter_id": "m",
        "vendor": "digiwatt",
        "period": "last-30-days",
        "fetched_on": date(2025, 10, 11),
        "energy_kwh": 660.0,
        "cost_eur": 55.0,
    }
    return pl.DataFrame([row | columns], schema=VENDOR_FIGURE.polars_schema)


def before() -> Floats:
    """What the building would use all along."""
    return 20.0 + 3.0 * np.maximum(15.0 - TEMPERATURES, 0.0)


def saved(kwh_per_day: float) -> Floats:
    """The same with wild days of works and a constant saving afterwards."""
    energies = before()
    energies[365:375] = 5000.0
    energies[375:] -= kwh_per_day
    return energies


def savings_of(
    energies: Floats | list[float | None],
    measures: pl.DataFrame = NO_MEASURES,
    registers: pl.DataFrame = GAS,
    weather: pl.DataFrame = WEATHER,
    figures: pl.DataFrame = NO_FIGURES,
) -> dict[str, dict]:
    rows = compute_savings(make_daily(energies), registers, weather, measures, figures, now=NOW)
    assert rows.schema == SAVINGS.polars_schema
    assert not rows.select(SAVINGS.key).is_duplicated().any()
    return {row["measure_id"]: row for row in rows.iter_rows(named=True)}


@settings(max_examples=6, deadline=None)
@given(saving=st.floats(-20.0, 20.0), factor=st.floats(0.01, 1000.0))
def test_constant_saving_is_found_and_scales_with_the_energy(saving: float, factor: float):
    row = savings_of(factor * saved(saving), measure())["boiler"]
    expected = factor * before()[375:].sum()
    assert row["reason"] is None
    assert (row["n_baseline_days"], row["n_reporting_days"]) == (365, 30)
    assert row["baseline_kwh"] == pytest.approx(expected)
    assert row["savings_kwh"] == pytest.approx(factor * 30.0 * saving, abs=1e-6 * expected)
    assert row["savings_pct"] == pytest.approx(100.0 * factor * 30.0 * saving / expected, abs=1e-4)
    assert row["uncertainty_kwh"] == pytest.approx(0.0, abs=1e-6 * expected)
    assert row["measured_kwh"] == pytest.approx(expected - factor * 30.0 * saving)


def test_works_between_the_periods_are_not_used():
    quiet = saved(4.0)
    quiet[365:375] = 0.001
    assert savings_of(quiet, measure())["boiler"] == savings_of(saved(4.0), measure())["boiler"]


def test_baseline_longer_than_a_year_uses_the_last_365_days():
    energies = saved(2.0)
    energies[:20] *= 50.0
    longer = measure(baseline_end_on=day(385), reporting_start_on=day(395))
    row = savings_of(energies, longer)["boiler"]
    assert row["baseline_start_on"] == day(20)
    assert row["n_baseline_days"] == 365


@pytest.mark.parametrize(("n_missing", "is_refused"), [(37, False), (38, True)])
def test_baseline_may_miss_37_days(n_missing: int, is_refused: bool):
    energies: list[float | None] = list(saved(2.0))
    energies[100 : 100 + n_missing] = [None] * n_missing
    row = savings_of(energies, measure())["boiler"]
    assert (row["savings_kwh"] is None) == is_refused
    if is_refused:
        assert row["reason"].startswith("insufficient_baseline: 327 days from 2024-09-01")
        assert row["measured_kwh"] is not None


def test_short_baseline_is_insufficient():
    row = savings_of(saved(2.0), measure(baseline_start_on=day(200)))["boiler"]
    assert row["reason"].startswith("insufficient_baseline: 165 days")


@pytest.mark.parametrize(("n_measured", "is_used"), [(21, False), (22, True)])
def test_day_counts_from_ninety_percent_of_its_intervals_and_is_filled(
    n_measured: int, is_used: bool
):
    daily = make_daily(before() * n_measured / 24.0, n_measured=n_measured)
    rows = compute_savings(daily, GAS, WEATHER, measure(), NO_FIGURES, now=NOW)
    row = rows.filter(pl.col("measure_id") == "boiler").row(0, named=True)
    assert row["n_baseline_days"] == (365 if is_used else 0)
    if is_used:
        assert row["measured_kwh"] == pytest.approx(before()[375:].sum())


def test_zero_days_are_missing_for_electricity_but_not_for_gas():
    energies = saved(2.0)
    energies[380:390] = 0.0
    gas = savings_of(energies, measure())["boiler"]
    electric = savings_of(energies, measure(), make_register("a", zone="UTC"))["boiler"]
    assert (gas["n_reporting_days"], electric["n_reporting_days"]) == (30, 20)


def test_declared_end_of_the_reporting_period_is_kept_and_today_is_not_in_it():
    row = savings_of(saved(2.0), measure(reporting_end_on=day(385)))["boiler"]
    assert (row["reporting_end_on"], row["n_reporting_days"]) == (day(385), 10)
    open_end = savings_of(saved(2.0), measure(reporting_end_on=date(2030, 1, 1)))["boiler"]
    assert (open_end["reporting_end_on"], open_end["n_reporting_days"]) == (day(405), 30)


def test_days_without_a_temperature_are_left_out_on_both_sides():
    without = WEATHER.filter(~pl.col("local_on").is_between(day(380), day(384)))
    row = savings_of(saved(2.0), measure(), weather=without)["boiler"]
    assert (row["n_reporting_days"], row["savings_kwh"]) == (25, pytest.approx(50.0))


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"reporting_start_on": day(300)}, "wrong_dates"),
        ({"baseline_end_on": day(0)}, "wrong_dates"),
        ({"reporting_end_on": day(375)}, "wrong_dates"),
        ({"reporting_start_on": date(2026, 1, 1)}, "not_begun"),
    ],
)
def test_dates_that_cannot_be_judged_are_told(columns: dict, reason: str):
    row = savings_of(saved(2.0), measure(**columns))["boiler"]
    assert row["reason"].startswith(f"{reason}: ")
    assert (row["savings_kwh"], row["baseline_kwh"], row["uncertainty_kwh"]) == (None,) * 3


def test_refusals_of_the_data_are_told():
    none = savings_of(saved(2.0), measure(), weather=SITE_WEATHER.empty_frame())["boiler"]
    assert none["reason"].startswith("no_weather")
    few = savings_of(saved(2.0), measure(), weather=WEATHER.tail(200))["boiler"]
    assert few["reason"].startswith("few_temperatures: 160 of the days")
    nothing = savings_of(np.zeros(N_DAYS), measure())["boiler"]
    assert nothing["reason"].startswith("no_consumption")
    volume = make_register("a", zone="UTC", commodity="gas", unit="m3")
    assert savings_of([], measure(), volume)["boiler"]["reason"].startswith("not_energy")
    energies: list[float | None] = list(saved(2.0))
    energies[375:] = [None] * 30
    assert savings_of(energies, measure())["boiler"]["reason"].startswith("insufficient_days")


def test_scatter_above_the_mean_is_refused_with_its_fit():
    energies = np.where(np.arange(N_DAYS) % 10 == 0, 500.0, 1.0)
    row = savings_of(energies, measure())["boiler"]
    assert row["reason"].startswith("poor_fit: the days scatter by ")
    assert row["cv_rmse_pct"] > 100.0
    assert row["savings_kwh"] is None


def test_measure_of_a_register_that_nobody_knows_is_left_out():
    assert list(savings_of(saved(2.0), measure(register_id="other"))) == ["last-30-days"]


def test_submeter_of_a_measure_is_judged_but_has_no_last_30_days():
    submeter = make_register("a", zone="UTC", role="submeter")
    assert list(savings_of(saved(2.0), measure(), submeter)) == ["boiler"]


def test_last_30_days_stand_beside_the_vendor():
    energies = before()
    row = savings_of(energies, figures=figure())["last-30-days"]
    own = energies[375:].sum()
    assert (row["baseline_start_on"], row["baseline_end_on"]) == (day(10), day(375))
    assert (row["reporting_start_on"], row["reporting_end_on"]) == (day(375), day(405))
    assert row["savings_kwh"] == pytest.approx(0.0, abs=1e-6)
    assert (row["vendor"], row["vendor_measured_kwh"], row["vendor_cost"]) == (
        "digiwatt",
        660.0,
        55.0,
    )
    assert row["vendor_difference_pct"] == pytest.approx(100.0 * (660.0 - own) / own)


def test_vendor_stands_beside_a_refused_baseline_too():
    row = savings_of(before(), weather=SITE_WEATHER.empty_frame(), figures=figure())
    assert row["last-30-days"]["savings_kwh"] is None
    assert row["last-30-days"]["vendor_difference_pct"] is not None


def test_missing_day_leaves_no_difference_to_the_vendor():
    energies: list[float | None] = list(before())
    energies[390] = None
    row = savings_of(energies, figures=figure())["last-30-days"]
    assert (row["vendor_measured_kwh"], row["vendor_difference_pct"]) == (660.0, None)


@pytest.mark.parametrize(
    "figures",
    [
        figure(fetched_on=date(2025, 10, 10)),
        figure(period="last-week"),
        figure(meter_id="other"),
    ],
)
def test_other_figures_of_a_vendor_do_not_stand_here(figures: pl.DataFrame):
    assert savings_of(before(), figures=figures)["last-30-days"]["vendor"] is None


def test_two_mains_of_one_meter_share_no_vendor_figure():
    both = pl.concat([GAS, make_register("b", zone="UTC", commodity="gas", meter_id="m")])
    rows = compute_savings(make_daily(before()), both, WEATHER, NO_MEASURES, figure(), now=NOW)
    assert rows["vendor"].to_list() == [None, None]


def test_measure_called_last_30_days_keeps_its_row():
    rows = savings_of(saved(2.0), measure(measure_id="last-30-days"))
    assert rows["last-30-days"]["baseline_end_on"] == day(365)


def test_findings_name_the_measure_and_the_next_step():
    measures = pl.concat([measure(), measure(measure_id="late", reporting_start_on=day(500))])
    noise = np.random.default_rng(1).normal(0.0, 4.0, N_DAYS)
    savings = compute_savings(
        make_daily(saved(0.0) + noise), GAS, WEATHER, measures, NO_FIGURES, now=NOW
    )
    found = compute_savings_findings(savings)
    assert found.schema == FINDING.polars_schema
    assert found.select("kind", "place").rows() == [
        ("measure_refused", "a: late"),
        ("measure_without_effect", "a: boiler"),
    ]
    assert found["message"][0].endswith("the reporting period begins on 2026-01-14.")
    assert found["next_step"][0].startswith("Wait")


def test_rise_beyond_its_uncertainty_is_a_finding_and_a_small_one_is_not():
    for factor, kinds in ((1.5, ["more_than_expected"]), (1.05, [])):
        energies = before()
        energies[375:] *= factor
        savings = compute_savings(
            make_daily(energies), GAS, WEATHER, NO_MEASURES, NO_FIGURES, now=NOW
        )
        found = compute_savings_findings(savings)
        assert found["kind"].to_list() == kinds
    assert compute_savings_findings(SAVINGS.empty_frame()).is_empty()


def test_summer_in_which_nothing_is_expected_is_no_finding_without_a_message():
    savings = compute_savings(
        make_daily(saved(0.0)), GAS, WEATHER, measure(), NO_FIGURES, now=NOW
    ).filter(measure_id="boiler")
    zeros = ("measured_kwh", "baseline_kwh", "savings_kwh", "savings_pct", "uncertainty_kwh")
    nothing = savings.with_columns(pl.lit(0.0).alias(name) for name in zeros)
    assert compute_savings_findings(nothing)["kind"].to_list() == ["measure_without_effect"]
    nothing = nothing.with_columns(savings_pct=pl.lit(None, pl.Float64))
    assert compute_savings_findings(nothing).is_empty()


def test_nothing_to_judge_is_an_empty_table():
    rows = compute_savings(make_daily([]), GAS.clear(), WEATHER, NO_MEASURES, NO_FIGURES, now=NOW)
    assert rows.is_empty()
    assert rows.schema == SAVINGS.polars_schema
