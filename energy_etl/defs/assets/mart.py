"""Group `mart`: what people read, computed from what `core` holds at that moment.

Which tables there are and what they are made of stands in `defs/marts/` and in the vendors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.assets.core import POOL
from energy_etl.defs.failures import DATA_FAULTS, plainly, told_plainly
from energy_etl.defs.marts import all_marts, tables_of
from energy_etl.defs.metadata import asset_key, materialized, read_input, table_spec
from energy_etl.defs.plots import drawn
from energy_etl.defs.resources import Etl
from energy_etl.errors import TransformError
from energy_etl.tables import Mart, Table
from energy_etl.warehouse import checked, publish

_MARTS: Final = all_marts()


# One step for all of them: a step and its two connections cost more than most of these tables do.
@dg.multi_asset(
    name="marts",
    pool=POOL,
    can_subset=True,
    specs=[
        table_spec(
            made.table,
            # raw has no assets: it is what they are all made of.
            deps=[t for t in tables_of(made.inputs) if t.is_published],
            kinds=("polars", "duckdb"),
            note=made.note,
        )
        for made in _MARTS
    ],
)
@plainly
def marts(context: dg.AssetExecutionContext, etl: Etl) -> Iterator[dg.MaterializeResult]:
    """Computes every chosen mart; one that fails keeps its rows and does not stop the others."""
    chosen = [made for made in _MARTS if asset_key(made.table) in context.selected_asset_keys]
    warehouse = etl.warehouse()
    computed, faults = compute_each(
        chosen, _inputs(etl, chosen), etl.now(), held=warehouse.read_table
    )
    for table, error in faults.items():
        context.log.error(
            f"{table.full_name} was not computed and keeps its rows: {told_plainly(error)}",
            exc_info=error,
        )
    with warehouse.write() as writer:
        changes = {table: writer.replace_all(table, frame) for table, frame in computed.items()}
    for made in (each for each in chosen if each.table in computed):
        frame, change = computed[made.table], changes[made.table]
        yield materialized(
            made.table,
            rows=frame.height,
            rows_changed=change.n_added + change.n_removed,
            **_numbers(made, frame),
            plot=drawn(frame, made.plot) if made.plot else None,
        )
    if faults:
        # The step of the published files waits for this one, which fails.
        publish(warehouse, data_dir=etl.settings().data_dir)
        told = "; ".join(
            f"{table.full_name}: {told_plainly(error)}" for table, error in faults.items()
        )
        raise TransformError(
            f"{len(faults)} of {len(chosen)} marts keep what they held before: {told}"
        )


def compute_each(
    chosen: Iterable[Mart],
    inputs: Mapping[str, pl.DataFrame],
    now: datetime,
    *,
    held: Callable[[Table], pl.DataFrame],
) -> tuple[dict[Table, pl.DataFrame], dict[Table, BaseException]]:
    """Compute marts, each after those it is made of; one that fails does not stop the others.

    Args:
        chosen: the marts in their order.
        inputs: what they are made of and do not make, by full name.
        now: the instant of the computation.
        held: reads what a table holds: what is made of a mart that failed is made of that.

    Returns:
        The rows of those that were computed, in the columns of their tables, and why the others
        were not.
    """
    frames = dict(inputs)
    computed: dict[Table, pl.DataFrame] = {}
    faults: dict[Table, BaseException] = {}
    for made in chosen:
        table = made.table
        try:
            # Here, not in the transaction of all of them: it would lose the others' rows too.
            computed[table] = checked(table, made.compute(frames, now))
        except DATA_FAULTS as error:
            faults[table] = error
        frames[table.full_name] = computed[table] if table in computed else held(table)
    return computed, faults


def _inputs(etl: Etl, chosen: Iterable[Mart]) -> dict[str, pl.DataFrame]:
    """Read what the chosen marts need and do not make, over one connection."""
    made_here = {made.table for made in chosen}
    needed = dict.fromkeys(item for made in chosen for item in made.inputs)
    with etl.warehouse().reading() as reader:
        return {
            item.full_name: read_input(reader, item) for item in needed if item not in made_here
        }


def _numbers(made: Mart, frame: pl.DataFrame) -> dict[str, float | int | str | None]:
    if not made.numbers or frame.is_empty():
        return {}
    numbers = frame.select(**made.numbers).row(0, named=True)
    # The UI shows every digit of a float.
    return {
        name: float(f"{number:.6g}") if isinstance(number, float) else number
        for name, number in numbers.items()
    }
