"""SmartgridOne's licences over real HTTP: what the example holds, activation, claims, refusals."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.sandbox import Credentials, SandboxServer, World, fixed_clock
from energy_etl.sandbox.smartgridone import SmartgridOne
from energy_etl.sandbox.smartgridone_fleet import FOREIGN
from energy_etl.sandbox.smartgridone_licences import foreign_key
from energy_etl_tests.sandbox.conftest import NOW_AT
from energy_etl_tests.sandbox.smartgridone_caller import (
    CONTROLLER,
    OTHER_CONTROLLER,
    PV,
    SmartgridOneCaller,
    is_error,
)

BAD_REQUEST = "Missing or misformatted query parameter or body"


@pytest.fixture(scope="module")
def sandbox(world: World) -> Iterator[SandboxServer]:
    """One sandbox of this module: each test that changes a licence takes its own one."""
    with SandboxServer(world) as sandbox:
        yield sandbox


@pytest.fixture
def caller(sandbox: SandboxServer) -> Iterator[SmartgridOneCaller]:
    with SmartgridOneCaller(sandbox) as caller:
        yield caller


def _of_controller(caller: SmartgridOneCaller, node_id: str) -> list[dict]:
    return caller.call("GET", f"license/controller/{node_id}").json()["licenses"]


def _customer_id(caller: SmartgridOneCaller) -> str:
    return caller.call("GET", "company").json()["company"][0]["uuid"]


def _of_customer(caller: SmartgridOneCaller, **query: str) -> list[dict]:
    path = f"license/customer/{_customer_id(caller)}"
    return caller.call("GET", path, params=query).json()["licenses"]


def _days(licence: dict) -> timedelta:
    return timedelta(days=licence["duration"])


def test_licences_have_the_documented_fields(caller):
    fields = {"id", "key", "gridKw", "solarKw", "batteryKw", "evKw", "creationDate"}
    fields |= {"activationDate", "duration", "deactivationDate", "type"}
    for licence in _of_controller(caller, CONTROLLER):
        assert set(licence) == fields
        assert licence["type"] in ("residential", "commercial")
        assert 1 <= len(licence["key"]) <= 50
    for licence in _of_customer(caller, includeDatalinks="true"):
        assert set(licence) == fields | {"datalinks"}


def test_example_holds_a_licence_of_each_kind(caller):
    held = _of_controller(caller, CONTROLLER)
    main, trial, waiting = held[0], held[1], held[2]
    installed_w = caller.device(PV)["properties"]["nominalPower_W"]
    assert main["solarKw"] * 1000 < installed_w
    assert datetime.fromisoformat(main["activationDate"]) + _days(main) > NOW_AT
    assert datetime.fromisoformat(trial["deactivationDate"]) < NOW_AT
    assert waiting["activationDate"] is None
    (ending,) = _of_controller(caller, OTHER_CONTROLLER)
    ends_at = datetime.fromisoformat(ending["activationDate"]) + _days(ending)
    assert NOW_AT < ends_at <= NOW_AT + timedelta(days=90)
    of_customer = _of_customer(caller, includeDatalinks="true")
    assert {each["key"] for each in of_customer} > {each["key"] for each in held}
    unclaimed = [each["key"] for each in of_customer if not each["datalinks"]]
    assert len(unclaimed) == 1


@settings(max_examples=8, deadline=None)
@given(st.datetimes(datetime(2024, 1, 2), datetime(2030, 1, 1), timezones=st.just(UTC)))
def test_yearly_licence_ends_within_90_days_whenever_one_looks(now_at):
    vendor = SmartgridOne(World(now=fixed_clock(now_at)), Credentials())
    bodies = [licence.body() for licence in vendor.licences.all()]
    (yearly,) = [body for body in bodies if body["duration"] == 365]
    ends_at = datetime.fromisoformat(yearly["activationDate"]) + _days(yearly)
    assert timedelta(days=10) <= ends_at - now_at <= timedelta(days=90)


def test_licence_is_activated_once(caller):
    key = next(each["key"] for each in _of_controller(caller, CONTROLLER) if each["batteryKw"])
    body = {"key": key, "activationIso": "2025-04-01T12:00:00+02:00"}
    answer = caller.call("POST", "license/activate", json=body)
    assert answer.json()["success"] is True
    assert answer.json()["license"]["activationDate"] == "2025-04-01T10:00:00.000Z"
    assert answer.json()["license"] in _of_controller(caller, CONTROLLER)
    assert is_error(caller.call("POST", "license/activate", json={"key": key}), 400, BAD_REQUEST)


def test_licence_is_claimed_once_and_activated_now(caller):
    (free,) = [
        each for each in _of_customer(caller, includeDatalinks="true") if not each["datalinks"]
    ]
    body = {"licenseKey": free["key"], "nodeId": CONTROLLER}
    answer = caller.call("POST", "license/claim", json=body)
    expected = {"id": free["id"], "key": free["key"], "nodeId": CONTROLLER}
    assert answer.json() == {"success": True, "license": expected}
    assert free["key"] in {each["key"] for each in _of_controller(caller, CONTROLLER)}
    linked = {
        each["key"]: each["datalinks"] for each in _of_customer(caller, includeDatalinks="true")
    }
    assert len(linked[free["key"]]) == 1
    assert is_error(caller.call("POST", "license/claim", json=body), 400, BAD_REQUEST)
    activated = caller.call("POST", "license/activate", json={"key": free["key"]}).json()
    assert datetime.fromisoformat(activated["license"]["activationDate"]) == NOW_AT


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("activate", {}),
        ("activate", {"key": ""}),
        ("activate", {"key": "x" * 51}),
        ("activate", {"key": "x", "nodeId": CONTROLLER}),
        ("activate", {"key": "x", "activationIso": "tomorrow"}),
        ("activate", {"key": "x", "activationIso": "2025-04-01T12:00:00"}),
        ("activate", {"key": "x", "activationIso": 5}),
        ("claim", {"licenseKey": "x" * 51, "nodeId": CONTROLLER}),
        ("claim", {"licenseKey": "x", "nodeId": ""}),
        ("claim", {"key": "x", "nodeId": CONTROLLER}),
    ],
)
def test_misspelled_licence_call_is_answered_400(caller, path, body):
    assert is_error(caller.call("POST", f"license/{path}", json=body), 400, BAD_REQUEST)


def test_licence_or_controller_that_is_not_there_is_answered_404(caller):
    calls = [
        caller.call("POST", "license/activate", json={"key": "nothing"}),
        caller.call("POST", "license/claim", json={"licenseKey": "no", "nodeId": CONTROLLER}),
        caller.call("POST", "license/claim", json={"licenseKey": foreign_key(), "nodeId": PV}),
        caller.call("GET", f"license/controller/{PV}"),
        caller.call("GET", "license/customer/00000000-0000-0000-0000-000000000000"),
        caller.call("GET", "license/nothing"),
    ]
    assert all(is_error(answer, 404, "Resource not found") for answer in calls)


def test_licences_of_somebody_else_are_refused(caller):
    message = "User does not have sufficient rights"
    answer = caller.call("POST", "license/activate", json={"key": foreign_key()})
    assert is_error(answer, 403, message)
    assert is_error(caller.call("GET", f"license/customer/{FOREIGN.uuid}"), 403, message)


def test_flag_that_is_neither_true_nor_false_is_answered_400(caller):
    path = f"license/customer/{_customer_id(caller)}"
    assert is_error(caller.call("GET", path, params={"includeDatalinks": "1"}), 400)
    assert all("datalinks" not in each for each in _of_customer(caller, includeDatalinks="false"))
