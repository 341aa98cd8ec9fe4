"""SmartgridOne's devices over real HTTP: the tree, filters, skipHash, edits and their rights."""

import base64
import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.sandbox import SandboxServer, World
from energy_etl.sandbox.smartgridone_answers import RefusedError
from energy_etl.sandbox.smartgridone_patch import apply_patch, touched
from energy_etl_tests.sandbox.smartgridone_caller import (
    CONTROLLER,
    EV,
    GRID,
    OTHER_CONTROLLER,
    OTHER_GRID,
    PV,
    SmartgridOneCaller,
    is_error,
)


@pytest.fixture(scope="module")
def sandbox(world: World) -> Iterator[SandboxServer]:
    """One sandbox for the tests that only read."""
    with SandboxServer(world) as sandbox:
        yield sandbox


@pytest.fixture
def caller(sandbox: SandboxServer) -> Iterator[SmartgridOneCaller]:
    with SmartgridOneCaller(sandbox) as caller:
        yield caller


@pytest.fixture(scope="module")
def changed_sandbox(world: World) -> Iterator[SandboxServer]:
    """One sandbox for the tests that change something: each changes a device of its own."""
    with SandboxServer(world) as sandbox:
        yield sandbox


@pytest.fixture
def editor(changed_sandbox: SandboxServer) -> Iterator[SmartgridOneCaller]:
    with SmartgridOneCaller(changed_sandbox) as caller:
        yield caller


def _ids(devices: list[dict]) -> set[str]:
    return {device["properties"]["nodeId"] for device in devices}


def _put(caller: SmartgridOneCaller, node_id: str, properties: dict, **options):
    device_id = caller.device(node_id)["id"]
    return caller.call("PUT", f"device/{device_id}", json={"properties": properties}, **options)


# -- what is there ---------------------------------------------------------------------------


def test_devices_hang_below_their_own_controller(caller):
    devices = {device["properties"]["nodeId"]: device["properties"] for device in caller.devices()}
    assert set(devices) == {
        CONTROLLER,
        f"{CONTROLLER}-board",
        GRID,
        PV,
        EV,
        OTHER_CONTROLLER,
        OTHER_GRID,
    }
    for node_id, properties in devices.items():
        for parent in properties["nodeParentsIds"]:
            assert node_id in devices[parent]["nodeChildrenIds"]
        for child in properties["nodeChildrenIds"]:
            assert devices[child]["nodeParentsIds"] == [node_id]

    def top(node_id: str) -> str:
        parents = devices[node_id]["nodeParentsIds"]
        return top(parents[0]) if parents else node_id

    assert {top(each) for each in (GRID, PV, EV)} == {CONTROLLER}
    assert top(OTHER_GRID) == OTHER_CONTROLLER
    controllers = caller.devices(filter={"nodeType": ["smartgridController"]})
    assert _ids(controllers) == {CONTROLLER, OTHER_CONTROLLER}


def test_series_name_a_database_per_customer_and_several_retention_policies(caller, world):
    for node_id in (GRID, OTHER_GRID):
        series = caller.device(node_id)["properties"]["nodeInfluxSeries"]
        assert [each["retentionPolicy"] for each in series] == ["rp_ten_m", "rp_one_m"]
        assert {each["tags"]["nodeId"] for each in series} == {node_id}
    databases = {
        series["database"]
        for device in caller.devices()
        for series in device["properties"].get("nodeInfluxSeries", [])
    }
    assert len(databases) == 2
    with (
        SandboxServer(world, smartgridone_options={"has_fine_policy": True}) as sandbox,
        SmartgridOneCaller(sandbox) as fine,
    ):
        series = fine.device(GRID)["properties"]["nodeInfluxSeries"]
    assert "rp_one_s" in {each["retentionPolicy"] for each in series}


def test_inverter_tells_power_and_no_energy(caller):
    series = caller.device(PV)["properties"]["nodeInfluxSeries"]
    assert {field for each in series for field in each["fields"]} == {"actualPowerTot_W"}


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        ({"nodeId": [EV, "nobody"]}, {EV}),
        ({"nodeType": ["solarInverter", "evCharger"]}, {PV, EV}),
        ({"companyId": [47]}, {OTHER_CONTROLLER, OTHER_GRID}),
        ({"roleId": [345], "nodeType": ["powerMeter"]}, {OTHER_GRID}),
        ({"id": [0]}, set()),
        ({"viewId": [1]}, set()),
        ({"isActive": False}, set()),
        ({"isActive": True, "nodeId": [PV]}, {PV}),
    ],
)
def test_filter_returns_the_matching_devices(caller, wish, found):
    assert _ids(caller.devices(filter=wish)) == found


