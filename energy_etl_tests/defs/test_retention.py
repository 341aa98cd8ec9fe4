"""What is kept no longer goes from raw, outbox, history and disk; what is needed stays."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from dagster._core.events import StepMaterializationData

from energy_etl.cli.rebuild import rebuild_from_raw
from energy_etl.defs.instance import create_instance, open_instance
from energy_etl.defs.keeping import prune_history
from energy_etl.defs.resources import Etl
from energy_etl.defs.retention import (
    Old,
    plan_pruning,
    prune,
    raw_reaches_back_to,
)
from energy_etl.delivery import Outbox
from energy_etl.delivery.acks import Response, apply
from energy_etl.delivery.mirror import show
from energy_etl.errors import ConfigurationError, WarehouseError
from energy_etl.settings import Settings
from energy_etl.state import instant_to_us, open_state
from energy_etl.tables.push import MIRROR, PUSH_TABLES
from energy_etl.tables.raw import BODY, QUARANTINE, REQUEST
from energy_etl.warehouse import Warehouse, publish, read_published
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.defs.project import QUIET
from energy_etl_tests.delivery.conftest import packets, plan, stamp_ms

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
TABLES = (REQUEST, BODY, QUARANTINE, *PUSH_TABLES, MIRROR)


def call(name: str, age_days: float, body: str | None, **changes: object) -> dict:
    return {
        "request_id": name,
        "vendor": "wattsense",
        "endpoint": "history",
        "url": "http://127.0.0.1/history",
        "params": json.dumps({"fetch_id": name}),
        "status": 200,
        "body_sha256": body,
        "requested_at": NOW - age_days * DAY,
        **changes,
    }


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return a project with old and young calls, without runs."""
    # Other tables and people's views would be most of the time, for nothing: they are empty here.
    monkeypatch.setattr("energy_etl.defs.warehouse.all_tables", lambda: TABLES)
    monkeypatch.setattr(
        "energy_etl.defs.retention.publish", partial(publish, views_folder=tmp_path / "views")
    )
    create_instance(tmp_path / "data" / "dagster_home")
    settings = Etl(root=str(tmp_path)).settings()
    calls = [
        call("old", 500, "only-old"),
        call("old-again", 450, "shared"),
        call("old-change", 600, "of-a-change", params='{"is_change": true}'),
        call("newest-of-a-silent-one", 700, "silent", vendor="wiser", endpoint="sites"),
        call("young", 10, "shared"),
    ]
    names = ("only-old", "shared", "of-a-change", "silent")
    bodies = [{"body_sha256": n, "body_zlib": b"x" * 1000, "n_bytes": 1} for n in names]
    faults = [
        {
            "request_id": name,
            "vendor": "wattsense",
            "endpoint": "history",
            "row_number": 0,
            "reasons": "value",
            "raw_text": "?",
        }
        for name in ("old", "young")
    ]
    with warehouse_of(settings).write() as writer:
        writer.append(REQUEST, pl.DataFrame(calls, schema=REQUEST.polars_schema))
        writer.append(BODY, pl.DataFrame(bodies, schema=BODY.polars_schema))
        writer.append(QUARANTINE, pl.DataFrame(faults, schema=QUARANTINE.polars_schema))
    return settings


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings.dagster_home) as opened:
        yield opened


def warehouse_of(settings: Settings) -> Warehouse:
    return Warehouse(settings.warehouse_path, TABLES, lock_wait_s=20)


def ended_run(
    instance: dg.DagsterInstance, asset: str, partition: str | None = None, told: str = ""
) -> str:
    """Record a run that brought an asset, without running anything; return its id."""
    run = dg.DagsterRun(job_name="a_job", status=dg.DagsterRunStatus.SUCCESS)
    instance.add_run(run)
    event = dg.AssetMaterialization(asset, partition=partition, metadata={"told": told})
    instance.report_dagster_event(
        dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
            job_name=run.job_name,
            event_specific_data=StepMaterializationData(event),
        ),
        run.run_id,
    )
    return run.run_id


def by_what(found: list[Old]) -> dict[str, int]:
    return {old.what: old.n_rows for old in found if old.n_rows}


