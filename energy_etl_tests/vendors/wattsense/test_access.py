"""Who may do what: the same canonical rows of three API versions, the mart, the findings."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from energy_etl.defs.marts import tables_of
from energy_etl.errors import AuthenticationError, NotFoundError, PermissionDeniedError
from energy_etl.rest import FetchReport, RequestLog
from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.sandbox.wattsense_people import MIGRATED_AT, TENANT_ID, VERSIONS
from energy_etl.tables import Input, Table
from energy_etl.tables.mart import FINDING
from energy_etl.vendors import Listing, VendorBatch
from energy_etl.vendors.wattsense import VENDOR
from energy_etl.vendors.wattsense.access import ACCESS_FINDINGS, ACCESS_MART, compute_access, find
from energy_etl.vendors.wattsense.client import PATHS, WattsenseClient
from energy_etl.vendors.wattsense.names import manages_service_accounts, manages_users
from energy_etl.vendors.wattsense.rows import to_batch
from energy_etl.vendors.wattsense.settings import WattsenseSettings, sandbox_section
from energy_etl.vendors.wattsense.tables import DEVICE, DEVICE_SUBSCRIPTION, ORGANIZATION
from energy_etl.vendors.wattsense.tables_access import (
    ACCESS,
    ACCESS_TABLES,
    API_KEY,
    CREDENTIAL,
    ORGANIZATION_UNIT,
    ROLE,
    ROLE_GRANT,
    SERVICE_ACCOUNT,
    USER_ACCOUNT,
)
from energy_etl_tests.vendors.extracting import NOW_AT, content, replayed

Fetched = tuple[FetchReport, RequestLog]
BOOKKEEPING = {"request_id", "received_at"}


def _fetch(
    sandbox: SandboxServer, folder: Path, *, with_boxes: bool = True, **changes: Any
) -> Fetched:
    settings = WattsenseSettings.model_validate(sandbox_section(sandbox.url) | changes)
    log = RequestLog("wattsense")
    with WattsenseClient(settings, log=log, state_path=folder / "state.sqlite") as client:
        report = client.fetch_access()
        if with_boxes:
            client.fetch_organizations()
            client.fetch_devices()
    return report, log


def _frames(batch: VendorBatch, *inputs: Input) -> dict[str, pl.DataFrame]:
    """The tables as the warehouse would hold them after this batch alone."""
    return {
        table.full_name: pl.concat([table.empty_frame(), batch.frame(table)], how="diagonal")
        for table in tables_of(inputs)
    }


def _rows(batch: VendorBatch, table: Table, *without: str) -> list[dict[str, Any]]:
    left_out = BOOKKEEPING.union(without)
    frame = batch.frame(table)
    kept = [name for name in frame.columns if name not in left_out]
    return frame.select(kept).sort(kept).to_dicts()


@pytest.fixture(scope="module")
def world() -> World:
    return World(now=fixed_clock(NOW_AT))


@pytest.fixture(scope="module")
def sandbox(world: World) -> Iterator[SandboxServer]:
    with SandboxServer(world, wattsense_options={"suspended": ("rome-b",)}) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def batches(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[VendorBatch, RequestLog]]:
    """What a fetch of everybody and of the boxes brings in each version of the API."""
    found: dict[str, tuple[VendorBatch, RequestLog]] = {}
    for version in VERSIONS:
        with SandboxServer(world, wattsense_options={"api_version": version}) as sandbox:
            report, log = _fetch(sandbox, tmp_path_factory.mktemp("version"))
            assert report.sentences() == []
            batch = to_batch(log.calls())
            assert batch.quarantine.is_empty()
            assert not batch.problems
            found[version] = batch, log
    return found


@pytest.mark.parametrize(
    ("table", "without"),
    [
        (DEVICE, ("tenant_id_wattsense",)),
        (DEVICE_SUBSCRIPTION, ()),
        (USER_ACCOUNT, ()),
        (SERVICE_ACCOUNT, ()),
        (API_KEY, ()),
        (ROLE, ()),
        (ROLE_GRANT, ()),
        (CREDENTIAL, ()),
    ],
    ids=lambda each: each.name if isinstance(each, Table) else "",
)
def test_three_generations_of_names_give_the_same_canonical_rows(
    batches: dict[str, tuple[VendorBatch, RequestLog]], table: Table, without: tuple[str, ...]
) -> None:
    first, second, third = (_rows(batches[version][0], table, *without) for version in VERSIONS)
    assert first
    assert first == second == third
    # Not the same by being empty: the places are told in each of them.
    place = next((name for name in first[0] if name.startswith("organization_id")), None)
    assert place is None or all(row[place] for row in first)


def test_organizations_that_manage_others_exist_in_the_newest_version_only(
    batches: dict[str, tuple[VendorBatch, RequestLog]],
) -> None:
    tenants = [
        set(batches[version][0].frame(table)["tenant_id_wattsense"])
        for version in VERSIONS
        for table in (DEVICE, ORGANIZATION)
    ]
    assert tenants == [{None}] * 4 + [{TENANT_ID}, {None, TENANT_ID}]


def test_names_on_the_wire_are_those_of_the_version(
    batches: dict[str, tuple[VendorBatch, RequestLog]],
) -> None:
    bodies = {
        version: b"".join(call.body for call in log.calls())
        for version, (_, log) in batches.items()
    }
    marks = (b"accountId", b"subscriptionRoles", b"organizationUnitId", b"tenantId")
    found = [[mark in bodies[version] for mark in marks] for version in VERSIONS]
    assert found == [
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]


def test_units_have_shipping_billing_and_contact_and_are_gone_in_the_newest_version(
    batches: dict[str, tuple[VendorBatch, RequestLog]],
) -> None:
    first, second, third = (_rows(batches[version][0], ORGANIZATION_UNIT) for version in VERSIONS)
    assert first == second
    assert third == []
    north, south = first
    assert (north["device_group_id_wattsense"], north["name"]) == ("grp-north", "North buildings")
    assert (north["shipping_city"], north["billing_vat_number"]) == ("Roma", "VAT-north")
    assert (north["contact_name"], north["contact_language"]) == ("Front desk", "it")
    assert [north["has_contact_info"], south["has_contact_info"]] == [True, False]
    writes = [w for w in batches[VERSIONS[-1]][0].writes if w.table is ORGANIZATION_UNIT]
    (how,) = (write.how for write in writes)
    assert isinstance(how, Listing)
    # A complete and empty listing: units that stood before the upgrade have vanished.
    assert how.scopes.rows() == [("organizationUnits",)]
    with_info = {
        version: batches[version][0].frame(ORGANIZATION)["has_billing_info"].sum()
        for version in VERSIONS
    }
    assert with_info == {VERSIONS[0]: 0, VERSIONS[1]: 0, VERSIONS[2]: 2}


def test_personal_data_and_secrets_are_nowhere_in_what_is_kept(
    batches: dict[str, tuple[VendorBatch, RequestLog]],
) -> None:
    for batch, log in batches.values():
        kept = b"".join(call.body for call in log.calls()).decode() + str(content(batch))
        assert "Front desk" in kept
        for text in ("@example.org", "+39", "Via Prima", "00100", "sandbox-wattsense-secret"):
            assert text not in kept


def test_replay_of_who_may_do_what_gives_the_same_batch(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    _, log = _fetch(sandbox, tmp_path)
    live = to_batch(log.calls())
    again = to_batch(replayed(log))
    assert content(live) == content(again)
    assert [w.how.scopes.rows() for w in live.writes if isinstance(w.how, Listing)] == [
        w.how.scopes.rows() for w in again.writes if isinstance(w.how, Listing)
    ]
    assert {w.table for w in live.writes} >= set(ACCESS_TABLES)


def test_users_and_accounts_by_basic_are_read_like_by_key(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    report, log = _fetch(sandbox, tmp_path, auth="basic", api_key="", api_secret="")
    assert report.is_complete
    assert to_batch(log.calls()).frame(CREDENTIAL)["holder_id_wattsense"].to_list() == ["u-1"]


@pytest.mark.parametrize(
    "login",
    [
        {
            "api_key": "sandbox-dashboard-wattsense",
            "api_secret": "sandbox-dashboard-wattsense-secret",
        },
        {
            "auth": "basic",
            "username": "sandbox-service-basic",
            "password": "sandbox-service-secret",
        },
    ],
    ids=["key", "basic"],
)
def test_service_account_reads_boxes_and_is_refused_where_people_are_listed(
    sandbox: SandboxServer, tmp_path: Path, login: dict[str, Any]
) -> None:
    report, log = _fetch(sandbox, tmp_path, **login)
    assert sorted(report.failures) == ["API keys", "service accounts", "users"]
    for error in report.failures.values():
        assert isinstance(error, PermissionDeniedError)
        assert "a service account may not act on users" in str(error)
        assert "wattsense.read_access" in str(error)
    batch = to_batch(log.calls())
    assert batch.frame(CREDENTIAL)["holder_kind"].to_list() == ["service_account"]
    assert batch.frame(DEVICE).height == 6
    # Not asked with success: nobody has vanished.
    touched = {write.table for write in batch.writes}
    assert touched.isdisjoint({USER_ACCOUNT, SERVICE_ACCOUNT, API_KEY, ROLE_GRANT})


@pytest.mark.parametrize(
    ("username", "password"),
    [("sandbox-service", "sandbox-service-secret"), ("sandbox-user", "canary-wrong")],
)
def test_basic_that_is_refused_names_the_right_of_service_accounts(
    sandbox: SandboxServer, tmp_path: Path, username: str, password: str
) -> None:
    login: dict[str, Any] = {"auth": "basic", "username": username, "password": password}
    report, log = _fetch(sandbox, tmp_path, with_boxes=False, **login)
    error = report.stopped_by
    assert isinstance(error, AuthenticationError)
    assert len(log) == 1
    for words in ("service account", "right to use Basic is off", "switched it on", "hmac"):
        assert words in str(error)
    assert password not in f"{error} {log.take()}"
    if username == "sandbox-service":
        assert "Basic authentication is off for this service account" in str(error)


def test_list_that_this_api_does_not_have_stops_no_other(
    sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PATHS, "users", "/v1/x")
    report, log = _fetch(sandbox, tmp_path, with_boxes=False)
    (error,) = report.failures.values()
    assert isinstance(error, NotFoundError)
    assert "modelled, not verified" in str(error)
    assert to_batch(log.calls()).frame(API_KEY).height == 5
    requests, _ = log.take()
    refused = requests.filter(status=404)
    # Having no organization units is an answer, and what the version tells.
    failed = dict(refused.select("endpoint", pl.col("error").is_not_null()).iter_rows())
    assert failed == {"users": True, "organizationUnits": False}


@pytest.fixture(scope="module")
def audit(sandbox: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> VendorBatch:
    _, log = _fetch(sandbox, tmp_path_factory.mktemp("audit"))
    return to_batch(log.calls())


def test_mart_says_who_reaches_which_organization_by_which_key_and_role(
    audit: VendorBatch,
) -> None:
    assert VENDOR.marts == (ACCESS_MART,)
    frame = compute_access(_frames(audit, *ACCESS_MART.inputs), NOW_AT)
    assert frame.schema == ACCESS.polars_schema
    assert frame.select(ACCESS.key).is_duplicated().sum() == 0
    shown = frame.select(
        "holder_id_wattsense", "way", "api_key_id_wattsense", "role_id_wattsense",
        "device_group_id_wattsense", "organization_name",
    )  # fmt: skip
    assert shown.rows() == [
        ("key-5", "api_key", "key-5", None, None, "South"),
        # sa-1 has a key and no Basic, sa-2 Basic and no key; the other two have migrated keys.
        ("sa-1", "api_key", "key-2", "role-read", "grp-north", "North"),
        ("sa-2", "basic", None, "role-read", "grp-north", "North"),
        ("sa-2", "basic", None, "role-read", "grp-south", "South"),
        ("sa-3", "api_key", "key-3", "role-write", "grp-north", "North"),
        ("sa-4", "api_key", "key-4", "role-read", "grp-south", "South"),
        ("u-1", "api_key", "key-1", "role-admin", None, "Fleet"),
        ("u-1", "api_key", "key-1", "role-read", "grp-north", "North"),
        ("u-1", "api_key", "key-1", "role-read", "grp-south", "South"),
        ("u-1", "basic", None, "role-admin", None, "Fleet"),
        ("u-1", "basic", None, "role-read", "grp-north", "North"),
        ("u-1", "basic", None, "role-read", "grp-south", "South"),
        ("u-2", "basic", None, "role-write", "grp-north", "North"),
        ("u-3", "basic", None, "role-keys", None, "South"),
        ("u-3", "basic", None, "role-read", "grp-south", "South"),
    ]
    managing = frame.filter(pl.col("has_user_management"))
    assert set(managing["holder_id_wattsense"]) == {"u-1"}
    makers = frame.filter(pl.col("has_service_account_management"))
    assert set(makers["holder_id_wattsense"]) == {"u-1", "u-3"}
    migrated = frame.filter(pl.col("is_migrated_key"))
    assert migrated["api_key_level"].to_list() == ["READ_WRITE", "READ_ONLY"]
    assert set(frame.filter(pl.col("tenant_id_wattsense").is_null())["organization_name"]) == {
        "Fleet"
    }


def test_what_was_planted_is_found_with_its_next_step(audit: VendorBatch) -> None:
    assert VENDOR.findings is ACCESS_FINDINGS
    frames = _frames(audit, *ACCESS_FINDINGS.inputs)
    frame = find(frames, NOW_AT)
    assert frame.schema == FINDING.polars_schema
    assert [(kind, place.removeprefix("wattsense: ")) for kind, place, *_ in frame.rows()] == [
        ("wattsense_key_migrated", "API key key-3"),
        ("wattsense_key_migrated", "API key key-4"),
        ("wattsense_key_without_owner", "API key key-5"),
        ("wattsense_role_manages_users", "role role-admin"),
        ("wattsense_service_account_basic", "service account sa-2"),
        ("wattsense_subscription_suspended", frame["place"][-1].removeprefix("wattsense: ")),
    ]
    assert all(text.endswith(".") for text in (*frame["message"], *frame["next_step"]))
    assert "CREATE_USER" in frame["message"][3]
    nobody = {name: each.clear() for name, each in frames.items()}
    assert find(nobody, NOW_AT).is_empty()
    assert compute_access(_frames(VendorBatch(), *ACCESS_MART.inputs), NOW_AT).is_empty()


def test_key_whose_owner_is_gone_has_no_owner_and_ended_versions_count_for_nothing(
    audit: VendorBatch,
) -> None:
    tables = set(ACCESS_MART.inputs) | set(ACCESS_FINDINGS.inputs)
    frames = _frames(audit, *tables)
    gone = pl.col("user_id_wattsense") == "u-1"
    frames[USER_ACCOUNT.full_name] = frames[USER_ACCOUNT.full_name].with_columns(
        valid_to_at=pl.when(gone).then(pl.lit(NOW_AT))
    )
    ownerless = find(frames, NOW_AT).filter(pl.col("kind") == "wattsense_key_without_owner")
    assert ownerless["place"].to_list() == ["wattsense: API key key-1", "wattsense: API key key-5"]
    reach = compute_access(frames, NOW_AT)
    assert "u-1" not in set(reach["holder_id_wattsense"])


def test_key_older_than_its_service_account_is_a_migrated_one_without_a_level(
    audit: VendorBatch,
) -> None:
    frames = _frames(audit, *ACCESS_FINDINGS.inputs)
    keys = frames[API_KEY.full_name].with_columns(level=pl.lit(None, pl.String))
    migrated_at = datetime.fromisoformat(MIGRATED_AT)
    assert keys.filter(pl.col("created_at") < migrated_at).height == 3
    found = find(frames | {API_KEY.full_name: keys}, NOW_AT)
    kinds = found.filter(pl.col("kind") == "wattsense_key_migrated")
    assert kinds["place"].to_list() == ["wattsense: API key key-3", "wattsense: API key key-4"]


@pytest.mark.parametrize(
    ("privilege", "of_users", "of_accounts"),
    [
        ("CREATE_USER", True, False),
        ("users:invite", True, False),
        ("manage users and service accounts", True, True),
        ("ServiceAccount.Edit", False, True),
        ("READ_USER", False, False),
        ("WRITE_PROPERTY", False, False),
        ("", False, False),
    ],
)
def test_privileges_are_told_apart_by_what_they_are_for(
    privilege: str, of_users: bool, of_accounts: bool
) -> None:
    assert (manages_users(privilege), manages_service_accounts(privilege)) == (
        of_users,
        of_accounts,
    )


def test_instants_of_versions_are_those_of_the_calls(audit: VendorBatch) -> None:
    for write in audit.writes:
        if isinstance(write.how, Listing):
            assert write.how.at.tzinfo is UTC
            assert write.how.scopes.columns == ["listed_in"]
