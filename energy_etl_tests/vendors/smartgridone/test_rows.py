"""Listings become versions in time; pieces of telemetry become windows, whole or not."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest

from energy_etl.vendors import Listing, VendorBatch, Window, Write
from energy_etl.vendors.smartgridone.rows import skip_hash_of, to_batch
from energy_etl.vendors.smartgridone.tables import (
    COMPANY,
    DEVICE,
    LICENCE,
    MONITOR,
    ROLE,
    SERIES,
    TELEMETRY,
)
from energy_etl_tests.vendors.smartgridone.answers import (
    END_AT,
    START_AT,
    about,
    raw_call,
    result,
    telemetry_call,
)

NOON = START_AT + timedelta(hours=12)
NOON_MS = int(NOON.timestamp() * 1000)
HOUR_MS = 3_600_000


def device(number: int, node_id: str | None, **properties: Any) -> dict[str, Any]:
    """A device as it is sent."""
    return {
        "id": number,
        "lastUpdate": f"2024-01-0{number}T00:00:00.000Z",
        "properties": {"nodeId": node_id, **properties},
        "userRights": {"propertyEditabilities": {"name": True, "info": False}},
    }


def listing(*devices: Any, is_complete: bool = True, number: int = 1, status: int = 200) -> Any:
    body = {"device": list(devices)} if status == 200 else b""
    return raw_call("device/query", body, number=number, status=status, is_complete=is_complete)


def written(batch: VendorBatch, table: object) -> list[Write]:
    return [write for write in batch.writes if write.table is table]


def scopes_of(write: Write) -> list[tuple[str, ...]]:
    assert isinstance(write.how, Listing)
    return sorted(write.how.scopes.rows())


TREE = (
    device(1, "c1", nodeType="smartgridController", name="House", nodeChildrenIds=["board"]),
    device(2, "board", nodeType="switchboard", nodeParentsIds=["c1"]),
    device(3, "m1", nodeType="powerMeter", nodeParentsIds=["board"]),
    device(4, "c2", nodeType="smartgridController"),
    device(5, "m2", nodeType="powerMeter", nodeParentsIds=["c1", "c2"]),
    device(6, "site", nodeType="smartgridControllerSite", nodeParentsIds=["site"]),
    device(7, "m3", nodeType="powerMeter", nodeParentsIds=["gone"]),
    device(8, None),
    device(9, "c3", nodeType="smartgridController", nodeParentsIds=["c1"]),
)


def test_each_device_knows_its_nearest_controller_and_two_are_none() -> None:
    frame = to_batch([listing(*TREE)]).frame(DEVICE).sort("device_id_smartgridone")
    assert frame["controller_node_id_smartgridone"].to_list() == [
        "c1", "c1", "c1", "c2", None, None, None, None, "c3",
    ]  # fmt: skip
    assert frame.filter("is_controller")["node_id_smartgridone"].to_list() == ["c1", "c2", "c3"]


def test_device_carries_what_its_properties_say() -> None:
    info = {"manufacturer": "SMA", "model": 5, "serialNumber": "S1"}
    sent = device(1, "n1", name="PV", info=info, nominalPower_W=5000, location={"lat": 1})
    row = to_batch([listing(sent)]).frame(DEVICE).row(0, named=True)
    assert (row["manufacturer"], row["model"], row["serial_number"]) == ("SMA", "5", "S1")
    assert row["installed_kw"] == 5.0
    assert row["editable_properties"] == ["name"]
    assert row["updated_at"].isoformat() == "2024-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("properties", "installed_kw"),
    [
        ({"info": {"installedPower_kW": 7.4}}, 7.4),
        ({"nominalPower_W": 0}, None),
        ({"nominalPower_W": "5000"}, None),
        ({"nominalPower_W": True, "ratedPower_W": 3000}, 3.0),
        ({}, None),
    ],
)
def test_installed_power_is_told_in_kw_or_not_at_all(
    properties: dict[str, Any], installed_kw: float | None
) -> None:
    frame = to_batch([listing(device(1, "n1", **properties))]).frame(DEVICE)
    assert frame["installed_kw"].to_list() == [installed_kw]


def test_listing_that_came_whole_tells_what_has_vanished() -> None:
    batch = to_batch([listing(*TREE)])
    for table in (DEVICE, SERIES):
        (write,) = written(batch, table)
        assert scopes_of(write) == [("device/query",)]


def test_device_that_cannot_be_read_goes_to_quarantine_and_nothing_vanishes() -> None:
    batch = to_batch([listing(device(1, "n1"), {"id": "x", "properties": {}})])
    (write,) = written(batch, DEVICE)
    assert write.frame.height == 1
    assert scopes_of(write) == []
    assert batch.quarantine.select("row_number", "reasons").rows() == [(1, "type:id")]


def test_series_that_cannot_be_read_hides_neither_device_nor_other_series() -> None:
    good = {"database": "db", "measurement": "gridMetrics", "retentionPolicy": "rp_one_m"}
    sent = device(1, "n1", nodeInfluxSeries=[good | {"fields": ["b", "a"]}, good | {"database": 5}])
    batch = to_batch([listing(sent)])
    assert batch.frame(DEVICE).height == 1
    assert batch.frame(SERIES)["fields"].to_list() == [["a", "b"]]
    assert batch.quarantine["reasons"].to_list() == ["nodeInfluxSeries:type:database"]
    assert scopes_of(written(batch, DEVICE)[0]) == [("device/query",)]
    assert scopes_of(written(batch, SERIES)[0]) == []


@pytest.mark.parametrize("call", [listing(device(1, "n1"), is_complete=False), listing(status=204)])
def test_filtered_or_unchanged_listing_writes_nothing(call: Any) -> None:
    assert to_batch([call]).writes == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"devices": []}', b'{"device": {}}'])
def test_answer_without_a_list_is_a_problem_by_name(body: bytes) -> None:
    batch = to_batch([raw_call("device/query", body, is_complete=True)])
    (problem,) = batch.problems
    assert "no list called 'device'" in str(problem.error)
    assert all(scopes_of(write) == [] for write in batch.writes)


def test_skip_hash_is_over_the_texts_as_sent_sorted_by_number() -> None:
    frame = to_batch([listing(device(2, "b"), device(1, "a"))]).frame(DEVICE)
    # printf '2024-01-01T00:00:00.000Z2024-01-02T00:00:00.000Z' | sha256 | base64
    assert skip_hash_of(frame) == "ZvcmlWHNgUVxrkZTbBFylBXU4vQ/+XgLtq/tPiTUOag="
    assert skip_hash_of(frame.clear()) is None
    assert skip_hash_of(frame.with_columns(last_update_text=pl.lit(None, pl.String))) is None


def test_roles_monitors_and_companies_become_rows() -> None:
    rights = ["viewManagement", "deviceManagement"]
    role = {"id": 7, "name": "Owner", "selfRights": {"roleManagement": True}, "userRights": rights}
    monitor = {"id": 8, "roleId": 7, "deviceId": 1, "monitorManagement": True, "reads": ["name"]}
    companies = [{"id": 9, "uuid": "u-1", "name": "Leie"}, {"id": 10, "name": "Schelde"}]
    batch = to_batch(
        [
            raw_call("role/query", {"role": [role]}),
            raw_call("role/monitors/query", {"monitors": [monitor]}, number=2, role_id="*"),
            raw_call("company", {"company": companies}, number=3),
        ]
    )
    (row,) = batch.frame(ROLE).to_dicts()
    assert row["self_rights"] == ["roleManagement"]
    assert row["user_rights"] == ["deviceManagement", "viewManagement"]
    (row,) = batch.frame(MONITOR).to_dicts()
    assert (row["role_id_smartgridone"], row["device_id_smartgridone"]) == ("7", 1)
    assert (row["reads"], row["edits"]) == (["name"], [])
    assert batch.frame(COMPANY)["customer_id_smartgridone"].to_list() == ["u-1", None]


def test_licences_are_listed_per_controller_and_per_customer() -> None:
    licence = {"id": "l-1", "key": "K-1", "solarKw": 5, "duration": 365, "type": "residential"}
    dated = licence | {"activationDate": "2024-01-10T00:00:00Z", "datalinks": ["d-1"]}
    batch = to_batch(
        [
            raw_call("license/controller", {"licenses": [licence]}, node_id="c1"),
            raw_call("license/controller", {"licenses": [{"id": None}]}, number=2, node_id="c2"),
            raw_call("license/controller", {"licenses": []}, number=3, node_id="c3"),
            raw_call("license/customer", {"licenses": [dated]}, number=4, customer_id="u-1"),
        ]
    )
    by_controller, by_customer = written(batch, LICENCE)
    assert by_controller.frame["listed_for"].to_list() == ["c1"]
    assert scopes_of(by_controller) == [("license/controller", "c1"), ("license/controller", "c3")]
    (row,) = by_customer.frame.to_dicts()
    assert (row["licence_key"], row["solar_kw"], row["datalink_ids"]) == ("K-1", 5.0, ["d-1"])
    assert row["activated_at"].isoformat() == "2024-01-10T00:00:00+00:00"
    assert scopes_of(by_customer) == [("license/customer", "u-1")]


@pytest.mark.parametrize(
    "odd",
    [
        {"creationDate": 1e300},
        {"creationDate": "0001-01-01T00:00:00+05:00"},
        {"activationDate": "9999-12-31T23:59:59-05:00"},
        {"duration": 10**30},
    ],
)
def test_licence_beyond_the_calendar_goes_to_quarantine_and_the_others_are_kept(odd: dict) -> None:
    listed = {"licenses": [{"id": "l-1"} | odd, {"id": "l-2"}]}
    batch = to_batch([raw_call("license/controller", listed, node_id="c1")])
    assert batch.frame(LICENCE)["licence_id_smartgridone"].to_list() == ["l-2"]
    assert batch.quarantine["reasons"].to_list() == [f"type:{next(iter(odd))}"]


def test_device_with_an_update_before_the_calendar_is_kept() -> None:
    early = device(7, "n7") | {"lastUpdate": "0001-01-01T00:00:00+05:00"}
    row = to_batch([listing(early)]).frame(DEVICE).row(0, named=True)
    assert (row["device_id_smartgridone"], row["updated_at"]) == (7, None)


def pieces(*edges: int, node_id: str = "n1", window: str = "w1") -> list[dict[str, str]]:
    """Queries of one day's window, cut at hours."""
    bounds = [START_AT + timedelta(hours=edge) for edge in edges]
    return [
        about(node_id=node_id, window=window, from_at=a, to_at=b, whole=(START_AT, END_AT))
        for a, b in pairwise(bounds)
    ]


