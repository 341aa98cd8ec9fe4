"""Lists of small objects: when one is complete, and that odd members cost no row."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall, RequestLog
from energy_etl.vendors import Listing, VendorBatch
from energy_etl.vendors.wattsense.client import WattsenseClient
from energy_etl.vendors.wattsense.names import ALIASES
from energy_etl.vendors.wattsense.rows import to_batch
from energy_etl.vendors.wattsense.settings import WattsenseSettings
from energy_etl.vendors.wattsense.tables import (
    CONFIGURATION,
    DEVICE,
    DEVICE_SUBSCRIPTION,
    EQUIPMENT,
    ORGANIZATION,
)
from energy_etl.vendors.wattsense.tables_access import API_KEY, CREDENTIAL, ROLE, ROLE_GRANT
from energy_etl.vendors.wattsense.wire import MAX_TIMESTAMP_MS, parse_day, parse_instant
from energy_etl_tests.rest.raw_server import RawServer, answer

AT = datetime(2025, 4, 15, tzinfo=UTC)


def _call(endpoint: str, sent: Any, **params: Any) -> RawCall:
    body = b"" if sent is None else json.dumps(sent).encode()
    return RawCall("r", "wattsense", endpoint, params, 200 if body else 204, body, AT)


def _listing(batch: VendorBatch) -> tuple[list[Any], bool]:
    """The ids of a batch's keys, and whether what is missing has vanished."""
    (write,) = batch.writes
    assert isinstance(write.how, Listing)
    assert write.how.at == AT
    return write.frame["api_key_id_wattsense"].to_list(), write.how.scopes.height == 1


KEY = {"apiKeyId": "k-1"}


@pytest.mark.parametrize(
    ("calls", "ids", "is_whole"),
    [
        ([_call("apiKeys", [KEY], page=0, is_last=True)], ["k-1"], True),
        ([_call("apiKeys", None, page=0, is_last=True)], [], True),
        (
            [
                _call("apiKeys", [KEY], page=0),
                _call("apiKeys", [{"apiKeyId": 2}, KEY], page=1, is_last=True),
            ],
            ["2", "k-1"],
            True,
        ),
        ([_call("apiKeys", [KEY], page=0)], ["k-1"], False),
        ([_call("apiKeys", [KEY], page=1, is_last=True)], ["k-1"], False),
        ([_call("apiKeys", [KEY, {"name": "x"}], page=0, is_last=True)], ["k-1"], False),
        ([_call("apiKeys", {"keys": [KEY]}, page=0, is_last=True)], [], False),
    ],
    ids=["one page", "204", "two pages", "last missing", "first missing", "bad row", "no list"],
)
def test_what_is_missing_has_vanished_only_from_a_complete_listing(
    calls: list[RawCall], ids: list[str], is_whole: bool
) -> None:
    assert _listing(to_batch(calls)) == (ids, is_whole)


def test_one_nan_in_a_list_had_cost_the_whole_list() -> None:
    body = b'[{"propertyId":"p-1","scaledPayload":NaN,"deviceId":"B1"},{"deviceId":"B2"}]'
    call = RawCall("r", "wattsense", "devices", {"page": 0, "is_last": True}, 200, body, AT)
    batch = to_batch([call])
    assert batch.frame(DEVICE)["device_id_wattsense"].to_list() == ["B1", "B2"]
    assert not batch.problems


def test_list_that_goes_on_is_followed_to_its_end(tmp_path: Path) -> None:
    pages = [
        answer(body=b'[{"deviceId":"B1"}]', headers={"Link": '</v1/devices?page=1>; rel="next"'}),
        answer(body=b'[{"deviceId":"B2"}]'),
    ]
    log = RequestLog("wattsense")
    with RawServer.answering(*pages) as server:
        section = WattsenseSettings.model_validate(
            {"base_url": server.url, "api_key": "k", "api_secret": "secret"}
        )
        with WattsenseClient(section, log=log, state_path=tmp_path / "state") as client:
            client.fetch_devices()
        targets = [each.target for each in server.received]
    assert targets == ["/v1/devices", "/v1/devices?page=1"]
    batch = to_batch(log.calls())
    assert batch.frame(DEVICE)["device_id_wattsense"].to_list() == ["B1", "B2"]
    scopes = [w.how.scopes.height for w in batch.writes if isinstance(w.how, Listing)]
    assert scopes == [1]


@pytest.mark.parametrize("name", ALIASES["device_group_id"])
@pytest.mark.parametrize("account", ALIASES["organization_id"])
def test_box_with_any_generation_of_names_is_the_same_row(name: str, account: str) -> None:
    # A null under a newer name must not hide what an older one says.
    sent = dict.fromkeys((*ALIASES["device_group_id"], *ALIASES["organization_id"]))
    sent |= {"deviceId": "B1", account: "o-1", name: "g-1"}
    sent |= {"deviceSubscription": {"ratePlan": "BASIC"}}
    batch = to_batch([_call("devices", [sent], page=0, is_last=True)])
    columns = ["organization_id_wattsense", "device_group_id_wattsense"]
    assert batch.frame(DEVICE).select(columns).rows() == [("o-1", "g-1")]
    subscription = batch.frame(DEVICE_SUBSCRIPTION).row(0, named=True)
    assert (subscription["rate_plan"], subscription["is_suspended"]) == ("BASIC", None)


