"""Daily means of the outdoor temperature: sensor first, then the CSV, never a room."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from energy_etl.errors import ConfigurationError
from energy_etl.tables.core import SAMPLE, SITE, WEATHER
from energy_etl.tables.mart import FINDING, SITE_WEATHER
from energy_etl.transform.weather import (
    compute_site_weather,
    compute_weather_findings,
    outdoor_registers,
)
from energy_etl_tests.transform.builders import make_register, utc

NOW = datetime.fromisoformat("2026-03-31T09:00+02:00")


def sensor(register_id: str = "t", **columns: object) -> pl.DataFrame:
    of_sensor = {
        "commodity": "temperature",
        "role": "sensor",
        "kind": "instant",
        "unit": "degC",
        "grid_minutes": 60,
    }
    return make_register(register_id, **(of_sensor | columns))


def site(zone: str = "Europe/Rome", site_id: str = "site") -> pl.DataFrame:
    row = {"site_id": site_id, "name": site_id, "zone": zone, "currency": "EUR"}
    return pl.DataFrame([row], schema=SITE.polars_schema)


def hours_of(start_at: datetime, values: list[float], register_id: str = "t") -> pl.DataFrame:
    starts = [start_at + timedelta(hours=n) for n in range(len(values))]
    rows = {
        "register_id": [register_id] * len(values),
        "start_at": starts,
        "end_at": [start + timedelta(hours=1) for start in starts],
        "sample_native": values,
        "n_readings": [1] * len(values),
        "is_provisional": [False] * len(values),
    }
    return pl.DataFrame(rows, schema=SAMPLE.polars_schema)


def csv_of(days: dict[date, float], site_id: str = "site") -> pl.DataFrame:
    rows = [(site_id, day, value) for day, value in days.items()]
    return pl.DataFrame(rows, schema=WEATHER.polars_schema, orient="row")


def weather_of(
    samples: pl.DataFrame,
    csv: pl.DataFrame | None = None,
    registers: pl.DataFrame | None = None,
    now: datetime = NOW,
) -> pl.DataFrame:
    return compute_site_weather(
        samples,
        sensor() if registers is None else registers,
        site(),
        WEATHER.empty_frame() if csv is None else csv,
        now=now,
    )


def test_day_of_a_clock_change_is_the_mean_of_its_23_hours():
    # 2026-03-29 in Rome is [28T23Z, 29T22Z).
    values = [0.0] * 12 + [23.0] * 11 + [99.0]
    row = weather_of(hours_of(utc("2026-03-28T23:00"), values)).row(0, named=True)
    assert row["local_on"] == date(2026, 3, 29)
    assert row["temperature_degc"] == pytest.approx(11.0)
    assert row["heating_degree_days"] == pytest.approx(4.5)
    assert row["cooling_degree_days"] == 0.0
    assert (row["coverage_pct"], row["source"]) == (100.0, "register")


def test_day_covered_by_half_counts_and_one_below_comes_from_the_csv():
    thin = hours_of(utc("2026-03-26T23:00"), [10.0] * 11)
    half = hours_of(utc("2026-03-27T23:00"), [25.0] * 12)
    csv = csv_of({date(2026, 3, 27): 4.0, date(2026, 3, 28): 5.0, date(2026, 3, 1): 6.0})
    rows = weather_of(pl.concat([thin, half]), csv)
    assert rows.select("local_on", "temperature_degc", "source").rows() == [
        (date(2026, 3, 1), 6.0, "csv"),
        (date(2026, 3, 27), 4.0, "csv"),
        (date(2026, 3, 28), 25.0, "register"),
    ]
    assert rows["cooling_degree_days"].to_list() == [0.0, 0.0, 3.0]


def test_long_sample_weighs_more_than_a_short_one():
    long = hours_of(utc("2026-03-26T23:00"), [10.0] * 12)
    short = hours_of(utc("2026-03-27T11:00"), [40.0] * 4).with_columns(
        end_at=pl.col("start_at") + pl.duration(minutes=15)
    )
    row = weather_of(pl.concat([long, short])).row(0, named=True)
    assert row["temperature_degc"] == pytest.approx((12 * 10.0 + 1 * 40.0) / 13)
    assert row["coverage_pct"] == pytest.approx(100.0 * 13 / 24)


def test_running_day_has_no_row_and_provisional_samples_do_not_count():
    today = hours_of(utc("2026-03-30T22:00"), [10.0] * 9)
    open_ones = hours_of(utc("2026-03-28T23:00"), [10.0] * 23).with_columns(is_provisional=True)
    csv = csv_of({date(2026, 3, 31): 9.0, date(2026, 4, 1): 9.0})
    assert weather_of(pl.concat([today, open_ones]), csv).is_empty()


def test_error_code_of_a_sensor_is_no_temperature():
    values = [8.0] * 13 + [85.0, -127.0, float("nan")] + [8.0] * 8
    row = weather_of(hours_of(utc("2026-03-26T23:00"), values)).row(0, named=True)
    assert row["temperature_degc"] == pytest.approx(8.0)
    assert row["coverage_pct"] == pytest.approx(100.0 * 21 / 24)


def test_nothing_known_is_an_empty_table():
    rows = weather_of(SAMPLE.empty_frame())
    assert rows.is_empty()
    assert rows.schema == SITE_WEATHER.polars_schema


def test_site_of_the_csv_that_nobody_knows_is_left_out():
    assert weather_of(SAMPLE.empty_frame(), csv_of({date(2026, 3, 1): 5.0}, "other")).is_empty()


def test_unknown_zone_is_named():
    with pytest.raises(ConfigurationError, match="Mars/Base"):
        compute_site_weather(
            hours_of(utc("2026-03-26T23:00"), [1.0]),
            sensor(zone="Mars/Base"),
            site(),
            WEATHER.empty_frame(),
            now=NOW,
        )


@pytest.mark.parametrize(
    ("registers", "outdoor"),
    [
        ([sensor("t")], ["t"]),
        ([sensor("t"), sensor("room", appliance="kitchen")], ["t"]),
        ([sensor("t"), sensor("out", appliance="outdoor")], ["out"]),
        ([sensor("t"), sensor("u")], []),
        ([sensor("t"), sensor("again", is_primary=False)], ["t"]),
        ([sensor("room", appliance="kitchen")], []),
        ([sensor("t", commodity="heat")], []),
    ],
)
def test_outdoor_sensor_is_the_one_named_so_or_the_only_one(
    registers: list[pl.DataFrame], outdoor: list[str]
):
    assert outdoor_registers(pl.concat(registers))["register_id"].to_list() == outdoor


def test_several_possible_sensors_and_impossible_days_are_findings():
    registers = pl.concat([sensor("t"), sensor("u"), sensor("v", site_id="other")])
    csv = csv_of({date(2026, 3, 1): 500.0, date(2026, 3, 2): 50.0, date(2026, 2, 1): -300.0})
    found = compute_weather_findings(registers, csv)
    assert found.schema == FINDING.polars_schema
    assert found.select("kind", "place").rows() == [
        ("impossible_temperature", "site"),
        ("outdoor_unknown", "site"),
    ]
    assert "days: 2, the first 2026-02-01" in found["message"][0]
    assert "(t, u)" in found["message"][1]
    assert compute_weather_findings(sensor(), WEATHER.empty_frame()).is_empty()
