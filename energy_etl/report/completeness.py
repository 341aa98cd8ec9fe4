"""How complete each register was on each local day, the worst first.

A day has the intervals of its own 23 to 25 hours: `mart.daily_energy` counts what was expected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from energy_etl.periods import days_between
from energy_etl.report.figures import Site
from energy_etl.report.marks import Cell
from energy_etl.report.sources import Frames

DAYS: Final = 42


@dataclass(frozen=True)
class Row:
    """One register; cells are None on days before its first one, of one never read on all."""

    register_id: str
    label: str
    site_name: str
    coverage_pct: float
    cells: list[Cell | None]


@dataclass(frozen=True)
class Completeness:
    """The days of the heat map, and its rows, the worst first."""

    days: list[date]
    rows: list[Row]


def compute_completeness(frames: Frames, sites: Sequence[Site]) -> Completeness:
    """Return the last 42 complete local days of every register of the sites.

    A register that was never read has no days: it is known from `mart.coverage` alone.
    """
    by_site = {site.site_id: site for site in sites}
    daily = frames["daily"].filter(pl.col("site_id").is_in(list(by_site)))
    never_read = (
        frames["coverage"]
        .filter(pl.col("site_id").is_in(list(by_site)))
        .join(daily, on="register_id", how="anti")
    )
    if daily.is_empty() and never_read.is_empty():
        return Completeness([], [])
    # Sites on both sides of the date line: each register has its own last complete day.
    end_on = max(site.computed_on for site in sites)
    days = days_between(end_on - timedelta(days=DAYS), end_on)
    labels = {
        row["register_id"]: row["meter_name"] or row["register_id"]
        for row in frames["register"].iter_rows(named=True)
    }
    rows = []
    for (register_id,), group in daily.group_by("register_id", maintain_order=True):
        site = by_site[group["site_id"][0]]
        cells = {
            row["local_on"]: Cell(
                row["local_on"], row["hours"], row["n_expected"], row["n_measured"]
            )
            for row in group.iter_rows(named=True)
            if row["local_on"] < site.computed_on
        }
        shown = [cells.get(on) for on in days]
        n_expected = sum(cell.n_expected for cell in shown if cell)
        if not n_expected:
            continue
        n_measured = sum(cell.n_measured for cell in shown if cell)
        label = labels.get(str(register_id), str(register_id))
        rows.append(Row(str(register_id), label, site.name, 100 * n_measured / n_expected, shown))
    for row in never_read.iter_rows(named=True):
        register_id, site = row["register_id"], by_site[row["site_id"]]
        label = labels.get(register_id, register_id)
        rows.append(Row(register_id, label, site.name, 0.0, [None] * len(days)))
    return Completeness(days, sorted(rows, key=lambda row: (row.coverage_pct, row.register_id)))
