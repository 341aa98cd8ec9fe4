"""Group `mart`: what people read, computed from what `core` holds at that moment."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.assets.core import POOL
from energy_etl.defs.failures import plainly
from energy_etl.defs.metadata import asset_key, materialized, table_spec
from energy_etl.defs.resources import Etl
from energy_etl.tables import Table, core, mart, raw
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.disaggregation import compute_appliance_shares
from energy_etl.transform.disaggregation_scores import compute_disaggregation_scores
from energy_etl.transform.findings import compute_findings
from energy_etl.transform.trends import compute_coverage, compute_period_trends
from energy_etl.vendors import UNMAPPED_SCHEMA, discover_vendors
from energy_etl.warehouse import Reader

# Without the flags and the counter: a third of the bytes.
_ENERGY: Final = (
    "SELECT register_id, start_at, end_at, energy_kwh, volume_m3, quality, is_provisional "
    "FROM core.interval"
)
# What can judge an estimate, and only where there is one.
_TRUTH: Final = (
    "SELECT register_id, start_at, end_at, energy_kwh, quality, is_provisional "
    "FROM core.interval JOIN core.register USING (register_id) "
    "WHERE role IN ('submeter', 'appliance') AND quality IN ('measured', 'integrated') "
    "AND start_at >= (SELECT min(start_at) FROM core.appliance_interval)"
)


def _spec(table: Table, deps: Iterable[Table], note: str = "") -> dg.AssetSpec:
    return table_spec(table, deps=deps, kinds=("polars", "duckdb"), note=note)


def _read(etl: Etl, *tables: Table) -> list[pl.DataFrame]:
    with etl.warehouse().reading() as reader:
        return [reader.read_table(table) for table in tables]


def _written(etl: Etl, table: Table, frame: pl.DataFrame) -> dg.MaterializeResult:
    with etl.warehouse().write() as writer:
        change = writer.replace_all(table, frame)
    return materialized(table, rows=frame.height, rows_changed=change.n_added + change.n_removed)


@dg.multi_asset(
    name="daily_energy",
    pool=POOL,
    specs=[_spec(mart.DAILY_ENERGY, (core.INTERVAL, core.REGISTER))],
)
@plainly
def daily_energy(etl: Etl) -> dg.MaterializeResult:
    """Intervals added up per site-local day."""
    with etl.warehouse().reading() as reader:
        intervals, registers = reader.read(_ENERGY), reader.read_table(core.REGISTER)
    frame = compute_daily(intervals, registers, now=etl.now())
    return _written(etl, mart.DAILY_ENERGY, frame)


@dg.multi_asset(
    name="period_trend",
    pool=POOL,
    specs=[
        _spec(
            mart.PERIOD_TREND,
            (mart.DAILY_ENERGY, core.VENDOR_FIGURE),
            "Complete local days only; the six periods end at the day of the computation.",
        )
    ],
)
@plainly
def period_trend(etl: Etl) -> dg.MaterializeResult:
    """Six periods per register, the vendor's figure beside ours."""
    frames = _read(etl, mart.DAILY_ENERGY, core.REGISTER, core.VENDOR_FIGURE)
    frame = compute_period_trends(*frames, now=etl.now())
    return _written(etl, mart.PERIOD_TREND, frame)


@dg.multi_asset(
    name="appliance_share",
    pool=POOL,
    specs=[_spec(mart.APPLIANCE_SHARE, (mart.DAILY_ENERGY, core.VENDOR_APPLIANCE_FIGURE))],
)
@plainly
def appliance_share(etl: Etl) -> dg.MaterializeResult:
    """Shares by submeters and by vendors, with what is left unattributed."""
    frames = _read(etl, mart.DAILY_ENERGY, core.REGISTER, core.VENDOR_APPLIANCE_FIGURE, core.METER)
    frame = compute_appliance_shares(*frames, now=etl.now())
    return _written(etl, mart.APPLIANCE_SHARE, frame)


