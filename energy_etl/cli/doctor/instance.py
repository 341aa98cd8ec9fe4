"""Dagster: its configuration, storage, daemon, and runs that nobody runs any more."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
import yaml
from dagster_shared.check import CheckError
from dagster_shared.yaml_utils import load_run_config_yaml

from energy_etl.cli.doctor.holders import daemons_of
from energy_etl.cli.doctor.rows import CONFIGURATION, Row, fail, ok, warn
from energy_etl.cli.doctor.storage import is_damage
from energy_etl.cli.doctor.subject import Subject
from energy_etl.defs.activity import ACTIVE_STATUSES
from energy_etl.defs.instance import DAGSTER_YAML, open_instance
from energy_etl.errors import WarehouseError
from energy_etl.state import find_damage

# Dagster's own tolerance is five minutes; its daemons beat every 30 s.
_SILENT_FOR: Final = timedelta(minutes=5)
_QUEUED_FOR: Final = timedelta(minutes=30)
_RUNS_FOR: Final = timedelta(hours=6)
_SHOWN: Final = 3
# Runs, events, and what schedules and sensors know; a damaged one is noticed where it is read.
_STORAGE: Final = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
_DAMAGE_S: Final = 1.0


def check_dagster(subject: Subject) -> Iterator[Row]:
    """Everything about the instance."""
    home = subject.settings.dagster_home
    config = home / "dagster.yaml"
    if not config.exists():
        yield fail(
            "Dagster instance",
            f"There is no {config}.",
            "Run `energy-etl init`.",
            CONFIGURATION,
        )
        return
    try:
        configuration = _configuration_row(config)
    except (yaml.YAMLError, CheckError, UnicodeDecodeError) as error:
        yield fail(
            "Dagster instance",
            f"{config} cannot be read ({' '.join(str(error).split())[:200]}).",
            "Stop what runs, move that file away and run `energy-etl init`, which writes it anew.",
            CONFIGURATION,
        )
        return
    damaged = [row for row in (_damage_row(home, name) for name in _STORAGE) if row]
    if damaged:
        yield damaged[0]
        return
    with open_instance(home) as instance:
        yield configuration
        yield _daemon_row(subject, instance)
        yield from _run_rows(subject, instance)


def new_instance_advice(home: Path) -> str:
    """Say how to get a sound instance in place of one that is damaged."""
    return (
        f"Stop what runs, move {home} away and run `energy-etl init`: the history of runs is lost, "
        "no reading is."
    )


def _damage_row(home: Path, name: str) -> Row | None:
    path = home / name
    if not path.exists():
        return None
    try:
        damage = find_damage(path, max_s=_DAMAGE_S)
    except WarehouseError as error:
        # Opening it tells of rights and of a full disk.
        damage = str(error.__cause__) if is_damage(error) else None
    if damage is None:
        return None
    told = f"{path} is damaged ({damage[:200]})."
    return fail("Dagster instance", told, new_instance_advice(home))


def _configuration_row(config: Path) -> Row:
    wanted = load_run_config_yaml(DAGSTER_YAML)
    found = load_run_config_yaml(config.read_text(encoding="utf-8"))
    differing = [".".join(path) for path, value in _leaves(wanted) if _at(found, path) != value]
    if differing:
        return warn(
            "Dagster instance",
            f"{config} differs from what `energy-etl init` writes in {', '.join(differing)}.",
            "When nobody meant it: move the file away and run `energy-etl init`.",
        )
    return ok("Dagster instance", f"{config} is as `energy-etl init` writes it; its storage opens.")


def _leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, Mapping):
        for name, inner in node.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield path, node


def _at(node: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _daemon_row(subject: Subject, instance: dg.DagsterInstance) -> Row:
    daemons = daemons_of(subject.settings.dagster_home)
    if len(daemons) > 1:
        told = " and ".join(daemon.told for daemon in daemons)
        return fail(
            "Dagster daemon",
            f"{len(daemons)} daemons run on one home: {told}; batches are submitted twice.",
            f"Stop all but the one of `energy-etl up` (`kill {daemons[-1].pid}`).",
        )
    if not daemons and subject.up is None:
        return warn(
            "Dagster daemon",
            "Nothing runs: no schedule, no sensor, no sending.",
            "Run `energy-etl up`.",
        )
    beats = [
        datetime.fromtimestamp(beat.timestamp, UTC)
        for beat in instance.get_daemon_heartbeats().values()
    ]
    if daemons and beats and subject.now - max(beats) > _SILENT_FOR:
        return fail(
            "Dagster daemon",
            f"{daemons[0].told} has not given a sign of life since {max(beats):%H:%M} UTC.",
            "Stop `energy-etl up` and start it again; its log is data/logs/daemon.log.",
        )
    who = daemons[0].told if daemons else f"{subject.up.told} runs" if subject.up else ""
    newest = f", last sign of life {max(beats):%H:%M} UTC" if beats else ""
    return ok("Dagster daemon", f"{who}{newest}.")


def _run_rows(subject: Subject, instance: dg.DagsterInstance) -> Iterator[Row]:
    filters = dg.RunsFilter(statuses=ACTIVE_STATUSES)
    records = instance.get_run_records(filters=filters, limit=100)
    is_nobody_there = subject.up is None and not daemons_of(subject.settings.dagster_home)
    stuck: list[str] = []
    for record in records:
        run = record.dagster_run
        begun_at = (
            datetime.fromtimestamp(record.start_time, UTC)
            if record.start_time
            else record.create_timestamp.replace(tzinfo=record.create_timestamp.tzinfo or UTC)
        )
        is_queued = run.status in (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)
        allowed = _QUEUED_FOR if is_queued else _RUNS_FOR
        if subject.now - begun_at > allowed or (is_nobody_there and not is_queued):
            stuck.append(
                f"run {run.run_id[:8]} of {run.job_name} is {run.status.value.lower()} since "
                f"{begun_at:%Y-%m-%d %H:%M} UTC"
            )
    if stuck:
        more = f" and {len(stuck) - _SHOWN} more" if len(stuck) > _SHOWN else ""
        yield fail(
            "Dagster runs",
            f"{'; '.join(stuck[:_SHOWN])}{more}: sensors wait for such a run.",
            "Run `energy-etl up`, which closes the runs that nobody runs."
            if is_nobody_there
            else "Terminate it in the UI under Runs.",
        )
        return
    yield ok("Dagster runs", f"{len(records)} active, none of them stuck.")
