"""Faults on demand, the request log and the control side, over real HTTP."""

import time
from collections.abc import Iterator
from itertools import pairwise

import httpx
import msgspec
import numpy as np
import pytest

from energy_etl.sandbox import SandboxServer, World
from energy_etl.sandbox.faults import KINDS
from energy_etl.sandbox.model import device_id_wattsense, id_digiwatt, id_wattics
from energy_etl_tests.sandbox.conftest import COLLECTOR, MAIN, Caller

STREAM = id_wattics("rome-a.grid_import")
METER = id_digiwatt("rome-a")
DEVICE = device_id_wattsense("rome-a")
HISTORY = f"devices/{DEVICE}/properties?property=grid-import&since=1740000000000&size=30"


@pytest.fixture
def own(world: World) -> Iterator[Caller]:
    """A sandbox of its own: these tests count what it received."""
    with SandboxServer(world) as sandbox:
        caller = Caller(sandbox)
        yield caller
        caller.close()


def _packet(minute: int = 0) -> dict:
    stamp = f"2025-04-16T11:{minute:02d}:00.000+02:00"
    return {"id": STREAM, "tsISO8601": stamp, "pC_1": 1.5}


def _received(caller: Caller) -> int:
    packets = caller.http.get("/_sandbox/packets", params={"stream": STREAM}).json()
    return len(packets)


def _values(page: list[dict]) -> list[tuple]:
    return [(item["timestamp"], item["payload"]) for item in page]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_status_fault_answers_in_each_vendors_shape_and_ends(caller, status):
    calls = {
        "digiwatt": lambda: caller.digiwatt(f"{METER}/savings"),
        "wattsense": lambda: caller.wattsense("devices"),
        "wattics": lambda: caller.push(_packet()),
    }
    for vendor, call in calls.items():
        assert call().status_code == 200
        wish = {"vendor": vendor, "kind": "status", "status": status, "times": 2}
        assert caller.fault(**wish, retry_after_s=7).status_code == 201
        answers = [call() for _ in range(3)]
        assert [answer.status_code for answer in answers] == [status, status, 200], vendor
        assert answers[0].headers["Retry-After"] == "7"
        if status == 401 and vendor != "wattsense":
            assert "WWW-Authenticate" in answers[0].headers


def test_fault_touches_only_the_paths_it_names(caller):
    caller.fault(vendor="wattsense", kind="status", path_contains="/configs", times=None)
    assert caller.wattsense("devices").status_code == 200
    assert [caller.wattsense(f"devices/{DEVICE}/configs").status_code for _ in range(2)] == [
        503
    ] * 2
    assert caller.http.delete("/_sandbox/faults").status_code == 204
    assert caller.wattsense(f"devices/{DEVICE}/configs").status_code == 200


def test_slow_fault_delays_the_answer(caller):
    caller.fault(vendor="wattsense", kind="slow", delay_s=0.3)
    start_s = time.monotonic()
    assert caller.wattsense("devices").status_code == 200
    assert time.monotonic() - start_s >= 0.3


def test_drip_fault_sends_the_body_byte_by_byte(caller):
    expected = caller.wattsense("user").content
    caller.fault(vendor="wattsense", kind="drip", delay_s=0.005)
    start_s = time.monotonic()
    answer = caller.wattsense("user")
    assert answer.content == expected
    assert time.monotonic() - start_s >= 0.005 * len(expected)


def test_connection_dropped_before_handling_commits_nothing(own):
    own.fault(vendor="wattics", kind="drop_before")
    with pytest.raises(httpx.TransportError):
        own.push(_packet())
    assert _received(own) == 0
    assert own.push(_packet()).status_code == 200
    assert _received(own) == 1


def test_connection_dropped_after_handling_has_committed(own):
    own.fault(vendor="wattics", kind="drop_after")
    with pytest.raises(httpx.TransportError):
        own.push(_packet())
    assert _received(own) == 1


def test_late_commit_happens_after_the_connection_is_gone(own):
    own.fault(vendor="wattics", kind="late_commit", delay_s=0.3)
    with pytest.raises(httpx.TransportError):
        own.push(_packet(0))
    assert _received(own) == 0
    assert own.push(_packet(15)).status_code == 200
    time.sleep(0.4)
    packets = own.http.get("/_sandbox/packets", params={"stream": STREAM}).json()
    assert [packet["at"][14:16] for packet in packets] == ["15", "00"]


def test_vendor_that_is_down_refuses_every_call_until_the_fault_is_removed(own):
    own.fault(vendor="wattsense", kind="down")
    for _ in range(3):
        with pytest.raises(httpx.TransportError):
            own.wattsense("devices")
    assert own.digiwatt(f"{METER}/savings").status_code == 200
    own.http.delete("/_sandbox/faults")
    assert own.wattsense("devices").status_code == 200


def test_duplicate_page_serves_the_same_items_under_another_link(caller):
    page = caller.wattsense(HISTORY)
    caller.fault(vendor="wattsense", kind="duplicate_page", path_contains="properties")
    first = caller.wattsense(HISTORY)
    again = caller.wattsense(first.links["next"]["url"])
    assert first.json() == again.json() == page.json()
    following = caller.wattsense(again.links["next"]["url"])
    assert following.json()[0]["timestamp"] > page.json()[-1]["timestamp"]


def test_repeated_link_leads_to_itself(caller):
    caller.fault(vendor="wattsense", kind="repeated_link", times=None)
    first = caller.wattsense(HISTORY)
    second = caller.wattsense(first.links["next"]["url"])
    assert second.links["next"]["url"] == first.links["next"]["url"]
    assert second.json() == first.json()


