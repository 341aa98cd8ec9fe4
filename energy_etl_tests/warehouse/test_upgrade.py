"""A warehouse file as the previous version made it: opened, completed, published."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl

from energy_etl.tables import core, push
from energy_etl.tables.push import STREAM
from energy_etl.warehouse import Warehouse, publish, read_published

# The statements of that version, word for word; not made from today's tables.
PREVIOUS = (
    "CREATE SCHEMA bookkeeping",
    "CREATE TABLE bookkeeping.warehouse (warehouse_id VARCHAR NOT NULL,"
    " schema_version BIGINT NOT NULL, fingerprint VARCHAR)",
    "CREATE TABLE bookkeeping.change (schema_name VARCHAR NOT NULL, table_name VARCHAR NOT NULL,"
    " month DATE, token VARCHAR NOT NULL)",
    "INSERT INTO bookkeeping.warehouse VALUES ('of-before', 1, 'of-before')",
    "CREATE SCHEMA push",
    'CREATE TABLE push.stream ("stream_id" VARCHAR NOT NULL, "register_id" VARCHAR NOT NULL,'
    ' "field" VARCHAR NOT NULL, "content" VARCHAR NOT NULL, "interval_minutes" BIGINT NOT NULL,'
    ' "credential" VARCHAR NOT NULL, "push_from_at" TIMESTAMP WITH TIME ZONE)',
    "INSERT INTO push.stream VALUES ('s', 'r', 'pC_1', 'cumulative_wh', 15, 'main', NULL)",
    'CREATE TABLE push.packet ("stream_id" VARCHAR NOT NULL,'
    ' "stamped_at" TIMESTAMP WITH TIME ZONE NOT NULL, "body" VARCHAR NOT NULL,'
    ' "state" VARCHAR NOT NULL, "hold_reason" VARCHAR, "n_attempts" BIGINT NOT NULL,'
    ' "status" BIGINT, "error" VARCHAR, "filled_at" TIMESTAMP WITH TIME ZONE,'
    ' "sent_at" TIMESTAMP WITH TIME ZONE, "confirmed_at" TIMESTAMP WITH TIME ZONE)',
    "INSERT INTO push.packet VALUES ('s', '2024-01-01 00:15:00+00', '{}', 'sent', NULL, 1, 200,"
    " NULL, NULL, NULL, NULL)",
    "INSERT INTO bookkeeping.change VALUES ('push', 'stream', NULL, 'a'),"
    " ('push', 'packet', '2024-01-01', 'b')",
    "CREATE SCHEMA core",
    'CREATE TABLE core.site ("site_id" VARCHAR NOT NULL, "name" VARCHAR NOT NULL,'
    ' "zone" VARCHAR NOT NULL, "currency" VARCHAR NOT NULL, "area_m2" DOUBLE)',
    "INSERT INTO core.site VALUES ('a', 'A', 'Europe/Rome', 'EUR', 80.0)",
)


def test_file_of_the_previous_version_is_completed_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in PREVIOUS:
            connection.execute(statement)
    warehouse = Warehouse(path, (core.SITE, STREAM, push.PACKET))

    streams = warehouse.read_table(STREAM)
    assert streams.schema == STREAM.polars_schema
    assert streams["stream_id", "register_id", "estimates", "is_historical"].rows() == [
        ("s", "r", None, None)
    ]
    assert warehouse.read_table(core.SITE)["site_id", "use"].rows() == [("a", None)]
    assert warehouse.read_table(push.PACKET).height == 1
    assert warehouse.read("SELECT warehouse_id FROM bookkeeping.warehouse").item() == "of-before"

    # People see it at once, although the old rows have nothing in columns that are needed now.
    energy_path = publish(warehouse, data_dir=tmp_path, views_folder=tmp_path).energy_path
    assert read_published(energy_path, "SELECT estimates FROM push.stream").rows() == [(None,)]
    assert read_published(energy_path, "SELECT count(*) FROM push.packet").item() == 1

    # Rows of today beside it, such as a stream that files feed.
    row = dict.fromkeys(STREAM.polars_schema) | {
        "stream_id": "files",
        "field": "value",
        "content": "file",
        "interval_minutes": 15,
        "credential": "main",
        "push_from_at": datetime(2024, 1, 1, tzinfo=UTC),
        "estimates": "send",
        "is_historical": False,
        "zone": "Europe/Rome",
    }
    with warehouse.write() as writer:
        writer.merge(STREAM, pl.DataFrame([row], schema=STREAM.polars_schema))
    assert warehouse.read_table(STREAM)["stream_id"].sort().to_list() == ["files", "s"]
