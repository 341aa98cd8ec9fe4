"""Wiser's answers -> listings: what is read, what is refused, and which lists are complete."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from energy_etl.rest import RawCall
from energy_etl.tables.model import Table
from energy_etl.vendors import Listing, VendorBatch
from energy_etl.vendors.wiser.rows import to_batch
from energy_etl.vendors.wiser.tables import DEVICE, LOCATION, ROOM, SITE
from energy_etl.vendors.wiser.wire import read_page

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SITES = [{"id": "s1"}, {"id": "s2"}]


def call(endpoint: str, answer: Any, **params: Any) -> RawCall:
    """A page of a list; the only and last one unless told otherwise."""
    window = f"{endpoint}/{params.get('site_id', '')}"
    about = {"account": "main", "window": window, "page": 0, "is_last": True, **params}
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    page = about["page"]
    at = AT + timedelta(seconds=page + 1)
    return RawCall(f"{window}/{page}", "wiser", endpoint, about, 200, body, at)


def rows(batch: VendorBatch, table: Table) -> list[dict[str, Any]]:
    return batch.frame(table).to_dicts()


def scope(batch: VendorBatch, table: Table) -> list[dict[str, Any]]:
    (how,) = [write.how for write in batch.writes if write.table is table]
    assert isinstance(how, Listing)
    return how.scopes.to_dicts()


def test_location_is_read_with_its_zone_and_its_sites() -> None:
    sent = {
        "id": "l1",
        "name": "Rome",
        "countryIsoCode": "IT",
        "timezone": "Europe/Rome",
        "siteIds": ["s2", "s1"],
    }
    (row,) = rows(to_batch([call("locations", [sent])]), LOCATION)
    assert row["location_id_wiser"] == "l1"
    assert row["account"] == "main"
    assert (row["name"], row["country_code"], row["zone_text"]) == ("Rome", "IT", "Europe/Rome")
    assert row["site_ids_wiser"] == '["s1", "s2"]'


@pytest.mark.parametrize("spelling", ["timezone", "timeZone"])
def test_site_is_read_with_the_parts_of_its_address(spelling: str) -> None:
    address = {
        "address": "[redacted]",
        "city": "Rome",
        "countryIsoCode": "IT",
        "stateProvince": "RM",
        spelling: "CST",
        "coordinates": {"latitude": 41.876213, "longitude": 12.502774, "elevation": 37},
    }
    sent = {"id": "s1", "name": "Villa", "type": "Home", "locationId": "l1"}
    (row,) = rows(to_batch([call("sites", [{**sent, "postalAddress": address}])]), SITE)
    assert row["location_id_wiser"] == "l1"
    assert (row["type"], row["city"], row["state"], row["country_code"]) == (
        "Home",
        "Rome",
        "RM",
        "IT",
    )
    assert row["zone_text"] == "CST"
    assert (row["latitude_deg"], row["longitude_deg"], row["elevation_m"]) == (41.88, 12.5, 37.0)


def test_room_and_device_are_read_with_where_they_are() -> None:
    device = {
        "id": "d1",
        "name": "Mains",
        "type": "EnergyMeter",
        "roomId": "r1",
        "gatewayId": "g1",
        "serialNumber": 4711,
        "model": "M63",
        "commodity": "Electricity",
        "usage": "MainMeter",
        "online": False,
    }
    room = {"id": "r1", "name": "Cellar", "floor": -1}
    calls = [call("rooms", [room], site_id="s1"), call("devices", [device], site_id="s1")]
    batch = to_batch(calls)
    (found,) = rows(batch, ROOM)
    assert (found["site_id_wiser"], found["name"], found["floor"]) == ("s1", "Cellar", "-1")
    (found,) = rows(batch, DEVICE)
    assert (found["site_id_wiser"], found["room_id_wiser"], found["gateway_id_wiser"]) == (
        "s1",
        "r1",
        "g1",
    )
    assert (found["serial_number"], found["is_online"]) == ("4711", False)


def test_everything_but_the_id_may_be_missing_and_the_unknown_is_kept_beside() -> None:
    calls = [
        call("locations", [{"id": 7}]),
        call("sites", [{"id": "s1", "postalAddress": None}]),
        call("rooms", [{"id": "r1"}], site_id="s1"),
        call("devices", [{"id": "d1", "zone2": {"b": 1, "a": "é"}}], site_id="s1"),
    ]
    batch = to_batch(calls)
    assert batch.quarantine.is_empty()
    assert rows(batch, LOCATION)[0]["location_id_wiser"] == "7"
    assert [batch.frame(table).height for table in (SITE, ROOM, DEVICE)] == [1, 1, 1]
    assert rows(batch, DEVICE)[0]["other_fields"] == '{"zone2": {"a": "é", "b": 1}}'
    assert rows(batch, ROOM)[0]["other_fields"] is None


def test_refused_row_costs_only_itself_and_the_list_is_not_complete() -> None:
    sent = [{"id": "d1"}, {"name": "no id"}, {"id": "d2", "online": "perhaps"}, "d3", {"id": "d4"}]
    batch = to_batch([call("devices", sent, site_id="s1")])
    assert [row["device_id_wiser"] for row in rows(batch, DEVICE)] == ["d1", "d4"]
    assert batch.quarantine["row_number"].to_list() == [1, 2, 3]
    assert batch.quarantine["reasons"].to_list()[:2] == ["type:id", "type:online"]
    assert scope(batch, DEVICE) == []


def test_every_list_complete_makes_the_account_complete() -> None:
    calls = [call("sites", SITES)]
    calls += [call("rooms", [], site_id=site["id"]) for site in SITES]
    batch = to_batch(calls)
    assert scope(batch, SITE) == scope(batch, ROOM) == [{"account": "main"}]
    # One site's rooms are missing: what was in a third site cannot be known to be gone.
    assert scope(to_batch(calls[:-1]), ROOM) == [{"site_id_wiser": "s1"}]
    # The list of sites is missing.
    assert scope(to_batch(calls[1:]), ROOM) == [{"site_id_wiser": "s1"}, {"site_id_wiser": "s2"}]


@pytest.mark.parametrize(
    "pages",
    [
        [call("sites", SITES, is_last=None)],
        [call("sites", [{"id": "s2"}], page=1)],
        [call("sites", SITES[:1], is_last=None), call("sites", b'[{"id": "s', page=1)],
        [call("sites", {"sites": SITES, "totalCount": 3})],
    ],
    ids=["never ended", "first page missing", "half a page", "fewer than it says"],
)
def test_list_with_something_missing_makes_nothing_vanish(pages: list[RawCall]) -> None:
    batch = to_batch(pages)
    assert batch.frame(SITE).height > 0
    assert scope(batch, SITE) == []


def test_fewer_things_than_the_list_says_is_told() -> None:
    (problem,) = to_batch([call("sites", {"sites": SITES, "totalCount": 3})]).problems
    assert "2 of 3" in str(problem.error)


def test_thing_on_two_pages_is_one_row_and_the_later_counts() -> None:
    pages = [
        call("sites", {"sites": SITES, "totalCount": 3}, is_last=None),
        call(
            "sites",
            {"sites": [{"id": "s2", "name": "new"}, {"id": "s3"}], "totalCount": 3},
            page=1,
        ),
    ]
    batch = to_batch(pages)
    assert {row["site_id_wiser"]: row["name"] for row in rows(batch, SITE)} == {
        "s1": None,
        "s2": "new",
        "s3": None,
    }
    assert scope(batch, SITE) == [{"account": "main"}]


def test_all_listings_are_as_of_the_first_call_and_token_calls_do_not_count() -> None:
    token = RawCall("t", "wiser", "token", {}, 200, b"", AT)
    batch = to_batch([token, call("sites", SITES), call("rooms", [], site_id="s1", page=0)])
    assert {write.how.at for write in batch.writes if isinstance(write.how, Listing)} == {
        AT + timedelta(seconds=1)
    }
    assert to_batch([token]).writes == []


@pytest.mark.parametrize(
    ("body", "n_items", "total"),
    [
        (b"[]", 0, None),
        (b'[{"id": 1}]', 1, None),
        (b'{"sites": [], "totalCount": 0}', 0, 0),
        (b'{"anything": [1, 2], "totalCount": 7, "links": {}}', 2, 7),
        (b'{"sites": [1]}', 1, None),
    ],
)
def test_both_forms_of_lists_are_read(body: bytes, n_items: int, total: int | None) -> None:
    page = read_page(body)
    assert (len(page.items), page.total) == (n_items, total)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"7",
        b'{"totalCount": 0}',
        b'{"a": [], "b": []}',
        b'{"a": [], "totalCount": -1}',
        b'{"a": [], "totalCount": "3"}',
        b"[" * 100_000,
        b'["\xff"]',
    ],
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) "):
        read_page(body)
