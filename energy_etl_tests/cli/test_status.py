"""`energy-etl status` and `energy-etl vendors`: how it stands, without calling anybody."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from energy_etl.cli import standing
from energy_etl.quota import Quota
from energy_etl.rest import RequestLog
from energy_etl.tables.raw import REQUEST
from energy_etl.vendors import all_tables
from energy_etl.warehouse import Warehouse
from energy_etl_tests.cli.called import make_called, publish_called
from energy_etl_tests.cli.doctor.test_faults import HOLD
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.warehouse.frames import other_process

SECRET = "hunter2-hunter2"


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    make_called(tmp_path)
    monkeypatch.setenv("ENERGY_ETL_DIGIWATT__CLIENT_SECRET", SECRET)
    return Typed(tmp_path, "http://127.0.0.1:9", monkeypatch, capsys)


def test_status_tells_vendors_marks_and_what_was_published(typed: Typed, tmp_path: Path) -> None:
    code, out, err = typed.run("status", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts["computed_at"] is facts["findings"] is facts["delivery"] is None
    publish_called(tmp_path)
    _, out, _ = typed.run("status", "--json")
    facts = json.loads(out)
    rows = {row["vendor"]: row for row in facts["vendors"]}
    assert list(rows) == ["digiwatt", "smartgridone", "wattics", "wattsense", "wiser"]
    assert rows["digiwatt"]["is_failing"]
    assert rows["digiwatt"]["last_error"].startswith("digiwatt savings answered 422")
    assert rows["digiwatt"]["last_success_at"] < rows["digiwatt"]["last_failure_at"]
    assert not rows["wattsense"]["is_failing"]
    assert rows["wattsense"]["readings_until_at"] == "2024-01-01T00:15:00Z"
    assert rows["smartgridone"]["last_success_at"] is None
    (mark,) = facts["marks"]
    assert (mark["stage"], mark["n_marks"], mark["n_registers"]) == ("interval", 1, 1)
    assert facts["computed_at"] is not None
    assert facts["findings"] == {}
    assert facts["is_up"] is False
    code, out, _ = typed.run("status")
    assert code == 0
    assert "Waiting:  interval of 1 registers since 20" in out
    assert "Digiwatt: digiwatt savings answered 422" in out
    assert f"{tmp_path}/data/energy.duckdb (open it read-only)" in out
    assert out.count("answered 422") == 1


def test_failure_that_was_answered_since_is_told_with_its_reason(
    typed: Typed, tmp_path: Path
) -> None:
    log = RequestLog("wattsense")
    now = datetime.now(UTC)
    calls = (("users", "wattsense users answered 403:\nask.", 60), ("token", "refused", 59))
    for endpoint, error, age_s in (*calls, ("user", None, 1)):
        log.record(
            endpoint=endpoint,
            url="https://wattsense.test/v1",
            params={},
            status=403 if error else 200,
            error=error,
            requested_at=now - timedelta(seconds=age_s),
            elapsed_ms=1.0,
        )
    with Warehouse(tmp_path / "data" / "warehouse.duckdb", all_tables()).write() as writer:
        writer.append(REQUEST, log.take()[0])
    _, out, _ = typed.run("status")
    # The refused token of that call says less than the call.
    assert "Wattsense, answered since: wattsense users answered 403: ask.\n" in out


def test_vendors_tells_what_is_configured_called_and_left(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_WISER__CLIENT_ID", "")
    monkeypatch.setenv("ENERGY_ETL_WISER__BASE_URL", f"https://me:{SECRET}@wiser.test/v1")
    quota = Quota(
        tmp_path / "data" / "state.sqlite", "digiwatt at http://127.0.0.1:9/digiwatt", 3000, 60.0
    )
    quota.acquire(0.0)
    quota.close()
    code, out, err = typed.run("vendors", "--json")
    assert (code, err) == (0, "")
    assert SECRET not in out
    told = json.loads(out)
    rows = {row["vendor"]: row for row in told["vendors"]}
    assert (told["target"], rows["digiwatt"]["configured"]) == ("sandbox", "yes")
    assert rows["wiser"]["configured"] == "half: wiser.client_id missing"
    assert (rows["digiwatt"]["n_calls_last_hour"], rows["digiwatt"]["n_failed_last_hour"]) == (1, 1)
    assert rows["wattsense"]["n_calls_last_hour"] == 1
    assert rows["wiser"]["n_calls_last_hour"] == 0
    (budget,) = rows["digiwatt"]["quotas"]
    assert (budget["limit"], budget["n_left"], budget["pause_s"]) == (3000, 2999, 0.0)
    code, out, _ = typed.run("vendors")
    assert code == 0
    assert "2999/3000 calls in 60 s" in out
    assert "1, 1 failed" in out
    assert SECRET not in out
    assert rows["wiser"]["addresses"] == ["https://wiser.test/v1"]
    assert "calls on configurations in 300 s" in out


def test_warehouse_that_a_run_holds_leaves_the_calls_open(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "LOCK_WAIT_S", 0.1)
    with other_process(HOLD, tmp_path / "data" / "warehouse.duckdb"):
        code, out, err = typed.run("vendors", "--json")
        shown = typed.run("vendors")
    assert code == 0
    assert "A run is writing the warehouse" in err
    assert {row["n_calls_last_hour"] for row in json.loads(out)["vendors"]} == {None}
    assert shown[0] == 0


@pytest.mark.parametrize("command", ["status", "vendors", "support-bundle"])
def test_folder_without_a_project_is_told_and_none_is_made(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed = Typed(tmp_path / "elsewhere", "http://127.0.0.1:9", monkeypatch, capsys)
    code, out, err = typed.run(command)
    assert (code, out) == (3, "")
    assert "run `energy-etl init`" in err
    assert not (tmp_path / "elsewhere").exists()
