"""Jobs that change something at SmartgridOne: dry first, confirmed by hash, recorded; the mart."""

import json
from collections.abc import Iterator
from typing import Any, cast

import dagster as dg
import polars as pl
import pytest

from energy_etl.cli.rebuild import _calls
from energy_etl.defs import changes
from energy_etl.defs.jobs import COMPUTE_JOB
from energy_etl.defs.partitions import changed_tags
from energy_etl.errors import ConfigurationError, WarehouseError, WarehouseLockedError
from energy_etl.sandbox.model import controller_id_smartgridone
from energy_etl.sandbox.smartgridone import SmartgridOne
from energy_etl.tables import core
from energy_etl.tables.mart import FINDING
from energy_etl.vendors import group_fetches
from energy_etl.vendors.smartgridone import VENDOR
from energy_etl.vendors.smartgridone.change_rows import to_batch
from energy_etl.vendors.smartgridone.change_tables import CHANGE, LICENCE_MART
from energy_etl.vendors.smartgridone.changes import ActivateLicense, ClaimLicense, UpdateDevice
from energy_etl_tests.defs.project import QUIET, Project, failure_text
from energy_etl_tests.vendors.extracting import fault

BOX = controller_id_smartgridone("ghent-a")
OPS = {"activate_license": "activate", "claim_license": "claim", "update_device": "update"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project of this module: each test changes a thing of its own."""
    with Project(tmp_path_factory.mktemp("changes"), sites=("ghent-a",)) as made:
        yield made


def launch(project: Project, job: str, **config: Any) -> dg.ExecuteInProcessResult:
    """Run a job as a person launches it."""
    result = project.definitions.resolve_job_def(job).execute_in_process(
        instance=project.instance,
        run_config={**QUIET, "ops": {OPS[job]: {"config": config}}},
        raise_on_error=False,
    )
    print(failure_text(result))
    return result


def told_by(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Return the metadata that a run shows."""
    assert result.success
    (output,) = [
        event.step_output_data for event in result.all_events if event.is_successful_output
    ]
    return {name: shown.value for name, shown in output.metadata.items()}


def sent_to(project: Project, path: str) -> int:
    """Count the calls that could have changed something."""
    return sum(path in entry.path for entry in project.sandbox.app.log)


def key_of(project: Project, *, is_claimed: bool) -> str:
    licences = cast(SmartgridOne, project.sandbox.app.vendors["smartgridone"]).licences
    return next(
        each.key
        for each in licences._licences.values()
        if each.activated_ms is None and (each.controller == BOX) is is_claimed
    )


def recorded(project: Project) -> pl.DataFrame:
    return project.warehouse.read_table(CHANGE).sort("begun_at")


def test_changes_are_shown_then_confirmed_then_done_and_kept_by_a_rebuild(
    project: Project,
) -> None:
    key = key_of(project, is_claimed=True)
    dry = launch(project, "activate_license", key=key)
    shown = told_by(dry)
    assert shown["body"] == {"key": key}
    assert shown["before"]["activation_at"] is None
    assert shown["after"]["activation_at"] == "the instant of the call"
    assert "/v1/license/activate" in shown["plan"]
    assert sent_to(project, "license/activate") == 0

    # Not without the hash, nor with one of something else.
    refused = launch(project, "activate_license", key=key, dry_run=False)
    assert not refused.success
    assert "The plan (none) was confirmed" in failure_text(refused)
    with pytest.raises(ConfigurationError, match="nothing was sent"):
        changes.do_change(project.etl, ActivateLicense(key), confirm="0" * 16, asked_by="x")
    assert sent_to(project, "license/activate") == 0
    assert recorded(project).is_empty()

    confirm = shown["plan_hash"]
    done = launch(project, "activate_license", key=key, dry_run=False, confirm=confirm)
    assert told_by(done)["outcome"] == "done"
    with pytest.raises(ConfigurationError, match="not worth calling"):
        changes.do_change(project.etl, ActivateLicense(key), confirm=confirm, asked_by="x")
    assert sent_to(project, "license/activate") == 1

    # A refusal is a record too.
    wish = ClaimLicense("NO-SUCH-KEY", BOX)
    confirm = changes.plan_change(project.etl, wish).plan_hash
    refused = launch(
        project, "claim_license", key=wish.key, node_id=BOX, dry_run=False, confirm=confirm
    )
    assert "404" in failure_text(refused)

    rows = recorded(project)
    assert rows.select("action", "subject", "outcome", "status", "asked_by").rows() == [
        ("activate_license", key, "done", 200, f"run {done.run_id}"),
        ("claim_license", "NO-SUCH-KEY", "refused", 404, f"run {refused.run_id}"),
    ]
    assert rows["plan_hash"][0] == shown["plan_hash"]
    # Raw alone gives the same rows.
    fetches = group_fetches(_calls(project.warehouse, VENDOR.name))
    rebuilt = pl.concat([to_batch(calls).frame(CHANGE) for calls in fetches]).sort("begun_at")
    assert rebuilt.equals(rows)


def test_plan_of_a_device_that_changed_since_is_not_carried_out(project: Project) -> None:
    wish = UpdateDevice(BOX, {"name": "Cellar"})
    old = changes.plan_change(project.etl, wish).plan_hash
    other = UpdateDevice(BOX, {"name": "Attic"}, "legacy", is_validated=True)
    done = launch(
        project,
        "update_device",
        node_id=BOX,
        properties={"name": "Attic"},
        mode="legacy",
        is_validated=True,
        dry_run=False,
        confirm=changes.plan_change(project.etl, other).plan_hash,
    )
    assert told_by(done)["outcome"] == "done"
    with pytest.raises(ConfigurationError, match=f"The plan {old} was confirmed"):
        changes.do_change(project.etl, wish, confirm=old, asked_by="x")
    (row,) = recorded(project).filter(action="update_device").iter_rows(named=True)
    assert json.loads(row["state_after"]) == {"name": "Attic"}


def test_change_that_cannot_be_recorded_is_not_begun(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = UpdateDevice(BOX, {"name": "Not begun"})
    plan = changes.plan_change(project.etl, wish)
    n_before = sent_to(project, "/v1/device/")

    def locked(*_: Any, **__: Any) -> None:
        raise WarehouseLockedError("locked by somebody")

    monkeypatch.setattr(changes, "write_batch", locked)
    with pytest.raises(WarehouseLockedError):
        changes.do_change(project.etl, wish, confirm=plan.plan_hash, asked_by="somebody")
    # The state was read once more, and nothing else was called.
    assert sent_to(project, "/v1/device/") == n_before + 1


def test_record_that_fails_after_the_call_says_what_was_done(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = UpdateDevice(BOX, {"name": "Not recorded"})
    plan = changes.plan_change(project.etl, wish)
    real, n_writes = changes.write_batch, 0

    def locked_later(*args: Any, **kwargs: Any) -> Any:
        nonlocal n_writes
        n_writes += 1
        if n_writes == 2:
            raise WarehouseLockedError("locked by somebody")
        return real(*args, **kwargs)

    monkeypatch.setattr(changes, "write_batch", locked_later)
    with pytest.raises(WarehouseError, match=r"did update_device.*could not be recorded"):
        changes.do_change(project.etl, wish, confirm=plan.plan_hash, asked_by="somebody")
    # What was begun stands there all the same.
    begun = recorded(project).filter(asked_by="somebody")
    assert begun.select("outcome", "plan_hash").rows() == [("unknown", plan.plan_hash)]


def test_licences_are_in_the_mart_and_their_check_warns_without_stopping_anything(
    project: Project,
) -> None:
    names = ("change", "company", "device", "licence", "monitor", "role", "series")
    assets = [f"smartgridone.{name}" for name in names]
    assert project.run("extract_smartgridone", assets=assets).success
    with project.warehouse.write() as writer:
        for table, frame in project.etl.portfolio().frames.items():
            if table in (core.ALIAS, core.REGISTER):
                writer.replace_all(table, frame)
    marts = (LICENCE_MART.full_name, FINDING.full_name)
    result = project.run(COMPUTE_JOB, changed_tags(project.now.date()), marts)
    assert result.success
    licences = project.warehouse.read_table(LICENCE_MART)
    assert {"active", "ended", "unclaimed"} <= set(licences["licence_status"])
    small = licences.filter(pl.col("has_capacity").not_() & pl.col("solar_kw").is_not_null())
    main = small.row(0, named=True)
    assert (main["site_id"], main["solar_kw"], main["installed_solar_kw"]) == ("ghent-a", 4.0, 5.0)
    kinds = set(project.warehouse.read_table(FINDING)["kind"])
    assert {"licence_unclaimed", "licence_too_small"} <= kinds
    (verdict,) = [
        each
        for each in result.get_asset_check_evaluations()
        if each.check_name == "licences_in_order"
    ]
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "unclaimed" in str(verdict.description)


def test_vendor_that_is_down_cannot_be_planned_and_says_so(project: Project) -> None:
    with fault(project.sandbox, vendor="smartgridone", kind="status", status=401, times=None):
        result = launch(project, "claim_license", key="K", node_id=BOX)
    assert not result.success
    assert "smartgridone" in failure_text(result)
    for text in ("tomorrow", "2026-10-28T09:00:00", "0001-01-01T00:00:00+05:00"):
        with pytest.raises(ConfigurationError, match="is no instant"):
            changes.parse_instant(text)
