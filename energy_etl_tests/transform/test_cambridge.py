"""Sixteen real buildings: hourly totals -> intervals -> days, months, and each among its peers.

The gas of the same buildings against the weather is `test_weather_trend.py`.
"""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_etl.periods import local_day_bounds
from energy_etl.tables.core import EXCHANGE, SITE
from energy_etl.transform.calendar import compute_daily, compute_hourly
from energy_etl.transform.peers import compute_peers
from energy_etl.transform.registers import compute_intervals
from energy_etl.transform.site_energy import compute_site_daily
from energy_etl.transform.site_profile import compute_site_profiles
from energy_etl.transform.spans import compute_monthly
from energy_etl_tests.transform.builders import make_register
from energy_etl_tests.transform.register_frames import real_data

ZONE = "Europe/London"
# Five months, one change of the clock, and the 28 days that peers need.
FROM_AT = datetime(2016, 2, 1, tzinfo=UTC)
NOW = datetime(2016, 7, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def hourly() -> pl.DataFrame:
    """register_id, start_at and kwh of the electricity of each building."""
    return (
        pl.scan_parquet(real_data() / "cambridge_estates_hourly_2014_2017.parquet")
        .filter(pl.col("commodity") == "electricity")
        .select(
            register_id=pl.col("building").cast(pl.String),
            start_at=pl.col("datetime_utc").cast(pl.Datetime("us", "UTC")),
            kwh="kwh",
        )
        .filter(pl.col("start_at").is_between(FROM_AT, NOW, closed="left"))
        .collect()
        .sort("register_id", "start_at")
    )


@pytest.mark.real_data
def test_sixteen_buildings_give_their_days_months_and_percentiles(hourly: pl.DataFrame) -> None:
    buildings = hourly["register_id"].unique().sort().to_list()
    assert len(buildings) == 16
    registers = pl.concat(
        make_register(
            each, site_id=each, zone=ZONE, kind="interval", stamp="start", grid_minutes=60
        )
        for each in buildings
    )
    sites = pl.DataFrame(
        [(each, each, ZONE, "GBP", 3000.0, "university") for each in buildings],
        schema=SITE.polars_schema,
        orient="row",
    )
    readings = hourly.select(
        "register_id",
        read_at="start_at",
        reading_native="kwh",
        version=pl.lit(1, pl.Int64),
    )
    result = compute_intervals(
        readings, registers, EXCHANGE.empty_frame(), now=NOW, hold_for=timedelta(hours=48)
    )
    daily = compute_daily(result.intervals, registers, now=NOW)

    # The zone files, asked another way: every hour of the file gets its local date.
    known = hourly.filter(pl.col("kwh").is_finite() & (pl.col("kwh") >= 0))
    local = known.with_columns(local_on=pl.col("start_at").dt.convert_time_zone(ZONE).dt.date())
    expected = local.group_by("register_id", "local_on").agg(pl.col("kwh").sum(), pl.len())
    both = daily.join(expected, on=["register_id", "local_on"], how="left")
    # Hours of zeros are an outage of mains, and a day that lost none equals the sum of its hours.
    whole = both.filter(pl.col("n_measured") == pl.col("len"))
    assert whole.height > 0.9 * both.height
    assert (whole["energy_kwh"] - whole["kwh"]).abs().max() == pytest.approx(0.0, abs=1e-6)
    on_change = whole.filter(pl.col("local_on") == date(2016, 3, 27))
    assert set(on_change["hours"]) == {23.0}
    assert on_change.height >= 14

    monthly = compute_monthly(daily, registers, now=NOW).filter("is_complete")
    months = local.group_by("register_id", month_on=pl.col("local_on").dt.truncate("1mo")).agg(
        pl.col("kwh").sum()
    )
    compared = monthly.join(months, on=["register_id", "month_on"])
    assert compared.height > 40
    assert (compared["energy_kwh"] - compared["kwh"]).abs().max() == pytest.approx(0.0, abs=1e-5)

    site_daily = compute_site_daily(daily, registers, now=NOW)
    hours = compute_hourly(result.intervals, registers, now=NOW)
    profiles = compute_site_profiles(site_daily, hours, registers, sites, now=NOW)
    peers = compute_peers(profiles, sites, now=NOW)
    start, end = (
        local_day_bounds(ZONE, datetime(2016, m, d).date())[0] for m, d in ((6, 3), (7, 1))
    )
    of_28_days = known.filter(pl.col("start_at").is_between(start, end, closed="left"))
    amounts = dict(of_28_days.group_by("register_id").agg(pl.col("kwh").sum()).iter_rows())
    shown = peers.filter(pl.col("percentile").is_not_null())
    assert shown.height >= 14
    own = np.array([amounts[site_id] for site_id in shown["site_id"]])
    np.testing.assert_allclose(shown["amount"].to_numpy(), own, rtol=1e-9)
    quartiles = shown.select("min", "lower_quartile", "median", "upper_quartile", "max").row(0)
    np.testing.assert_allclose(quartiles, np.percentile(own, [0, 25, 50, 75, 100]), rtol=1e-9)
    less = (own[:, None] > own[None, :]).sum(axis=1)
    np.testing.assert_allclose(shown["percentile"].to_numpy(), 100.0 * less / (len(own) - 1))
