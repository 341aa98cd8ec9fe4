"""`energy-etl backfill`: the preview calls nobody, counts what a fetch would count, and asks."""

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from pydantic import SecretStr

from energy_etl.cli.setup import prepare
from energy_etl.defs.instance import open_instance
from energy_etl.quota import Quota, quota_use
from energy_etl.rest import RequestLog
from energy_etl.tables import core
from energy_etl.tables.raw import REQUEST
from energy_etl.vendors import (
    PAST_METERS,
    PAST_REGISTERS,
    PAST_STREAMS,
    PastQuestion,
    PlannedCalls,
    all_tables,
    oldest_sentence,
    project_settings,
)
from energy_etl.vendors.smartgridone.preview import preview_past as preview_smartgridone
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings
from energy_etl.vendors.wattics.api_client import RawDataWanted, WatticsApiClient
from energy_etl.vendors.wattics.preview import preview_past as preview_wattics
from energy_etl.vendors.wattics.settings import WatticsSettings
from energy_etl.vendors.wattsense.client import WattsenseClient
from energy_etl.vendors.wattsense.preview import preview_past as preview_wattsense
from energy_etl.vendors.wattsense.settings import WattsenseSettings, sandbox_section
from energy_etl.warehouse import Warehouse
from energy_etl_tests.cli.typed import Typed, make_root

NOWHERE = "http://127.0.0.1:9"
DAYS = ("--from", "2025-01-01", "--to", "2025-02-15")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("project"))