def test_subscription_of_a_box_says_whether_it_is_suspended() -> None:
    sent = {
        "status": "suspended",
        "ratePlan": "PRO",
        "startDate": "2023-12-01T10:00:00+05:00",
        "endDate": 1_735_689_600_000,
        "autoRenew": False,
        "yearly": True,
        "managedByWattsense": True,
        "updatedBy": "somebody",
        "updatedAt": "2024-01-02T00:00:00Z",
        "addons": ["x"],
        "options": [],
    }
    device = {"deviceId": "B1", "deviceSubscription": sent}
    frame = to_batch([_call("devices", [device], page=0)]).frame(DEVICE_SUBSCRIPTION)
    row = frame.row(0, named=True)
    assert row["is_suspended"] is True
    assert (row["start_on"], row["end_on"]) == (date(2023, 12, 1), date(2025, 1, 1))
    assert row["updated_at"] == datetime(2024, 1, 2, tzinfo=UTC)
    assert (row["addons"], row["options"]) == ('["x"]', "[]")
    assert "somebody" not in str(row)


def test_equipments_are_those_of_the_current_configuration() -> None:
    def config(revision: int, status: str) -> dict[str, Any]:
        equipment = {"equipmentId": f"e{revision}", "config": {"protocol": "LORAWAN_V1_0"}}
        return {"revisionId": revision, "status": status, "equipments": [equipment]}

    sent = [config(3, "DRAFT"), config(2, "CURRENT"), config(1, "ARCHIVED")]
    batch = to_batch([_call("configs", sent, device_id="B1")])
    assert batch.frame(EQUIPMENT)["equipment_id_wattsense"].to_list() == ["e2"]
    assert batch.frame(EQUIPMENT)["protocol"].to_list() == ["LORAWAN_V1_0"]
    assert batch.frame(CONFIGURATION)["revision_id_wattsense"].to_list() == ["3", "2", "1"]
    assert batch.frame(CONFIGURATION)["n_equipments"].to_list() == [1, 1, 1]


@pytest.mark.parametrize("info", [None, {}, {"city": None}, [], ""])
def test_information_in_which_nothing_stands_is_not_there(info: object) -> None:
    sent = {"organizationId": "o", "shippingInfo": info, "contactInfo": {"email": "[redacted]"}}
    row = to_batch([_call("organizations", [sent])]).frame(ORGANIZATION).row(0, named=True)
    assert (row["has_shipping_info"], row["has_contact_info"]) == (False, True)
    odd = {"organizationId": "o", "shippingInfo": "see the contract"}
    row = to_batch([_call("organizations", [odd])]).frame(ORGANIZATION).row(0, named=True)
    assert (row["has_shipping_info"], row["shipping_city"]) == (True, None)


def test_roles_and_privileges_are_read_as_texts_and_as_objects() -> None:
    roles = [{"roleId": "r", "privileges": [{"name": "B"}, "A", "A"]}, {"roleId": "s"}]
    users = [{"userId": "u", "accountId": "o", "accountRoles": ["r", {"roleId": 7}]}]
    batch = to_batch([_call("roles", roles), _call("users", users)])
    assert batch.frame(ROLE)["privileges"].to_list() == [["A", "B"], []]
    grants = batch.frame(ROLE_GRANT).select("role_id_wattsense", "organization_id_wattsense")
    assert grants.rows() == [("r", "o"), ("7", "o")]


@pytest.mark.parametrize("sent", [{"name": "nobody"}, {"userId": ""}])
def test_caller_who_is_nobody_goes_to_quarantine(sent: dict[str, str]) -> None:
    batch = to_batch([_call("user", sent, page=0, is_last=True)])
    assert batch.frame(CREDENTIAL).is_empty()
    assert batch.quarantine.height == 1


def test_current_user_that_is_a_list_is_a_problem_by_name() -> None:
    batch = to_batch([_call("user", [{"userId": "u"}])])
    (problem,) = batch.problems
    assert isinstance(problem.error, MalformedError)
    assert "no JSON object" in str(problem.error)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from(["name", "level", "userId", "createdAt", "new"]), JSON))
def test_whatever_stands_in_a_key_it_is_a_row_or_in_quarantine(members: dict[str, Any]) -> None:
    batch = to_batch([_call("apiKeys", [{"apiKeyId": "k"} | members], page=0, is_last=True)])
    assert batch.frame(API_KEY).height + batch.quarantine.height == 1
    assert not batch.problems


@settings(max_examples=40, deadline=None)
@given(JSON | st.integers(0, MAX_TIMESTAMP_MS) | st.datetimes().map(str))
def test_instant_is_read_or_null_and_never_an_error(value: object) -> None:
    instant = parse_instant(value)
    assert instant is None or (instant.tzinfo is UTC and 1969 <= instant.year <= 2101)
    day = parse_day(value)
    assert day is None or 1969 <= day.year <= 2101


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        (1_700_000_000_123, datetime(2023, 11, 14, 22, 13, 20, 123000, UTC)),
        ("2023-12-01T09:00:00Z", datetime(2023, 12, 1, 9, tzinfo=UTC)),
        ("2023-12-01T09:00:00+02:00", datetime(2023, 12, 1, 7, tzinfo=UTC)),
        ("2023-12-01T09:00:00", datetime(2023, 12, 1, 9, tzinfo=UTC)),
        (1_700_000_000_000_000, None),
        (True, None),
        ("soon", None),
        ("0001-01-01", None),
    ],
)
def test_instant_comes_as_milliseconds_or_as_iso_text(
    value: object, instant: datetime | None
) -> None:
    assert parse_instant(value) == instant


def test_lone_surrogate_in_a_name_lost_the_whole_fetch() -> None:
    devices = [{"deviceId": "d-1", "name": "\ud800 north"}, {"deviceId": "d-2", "name": "south"}]
    batch = to_batch([_call("devices", devices, page=0, is_last=True)])
    assert batch.frame(DEVICE)["name"].to_list() == ["? north", "south"]
