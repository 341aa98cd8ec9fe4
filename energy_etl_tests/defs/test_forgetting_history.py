"""What Dagster keeps of a thing: runs go, backfills and sensors lose its name; also half done."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster._serdes import serialize_value
from dagster_shared.error import SerializableErrorInfo

from energy_etl.defs.forgetting_files import tells_file
from energy_etl.defs.forgetting_history import (
    backfills_naming,
    forget_in_history,
    refuse_active_backfill,
    runs_naming,
)
from energy_etl.defs.instance import create_instance, open_instance
from energy_etl.errors import ConfigurationError, WarehouseError
from energy_etl.rest.removal import Names
from energy_etl_tests.defs.test_retention import ended_run
from energy_etl_tests.delivery.test_full_disk import SmallDisk, is_one_sentence, small_disk_in

METER = "rome-b.mains"
NAMES = Names([frozenset({METER}), frozenset({"box-7", "p-52f0"})])
AT_S = 1_790_000_000.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one home for all: its databases take a second to make."""
    folder = tmp_path_factory.mktemp("history") / "dagster_home"
    create_instance(folder)
    return folder


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(home) as opened:
        yield opened


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk_in(tmp_path) as made:
        yield made


def backfill(name: str, status: BulkActionStatus, told: str) -> PartitionBackfill:
    """Return one as `energy-etl backfill --only-meters` asks for it, with an error and a tag."""
    only = {"only_meters": [told, "rome-b.fridge"], "only_sites": None}
    return PartitionBackfill(
        name,
        status,
        False,
        {"asked_for": told},
        AT_S,
        error=SerializableErrorInfo(f"{told} is unknown", [f"line of {told}"], "Failure"),
        asset_selection=[dg.AssetKey(["wattsense", "reading"])],
        title=f"{told} again",
        description=f"Asked for because of {told}.",
        run_config={"ops": {"wattsense__reading": {"config": only}}},
    )


def files_naming(home: Path) -> list[str]:
    found = [path for path in home.rglob("*") if path.is_file() and tells_file(path, NAMES)]
    return [path.relative_to(home).as_posix() for path in found]


def test_backfill_that_has_ended_loses_the_name_and_keeps_the_rest(
    home: Path, instance: dg.DagsterInstance
) -> None:
    """Dagster cannot delete one: the command ended with runs.db as a finding for ever."""
    ended = [
        backfill("named", BulkActionStatus.COMPLETED_FAILED, METER),
        backfill("pair", BulkActionStatus.CANCELED, "box-7 with p-52f0"),
        backfill("other", BulkActionStatus.COMPLETED_SUCCESS, "rome-b.mains-2"),
        backfill("box", BulkActionStatus.COMPLETED_SUCCESS, "box-7"),
    ]
    for each in ended:
        instance.add_backfill(each)
    assert [each.backfill_id for each in backfills_naming(instance, NAMES)] == ["pair", "named"]
    assert "history/runs.db" in files_naming(home)

    refuse_active_backfill(instance, NAMES)
    forget_in_history(instance, home, NAMES)

    assert files_naming(home) == []
    content = (home / "history" / "runs.db").read_bytes().replace(b"rome-b.mains-2", b"")
    assert METER.encode() not in content
    left = {each.backfill_id: each for each in instance.get_backfills()}
    assert [left[each.backfill_id] for each in ended[2:]] == ended[2:]
    named = left["named"]
    assert (named.title, named.description) == ("gone again", "Asked for because of gone.")
    config = named.run_config["ops"]["wattsense__reading"]["config"]  # pyright: ignore[reportOptionalSubscript]
    assert config == {"only_meters": ["gone", "rome-b.fridge"], "only_sites": None}
    assert named.error is not None
    assert (named.error.message, named.error.stack) == ("gone is unknown", [])
    assert named.asset_selection == ended[0].asset_selection
    assert named.status is ended[0].status
    assert dict(left["pair"].tags) == {"asked_for": "gone with gone"}


