"""The Digiwatt client against the sandbox: all ten endpoints, odd ids, faults, one token."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from energy_etl.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
)
from energy_etl.rest import RequestLog
from energy_etl.sandbox import SandboxServer
from energy_etl.vendors.digiwatt import tables
from energy_etl.vendors.digiwatt.client import (
    DISAGGREGATION_PERIODS,
    ENDPOINTS,
    PERIODS,
    DigiwattClient,
    SmartMeter,
)
from energy_etl.vendors.digiwatt.rows import to_batch
from energy_etl.vendors.digiwatt.settings import DigiwattSettings, sandbox_section
from energy_etl_tests.vendors.extracting import content, fault, replayed, running_sandbox

METERS_CSV = Path(__file__).parents[3] / "data" / "portfolio.example" / "meters.csv"
TODAY_ON = date(2025, 4, 16)
N_CALLS = 4 * len(PERIODS) + len(DISAGGREGATION_PERIODS) + 5


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def meters() -> list[SmartMeter]:
    with METERS_CSV.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["meter_id_digiwatt"]]
    return [SmartMeter(row["meter_id_digiwatt"], TODAY_ON, row["meter_id"]) for row in rows]


@pytest.fixture
def log() -> RequestLog:
    return RequestLog("digiwatt")


@contextmanager
def _client(
    sandbox: SandboxServer, log: RequestLog, folder: Path, **changes: Any
) -> Iterator[DigiwattClient]:
    settings = DigiwattSettings.model_validate(sandbox_section(sandbox.url) | changes)
    client = DigiwattClient(
        settings, log=log, state_path=folder / "state.sqlite", token_folder=folder / "tokens"
    )
    with client:
        yield client


def test_each_method_asks_its_endpoint(
    sandbox: SandboxServer, meters: list[SmartMeter], log: RequestLog, tmp_path: Path
) -> None:
    with _client(sandbox, log, tmp_path) as client:
        for name, template in ENDPOINTS.items():
            method = getattr(client, "fetch_" + name.replace("-", "_"))
            answer = method(meters[0], *(["last-week"] if "{period}" in template else []))
            assert f"/{name}" in answer.url
    batch = to_batch(log.calls())
    assert {write.table for write in batch.writes} == {
        *tables.DIGIWATT_TABLES[:-1],
    }
    assert not batch.problems
    assert batch.frame(tables.SCHEMA_DRIFT).is_empty()


def test_each_period_of_the_document_is_asked_for_and_answered(
    sandbox: SandboxServer, meters: list[SmartMeter], log: RequestLog, tmp_path: Path
) -> None:
    periods = [
        "yesterday",
        "last-seven-days",
        "this-week",
        "last-week",
        "this-month",
        "last-month",
    ]
    with _client(sandbox, log, tmp_path) as client:
        for period in periods:
            assert client.fetch_consumption(meters[0], period).url.endswith(f"/{period}")
        with pytest.raises(BadRequestError, match="answered 400"):
            client.fetch_consumption(meters[0], "last-decade")
    assert list(PERIODS) == periods
    figures = to_batch(log.calls()).frame(tables.CONSUMPTION)
    assert figures["period"].to_list() == periods
    assert figures["consumption_kwh"].null_count() == 0


def test_many_meters_with_any_id_are_fetched_whole_and_replayed(
    sandbox: SandboxServer, meters: list[SmartMeter], log: RequestLog, tmp_path: Path
) -> None:
    odd = {"a/b?c#..1", ".."}
    assert odd <= {meter.smartmeter_id for meter in meters}
    chosen = [meter for meter in meters if meter.smartmeter_id in odd]
    with _client(sandbox, log, tmp_path) as client:
        report = client.fetch_meters(chosen)
    assert report.sentences() == []
    assert len(report.done) == 2 * N_CALLS
    live = to_batch(log.calls())
    figures = live.frame(tables.CONSUMPTION)
    assert set(figures["smartmeter_id_digiwatt"]) == odd
    assert figures.height == 2 * len(PERIODS)
    assert content(live) == content(to_batch(replayed(log)))


def test_sum_of_the_distribution_is_the_consumption(
    sandbox: SandboxServer, meters: list[SmartMeter], log: RequestLog, tmp_path: Path
) -> None:
    with _client(sandbox, log, tmp_path) as client:
        for meter in meters:
            client.fetch_consumption(meter, "last-month")
            client.fetch_consumption_distribution(meter, "last-month")
    batch = to_batch(log.calls())
    sums = (
        batch.frame(tables.CONSUMPTION_DISTRIBUTION)
        .group_by("smartmeter_id_digiwatt")
        .agg(pl.col("consumption_kwh").sum())
    )
    joined = sums.join(batch.frame(tables.CONSUMPTION), on="smartmeter_id_digiwatt")
    assert joined.height == len(meters)
    apart = (joined["consumption_kwh"] - joined["consumption_kwh_right"]).abs().max()
    assert apart == pytest.approx(0.0, abs=0.1)


def test_unknown_meter_is_told_once_and_stops_no_other(
    sandbox: SandboxServer, meters: list[SmartMeter], log: RequestLog, tmp_path: Path
) -> None:
    nobody = SmartMeter("no-such-meter", TODAY_ON, "meter nobody")
    with _client(sandbox, log, tmp_path, max_parallel=2) as client:
        report = client.fetch_meters([nobody, meters[0]], periods=PERIODS[:2])
    assert all(isinstance(error, NotFoundError) for error in report.failures.values())
    (sentence,) = report.sentences()
    assert sentence.startswith("meter nobody: digiwatt ")
    assert all(subject.startswith(meters[0].subject) for subject in report.done)
    assert len(report.done) == 4 * 2 + len(DISAGGREGATION_PERIODS) + 5


def test_expired_token_in_mid_run_loses_nothing(
    sandbox: SandboxServer, meters: list[SmartMeter], log: RequestLog, tmp_path: Path
) -> None:
    with (
        _client(sandbox, log, tmp_path) as client,
        fault(
            sandbox,
            vendor="digiwatt",
            kind="status",
            status=401,
            path_contains="/smartmeters/",
            times=1,
        ),
    ):
        report = client.fetch_meters(meters[:1], periods=PERIODS[:2])
    assert report.is_complete
    requests, _ = log.take()
    tokens = requests.filter(endpoint="token")
    assert tokens["status"].to_list() == [200, 200]
    assert tokens["body_sha256"].null_count() == 2


def test_faults_that_pass_lose_nothing(
    sandbox: SandboxServer, meters: list[SmartMeter], log: RequestLog, tmp_path: Path
) -> None:
    with (
        _client(sandbox, log, tmp_path) as client,
        fault(sandbox, vendor="digiwatt", kind="status", status=502, times=3),
    ):
        assert client.fetch_meters(meters[:1], periods=PERIODS[:1]).is_complete


def test_wrong_secret_is_told_once_without_it(
    sandbox: SandboxServer, meters: list[SmartMeter], log: RequestLog, tmp_path: Path
) -> None:
    with _client(sandbox, log, tmp_path, client_secret="canary-wrong-secret") as client:
        report = client.fetch_meters(meters)
    assert isinstance(report.stopped_by, AuthenticationError)
    assert "digiwatt.client_secret" in str(report.stopped_by)
    requests, bodies = log.take()
    assert requests.height <= 32
    assert "canary-wrong-secret" not in f"{report} {requests.rows()} {bodies.rows()}"


@pytest.mark.parametrize("missing", ["client_id", "client_secret", "base_url"])
def test_missing_setting_is_named(tmp_path: Path, missing: str) -> None:
    section = sandbox_section("http://127.0.0.1:1") | {missing: ""}
    with pytest.raises(ConfigurationError, match=rf"digiwatt\.{missing}"):
        DigiwattClient(
            DigiwattSettings.model_validate(section),
            log=RequestLog("digiwatt"),
            state_path=tmp_path / "s",
            token_folder=tmp_path / "t",
        )
