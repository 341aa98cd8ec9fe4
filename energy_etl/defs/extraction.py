"""From a vendor's answers to committed rows and marks: the same for every vendor, live or rebuilt.

One transaction writes the request log, the quarantine and the vendor's tables, and marks what
changed before it commits.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import dagster as dg
import polars as pl
from pydantic import Field

from energy_etl.defs.marks import mark_for, windows_of
from energy_etl.defs.metadata import materialized, rows_per_day, show_days
from energy_etl.defs.resources import Etl
from energy_etl.portfolio import Portfolio
from energy_etl.rest import FetchReport, RequestLog
from energy_etl.state import Window
from energy_etl.tables import Table, core
from energy_etl.tables.raw import BODY, QUARANTINE, REQUEST
from energy_etl.vendors import (
    Listing,
    Vendor,
    VendorBatch,
    WhoIsWho,
    Whole,
    Write,
    discover_vendors,
)
from energy_etl.vendors import Window as FetchedWindow
from energy_etl.warehouse import Change, Warehouse, Writer, combined, write_listing


class OnlyConfig(dg.Config):
    """Run configuration of an extraction: empty lists take everything that is mapped."""

    only_meters: list[str] = Field(default_factory=list)
    only_sites: list[str] = Field(default_factory=list)

    def chosen(self, registers: pl.DataFrame) -> pl.DataFrame:
        """Return the rows (with meter_id and site_id) that were asked for."""
        frame = registers
        if self.only_meters:
            frame = frame.filter(pl.col("meter_id").is_in(self.only_meters))
        if self.only_sites:
            frame = frame.filter(pl.col("site_id").is_in(self.only_sites))
        return frame


def who_is_who(portfolio: Portfolio) -> WhoIsWho:
    """Return the part of the portfolio that turns vendors' ids into ours."""
    frames = portfolio.frames
    return WhoIsWho(portfolio.used_aliases(), frames[core.REGISTER], frames[core.METER])


@dataclass
class Written:
    """What a batch changed."""

    changes: dict[Table, Change] = field(default_factory=dict)

    def rows_changed(self, table: Table) -> int:
        """Rows added to and removed from a table."""
        change = self.changes.get(table)
        return change.n_added + change.n_removed if change else 0


def write_batch(
    etl: Etl, vendor: Vendor, batch: VendorBatch, log: RequestLog | None = None
) -> Written:
    """Write a batch and, of a live fetch, its request log; mark what changed.

    `core.reading` is written here and not by a later run: the vendor's table keeps the newest value
    only, so a value that is corrected before that run would never become a version.

    Raises:
        WarehouseLockedError: another process holds the warehouse; nothing was written.
    """
    written = Written()
    who = who_is_who(etl.portfolio())
    readings = [write for write in vendor.core_writes(batch, who) if write.table is core.READING]
    with etl.warehouse().write() as writer:
        if log is not None:
            _write_log(writer, log)
        writer.merge(QUARANTINE, batch.quarantine)
        for write in (*batch.writes, *readings):
            # A table may get several writes, such as one per window.
            change, earlier = apply_write(writer, write), written.changes.get(write.table)
            written.changes[write.table] = combined([earlier, change]) if earlier else change
        _mark(etl, vendor, written)
    return written


def _write_log(writer: Writer, log: RequestLog) -> None:
    requests, bodies = log.take()
    known = writer.read(
        "SELECT body_sha256 FROM raw.body WHERE list_contains(?, body_sha256)",
        [bodies["body_sha256"].to_list()],
    )
    writer.append(BODY, bodies.join(known, on="body_sha256", how="anti"))
    writer.append(REQUEST, requests)


def apply_write(writer: Writer, write: Write) -> Change:
    """Bring rows into a table in the way the write names."""
    if isinstance(write.how, FetchedWindow):
        return writer.replace_window(
            write.table,
            write.frame,
            ids=write.how.ids,
            from_at=write.how.from_at,
            to_at=write.how.to_at,
        )
    if isinstance(write.how, Whole):
        return writer.replace_whole(write.table, write.frame, ids=write.how.ids)
    if isinstance(write.how, Listing):
        return write_listing(
            writer, write.table, write.frame, scopes=write.how.scopes, at=write.how.at
        )
    if write.how == "append_versions":
        return writer.append_versions(write.table, write.frame)
    return writer.merge(write.table, write.frame)


