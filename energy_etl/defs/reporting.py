"""The report's reading and writing, for its asset and for `energy-etl report`; no Dagster here.

What is read is `energy.duckdb` alone, which no run ever locks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import polars as pl

from energy_etl.defs.output import put_whole
from energy_etl.errors import WarehouseError
from energy_etl.report import SOURCES, render_report
from energy_etl.report.sources import PUBLICATION
from energy_etl.settings import Settings
from energy_etl.transform.delivery import is_lagging, is_stopped
from energy_etl.warehouse import reading_published


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        path: of the file.
        numbers: what it counts.
        not_read: sources that the published file lacks; their sections say that they are empty.
    """

    path: Path
    numbers: Mapping[str, int | float]
    not_read: tuple[str, ...]


def report_path(settings: Settings, site_id: str | None = None) -> Path:
    """Return where the report is kept; that of one site has a file of its own."""
    of_site = "" if site_id is None else f".{quote(site_id, safe='')}"
    return settings.data_dir / "reports" / f"energy{of_site}.html"


def write_report(
    settings: Settings, now: datetime, *, out: Path | None = None, site_id: str | None = None
) -> Written:
    """Make the report of what is published and put it in place in one step.

    Args:
        settings: of the project.
        now: aware; ages are counted to it.
        out: the file; None: `data/reports/energy.html`, of one site `energy.SITE.html`.
        site_id: only this site; None: all.

    Raises:
        UsageError: there is no such site.
        WarehouseError: the published file is there and cannot be read.
        OSError: the report cannot be written.
    """
    frames, not_read = read_sources(settings.published_path, now)
    report = render_report(frames, now, site_id=site_id)
    path = out or report_path(settings, site_id)
    with put_whole(path) as file:
        file.write(report.html.encode())
    return Written(path, report.numbers, not_read)


def read_sources(path: Path, now: datetime) -> tuple[dict[str, pl.DataFrame], tuple[str, ...]]:
    """Return the report's sources of one publication, and the names of those that it lacks.

    `stream` has besides how it stands by the rules of `transform/delivery.py`, as of `now`.

    Raises:
        WarehouseError: the file is there and cannot be read.
    """
    if not path.exists():
        # A page that says so is more use than a schedule that fails until the first run.
        return {}, tuple(source.name for source in SOURCES)
    frames: dict[str, pl.DataFrame] = {}
    not_read: list[str] = []
    with reading_published(path) as read:
        # What every publication has: without it the file itself is at fault.
        frames[PUBLICATION.name] = read(PUBLICATION.sql)
        for source in SOURCES:
            try:
                frames[source.name] = read(source.sql)
            except WarehouseError:
                # Written by an earlier version, which had no such table: the next run adds it.
                not_read.append(source.name)
    if "stream" in frames:
        # What was stored is the lag as of the last push: when nothing is pushed any more it stays.
        passed = (pl.lit(now) - pl.col("last_sent_at")).dt.total_seconds() / 60
        frames["stream"] = frames["stream"].with_columns(
            # What was never sent has no such instant, and is overdue all the same.
            lag_minutes=pl.coalesce(passed - pl.col("interval_minutes"), "lag_minutes")
        )
        frames["stream"] = frames["stream"].with_columns(
            is_stopped=is_stopped().fill_null(False),
            is_lagging=is_lagging() & pl.col("register_id").is_not_null(),
        )
    return frames, tuple(not_read)
