"""The Wiser client against the sandbox: consent, lists in both forms, pages, faults."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from energy_etl.cli import setup
from energy_etl.cli.sandbox_consent import allow, grant_sandbox_consent
from energy_etl.errors import AuthenticationError, ConfigurationError, MalformedError
from energy_etl.rest import RequestLog
from energy_etl.sandbox import SandboxServer
from energy_etl.sandbox.model import id_wiser
from energy_etl.sandbox.wiser import Wiser
from energy_etl.vendors import Listing, project_settings
from energy_etl.vendors.wiser import VENDOR
from energy_etl.vendors.wiser.client import PAGE_SIZE, WiserClient
from energy_etl.vendors.wiser.consent import authorize_by_paste
from energy_etl.vendors.wiser.mapping import is_zone, propose
from energy_etl.vendors.wiser.rows import to_batch
from energy_etl.vendors.wiser.settings import WiserSettings, sandbox_section
from energy_etl.vendors.wiser.tables import DEVICE, LOCATION, ROOM, SITE
from energy_etl_tests.vendors.extracting import (
    fault,
    replayed,
    requests_seen,
    running_sandbox,
)

ROME_A = id_wiser("site", "rome-a")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def folder(sandbox: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a consent in it."""
    folder = tmp_path_factory.mktemp("wiser")
    authorize_by_paste(_settings(sandbox), folder / "tokens", ask=allow)
    return folder


@pytest.fixture
def vendor(sandbox: SandboxServer) -> Iterator[Wiser]:
    """The sandbox's Wiser, whose lists are put back afterwards."""
    vendor = cast(Wiser, sandbox.app.vendors["wiser"])
    before = json.dumps(vendor.things)
    form, size = vendor.long_lists, vendor.page_size
    yield vendor
    vendor.things = json.loads(before)
    vendor.long_lists, vendor.page_size = form, size


@pytest.fixture
def log() -> RequestLog:
    return RequestLog("wiser")


def _settings(sandbox: SandboxServer, **changes: Any) -> WiserSettings:
    return WiserSettings.model_validate(sandbox_section(sandbox.url) | changes)


@contextmanager
def _client(
    sandbox: SandboxServer, log: RequestLog, folder: Path, **changes: Any
) -> Iterator[WiserClient]:
    client = WiserClient(
        _settings(sandbox, **changes),
        log=log,
        state_path=folder / "state.sqlite",
        token_folder=folder / "tokens",
    )
    with client:
        yield client


def scope_of(batch: Any, table: Any) -> list[dict[str, str]]:
    """What a batch calls complete in a table."""
    (write,) = [write for write in batch.writes if write.table is table]
    assert isinstance(write.how, Listing)
    return write.how.scopes.to_dicts()


def test_inventory_lists_locations_sites_rooms_and_devices(
    sandbox: SandboxServer, folder: Path, log: RequestLog
) -> None:
    with _client(sandbox, log, folder) as client:
        report = client.fetch_inventory()
    assert report.sentences() == []
    batch = to_batch(log.calls())
    heights = [batch.frame(table).height for table in (LOCATION, SITE, ROOM, DEVICE)]
    assert heights[:2] == [2, 3]
    assert heights[2] > 6
    assert heights[3] > 20
    for table in (LOCATION, SITE, ROOM, DEVICE):
        assert scope_of(batch, table) == [{"account": "main"}]
    mains = batch.frame(DEVICE).filter(device_id_wiser=id_wiser("device", "rome-a.mains"))
    assert mains["usage"].item() == "MainMeter"
    assert mains["commodity"].item() == "Electricity"
    assert mains["is_online"].item() is not None
    gateway = batch.frame(DEVICE).filter(type="Gateway")["other_fields"][0]
    assert json.loads(gateway) == {"firmwareVersion": "2.4.1"}
    proposal = propose(batch)
    assert len(proposal.sites) == 3
    assert len(proposal.meters) == heights[3] - 3
    assert all(meter["commodity"] == "electricity" for meter in proposal.meters)
    zones = {row["name"]: row["zone"] for row in proposal.sites}
    assert zones == {
        "Villa Appia": "Europe/Rome",
        "Trastevere flat": "Europe/Rome",
        "Rathmines terrace": "",
    }


