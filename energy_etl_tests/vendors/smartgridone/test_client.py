"""The SmartgridOne client against the sandbox, faults included."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from energy_etl.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
)
from energy_etl.rest import FetchReport, RequestLog
from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.vendors import VendorBatch, WhoIsWho
from energy_etl.vendors.smartgridone import VENDOR
from energy_etl.vendors.smartgridone.client import SmartgridOneClient, to_iso, to_precondition
from energy_etl.vendors.smartgridone.inventory import fetch_inventory
from energy_etl.vendors.smartgridone.rows import skip_hash_of, to_batch
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings, sandbox_section
from energy_etl.vendors.smartgridone.tables import (
    COMPANY,
    DEVICE,
    LICENCE,
    MONITOR,
    ROLE,
    SERIES,
    TELEMETRY,
)
from energy_etl.vendors.smartgridone.telemetry import FieldWindow, Pacer, fetch_telemetry
from energy_etl_tests.vendors.extracting import (
    NOW_AT,
    alias_frame,
    content,
    fault,
    replayed,
    requests_seen,
    running_sandbox,
)

DAY_AT = NOW_AT - timedelta(days=1)
WORLD = World(now=fixed_clock(NOW_AT))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def strict() -> Iterator[SandboxServer]:
    """A sandbox of a tiny budget that comes back within the second."""
    budget = {"tiers": {"free": 1}, "minute_s": 0.3}
    with SandboxServer(WORLD, smartgridone_options={"budget": budget}) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One token for the tests of this module."""
    return tmp_path_factory.mktemp("smartgridone")


@contextmanager
def client_of(sandbox: SandboxServer, folder: Path, **changes: Any) -> Iterator[SmartgridOneClient]:
    section = SmartgridOneSettings.model_validate(sandbox_section(sandbox.url) | changes)
    client = SmartgridOneClient(
        section,
        log=RequestLog("smartgridone"),
        state_path=folder / "state.sqlite",
        token_folder=folder / "tokens",
    )
    with client:
        yield client


@pytest.fixture(scope="module")
def listed(sandbox: SandboxServer, folder: Path) -> VendorBatch:
    """Everything the sandbox lists."""
    with client_of(sandbox, folder) as client:
        report = fetch_inventory(client)
        assert report.is_complete, report.sentences()
        return to_batch(client.log.calls())


@pytest.fixture(scope="module")
def windows(listed: VendorBatch) -> list[FieldWindow]:
    """A day of every register that can be proposed."""
    assert VENDOR.propose is not None
    ids = [row["register_id_smartgridone"] for row in VENDOR.propose(listed).registers]
    return [FieldWindow.of_vendor_id(each, DAY_AT, NOW_AT, f"our {each}") for each in ids]


def telemetry_of(
    sandbox: SandboxServer,
    folder: Path,
    windows: list[FieldWindow],
    listed: VendorBatch,
    *,
    pacer: Pacer | None = None,
    **changes: Any,
) -> tuple[FetchReport, VendorBatch, RequestLog]:
    with client_of(sandbox, folder, **changes) as client:
        report = fetch_telemetry(client, windows, listed.frame(SERIES), pacer=pacer)
        return report, to_batch(client.log.calls()), client.log


def statuses(log: RequestLog, endpoint: str) -> list[int | None]:
    requests, _ = log.take()
    return requests.filter(endpoint=endpoint).sort("requested_at")["status"].to_list()


def test_inventory_lists_everything_with_one_login(
    listed: VendorBatch, sandbox: SandboxServer
) -> None:
    assert listed.problems == []
    assert listed.quarantine.is_empty()
    devices = listed.frame(DEVICE)
    assert devices["is_controller"].sum() == 2
    assert devices["controller_node_id_smartgridone"].null_count() == 0
    assert listed.frame(SERIES)["database_name"].n_unique() == 2
    assert listed.frame(ROLE).height >= 2
    assert listed.frame(COMPANY).height == 2
    assert set(listed.frame(MONITOR)["device_id_smartgridone"]) <= set(
        devices["device_id_smartgridone"]
    )
    assert set(listed.frame(LICENCE)["listed_in"]) == {"license/controller", "license/customer"}
    paths = [row["path"] for row in requests_seen(sandbox, "smartgridone")]
    assert sum(path.endswith("/auth/login") for path in paths) == 1