@dg.multi_asset(
    name="disaggregation_score",
    pool=POOL,
    specs=[_spec(mart.DISAGGREGATION_SCORE, (core.APPLIANCE_INTERVAL, core.INTERVAL))],
)
@plainly
def disaggregation_score(etl: Etl) -> dg.MaterializeResult:
    """The vendors' disaggregation against the submeters."""
    with etl.warehouse().reading() as reader:
        estimates = reader.read_table(core.APPLIANCE_INTERVAL)
        intervals, registers = reader.read(_TRUTH), reader.read_table(core.REGISTER)
    frame = compute_disaggregation_scores(estimates, intervals, registers)
    return _written(etl, mart.DISAGGREGATION_SCORE, frame)


@dg.multi_asset(
    name="coverage",
    pool=POOL,
    specs=[_spec(mart.COVERAGE, (mart.DAILY_ENERGY, core.READING))],
)
@plainly
def coverage(etl: Etl) -> dg.MaterializeResult:
    """How complete each register's last seven days are."""
    with etl.warehouse().reading() as reader:
        daily, registers = reader.read_table(mart.DAILY_ENERGY), reader.read_table(core.REGISTER)
        last_read = reader.read(
            "SELECT register_id, max(read_at) AS last_read_at FROM core.reading "
            "GROUP BY register_id"
        )
    frame = compute_coverage(daily, registers, last_read, now=etl.now())
    return _written(etl, mart.COVERAGE, frame)


_VENDORS: Final = discover_vendors().values()
_VENDOR_MARTS: Final = {made.table: made for vendor in _VENDORS for made in vendor.marts}


# One step for all of them: a step and its two connections cost more than these small tables do.
@dg.multi_asset(
    name="vendor_marts",
    pool=POOL,
    can_subset=True,
    specs=[_spec(made.table, made.inputs, made.note) for made in _VENDOR_MARTS.values()],
)
@plainly
def vendor_marts(context: dg.AssetExecutionContext, etl: Etl):
    """What people read of one vendor alone: access, licences, the portfolio's tree, holdings."""
    chosen = [
        made
        for table, made in _VENDOR_MARTS.items()
        if asset_key(table) in context.selected_asset_keys
    ]
    inputs = tuple({table: None for made in chosen for table in made.inputs})
    frames = dict(zip((t.full_name for t in inputs), _read(etl, *inputs), strict=True))
    computed = {made.table: made.compute(frames, etl.now()) for made in chosen}
    with etl.warehouse().write() as writer:
        changes = {table: writer.replace_all(table, frame) for table, frame in computed.items()}
    for table, change in changes.items():
        rows_changed = change.n_added + change.n_removed
        yield materialized(table, rows=computed[table].height, rows_changed=rows_changed)


@dg.multi_asset(
    name="finding",
    pool=POOL,
    specs=[
        _spec(
            mart.FINDING,
            (
                mart.COVERAGE,
                core.EDIT,
                core.ALIAS,
                *(table for v in _VENDORS if v.findings for table in v.findings.inputs),
            ),
        )
    ],
)
@plainly
def finding(etl: Etl) -> dg.MaterializeResult:
    """What somebody should look at, with the next step."""
    registers, edits, coverage, quarantine = _read(
        etl, core.REGISTER, core.EDIT, mart.COVERAGE, raw.QUARANTINE
    )
    with etl.warehouse().reading() as reader:
        unmapped, of_vendors = _unmapped(reader), _of_vendors(reader, etl.now())
    frame = compute_findings(registers, edits, coverage, unmapped=unmapped, quarantine=quarantine)
    return _written(etl, mart.FINDING, pl.concat([frame, *of_vendors]).sort(mart.FINDING.key))


def _of_vendors(reader: Reader, now: datetime) -> list[pl.DataFrame]:
    """What each vendor's own tables show."""
    return [
        vendor.findings.find(
            {table.full_name: reader.read_table(table) for table in vendor.findings.inputs}, now
        )
        for vendor in _VENDORS
        if vendor.findings
    ]


def _unmapped(reader: Reader) -> pl.DataFrame:
    """Ids that a vendor lists and the portfolio does not."""
    alias = reader.read_table(core.ALIAS)
    found = [pl.DataFrame(schema=UNMAPPED_SCHEMA)]
    for vendor in _VENDORS:
        if vendor.unmapped is not None:
            # What is read in bulk lists nothing; only the small tables are looked at.
            listed = [table for table in vendor.tables if table.time_column is None]
            frames = {table.full_name: reader.read_table(table) for table in listed}
            found.append(vendor.unmapped(frames, alias))
    return pl.concat(found)
