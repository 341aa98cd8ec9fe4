"""What is kept no longer (`Settings.keep`): found, told, and deleted; data, outbox and history.

Each part is a transaction of its own (Dagster's history: one per run), so a kill leaves what was
done and what was not. Nothing goes that a later computation or a send needs: core, mart and the
portfolio stay whole, and of the outbox what `delivery/pruning.py` says.

What is lost: `energy-etl rebuild` makes tables from raw, so it reaches no further back than raw
does, and refuses when that would lose rows (`raw_reaches_back_to`).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from energy_etl.defs.instance import history_in_our_words
from energy_etl.defs.warehouse import project_warehouse
from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.pruning import (
    OldRows,
    old_packets,
    old_responses,
    prune_packets,
    prune_responses,
)
from energy_etl.errors import WarehouseError
from energy_etl.settings import Settings
from energy_etl.state import get_fact, give_back_space, open_state, set_fact
from energy_etl.tables import Table
from energy_etl.tables.push import RESPONSE
from energy_etl.tables.raw import BODY, QUARANTINE, REQUEST
from energy_etl.vendors import discover_vendors
from energy_etl.warehouse import Reader, Writer, publish
from energy_etl.warehouse.compacting import compact
from energy_etl.warehouse.deleting import delete_rows

_RAW_FACT: Final = "raw_reaches_back_to"
# Days of a vendor whose newest run is kept, so that the UI does not show them as never loaded.
_DAYS_IN_UI: Final = timedelta(days=400)
_RUNS_AT_ONCE: Final = 500
# What was changed at a vendor stays on record, and so does each endpoint's newest call, by which
# people see since when a vendor is silent.
_OLD_CALLS: Final = (
    "t.requested_at < ? AND coalesce(t.params ->> '$.is_change', '') <> 'true' "
    "AND t.request_id NOT IN (SELECT arg_max(request_id, requested_at) FROM raw.request "
    "GROUP BY vendor, endpoint, coalesce(status, 0) BETWEEN 200 AND 299)"
)
_COUNT_OLD_CALLS: Final = " ".join(("SELECT count(*) FROM raw.request AS t WHERE", _OLD_CALLS))
# An answer that a younger call brought too stays.
_SUM_OLD_CALLS: Final = " ".join(
    (
        "WITH old AS (SELECT * FROM raw.request AS t WHERE",
        _OLD_CALLS,
        """), gone AS (
            SELECT DISTINCT body_sha256 FROM old EXCEPT
            SELECT body_sha256 FROM raw.request ANTI JOIN old USING (request_id))
        SELECT count(*), min(requested_at), max(requested_at),
            (SELECT coalesce(sum(octet_length(body_zlib)), 0)::BIGINT
            FROM raw.body SEMI JOIN gone USING (body_sha256))
        FROM old""",
    )
)
_UNREFERENCED: Final = {
    BODY: "t.body_sha256 NOT IN (SELECT body_sha256 FROM raw.request "
    "WHERE body_sha256 IS NOT NULL)",
    QUARANTINE: "t.request_id NOT IN (SELECT request_id FROM raw.request)",
}


@dataclass(frozen=True, slots=True)
class Old:
    """One kind of thing that is kept no longer.

    Attributes:
        what: for people.
        kept_days: how long it is kept.
        n_rows: how many are older.
        first_at: the oldest of them; None: there are none, or it is not known.
        last_at: the newest of them.
        n_bytes: what they take, where that is known; else None.
    """

    what: str
    kept_days: int
    n_rows: int
    first_at: datetime | None = None
    last_at: datetime | None = None
    n_bytes: int | None = None

    def plain(self) -> dict[str, object]:
        """Return it as JSON shows it."""
        return {
            "what": self.what,
            "kept_days": self.kept_days,
            "n_rows": self.n_rows,
            "first_at": self.first_at and self.first_at.isoformat(),
            "last_at": self.last_at and self.last_at.isoformat(),
            "n_bytes": self.n_bytes,
        }


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, what the disk got back, and sentences on what could not be done."""

    deleted: tuple[Old, ...]
    n_bytes_back: int
    notes: tuple[str, ...]