def test_truncated_json_cannot_be_decoded(caller):
    caller.fault(vendor="wattsense", kind="truncated_json")
    answer = caller.wattsense(HISTORY)
    assert answer.status_code == 200
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(answer.content)


def test_nan_value_stands_in_one_item(caller):
    whole = caller.wattsense(HISTORY).json()
    caller.fault(vendor="wattsense", kind="nan_value")
    answer = caller.wattsense(HISTORY)
    assert b":NaN" in answer.content
    spoilt = [
        index
        for index, (item, good) in enumerate(zip(answer.json(), whole, strict=True))
        if str(item) != str(good)
    ]
    assert spoilt == [len(whole) // 2]
    assert np.isnan(answer.json()[spoilt[0]]["payload"])
    assert answer.json()[spoilt[0]]["timestamp"] == whole[spoilt[0]]["timestamp"]


def test_gap_fault_leaves_out_the_middle_of_a_page(caller):
    whole = _values(caller.wattsense(HISTORY).json())
    caller.fault(vendor="wattsense", kind="gap")
    assert _values(caller.wattsense(HISTORY).json()) == whole[:10] + whole[20:]


@pytest.mark.parametrize(
    "wish",
    [
        {"vendor": "nobody", "kind": "slow"},
        {"vendor": "wattics", "kind": "explode"},
        {"vendor": "wattics", "kind": "slow", "delay_s": "long"},
        {"vendor": "wattics", "kind": "slow", "dealy_s": 1},
        {"vendor": "wattics"},
        [],
    ],
)
def test_fault_that_makes_no_sense_is_refused_with_a_reason(caller, wish):
    answer = caller.http.post("/_sandbox/faults", json=wish)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert caller.http.get("/_sandbox/faults").json() == []


def test_every_kind_can_be_posted_and_listed(caller):
    for kind in KINDS:
        assert caller.fault(vendor="digiwatt", kind=kind, path_contains="never").status_code == 201
    listed = caller.http.get("/_sandbox/faults").json()
    assert [fault["kind"] for fault in listed] == list(KINDS)
    assert next(f for f in listed if f["kind"] == "down")["path_contains"] == ""


def test_request_log_holds_each_call_with_its_status_and_no_secret(own):
    own.wattsense("devices")
    own.digiwatt(f"{METER}/consumption/yesterday")
    own.push(_packet(), auth=None)
    own.push(_packet())
    own.fault(vendor="wattics", kind="drop_before")
    with pytest.raises(httpx.TransportError):
        own.push(_packet())
    log = own.http.get("/_sandbox/requests").json()
    assert [row["status"] for row in log] == [200, 200, 200, 401, 200, 0]
    assert all(one["id"] + 1 == other["id"] for one, other in pairwise(log))
    assert {row["vendor"] for row in log} == {"wattsense", "digiwatt", "wattics"}
    assert "secret" not in str(log)
    wattics = own.http.get("/_sandbox/requests", params={"vendor": "wattics"}).json()
    assert [row["path"] for row in wattics] == [COLLECTOR] * 3
    newer = own.http.get("/_sandbox/requests", params={"since_id": log[3]["id"]}).json()
    assert [row["id"] for row in newer] == [row["id"] for row in log[4:]]
    assert own.http.get("/_sandbox/requests", params={"since_id": "x"}).status_code == 400


def test_health_says_what_world_it_is(caller, world):
    health = caller.http.get("/_sandbox/health").json()
    assert health["now"] == "2025-04-16T09:00:00+00:00"
    assert health["first_at"] == "2024-01-01T00:00:00+00:00"
    assert health["world"] == "world"
    assert health["n_registers"] == len(world.registers)


def test_truth_gives_the_true_energy_by_slot(caller, world):
    params = {
        "register": "newyork-a.grid_import",
        "from": "2024-02-01T00:00Z",
        "to": "2024-02-02T00:00Z",
    }
    truth = caller.http.get("/_sandbox/truth", params=params).json()
    assert truth["unit"] == "kWh"
    assert truth["from"] == "2024-02-01T00:00:00+00:00"
    expected = world.steps("newyork-a.grid_import")[31 * 96 : 32 * 96]
    np.testing.assert_allclose(truth["values"], expected, atol=1e-9)
    assert caller.http.get("/_sandbox/truth", params=params | {"from": "x"}).status_code == 400
    assert caller.http.get("/_sandbox/truth", params={"register": "x"}).status_code == 404


def test_password_of_every_vendor_can_be_changed(own):
    changes = {"sandbox-digiwatt": own.token, "sandbox-wattsense": lambda: own.wattsense("devices")}
    for account, call in changes.items():
        assert call().status_code == 200
        change = {"account": account, "password": "other"}
        assert own.http.post("/_sandbox/passwords", json=change).status_code == 204
        assert call().status_code == 401
    nobody = {"account": "nobody", "password": "x"}
    assert own.http.post("/_sandbox/passwords", json=nobody).status_code == 404
    assert own.http.post("/_sandbox/passwords", json={"account": "main"}).status_code == 400


@pytest.mark.parametrize("path", ["/", "/_sandbox/nothing", "/digiwattx", "/measurements/v1/x"])
def test_path_of_nobody_is_answered_404(caller, path):
    assert caller.http.get(path).status_code == 404


def test_body_beyond_the_limit_is_refused(caller):
    answer = caller.http.post(COLLECTOR, content=b"x" * 1_100_000, auth=MAIN)
    assert answer.status_code == 413