def test_conditions_look_at_visible_properties(caller):
    assert _ids(caller.devices(conditions={"nodeType": ["switchboard"]})) == {f"{CONTROLLER}-board"}
    # At the second company nobody sees the notes, so that no condition can find them.
    assert _ids(caller.devices(conditions={"internalNotes": ""})).isdisjoint(
        {OTHER_CONTROLLER, OTHER_GRID}
    )


def test_fields_leave_the_rest_out(caller):
    (device,) = caller.devices(filter={"nodeId": [PV]}, fields=["id", "properties.name"])
    assert device == {"id": device["id"], "properties": {"name": "PV production"}}


@pytest.mark.parametrize(
    "body",
    [
        {"page": 1},
        {"filter": {"name": ["x"]}},
        {"filter": {"id": ["1"]}},
        {"filter": {"id": 1}},
        {"filter": {"isActive": 1}},
        {"fields": ["secret"]},
        {"conditions": []},
        {"skipHash": 5},
        [],
    ],
)
def test_query_with_another_key_or_type_is_answered_400(caller, body):
    assert is_error(
        caller.call("POST", "device/query", json=body),
        400,
        "Missing or misformatted query parameter or body",
    )


def test_skip_hash_of_what_is_there_is_answered_204(caller):
    devices = sorted(caller.devices(), key=lambda device: device["id"])
    digest = hashlib.sha256("".join(device["lastUpdate"] for device in devices).encode()).digest()
    skip_hash = base64.b64encode(digest).decode()
    answer = caller.call("POST", "device/query", json={"skipHash": skip_hash})
    assert (answer.status_code, answer.content) == (204, b"")
    assert len(caller.devices(skipHash="AAAA")) == len(devices)
    older = caller.call("GET", "device", params={"skipHash": skip_hash})
    assert older.status_code == 204


def test_older_get_answers_as_the_query_does(caller):
    older = caller.call("GET", "device", params={"nodeId": [PV, EV], "isActive": "true"})
    assert _ids(older.json()["device"]) == {PV, EV}
    grid = caller.device(GRID)
    older = caller.call("GET", "device", params={"id": grid["id"]})
    assert older.json()["device"] == [grid]
    assert is_error(caller.call("GET", "device", params={"page": 1}), 400)


def test_roles_monitors_and_companies_tell_who_may_what(caller):
    roles = caller.call("POST", "role/query", json={}).json()["role"]
    assert [role["id"] for role in roles] == [210, 344, 345]
    rights = {"roleManagement", "userManagement", "viewManagement", "deviceManagement"}
    rights |= {"reportManagement", "alarmManagement"}
    for role in roles:
        assert set(role["selfRights"]) == set(role["userRights"]) == rights
    monitors = caller.call("POST", "role/*/monitors/query", json={}).json()["monitors"]
    assert len({monitor["id"] for monitor in monitors}) == len(monitors) == 5 + 2 * 2
    assert {m["roleId"] for m in monitors if m["monitorManagement"]} == {210}
    one = caller.call("POST", "role/344/monitors/query", json={}).json()["monitors"]
    assert [set(monitor["edits"]) for monitor in one] == [{"name", "location"}] * 2
    device_id = caller.device(OTHER_GRID)["id"]
    filtered = {"filter": {"deviceId": [device_id]}}
    some = caller.call("POST", "role/344,345/monitors/query", json=filtered).json()["monitors"]
    assert [monitor["roleId"] for monitor in some] == [344, 345]
    companies = caller.call("GET", "company").json()["company"]
    assert [(each["id"], "uuid" in each) for each in companies] == [(31, True), (47, False)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("role/query", {"page": 1}),
        ("role/query", {"filter": {"id": 5}}),
        ("role/x/monitors/query", {}),
        ("role/*/monitors/query", {"filter": {"roleId": [1]}}),
    ],
)
def test_misspelled_role_query_is_answered_400(caller, path, body):
    assert is_error(caller.call("POST", path, json=body), 400)


# -- what is changed -------------------------------------------------------------------------


def test_modes_replace_overwrite_or_merge(editor):
    before = editor.device(EV)
    info = before["properties"]["info"]
    merged = _put(editor, EV, {"info": {"model": "X", "options": [1]}}, params={"mode": "merge"})
    assert merged.json()["device"]["properties"]["info"] == info | {"model": "X", "options": [1]}
    again = _put(editor, EV, {"info": {"options": [2]}}, params={"mode": "merge"})
    assert again.json()["device"]["properties"]["info"]["options"] == [2]
    legacy = _put(editor, EV, {"info": {"model": "Y"}}).json()["device"]
    assert legacy["properties"] == before["properties"] | {"info": {"model": "Y"}}
    whole = {"nodeId": EV, "nodeType": "evCharger", "name": "Box"}
    strict = _put(editor, EV, whole, params={"mode": "strict", "validate": "true"}).json()["device"]
    assert strict["properties"] == whole
    assert editor.device(EV) == strict
    stamps = [each["lastUpdate"] for each in (before, merged.json()["device"], legacy, strict)]
    assert stamps == sorted(set(stamps))


