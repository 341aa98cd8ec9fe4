"""Group `core`: who is who and what people declared, from the portfolio's files."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.extraction import apply_write, core_writes
from energy_etl.defs.failures import plainly
from energy_etl.defs.marks import POOL, mark_for, windows_of
from energy_etl.defs.metadata import materialized, table_spec
from energy_etl.defs.partitions import ALWAYS
from energy_etl.defs.resources import Etl
from energy_etl.portfolio import Portfolio
from energy_etl.state import Window
from energy_etl.tables import Table, core, push
from energy_etl.transform.registers_power import compare_neighbours

PORTFOLIO_TABLES: Final = (
    core.SITE,
    core.METER,
    core.REGISTER,
    core.ALIAS,
    core.EXCHANGE,
    core.GAP,
    core.MANUAL_EDIT,
    core.TARIFF,
    core.MEASURE,
    core.WEATHER,
    core.PORTFOLIO_PROBLEM,
    push.STREAM,
    push.STREAM_FIELD,
)
# What a stream's packets are made of.
_FEEDS: Final = {
    push.STREAM: "SELECT * FROM push.stream",
    push.STREAM_FIELD: "SELECT * FROM push.stream_field",
}
_FAULTS: Final = "SELECT file FROM core.portfolio_problem LIMIT 1"
_COMPUTED: Final = (
    "SELECT DISTINCT register_id FROM core.interval UNION SELECT register_id FROM core.sample"
)
# When the first of some registers fell silent.
_LAST_READ: Final = (
    "SELECT max(read_at) AS last_at FROM core.reading WHERE list_contains(?, register_id)"
    " GROUP BY register_id ORDER BY 1 LIMIT 1"
)
# What changes the intervals of a register beside its own row.
OVERRULING: Final = {
    core.EXCHANGE: "SELECT * FROM core.exchange",
    core.MANUAL_EDIT: "SELECT * FROM core.manual_edit",
}


@dg.multi_asset(
    name="portfolio",
    pool=POOL,
    specs=[
        table_spec(table, kinds=("csv",), note="From data/portfolio/*.csv; read in each run.")
        for table in PORTFOLIO_TABLES
    ],
)
@plainly
def portfolio(context: dg.AssetExecutionContext, etl: Etl):
    """Who is who across the vendors; registers whose row changed are computed again, and streams
    whose row changed are filled again. A row with a fault is left out with what depends on it, and
    what was computed of that stays as it is until the cell is mended.
    """
    settings, found = etl.settings(), etl.portfolio()
    for problem in found.problems:
        context.log.warning(problem.message)
    _read_again(etl, found)
    frames = dict(found.frames)
    with etl.warehouse().write() as writer:
        before = writer.read("SELECT * FROM core.register")
        feeds_before = {table: writer.read(sql) for table, sql in _FEEDS.items()}
        # What was taken out while a fault stood is not in `before` any more.
        known = writer.read(_COMPUTED) if writer.read(_FAULTS).height else before
        overrules = {table: writer.read(sql) for table, sql in OVERRULING.items()}
        frames |= {table: found.with_last_good(table, rows) for table, rows in overrules.items()}
        for table in PORTFOLIO_TABLES:
            writer.replace_all(table, frames[table])
        now_rows = frames[core.REGISTER]
        changed = now_rows.join(before, on=now_rows.columns, how="anti", nulls_equal=True)
        # A counter that is added takes its meter's power out of the sums.
        beside = _differing(
            compare_neighbours(before), compare_neighbours(now_rows, found.left_out)
        ).intersection(now_rows["register_id"])
        removed = found.gone(known["register_id"])
        overruled = [_differing(rows, frames[table]) for table, rows in overrules.items()]
        ids = removed.union(changed["register_id"], beside, *overruled)
        ids = ids if before.height else set()
        # The registers count here, not the span: it only names the partitions of the run.
        recent = (etl.now() - timedelta(days=1), etl.now())
        mark_for(settings.state_path, "interval", [Window(i, *recent, "") for i in sorted(ids)])
        fed = sorted(fed_anew(feeds_before, frames)) if before.height else ()
        mark_for(settings.state_path, "packet", [Window(i, *recent, "") for i in fed])
    for table in PORTFOLIO_TABLES:
        yield materialized(table, rows=frames[table].height)


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> set[str]:
    """Return the registers that have a row in one of two versions of a table only."""
    columns = after.columns
    pairs = ((before, after), (after, before))
    rows = [a.join(b, on=columns, how="anti", nulls_equal=True) for a, b in pairs]
    return {register_id for frame in rows for register_id in frame["register_id"]}


def fed_anew(before: Mapping[Table, pl.DataFrame], now: Mapping[Table, pl.DataFrame]) -> set[str]:
    """Return a register of each stream of which any row changed or went: it is filled again."""
    ids: set[str] = set()
    for table in _FEEDS:
        pairs = ((before[table], now[table]), (now[table], before[table]))
        ids.update(
            *(a.join(b, on=a.columns, how="anti", nulls_equal=True)["stream_id"] for a, b in pairs)
        )
    return {
        register_id
        for table in _FEEDS
        for register_id in now[table].filter(pl.col("stream_id").is_in(sorted(ids)))["register_id"]
        if register_id is not None
    }


def _read_again(etl: Etl, found: Portfolio) -> None:
    """Bring what vendors' tables got for registers while a fault of the portfolio hid them.

    Committed before the faults are forgotten: a run that dies in between does it again.
    """
    warehouse = etl.warehouse()
    with warehouse.reading() as reader:
        if reader.read(_FAULTS).is_empty():
            return
        back = found.frames[core.REGISTER].join(
            reader.read_table(core.REGISTER), on="register_id", how="anti"
        )
        if back.is_empty():
            return
        last = reader.read(_LAST_READ, [back["register_id"].to_list()])
    if last.is_empty():
        return
    from_at = last.row(0, named=True)["last_at"]
    writes = core_writes(warehouse, etl, (from_at, ALWAYS[1]), frozenset({core.READING}))
    with warehouse.write() as writer:
        for change in (apply_write(writer, write) for write in writes):
            mark_for(etl.settings().state_path, "interval", windows_of(change))