def plan_pruning(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> list[Old]:
    """Return what is older than it is to be kept; nothing is deleted.

    Raises:
        WarehouseLockedError: a run held the warehouse for too long.
    """
    found: list[Old] = []
    if settings.warehouse_path.exists():
        with project_warehouse(settings).reading() as reader:
            found += _old_raw(reader, settings, now)
            found += _old_of_vendors(reader, settings, now)
    if settings.state_path.exists():
        with open_state(settings.state_path) as connection:
            found += _old_of_outbox(Outbox(connection), settings, now)
    if settings.keep.dagster_days:
        runs = _old_runs(instance, now - timedelta(days=settings.keep.dagster_days), now)
        found.append(
            Old(
                "runs in Dagster's history",
                settings.keep.dagster_days,
                len(runs),
                min((at for _, at in runs), default=None),
                max((at for _, at in runs), default=None),
            )
        )
    if settings.keep.support_days:
        bundles = _old_bundles(settings, now)
        stamps = [datetime.fromtimestamp(stat.st_mtime, UTC) for _, stat in bundles]
        found.append(
            Old(
                "support bundles",
                settings.keep.support_days,
                len(bundles),
                min(stamps, default=None),
                max(stamps, default=None),
            )
        )
    return found


def prune(
    settings: Settings,
    instance: dg.DagsterInstance,
    now: datetime,
    on_note: Callable[[str], None] = lambda _: None,
) -> Pruned:
    """Delete what `plan_pruning` finds, give the space back, and publish.

    Raises:
        WarehouseLockedError: somebody held a file for too long; run it again.
        WarehouseError: a disk is full.
    """
    found = plan_pruning(settings, instance, now)
    by_what = {old.what: old for old in found if old.n_rows}
    notes: list[str] = []

    def note(sentence: str) -> None:
        notes.append(sentence)
        on_note(sentence)

    _prune_warehouse(settings, now)
    with open_state(settings.state_path) as connection:
        outbox = Outbox(connection)
        if settings.keep.packet_days:
            prune_packets(outbox, now - timedelta(days=settings.keep.packet_days))
        if settings.keep.response_days:
            prune_responses(outbox, now - timedelta(days=settings.keep.response_days))
    if settings.keep.dagster_days:
        with history_in_our_words(settings.dagster_home):
            _prune_history(settings, instance, now)
    for path, _ in _old_bundles(settings, now):
        path.unlink(missing_ok=True)
    deleted_bytes = sum(old.n_bytes or 0 for old in by_what.values())
    n_bytes_back = finish_pruning(settings, note, deleted_bytes)
    return Pruned(tuple(by_what.values()), n_bytes_back, tuple(notes))


def finish_pruning(
    settings: Settings, on_note: Callable[[str], None], deleted_bytes: int = 0
) -> int:
    """Give back the space and publish, also what an attempt left that a full disk or a kill ended.

    Returns how many bytes the disk got back.

    Raises:
        WarehouseError: there is no room for the publication.
    """
    n_bytes_back = _give_back(settings, deleted_bytes, on_note)
    publish(project_warehouse(settings), data_dir=settings.data_dir)
    return n_bytes_back


def raw_reaches_back_to(settings: Settings) -> datetime | None:
    """Return the instant before which raw was deleted; None: it is whole."""
    with open_state(settings.state_path) as connection:
        told = get_fact(connection, _RAW_FACT)
    return None if told is None else datetime.fromisoformat(told)


def _old_raw(reader: Reader, settings: Settings, now: datetime) -> Iterator[Old]:
    if not settings.keep.raw_days:
        return
    before = now - timedelta(days=settings.keep.raw_days)
    row = reader.read(_SUM_OLD_CALLS, [before]).row(0)
    yield Old("calls and answers in raw", settings.keep.raw_days, *row)


def _old_of_vendors(reader: Reader, settings: Settings, now: datetime) -> Iterator[Old]:
    before = now - timedelta(days=settings.keep.vendor_days)
    for table in _vendor_tables(settings):
        row = reader.read(
            f'SELECT count(*), min("{table.time_column}"), max("{table.time_column}") '  # noqa: S608
            f'FROM "{table.schema}"."{table.name}" WHERE "{table.time_column}" < ?',
            [before],
        ).row(0)
        yield Old(f"rows of {table.full_name}", settings.keep.vendor_days, *row)


def _old_of_outbox(outbox: Outbox, settings: Settings, now: datetime) -> Iterator[Old]:
    for what, kept_days, count in (
        ("confirmed packets in the outbox", settings.keep.packet_days, old_packets),
        ("answers of Wattics to packets", settings.keep.response_days, old_responses),
    ):
        if kept_days:
            rows: OldRows = count(outbox, now - timedelta(days=kept_days))
            yield Old(what, kept_days, rows.n_rows, rows.first_at, rows.last_at)


def _prune_warehouse(settings: Settings, now: datetime) -> None:
    keep = settings.keep
    raw_before = now - timedelta(days=keep.raw_days)
    if keep.raw_days:
        # Before the rows: a rebuild that refuses without need is better than one that loses them.
        _note_reach(settings, raw_before)
    with project_warehouse(settings).write() as writer:
        if keep.raw_days:
            _prune_raw(writer, raw_before)
        for table in _vendor_tables(settings):
            delete_rows(
                writer,
                table,
                f't."{table.time_column}" < ?',
                [now - timedelta(days=keep.vendor_days)],
            )
        if keep.response_days:
            # The mirror of the outbox only ever adds answers.
            delete_rows(
                writer, RESPONSE, "t.posted_at < ?", [now - timedelta(days=keep.response_days)]
            )


def _prune_raw(writer: Writer, before: datetime) -> None:
    delete_rows(writer, REQUEST, _OLD_CALLS, [before])
    for table, where in _UNREFERENCED.items():
        delete_rows(writer, table, where)


def _note_reach(settings: Settings, before: datetime) -> None:
    with project_warehouse(settings).reading() as reader:
        n_old = reader.read(_COUNT_OLD_CALLS, [before]).item()
    known = raw_reaches_back_to(settings)
    if n_old and (known is None or known < before):
        with open_state(settings.state_path) as connection:
            set_fact(connection, _RAW_FACT, before.isoformat())


def _vendor_tables(settings: Settings) -> list[Table]:
    if not settings.keep.vendor_days:
        return []
    return [
        table
        for vendor in discover_vendors().values()
        for table in vendor.tables
        if table.schema == vendor.name and table.time_column is not None
    ]


def _old_bundles(settings: Settings, now: datetime) -> list[tuple[Path, os.stat_result]]:
    """Return the support bundles that are kept no longer; those written elsewhere are people's."""
    if not settings.keep.support_days:
        return []
    before_s = (now - timedelta(days=settings.keep.support_days)).timestamp()
    bundles = [
        (path, path.stat()) for path in sorted((settings.data_dir / "support").glob("*.zip"))
    ]
    return [(path, stat) for path, stat in bundles if stat.st_mtime < before_s]


def _old_runs(
    instance: dg.DagsterInstance, before: datetime, now: datetime
) -> list[tuple[str, datetime]]:
    """Return the ended runs of before an instant that nothing in the UI leans on, and when."""
    records = instance.get_run_records(
        dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before)
    )
    if not records:
        return []
    needed = _needed_runs(instance, now)
    return [
        (record.dagster_run.run_id, record.update_timestamp.astimezone(UTC))
        for record in records
        if record.dagster_run.run_id not in needed
    ]


