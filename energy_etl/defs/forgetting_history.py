"""Dagster's history of a meter or a person: the runs that name it, and what the UI shows of them.

Runs are deleted. Backfills cannot be: of those that have ended the names are taken out. Events are
JSON in SQLite files, one per run and one for all assets; they are searched as text, because making
objects of a year of events takes minutes.
"""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, PartitionBackfill
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._core.storage.runs.schema import BackfillTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._serdes import serialize_value

from energy_etl.defs.forgetting_files import tells_file
from energy_etl.defs.instance import history_in_our_words
from energy_etl.defs.retention import delete_runs
from energy_etl.errors import ConfigurationError
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


def backfills_naming(instance: dg.DagsterInstance, names: Names) -> list[PartitionBackfill]:
    """Return the backfills that name a thing: what was asked for, or what one failed with."""
    return [each for each in instance.get_backfills() if names.tell(serialize_value(each))]


def refuse_active_backfill(instance: dg.DagsterInstance, names: Names) -> None:
    """Refuse while a backfill is to load what is to be forgotten: the next `up` would go on.

    Raises:
        ConfigurationError: one has not ended; it is named.
    """
    for backfill in backfills_naming(instance, names):
        if backfill.status not in BULK_ACTION_TERMINAL_STATUSES:
            raise ConfigurationError(
                f"The backfill {backfill.backfill_id} names it and has not ended: nothing was "
                "deleted; run `energy-etl up`, let it end or cancel it in the UI under Runs, and "
                "then do this again."
            )


def forget_in_history(instance: dg.DagsterInstance, home: Path, names: Names) -> None:
    """Delete the runs that name a thing, and the UI's last event of assets that it stands in.

    Raises:
        WarehouseError: one of the files cannot be written, as on a full disk; do it again.
    """
    with history_in_our_words(home):
        delete_runs(instance, home, runs_naming(instance, home, names))
        _delete_left_of_runs(instance, home, names)
        _take_out_of_backfills(instance, names)
        if tells_file(home / "history" / "runs.db", names):
            # What daemons failed with; they write it anew while they run.
            instance.wipe_daemon_heartbeats()
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
            _take_out_of_ticks(instance, names)
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


def _delete_left_of_runs(instance: dg.DagsterInstance, home: Path, names: Names) -> None:
    """Delete what names it of runs that are not known any more: a deletion that was killed."""
    known = {run.run_id for run in _runs(instance)} | {"index"}
    for path in (home / "history" / "runs").glob("*.db"):
        if path.stem not in known and tells_file(path, names):
            instance.event_log_storage.delete_events(path.stem)
            for leftover in path.parent.glob(f"{path.name}*"):
                leftover.unlink()
    for folder in (home / "storage").glob("*"):
        if folder.name not in known and any(
            tells_file(path, names) for path in _printed(home, folder.name)
        ):
            shutil.rmtree(folder)


def _take_out_of_backfills(instance: dg.DagsterInstance, names: Names) -> None:
    """Write backfills anew without the names; Dagster has no way to delete one."""
    for backfill in backfills_naming(instance, names):
        error = backfill.error and backfill.error._replace(
            message=names.replaced_in(backfill.error.message), stack=[], cause=None, context=None
        )
        instance.update_backfill(
            backfill._replace(
                title=backfill.title and names.replaced_in(backfill.title),
                description=backfill.description and names.replaced_in(backfill.description),
                tags=_replaced(names, backfill.tags),
                run_config=_replaced(names, backfill.run_config),
                error=error,
                # Runs that were to begin next; none of them does any more.
                submitting_run_requests=[],
            )
        )
    # Tags stand in a table of their own too, which an update leaves as it is.
    storage = instance.run_storage
    if isinstance(storage, SqlRunStorage) and storage.has_backfill_tags_table():
        tags = BackfillTagsTable
        with storage.connect() as connection:
            for row in connection.execute(tags.select()).mappings().all():
                if names.tell(row["value"] or ""):
                    connection.execute(
                        tags.update()
                        .where(tags.c.id == row["id"])
                        .values(value=names.replaced_in(row["value"]))
                    )


def _replaced(names: Names, node: Any) -> Any:
    """Return what JSON may hold with the names taken out of its texts."""
    if isinstance(node, Mapping):
        return {key: _replaced(names, value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_replaced(names, item) for item in node]
    return names.replaced_in(node) if isinstance(node, str) else node


def _take_out_of_ticks(instance: dg.DagsterInstance, names: Names) -> None:
    """Delete the ticks, and take the names out of what sensors keep (faults that were told)."""
    # All of them: Dagster makes an instant of it, which infinity is not.
    before_s = (datetime.now(UTC) + timedelta(days=1)).timestamp()
    for state in instance.all_instigator_state():
        instance.purge_ticks(state.instigator_origin_id, state.selector_id, before_s)
        data = state.instigator_data
        if isinstance(data, SensorInstigatorData) and data.cursor and names.tell(data.cursor):
            without = data._replace(cursor=names.replaced_in(data.cursor))
            instance.update_instigator_state(state.with_data(without))


def _wipe(instance: dg.DagsterInstance, names: Names, *, is_every_asset: bool) -> None:
    keys = []
    for key in instance.get_asset_keys():
        newest = instance.get_latest_materialization_event(key)
        if is_every_asset or (newest is not None and names.tell(serialize_value(newest))):
            keys.append(key)
    instance.wipe_assets(keys)
