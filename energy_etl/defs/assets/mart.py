"""Group `mart`: what people read, computed from what `core` holds at that moment.

Which tables there are and what they are made of stands in `defs/marts/` and in the vendors.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.assets.core import POOL
from energy_etl.defs.failures import plainly
from energy_etl.defs.marts import all_marts, tables_of
from energy_etl.defs.metadata import asset_key, materialized, read_input, table_spec
from energy_etl.defs.plots import drawn
from energy_etl.defs.resources import Etl
from energy_etl.errors import EnergyEtlError, TransformError
from energy_etl.tables import Mart, Table

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
    frames = _inputs(etl, chosen)
    computed: dict[Table, pl.DataFrame] = {}
    failures: dict[str, str] = {}
    for made in chosen:
        name = made.table.full_name
        try:
            frames[name] = computed[made.table] = made.compute(frames, etl.now())
        except (EnergyEtlError, pl.exceptions.PolarsError) as error:
            failures[name] = str(error)
            context.log.error(f"{name} was not computed and keeps its rows: {error}")
            with etl.warehouse().reading() as reader:
                frames[name] = reader.read_table(made.table)
    with etl.warehouse().write() as writer:
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
    if failures:
        told = "; ".join(f"{name}: {why}" for name, why in failures.items())
        raise TransformError(f"{len(failures)} marts keep what they held before: {told}")


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
    return frame.select(**made.numbers).row(0, named=True)