def _mark(etl: Etl, vendor: Vendor, written: Written) -> None:
    """Mark changed readings for `interval`, changed figures for `figure`."""
    state_path, now = etl.settings().state_path, etl.now()
    if core.READING in written.changes:
        mark_for(state_path, "interval", windows_of(written.changes[core.READING], vendor.name))
    if _makes_figures(vendor, {table for table in written.changes if written.rows_changed(table)}):
        mark_for(state_path, "figure", [Window(vendor.name, now, now, vendor.name)])


def _makes_figures(vendor: Vendor, changed: set[Table]) -> bool:
    """True when what changed makes a figure of the vendor, a mart of its own, or a finding."""
    if changed and core.VENDOR_FIGURE in vendor.feeds:
        return True
    inputs = {table for mart in vendor.marts for table in mart.inputs}
    inputs.update(vendor.findings.inputs if vendor.findings else ())
    return not changed.isdisjoint(inputs)


def _tell(
    context: dg.AssetExecutionContext, vendor: Vendor, report: FetchReport, batch: VendorBatch
) -> dict[str, object]:
    """Log what failed and return the numbers of a fetch; raise when nothing of it worked.

    Raises:
        EnergyEtlError: the vendor refused the credential or nothing answered.
    """
    lines = [*report.sentences(), *(f"{p.subject}: {p.error}" for p in batch.problems)]
    if batch.quarantine.height:
        lines.append(
            f"{batch.quarantine.height} rows failed validation and are in raw.quarantine with "
            "their reasons; the others were kept."
        )
    for line in lines:
        context.log.warning(line)
    if report.stopped_by is not None:
        raise report.stopped_by
    if report.failures and not report.done:
        raise next(iter(report.failures.values()))
    numbers: dict[str, object] = {
        "fetched": len(report.done),
        "failed": len(report.failures),
        "skipped": len(report.skipped),
    }
    if lines:
        numbers["warnings"] = dg.MetadataValue.md("\n".join(f"- {line}" for line in lines[:50]))
    return numbers


def stored(
    context: dg.AssetExecutionContext,
    etl: Etl,
    vendor: Vendor,
    log: RequestLog,
    report: FetchReport,
    tables: Iterable[Table],
    *,
    is_by_day: bool = False,
) -> Iterator[dg.MaterializeResult]:
    """Write what a fetch brought and yield one result per table; the end of every extraction.

    Args:
        context: of the running asset.
        etl: the project's resources.
        vendor: who was asked.
        log: the calls of the fetch.
        report: how they went.
        tables: those of the asset.
        is_by_day: also tell each partition of the run its rows of the tables that have a time.

    Raises:
        EnergyEtlError: the vendor refused the credential or nothing answered.
    """
    batch = vendor.to_batch(log.calls()) if vendor.to_batch else VendorBatch()
    written = write_batch(etl, vendor, batch, log)
    numbers = _tell(context, vendor, report, batch)
    for table in tables:
        if is_by_day and table.time_column is not None:
            show_days(context, table, rows_per_day(table, batch.frame(table)))
        rows = sum(write.frame.height for write in batch.writes if write.table is table)
        yield materialized(table, rows=rows, rows_changed=written.rows_changed(table), **numbers)


def progress_log(
    context: dg.AssetExecutionContext, what: str, step: int = 25
) -> Callable[[int, int], None]:
    """Return a callback that logs every `step` finished calls and the last one."""

    def log(n_done: int, n_all: int) -> None:
        if n_done % step == 0 or n_done == n_all:
            context.log.info(f"{n_done} of {n_all} {what}.")

    return log


def core_writes(
    warehouse: Warehouse, etl: Etl, span: tuple[datetime, datetime], tables: frozenset[Table]
) -> list[Write]:
    """Read each vendor's rows of the span and let the vendor turn them into core rows."""
    who = who_is_who(etl.portfolio())
    return [
        write
        for vendor in discover_vendors().values()
        if tables.intersection(vendor.feeds)
        for write in vendor.core_writes(_vendor_rows(warehouse, vendor, span), who)
        if write.table in tables
    ]


def _vendor_rows(
    warehouse: Warehouse, vendor: Vendor, span: tuple[datetime, datetime]
) -> VendorBatch:
    batch = VendorBatch()
    with warehouse.reading() as reader:
        for table in vendor.tables:
            where, params = ("", ())
            if table.time_column:
                where, params = f"{table.time_column} >= ? AND {table.time_column} < ?", span
            batch.writes.append(Write(table, reader.read_table(table, where, params), "merge"))
    return batch