def _needed_runs(instance: dg.DagsterInstance, now: datetime) -> set[str]:
    """Return the runs that brought the newest of each asset, and of each of its younger days."""
    needed: set[str] = set()
    oldest_on = (now - _DAYS_IN_UI).date().isoformat()
    for key in instance.get_asset_keys():
        newest = instance.get_latest_materialization_event(key)
        if newest is not None:
            needed.add(newest.run_id)
        by_day = instance.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        ids = [storage_id for day, storage_id in by_day.items() if day >= oldest_on]
        for start in range(0, len(ids), _RUNS_AT_ONCE):
            some = ids[start : start + _RUNS_AT_ONCE]
            found = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=key, storage_ids=some), limit=len(some)
            )
            needed.update(record.run_id for record in found.records)
    return needed


def _prune_history(settings: Settings, instance: dg.DagsterInstance, now: datetime) -> None:
    before = now - timedelta(days=settings.keep.dagster_days)
    delete_runs(
        instance, settings.dagster_home, [run_id for run_id, _ in _old_runs(instance, before, now)]
    )
    for state in instance.all_instigator_state():
        instance.purge_ticks(state.instigator_origin_id, state.selector_id, before.timestamp())


def delete_runs(instance: dg.DagsterInstance, home: Path, run_ids: Sequence[str]) -> None:
    """Delete runs with their events, and the files that Dagster leaves of them."""
    for run_id in run_ids:
        instance.delete_run(run_id)
        # What it printed, by steps; in files beside its storage.
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        for leftover in (home / "history" / "runs").glob(f"{run_id}.db*"):
            leftover.unlink()


def _give_back(settings: Settings, deleted_bytes: int, note: Callable[[str], None]) -> int:
    """Write the files anew that are largely empty; one that is in use can wait for next time."""
    n_bytes = 0
    home = settings.dagster_home
    history = [home / "history" / "runs.db", home / "history" / "runs" / "index.db"]
    for path in (settings.state_path, *history, home / "schedules" / "schedules.db"):
        try:
            n_bytes += give_back_space(path, wait_s=settings.lock_wait_s)
        except WarehouseError as error:
            note(str(error))
    try:
        done = compact(
            settings.warehouse_path, lock_wait_s=settings.lock_wait_s, deleted_bytes=deleted_bytes
        )
        n_bytes += done.bytes_before - done.bytes_after
    except WarehouseError as error:
        note(str(error))
    return n_bytes
