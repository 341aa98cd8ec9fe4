"""Raw and weather-normalised trend: known buildings, what is refused, and a real estate's gas."""

import os
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables.core import SITE, WEATHER
from energy_etl.tables.mart import SITE_WEATHER, WEATHER_TREND
from energy_etl.transform.baseline import Floats
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.weather import compute_site_weather
from energy_etl.transform.weather_trend import compute_weather_trends
from energy_etl_tests.transform.builders import make_register, utc
from energy_etl_tests.transform.degree_days import make_daily, make_temperatures, make_weather

# 425 days from 2024-09-01: the last 30 are October, the year of the fit ends before them.
NOW = utc("2025-10-31T12:00")
# The last 30 are colder than their season: what a raw trend would call growth.
YEARS = make_temperatures(425) - np.where(np.arange(425) < 395, 0.0, 4.0)
WEATHER_OF_SITE = make_weather(YEARS)
GAS = make_register("a", zone="UTC", commodity="gas")


def heated(temperature: Floats) -> Floats:
    return 10.0 + 3.0 * np.maximum(15.0 - temperature, 0.0)


def trend_of(
    energies: Floats | list[float | None],
    weather: pl.DataFrame = WEATHER_OF_SITE,
    registers: pl.DataFrame = GAS,
) -> dict:
    rows = compute_weather_trends(make_daily(energies), registers, weather, now=NOW)
    assert rows.schema == WEATHER_TREND.polars_schema
    assert rows.height == 1
    return rows.row(0, named=True)


def test_same_building_in_other_weather_has_no_normalised_trend():
    row = trend_of(heated(YEARS))
    assert row["trend_pct"] > 25.0
    assert row["normalised_trend_pct"] == pytest.approx(0.0, abs=1e-6)
    assert row["energy_kwh"] == pytest.approx(row["expected_kwh"])
    assert row["previous_energy_kwh"] == pytest.approx(row["previous_expected_kwh"])
    assert (row["model"], row["balance_heating_degc"], row["n_fit_days"]) == ("heating", 15.0, 365)
    assert row["reason"] is None


def test_windows_are_30_days_and_52_weeks_apart():
    energies = heated(YEARS)
    row = trend_of(energies)
    # D is day 425: [395, 425) against [31, 61).
    assert row["energy_kwh"] == pytest.approx(energies[395:].sum())
    assert row["previous_energy_kwh"] == pytest.approx(energies[31:61].sum())
    assert row["trend_pct"] == pytest.approx(
        100.0 * (energies[395:].sum() / energies[31:61].sum() - 1.0)
    )


@settings(max_examples=6, deadline=None)
@given(factor=st.floats(0.1, 10.0))
def test_growth_is_found_whatever_the_weather(factor: float):
    energies = heated(YEARS)
    energies[395:] *= factor
    row = trend_of(energies)
    assert row["normalised_trend_pct"] == pytest.approx(100.0 * (factor - 1.0), abs=1e-6)


def test_building_that_ignores_the_weather_is_refused_with_its_fit():
    noise = np.random.default_rng(4).normal(0.0, 5.0, 425)
    row = trend_of(60.0 + noise)
    assert row["reason"].startswith("poor_fit: R2 is 0.0")
    assert row["r2"] < 0.1
    assert row["model"] is not None
    assert row["normalised_trend_pct"] is None
    assert row["expected_kwh"] is None
    assert row["trend_pct"] is not None


def test_without_temperatures_the_raw_trend_stands_alone():
    energies = heated(YEARS)
    row = trend_of(energies, SITE_WEATHER.empty_frame())
    assert row["reason"].startswith("no_weather: the site has no outdoor temperature")
    assert row["trend_pct"] == pytest.approx(
        100.0 * (energies[395:].sum() / energies[31:61].sum() - 1.0)
    )
    assert (row["normalised_trend_pct"], row["model"], row["n_fit_days"]) == (None, None, 0)


def test_missing_temperatures_of_a_window_refuse_only_the_normalised_trend():
    row = trend_of(heated(YEARS), WEATHER_OF_SITE.head(421))
    assert row["reason"].startswith("insufficient_days: 26 of the last 30 days and 30 of those")
    assert row["normalised_trend_pct"] is None
    assert row["energy_kwh"] == pytest.approx(heated(YEARS)[395:].sum())


def test_three_missing_days_leave_the_means_comparable():
    energies: list[float | None] = list(heated(YEARS))
    energies[400:403] = [None] * 3
    row = trend_of(energies)
    assert row["normalised_trend_pct"] == pytest.approx(0.0, abs=1e-6)
    energies[403] = None
    row = trend_of(energies)
    assert (row["trend_pct"], row["normalised_trend_pct"]) == (None, None)
    assert row["reason"].startswith("insufficient_days")


def test_new_register_has_a_row_with_its_reason():
    rows = compute_weather_trends(
        make_daily(heated(YEARS)[:5]), GAS, SITE_WEATHER.empty_frame(), now=NOW
    )
    row = rows.row(0, named=True)
    assert row["reason"].startswith("insufficient_baseline: 0 days from 2024-10-01 to 2025-10-01")
    assert row["energy_kwh"] is None


