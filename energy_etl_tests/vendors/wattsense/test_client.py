"""The Wattsense client against the sandbox, faults included."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from energy_etl.errors import AuthenticationError, ConfigurationError, MalformedError, NotFoundError
from energy_etl.rest import FetchReport, RequestLog
from energy_etl.sandbox import SandboxServer
from energy_etl.state import connect
from energy_etl.vendors import WhoIsWho, Window, project_settings
from energy_etl.vendors.wattsense import VENDOR
from energy_etl.vendors.wattsense.client import PropertyWindow, WattsenseClient, fetch_listing
from energy_etl.vendors.wattsense.links import next_link
from energy_etl.vendors.wattsense.rows import to_batch
from energy_etl.vendors.wattsense.settings import WattsenseSettings, sandbox_section
from energy_etl.vendors.wattsense.tables import (
    CONFIGURATION,
    DEVICE,
    DEVICE_SUBSCRIPTION,
    EQUIPMENT,
    HISTORY,
    LATEST,
    PROPERTY,
)
from energy_etl.vendors.wattsense.to_core import find_unmapped
from energy_etl_tests.vendors.extracting import (
    NOW_AT,
    alias_frame,
    content,
    fault,
    replayed,
    running_sandbox,
)

DAY_AT = NOW_AT - timedelta(days=1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def log() -> RequestLog:
    return RequestLog("wattsense")


@contextmanager
def _client(
    sandbox: SandboxServer, log: RequestLog, folder: Path, **changes: Any
) -> Iterator[WattsenseClient]:
    settings = WattsenseSettings.model_validate(sandbox_section(sandbox.url) | changes)
    with WattsenseClient(settings, log=log, state_path=folder / "state.sqlite") as client:
        yield client


@pytest.fixture(scope="module")
def vendor_ids(sandbox: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`<deviceId>/<propertyId>` of every property the sandbox lists."""
    log = RequestLog("wattsense")
    with _client(sandbox, log, tmp_path_factory.mktemp("ids")) as client:
        assert client.fetch_inventory(with_configs=False).is_complete
    frames = {LATEST.full_name: to_batch(log.calls()).frame(LATEST)}
    nobody = alias_frame("register", "wattsense", [])
    return find_unmapped(frames, nobody)["vendor_id"].to_list()


def _windows(
    vendor_ids: list[str], from_at: datetime = DAY_AT, to_at: datetime = NOW_AT
) -> list[PropertyWindow]:
    return [PropertyWindow.of_vendor_id(v, from_at, to_at, f"register {v}") for v in vendor_ids]


def test_inventory_lists_boxes_properties_and_values(
    sandbox: SandboxServer, log: RequestLog, tmp_path: Path
) -> None:
    with _client(sandbox, log, tmp_path) as client:
        client.fetch_user()
        report = client.fetch_inventory()
    assert report.sentences() == []
    batch = to_batch(log.calls())
    assert batch.frame(DEVICE).height >= 6
    assert batch.frame(PROPERTY).height >= 60
    assert batch.frame(LATEST).height == batch.frame(PROPERTY).height
    n_boxes = batch.frame(DEVICE).height
    assert batch.frame(CONFIGURATION)["status"].to_list() == ["CURRENT", "ARCHIVED"] * n_boxes
    equipments = set(batch.frame(EQUIPMENT)["equipment_id_wattsense"])
    assert set(batch.frame(PROPERTY)["equipment_id_wattsense"]) == equipments
    assert set(batch.frame(LATEST)["equipment_id_wattsense"]) == equipments
    subscriptions = batch.frame(DEVICE_SUBSCRIPTION)
    assert subscriptions.select("status", "is_suspended", "rate_plan").unique().rows() == [
        ("ACTIVE", False, "BASIC")
    ]
    assert subscriptions.height == n_boxes
    assert batch.quarantine.is_empty()
    assert not batch.problems
    assert VENDOR.propose is not None
    assert len(VENDOR.propose(batch).registers) >= 60