def test_devices_that_have_not_changed_are_not_sent_again(
    sandbox: SandboxServer, listed: VendorBatch, folder: Path
) -> None:
    known = listed.frame(DEVICE)
    controllers = known.filter("is_controller")["node_id_smartgridone"].to_list()
    with client_of(sandbox, folder) as client:
        report = fetch_inventory(
            client, skip_hash=skip_hash_of(known), controllers=controllers, with_licences=True
        )
        batch = to_batch(client.log.calls())
        (listing,) = [c for c in client.log.calls() if c.endpoint == "device/query"]
    assert report.is_complete
    assert listing.status == 204
    assert batch.frame(DEVICE).is_empty()
    assert batch.frame(LICENCE).height == listed.frame(LICENCE).height


def test_licences_can_be_left_out(sandbox: SandboxServer, folder: Path) -> None:
    with client_of(sandbox, folder) as client:
        report = fetch_inventory(client, with_licences=False)
    assert sorted(report.done) == ["companies", "devices", "monitors", "roles"]


def test_telemetry_in_many_pieces_equals_telemetry_in_one(
    sandbox: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    found = []
    small: dict[str, Any] = {"rows_per_statement": 400, "statements_per_call": 3}
    for changes in ({}, small):
        report, batch, log = telemetry_of(sandbox, folder, windows, listed, **changes)
        assert report.done == [window.subject for window in windows], report.sentences()
        assert all(write.how != "merge" for write in batch.writes)
        frame = batch.frame(TELEMETRY).sort(TELEMETRY.key)
        found.append((frame.select(TELEMETRY.content_columns), len(log)))
    assert found[0][0].equals(found[1][0])
    assert found[0][0].height > 1000
    assert (found[0][1], found[1][1]) == (1, 7)


def test_telemetry_is_the_truth_of_the_register_with_import_positive(
    sandbox: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    _, batch, _ = telemetry_of(sandbox, folder, windows, listed)
    pairs = [(window.field, f"{window.node_id}/{window.field}") for window in windows]
    roles = {
        "register_id": [field for field, _ in pairs],
        "role": ["production" if field == "actualPowerTot_W" else "mains" for field, _ in pairs],
    }
    alias = alias_frame("register", "smartgridone", pairs)
    assert VENDOR.to_core is not None
    (write,) = VENDOR.to_core(batch, WhoIsWho(alias, pl.DataFrame(roles), alias))
    sent = batch.frame(TELEMETRY).filter(field="actualPowerTot_W")["reading_native"]
    assert sent.min() < -1000.0  # type: ignore[operator]
    power = write.frame.filter(register_id="actualPowerTot_W")["reading_native"]
    assert power.max() == -sent.min()  # type: ignore[operator]
    assert (power >= 0).all()


def test_replay_from_raw_gives_the_same_batch(
    sandbox: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    with client_of(sandbox, folder) as client:
        fetch_inventory(client)
        fetch_telemetry(client, windows, listed.frame(SERIES))
        live = to_batch(client.log.calls())
        again = to_batch(replayed(client.log))
    assert content(live) == content(again)
    assert [write.table for write in live.writes] == [write.table for write in again.writes]


def test_call_that_costs_more_than_the_budget_is_halved_and_never_sent_again_as_it_was(
    strict: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    # 18 days of a register cost 1.1 in the sandbox: 422 even alone, within the budget as halves.
    long = [
        FieldWindow(w.node_id, w.field, NOW_AT - timedelta(days=18), NOW_AT, w.subject)
        for w in windows[:2]
    ]
    changes = {
        "rows_per_statement": 100_000,
        "rows_per_call": 10**6,
        "patience_s": 60.0,
        "api_tier": None,
    }
    report, batch, log = telemetry_of(
        strict, folder / "strict", long, listed, pacer=Pacer(minute_s=0.3), **changes
    )
    assert report.is_complete, report.sentences()
    assert all(write.how != "merge" for write in batch.writes)
    assert batch.frame(TELEMETRY)["measured_at"].min() < NOW_AT - timedelta(days=17)  # type: ignore[operator]
    requests, _ = log.take()
    refused = requests.filter(status=422)["params"].to_list()
    assert len(refused) >= 2
    asked = requests.filter(endpoint="telemetry/query", status=200)["params"].to_list()
    assert len(set(refused)) == len(refused)
    assert set(refused).isdisjoint(asked)


def test_retry_after_is_obeyed_by_all_threads_and_nobody_is_banned(
    strict: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    changes = {"statements_per_call": 1, "max_parallel": 4, "patience_s": 60.0, "api_tier": None}
    # One that never waits, as several processes together would not.
    pacer = Pacer(sleep=lambda _: None)
    three = windows[:3]
    report, _, log = telemetry_of(strict, folder / "strict", three, listed, pacer=pacer, **changes)
    assert report.is_complete, report.sentences()
    found = statuses(log, "telemetry/query")
    assert found.count(200) == len(three)
    assert set(found) <= {200, 429}
    assert found.count(429) < 10


def test_pause_that_lasts_longer_than_patience_is_told(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    with (
        fault(sandbox, vendor="smartgridone", kind="status", status=429, retry_after_s=900,
              path_contains="/v1/company"),
        client_of(sandbox, tmp_path, patience_s=60.0) as client,
    ):  # fmt: skip
        with pytest.raises(RateLimitedError, match="run again in 900 s") as caught:
            client.fetch_companies()
        assert caught.value.retry_after_s == 900.0
        # The vendor bans who comes back sooner: no other call is made meanwhile.
        with pytest.raises(RateLimitedError):
            client.fetch_roles()
        assert statuses(client.log, "role/query") == []


def test_token_that_ends_in_mid_run_is_replaced_without_a_login(
    sandbox: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    last_id = max(row["id"] for row in requests_seen(sandbox, "smartgridone"))
    with fault(
        sandbox, vendor="smartgridone", kind="status", status=401, path_contains="telemetry"
    ):
        report, _, _ = telemetry_of(sandbox, folder, windows, listed)
    assert report.is_complete, report.sentences()
    seen = requests_seen(sandbox, "smartgridone", since_id=last_id)
    assert [row["path"].rpartition("/")[2] for row in seen] == ["query", "accesstoken", "query"]


@pytest.mark.parametrize("kind", ["status", "drop_before", "drop_after"])
def test_query_is_repeated_after_an_outage(
    sandbox: SandboxServer,
    windows: list[FieldWindow],
    listed: VendorBatch,
    folder: Path,
    kind: str,
) -> None:
    with fault(sandbox, vendor="smartgridone", kind=kind, path_contains="telemetry"):
        report, batch, log = telemetry_of(sandbox, folder, windows, listed)
    assert report.is_complete, report.sentences()
    assert batch.frame(TELEMETRY).height > 1000
    assert len(statuses(log, "telemetry/query")) == 2


def test_answer_that_is_too_slow_is_asked_for_again(sandbox: SandboxServer, folder: Path) -> None:
    with (
        fault(sandbox, vendor="smartgridone", kind="slow", delay_s=1.0, path_contains="company"),
        client_of(sandbox, folder, answer_s=0.4) as client,
    ):
        assert client.fetch_companies().status == 200
        assert statuses(client.log, "company") == [None, 200]


def test_truncated_answer_of_telemetry_is_a_problem_and_keeps_what_is_stored(
    sandbox: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    broken = {"vendor": "smartgridone", "kind": "truncated_json", "path_contains": "telemetry"}
    with fault(sandbox, **broken):
        changes: dict[str, Any] = {"statements_per_call": 3, "max_parallel": 1}
        report, batch, _ = telemetry_of(sandbox, folder, windows, listed, **changes)
    assert report.is_complete
    (problem,) = batch.problems
    assert windows[0].subject in str(problem.error)
    kept = {(window.node_id, window.field) for window in windows[3:]}
    assert set(batch.frame(TELEMETRY).select("node_id_smartgridone", "field").rows()) == kept


def test_list_that_is_forbidden_costs_that_list_only(sandbox: SandboxServer, folder: Path) -> None:
    with (
        fault(sandbox, vendor="smartgridone", kind="status", status=403, path_contains="customer"),
        client_of(sandbox, folder) as client,
    ):
        report = fetch_inventory(client)
        batch = to_batch(client.log.calls())
    (error,) = report.failures.values()
    assert isinstance(error, PermissionDeniedError)
    assert set(batch.frame(LICENCE)["listed_in"]) == {"license/controller"}


def test_register_of_an_unknown_device_fails_alone(
    sandbox: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    stranger = FieldWindow("nobody", "actualPowerTot_W", DAY_AT, NOW_AT, "our.stranger")
    report, batch, _ = telemetry_of(sandbox, folder, [stranger, windows[0]], listed)
    assert list(report.failures) == ["our.stranger"]
    assert isinstance(report.failures["our.stranger"], NotFoundError)
    assert report.done == [windows[0].subject]
    assert batch.frame(TELEMETRY).height > 100


def test_wrong_field_in_the_vendors_own_listing_fails_alone(
    sandbox: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    moved = listed.frame(SERIES).with_columns(
        database_name=pl.when(pl.col("node_id_smartgridone") == windows[0].node_id)
        .then(pl.lit("closed"))
        .otherwise("database_name")
    )
    with client_of(sandbox, folder) as client:
        report = fetch_telemetry(client, windows, moved)
        batch = to_batch(client.log.calls())
    assert report.is_complete
    told = {problem.subject for problem in batch.problems}
    assert told == {w.subject for w in windows if w.node_id == windows[0].node_id}
    assert all("database not found: closed" in str(p.error) for p in batch.problems)
    assert batch.frame(TELEMETRY)["node_id_smartgridone"].n_unique() == 3


def test_outage_fails_every_register_in_one_line(
    sandbox: SandboxServer, windows: list[FieldWindow], listed: VendorBatch, folder: Path
) -> None:
    with fault(sandbox, vendor="smartgridone", kind="status", status=500, times=None):
        changes = {"total_s": 0.1, "statements_per_call": 2}
        report, batch, _ = telemetry_of(sandbox, folder, windows, listed, **changes)
    assert sorted(report.failures) == sorted(window.subject for window in windows)
    assert report.done == []
    assert isinstance(report.stopped_by, UnavailableError)
    lines = report.sentences()
    assert len(lines) == 3
    assert "statements" not in lines[0]
    assert batch.writes == []


def test_wrong_password_is_told_with_the_settings_names_and_without_it(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    with (
        client_of(sandbox, tmp_path, username="nobody", password="canary-wrong") as client,
        pytest.raises(AuthenticationError, match=r"smartgridone\.password") as caught,
    ):
        client.fetch_devices()
    assert "canary" not in str(caught.value)


def test_account_that_is_locked_is_told_at_once(sandbox: SandboxServer, tmp_path: Path) -> None:
    with client_of(sandbox, tmp_path, username="locked", password="canary-wrong") as client:
        for _ in range(5):
            with pytest.raises(AuthenticationError):
                client.fetch_devices()
        with pytest.raises(RateLimitedError, match="too many wrong passwords"):
            client.fetch_devices()


def test_account_with_a_second_factor_gets_a_clear_error(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    with (
        client_of(sandbox, tmp_path, username="sandbox-smartgridone-2fa") as client,
        pytest.raises(AuthenticationError, match="second factor"),
    ):
        client.fetch_devices()


@pytest.mark.parametrize("missing", ["username", "password"])
def test_missing_credential_is_told_before_anything_is_sent(
    sandbox: SandboxServer, tmp_path: Path, missing: str
) -> None:
    with (
        pytest.raises(ConfigurationError, match="ENERGY_ETL_SMARTGRIDONE__USERNAME"),
        client_of(sandbox, tmp_path, **{missing: ""}),
    ):
        raise AssertionError("no client without a credential")


def test_device_that_somebody_changed_since_is_not_overwritten(
    sandbox: SandboxServer, listed: VendorBatch, folder: Path
) -> None:
    row = listed.frame(DEVICE).filter("has_monitor_management").row(0, named=True)
    device_id, read_at = row["device_id_smartgridone"], row["updated_at"]
    others = listed.frame(DEVICE).filter(~pl.col("has_monitor_management"))
    with client_of(sandbox, folder) as client:
        with pytest.raises(BadRequestError, match="changed since it was read") as caught:
            client.update_device(
                device_id, {"name": "New"}, unmodified_since=read_at - timedelta(days=1)
            )
        assert caught.value.status == 412
        with pytest.raises(PermissionDeniedError):
            client.update_device(others["device_id_smartgridone"][0], {"nodeType": "x"})
        with pytest.raises(BadRequestError) as caught:
            client.patch_device(device_id, [{"op": "remove", "path": "/none"}])
        assert caught.value.status == 422
        answer = client.update_device(
            device_id, {"name": row["name"]}, is_validated=True, unmodified_since=read_at
        )
    assert answer.status == 200


def test_change_is_never_sent_twice(
    sandbox: SandboxServer, listed: VendorBatch, folder: Path
) -> None:
    last_id = max(row["id"] for row in requests_seen(sandbox, "smartgridone"))
    node_id = listed.frame(DEVICE).filter("is_controller")["node_id_smartgridone"][0]
    with client_of(sandbox, folder) as client:
        for kind in ("drop_after", "status"):
            with (
                fault(sandbox, vendor="smartgridone", kind=kind, path_contains="license"),
                pytest.raises(UnavailableError),
            ):
                client.claim_license("K-1", node_id)
        with (
            fault(sandbox, vendor="smartgridone", kind="status", path_contains="license"),
            pytest.raises(UnavailableError),
        ):
            client.activate_license("K-1", datetime(2025, 5, 1, tzinfo=UTC))
    seen = requests_seen(sandbox, "smartgridone", since_id=last_id)
    assert [row["path"].rpartition("/")[2] for row in seen] == ["claim", "claim", "activate"]


@pytest.mark.parametrize("key", ["", "x" * 51])
def test_key_of_a_wrong_length_is_never_sent(
    sandbox: SandboxServer, folder: Path, key: str
) -> None:
    with client_of(sandbox, folder) as client:
        with pytest.raises(ConfigurationError, match="1 to 50 characters"):
            client.activate_license(key)
        with pytest.raises(ConfigurationError, match="1 to 50 characters"):
            client.claim_license(key, "c1")
        assert len(client.log) == 0


def test_unknown_key_is_not_found(sandbox: SandboxServer, folder: Path) -> None:
    with client_of(sandbox, folder) as client:
        with pytest.raises(NotFoundError):
            client.activate_license("no-such-key")
        with pytest.raises(NotFoundError):
            client.fetch_controller_licenses("no/such controller")


def test_instants_are_written_as_the_vendor_reads_them() -> None:
    at = datetime(2025, 4, 14, 12, 0, 0, 250_000, tzinfo=UTC)
    assert to_iso(at) == "2025-04-14T12:00:00.250Z"
    assert to_precondition(at) == "2025-04-14T12:00:00.250Z"
    assert to_precondition(at + timedelta(microseconds=1)) == "2025-04-14T12:00:00.250001Z"


def test_retry_after_of_nothing_is_no_leave_to_hammer_the_vendor(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    since = max((each["id"] for each in requests_seen(sandbox, "smartgridone")), default=0)
    with (
        fault(
            sandbox,
            vendor="smartgridone",
            kind="status",
            status=429,
            retry_after_s=0,
            path_contains="company",
            times=None,
        ),
        client_of(sandbox, tmp_path, patience_s=0.5) as client,
        pytest.raises(RateLimitedError),
    ):
        client.fetch_companies()
    asked = [e for e in requests_seen(sandbox, "smartgridone", since) if "company" in e["path"]]
    assert len(asked) == 2
