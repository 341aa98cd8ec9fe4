"""The client of Wattics' API against the sandbox: every endpoint, what is created, what fails."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from energy_etl.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    MalformedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
)
from energy_etl.rest import RequestLog
from energy_etl.sandbox import SandboxServer
from energy_etl.sandbox.model import id_wattics
from energy_etl.vendors.wattics import tables
from energy_etl.vendors.wattics.api_client import (
    MAX_RAW_DATA,
    PATHS,
    MonthWanted,
    RawDataWanted,
    WatticsApiClient,
)
from energy_etl.vendors.wattics.rows import to_batch
from energy_etl.vendors.wattics.settings import LIVE_API_URL, WatticsSettings, sandbox_section
from energy_etl_tests.rest.raw_server import RawServer, answer
from energy_etl_tests.vendors.extracting import (
    content,
    fault,
    replayed,
    requests_seen,
    running_sandbox,
)

COLLECTOR = "/measurements/v2/unifiedjson/"
BASIC = ("sandbox-wattics", "sandbox-wattics-secret")
STREAM = id_wattics("rome-a.grid_import")
APRIL = date(2025, 4, 1)


def push(sandbox: SandboxServer, stream_id: str, stamp: str, **fields: float) -> int:
    packet = {"id": stream_id, "tsISO8601": stamp, **fields}
    return httpx.post(sandbox.url + COLLECTOR, json=packet, auth=BASIC).status_code


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    """A sandbox that received an hour of one meter."""
    with running_sandbox() as sandbox:
        for minute, wh in ((0, 1000.0), (15, 1250.0), (30, 1350.5), (45, 1350.5)):
            stamp = f"2025-04-15T10:{minute:02d}:00.000+02:00"
            assert push(sandbox, STREAM, stamp, pC_1=wh) == 200
        yield sandbox


@pytest.fixture
def log() -> RequestLog:
    return RequestLog("wattics")


@contextmanager
def client_of(
    sandbox: SandboxServer, log: RequestLog, folder: Path, **changes: Any
) -> Iterator[WatticsApiClient]:
    settings = WatticsSettings.model_validate(sandbox_section(sandbox.url) | changes)
    with WatticsApiClient(settings, log=log, state_path=folder / "state.sqlite") as client:
        yield client


def meter_of(sandbox: SandboxServer, folder: Path, reference: str) -> tuple[str, str]:
    """Return meter and site of a stream, as Wattics lists them."""
    log = RequestLog("wattics")
    with client_of(sandbox, log, folder) as client:
        assert client.fetch_listing().is_complete
    meters = to_batch(log.calls()).frame(tables.METER)
    found = {row["reference"]: row for row in meters.iter_rows(named=True)}
    return found[reference]["meter_id_wattics"], found[reference]["site_id_wattics"]


def test_each_endpoint_is_asked_at_its_path(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    meter_id, site_id = meter_of(sandbox, tmp_path, STREAM)
    day_at = datetime(2025, 4, 15, tzinfo=UTC)
    with client_of(sandbox, log, tmp_path) as client:
        answers = [
            client.fetch_organizations(),
            client.fetch_organization("1"),
            client.fetch_organization_metadata("1"),
            client.fetch_sites("1"),
            client.fetch_site(site_id),
            client.fetch_site_metadata(site_id),
            client.fetch_site_tariffs(site_id),
            client.fetch_meters("1", site_id),
            client.fetch_meter(meter_id),
            client.fetch_meter_metadata(meter_id),
            client.fetch_appliances("1", site_id, meter_id),
            client.fetch_raw_data(meter_id, day_at, day_at + timedelta(days=1)),
            client.fetch_consumptions(meter_id, APRIL),
            client.fetch_costs(meter_id, APRIL),
        ]
        # The sandbox splits no meter into appliances.
        for ask in (client.fetch_appliance, client.fetch_appliance_metadata):
            with pytest.raises(NotFoundError):
                ask("1")
    assert all(answer.status == 200 for answer in answers)
    asked = {
        call["path"].removeprefix("/wattics/api/v1") for call in requests_seen(sandbox, "wattics")
    }
    ids = {"organization_id": "1", "site_id": site_id, "meter_id": meter_id, "appliance_id": "1"}
    assert {path.format(**ids) for path in PATHS.values()} <= asked


def test_listing_is_whole_and_the_same_when_replayed(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    with client_of(sandbox, log, tmp_path) as client:
        assert client.fetch_listing().is_complete
    batch = to_batch(log.calls())
    truth = sandbox.app.truth
    assert not batch.problems
    assert set(batch.frame(tables.METER)["reference"]) >= set(truth.streams)
    sites = {truth.registers[s.register_id].site_id for s in truth.streams.values()}
    assert set(batch.frame(tables.SITE)["name"]) == {truth.sites[site].name for site in sites}
    assert set(batch.frame(tables.ORGANIZATION)["name"]) == {"north", "south"}
    stored = b"".join(call.body for call in log.calls())
    assert b'"contact_name":"[redacted]"' in stored
    assert b"Sam Sandbox" not in stored
    assert content(to_batch(replayed(log))) == content(batch)


def test_months_and_raw_data_are_what_was_pushed(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    meter_id, _ = meter_of(sandbox, tmp_path, STREAM)
    pushed_to_at = datetime(2025, 4, 15, 9, tzinfo=UTC)
    from_at = datetime(2025, 1, 1, tzinfo=UTC)
    with client_of(sandbox, log, tmp_path) as client:
        months = [MonthWanted(meter_id, APRIL, pushed_to_at, "rome-a.grid_import")]
        assert client.fetch_months(months, with_costs=True).is_complete
        wanted = RawDataWanted(meter_id, from_at, from_at + timedelta(days=120), "rome-a")
        report = client.fetch_raw_windows([wanted])
    assert report.is_complete
    assert len(report.done) == 2
    batch = to_batch(log.calls())
    rows = batch.frame(tables.CONSUMPTION).select("slot", "energy_wh", "unit_wattics").rows()
    assert sorted(rows) == [
        ("10h00m", 250.0, "Watt"),
        ("10h15m", 100.5, "Watt"),
        ("10h30m", 0.0, "Watt"),
        ("total", 350.5, "Watt"),
    ]
    asked = batch.frame(tables.ASKED_MONTH).row(0, named=True)
    assert (asked["month_on"], asked["pushed_to_at"]) == (APRIL, pushed_to_at)
    cost = batch.frame(tables.COST).filter(slot="total").row(0, named=True)
    assert (cost["cost_native"], cost["currency"]) == (
        pytest.approx(0.3505 * 0.31, abs=1e-4),
        "EUR",
    )
    raw = batch.frame(tables.RAW_DATA)
    assert raw.select("measured_at", "power_w").rows() == [
        (datetime(2025, 4, 15, 8, 15, tzinfo=UTC), 1000.0),
        (datetime(2025, 4, 15, 8, 30, tzinfo=UTC), 402.0),
        (datetime(2025, 4, 15, 8, 45, tzinfo=UTC), 0.0),
    ]
    assert content(to_batch(replayed(log))) == content(batch)


@pytest.mark.parametrize("days", [0.0, 1.0, 90.0, 90.5, 365.0])
def test_long_raw_data_is_asked_for_in_windows_that_meet(days: float) -> None:
    from_at = datetime(2024, 1, 1, tzinfo=UTC)
    wanted = RawDataWanted("1", from_at, from_at + timedelta(days=days), "x")
    windows = list(wanted.windows())
    assert all(timedelta(0) < to_at - start <= MAX_RAW_DATA for start, to_at in windows)
    edges = [from_at, *(to_at for _, to_at in windows)]
    assert [start for start, _ in windows] == edges[:-1]
    assert edges[-1] == wanted.to_at


def test_window_that_is_too_long_is_refused_by_the_vendor(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    from_at = datetime(2024, 1, 1, tzinfo=UTC)
    with (
        client_of(sandbox, log, tmp_path) as client,
        pytest.raises(BadRequestError, match="90 days"),
    ):
        client.fetch_raw_data("1001", from_at, from_at + timedelta(days=91))


def test_what_is_created_is_listed_and_its_stream_takes_packets(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    with client_of(sandbox, log, tmp_path) as client:
        organization_id = client.create_organization("Acme")
        site_id = client.create_site(organization_id, "Depot")
        meter_id = client.create_meter(
            site_id,
            name="Depot, mains",
            commodity="electricity",
            stream_id="depot.mains",
            content="cumulative_wh",
            is_electrical=True,
            interval_minutes=15,
        )
        assert client.fetch_listing().is_complete
    meters = to_batch(log.calls()).frame(tables.METER).filter(reference="depot.mains")
    assert meters.select("meter_id_wattics", "site_id_wattics", "reading").row(0) == (
        meter_id,
        site_id,
        "cum",
    )
    assert push(sandbox, "depot.mains", "2025-04-15T10:00:00.000+02:00", pC_1=1.0) == 200


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (400, BadRequestError),
        (500, UnavailableError),
    ],
)
def test_status_is_an_error_that_says_what_to_do(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path, status: int, error: type[Exception]
) -> None:
    wish = {"vendor": "wattics", "kind": "status", "status": status, "times": 9}
    with (
        fault(sandbox, **wish, path_contains="/api/v1/organizations"),
        client_of(sandbox, log, tmp_path, total_s=0.001) as client,
        pytest.raises(error, match=f"wattics organizations.* {status} ") as raised,
    ):
        client.fetch_organizations()
    assert "sandbox-wattics-token" not in str(raised.value)


def test_rate_limit_is_obeyed_and_told(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    wish = {"vendor": "wattics", "kind": "status", "status": 429, "retry_after_s": 500}
    with (
        fault(sandbox, **wish, path_contains="/api/v1/"),
        client_of(sandbox, log, tmp_path) as client,
        pytest.raises(RateLimitedError) as raised,
    ):
        client.fetch_organizations()
    assert raised.value.retry_after_s == 500


def test_wrong_token_and_one_that_may_only_read(sandbox: SandboxServer, tmp_path: Path) -> None:
    with (
        client_of(sandbox, RequestLog("wattics"), tmp_path, api_token="wrong-token") as client,
        pytest.raises(AuthenticationError, match=r"check wattics\.api_token") as raised,
    ):
        client.fetch_organizations()
    assert "wrong-token" not in str(raised.value)
    reader = "sandbox-wattics-reader-token"
    with client_of(sandbox, RequestLog("wattics"), tmp_path, api_token=reader) as client:
        assert client.fetch_organizations().status == 200
        with pytest.raises(PermissionDeniedError, match="may only read"):
            client.create_organization("Acme")


def test_creation_without_an_answer_is_not_sent_again(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    since = requests_seen(sandbox, "wattics")[-1]["id"]
    with (
        fault(sandbox, vendor="wattics", kind="drop_after", path_contains="/api/v1/"),
        client_of(sandbox, log, tmp_path) as client,
        pytest.raises(UnavailableError),
    ):
        client.create_organization("Twice")
    calls = [c for c in requests_seen(sandbox, "wattics", since) if c["method"] == "POST"]
    assert len(calls) == 1


def test_bodies_and_the_bare_token_are_sent_as_clients_were_seen_to_send_them(
    log: RequestLog, tmp_path: Path
) -> None:
    created = answer(201, b'{"meter":{"id":7}}')
    with RawServer.answering(created) as server:
        settings = {"api_url": f"{server.url}/api/v1", "api_token": "a-token"}
        section = WatticsSettings.model_validate(settings)
        with WatticsApiClient(section, log=log, state_path=tmp_path / "s.sqlite") as client:
            meter_id = client.create_meter(
                "1",
                name="Meter 1",
                commodity="electricity",
                stream_id="meter-1234-0000",
                content="cumulative_wh",
                is_electrical=True,
                interval_minutes=5,
            )
    assert meter_id == "7"
    request = server.received[0]
    assert (request.method, request.target) == ("POST", "/api/v1/meters")
    assert request.headers["authorization"] == "a-token"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "meter": {
            "name": "Meter 1",
            "site_id": 1,
            "type": "electricity",
            "reference": "meter-1234-0000",
            "param_type": "all",
            "reading": "cum",
            "process_sampling_rate": 5,
        }
    }


@pytest.mark.parametrize(
    "body", [b"", b"ok", b"[]", b"{}", b'{"meter":{"name":"x"}}', b'{"id":null}']
)
def test_creation_whose_answer_names_no_id_says_to_look_first(
    log: RequestLog, tmp_path: Path, body: bytes
) -> None:
    with RawServer.answering(answer(200, body)) as server:
        section = WatticsSettings.model_validate({"api_url": server.url, "api_token": "a-token"})
        with (
            WatticsApiClient(section, log=log, state_path=tmp_path / "s.sqlite") as client,
            pytest.raises(MalformedError, match="streams list"),
        ):
            client.create_organization("Half")


def test_part_of_a_listing_that_fails_is_named_and_the_rest_kept(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    wish = {"vendor": "wattics", "kind": "status", "status": 403}
    with (
        fault(sandbox, **wish, path_contains="/meters?organization_id=1&site_id=106"),
        client_of(sandbox, log, tmp_path) as client,
    ):
        report = client.fetch_listing()
    assert list(report.failures) == ["meters of site 106"]
    batch = to_batch(log.calls())
    assert "106" not in set(batch.frame(tables.METER)["site_id_wattics"])
    assert batch.frame(tables.METER).height > 20


def test_live_needs_a_token_and_says_where_it_goes(tmp_path: Path) -> None:
    settings = WatticsSettings()
    assert settings.api_url == LIVE_API_URL
    with pytest.raises(ConfigurationError, match="ENERGY_ETL_WATTICS__API_TOKEN"):
        WatticsApiClient(settings, log=RequestLog("wattics"), state_path=tmp_path / "s.sqlite")


def test_nobody_who_listens_names_the_setting_of_the_api(log: RequestLog, tmp_path: Path) -> None:
    changes = sandbox_section("http://127.0.0.1:9") | {"total_s": 0.001}
    settings = WatticsSettings.model_validate(changes)
    with (
        WatticsApiClient(settings, log=log, state_path=tmp_path / "s.sqlite") as client,
        pytest.raises(UnavailableError, match=r"wattics\.api_url"),
    ):
        client.fetch_organizations()
