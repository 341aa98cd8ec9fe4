"""The views for people, on the real tables."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_etl.errors import WarehouseError
from energy_etl.tables import SHARED_TABLES, Table
from energy_etl.tables.core import INTERVAL, READING, REGISTER, SITE
from energy_etl.tables.mart import DAILY_ENERGY, PERIOD_TREND
from energy_etl.tables.push import CORRECTION, PACKET, STREAM, STREAM_STATUS
from energy_etl.warehouse import Warehouse, publish, read_published
from energy_etl_tests.warehouse.frames import START, at, intervals, sites

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


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


def reading(read_at: datetime, value: float, version: int, *, hour: int) -> dict:
    return {
        "register_id": "a.mains",
        "read_at": read_at,
        "reading_native": value,
        "version": version,
        "vendor": "wattsense",
        "received_at": START + hour * HOUR,
    }


def packet(number: int, state: str) -> dict:
    """A packet of the n-th interval; what was sent was sent three hours after the start."""
    is_sent = state != "held"
    return {
        "stream_id": "s1",
        "stamped_at": at(number),
        "body": f"sent {number}",
        "state": state,
        "n_attempts": 1,
        "filled_at": START,
        "sent_at": START + 3 * HOUR if is_sent else None,
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
        stream = {
            "field": "pC_1",
            "content": "cumulative_wh",
            "interval_minutes": 15,
            "estimates": "send",
            "is_historical": False,
        }
        writer.replace_all(
            STREAM,
            rows(
                STREAM,
                {"stream_id": "s1", "register_id": "a.mains", "credential": "main", **stream},
                {"stream_id": "s2", "register_id": "a.ev", "credential": "main", **stream},
            ),
        )
        states = ("pending", "held", "rejected", "superseded", "sent", "dropped")
        counts = dict.fromkeys((*(f"n_{state}" for state in states), "n_holes", "n_missing"), 0)
        status = {"stream_id": "s1", **counts, "n_confirmed": 672, "n_held": 1}
        confirmed_at = datetime(2024, 3, 11, tzinfo=UTC)
        writer.replace_all(
            STREAM_STATUS, rows(STREAM_STATUS, {**status, "last_confirmed_at": confirmed_at})
        )
        writer.append(INTERVAL, intervals("a.mains", 3))
        writer.append(
            READING,
            rows(
                READING,
                # The first interval ends with a reading that came in time and was corrected later.
                reading(at(1), 10.0, 1, hour=1),
                reading(at(1), 12.0, 2, hour=5),
                # Of the second one a later reading came after the packet.
                reading(at(1) + MINUTE, 11.0, 1, hour=1),
                reading(at(2), 20.0, 1, hour=5),
            ),
        )
        writer.append(
            PACKET, rows(PACKET, packet(1, "superseded"), packet(2, "sent"), packet(3, "held"))
        )
        changed = {"body_sent": "sent 1", "noticed_at": START + 6 * HOUR}
        writer.append(
            CORRECTION,
            rows(CORRECTION, {"stream_id": "s1", "stamped_at": at(1), "body_now": "12", **changed}),
        )
        writer.append(
            DAILY_ENERGY,
            rows(
                DAILY_ENERGY,
                {
                    **{c.name: 0 for c in DAILY_ENERGY.columns if c.kind in ("int", "float")},
                    **{c.name: START for c in DAILY_ENERGY.columns if c.kind == "instant"},
                    **{c.name: False for c in DAILY_ENERGY.columns if c.kind == "bool"},
                    "register_id": "a.mains",
                    "site_id": "a",
                    "local_on": date(2024, 1, 1),
                    "energy_kwh": 24.0,
                    "coverage_pct": 100.0,
                },
            ),
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


def test_packet_knowledge_shows_what_was_known_when_each_packet_was_sent(energy_path: Path) -> None:
    found = read_published(
        energy_path,
        "SELECT stamped_at, body_sent, read_at, reading_native, version, reading_now_native,"
        " is_known_better_now, body_now FROM mart.packet_knowledge ORDER BY stamped_at",
    )
    assert found.rows() == [
        (at(1), "sent 1", at(1), 10.0, 1, 12.0, True, "12"),
        (at(2), "sent 2", at(1) + MINUTE, 11.0, 1, 20.0, True, None),
    ]


def test_register_day_has_every_name_beside_the_energy(energy_path: Path) -> None:
    found = read_published(
        energy_path,
        "SELECT site_name, register_id, role, zone, local_on, energy_kwh FROM mart.register_day",
    )
    assert found.rows() == [("a", "a.mains", "mains", "Europe/Rome", date(2024, 1, 1), 24.0)]


def test_register_freshness_begins_with_those_that_never_had_a_reading(energy_path: Path) -> None:
    found = read_published(
        energy_path,
        "SELECT register_id, vendor, last_read_at, n_corrections, age_minutes > 0"
        " FROM mart.register_freshness",
    )
    never = [(name, None, None, None, None) for name in ("a.ev", "a.gas", "a.second-view")]
    assert found.rows() == [*never, ("a.mains", "wattsense", at(2), 1, True)]


def test_every_column_of_every_view_has_a_comment(energy_path: Path) -> None:
    found = read_published(
        energy_path,
        "SELECT schema_name, table_name, column_name FROM duckdb_columns()"
        " WHERE NOT internal AND comment IS NULL AND schema_name <> 'main'",
    )
    assert found.rows() == []


def test_reading_before_the_first_publication_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match=r"no .*energy\.duckdb yet: run `energy-etl"):
        read_published(tmp_path / "energy.duckdb", "SELECT 1")