def test_portfolio_is_proposed_where_organizations_are_unknown(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    settings = project_settings(tmp_path, sandbox_url=sandbox.url)
    gone = {"vendor": "wattsense", "kind": "status", "status": 404, "times": None}
    with fault(sandbox, path_contains="organizations", **gone):
        assert to_batch(fetch_listing(settings)).frame(PROPERTY).height >= 60
    with (
        fault(sandbox, path_contains="/configs/current", **gone),
        pytest.raises(NotFoundError, match="configs/current/properties"),
    ):
        fetch_listing(settings)


def test_configuration_calls_take_a_place_in_their_own_quota_too(
    sandbox: SandboxServer, vendor_ids: list[str], log: RequestLog, tmp_path: Path
) -> None:
    device_id = vendor_ids[0].partition("/")[0]
    with _client(sandbox, log, tmp_path) as client:
        client.fetch_user()
        client.fetch_properties(device_id)
        for _ in range(2):
            client.fetch_property_configs(device_id)
        client.fetch_configs(device_id)
    with contextlib.closing(connect(tmp_path / "state.sqlite")) as connection:
        places = "SELECT name, count(*) FROM quota_call GROUP BY name ORDER BY name"
        assert connection.execute(places).fetchall() == [
            (f"wattsense at {sandbox.url}/wattsense", 5),
            (f"wattsense configurations at {sandbox.url}/wattsense", 3),
        ]
    settings = WattsenseSettings()
    assert settings.calls_per_5_minutes == 2500
    assert settings.configuration_calls_per_5_minutes == 100


def test_paged_history_equals_one_page(
    sandbox: SandboxServer, vendor_ids: list[str], tmp_path: Path
) -> None:
    found: list[dict[str, Any]] = []
    n_calls: list[int] = []
    for page_size in (2500, 37):
        log = RequestLog("wattsense")
        with _client(sandbox, log, tmp_path, page_size=page_size) as client:
            assert client.fetch_histories(_windows(vendor_ids[:4])).is_complete
        n_calls.append(len(log))
        frame = to_batch(log.calls()).frame(HISTORY).sort(HISTORY.key)
        assert frame.height > 300
        found.append(frame.select(HISTORY.content_columns).to_dict(as_series=False))
    assert n_calls[0] == 4
    assert n_calls[1] >= 12
    assert found[0] == found[1]


def test_replay_from_raw_gives_the_same_batch(
    sandbox: SandboxServer, vendor_ids: list[str], log: RequestLog, tmp_path: Path
) -> None:
    with _client(sandbox, log, tmp_path, page_size=50) as client:
        client.fetch_inventory()
        client.fetch_histories(_windows(vendor_ids[:5]))
    live = to_batch(log.calls())
    again = to_batch(replayed(log))
    assert content(live) == content(again)
    assert [write.table for write in live.writes] == [write.table for write in again.writes]
    who = alias_frame("register", "wattsense", [(f"our-{v}", v) for v in vendor_ids[:3]])
    assert VENDOR.to_core is not None
    (readings,) = VENDOR.to_core(again, WhoIsWho(who, who, who))
    assert readings.how == "append_versions"
    assert readings.frame["register_id"].n_unique() == 3


def test_window_before_all_data_is_whole_and_empty(
    sandbox: SandboxServer, vendor_ids: list[str], log: RequestLog, tmp_path: Path
) -> None:
    from_at = NOW_AT - timedelta(days=9000)
    with _client(sandbox, log, tmp_path) as client:
        client.fetch_histories(_windows(vendor_ids[:1], from_at, from_at + timedelta(days=1)))
    (write,) = to_batch(log.calls()).writes
    assert isinstance(write.how, Window)
    assert write.frame.is_empty()
    assert log.calls()[0].status == 204


@pytest.mark.parametrize(
    "kind", [{"kind": "status", "status": 503}, {"kind": "drop_before"}, {"kind": "drop_after"}]
)
def test_fault_that_passes_loses_nothing(
    sandbox: SandboxServer,
    vendor_ids: list[str],
    log: RequestLog,
    tmp_path: Path,
    kind: dict[str, Any],
) -> None:
    with (
        _client(sandbox, log, tmp_path, page_size=40) as client,
        fault(sandbox, vendor="wattsense", path_contains="/properties", times=2, **kind),
    ):
        report = client.fetch_histories(_windows(vendor_ids[:2]))
    assert report.is_complete
    (write,) = to_batch(log.calls()).writes
    assert isinstance(write.how, Window)
    assert write.how.ids.height == 2


def test_rate_limit_answer_is_waited_for(
    sandbox: SandboxServer, vendor_ids: list[str], log: RequestLog, tmp_path: Path
) -> None:
    with (
        _client(sandbox, log, tmp_path) as client,
        fault(sandbox, vendor="wattsense", kind="status", status=429, retry_after_s=1, times=1),
    ):
        assert client.fetch_histories(_windows(vendor_ids[:1])).is_complete
    statuses = log.take()[0].sort("requested_at")
    assert statuses["status"].to_list() == [429, 200]
    waited = statuses["requested_at"][1] - statuses["requested_at"][0]
    assert waited >= timedelta(seconds=1)


def test_truncated_page_is_refused_by_name_and_others_are_kept(
    sandbox: SandboxServer, vendor_ids: list[str], log: RequestLog, tmp_path: Path
) -> None:
    bad = vendor_ids[1]
    property_id = bad.partition("/")[2]
    with (
        _client(sandbox, log, tmp_path) as client,
        fault(
            sandbox, vendor="wattsense", kind="truncated_json", path_contains=property_id, times=1
        ),
    ):
        client.fetch_histories(_windows(vendor_ids[:3]))
    batch = to_batch(log.calls())
    assert [problem.subject for problem in batch.problems] == [bad]
    whole = [write.how.ids for write in batch.writes if isinstance(write.how, Window)]
    assert [ids.height for ids in whole] == [2]


def test_nan_goes_to_quarantine_and_its_page_is_kept(
    sandbox: SandboxServer, vendor_ids: list[str], log: RequestLog, tmp_path: Path
) -> None:
    with (
        _client(sandbox, log, tmp_path) as client,
        fault(sandbox, vendor="wattsense", kind="nan_value", path_contains="/properties", times=1),
    ):
        client.fetch_histories(_windows(vendor_ids[:1]))
    batch = to_batch(log.calls())
    assert batch.quarantine["reasons"].to_list() == ["not_finite"]
    assert batch.frame(HISTORY).height > 80


def test_duplicate_page_adds_no_row(
    sandbox: SandboxServer, vendor_ids: list[str], tmp_path: Path
) -> None:
    heights: list[int] = []
    for times in (0, 1):
        log = RequestLog("wattsense")
        with _client(sandbox, log, tmp_path, page_size=40) as client:
            if times:
                with fault(sandbox, vendor="wattsense", kind="duplicate_page", times=times):
                    client.fetch_histories(_windows(vendor_ids[:1]))
            else:
                client.fetch_histories(_windows(vendor_ids[:1]))
        heights.append(to_batch(log.calls()).frame(HISTORY).height)
        assert to_batch(log.calls()).frame(HISTORY).select(HISTORY.key).is_duplicated().sum() == 0
    assert heights[0] == heights[1]


def test_links_in_a_circle_end_and_the_window_is_not_replaced(
    sandbox: SandboxServer, vendor_ids: list[str], log: RequestLog, tmp_path: Path
) -> None:
    with (
        _client(sandbox, log, tmp_path, page_size=40) as client,
        fault(sandbox, vendor="wattsense", kind="repeated_link", times=None),
    ):
        report = client.fetch_histories(_windows(vendor_ids[:1]))
    (error,) = report.failures.values()
    assert isinstance(error, MalformedError)
    assert "circle" in str(error)
    assert len(log) <= 3
    assert [write.how for write in to_batch(log.calls()).writes] == ["merge"]


def test_vendor_that_is_down_is_left_alone_soon(
    sandbox: SandboxServer, vendor_ids: list[str], log: RequestLog, tmp_path: Path
) -> None:
    with (
        _client(sandbox, log, tmp_path, max_parallel=4, total_s=1.0) as client,
        fault(sandbox, vendor="wattsense", kind="down", times=None),
    ):
        report = client.fetch_histories(_windows(vendor_ids))
    assert report.stopped_by is not None
    assert len(report.failures) + len(report.skipped) == len(vendor_ids)
    assert len(log) < len(vendor_ids)
    assert not log.calls()


def test_wrong_secret_is_told_once_without_it(sandbox: SandboxServer, tmp_path: Path) -> None:
    log = RequestLog("wattsense")
    with _client(sandbox, log, tmp_path, api_secret="canary-wrong-secret") as client:
        report: FetchReport = client.fetch_histories(_windows(["B1/p1"] * 30))
    assert isinstance(report.stopped_by, AuthenticationError)
    assert "wattsense.api_secret" in str(report.stopped_by)
    requests, bodies = log.take()
    assert requests.height <= 16
    assert "canary-wrong-secret" not in f"{report} {requests.rows()} {bodies.rows()}"


@pytest.mark.parametrize(("key", "secret"), [("", "s"), ("k", ""), ("k\n", "s"), ("kü", "s")])
def test_credential_no_header_can_carry_is_refused(tmp_path: Path, key: str, secret: str) -> None:
    settings = WattsenseSettings(api_key=key, api_secret=SecretStr(secret))
    with pytest.raises(ConfigurationError, match=r"wattsense\.api_"):
        WattsenseClient(settings, log=RequestLog("x"), state_path=tmp_path / "s")


@pytest.mark.parametrize(
    ("username", "password"), [("", "s"), ("u", ""), ("u:x", "s"), ("u\n", "s"), ("u", "s\r")]
)
def test_credential_that_basic_cannot_carry_is_refused(
    tmp_path: Path, username: str, password: str
) -> None:
    settings = WattsenseSettings(auth="basic", username=username, password=SecretStr(password))
    with pytest.raises(ConfigurationError, match=r"wattsense\.username"):
        WattsenseClient(settings, log=RequestLog("x"), state_path=tmp_path / "s")


@pytest.mark.parametrize("vendor_id", ["", "B1", "/p1", "B1/", "/"])
def test_vendor_id_without_two_parts_is_refused(vendor_id: str) -> None:
    with pytest.raises(ConfigurationError, match=r"registers\.csv"):
        PropertyWindow.of_vendor_id(vendor_id, DAY_AT, NOW_AT, "rome.import")


@pytest.mark.parametrize(
    ("header", "link"),
    [
        ('</v1/x?a=1,2>; rel="next"', "/v1/x?a=1,2"),
        ("<https://h/v1>; rel=next", "https://h/v1"),
        ('<a>; rel="prev", <b>; rel="next"', "b"),
        ('<b>; rel="last next"; title="x", <a>; rel="prev"', "b"),
        ('<a>; rel="prev"', None),
        ("", None),
        ("<a", None),
        ('a; rel="next"', None),
        ('<a>; title="next"', None),
    ],
)
def test_next_link_is_found_among_others(header: str, link: str | None) -> None:
    assert next_link(header) == link