def test_raw_and_answers_are_pruned_and_rebuild_refuses_to_lose_rows(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    with open_state(settings.state_path) as connection:
        outbox = Outbox(connection)
        outbox.fill(packets("s", [1]), [plan("s")], now=NOW)
        ages = (200, 100, 1)
        answers = [
            Response("s", stamp_ms(1), instant_to_us(NOW - age * DAY), 0.1, 200, None)
            for age in ages
        ]
        apply(outbox, answers, NOW)
        show(warehouse_of(settings), outbox, [], NOW)
    support = settings.data_dir / "support"
    support.mkdir()
    for name, age in (("old.zip", 31), ("young.zip", 29), ("notes.txt", 500)):
        (support / name).touch()
        at_s = (NOW - age * DAY).timestamp()
        os.utime(support / name, (at_s, at_s))
    found = plan_pruning(settings, instance, NOW)
    old = {
        "calls and answers in raw": 2,
        "answers of Wattics to packets": 2,
        "support bundles": 1,
    }
    assert by_what(found) == old
    assert (found[0].n_bytes, found[0].kept_days) == (1000, 400)
    assert raw_reaches_back_to(settings) is None
    done = prune(settings, instance, NOW)
    assert by_what(list(done.deleted)) == old
    assert {path.name for path in support.iterdir()} == {"young.zip", "notes.txt"}
    query = "SELECT response_id FROM push.response"
    assert read_published(settings.published_path, query).rows() == [(3,)]
    with open_state(settings.state_path) as connection:
        assert connection.execute("SELECT response_id FROM response").fetchall() == [(3,)]
    warehouse = warehouse_of(settings)
    with warehouse.reading() as reader:
        assert set(reader.read_table(REQUEST)["request_id"]) == {
            "old-change",
            "newest-of-a-silent-one",
            "young",
        }
        assert set(reader.read_table(BODY)["body_sha256"]) == {"shared", "of-a-change", "silent"}
        assert reader.read_table(QUARANTINE)["request_id"].to_list() == ["young"]
    assert by_what(plan_pruning(settings, instance, NOW)) == {}
    assert raw_reaches_back_to(settings) == NOW - 400 * DAY
    with pytest.raises(ConfigurationError, match=r"Raw was pruned.*rebuild --lose-older"):
        next(rebuild_from_raw(settings))


def test_history_goes_but_for_the_runs_that_the_ui_leans_on(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = f"{NOW:%Y-%m-%d}"
    runs = {
        "too old a day": ended_run(instance, "readings", "2024-01-02"),
        "superseded": ended_run(instance, "readings", today),
        "newest of the day": ended_run(instance, "readings", today),
        "superseded figures": ended_run(instance, "figures"),
        "newest figures": ended_run(instance, "figures"),
    }
    later = NOW + 40 * DAY
    # Whatever else is old was pruned by other tests.
    monkeypatch.setattr("energy_etl.defs.retention.publish", lambda *_, **__: None)
    assert by_what(plan_pruning(settings, instance, NOW)).get("runs in Dagster's history") is None
    prune(settings, instance, later)
    left = {run.run_id for run in instance.get_runs()}
    assert {name for name, run_id in runs.items() if run_id in left} == {
        "newest of the day",
        "newest figures",
    }
    kept = instance.get_latest_storage_id_by_partition(
        dg.AssetKey("readings"), dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    assert set(kept) == {today}
    files = {path.name.split(".")[0] for path in settings.dagster_home.glob("history/runs/*.db")}
    assert files == {*left, "index"}


def test_command_tells_what_is_too_old_before_it_asks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = Typed(settings.root, "http://127.0.0.1:1", monkeypatch, capsys)
    told = "2 calls and answers in raw of "
    code, out, _ = typed.run("prune", "--dry-run")
    assert code == 0
    assert out.startswith(told)
    assert out.endswith("Nothing was deleted: it is a dry run.\n")
    code, out, _ = typed.run("prune", answers="n\n")
    assert code == 1
    assert told in out
    code, out, _ = typed.run("prune", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)[0]["n_rows"] == 2
    assert "--json asks no question" in typed.run("prune", "--json")[2]


def test_prune_that_a_full_disk_ended_is_finished_by_the_next_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It found nothing old any more and did nothing: people went on seeing what was deleted."""
    typed = Typed(settings.root, "http://127.0.0.1:1", monkeypatch, capsys)

    def full(*_: object, **__: object) -> None:
        raise WarehouseError("The disk is full: make room and run again.")

    with monkeypatch.context() as patched:
        patched.setattr("energy_etl.defs.retention.publish", full)
        assert typed.run("prune", "--yes")[0] == 1
    assert not settings.published_path.exists()
    told = "Nothing is older than it is to be kept.\n"
    assert typed.run("prune", "--dry-run")[:2] == (0, told)
    assert not settings.published_path.exists()
    assert typed.run("prune", "--yes")[:2] == (0, told)
    assert settings.published_path.exists()


def test_job_tells_in_a_dry_run_and_deletes_nothing(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        result = prune_history.execute_in_process(
            run_config={"ops": {"prune_old": {"config": {"dry_run": True}}}, **QUIET},
            resources={"etl": Etl(root=str(settings.root), now_at=NOW.isoformat())},
            instance=ephemeral,
        )
        told = [entry.user_message for entry in ephemeral.all_logs(result.run_id)]
    assert any(text.startswith("2 calls and answers in raw of ") for text in told)
    assert "Nothing was deleted: it is a dry run." in told
    assert warehouse_of(settings).read_table(REQUEST).height == 5


def test_settings_of_zero_days_keep_for_ever(
    settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_KEEP__RAW_DAYS", "0")
    monkeypatch.setenv("ENERGY_ETL_KEEP__DAGSTER_DAYS", "0")
    for_ever = Etl(root=str(settings.root)).settings()
    assert by_what(plan_pruning(for_ever, instance, NOW + 4000 * DAY)) == {}