def test_street_and_zip_code_are_nowhere_and_coordinates_are_rounded(
    sandbox: SandboxServer, folder: Path, log: RequestLog
) -> None:
    with _client(sandbox, log, folder) as client:
        client.fetch_sites()
    text = b"".join(call.body for call in log.calls()).decode()
    assert "Example Street" not in text
    assert '"zipCode":"[redacted]"' in text
    rome = to_batch(log.calls()).frame(SITE).filter(site_id_wiser=ROME_A)
    assert rome.select("city", "latitude_deg", "longitude_deg").row(0) == ("Rome", 41.88, 12.5)


def test_account_nobody_authorised_is_one_sentence_and_no_call(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    since = max((row["id"] for row in requests_seen(sandbox, "wiser")), default=0)
    with _client(sandbox, log, tmp_path) as client:
        report = client.fetch_inventory()
    assert isinstance(report.stopped_by, AuthenticationError)
    assert "energy-etl wiser authorize" in str(report.stopped_by)
    assert requests_seen(sandbox, "wiser", since) == []


def test_consent_taken_back_is_told_once_and_not_asked_for_again(tmp_path: Path) -> None:
    with running_sandbox() as sandbox:
        authorize_by_paste(_settings(sandbox), tmp_path / "tokens", ask=allow)
        cast(Wiser, sandbox.app.vendors["wiser"]).consents.revoke_all()
        told: list[str] = []
        seen: list[int] = []
        for _ in range(2):
            with _client(sandbox, RequestLog("wiser"), tmp_path) as client:
                told.append(str(client.fetch_inventory().stopped_by))
            seen.append(len(requests_seen(sandbox, "wiser")))
    assert "has ended or was revoked" in told[0]
    assert told[0] == told[1]
    assert seen[0] == seen[1]


def test_client_without_a_credential_names_the_variables(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    with (
        pytest.raises(ConfigurationError, match="ENERGY_ETL_WISER__CLIENT_SECRET"),
        _client(sandbox, log, tmp_path, client_secret=""),
    ):
        pass


def test_both_forms_of_lists_and_any_page_size_give_the_same_rows(
    sandbox: SandboxServer, folder: Path, vendor: Wiser
) -> None:
    found: list[Any] = []
    n_calls: list[int] = []
    kinds = frozenset({"locations", "sites", "rooms", "devices"})
    for form, size in ((frozenset[str](), 50), (kinds, 50), (kinds, 4)):
        vendor.long_lists, vendor.page_size = form, size
        log = RequestLog("wiser")
        with _client(sandbox, log, folder) as client:
            assert client.fetch_inventory().is_complete
        batch = to_batch(log.calls())
        n_calls.append(len(log.calls()))
        assert scope_of(batch, DEVICE) == [{"account": "main"}]
        found.append(
            {
                table.full_name: batch.frame(table)
                .drop("request_id", "received_at")
                .sort(table.key[0])
                .rows()
                for table in (LOCATION, SITE, ROOM, DEVICE)
            }
        )
    assert found[0] == found[1] == found[2]
    assert n_calls[0] == n_calls[1] == 8
    assert n_calls[2] >= 12


def test_bare_list_of_a_full_page_is_asked_on_and_ends_when_it_repeats(
    sandbox: SandboxServer, folder: Path, vendor: Wiser, log: RequestLog
) -> None:
    vendor.long_lists = frozenset()
    vendor.things["rooms"] = {
        str(n): {"id": str(n), "siteId": ROME_A, "name": f"Room {n}"} for n in range(PAGE_SIZE)
    }
    with _client(sandbox, log, folder) as client:
        client.fetch_rooms(ROME_A)
    batch = to_batch(log.calls())
    assert len(log.calls()) == 2
    assert batch.frame(ROOM).height == PAGE_SIZE
    assert scope_of(batch, ROOM) == [{"site_id_wiser": ROME_A}]


def test_pages_that_repeat_are_refused_and_nothing_vanishes(
    sandbox: SandboxServer,
    folder: Path,
    vendor: Wiser,
    log: RequestLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vendor.page_size = 4
    handle = vendor._list
    # A server that says how many there are and ignores the offset.
    monkeypatch.setattr(vendor, "_list", lambda kind, _query, **within: handle(kind, "", **within))
    with _client(sandbox, log, folder) as client, pytest.raises(MalformedError, match="repeats"):
        client.fetch_devices(ROME_A)
    batch = to_batch(log.calls())
    assert batch.frame(DEVICE).height == 4
    assert scope_of(batch, DEVICE) == []


def test_failed_list_costs_only_its_own_site_and_makes_nothing_vanish(
    sandbox: SandboxServer, folder: Path, log: RequestLog
) -> None:
    path = f"{ROME_A}/devices"
    with (
        fault(sandbox, vendor="wiser", kind="truncated_json", path_contains=path, times=None),
        _client(sandbox, log, folder) as client,
    ):
        report = client.fetch_inventory()
    assert list(report.failures) == [f"site {ROME_A}, devices"]
    assert "is no JSON" in report.sentences()[0]
    batch = to_batch(log.calls())
    assert ROME_A not in batch.frame(DEVICE)["site_id_wiser"]
    assert {"site_id_wiser": ROME_A} not in scope_of(batch, DEVICE)
    assert len(scope_of(batch, DEVICE)) == 2
    assert scope_of(batch, ROOM) == scope_of(batch, SITE) == [{"account": "main"}]
    # What the client has told is not told twice.
    assert not batch.problems


def test_wish_to_slow_down_is_obeyed(sandbox: SandboxServer, folder: Path, log: RequestLog) -> None:
    asked = {"vendor": "wiser", "kind": "status", "status": 429, "retry_after_s": 1}
    with fault(sandbox, **asked), _client(sandbox, log, folder) as client:
        client.fetch_locations()
    requests, _ = log.take()
    rows = requests.filter(endpoint="locations").sort("requested_at")
    assert rows["status"].to_list() == [429, 200]
    assert (rows["requested_at"][1] - rows["requested_at"][0]).total_seconds() >= 1.0


def test_replay_from_raw_gives_the_same_batch(
    sandbox: SandboxServer, folder: Path, vendor: Wiser, log: RequestLog
) -> None:
    vendor.page_size = 4
    with _client(sandbox, log, folder) as client:
        client.fetch_inventory()
    live = to_batch(log.calls())
    again = to_batch(replayed(log))
    assert content_of(live) == content_of(again)


def test_discovery_proposes_sites_and_meters_once_consent_is_given(
    sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "discover_vendors", lambda: {"wiser": VENDOR})
    settings = project_settings(tmp_path, sandbox_url=sandbox.url)
    settings.data_dir.mkdir()
    with pytest.raises(AuthenticationError, match="energy-etl wiser authorize"):
        setup.discover_portfolio(settings)
    grant_sandbox_consent(settings)
    n_rows = setup.discover_portfolio(settings)
    sites, meters = (
        (settings.portfolio_dir / f"{name}.csv").read_text(encoding="utf-8")
        for name in ("sites", "meters")
    )
    assert n_rows == sites.count("\n") + meters.count("\n") - 2
    assert ROME_A in sites
    assert id_wiser("device", "rome-b.fridge") in meters
    assert id_wiser("device", "rome-b.gateway") not in meters
    assert setup.discover_portfolio(settings) == 0


def content_of(batch: Any) -> Any:
    """Rows, scopes and instants of a batch."""
    return [
        (write.table.full_name, write.frame.rows(), write.how.at, write.how.scopes.rows())
        for write in batch.writes
    ]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Europe/Rome", True),
        ("UTC", True),
        ("CST", False),
        ("EST", False),
        ("Europe/Atlantis", False),
        ("../etc/passwd", False),
        ("", False),
        (None, False),
    ],
)
def test_zone_is_the_name_of_a_region_and_no_abbreviation(text: str | None, is_one: bool) -> None:
    assert is_zone(text) is is_one