def test_change_invalidates_the_skip_hash(editor):
    def skip_hash() -> str:
        stamps = [d["lastUpdate"] for d in sorted(editor.devices(), key=lambda d: d["id"])]
        return base64.b64encode(hashlib.sha256("".join(stamps).encode()).digest()).decode()

    before = skip_hash()
    assert _put(editor, PV, {"name": "Roof"}).status_code == 200
    assert skip_hash() != before
    answer = editor.call("POST", "device/query", json={"skipHash": before})
    assert answer.status_code == 200


def test_update_of_an_outdated_device_is_answered_412(editor):
    last = datetime.fromisoformat(editor.device(GRID)["lastUpdate"])
    stamps = (
        last.isoformat(),
        last.isoformat().replace("+00:00", "Z"),
        format_datetime(last, usegmt=True),
    )
    for since in stamps:
        unchanged = {"If-Unmodified-Since": since}
        last = editor.device(GRID)["lastUpdate"]
        headers = {"If-Unmodified-Since": last}
        assert _put(editor, GRID, {"name": since}, headers=headers).status_code == 200
        assert is_error(_put(editor, GRID, {"name": "late"}, headers=unchanged), 412)
    assert editor.device(GRID)["properties"]["name"] == stamps[-1]
    moment = datetime.fromisoformat(editor.device(GRID)["lastUpdate"])
    date = format_datetime(moment, usegmt=True)
    assert _put(editor, GRID, {}, headers={"If-Unmodified-Since": date}).status_code == 200
    early = format_datetime(moment - timedelta(seconds=1), usegmt=True)
    patch = [{"op": "replace", "path": "/name", "value": "late"}]
    path = f"device/{editor.device(GRID)['id']}"
    headers = {"If-Unmodified-Since": early}
    assert is_error(editor.call("PATCH", path, json=patch, headers=headers), 412)


@pytest.mark.parametrize(
    "options",
    [
        {"params": {"mode": "overwrite"}},
        {"params": {"validate": "yes"}},
        {"headers": {"If-Unmodified-Since": "yesterday"}},
        {"headers": {"If-Unmodified-Since": "2025-01-01T00:00:00"}},
    ],
)
def test_misspelled_update_is_answered_400(editor, options):
    assert is_error(_put(editor, GRID, {"name": "x"}, **options), 400)


def test_body_or_result_that_is_no_device_is_answered_400(editor):
    device_id = editor.device(GRID)["id"]
    for body in ({}, {"properties": []}, {"properties": {}, "id": 1}):
        assert is_error(editor.call("PUT", f"device/{device_id}", json=body), 400)
    for name in ("one", "9" * 5000):
        assert is_error(editor.call("PUT", f"device/{name}", json={"properties": {}}), 400)
    assert is_error(editor.call("PUT", f"device/{device_id}", content=b"[" * 100_000), 400)
    assert is_error(editor.call("PATCH", f"device/{device_id}", json=[{"op": "x", "": 1}]), 400)
    assert is_error(_put(editor, GRID, {"nodeType": ""}), 400)
    assert is_error(_put(editor, GRID, {"info": "no"}, params={"validate": "true"}), 400)
    assert _put(editor, PV, {"location": "loose"}).status_code == 200


def test_edits_of_several_roles_cover_an_update_together(editor):
    rights = editor.device(OTHER_GRID)["userRights"]
    assert rights["monitorManagement"] is False
    editable = {key for key, may in rights["propertyEditabilities"].items() if may}
    assert editable == {"name", "info"}
    both = {"name": "Hall", "info": {"model": "Z"}}
    assert _put(editor, OTHER_GRID, both).status_code == 200
    message = "User does not have sufficient rights"
    assert is_error(_put(editor, OTHER_GRID, {"nodeType": "x"}), 403, message)
    assert is_error(_put(editor, OTHER_GRID, both, params={"mode": "strict"}), 403, message)
    assert is_error(editor.call("PUT", "device/1", json={"properties": {}}), 403, message)
    path = f"device/{editor.device(OTHER_GRID)['id']}"
    allowed = [{"op": "replace", "path": "/info/model", "value": "W"}]
    assert editor.call("PATCH", path, json=allowed).status_code == 200
    for forbidden in (
        [{"op": "remove", "path": "/nodeChildrenIds"}],
        [{"op": "move", "from": "/nodeType", "path": "/name"}],
        [{"op": "replace", "path": "", "value": {}}],
    ):
        assert is_error(editor.call("PATCH", path, json=forbidden), 403, message)
    assert editor.device(OTHER_GRID)["properties"]["info"] == {"model": "W"}


