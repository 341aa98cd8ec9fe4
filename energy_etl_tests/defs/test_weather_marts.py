"""Weather and savings from a warehouse file: the query, the order of inputs, the findings."""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_etl.defs.marts import savings, weather
from energy_etl.tables import Frames, Query, core, mart
from energy_etl.warehouse import Warehouse
from energy_etl_tests.transform.builders import make_register, utc

NOW = utc("2026-03-31T12:00")
TABLES = (
    core.SITE,
    core.REGISTER,
    core.SAMPLE,
    core.WEATHER,
    core.MEASURE,
    core.VENDOR_FIGURE,
    mart.DAILY_ENERGY,
)


def hourly_samples(register_id: str, start_at: datetime, value: float) -> pl.DataFrame:
    starts = [start_at + timedelta(hours=n) for n in range(24)]
    rows = {
        "register_id": [register_id] * 24,
        "start_at": starts,
        "end_at": [start + timedelta(hours=1) for start in starts],
        "sample_native": [value] * 24,
        "n_readings": [1] * 24,
        "is_provisional": [False] * 24,
    }
    return pl.DataFrame(rows, schema=core.SAMPLE.polars_schema)


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """All inputs as the warehouse gives them, and both modules' marts made of them."""
    path: Path = tmp_path_factory.mktemp("weather") / "warehouse.duckdb"
    warehouse = Warehouse(path, TABLES, lock_wait_s=20)
    sensor = {"commodity": "temperature", "role": "sensor", "kind": "instant", "zone": "UTC"}
    written = {
        core.SITE: pl.DataFrame(
            [{"site_id": "site", "name": "s", "zone": "UTC", "currency": "EUR"}],
            schema=core.SITE.polars_schema,
        ),
        core.REGISTER: pl.concat(
            [
                make_register("mains", zone="UTC"),
                make_register("outdoor", unit="degC", **sensor),
                make_register("volts", kind="instant", unit="V", zone="UTC"),
            ]
        ),
        core.SAMPLE: pl.concat(
            [
                hourly_samples("outdoor", utc("2026-03-29"), 9.5),
                hourly_samples("volts", utc("2026-03-29"), 230.0),
            ]
        ),
        core.WEATHER: pl.DataFrame(
            [("site", date(2026, 3, 28), 24.0)], schema=core.WEATHER.polars_schema, orient="row"
        ),
        core.MEASURE: pl.DataFrame(
            [
                {
                    "measure_id": "led",
                    "register_id": "mains",
                    "name": "LED",
                    "baseline_start_on": date(2025, 1, 1),
                    "baseline_end_on": date(2026, 1, 1),
                    "reporting_start_on": date(2026, 1, 2),
                }
            ],
            schema=core.MEASURE.polars_schema,
        ),
    }
    with warehouse.write() as writer:
        for table, frame in written.items():
            writer.replace_all(table, frame)
    marts = (*weather.MARTS, *savings.MARTS)
    inputs = {item for each in marts for item in each.inputs}
    with warehouse.reading() as reader:
        frames = {
            item.full_name: (
                reader.read(item.sql) if isinstance(item, Query) else reader.read_table(item)
            )
            for item in inputs
            if isinstance(item, Query) or item in TABLES
        }
    for each in marts:
        frames[each.table.full_name] = each.compute(frames, NOW)
    return frames


def test_site_weather_is_made_of_the_outdoor_sensor_and_the_csv(computed: Frames):
    rows = computed["mart.site_weather"].select("local_on", "temperature_degc", "source").rows()
    assert rows == [(date(2026, 3, 28), 24.0, "csv"), (date(2026, 3, 29), 9.5, "register")]


def test_mains_without_days_have_rows_with_reasons(computed: Frames):
    assert computed["mart.weather_trend"]["register_id"].to_list() == ["mains"]
    assert computed["mart.savings"]["measure_id"].to_list() == ["last-30-days", "led"]
    for name in ("mart.weather_trend", "mart.savings"):
        assert computed[name]["reason"].str.starts_with("insufficient_baseline").all()


def test_findings_of_both_modules_are_those_of_the_tables(computed: Frames):
    found = [each.find(computed, NOW) for each in (*weather.FINDINGS, *savings.FINDINGS)]
    assert pl.concat(found).select("kind", "place").rows() == [("measure_refused", "mains: led")]
