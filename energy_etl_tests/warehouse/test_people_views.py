"""The views for people, on the real tables."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from energy_etl.errors import WarehouseError
from energy_etl.tables import SHARED_TABLES, Table
from energy_etl.tables.core import REGISTER, SITE
from energy_etl.tables.mart import PERIOD_TREND
from energy_etl.tables.push import STREAM, STREAM_STATUS
from energy_etl.warehouse import Warehouse, publish, read_published
from energy_etl_tests.warehouse.frames import sites


def rows(table: Table, *given: dict) -> pl.DataFrame:
    """Rows of a table; what is not given is null."""
    return pl.DataFrame(list(given), schema=table.polars_schema)


def register(register_id: str, site_id: str, **changes: object) -> dict:
    return {
        "register_id": register_id,
        "meter_id": register_id,
        "site_id": site_id,
        "zone": "Europe/Rome",
        "commodity": "electricity",
        "role": "mains",
        "kind": "cumulative",
        "unit": "kWh",
        "grid_minutes": 15,
        "resolution_native": 0.001,
        "stamp": "instant",
        "is_primary": True,
        **changes,
    }


def trend(register_id: str, computed_on: date, energy_kwh: float, period: str) -> dict:
    return {
        "register_id": register_id,
        "site_id": "a",
        "meter_id": register_id,
        "period": period,
        "computed_on": computed_on,
        "energy_kwh": energy_kwh,
        "trend_pct": -5.0,
        "coverage_pct": 99.0,
        "vendor": "digiwatt",
        "vendor_energy_kwh": 101.0,
        "vendor_trend_pct": -4.0,
    }


@pytest.fixture(scope="module")
def energy_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    warehouse = Warehouse(folder / "warehouse.duckdb", SHARED_TABLES)
    with warehouse.write() as writer:
        writer.replace_all(SITE, sites("a", "without-mains"))
        writer.replace_all(
            REGISTER,
            rows(
                REGISTER,
                register("a.mains", "a"),
                register("a.second-view", "a", is_primary=False),
                register("a.gas", "a", commodity="gas", unit="m3"),
                register("a.ev", "a", role="submeter", appliance="ev"),
            ),
        )
        writer.replace_all(
            PERIOD_TREND,
            rows(
                PERIOD_TREND,
                trend("a.mains", date(2024, 3, 4), 90.0, "last-week"),
                trend("a.mains", date(2024, 3, 11), 100.0, "last-week"),
                trend("a.mains", date(2024, 3, 12), 7.0, "this-week"),
                trend("a.ev", date(2024, 3, 11), 30.0, "last-week"),
            ),
        )
        stream = {"field": "pC_1", "content": "cumulative_wh", "interval_minutes": 15}
        writer.replace_all(
            STREAM,
            rows(
                STREAM,
                {"stream_id": "s1", "register_id": "a.mains", "credential": "main", **stream},
                {"stream_id": "s2", "register_id": "a.ev", "credential": "main", **stream},
            ),
        )
        counts = dict.fromkeys(("n_pending", "n_held", "n_rejected", "n_superseded", "n_sent"), 0)
        status = {"stream_id": "s1", **counts, "n_confirmed": 672, "n_held": 1}
        confirmed_at = datetime(2024, 3, 11, tzinfo=UTC)
        writer.replace_all(
            STREAM_STATUS, rows(STREAM_STATUS, {**status, "last_confirmed_at": confirmed_at})
        )
    return publish(warehouse, data_dir=folder).energy_path


def test_site_last_week_shows_the_newest_figures_of_each_primary_mains(energy_path: Path) -> None:
    found = read_published(
        energy_path,
        "SELECT site_id, register_id, energy_kwh, trend_pct, vendor_energy_kwh, vendor_trend_pct,"
        " coverage_pct FROM mart.site_last_week ORDER BY ALL",
    )
    assert found.rows() == [
        ("a", "a.mains", 100.0, -5.0, 101.0, -4.0, 99.0),
        ("without-mains", None, None, None, None, None, None),
    ]


def test_stream_delivery_shows_every_stream_also_before_its_first_push(energy_path: Path) -> None:
    found = read_published(
        energy_path,
        "SELECT stream_id, site_id, n_confirmed, n_held, last_confirmed_at"
        " FROM mart.stream_delivery ORDER BY ALL",
    )
    assert found.rows() == [
        ("s1", "a", 672, 1, datetime(2024, 3, 11, tzinfo=UTC)),
        ("s2", "a", 0, 0, None),
    ]


def test_every_column_of_every_view_has_a_comment(energy_path: Path) -> None:
    found = read_published(
        energy_path,
        "SELECT schema_name, table_name, column_name FROM duckdb_columns()"
        " WHERE NOT internal AND comment IS NULL AND schema_name <> 'main'",
    )
    assert found.rows() == []


def test_reading_before_the_first_publication_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"no .*energy\.duckdb yet: load something"):
        read_published(tmp_path / "energy.duckdb", "SELECT 1")
