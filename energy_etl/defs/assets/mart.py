"""Group `mart`: what people read, computed from what `core` holds at that moment.

Which tables there are and what they are made of stands in `defs/marts/` and in the vendors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

import dagster as dg
import polars as pl

from energy_etl.defs.failures import DATA_FAULTS, plainly, told_plainly
from energy_etl.defs.marks import POOL
from energy_etl.defs.marts import all_marts, tables_of
from energy_etl.defs.metadata import asset_key, materialized, read_input, table_spec
from energy_etl.defs.plots import drawn
from energy_etl.defs.resources import Etl
from energy_etl.errors import TransformError
from energy_etl.tables import Mart, Table
from energy_etl.warehouse import checked, publish, without_repeats


def _with_marts_of_packets(marts: Iterable[Mart]) -> tuple[list[Mart], list[Mart]]:
    """Split marts, in order: those that need no packet, and those that do."""
    rest: list[Mart] = []
    of_packets: list[Mart] = []
    for made in marts:
        inputs = {*tables_of(made.inputs)}
        needs = any(table.schema == "push" for table in inputs) or inputs & {
            other.table for other in of_packets
        }
        (of_packets if needs else rest).append(made)
    return rest, of_packets


def build_step(name: str, marts: list[Mart]) -> dg.AssetsDefinition:
    """Return one step for all of them: each step costs more than most of these tables do."""

    @dg.multi_asset(
        name=name,
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
            for made in marts
        ],
    )
    @plainly
    def step(context: dg.AssetExecutionContext, etl: Etl) -> Iterator[dg.MaterializeResult]:
        chosen = [made for made in marts if asset_key(made.table) in context.selected_asset_keys]
        yield from _computed(context, etl, chosen)

    return step


# What needs packets waits for the outbox; the others do not, and a fault there does not stop them.
marts, marts_of_packets = map(
    build_step, ("marts", "marts_of_packets"), _with_marts_of_packets(all_marts())
)


def _computed(
    context: dg.AssetExecutionContext, etl: Etl, chosen: list[Mart]
) -> Iterator[dg.MaterializeResult]:
    """Compute marts; one that fails keeps its rows and does not stop the others."""
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
            f"{len(faults)} of {len(chosen)} marts keep what they held before, report it if it "
            f"stays so after the next computation: {told}"
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
            computed[table] = without_repeats(table, checked(table, made.compute(frames, now)))
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