def test_backfill_that_has_not_ended_refuses_before_anything_is_deleted(
    instance: dg.DagsterInstance,
) -> None:
    for status in (BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING):
        active = backfill(f"active{status.value[0]}", status, METER)
        instance.add_backfill(active)
        with pytest.raises(ConfigurationError, match=f"The backfill {active.backfill_id} names"):
            refuse_active_backfill(instance, NAMES)
        instance.update_backfill(active.with_status(BulkActionStatus.CANCELED))
        refuse_active_backfill(instance, NAMES)


def test_sensor_that_told_of_a_fault_and_a_daemon_that_failed_lose_the_name(
    home: Path, instance: dg.DagsterInstance
) -> None:
    """Its ticks were to be deleted up to infinity, which ended the command with a traceback.

    What it keeps is no tick, and stood in schedules.db for good.
    """
    location = RegisteredCodeLocationOrigin("here")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), "alerts")
    cursor = f'{{"faults":["{METER}: 401"],"after_id":7}}'
    data = SensorInstigatorData(min_interval=30, cursor=cursor)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data)
    instance.add_instigator_state(state)
    tick = TickData(
        state.instigator_origin_id,
        "alerts",
        InstigatorType.SENSOR,
        TickStatus.SKIPPED,
        AT_S,
        skip_reason=f"{METER}: told already",
        selector_id=state.selector_id,
    )
    instance.create_tick(tick)
    error = SerializableErrorInfo(f"no partition {METER}", [], None)
    instance.add_daemon_heartbeat(DaemonHeartbeat(AT_S, "BACKFILL", "1", [error]))
    assert {"history/runs.db", "schedules/schedules.db"} <= set(files_naming(home))
    forget_in_history(instance, home, NAMES)
    assert files_naming(home) == []
    (state,) = instance.all_instigator_state()
    assert state.status is InstigatorStatus.RUNNING
    assert not instance.get_ticks(state.instigator_origin_id, state.selector_id)
    assert isinstance(state.instigator_data, SensorInstigatorData)
    assert state.instigator_data.cursor == '{"faults":["gone: 401"],"after_id":7}'


def test_run_whose_deletion_was_killed_half_way_leaves_nothing(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row went first: no list of runs had it any more, and its events and output stayed."""
    run_id = ended_run(instance, "readings", told=METER)
    other = ended_run(instance, "others", told="rome-b.fridge")
    output = home / "storage" / run_id / "compute_logs" / "x.err"
    output.parent.mkdir(parents=True)
    output.write_text(f"{METER} failed")

    def die(_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(instance.event_log_storage, "delete_events", die)
        with pytest.raises(KeyboardInterrupt):
            forget_in_history(instance, home, NAMES)
    assert runs_naming(instance, home, NAMES) == []
    assert len(files_naming(home)) >= 3

    forget_in_history(instance, home, NAMES)
    assert files_naming(home) == []
    assert not output.exists()
    assert not list((home / "history" / "runs").glob(f"{run_id}*"))
    # Nothing had to be wiped for it: what other runs brought is still shown.
    newest = instance.get_latest_materialization_event(dg.AssetKey("others"))
    assert newest is not None
    assert newest.run_id == other
    assert "rome-b.fridge" in serialize_value(newest)


def test_full_disk_stops_it_with_a_sentence_and_it_goes_on_when_there_is_room(
    home: Path, small_disk: SmallDisk
) -> None:
    """Dagster's words came through: a traceback of SQLAlchemy's, with the statement that failed."""
    own = small_disk.folder / "home"
    shutil.copytree(home, own)
    with open_instance(own) as instance:
        run_id = ended_run(instance, "readings", told=METER)
        said = []
        # Each of its databases in turn is the one that finds no room.
        for n_bytes in (0, 40_000, 80_000, 160_000):
            with small_disk.full(n_bytes):
                try:
                    forget_in_history(instance, own, NAMES)
                except WarehouseError as error:
                    said.append(error)
        assert said
        assert all(map(is_one_sentence, said))
        forget_in_history(instance, own, NAMES)
        assert instance.get_run_by_id(run_id) is None
    assert files_naming(own) == []
