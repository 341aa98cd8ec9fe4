"""Dagster's history of a meter or a person: the runs that name it, and what the UI shows of them.

Events are JSON in SQLite files, one per run and one for all assets; they are searched as text,
because making objects of a year of events takes minutes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import dagster as dg
from dagster._serdes import serialize_value

from energy_etl.defs.forgetting_files import tells_file
from energy_etl.defs.retention import delete_runs
from energy_etl.rest.removal import Names
from energy_etl.state import give_back_space

_RUNS_AT_ONCE: Final = 500


def runs_naming(instance: dg.DagsterInstance, home: Path, names: Names) -> list[str]:
    """Return the ids of the runs whose configuration, tags, events or output name a thing."""
    in_index = tells_file(home / "history" / "runs" / "index.db", names)
    return [
        run.run_id
        for run in _runs(instance)
        if names.tell(serialize_value(run))
        or tells_file(home / "history" / "runs" / f"{run.run_id}.db", names)
        or any(tells_file(path, names) for path in _printed(home, run.run_id))
        or (in_index and _tells_events(instance, run.run_id, names))
    ]


def forget_in_history(instance: dg.DagsterInstance, home: Path, names: Names) -> None:
    """Delete the runs that name a thing, and the UI's last event of assets that it stands in."""
    delete_runs(instance, home, runs_naming(instance, home, names))
    index = home / "history" / "runs" / "index.db"
    give_back_space(index, worth_it=0)
    if tells_file(index, names):
        _wipe(instance, names, is_every_asset=False)
        give_back_space(index, worth_it=0)
    if tells_file(index, names):
        # Results of checks: they stand by asset, and can be deleted by asset only.
        _wipe(instance, names, is_every_asset=True)
        give_back_space(index, worth_it=0)
    ticks = home / "schedules" / "schedules.db"
    if tells_file(ticks, names):
        for state in instance.all_instigator_state():
            instance.purge_ticks(state.instigator_origin_id, state.selector_id, float("inf"))
    for path in (home / "history" / "runs.db", ticks):
        give_back_space(path, worth_it=0)


def _runs(instance: dg.DagsterInstance) -> Iterator[dg.DagsterRun]:
    cursor = None
    while runs := instance.get_runs(limit=_RUNS_AT_ONCE, cursor=cursor):
        yield from runs
        cursor = runs[-1].run_id


def _tells_events(instance: dg.DagsterInstance, run_id: str, names: Names) -> bool:
    return any(names.tell(serialize_value(entry)) for entry in instance.all_logs(run_id))


def _printed(home: Path, run_id: str) -> list[Path]:
    return [path for path in (home / "storage" / run_id).rglob("*") if path.is_file()]


def _wipe(instance: dg.DagsterInstance, names: Names, *, is_every_asset: bool) -> None:
    keys = []
    for key in instance.get_asset_keys():
        newest = instance.get_latest_materialization_event(key)
        if is_every_asset or (newest is not None and names.tell(serialize_value(newest))):
            keys.append(key)
    instance.wipe_assets(keys)
