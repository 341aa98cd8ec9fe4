"""How far to trust it: coverage, and what somebody should look at."""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.defs.marts import made
from energy_etl.tables import Findings, Frames, Mart, Plot, Query, core, mart, raw
from energy_etl.transform.findings import compute_findings
from energy_etl.transform.trends import compute_coverage
from energy_etl.vendors import UNMAPPED_SCHEMA, Vendor, discover_vendors

LAST_READ: Final = Query(
    "last_read",
    "SELECT register_id, max(read_at) AS last_read_at FROM core.reading GROUP BY register_id",
    (core.READING,),
)

MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.COVERAGE,
        compute_coverage,
        mart.DAILY_ENERGY,
        core.REGISTER,
        LAST_READ,
        note="How complete each register's last seven days are.",
        plot=Plot("register_id", "coverage_pct", "mean", is_least_first=True),
        numbers={
            "worst_coverage_pct": pl.col("coverage_pct").min(),
            "mean_coverage_pct": pl.col("coverage_pct").mean(),
        },
    ),
)


def _listed(vendor: Vendor) -> tuple:
    """The tables that list a vendor's things: what is read in bulk lists nothing."""
    return tuple(table for table in vendor.tables if table.time_column is None)


_LISTING: Final = [v for v in discover_vendors().values() if v.unmapped is not None]


def _find(frames: Frames, now: datetime) -> pl.DataFrame:
    del now
    alias = frames[core.ALIAS.full_name]
    unmapped = [
        vendor.unmapped({t.full_name: frames[t.full_name] for t in _listed(vendor)}, alias)
        for vendor in _LISTING
        if vendor.unmapped is not None
    ]
    return compute_findings(
        *(frames[table.full_name] for table in (core.REGISTER, core.EDIT, mart.COVERAGE)),
        unmapped=pl.concat([pl.DataFrame(schema=UNMAPPED_SCHEMA), *unmapped]),
        quarantine=frames[raw.QUARANTINE.full_name],
    )


FINDINGS: Final = (
    Findings(
        (
            core.REGISTER,
            core.EDIT,
            mart.COVERAGE,
            core.ALIAS,
            raw.QUARANTINE,
            *(table for vendor in _LISTING for table in _listed(vendor)),
        ),
        _find,
    ),
)
