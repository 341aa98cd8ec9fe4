"""Writing calls of SmartgridOne: planned from the state, sent once, told by what stands there."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import (
    ConfigurationError,
    MalformedError,
    NotFoundError,
    UnavailableError,
    VendorError,
)
from energy_etl.rest import RawCall, RequestLog
from energy_etl.sandbox import SandboxServer
from energy_etl.sandbox.smartgridone import SmartgridOne
from energy_etl.vendors.smartgridone import VENDOR
from energy_etl.vendors.smartgridone.change_calls import (
    carry_out,
    make_plan,
    note_plan,
    read_licences,
    told,
)
from energy_etl.vendors.smartgridone.change_rows import change_row
from energy_etl.vendors.smartgridone.change_tables import CHANGE
from energy_etl.vendors.smartgridone.changes import (
    AT_THE_CALL,
    ActivateLicense,
    ClaimLicense,
    Plan,
    UpdateDevice,
    Wish,
    changed_properties,
    plan_activation,
    plan_claim,
    plan_update,
)
from energy_etl.vendors.smartgridone.client import SmartgridOneClient
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings, sandbox_section
from energy_etl.vendors.smartgridone.states import (
    DeviceState,
    LicenceState,
    controllers_of,
    count_unreadable,
    customers_of,
    licence_states,
)
from energy_etl.vendors.smartgridone.wire import License
from energy_etl_tests.vendors.extracting import fault, requests_seen, running_sandbox

ADDRESS = "https://api.example"
AT = datetime(2025, 4, 1, 8, 0, tzinfo=UTC)
NODE = "SGO-1"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """One sandbox of this module: each test that changes something takes a thing of its own."""
    with running_sandbox() as sandbox:
        yield sandbox


class Caller:
    """A client whose calls are those of one change."""

    def __init__(self, client: SmartgridOneClient) -> None:
        self.client = client

    def controllers(self) -> list[str]:
        """Return the node ids of the controllers."""
        self.client.fetch_devices()
        return controllers_of(self.client.log.calls())

    def do(self, wish: Wish, plan: Plan | None = None) -> tuple[Mapping[str, Any], str, list]:
        """Plan and carry out; return the row, the sentence and the calls."""
        log = self.client.log
        made = make_plan(self.client, wish)
        note_plan(log, plan or made, change_id="c-1", asked_by="somebody")
        failed = carry_out(self.client, plan or made, wish)
        row = change_row(log.calls())
        assert row is not None
        return row, told(row, failed), log.calls()


@contextmanager
def calling(sandbox: SandboxServer, folder: Path, **settings: Any) -> Iterator[Caller]:
    section = SmartgridOneSettings.model_validate(sandbox_section(sandbox.url) | settings)
    log = RequestLog("smartgridone", is_change=True)
    with SmartgridOneClient(
        section, log=log, state_path=folder / "state.sqlite", token_folder=folder / "tokens"
    ) as client:
        yield Caller(client)


@pytest.fixture
def caller(sandbox: SandboxServer, tmp_path: Path) -> Iterator[Caller]:
    with calling(sandbox, tmp_path) as caller:
        yield caller


def licences_of(sandbox: SandboxServer, folder: Path) -> list[LicenceState]:
    with calling(sandbox, folder) as caller:
        assert read_licences(caller.client) == []
        return licence_states(caller.client.log.calls())


def fresh_key(sandbox: SandboxServer, folder: Path, *, is_claimed: bool) -> str:
    """Return the key of a licence that nobody activated."""
    return next(
        str(each.key)
        for each in licences_of(sandbox, folder)
        if each.activation_at is None and bool(each.controllers) is is_claimed
    )


def a_licence(**changes: Any) -> LicenceState:
    told_of = {"id": "l-1", "key": "KEY-1", "type": "residential", "duration": 365}
    state = changes.pop("controllers", ())
    return LicenceState(License.model_validate(told_of | changes), controllers=state)


def a_device(**changes: Any) -> DeviceState:
    properties = {"nodeId": NODE, "name": "Box", "info": {"model": "M1", "serialNumber": "7"}}
    device = DeviceState(5, NODE, properties, frozenset({"name", "info"}), False, AT)
    return replace(device, **changes)


# --- plans ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("strict", {"info": {"model": "M2"}}),
        ("legacy", {"nodeId": NODE, "name": "Box", "info": {"model": "M2"}}),
        ("merge", {"nodeId": NODE, "name": "Box", "info": {"model": "M2", "serialNumber": "7"}}),
    ],
)
def test_mode_decides_what_becomes_of_the_other_properties(mode: Any, expected: dict) -> None:
    assert changed_properties(mode, a_device().properties, {"info": {"model": "M2"}}) == expected


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers()),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_PROPERTIES = st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3)


@settings(max_examples=15, deadline=None)
@given(_PROPERTIES, _PROPERTIES)
def test_any_mode_again_changes_nothing_more_and_merge_keeps_what_is_not_given(
    present: dict, given_ones: dict
) -> None:
    before = json.dumps(present)
    for mode in ("strict", "legacy", "merge"):
        once = changed_properties(mode, present, given_ones)
        assert changed_properties(mode, once, given_ones) == once
        assert set(given_ones) <= set(once)
    merged = changed_properties("merge", present, given_ones)
    assert {n: v for n, v in merged.items() if n not in given_ones} == {
        n: v for n, v in present.items() if n not in given_ones
    }
    assert json.dumps(present) == before


def test_plan_hash_changes_with_the_call_and_with_the_state_it_was_made_of() -> None:
    wish = UpdateDevice(NODE, {"name": "Cellar"})
    plan = plan_update(wish, a_device(), ADDRESS)
    assert plan.plan_hash == plan_update(wish, a_device(), ADDRESS).plan_hash
    others = [
        plan_update(UpdateDevice(NODE, {"name": "Attic"}), a_device(), ADDRESS),
        plan_update(replace(wish, mode="strict"), a_device(), ADDRESS),
        plan_update(replace(wish, is_validated=True), a_device(), ADDRESS),
        plan_update(wish, a_device(properties={"name": "Shed"}), ADDRESS),
        plan_update(wish, a_device(updated_at=AT + timedelta(milliseconds=1)), ADDRESS),
        plan_update(wish, a_device(), "https://api.other"),
    ]
    assert len({plan.plan_hash, *(other.plan_hash for other in others)}) == 1 + len(others)


def test_update_plan_shows_only_what_is_touched_and_what_guards_it() -> None:
    wish = UpdateDevice(NODE, {"name": "Cellar", "location": {"lat": 1}}, is_validated=False)
    plan = plan_update(wish, a_device(), ADDRESS)
    assert (plan.method, plan.target) == ("PUT", "/v1/device/5?mode=merge&validate=false")
    assert plan.before == {"name": "Box"}
    assert plan.after == {"name": "Cellar", "location": {"lat": 1}}
    lines = "\n".join(plan.lines())
    assert "If-Unmodified-Since: 2025-04-01T08:00:00.000Z" in lines
    assert 'name: "Box" -> "Cellar"' in lines
    assert 'location: (none) -> {"lat": 1}' in lines
    assert "location as editable: SmartgridOne may answer 403" in lines
    allowed = plan_update(wish, a_device(has_monitor_management=True), ADDRESS)
    assert allowed.remarks == ()
    unguarded = plan_update(wish, a_device(updated_at=None), ADDRESS)
    assert unguarded.headers == {}
    assert "nothing guards it" in " ".join(unguarded.remarks)


def test_strict_plan_names_what_would_be_lost() -> None:
    plan = plan_update(UpdateDevice(NODE, {"name": "Box"}, "strict"), a_device(), ADDRESS)
    assert plan.objection is None
    assert "strict removes what is not given: info, nodeId" in plan.remarks


def test_what_is_so_already_is_not_worth_calling() -> None:
    assert plan_update(UpdateDevice(NODE, {"name": "Box"}), a_device(), ADDRESS).objection
    active = a_licence(activationDate="2025-01-01T00:00:00Z", controllers=("SGO-9",))
    activation = plan_activation(ActivateLicense("KEY-1"), [active], ADDRESS, ())
    assert activation.objection == "it is active since 2025-01-01T00:00:00.000Z already"
    claim = plan_claim(ClaimLicense("KEY-1", NODE), [active], ADDRESS, ())
    assert claim.objection == "it is claimed for SGO-9 already"
    linked = replace(a_licence(), n_datalinks=1)
    hidden = plan_claim(ClaimLicense("KEY-1", NODE), [linked], ADDRESS, ())
    assert "this account does not see" in str(hidden.objection)


def test_licence_that_nobody_sees_is_planned_with_a_remark() -> None:
    plan = plan_activation(ActivateLicense("KEY-2", AT), [a_licence()], ADDRESS, ("r",))
    assert plan.before is None
    assert plan.body == {"key": "KEY-2", "activationIso": "2025-04-01T08:00:00.000Z"}
    assert plan.after == {"activation_at": "2025-04-01T08:00:00.000Z"}
    assert plan.remarks[0] == "r"
    assert "before: this account does not see it" in plan.lines()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (UpdateDevice(NODE, {}), "--set name=value"),
        (UpdateDevice(NODE, {"limit": math.nan}), "cannot be written as JSON"),
        (UpdateDevice(NODE, {"info": {"limit": [math.inf]}}), "cannot be written as JSON"),
        (UpdateDevice(NODE, {"name": "\ud800"}), "cannot be written as JSON"),
        (UpdateDevice("\udcff", {"name": "x"}), "cannot be written as JSON"),
        (ClaimLicense("KEY-1", "\udcff"), "cannot be written as JSON"),
        (ActivateLicense(""), "1 to 50 characters"),
        (ClaimLicense("k" * 51, NODE), "1 to 50 characters"),
    ],
)
def test_wish_that_could_not_be_sent_as_shown_is_refused_before_anything_is_recorded(
    caller: Caller, wish: Wish, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make_plan(caller.client, wish)
    assert not caller.client.log.calls()


# --- what came of it --------------------------------------------------------------------------


def a_call(number: int, endpoint: str, status: int, body: Any, **params: Any) -> RawCall:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    params = {"is_change": True, **params}
    at = AT + timedelta(seconds=number)
    return RawCall(f"r-{number}", "smartgridone", endpoint, params, status, text, at)


def calls_of_a_claim(status: int, answer: Any, controllers: list[str] | None) -> list[RawCall]:
    """Return the calls of a claim for `NODE`; the licence is then listed by `controllers`."""
    wish = ClaimLicense("KEY-1", NODE)
    plan = plan_claim(wish, [a_licence()], ADDRESS, ())
    record = {
        "change_id": "c-1",
        "action": plan.action,
        "subject": plan.subject,
        "asked_by": "somebody",
        "plan_hash": plan.plan_hash,
        "method": plan.method,
        "url": plan.address + plan.target,
        "body": plan.body,
        "before": plan.before,
        "planned": plan.after,
    }
    calls = [
        a_call(0, "company", 200, {"company": []}, change=record),
        a_call(1, "license/claim", status, answer),
    ]
    licences = {"licenses": [{"id": "l-1", "key": "KEY-1"}]}
    for number, node_id in enumerate(controllers or (), start=2):
        calls.append(a_call(number, "license/controller", 200, licences, node_id=node_id))
    if controllers == []:
        calls.append(a_call(2, "license/customer", 200, licences, customer_id="u"))
    return calls


@pytest.mark.parametrize(
    ("status", "answer", "controllers", "outcome"),
    [
        (200, {"success": True}, [NODE], "done"),
        (200, {"success": True}, None, "done"),
        (200, {"success": False}, [], "refused"),
        (400, {"message": "claimed"}, ["SGO-2"], "refused"),
        (429, {"message": "later"}, [], "refused"),
        (503, b"", [NODE], "done"),
        (503, b"", [], "not_done"),
        (0, b"", [NODE, "SGO-2"], "done"),
        (0, b"", ["SGO-2"], "not_done"),
        (0, b"", None, "unknown"),
        (408, b"", [], "not_done"),
    ],
)
def test_outcome_is_judged_by_the_answer_and_without_one_by_the_state(
    status: int, answer: Any, controllers: list[str] | None, outcome: str
) -> None:
    row = change_row(calls_of_a_claim(status, answer, controllers))
    assert row is not None
    assert row["outcome"] == outcome
    assert row["status"] == (status or None)
    assert told(row, UnavailableError("timed out")).startswith("SmartgridOne ")


@pytest.mark.parametrize(
    ("present", "outcome"),
    [({"phone": "[redacted]"}, "unknown"), ({}, "done"), ({"phone": "[redacted]", "n": 1}, "done")],
)
def test_change_of_a_redacted_property_is_not_taken_for_done(present: dict, outcome: str) -> None:
    planned = {"phone": "[redacted]"} | ({"n": 2} if "n" in present else {})
    record = {"change_id": "c", "action": "update_device", "subject": NODE, "asked_by": "somebody"}
    record |= {"plan_hash": "h", "method": "PUT", "url": ADDRESS, "body": {"properties": planned}}
    record |= {"before": present, "planned": planned}
    device = {"id": 5, "properties": {"nodeId": NODE} | planned}
    calls = [
        a_call(0, "device/query", 200, {"device": []}, change=record),
        a_call(1, "device/update", 0, b""),
        a_call(2, "device/query", 200, {"device": [device]}),
    ]
    row = change_row(calls)
    assert row is not None
    assert row["outcome"] == outcome


def test_old_state_with_a_list_that_failed_leaves_the_outcome_unknown() -> None:
    calls = calls_of_a_claim(0, b"", [])
    failed = a_call(9, "license/controller", 503, b"", node_id=NODE)
    row = change_row([*calls, failed])
    assert row is not None
    assert row["outcome"] == "unknown"
    again = a_call(10, "license/controller", 200, {"licenses": []}, node_id=NODE)
    row = change_row([*calls, failed, again])
    assert row is not None
    assert row["outcome"] == "not_done"


def test_process_that_ended_before_the_answer_leaves_a_change_of_unknown_outcome() -> None:
    row = change_row(calls_of_a_claim(200, {}, None)[:1])
    assert row is not None
    assert (row["outcome"], row["status"], row["request_id"]) == ("unknown", None, None)
    batch = VENDOR.to_batch and VENDOR.to_batch(calls_of_a_claim(200, {}, None)[:1])
    assert batch is not None
    assert batch.frame(CHANGE)["change_id"].to_list() == ["c-1"]


def test_dry_run_leaves_nothing_but_its_calls() -> None:
    calls = [a_call(0, "device/query", 200, {"device": []}, is_complete=True)]
    batch = VENDOR.to_batch and VENDOR.to_batch(calls)
    assert batch is not None
    assert batch.writes == []


def test_device_that_cannot_be_read_hides_no_controller_from_a_plan() -> None:
    good = {"id": 1, "properties": {"nodeId": NODE, "nodeType": "smartgridController"}}
    calls = [
        a_call(0, "device/query", 200, {"device": [{"id": 2, "properties": {"info": []}}, good]}),
        a_call(1, "company", 200, {"company": [{"name": "no id"}, {"id": 1, "uuid": "u-1"}]}),
    ]
    assert (controllers_of(calls), customers_of(calls)) == ([NODE], ["u-1"])
    assert count_unreadable(calls) == 2


def test_list_that_cannot_be_read_stops_the_plan() -> None:
    for body in (b"{", {"licenses": [1]}, {"license": []}, {"licenses": [{"key": "K"}]}):
        with pytest.raises(MalformedError, match="nothing was changed"):
            licence_states([a_call(0, "license/controller", 200, body, node_id=NODE)])


# --- against the sandbox ----------------------------------------------------------------------


def test_activation_is_done_once_and_read_back(
    caller: Caller, sandbox: SandboxServer, tmp_path: Path
) -> None:
    key = fresh_key(sandbox, tmp_path, is_claimed=True)
    wish = ActivateLicense(key)
    plan = make_plan(caller.client, wish)
    assert plan.before is not None
    assert plan.before["activation_at"] is None
    assert plan.after["activation_at"] == AT_THE_CALL
    row, sentence, calls = caller.do(wish)
    assert (row["outcome"], row["status"], row["asked_by"]) == ("done", 200, "somebody")
    assert json.loads(row["answer"])["license"]["key"] == key
    assert json.loads(row["state_after"])["activation_at"] is not None
    assert sentence.startswith(f"SmartgridOne did activate_license of {key}: it says now ")
    assert "already" in str(make_plan(caller.client, wish).objection)
    assert [call.endpoint for call in calls].count("license/activate") == 1
    # The same row comes out of what is stored.
    requests, bodies = caller.client.log.take()
    stored = requests.join(bodies, on="body_sha256", how="left")
    kept = [RawCall.from_row(each) for each in stored.iter_rows(named=True)]
    assert change_row([call for call in kept if call.endpoint != "token"]) == row


def test_claim_links_the_licence_to_the_controller(
    caller: Caller, sandbox: SandboxServer, tmp_path: Path
) -> None:
    key = fresh_key(sandbox, tmp_path, is_claimed=False)
    node_id = caller.controllers()[0]
    row, _, _ = caller.do(ClaimLicense(key, node_id))
    assert row["outcome"] == "done"
    assert json.loads(row["state_before"])["controllers"] == []
    assert json.loads(row["state_after"])["controllers"] == [node_id]
    wrong = make_plan(caller.client, ClaimLicense(key, "nobody"))
    assert "the account sees no controller nobody" in wrong.remarks


def test_unknown_licence_is_refused_and_told(caller: Caller) -> None:
    row, sentence, _ = caller.do(ActivateLicense("NO-SUCH-KEY"))
    assert (row["outcome"], row["status"], row["state_after"]) == ("refused", 404, None)
    assert "nothing was written" in sentence
    assert "404" in sentence


def test_unknown_device_cannot_be_planned(caller: Caller) -> None:
    with pytest.raises(NotFoundError, match="sees no device sgo_nowhere"):
        make_plan(caller.client, UpdateDevice("sgo_nowhere", {"name": "x"}))


def test_device_changed_in_between_is_a_412_told_plainly(caller: Caller) -> None:
    node_id = caller.controllers()[0]
    wish = UpdateDevice(node_id, {"name": "Mine"})
    stale = make_plan(caller.client, wish)
    # Somebody else is faster.
    caller.client.update_device(int(str(stale.device_id)), {"name": "Theirs"})
    row, sentence, _ = caller.do(wish, stale)
    assert (row["outcome"], row["status"]) == ("refused", 412)
    assert json.loads(row["state_after"]) == {"name": "Theirs"}
    assert "somebody changed it after it was read" in sentence
    assert "plan again" in sentence


def test_change_by_somebody_else_within_the_second_is_not_overwritten(
    caller: Caller, sandbox: SandboxServer
) -> None:
    wish = UpdateDevice(caller.controllers()[0], {"name": "Mine, a millisecond late"})
    plan = make_plan(caller.client, wish)
    assert plan.device_id is not None
    cast(SmartgridOne, sandbox.app.vendors["smartgridone"]).fleet.devices[
        plan.device_id
    ].updated_ms += 1
    row, _, _ = caller.do(wish, plan)
    assert (row["outcome"], row["status"]) == ("refused", 412)


@pytest.mark.parametrize(
    ("kind", "outcome", "name"),
    [("drop_after", "done", "After"), ("drop_before", "not_done", "Before")],
)
def test_answer_that_never_came_is_not_asked_for_again_but_looked_up(
    caller: Caller, sandbox: SandboxServer, kind: str, outcome: str, name: str
) -> None:
    node_id = caller.controllers()[-1]
    since = max((entry["id"] for entry in requests_seen(sandbox, "smartgridone")), default=0)
    wish = UpdateDevice(node_id, {"name": name})
    plan = make_plan(caller.client, wish)
    note_plan(caller.client.log, plan, change_id="c-2", asked_by="somebody")
    path = f"/device/{plan.device_id}"
    with fault(sandbox, vendor="smartgridone", path_contains=path, kind=kind):
        failed = carry_out(caller.client, plan, wish)
    assert isinstance(failed, UnavailableError)
    row = change_row(caller.client.log.calls())
    assert row is not None
    assert (row["outcome"], row["status"]) == (outcome, None)
    assert (json.loads(row["state_after"])["name"] == name) is (outcome == "done")
    assert "gave no answer" in told(row, failed)
    puts = [e for e in requests_seen(sandbox, "smartgridone", since) if e["method"] == "PUT"]
    assert len(puts) == 1


def test_state_that_cannot_be_read_any_more_is_told_as_unknown(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    # No time for the usual attempts at reading.
    with calling(sandbox, tmp_path, total_s=0.1) as caller:
        node_id = caller.controllers()[0]
        wish = UpdateDevice(node_id, {"name": "Lost"})
        plan = make_plan(caller.client, wish)
        note_plan(caller.client.log, plan, change_id="c-3", asked_by="somebody")
        with fault(sandbox, vendor="smartgridone", kind="status", status=500, times=None):
            failed = carry_out(caller.client, plan, wish)
        row = change_row(caller.client.log.calls())
    assert isinstance(failed, VendorError)
    assert row is not None
    assert (row["outcome"], row["status"]) == ("unknown", 500)
    assert "whether it was done is not known" in told(row, failed)


def test_record_holds_no_personal_field(caller: Caller) -> None:
    node_id = caller.controllers()[0]
    wish = UpdateDevice(node_id, {"email": "someone@example.org"})
    plan = make_plan(caller.client, wish)
    note_plan(caller.client.log, plan, change_id="c-4", asked_by="somebody")
    requests, _ = caller.client.log.take()
    assert "someone@example.org" not in " ".join(requests["params"].to_list())


def test_key_of_no_length_is_refused_before_it_is_sent(caller: Caller) -> None:
    with pytest.raises(ConfigurationError, match="1 to 50"):
        carry_out(
            caller.client,
            plan_activation(ActivateLicense("k" * 51), [], ADDRESS, ()),
            ActivateLicense("k" * 51),
        )
    assert not caller.client.log.calls()
