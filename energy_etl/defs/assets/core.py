"""Group `core`: readings, intervals and the vendors' figures as our nouns.

Each step reads what the database holds for the marks of its stage, whichever vendor failed
meanwhile, and marks the next stage: (extraction ->) interval -> packet.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.assets.portfolio import OVERRULING
from energy_etl.defs.extraction import apply_write, core_writes
from energy_etl.defs.failures import plainly
from energy_etl.defs.marks import POOL, mark_for, step_of, windows_of
from energy_etl.defs.metadata import materialized, show_days, table_spec
from energy_etl.defs.partitions import ALWAYS, BATCHES, DAYS, is_by_hand, keys_span
from energy_etl.defs.resources import Etl
from energy_etl.portfolio import Portfolio
from energy_etl.state import Marks, open_state
from energy_etl.tables import Table, core
from energy_etl.transform.registers import compute_intervals
from energy_etl.vendors import discover_vendors
from energy_etl.warehouse import Change, Warehouse, Writer

# Readings computed at once, in whole registers: bounds the memory (0.6 GB), not the result.
READINGS_PER_BATCH: Final = 2_000_000
FIGURE_TABLES: Final = (
    core.VENDOR_FIGURE,
    core.VENDOR_APPLIANCE_FIGURE,
    core.APPLIANCE_INTERVAL,
    core.VENDOR_MONTH,
)
READINGS: Final = frozenset({core.READING})
# For the lineage alone: the jobs are apart, so that a vendor who fails stops nobody else's rows.
_FEEDING: Final = [v for v in discover_vendors().values() if v.feeds]
_READING_SOURCES: Final = tuple(
    table
    for vendor in _FEEDING
    if core.READING in vendor.feeds
    for table in vendor.tables
    if table.time_column
)
_FIGURE_SOURCES: Final = tuple(
    table for vendor in _FEEDING if core.VENDOR_FIGURE in vendor.feeds for table in vendor.tables
)
INTERVAL_TABLES: Final = (core.INTERVAL, core.EDIT, core.SAMPLE)
# Without the vendor and when it came: half of the bytes.
_READINGS: Final = (
    "SELECT register_id, read_at, reading_native, version FROM core.reading"
    " WHERE list_contains(?, register_id)"
)
_COUNTS: Final = (
    "SELECT register_id, count(*) AS n FROM core.reading"
    " WHERE list_contains(?, register_id) GROUP BY register_id"
)
# What a partition shows of a table. In SQL: fetching the rows took most of a run.
_DAYS_OF: Final = {
    core.READING: "SELECT epoch_us(read_at) // 86400000000 AS day, count(*) AS rows"
    " FROM core.reading WHERE read_at >= ? AND read_at < ? GROUP BY 1",
    # Mains and what is behind them, gas and water: no site's consumption, and the names say so.
    core.INTERVAL: "SELECT epoch_us(start_at) // 86400000000 AS day, count(*) AS rows,"
    " 100.0 * avg((quality IN ('measured', 'integrated'))::INT) AS measured_pct,"
    " coalesce(sum(energy_kwh), 0.0) AS energy_kwh_all_registers,"
    " coalesce(sum(volume_m3), 0.0) AS volume_m3_all_registers"
    " FROM core.interval WHERE start_at >= ? AND start_at < ? GROUP BY 1",
    core.EDIT: "SELECT epoch_us(from_at) // 86400000000 AS day, count(*) AS rows"
    " FROM core.edit WHERE from_at >= ? AND from_at < ? GROUP BY 1",
    core.SAMPLE: "SELECT epoch_us(start_at) // 86400000000 AS day, count(*) AS rows"
    " FROM core.sample WHERE start_at >= ? AND start_at < ? GROUP BY 1",
}
# Their days are those of core.interval: the run's own partitions are enough.
_SILENT_TABLES: Final = (core.EDIT, core.SAMPLE)


@dg.multi_asset(
    name="reading",
    pool=POOL,
    backfill_policy=BATCHES,
    specs=[
        table_spec(
            core.READING,
            deps=(core.REGISTER, core.ALIAS, *_READING_SOURCES),
            partitions=DAYS,
            note="Written in one transaction with the vendor's rows. A value equal to the newest "
            "version adds nothing; a changed one becomes a version of its own.",
        )
    ],
)
@plainly
def reading(context: dg.AssetExecutionContext, etl: Etl):
    """Shows what changed; run by hand it reads the days again from what the vendors' tables hold,
    for registers that were mapped since.
    """
    settings, warehouse = etl.settings(), etl.warehouse()
    n_added = 0
    if is_by_hand(context):
        writes = core_writes(warehouse, etl, keys_span(list(context.partition_keys)), READINGS)
        with warehouse.write() as writer:
            for change in (apply_write(writer, write) for write in writes):
                n_added += change.n_added
                mark_for(settings.state_path, "interval", windows_of(change))
    with open_state(settings.state_path) as connection:
        marked = Marks(connection).windows("interval")
    spans = [(mark.from_at, mark.to_at) for mark in marked]
    _numbers_from_warehouse(context, warehouse, core.READING, spans)
    yield materialized(core.READING, rows_added=n_added, registers_changed=len(spans))


@dg.multi_asset(
    name="interval",
    pool=POOL,
    backfill_policy=BATCHES,
    specs=[
        table_spec(
            table,
            deps=(core.READING, core.REGISTER, core.EXCHANGE, core.MANUAL_EDIT),
            partitions=DAYS,
            kinds=("polars", "duckdb"),
            note="A register is computed over its whole history, so that any order of partitions "
            "gives the same rows; only rows that differ are written.",
        )
        for table in INTERVAL_TABLES
    ],
)
@plainly
def interval(context: dg.AssetExecutionContext, etl: Etl):
    """Registers with changed readings, and those whose newest intervals have waited enough."""
    settings, warehouse, now = etl.settings(), etl.warehouse(), etl.now()
    with step_of(settings.state_path, "interval") as step:
        ids = step.register_ids | _waiting(warehouse, now - settings.hold_for)
        if is_by_hand(context):
            ids |= _read_within(warehouse, *keys_span(list(context.partition_keys)))
        ids -= _left_out(warehouse, ids, etl.portfolio())
        changes: dict[Table, list[Change]] = {table: [] for table in INTERVAL_TABLES}
        n_done = 0
        for batch in batches_of(sorted(ids), warehouse.read(_COUNTS, [sorted(ids)])):
            frames = _computed(warehouse, batch, now, etl)
            with warehouse.write() as writer:
                for table, frame in frames.items():
                    changes[table].append(_replaced(writer, table, frame, batch))
                    if table is not core.EDIT:
                        mark_for(settings.state_path, "packet", windows_of(changes[table][-1]))
            n_done += len(batch)
            context.log.info(f"{n_done} of {len(ids)} registers.")
    for table in INTERVAL_TABLES:
        windows = [window for change in changes[table] for window in windows_of(change)]
        spans = [(window.from_at, window.to_at) for window in windows]
        _numbers_from_warehouse(context, warehouse, table, spans)
        n_changed = sum(change.n_added + change.n_removed for change in changes[table])
        yield materialized(table, registers=len(ids), rows_changed=n_changed)


@dg.multi_asset(
    name="figure",
    pool=POOL,
    specs=[
        table_spec(
            table,
            deps=(core.METER, core.ALIAS, *_FIGURE_SOURCES),
            note="From the vendors' snapshots, which are relative to the day they were fetched.",
        )
        for table in FIGURE_TABLES
    ],
)
@plainly
def figure(context: dg.AssetExecutionContext, etl: Etl):
    """The vendors' own figures, merged by their keys."""
    warehouse = etl.warehouse()
    with step_of(etl.settings().state_path, "figure"):
        writes = core_writes(warehouse, etl, ALWAYS, frozenset(FIGURE_TABLES))
        n_rows = dict.fromkeys(FIGURE_TABLES, 0)
        with warehouse.write() as writer:
            for write in writes:
                change = apply_write(writer, write)
                n_rows[write.table] += change.n_added
    for table in FIGURE_TABLES:
        yield materialized(table, rows_changed=n_rows[table])