def at_hour(hour: int, reading: float = 1.0) -> list[Any]:
    return [int((START_AT + timedelta(hours=hour)).timestamp() * 1000), reading]


def test_window_whose_pieces_all_came_replaces_what_is_stored() -> None:
    first, second, third = pieces(0, 8, 16, 24)
    calls = [
        telemetry_call([result(0, [at_hour(17)])], third, number=1),
        telemetry_call([result(0, [at_hour(1)]), result(1, [at_hour(9)])], first, second, number=2),
    ]
    (write,) = to_batch(calls).writes
    assert isinstance(write.how, Window)
    assert (write.how.from_at, write.how.to_at) == (START_AT, END_AT)
    assert write.how.ids.rows() == [("n1", "actualPowerTot_W")]
    assert write.frame.height == 3
    assert write.frame.schema == TELEMETRY.polars_schema


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_window_with_a_piece_missing_is_merged_and_deletes_nothing(missing: int) -> None:
    three = pieces(0, 8, 16, 24)
    rows = [at_hour(1), at_hour(9), at_hour(17)]
    calls = [
        telemetry_call([result(0, [rows[place]])], three[place], number=place)
        for place in range(3)
        if place != missing
    ]
    (write,) = to_batch(calls).writes
    assert write.how == "merge"
    assert write.frame.height == 2