def test_patch_changes_one_item_or_nothing(editor):
    path = f"device/{editor.device(CONTROLLER)['id']}"
    patch = [
        {"op": "test", "path": "/location/timezone", "value": "Europe/Brussels"},
        {"op": "add", "path": "/location/city", "value": "Ghent"},
        {"op": "add", "path": "/labels", "value": ["old"]},
        {"op": "add", "path": "/labels/-", "value": "new"},
    ]
    changed = editor.call("PATCH", path, json=patch).json()["device"]["properties"]
    assert changed["location"] == {"timezone": "Europe/Brussels", "city": "Ghent"}
    assert changed["labels"] == ["old", "new"]
    half = [{"op": "remove", "path": "/location"}, {"op": "test", "path": "/name", "value": "?"}]
    assert is_error(editor.call("PATCH", path, json=half), 422)
    assert editor.device(CONTROLLER)["properties"] == changed
    whole = [{"op": "replace", "path": "", "value": 5}]
    assert is_error(editor.call("PATCH", path, json=whole), 422)
    for misspelled in ({}, [5], [{"op": "plus", "path": "/a"}], [{"op": "add", "path": "/a"}]):
        assert is_error(editor.call("PATCH", path, json=misspelled), 400)


# -- JSON Patch ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        # The examples of RFC 6902, appendix A.
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": 1}, {"foo": "bar", "baz": 1}),
        ({"foo": [1, 3]}, {"op": "add", "path": "/foo/1", "value": 2}, {"foo": [1, 2, 3]}),
        ({"a": 1, "b": 2}, {"op": "remove", "path": "/a"}, {"b": 2}),
        ({"a": [1, 2, 3]}, {"op": "remove", "path": "/a/1"}, {"a": [1, 3]}),
        ({"a": 1}, {"op": "replace", "path": "/a", "value": 2}, {"a": 2}),
        ({"a": [1, 2]}, {"op": "replace", "path": "/a/0", "value": 0}, {"a": [0, 2]}),
        (
            {"foo": {"bar": 1}, "qux": {}},
            {"op": "move", "from": "/foo/bar", "path": "/qux/thud"},
            {"foo": {}, "qux": {"thud": 1}},
        ),
        ({"a": [1, 2, 3]}, {"op": "move", "from": "/a/0", "path": "/a/2"}, {"a": [2, 3, 1]}),
        ({"a": {"b": [1]}}, {"op": "copy", "from": "/a/b", "path": "/c"}, None),
        ({"~/": 9}, {"op": "test", "path": "/~0~1", "value": 9.0}, {"~/": 9}),
        ({"a": 1}, {"op": "add", "path": "", "value": [2]}, [2]),
    ],
)
def test_patch_does_what_the_rfc_says(document, operation, result):
    expected = {"a": {"b": [1]}, "c": [1]} if result is None else result
    touched([operation])
    assert apply_patch(document, [operation]) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/baz/bat", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/list/3", "value": 1},
        {"op": "remove", "path": "/list/-"},
        {"op": "remove", "path": "/nothing"},
        {"op": "replace", "path": "/nothing", "value": 1},
        {"op": "test", "path": "/one", "value": True},
        {"op": "test", "path": "/one", "value": "1"},
        {"op": "move", "from": "/deep", "path": "/deep/er"},
        {"op": "add", "path": "/one/x", "value": 1},
    ],
)
def test_patch_that_does_not_fit_is_unprocessable(operation):
    document = {"list": [1, 2], "one": 1, "deep": {"er": 1}}
    with pytest.raises(RefusedError) as refused:
        apply_patch(document, [operation])
    assert refused.value.status == 422
    assert document == {"list": [1, 2], "one": 1, "deep": {"er": 1}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=12, deadline=None)
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3), st.text(max_size=3), JSON)
def test_what_a_patch_adds_another_takes_away(document, key, value):
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    add = {"op": "add", "path": path, "value": value}
    added = apply_patch(document, [add, {"op": "test", "path": path, "value": value}])
    assert touched([add]) == {key}
    taken = apply_patch(added, [{"op": "remove", "path": path}])
    assert taken == {name: each for name, each in document.items() if name != key}
