"""Wattsense over real HTTP: who may call, devices, latest values, history page by page."""

import time
from datetime import timedelta
from itertools import pairwise

import httpx
import numpy as np
import pytest

from energy_etl.sandbox import SandboxServer, World
from energy_etl.sandbox.calendar import to_ms
from energy_etl.sandbox.model import device_id_wattsense, property_id_wattsense
from energy_etl.sandbox.wattsense_login import sign
from energy_etl_tests.sandbox.conftest import NOW_AT, Caller, wattsense_headers

DEVICE = device_id_wattsense("rome-a")
IMPORT = property_id_wattsense("rome-a.grid_import")
HISTORY = f"devices/{DEVICE}/properties?property={IMPORT}"
NOW_MS = to_ms(NOW_AT)


def _pages(caller: Caller, target: str) -> list[list[dict]]:
    pages = []
    while target:
        answer = caller.wattsense(target)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        target = answer.links.get("next", {}).get("url", "")
    return pages


@pytest.mark.parametrize(
    ("parts", "signature"),
    [
        (
            ("GET", "/v1/devices", "", b""),
            "BpLX/lgBRWbVcuiTi0qXqSA7s2hTQQIQlS+0a5OvdbDWlatVFcGCmvUm+gdT0CuuFuydo+3LAsuFTLMBBAaCeg==",
        ),
        (
            ("GET", "/v1/devices/B1/properties", "property=p1&since=1286705410000", b""),
            "N4fiiy9KBHzkPEQzO9kZAZERgr+4SjL30fCBWtDPpcER1yx4rmjb0VRIC0U6MH+E3CnWGjHgbxdQOYOfn8XF1g==",
        ),
        (
            ("PUT", "/v1/devices/B1/properties/p1", "", b'{"payload":21.5}'),
            "/slZ6skS5+hOjA2Xa7kDwrLcIuF8ba/J9rr1zNKC8JYd+MCKpaLR+N2q+WYZ5k/D9kdyvy7vzO+3HxNNBxnJrA==",
        ),
    ],
)
def test_signature_of_a_known_vector_is_the_published_one(parts, signature):
    method, path, query, body = parts
    assert sign("demo-secret", method, path, query, body, "1700000000000") == signature


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X-API-Auth": ""}, "Unknown API key"),
        ({"X-API-Auth": "sandbox-wattsense:AAAA"}, "signature"),
        ({"X-API-Auth": "somebody:AAAA"}, "Unknown API key"),
        ({"X-API-Timestamp": "yesterday"}, "X-API-Timestamp"),
        ({"X-API-Timestamp": "9" * 400}, "X-API-Timestamp"),
        ({"X-API-Timestamp": "1700000000000"}, "300 seconds"),
    ],
)
def test_wrong_signature_headers_are_answered_401(caller, changes, message):
    headers = wattsense_headers("GET", "/wattsense/v1/devices") | changes
    answer = caller.http.get("/wattsense/v1/devices", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["status"] == 401
    assert message in answer.json()["message"]


@pytest.mark.parametrize(("away_s", "status"), [(-290, 200), (290, 200), (-310, 401), (310, 401)])
def test_timestamp_is_accepted_within_300_seconds(caller, away_s, status):
    path = "/wattsense/v1/devices"
    headers = wattsense_headers("GET", path, at_s=time.time() + away_s)
    assert caller.http.get(path, headers=headers).status_code == status


def test_signature_without_the_query_is_refused(caller):
    headers = wattsense_headers("GET", f"/wattsense/v1/devices/{DEVICE}/properties")
    answer = caller.http.get(f"/wattsense/v1/{HISTORY}", headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("user", "password", "status", "message"),
    [
        ("sandbox-user", "sandbox-user-secret", 200, ""),
        ("sandbox-user", "wrong", 401, "Wrong user or password"),
        ("sandbox-service-basic", "sandbox-service-secret", 200, ""),
        ("sandbox-service-basic", "wrong", 401, "Wrong user or password"),
        ("sandbox-service", "sandbox-service-secret", 401, "Basic authentication is off"),
    ],
)
def test_basic_is_for_users_and_for_service_accounts_that_have_it_on(
    caller, user, password, status, message
):
    answer = caller.http.get("/wattsense/v1/user", auth=(user, password))
    assert answer.status_code == status
    assert message in answer.text


def test_call_without_any_credential_is_answered_401(caller):
    assert caller.http.get("/wattsense/v1/devices").status_code == 401


def test_devices_are_a_bare_list_and_can_be_filtered(caller):
    devices = caller.wattsense("devices").json()
    assert len(devices) == 6
    south = caller.wattsense("devices?organizationId=org-7c03").json()
    assert {device["name"] for device in south} == {"Brooklyn brownstone", "Lagoon lodge"}
    assert caller.wattsense("devices?organizationId=nobody").status_code == 204
    assert caller.wattsense("devices?subscriptionId=x").status_code == 400
    assert caller.wattsense(f"devices/{DEVICE}").json()["deviceId"] == DEVICE
    assert len(caller.wattsense("organizations").json()) == 3


@pytest.mark.parametrize(
    "target",
    ["devices/B0", "organizationUnits", "nothing", f"devices/{DEVICE}/properties/p0", "devices//"],
)
def test_unknown_resource_is_answered_404_in_the_vendors_shape(caller, target):
    answer = caller.wattsense(target)
    assert answer.status_code == 404
    assert set(answer.json()) == {"message", "status"}


def test_writing_is_refused(caller):
    answer = caller.wattsense(f"devices/{DEVICE}/properties/{IMPORT}", "PUT", '{"payload": 1}')
    assert answer.status_code == 403


def test_latest_properties_hold_each_register_once(caller, world):
    values = caller.wattsense(f"devices/{DEVICE}/properties").json()
    expected = {
        property_id_wattsense(r.register_id)
        for r in world.registers.values()
        if r.site_id == "rome-a"
    }
    assert {value["property"] for value in values} == expected
    assert len(values) == len(expected)
    for value in values:
        assert NOW_MS - 4 * 3_600_000 < value["timestamp"] <= NOW_MS
    one = caller.wattsense(f"devices/{DEVICE}/properties/grid-import").json()
    assert one == next(value for value in values if value["property"] == IMPORT)
    with_history = caller.wattsense(f"devices/{DEVICE}/properties/{IMPORT}?includeHistory=true")
    read = with_history.json()["history"]["readValues"]
    assert len(read) == 100
    assert read[-1]["timestamp"] == one["timestamp"]


def test_values_come_in_every_shape_that_clients_have_seen(caller, world):
    shapes = set()
    for site_id in {r.site_id for r in world.registers.values() if r.vendor == "wattsense"}:
        values = caller.wattsense(f"devices/{device_id_wattsense(site_id)}/properties").json()
        for value in values:
            shapes.add((type(value["payload"]).__name__, value["scaledPayload"] is None))
            number = value["scaledPayload"]
            if number is not None:
                factor = float(value["payload"]) / number if number else 1.0
                assert round(factor) in (1, 1000)
        assert {value["unit"] for value in values} <= {"kWh", "Wh", "m³", "°C"}
    assert shapes == {("float", True), ("float", False), ("int", False), ("str", False)}


def test_pages_hold_each_visible_sample_exactly_once_in_order(caller, world):
    since_ms, until_ms = NOW_MS - 12 * 86_400_000, NOW_MS - 86_400_000
    target = f"{HISTORY}&since={since_ms}&until={until_ms}&size=100"
    pages = _pages(caller, target)
    assert all(len(page) == 100 for page in pages[:-1])
    items = [item for page in pages for item in page]
    samples = world.samples("rome-a.grid_import")
    window = (samples.at_ms >= since_ms) & (samples.at_ms < until_ms)
    assert [item["timestamp"] for item in items] == samples.at_ms[window].tolist()
    values = [item["scaledPayload"] or float(item["payload"]) for item in items]
    np.testing.assert_array_equal(values, samples.value_native[window])


def test_next_links_are_absolute_and_relative_in_turn(caller):
    target, links = f"{HISTORY}&since={NOW_MS - 3 * 86_400_000}&size=50", []
    while target:
        target = caller.wattsense(target).links.get("next", {}).get("url", "")
        links.append(target)
    starts = [link.startswith("http") for link in links if link]
    assert len(starts) >= 4
    assert all(one != other for one, other in pairwise(starts))


def test_since_is_inclusive_and_until_exclusive(caller, world):
    first, second = world.samples("rome-a.grid_import").at_ms[1000:1002].tolist()
    items = caller.wattsense(f"{HISTORY}&since={first}&until={second}").json()
    assert [item["timestamp"] for item in items] == [first]


def test_default_page_holds_500_items(caller):
    answer = caller.wattsense(HISTORY)
    assert len(answer.json()) == 500
    assert answer.json()[0]["timestamp"] < World.origin_ms + 900_000
    assert "next" in answer.links


def test_empty_window_is_answered_204_without_a_body(caller):
    for window in (f"&since={NOW_MS + 1}", f"&since={NOW_MS}&until=5", "&until=5"):
        answer = caller.wattsense(HISTORY + window)
        assert answer.status_code == 204
        assert answer.content == b""
        assert "link" not in answer.headers


@pytest.mark.parametrize(
    "query",
    [
        "&size=0",
        "&size=2501",
        "&since=monday",
        "&since=-5",
        # A digit, but none that makes a number: was answered with 500.
        "&since=%C2%B2",
        "&order=up",
        "&since=1&since=2",
    ],
)
def test_query_that_makes_no_sense_is_answered_400(caller, query):
    assert caller.wattsense(HISTORY + query).status_code == 400


def test_late_sample_appears_only_when_it_has_arrived():
    now = [NOW_AT]
    world = World(now=lambda: now[0])
    samples = world.samples("rome-a.grid_import")
    recent = np.flatnonzero(
        (samples.at_ms > NOW_MS - 9e7) & (samples.visible_ms - samples.at_ms > 3e6)
    )[0]
    at_ms, visible_ms = int(samples.at_ms[recent]), int(samples.visible_ms[recent])
    with SandboxServer(world) as sandbox:
        caller = Caller(sandbox)
        target = f"{HISTORY}&since={at_ms}&until={at_ms + 1}"
        now[0] = NOW_AT + timedelta(milliseconds=visible_ms - 1 - NOW_MS)
        before = caller.wattsense(target).status_code
        now[0] = NOW_AT + timedelta(milliseconds=visible_ms - NOW_MS)
        after = caller.wattsense(target).status_code
        caller.close()
    assert (before, after) == (204, 200)


def test_configurations_describe_the_properties(caller):
    properties = caller.wattsense(f"devices/{DEVICE}/configs/current/properties").json()
    assert IMPORT in {each["propertyId"] for each in properties}
    configs = caller.wattsense(f"devices/{DEVICE}/configs").json()
    assert configs[0]["status"] == "CURRENT"
    assert {each["equipmentId"] for each in properties} <= {
        each["equipmentId"] for each in configs[0]["equipments"]
    }


def test_limits_are_answered_429_with_retry_after(world):
    options = {"limit_calls": 6, "limit_config_calls": 2, "limit_window_s": 300.0}
    with SandboxServer(world, wattsense_options=options) as sandbox:
        caller = Caller(sandbox)
        configs = [caller.wattsense(f"devices/{DEVICE}/configs") for _ in range(3)]
        others = [caller.wattsense("devices") for _ in range(4)]
        caller.close()
    assert [answer.status_code for answer in configs] == [200, 200, 429]
    assert [answer.status_code for answer in others] == [200, 200, 200, 429]
    for answer in (configs[-1], others[-1]):
        assert 290 <= int(answer.headers["Retry-After"]) <= 301


def test_limit_is_free_again_when_its_window_has_passed(world):
    options = {"limit_calls": 1, "limit_window_s": 0.3}
    with SandboxServer(world, wattsense_options=options) as sandbox:
        caller = Caller(sandbox)
        statuses = [caller.wattsense("devices").status_code for _ in range(2)]
        time.sleep(0.35)
        statuses.append(caller.wattsense("devices").status_code)
        caller.close()
    assert statuses == [200, 429, 200]


def test_plain_httpx_client_of_another_make_gets_the_same_answer(caller):
    # The request that is signed here is the prepared one, with httpx's own spelling of the query.
    request = httpx.Request(
        "GET",
        f"{caller.sandbox.url}/wattsense/v1/devices/{DEVICE}/properties",
        params={"property": "grid-import", "since": NOW_MS - 7_200_000},
    )
    target = request.url.raw_path.decode()
    request.headers.update(wattsense_headers("GET", target))
    assert caller.http.send(request).status_code == 200
