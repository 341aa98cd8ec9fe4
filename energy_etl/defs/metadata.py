"""What the Dagster UI shows of a table: its spec, its inputs, the numbers of a materialization.

Descriptions and column schemas come from `tables/`, so that UI, database and dictionary agree.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg
import polars as pl

from energy_etl.defs.partitions import is_by_hand
from energy_etl.tables import Input, Query, Table
from energy_etl.warehouse import Reader

OWNER = "team:energy"


def asset_key(table: Table) -> dg.AssetKey:
    """Return schema + table: what the SQL user types."""
    return dg.AssetKey([table.schema, table.name])


def table_spec(
    table: Table,
    *,
    deps: Iterable[Table] = (),
    partitions: dg.PartitionsDefinition | None = None,
    kinds: Iterable[str] = ("duckdb",),
    note: str = "",
) -> dg.AssetSpec:
    """Return the asset of a table.

    Args:
        table: description and column schema come from it.
        deps: the tables it is made of.
        partitions: None for what has no partitions.
        kinds: the tools that make it, for the UI's badges.
        note: endpoint, cadence, how late data may come, how to fill again.
    """
    schema = dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.duckdb_type,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.is_nullable),
            )
            for column in table.columns
        ]
    )
    return dg.AssetSpec(
        key=asset_key(table),
        deps=[_dependency(dep, is_partitioned=partitions is not None) for dep in deps],
        group_name=table.schema,
        description=f"{table.description}\n\n{note}".strip(),
        kinds=set(kinds),
        owners=[OWNER],
        partitions_def=partitions,
        metadata={"dagster/column_schema": schema, "dagster/table_name": table.full_name},
    )


def _dependency(table: Table, *, is_partitioned: bool) -> dg.AssetDep:
    """Return the dependency on a table, by days where both have them.

    What has no partitions is made of the whole table. To Dagster that would mean every partition,
    and it lists all 4,300 days for each such pair in each run (0.15 s of CPU time, a sixth of a
    small computation): the newest one tells as well whether something is behind.
    """
    is_by_day = table.time_column is not None and not is_partitioned
    mapping = dg.LastPartitionMapping() if is_by_day else None
    return dg.AssetDep(asset_key(table), partition_mapping=mapping)


def materialized(table: Table, **numbers: Any) -> dg.MaterializeResult:
    """Return the result of a table with its numbers; None is left out."""
    shown = {name: _short(number) for name, number in numbers.items() if number is not None}
    return dg.MaterializeResult(asset_key=asset_key(table), metadata=shown)


def _short(number: Any) -> Any:
    """Return a float with six digits that count: the UI shows every one."""
    return float(f"{number:.6g}") if isinstance(number, float) else number


def read_input(reader: Reader, wanted: Input) -> pl.DataFrame:
    """Return a whole table, or what a query gives."""
    return reader.read(wanted.sql) if isinstance(wanted, Query) else reader.read_table(wanted)


def rows_per_day(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Count a frame's rows per UTC day of the table's time column: `day`, `rows`."""
    day = pl.col(str(table.time_column)).dt.date().alias("day")
    return frame.group_by(day).agg(pl.len().alias("rows"))


def show_days(
    context: dg.AssetExecutionContext,
    table: Table,
    days: pl.DataFrame,
    *,
    is_every_day_told: bool = True,
) -> None:
    """Attach its numbers to each partition of the run, zeros where there are none.

    A run for what changed reports the other days too, whichever partition it carries. Each of them
    is an event, and an event is several commits to disk (20 to 50 ms).

    Args:
        context: of the running asset.
        table: a table with a time column.
        days: `day`, and the numbers of each.
        is_every_day_told: False reports the run's own partitions only.
    """
    by_day: dict[str, dict[str, float]] = {
        row.pop("day").isoformat(): {name: _short(number) for name, number in row.items()}
        for row in days.to_dicts()
    }
    empty = dict.fromkeys((name for name in days.columns if name != "day"), 0)
    for key in context.partition_keys:
        context.add_asset_metadata(
            by_day.pop(key, empty), asset_key=asset_key(table), partition_key=key
        )
    if is_every_day_told and not is_by_hand(context):
        for key, numbers in sorted(by_day.items()):
            context.log_event(
                dg.AssetMaterialization(asset_key(table), partition=key, metadata=dict(numbers))
            )