def test_register_of_26_days_does_not_show_their_sum_as_that_of_30():
    since = list(heated(YEARS)[398:])
    silent: list[float | None] = [None] * 398
    row = trend_of([*silent, None, *since[1:]])
    assert (row["energy_kwh"], row["previous_energy_kwh"], row["trend_pct"]) == (None, None, None)
    assert trend_of([*silent, *since])["energy_kwh"] == pytest.approx(sum(since))


def test_gas_in_m3_says_that_it_is_no_energy_and_water_has_no_row():
    registers = pl.concat(
        [
            make_register("gas", commodity="gas", unit="m3"),
            make_register("water", commodity="water", unit="m3"),
            make_register("submeter", role="submeter"),
            make_register("again", is_primary=False),
            make_register("volts", kind="instant", unit="V"),
        ]
    )
    rows = compute_weather_trends(make_daily([]), registers, WEATHER_OF_SITE, now=NOW)
    assert rows["register_id"].to_list() == ["gas"]
    assert rows["reason"][0].startswith("not_energy")


def test_summer_of_a_building_that_only_heats_is_refused_not_divided_by_zero():
    energies = np.where(YEARS < 15.0, 3.0 * (15.0 - YEARS), 0.0)
    energies[31:61] = 0.0
    row = trend_of(energies)
    assert row["reason"].startswith("no_consumption")
    assert (row["trend_pct"], row["normalised_trend_pct"]) == (None, None)


def cambridge() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Daily gas of 16 buildings, their registers, and the weather, from hourly originals."""
    folder = os.environ.get("ENERGY_ETL_REAL_DATA")
    if not folder:
        pytest.skip("ENERGY_ETL_REAL_DATA names no folder with real metering data")
    now = utc("2017-04-01T12:00")
    gas = (
        pl.scan_parquet(Path(folder) / "cambridge_estates_hourly_2014_2017.parquet")
        .filter(pl.col("commodity") == "gas")
        .select(
            register_id=pl.col("building").cast(pl.String),
            start_at=pl.col("datetime_utc").dt.replace_time_zone("UTC"),
            energy_kwh="kwh",
            volume_m3=pl.lit(None, pl.Float64),
            quality=pl.lit("measured"),
            is_provisional=pl.lit(value=False),
        )
        .collect()
    )
    hour = pl.col("datetime").dt.replace_time_zone("UTC")
    samples = pl.read_csv(
        Path(folder) / "cambridge_weather_bedford_2014_2017.csv.gz", try_parse_dates=True
    ).select(
        register_id=pl.lit("outdoor"),
        start_at=hour,
        end_at=hour.dt.offset_by("1h"),
        sample_native="air_temperature [degC]",
        is_provisional=pl.lit(value=False),
    )
    same = {"site_id": "estate", "zone": "Europe/London", "grid_minutes": 60}
    buildings = gas["register_id"].unique().sort()
    registers = pl.concat(
        [make_register(building, commodity="gas", **same) for building in buildings]
    )
    sensor = make_register(
        "outdoor", commodity="temperature", kind="instant", unit="degC", role="sensor", **same
    )
    row = {"site_id": "estate", "name": "e", "zone": "Europe/London", "currency": "GBP"}
    site = pl.DataFrame([row], schema=SITE.polars_schema)
    weather = compute_site_weather(samples, sensor, site, WEATHER.empty_frame(), now=now)
    return compute_daily(gas, registers, now=now), registers, weather


def test_cambridge_gas_normalised_is_flatter_than_raw_and_poor_fits_are_refused():
    daily, registers, weather = cambridge()
    winter = pl.concat(
        [
            compute_weather_trends(daily, registers, weather, now=datetime.fromisoformat(day))
            for day in (
                "2016-12-01T12:00+00:00",
                "2017-01-01T12:00+00:00",
                "2017-02-01T12:00+00:00",
                "2017-03-01T12:00+00:00",
                "2017-04-01T12:00+00:00",
            )
        ]
    )
    assert winter.height == 16 * 5
    is_refused = pl.col("reason").is_not_null()
    refused = winter.filter(is_refused)
    # Three that hardly heat with gas, and one that reads 0 for weeks from December 2016 on.
    counted = refused.group_by("register_id").len().sort("register_id")
    assert counted.rows() == [
        ("UCam_Building_b101", 3),
        ("UCam_Building_b104", 1),
        ("UCam_Building_b118", 2),
        ("UCam_Building_b24", 1),
    ]
    assert refused["reason"].str.starts_with("poor_fit").all()
    assert refused["r2"].max() < 0.5  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    assert refused["normalised_trend_pct"].null_count() == refused.height

    fitted = winter.filter(~is_refused)
    assert (fitted["model"] == "heating").all()
    # 15.5 degC is the base of the estate's own degree days.
    assert fitted["balance_heating_degc"].median() == pytest.approx(15.5, abs=1.0)
    best = fitted.filter(pl.col("register_id") == "UCam_Building_b40")
    assert best.select((pl.col("r2") > 0.9) & (pl.col("cv_rmse_pct") < 15.0)).to_series().all()
    raw, normalised = fitted["trend_pct"].abs(), fitted["normalised_trend_pct"].abs()
    assert (normalised < raw).mean() > 0.6  # pyright: ignore[reportOperatorIssue]
    assert normalised.median() < 0.6 * raw.median()  # pyright: ignore[reportOperatorIssue]
