"""The file itself: made, brought up to date, read, refused."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from energy_etl.errors import WarehouseError
from energy_etl.tables import SHARED_TABLES, Column
from energy_etl.tables.core import INTERVAL, READING, SITE, TARIFF
from energy_etl.warehouse import Warehouse
from energy_etl_tests.warehouse.frames import START, at, intervals, sites


def test_create_twice_makes_every_table_with_its_comments(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", SHARED_TABLES)
    warehouse.create()
    warehouse.create()
    comments = {
        (schema, table, column): comment
        for schema, table, column, comment in warehouse.read(
            "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns()"
            " WHERE NOT internal AND schema_name <> 'bookkeeping'"
        ).iter_rows()
    }
    assert comments == {
        (table.schema, table.name, column.name): column.description
        for table in SHARED_TABLES
        for column in table.columns
    }
    tables = warehouse.read(
        "SELECT schema_name || '.' || table_name AS name, comment FROM duckdb_tables()"
        " WHERE NOT internal AND schema_name <> 'bookkeeping'"
    )
    assert dict(tables.iter_rows()) == {t.full_name: t.description for t in SHARED_TABLES}


def test_every_table_comes_back_in_its_polars_schema(warehouse: Warehouse) -> None:
    for table in warehouse.tables:
        assert warehouse.read_table(table).schema == table.polars_schema, table.full_name


def test_instants_come_back_in_utc_and_queries_count_days_in_utc(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    with warehouse.write() as writer:
        writer.append(INTERVAL, intervals("r1", 1))
    rows = warehouse.read(
        "SELECT start_at, date_trunc('day', start_at) AS day_at, CAST(start_at AS DATE) AS day_on"
        " FROM core.interval WHERE start_at = $start_at",
        {"start_at": START},
    )
    assert rows.schema["start_at"] == pl.Datetime("us", "UTC")
    assert rows.row(0) == (START, START, START.date())


def test_condition_of_read_table_takes_parameters(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.append(INTERVAL, intervals('it\'s "r1"', 4))
    found = warehouse.read_table(
        INTERVAL, "register_id = ? AND start_at >= ?", ['it\'s "r1"', at(3)]
    )
    assert found["start_at"].to_list() == [at(3)]


def test_file_of_an_earlier_version_gets_the_new_column(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with Warehouse(path, (SITE,)).write() as writer:
        writer.replace_all(SITE, sites("a"))
    wider = replace(SITE, columns=(*SITE.columns, Column("owner", "text", "Who owns it.", False)))
    newer = Warehouse(path, (wider, INTERVAL))
    assert newer.read_table(wider).select("site_id", "owner").rows() == [("a", None)]
    with newer.write() as writer:
        writer.merge(wider, sites("b").with_columns(owner=pl.lit("Ada")))
    assert newer.read("SELECT owner FROM core.site ORDER BY site_id").rows() == [(None,), ("Ada",)]
    comment = newer.read("SELECT comment FROM duckdb_columns() WHERE column_name = 'owner'")
    assert comment.rows() == [("Who owns it.",)]
    # The tables of the version before are still there, and that version still reads them.
    assert Warehouse(path, (SITE,)).read_table(SITE).height == 2


def test_column_that_a_later_version_leaves_out_keeps_its_data_and_blocks_no_insert(
    tmp_path: Path,
) -> None:
    path = tmp_path / "warehouse.duckdb"
    before = tuple(
        Column("price_eur_per_kwh", "float", "Price.", is_nullable=False)
        if column.name == "price_per_kwh"
        else column
        for column in TARIFF.columns
        if column.name not in ("commodity", "role", "currency")
    )
    older = replace(TARIFF, columns=before, key=("site_id", "valid_from_on", "from_local_time"))
    row = {
        "site_id": "a",
        "valid_from_on": date(2024, 1, 1),
        "valid_to_on": None,
        "from_local_time": "00:00",
        "to_local_time": "24:00",
        "days": "all",
    }
    with Warehouse(path, (older,)).write() as writer:
        old_row = pl.DataFrame([row | {"price_eur_per_kwh": 0.25}], schema=older.polars_schema)
        writer.append(older, old_row)
    newer = Warehouse(path, (TARIFF,))
    newer.create()
    assert newer.read("SELECT price_eur_per_kwh FROM core.tariff").rows() == [(0.25,)]
    tariffs = pl.DataFrame(
        [
            row
            | {"commodity": "electricity", "role": "mains", "price_per_kwh": 0.3, "currency": "EUR"}
        ],
        schema=TARIFF.polars_schema,
    )
    with newer.write() as writer:
        writer.replace_all(TARIFF, tariffs)
    assert_frame_equal(newer.read_table(TARIFF), tariffs)
    required = newer.read(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = 'tariff' AND NOT is_nullable"
        " ORDER BY column_name"
    )
    # What both versions ask for is still asked for.
    assert required["column_name"].to_list() == [
        "days",
        "from_local_time",
        "site_id",
        "to_local_time",
        "valid_from_on",
    ]


def test_file_of_a_later_version_is_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.create()
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("UPDATE bookkeeping.warehouse SET schema_version = 99")
    later = warehouse.path.rename(tmp_path / "later.duckdb")
    with pytest.raises(WarehouseError, match=r"schema version 99.*update energy-etl"):
        Warehouse(later, (SITE,)).read_table(SITE)


def test_column_of_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    Warehouse(path, (SITE,)).create()
    others = tuple(column for column in SITE.columns if column.name != "area_m2")
    changed = replace(SITE, columns=(*others, Column("area_m2", "text", "Area.")))
    with pytest.raises(WarehouseError, match=r"core\.site\.area_m2 is DOUBLE.*needs VARCHAR"):
        Warehouse(path, (changed,)).create()
    assert Warehouse(path, (SITE,)).read_table(SITE).is_empty()


def test_file_that_is_no_database_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_text("not a database " * 1000)
    with pytest.raises(
        WarehouseError, match=r"warehouse\.duckdb is no DuckDB file.*restore an export"
    ):
        Warehouse(path, (SITE,)).read_table(SITE)


def test_wrong_sql_is_one_sentence_with_the_file(warehouse: Warehouse) -> None:
    warehouse.create()
    with pytest.raises(WarehouseError, match=r"warehouse\.duckdb: DuckDB refused.*no_such_table"):
        warehouse.read("SELECT * FROM no_such_table")


def test_reading_cannot_write(warehouse: Warehouse) -> None:
    warehouse.create()
    with pytest.raises(WarehouseError, match="read-only"):
        warehouse.read("DELETE FROM core.site")


def test_read_inside_a_write_says_how_to_do_it(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.append(SITE, sites("a"))
        assert writer.read("SELECT site_id FROM core.site").rows() == [("a",)]
        with pytest.raises(WarehouseError, match="read through the writer"):
            warehouse.read_table(SITE)


def test_rows_read_with_parameters_have_types_and_order_of_those_without(
    warehouse: Warehouse,
) -> None:
    with warehouse.write() as writer:
        writer.append(INTERVAL, intervals("b", 30))
        writer.append(INTERVAL, intervals("a", 30))
    plain = warehouse.read("SELECT * FROM core.interval ORDER BY end_at DESC, register_id")
    by_place = warehouse.read(
        "SELECT * FROM core.interval WHERE start_at >= ? ORDER BY end_at DESC, register_id", [START]
    )
    by_name = warehouse.read(
        "SELECT * FROM core.interval WHERE list_contains($ids, register_id)"
        " ORDER BY end_at DESC, register_id",
        {"ids": ["a", "b"]},
    )
    assert_frame_equal(by_place, plain, check_exact=True)
    assert_frame_equal(by_name, plain, check_exact=True)
    assert dict(by_place.schema) == dict(INTERVAL.polars_schema)
    with warehouse.write() as writer:
        nothing = writer.read("SELECT * FROM core.interval WHERE register_id = ?", ["c"])
    assert nothing.equals(INTERVAL.empty_frame())


def test_deleted_file_is_made_anew(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.append(SITE, sites("a"))
    warehouse.path.unlink()
    assert warehouse.read_table(SITE).is_empty()


def test_empty_table_has_a_hash_of_its_own(warehouse: Warehouse) -> None:
    empty = warehouse.table_hash(READING)
    with warehouse.write() as writer:
        writer.append(
            READING,
            pl.DataFrame(
                {
                    "register_id": ["r1"],
                    "read_at": [datetime(2024, 1, 1, tzinfo=UTC)],
                    "reading_native": [0.0],
                    "version": [1],
                    "vendor": ["wattsense"],
                    "received_at": [START],
                }
            ),
        )
    assert warehouse.table_hash(READING) != empty
