"""The weather of the sites, and what is left of a trend without it."""

from typing import Final

import polars as pl

from energy_etl.defs.marts import found, made
from energy_etl.tables import Mart, Plot, Query, core, mart
from energy_etl.transform.weather import compute_site_weather, compute_weather_findings
from energy_etl.transform.weather_trend import compute_weather_trends

TEMPERATURES: Final = Query(
    "temperature_samples",
    "SELECT register_id, start_at, end_at, sample_native, is_provisional "
    "FROM core.sample JOIN core.register USING (register_id) "
    "WHERE commodity = 'temperature' AND is_primary",
    (core.SAMPLE, core.REGISTER),
)

MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.SITE_WEATHER,
        compute_site_weather,
        TEMPERATURES,
        core.REGISTER,
        core.SITE,
        core.WEATHER,
        note="Daily means of each site's outdoor sensor, else of weather.csv; complete days only.",
        plot=Plot("local_on", "temperature_degc", "mean"),
        numbers={
            "mean_temperature_degc": pl.col("temperature_degc").mean(),
            "n_sites": pl.col("site_id").n_unique(),
        },
    ),
    made(
        mart.WEATHER_TREND,
        compute_weather_trends,
        mart.DAILY_ENERGY,
        core.REGISTER,
        mart.SITE_WEATHER,
        note="Degree-day fit of a year (CalTRACK 2.0), refused below R2 0.5; the reason says why.",
        plot=Plot("register_id", "normalised_trend_pct", "mean"),
        numbers={
            "n_fitted": pl.col("r2").count(),
            "n_normalised": pl.col("normalised_trend_pct").count(),
            "median_r2": pl.col("r2").median(),
        },
    ),
)

FINDINGS: Final = (found(compute_weather_findings, core.REGISTER, core.WEATHER),)
