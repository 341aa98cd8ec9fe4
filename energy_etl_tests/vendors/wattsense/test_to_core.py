"""Readings of our registers: mapped ones with a number, nothing else."""

from datetime import UTC, datetime, timedelta

import polars as pl

from energy_etl.tables.core import READING
from energy_etl.vendors.wattsense.tables import HISTORY, LATEST
from energy_etl.vendors.wattsense.to_core import find_unmapped, to_readings
from energy_etl_tests.vendors.extracting import alias_frame

AT = datetime(2025, 4, 15, tzinfo=UTC)


def _history(rows: list[tuple[str, str, int, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "device_id_wattsense": device_id,
                "property_id_wattsense": property_id,
                "measured_at": AT + timedelta(minutes=minute),
                "payload_text": "on" if reading is None else None,
                "reading_native": reading,
                "request_id": "r",
                "received_at": AT,
            }
            for device_id, property_id, minute, reading in rows
        ],
        schema=HISTORY.polars_schema,
    )


def test_reading_carries_our_id_and_the_vendors_instant() -> None:
    history = _history([("B1", "p1", 15, 2.0), ("B1", "p1", 0, 1.0), ("B1", "p2", 0, 5.0)])
    alias = alias_frame("register", "wattsense", [("rome.import", "B1/p1")])
    readings = to_readings(history, alias)
    assert readings.schema == READING.polars_schema
    assert readings.select("register_id", "read_at", "reading_native").rows() == [
        ("rome.import", AT, 1.0),
        ("rome.import", AT + timedelta(minutes=15), 2.0),
    ]


def test_text_without_a_number_is_no_reading() -> None:
    alias = alias_frame("register", "wattsense", [("x", "B1/p1")])
    assert to_readings(_history([("B1", "p1", 0, None)]), alias).is_empty()


def test_ids_with_slashes_are_told_apart() -> None:
    history = _history([("a/b", "c", 0, 1.0)])
    alias = alias_frame("register", "wattsense", [("x", "a/b/c")])
    assert to_readings(history, alias)["register_id"].to_list() == ["x"]


def test_alias_of_another_vendor_or_thing_maps_nothing() -> None:
    history = _history([("B1", "p1", 0, 1.0)])
    alias = pl.concat(
        [
            alias_frame("meter", "wattsense", [("x", "B1/p1")]),
            alias_frame("register", "wiser", [("x", "B1/p1")]),
        ]
    )
    assert to_readings(history, alias).is_empty()


def test_property_that_nobody_mapped_is_found() -> None:
    latest = pl.DataFrame(
        {"device_id_wattsense": ["B1", "B1"], "property_id_wattsense": ["p1", "p2"]}
    )
    alias = alias_frame("register", "wattsense", [("x", "B1/p1")])
    unmapped = find_unmapped({LATEST.full_name: latest}, alias)
    assert unmapped.rows() == [("wattsense", "register", "B1/p2")]
    assert find_unmapped({}, alias).is_empty()
