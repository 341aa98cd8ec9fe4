"""What a fetch becomes: whole windows replace, partial ones only add, bad pages are named."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.vendors import VendorBatch, Window
from energy_etl.vendors.wattsense import VENDOR
from energy_etl.vendors.wattsense.rows import to_batch
from energy_etl.vendors.wattsense.rows_boxes import parse_number
from energy_etl.vendors.wattsense.tables import DEVICE, HISTORY, LATEST, ORGANIZATION, PROPERTY

FROM_AT = datetime(2025, 4, 15, tzinfo=UTC)
TO_AT = FROM_AT + timedelta(days=1)


def _page(
    values: dict[int, float],
    *,
    property_id: str = "p1",
    window: str = "w1",
    page: int = 0,
    is_last: bool = True,
    after_s: int = 0,
    body: bytes | None = None,
) -> RawCall:
    items = [
        {
            "property": property_id,
            "timestamp": int((FROM_AT + timedelta(minutes=minute)).timestamp() * 1000),
            "payload": value,
            "scaledPayload": None,
        }
        for minute, value in values.items()
    ]
    params = {
        "device_id": "B1",
        "property_id": property_id,
        "from_at": FROM_AT.isoformat(),
        "to_at": TO_AT.isoformat(),
        "window": window,
        "page": page,
    } | ({"is_last": True} if is_last else {})
    text = json.dumps(items).encode() if body is None else body
    request_id = f"{window}-{page}"
    at = TO_AT + timedelta(seconds=after_s)
    return RawCall(request_id, "wattsense", "history", params, 200 if text else 204, text, at)


def _values(batch: VendorBatch) -> dict[str, list[tuple[int, float]]]:
    frame = batch.frame(HISTORY).sort(HISTORY.key)
    minutes = (frame["measured_at"] - FROM_AT).dt.total_minutes()
    found: dict[str, list[tuple[int, float]]] = {}
    names, readings = frame["property_id_wattsense"], frame["reading_native"]
    for name, minute, reading in zip(names, minutes, readings, strict=True):
        found.setdefault(name, []).append((minute, reading))
    return found


def test_whole_windows_of_one_range_are_one_replacing_write() -> None:
    calls = [
        _page({0: 1.0}, is_last=False),
        _page({15: 2.0}, page=1),
        _page({0: 9.0}, property_id="p2", window="w2"),
        _page({}, property_id="p3", window="w3", body=b""),
    ]
    batch = to_batch(calls)
    (write,) = batch.writes
    assert isinstance(write.how, Window)
    assert (write.how.from_at, write.how.to_at) == (FROM_AT, TO_AT)
    assert sorted(write.how.ids.rows()) == [("B1", "p1"), ("B1", "p2"), ("B1", "p3")]
    assert write.frame.schema == HISTORY.polars_schema
    assert _values(batch) == {"p1": [(0, 1.0), (15, 2.0)], "p2": [(0, 9.0)]}


@pytest.mark.parametrize(
    "calls",
    [
        [_page({0: 1.0}, is_last=False)],
        [_page({0: 1.0}, page=1)],
        [_page({0: 1.0}, is_last=False), _page({}, page=1, body=b"[1, 2")],
        [_page({0: 1.0}, is_last=False), _page({}, page=2)],
    ],
    ids=["last missing", "first missing", "page refused", "middle missing"],
)
def test_window_that_is_not_whole_only_adds(calls: list[RawCall]) -> None:
    batch = to_batch(calls)
    assert [(write.how, write.frame.height) for write in batch.writes] == [("merge", 1)]


def test_refused_page_is_named_and_other_meters_are_kept() -> None:
    calls = [
        _page({}, body=b"<html>"),
        _page({0: 1.0}, property_id="p2", window="w2"),
    ]
    batch = to_batch(calls)
    (problem,) = batch.problems
    assert problem.subject == "B1/p1"
    assert isinstance(problem.error, MalformedError)
    assert "page 0 (request w1-0)" in str(problem.error)
    assert _values(batch) == {"p2": [(0, 1.0)]}


def test_duplicate_and_reordered_pages_give_one_row_per_instant() -> None:
    calls = [
        _page({30: 3.0, 15: 2.0}, is_last=False),
        _page({0: 1.0, 15: 2.5}, page=1, is_last=False),
        _page({0: 1.0, 15: 2.5}, page=2),
    ]
    assert _values(to_batch(calls)) == {"p1": [(0, 1.0), (15, 2.5), (30, 3.0)]}


def test_window_asked_twice_counts_as_asked_later() -> None:
    calls = [_page({0: 2.0}, window="w9", after_s=5), _page({0: 1.0}, window="w0", after_s=9)]
    batch = to_batch(calls)
    replacing = [write for write in batch.writes if isinstance(write.how, Window)]
    assert [write.frame["reading_native"].to_list() for write in replacing] == [[1.0]]


def test_order_of_calls_does_not_matter() -> None:
    calls = [
        _page({0: 1.0}, is_last=False),
        _page({15: 2.0}, page=1),
        _page({0: 9.0}, property_id="p2", window="w2"),
    ]
    assert _values(to_batch(calls)) == _values(to_batch(calls[::-1]))


def _small(endpoint: str, rows: Any, device_id: str | None = None) -> RawCall:
    params = {"device_id": device_id} if device_id else {}
    body = json.dumps(rows).encode()
    return RawCall("r", "wattsense", endpoint, params, 200, body, TO_AT)


def test_device_is_read_with_zone_and_tags() -> None:
    device = {
        "deviceId": "B1",
        "name": "Box",
        "hardwareId": 17,
        "organizationId": "o",
        "tags": {"timezone": "Europe/Rome", "b": 1, "a": 2},
        "deviceSubscription": {"ratePlan": "x"},
    }
    batch = to_batch([_small("devices", [device, {"name": "no id"}, 5])])
    row = batch.frame(DEVICE).row(0, named=True)
    assert (row["zone"], row["hardware_id"]) == ("Europe/Rome", "17")
    assert row["tags"] == '{"a": 2, "b": 1, "timezone": "Europe/Rome"}'
    assert batch.frame(DEVICE).height == 1
    assert batch.quarantine["reasons"].to_list() == ["type:deviceId", "type:"]


def test_organization_is_read_with_the_one_that_manages_it() -> None:
    organizations = [
        {"organizationId": "o-1", "tenantId": None, "name": "Fleet"},
        {"organizationId": 2, "tenantId": "o-1", "name": "North", "accountId": "a-2"},
        {"name": "no id"},
    ]
    batch = to_batch([_small("organizations", organizations)])
    columns = ["organization_id_wattsense", "tenant_id_wattsense", "name"]
    assert batch.frame(ORGANIZATION).select(columns).rows() == [
        ("o-1", None, "Fleet"),
        ("2", "o-1", "North"),
    ]
    assert batch.quarantine["reasons"].to_list() == ["type:organizationId"]


def test_latest_value_is_read_with_its_instant() -> None:
    values = [
        {"property": "p1", "timestamp": 1700000000123, "payload": "3.5", "unit": "kWh"},
        {"property": "p2", "timestamp": None, "payload": None},
        {"property": "p3", "timestamp": 1, "payload": True, "isOutOfService": True},
        {"property": "p4", "timestamp": 1, "payload": 4, "scaledPayload": 0.4},
    ]
    frame = to_batch([_small("properties", values, "B1")]).frame(LATEST)
    assert frame["reading_native"].to_list() == [3.5, None, None, 0.4]
    assert frame["payload_text"].to_list() == ["3.5", None, "true", None]
    assert frame["measured_at"][0] == datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC)
    assert frame["is_out_of_service"].to_list() == [None, None, True, None]


def test_answer_that_is_no_list_is_a_problem_by_name() -> None:
    batch = to_batch([_small("configs/current/properties", {"a": 1}, "B7")])
    assert [problem.subject for problem in batch.problems] == ["B7"]
    assert batch.frame(PROPERTY).height == 0


@pytest.mark.parametrize(
    ("payload", "number"),
    [(1, 1.0), ("2", 2.0), ("nan", None), ("inf", None), (True, None), (None, None), ([], None)],
)
def test_payload_that_is_no_finite_number_is_none(payload: object, number: float | None) -> None:
    assert parse_number(payload) == number


def test_proposal_maps_units_and_leaves_the_rest_to_a_person() -> None:
    devices = [
        {"deviceId": "B1", "name": "Casa Ü", "tags": {"timezone": "Europe/Rome"}},
        {"deviceId": "B2"},
    ]
    configs = [
        {"propertyId": "p1", "slug": "grid", "name": "Grid", "unit": "kWh"},
        {"propertyId": "p2", "name": "Gas m³", "unit": "m³"},
        {"propertyId": "p3", "name": "Outside", "unit": "°C"},
        {"propertyId": "p4", "name": "Relay", "unit": "state"},
    ]
    calls = [
        _small("devices", devices),
        _small("configs/current/properties", configs, "B1"),
        _small("properties", [{"property": "p9", "unit": "Wh", "timestamp": 1}], "B2"),
    ]
    assert VENDOR.propose is not None
    proposal = VENDOR.propose(to_batch(calls))
    assert [(s["site_id"], s["zone"]) for s in proposal.sites] == [
        ("casa-ü", "Europe/Rome"),
        ("b2", ""),
    ]
    assert [
        (r["register_id"], r["unit"], r["kind"], r["register_id_wattsense"])
        for r in proposal.registers
    ] == [
        ("casa-ü.grid", "kWh", "cumulative", "B1/p1"),
        ("casa-ü.gas-m³", "m3", "cumulative", "B1/p2"),
        ("casa-ü.outside", "degC", "instant", "B1/p3"),
        ("b2.p9", "Wh", "cumulative", "B2/p9"),
    ]
    assert [m["commodity"] for m in proposal.meters] == [
        "electricity",
        "water",
        "temperature",
        "electricity",
    ]


def test_quarantine_has_the_columns_of_its_table() -> None:
    batch = to_batch([_small("devices", [{}]), _page({}, body=b'[{"timestamp": "x"}]')])
    assert batch.quarantine.height == 2
    assert batch.quarantine["vendor"].to_list() == ["wattsense", "wattsense"]
    assert batch.quarantine.filter(pl.col("endpoint") == "history")["reasons"].to_list() == [
        "type:timestamp"
    ]