def _left_out(warehouse: Warehouse, ids: set[str], found: Portfolio) -> set[str]:
    """Return the registers that cannot be computed for now: without a row, but not taken out.

    Computed without their row, they would lose what they have.
    """
    unknown = ids.difference(warehouse.read_table(core.REGISTER)["register_id"])
    return unknown - found.gone(unknown)


def _computed(
    warehouse: Warehouse, ids: list[str], now: datetime, etl: Etl
) -> dict[Table, pl.DataFrame]:
    """Read the registers' whole history and compute their intervals, edits and samples."""
    with warehouse.reading() as reader:
        readings = reader.read(_READINGS, [ids])
        # All of them: what a register amounts to depends on what its meter has beside it.
        registers, *overruling = map(reader.read_table, (core.REGISTER, *OVERRULING))
    result = compute_intervals(
        readings,
        registers,
        *overruling,
        left_out=etl.portfolio().left_out,
        now=now,
        hold_for=etl.settings().hold_for,
    )
    return {
        core.INTERVAL: result.intervals,
        core.EDIT: result.edits,
        core.SAMPLE: result.samples,
    }


def _waiting(warehouse: Warehouse, before: datetime) -> set[str]:
    """Registers with provisional rows that nothing will confirm any more."""
    rows = warehouse.read(
        "SELECT register_id FROM core.interval WHERE is_provisional AND end_at <= $before"
        " UNION SELECT register_id FROM core.sample WHERE is_provisional AND end_at <= $before",
        {"before": before},
    )
    return set(rows["register_id"])