@pytest.fixture
def typed(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """A project whose vendors nobody could reach: a preview calls none."""
    return Typed(root, NOWHERE, monkeypatch, capsys)


def registers(*rows_per_day: float | None, oldest_at: datetime | None = None) -> pl.DataFrame:
    rows = [
        {
            "register_id": f"r{n}",
            "meter_id": "m",
            "site_id": "s",
            "vendor_id": f"n{n}/actualPowerTot_W",
            "rows_per_day": rows,
            "oldest_at": oldest_at,
        }
        for n, rows in enumerate(rows_per_day)
    ]
    return pl.DataFrame(rows, schema=PAST_REGISTERS)


def question(
    settings: Any, frame: pl.DataFrame, n_days: int, fields: Sequence[str] = (), **call_s: float
) -> PastQuestion:
    start_at = datetime(2025, 1, 1, tzinfo=UTC)
    edges = [min(n, n_days) for n in range(0, n_days + 31, 31)]
    batches = tuple(
        (start_at + timedelta(days=a), start_at + timedelta(days=b))
        for a, b in itertools.pairwise(edges)
        if a < b
    )
    last_on = date(2025, 1, 1) + timedelta(days=n_days - 1)
    return PastQuestion(
        date(2025, 1, 1),
        last_on,
        batches,
        frame,
        PAST_METERS.to_frame(),
        pl.DataFrame({name: list(fields) for name in PAST_STREAMS}, schema=PAST_STREAMS),
        settings,
        call_s,
        start_at,
    )


@pytest.mark.parametrize(
    ("n_calls", "n_used", "expected_s"),
    [(0, 0, 0.0), (100, 0, 25.0), (101, 0, 60.25), (100, 100, 85.0), (300, 50, 192.5)],
)
def test_time_is_that_of_the_calls_and_of_the_windows_they_wait_for(
    n_calls: int, n_used: int, expected_s: float
) -> None:
    calls = PlannedCalls("calls", n_calls, "q", 100, 60.0, call_s=0.5, max_parallel=2)
    assert calls.expected_s(n_used) == pytest.approx(expected_s)


def test_wattsense_counts_pages_per_register_and_batch() -> None:
    settings = WattsenseSettings(page_size=1000)
    # 31 and 14 days; 10 rows a day fit one page, 96 a day need 3 and 2, unknown counts as 96.
    found = preview_wattsense(question(settings, registers(10.0, 96.0, None), 45, history=0.2))
    assert found.calls[0].n_calls == 2 * 1 + 2 * (3 + 2)
    assert (found.calls[0].call_s, found.calls[0].is_measured) == (0.2, True)
    assert found.n_registers == 3


def test_smartgridone_counts_the_calls_that_a_fetch_would_make() -> None:
    settings = SmartgridOneSettings(
        retention_policies=("rp_ten_m",), rows_per_statement=1_000, rows_per_call=5_000
    )
    # 31 days are 4464 rows: 5 queries of at most 1000 per register, 5 queries a call.
    found = preview_smartgridone(question(settings, registers(1.0, 1.0), 31))
    assert found.calls[0].n_calls == 2
    assert not found.calls[0].is_measured
    assert "rp_ten_m" in " ".join(found.not_given)
    none = preview_smartgridone(question(settings, registers(), 31))
    assert (none.n_registers, none.calls[0].n_calls) == (0, 0)


def test_wattics_counts_windows_of_electrical_streams_only_and_needs_a_token() -> None:
    settings = WatticsSettings(api_token=SecretStr("token"))
    found = preview_wattics(question(settings, registers(), 45, ["pC_1", "value", "aP_1"]))
    assert (found.n_registers, found.calls[0].n_calls) == (2, 2 * 2)
    none = preview_wattics(question(WatticsSettings(), registers(), 45, ["pC_1"]))
    assert (none.asset, none.calls) == (None, ())
    assert "token" in none.not_given[0]


def test_raw_data_calls_that_were_measured_were_told_as_a_guess(tmp_path: Path) -> None:
    settings = WatticsSettings(api_url=NOWHERE, api_token=SecretStr("token"), total_s=0.1)
    log = RequestLog("wattics")
    at = datetime(2025, 1, 1, tzinfo=UTC)
    with WatticsApiClient(settings, log=log, state_path=tmp_path / "state.sqlite") as client:
        assert client.fetch_raw_windows([RawDataWanted("7", at, at + timedelta(1), "r")]).failures
    (endpoint,) = set(log.take()[0]["endpoint"])
    found = preview_wattics(question(settings, registers(), 1, ["pC_1"], **{endpoint: 0.25}))
    assert (found.calls[0].call_s, found.calls[0].is_measured) == (0.25, True)


def test_retention_that_nobody_documents_is_told_by_the_oldest_reading_seen() -> None:
    first_on = date(2025, 1, 1)
    assert "none was loaded so far" in oldest_sentence("X", registers(None), first_on)
    old = registers(1.0, oldest_at=datetime(2024, 12, 1, tzinfo=UTC))
    assert "covers the days asked for" in oldest_sentence("X", old, first_on)
    new = registers(1.0, oldest_at=datetime(2025, 3, 1, tzinfo=UTC))
    assert "is of 2025-03-01" in oldest_sentence("X", new, first_on)


def test_preview_counts_against_the_quota_that_the_client_uses(tmp_path: Path) -> None:
    settings = WattsenseSettings.model_validate(sandbox_section(NOWHERE) | {"total_s": 0.1})
    state_path = tmp_path / "state.sqlite"
    (calls,) = preview_wattsense(question(settings, registers(1.0), 1)).calls
    assert quota_use(state_path, calls.quota, calls.window_s, 0.0).n_used == 0
    with WattsenseClient(settings, log=RequestLog("wattsense"), state_path=state_path) as client:
        report = client.fetch_inventory(with_configs=False)
    assert report.failures
    now_s = datetime.now(UTC).timestamp()
    assert quota_use(state_path, calls.quota, calls.window_s, now_s).n_used > 0
    assert quota_use(state_path, calls.quota, calls.window_s, now_s + 400).n_used == 0
    api = WatticsSettings(api_url=NOWHERE, api_token=SecretStr("token"), total_s=0.1)
    (windows,) = preview_wattics(question(api, registers(), 1, ["pC_1"])).calls
    with WatticsApiClient(api, log=RequestLog("wattics"), state_path=state_path) as client:
        assert client.fetch_listing(None).failures
    assert quota_use(state_path, windows.quota, windows.window_s, now_s).n_used > 0
    quota = Quota(state_path, calls.quota, calls.limit, calls.window_s)
    quota.pause(100.0)
    quota.close()
    assert 90 < quota_use(state_path, calls.quota, calls.window_s, now_s).pause_s < 110


def test_preview_tells_each_vendor_and_calls_none(typed: Typed, root: Path) -> None:
    warehouse = Warehouse(project_settings(root).warehouse_path, all_tables())
    now = datetime.now(UTC)
    first_at = now - timedelta(days=2)
    readings = pl.DataFrame(
        {
            "register_id": "rome-b.grid_import",
            "read_at": [first_at + timedelta(hours=n) for n in range(49)],
            "reading_native": 1.0,
            "version": 1,
            "vendor": "wattsense",
            "received_at": now,
        }
    )
    request = dict.fromkeys(REQUEST.polars_schema.names()) | {
        "request_id": "r",
        "vendor": "wattsense",
        "endpoint": "history",
        "url": "u",
        "status": 200,
        "requested_at": now,
        "elapsed_ms": 250.0,
    }
    with warehouse.write() as writer:
        writer.append(core.READING, readings)
        writer.append(REQUEST, pl.DataFrame([request], schema=REQUEST.polars_schema))
    code, out, err = typed.run("backfill", *DAYS, "--preview")
    assert (code, err) == (0, "")
    assert "46 UTC days, 2 runs for each vendor." in out
    assert "Digiwatt: nothing of these days can be loaded." in out
    assert "what was not fetched on a past day cannot be fetched any more" in out
    assert "into wattsense/history, about" in out
    assert "at 0.25 s each (measured)" in out
    assert "into smartgridone/telemetry, about" in out
    assert "a guess, none was made yet" in out
    assert "0 are used, 2500 are left" in out
    assert "metadata only" in out
    assert "into wattics/raw_data, about" in out
    assert "Asked for" not in out
    only = ("--vendor", "wattsense", "--only-site", "rome-b", "--json")
    code, out, _ = typed.run("backfill", *DAYS, "--preview", *only)
    (vendor,) = json.loads(out)
    assert (vendor["vendor"], vendor["n_days"], vendor["backfill_id"]) == ("wattsense", 46, None)
    assert vendor["calls"][0]["n_left"] == 2500
    everything = vendor["n_registers"]
    code, out, _ = typed.run("backfill", *DAYS, "--preview", *only, "--only-meter", "rome-b.mains")
    assert 0 < json.loads(out)[0]["n_registers"] < everything


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "2025-02-01", "--to", "2025-01-01"), "is later than --to"),
        (("--from", "2014-02-01", "--to", "2025-01-01"), "lies before 2015-01-01"),
        (("--from", "2025-02-01", "--to", "2999-01-01"), "has not begun yet"),
        ((*DAYS, "--vendor", "acme"), "--vendor acme is not known: take one of digiwatt"),
        ((*DAYS, "--only-meter", "rome-z.mains"), "--only-meter rome-z.mains is not in the"),
        ((*DAYS, "--only-site", "rome-z"), "--only-site rome-z is not in the portfolio"),
        ((*DAYS, "--vendor", "digiwatt"), "Nothing of these days can be loaded"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(
    typed: Typed, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = typed.run("backfill", *arguments)
    # What was typed is wrong, or what the settings let anybody load.
    assert (code, out) == (3 if message.startswith("Nothing") else 2, "")
    assert message in err
    assert err.count("\n") == 1


def test_backfill_is_requested_as_the_ui_requests_it(typed: Typed, root: Path) -> None:
    settings = project_settings(root)
    arguments = ("--vendor", "wattsense", "--only-meter", "rome-b.mains")
    code, _, err = typed.run("backfill", *DAYS, *arguments)
    assert code == 3
    assert "run `energy-etl init` first" in err
    prepare(settings)
    code, out, err = typed.run("backfill", *DAYS, *arguments)
    assert (code, err) == (0, "")
    with open_instance(settings.dagster_home) as instance:
        (backfill,) = instance.get_backfills()
    assert f"Asked for wattsense/history: backfill {backfill.backfill_id}." in out
    key = dg.AssetKey(["wattsense", "history"])
    assert backfill.asset_selection == [key]
    data = backfill.asset_backfill_data
    assert data is not None
    days = list(data.target_subset.get_partitions_subset(key).get_partition_keys())
    assert (len(days), min(days), max(days)) == (46, "2025-01-01", "2025-02-15")
    assert backfill.run_config == {
        "ops": {
            "wattsense_history": {"config": {"only_meters": ["rome-b.mains"], "only_sites": []}}
        }
    }
