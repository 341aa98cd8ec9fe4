"""What a tick costs: Dagster's instance is opened once in a process, and seen as it is now."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id
from dagster._grpc.impl import get_external_sensor_execution

from energy_etl.definitions import build_defs
from energy_etl.defs import activity
from energy_etl.defs.activity import instance_of
from energy_etl.defs.instance import create_instance, open_instance
from energy_etl.defs.jobs import COMPUTE_JOB
from energy_etl.defs.resources import Etl
from energy_etl.state import Marks, Window, open_state

ORIGIN = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="energy_etl.definitions"))
AT = datetime(2026, 10, 28, tzinfo=UTC)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[InstanceRef]:
    """Return what was opened by its reference since."""
    refs: list[InstanceRef] = []
    from_ref = dg.DagsterInstance.from_ref

    def noting(ref: InstanceRef) -> dg.DagsterInstance:
        refs.append(ref)
        return from_ref(ref)

    monkeypatch.setattr(activity, "_opened", [])
    monkeypatch.setattr(dg.DagsterInstance, "from_ref", staticmethod(noting))
    return refs


def ref_of(home: Path) -> InstanceRef:
    create_instance(home)
    with open_instance(home) as instance:
        return instance.get_ref()


def test_ticks_of_the_code_server_open_the_instance_once_and_see_what_is_new(
    tmp_path: Path, opened: list[InstanceRef]
) -> None:
    etl = Etl(root=str(tmp_path))
    home = etl.settings().dagster_home
    ref, repository = ref_of(home), build_defs({"etl": etl}).get_repository_def()

    def tick() -> SensorExecutionData:
        # As the code server answers the daemon.
        found = get_external_sensor_execution(
            repository, ORIGIN, ref, "changed_data_sensor", None, None, None, None, None
        )
        assert isinstance(found, SensorExecutionData)
        return found

    assert "Nothing changed" in str(tick().skip_message)
    assert opened == []
    with open_state(etl.settings().state_path) as connection:
        Marks(connection).mark("interval", [Window("a", AT, AT + timedelta(days=1), "wiser")])
    with open_instance(home) as instance:
        run = dg.DagsterRun(COMPUTE_JOB, make_new_run_id(), status=dg.DagsterRunStatus.STARTED)
        instance.add_run(run)
        for _ in range(3):
            assert f"of {COMPUTE_JOB} is started" in str(tick().skip_message)
        assert opened == [ref]
        instance.report_run_canceled(run)
    assert tick().run_requests


def test_another_instance_is_not_taken_for_the_one_that_is_open(
    tmp_path: Path, opened: list[InstanceRef]
) -> None:
    refs = [ref_of(tmp_path / name) for name in ("a", "b")]
    found = [instance_of(dg.build_sensor_context(instance_ref=ref)).root_directory for ref in refs]
    assert found == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert opened == refs


def test_looks_that_found_nothing_are_kept_for_a_day_and_others_for_longer(tmp_path: Path) -> None:
    create_instance(tmp_path)
    with open_instance(tmp_path) as instance:
        kept = instance.get_tick_retention_settings(InstigatorType.SENSOR)
    # -1: as long as KEEP__DAGSTER_DAYS says.
    assert (kept[TickStatus.SKIPPED], kept[TickStatus.FAILURE]) == (1, -1)