def _read_within(warehouse: Warehouse, from_at: datetime, to_at: datetime) -> set[str]:
    rows = warehouse.read(
        "SELECT DISTINCT register_id FROM core.reading WHERE read_at >= ? AND read_at < ?",
        [from_at, to_at],
    )
    return set(rows["register_id"])


def batches_of(ids: Iterable[str], counts: pl.DataFrame) -> Iterator[list[str]]:
    """Split registers into batches of at most `READINGS_PER_BATCH` readings, or of one register.

    Args:
        ids: in the order of the batches.
        counts: register_id and n, the readings of each that has any.
    """
    n_readings = dict(counts.iter_rows())
    batch, n_in_batch = [], 0
    for register_id in ids:
        n = n_readings.get(register_id, 0)
        if batch and n_in_batch + n > READINGS_PER_BATCH:
            yield batch
            batch, n_in_batch = [], 0
        batch.append(register_id)
        n_in_batch += n
    if batch:
        yield batch


def _replaced(writer: Writer, table: Table, frame: pl.DataFrame, ids: list[str]) -> Change:
    """Make the registers' rows equal to the frame; only rows that differ are touched."""
    return writer.replace_window(
        table,
        frame,
        ids={"register_id": ids},
        from_at=ALWAYS[0],
        to_at=ALWAYS[1],
        is_empty_kept=False,
    )


def _numbers_from_warehouse(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    table: Table,
    changed: list[tuple[datetime, datetime]],
) -> None:
    """Show each partition of the run, or each day that changed, what the table holds for it."""
    spans = [keys_span(list(context.partition_keys))] if is_by_hand(context) else changed
    if spans:
        span = min(s[0] for s in spans), max(s[1] for s in spans)
        days = warehouse.read(_DAYS_OF[table], span)
        show_days(
            context,
            table,
            # Whole days of 1970, because a cast from an instant asks for a time zone.
            days.with_columns(pl.col("day").cast(pl.Int32).cast(pl.Date)),
            is_every_day_told=table not in _SILENT_TABLES,
        )