def test_query_that_fails_alone_is_a_problem_of_its_register_and_the_others_are_kept() -> None:
    body = [result(0, [at_hour(1)]), {"statement_id": 1, "error": "no such field"}]
    asked = (*pieces(0, 24), *pieces(0, 24, node_id="n2", window="w2"))
    batch = to_batch([telemetry_call(body, *asked)])
    (write,) = batch.writes
    assert isinstance(write.how, Window)
    assert write.how.ids.rows() == [("n1", "actualPowerTot_W")]
    (problem,) = batch.problems
    assert problem.subject == "our.n2.actualPowerTot_W"
    assert '"no such field"' in str(problem.error)


def test_window_without_data_is_whole_and_empty() -> None:
    (write,) = to_batch([telemetry_call([{"statement_id": 0}], *pieces(0, 24))]).writes
    assert isinstance(write.how, Window)
    assert write.frame.is_empty()


def test_answer_that_is_refused_is_a_problem_and_its_windows_stay() -> None:
    good = telemetry_call([result(0, [at_hour(1)])], *pieces(0, 24), number=1)
    bad = telemetry_call(b"<html>", *pieces(0, 24, node_id="n2", window="w2"), number=2)
    batch = to_batch([good, bad])
    assert [write.frame.height for write in batch.writes] == [1]
    (problem,) = batch.problems
    assert "our.n2.actualPowerTot_W" in str(problem.error)


def test_windows_of_one_span_are_one_write_and_other_spans_are_their_own() -> None:
    short = about(node_id="n3", window="w3", from_at=NOON)
    asked = (*pieces(0, 24), *pieces(0, 24, node_id="n2", window="w2"), short)
    body = [result(n, [[NOON_MS, n], [NOON_MS + HOUR_MS, n]]) for n in range(3)]
    writes = to_batch([telemetry_call(body, *asked)]).writes
    assert [(w.how.ids.height, w.frame.height) for w in writes if isinstance(w.how, Window)] == [
        (2, 4),
        (1, 2),
    ]


def test_instant_sent_twice_keeps_the_value_that_came_last() -> None:
    body = [result(0, [at_hour(1, 5.0), at_hour(1, 6.0)])]
    (write,) = to_batch([telemetry_call(body, *pieces(0, 24))]).writes
    assert write.frame["reading_native"].to_list() == [6.0]
