"""Answers of Wattics' API read: amounts as texts, listings that are whole or not, bad rows."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.rest import RawCall
from energy_etl.vendors import Listing, Whole, Window
from energy_etl.vendors.wattics import tables
from energy_etl.vendors.wattics.rows import to_batch
from energy_etl.warehouse import Warehouse, write_listing

NOW_AT = datetime(2018, 6, 20, 12, tzinfo=UTC)
MONTH = {"meter_id": "7", "month_on": "2018-06-01", "pushed_to_at": None}


def call(endpoint: str, body: Any, number: int = 1, **params: Any) -> RawCall:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    at = NOW_AT + timedelta(seconds=number)
    return RawCall(f"r{number}", "wattics", endpoint, params, 200, text, at)


def listing(organizations: Any, sites: Any, meters: Any, number: int = 1) -> list[RawCall]:
    """Calls of one listing: site and meter lists by organization, and by (organization, site)."""
    calls = [call("organizations", organizations, number)]
    calls += [call("sites", body, number, organization_id=id_) for id_, body in sites.items()]
    calls += [
        call("meters", body, number, organization_id=organization_id, site_id=site_id)
        for (organization_id, site_id), body in meters.items()
    ]
    return [
        RawCall(f"{c.request_id}.{i}", c.vendor, c.endpoint, c.params, 200, c.body, c.requested_at)
        for i, c in enumerate(calls)
    ]


def reasons(batch: Any) -> list[tuple[int, str]]:
    return sorted(batch.quarantine.select("row_number", "reasons").rows())


def test_amounts_are_numbers_and_watt_is_read_as_wh() -> None:
    # The sample of the developer pages, as clients keep it.
    day = {
        "date": "2018-06-01",
        "weekday": "Friday",
        "total_consumption": "300500.0 Watt",
        "consumption_by_time": {"00h00m": "1024.03 Watt", "00h15m": "-0.5 Watt", "00h30m": None},
    }
    batch = to_batch([call("consumptions", [day], **MONTH)])
    rows = batch.frame(tables.CONSUMPTION).sort("slot")
    assert rows.select("slot", "consumption_native", "unit_wattics", "energy_wh").rows() == [
        ("00h00m", 1024.03, "Watt", 1024.03),
        ("00h15m", -0.5, "Watt", -0.5),
        ("total", 300500.0, "Watt", 300500.0),
    ]
    assert rows["local_on"].unique().to_list() == [date(2018, 6, 1)]
    assert batch.quarantine.is_empty()


@pytest.mark.parametrize(
    ("text", "unit", "energy_wh"),
    [("1.5 kWh", "kWh", 1500.0), ("2 m3", "m3", None), ("1e3 Wh", "Wh", 1000.0)],
)
def test_units_beside_watt_are_kept_as_sent(text: str, unit: str, energy_wh: float | None) -> None:
    day = {"date": "2018-06-02", "total_consumption": text}
    batch = to_batch([call("consumptions", [day], **MONTH)])
    row = batch.frame(tables.CONSUMPTION).row(0, named=True)
    assert (row["unit_wattics"], row["energy_wh"]) == (unit, energy_wh)


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        ({"date": "2018-06-01", "total_consumption": "1,024.03 Watt"}, "no_number_and_unit"),
        ({"date": "2018-06-01", "total_consumption": "1024.03"}, "no_number_and_unit"),
        ({"date": "2018-06-01", "total_consumption": "NaN Watt"}, "no_number_and_unit"),
        ({"date": "2018-06-01", "total_consumption": "1024.03  Watt"}, "no_number_and_unit"),
        ({"date": "2018-06-01", "total_consumption": "1024.03 Watt "}, "no_number_and_unit"),
        ({"date": "2018-06-01", "total_consumption": "1024.03 watt"}, "unknown_unit"),
        ({"date": "01/06/2018", "total_consumption": "1.0 Watt"}, "bad_date"),
        ({"date": "2018-07-01", "total_consumption": "1.0 Watt"}, "outside_month"),
        ({"date": "2018-06-01", "consumption_by_time": {"24h00m": "1.0 Watt"}}, "bad_slot"),
        ({"date": "2018-06-01", "consumption_by_time": {"total": "1.0 Watt"}}, "bad_slot"),
        ({"date": "2018-06-01", "total_consumption": 1024.03}, "shape"),
        ({"total_consumption": "1.0 Watt"}, "shape"),
        ("2018-06-01", "shape"),
    ],
)
def test_day_that_does_not_read_so_is_in_quarantine_and_its_neighbour_kept(
    day: Any, reason: str
) -> None:
    good = {"date": "2018-06-05", "total_consumption": "5.0 Watt"}
    batch = to_batch([call("consumptions", [day, good], **MONTH)])
    assert reasons(batch) == [(0, reason)]
    assert batch.frame(tables.CONSUMPTION)["energy_wh"].to_list() == [5.0]
    # What could not be read whole must not take away what was read before.
    assert {write.how for write in batch.writes if write.table is tables.CONSUMPTION} == {"merge"}


def test_costs_keep_their_currency_and_refuse_another_shape() -> None:
    body = [
        {"date": "2018-06-01", "total_cost": "12.5 EUR", "cost_by_time": {"00h00m": "0.5 EUR"}},
        {"date": "2018-06-02", "total_cost": "12.5 Euro"},
    ]
    batch = to_batch([call("costs", body, **MONTH)])
    rows = batch.frame(tables.COST).sort("slot")
    assert rows.select("slot", "cost_native", "currency").rows() == [
        ("00h00m", 0.5, "EUR"),
        ("total", 12.5, "EUR"),
    ]
    assert reasons(batch) == [(2, "unknown_unit")]


def test_month_that_came_whole_replaces_what_was_held_of_it() -> None:
    batch = to_batch([call("consumptions", [], 1, **MONTH)])
    write = next(write for write in batch.writes if write.table is tables.CONSUMPTION)
    assert isinstance(write.how, Whole)
    assert write.how.ids.rows() == [("7", date(2018, 6, 1))]
    assert batch.frame(tables.ASKED_MONTH)["month_on"].to_list() == [date(2018, 6, 1)]


def test_answer_that_is_no_list_is_a_problem_by_name() -> None:
    meters = call("meters", b"", 2, organization_id="1", site_id="2")
    batch = to_batch([call("consumptions", b'{"error":"x"', 1, **MONTH), meters])
    assert [problem.subject for problem in batch.problems] == [
        "meters (organization_id=1, site_id=2)",
        "consumptions (meter_id=7)",
    ]
    assert batch.frame(tables.ASKED_MONTH).is_empty()


def test_raw_rows_are_read_in_both_members_and_both_formats() -> None:
    window: dict[str, Any] = {
        "meter_id": "7",
        "from_at": "2018-06-01T00:00:00+00:00",
        "to_at": "2018-06-02T00:00:00+00:00",
    }
    body = [
        {"timestamp": "2018-06-01 00:15:00", "total": 100.5},
        {"timestamp": "2018-06-01T02:30:00+02:00", "value": 0},
        {"timestamp": "2018-06-02 00:00:00", "total": 9.0},
        {"timestamp": "2018-06-02 00:15:00", "total": 9.0},
        {"timestamp": "01/06/2018", "total": 9.0},
        {"timestamp": "2018-06-01 00:45:00"},
        {"timestamp": 1527811200, "total": 9.0},
    ]
    batch = to_batch([call("raw-data", body, **window)])
    assert batch.frame(tables.RAW_DATA).select("measured_at", "power_w").rows() == [
        (datetime(2018, 6, 1, 0, 15, tzinfo=UTC), 100.5),
        (datetime(2018, 6, 1, 0, 30, tzinfo=UTC), 0.0),
    ]
    assert reasons(batch) == [
        (3, "outside_window"),
        (4, "bad_timestamp"),
        (5, "no_power"),
        (6, "shape"),
    ]
    assert isinstance(batch.writes[0].how, Window)


@settings(max_examples=20, deadline=None)
@given(st.floats(-1e14, 1e14).map(lambda number: round(number, 2)))
def test_any_rounded_number_comes_back_as_it_was_sent(number: float) -> None:
    day = {"date": "2018-06-01", "total_consumption": f"{number} Watt"}
    batch = to_batch([call("consumptions", [day], **MONTH)])
    assert batch.frame(tables.CONSUMPTION)["energy_wh"].to_list() == [number]


ONE_SITE = listing(
    [{"id": 1, "name": "North"}],
    {"1": [{"id": 11, "name": "Villa", "contact_name": "Ann"}]},
    {("1", "11"): [{"id": 101, "reference": "dp-1", "unit": "Watt"}, {"id": "102"}]},
)


def test_listing_has_ids_as_texts_whatever_they_were() -> None:
    batch = to_batch(ONE_SITE)
    meters = batch.frame(tables.METER)
    assert meters["meter_id_wattics"].to_list() == ["101", "102"]
    assert meters["site_id_wattics"].to_list() == ["11", "11"]
    assert "Ann" not in str(batch.writes)


@pytest.mark.parametrize(
    ("later", "scopes"),
    [
        # Whole: what is no longer listed has vanished, with all below it.
        (listing([{"id": 1}], {"1": []}, {}), [{"valid_to_at": None}]),
        (listing([{"id": 1}], {"1": [{"id": 11}]}, {("1", "11"): []}), [{"valid_to_at": None}]),
        # The meters' call failed, or an item of it cannot be read: nothing is known of them.
        (listing([{"id": 1}], {"1": [{"id": 11}]}, {}), []),
        (listing([{"id": 1}], {"1": [{"id": 11}]}, {("1", "11"): [{"reference": "x"}]}), []),
        # Another site failed: this one is judged by its own list.
        (
            listing([{"id": 1}], {"1": [{"id": 11}, {"id": 12}]}, {("1", "11"): [{"id": 101}]}),
            [{"site_id_wattics": "11"}],
        ),
    ],
)
def test_meters_vanish_only_within_what_came_whole(
    later: list[RawCall], scopes: list[dict[str, Any]]
) -> None:
    hows = [write.how for write in to_batch(later).writes if write.table is tables.METER]
    assert all(isinstance(how, Listing) for how in hows)
    assert [
        row for how in hows if isinstance(how, Listing) for row in how.scopes.to_dicts()
    ] == scopes


def test_what_a_whole_listing_does_not_name_any_more_has_ended(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb", tables.WATTICS_TABLES)
    warehouse.create()
    later = listing([{"id": 1, "name": "North"}], {"1": []}, {}, 2)
    with warehouse.write() as writer:
        for calls in (ONE_SITE, later):
            for write in to_batch(calls).writes:
                assert isinstance(write.how, Listing)
                write_listing(
                    writer, write.table, write.frame, scopes=write.how.scopes, at=write.how.at
                )
    standing = {
        table.name: warehouse.read_table(table, "valid_to_at IS NULL").height
        for table in (tables.ORGANIZATION, tables.SITE, tables.METER)
    }
    assert standing == {"organization": 1, "site": 0, "meter": 0}
    assert (
        warehouse.read_table(tables.METER)["valid_to_at"].to_list() == [later[0].requested_at] * 2
    )


def test_raw_row_of_the_year_0_lost_the_whole_fetch() -> None:
    window: dict[str, Any] = {
        "meter_id": "7",
        "from_at": "2018-06-01T00:00:00+00:00",
        "to_at": "2018-06-02T00:00:00+00:00",
    }
    body = [
        {"timestamp": "0000-01-01 00:00:00", "total": 1.0},
        {"timestamp": "2018-06-01 00:15:00", "total": 100.5},
    ]
    batch = to_batch([call("raw-data", body, **window)])
    assert reasons(batch) == [(0, "outside_window")]
    assert batch.frame(tables.RAW_DATA)["power_w"].to_list() == [100.5]


def test_sampling_rate_beyond_64_bits_lost_the_whole_listing() -> None:
    meters = [{"id": 101, "process_sampling_rate_minutes": 10**30}, {"id": 102}]
    batch = to_batch(listing([{"id": 1}], {"1": [{"id": 11}]}, {("1", "11"): meters}))
    assert reasons(batch) == [(0, "process_sampling_rate_minutes:less_than_equal")]
    assert batch.frame(tables.METER)["meter_id_wattics"].to_list() == ["102"]
