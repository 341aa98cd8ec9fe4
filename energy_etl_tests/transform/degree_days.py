"""Days of a building whose dependence on the weather is known, for the tests of baselines."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from energy_etl.tables.mart import DAILY_ENERGY, SITE_WEATHER
from energy_etl.transform.baseline import Floats
from energy_etl_tests.transform.builders import utc

FIRST_ON = date(2024, 9, 1)


def make_temperatures(n_days: int, *, seed: int = 1, mean: float = 11.0) -> Floats:
    """Daily means around a cosine of the year from September on, 9 K either way, with weather."""
    season = 9.0 * np.cos(2.0 * np.pi * (np.arange(n_days) + 40.0) / 365.0)
    return mean + season + np.random.default_rng(seed).normal(0.0, 3.0, n_days)


def make_daily(
    energies: Floats | list[float | None],
    *,
    register_id: str = "a",
    first_on: date = FIRST_ON,
    n_expected: int = 24,
    n_measured: int = 24,
    n_estimated: int = 0,
) -> pl.DataFrame:
    """Rows of mart.daily_energy, one per day from first_on on; None: nothing was measured."""
    rows = []
    for n, energy in enumerate(energies):
        day = first_on + timedelta(days=n)
        start_at = utc(day.isoformat())
        rows.append(
            {
                "register_id": register_id,
                "site_id": "site",
                "local_on": day,
                "start_at": start_at,
                "end_at": start_at + timedelta(days=1),
                "hours": 24.0,
                "energy_kwh": None if energy is None else float(energy),
                "volume_m3": None,
                "n_expected": n_expected,
                "n_measured": 0 if energy is None else n_measured,
                "n_estimated": n_estimated,
                "coverage_pct": 0.0 if energy is None else 100.0 * n_measured / n_expected,
                "is_complete": energy is not None,
            }
        )
    return pl.DataFrame(rows, schema=DAILY_ENERGY.polars_schema)


def make_weather(temperatures: Floats, *, first_on: date = FIRST_ON) -> pl.DataFrame:
    """Rows of mart.site_weather of `site`, one per day from first_on on."""
    days = [first_on + timedelta(days=n) for n in range(len(temperatures))]
    return pl.DataFrame(
        {
            "site_id": ["site"] * len(days),
            "local_on": days,
            "temperature_degc": temperatures,
            "heating_degree_days": np.maximum(15.5 - temperatures, 0.0),
            "cooling_degree_days": np.maximum(temperatures - 22.0, 0.0),
            "coverage_pct": [100.0] * len(days),
            "source": ["csv"] * len(days),
        },
        schema=SITE_WEATHER.polars_schema,
    )
