"""Tables to Parquet files and back: between DuckDB versions, engines and machines.

The files hold what the tables hold; which columns there are is told by the files themselves, so
that an export of an earlier version comes in with nulls for what it did not know.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from energy_etl.errors import WarehouseError
from energy_etl.tables.model import Table
from energy_etl.warehouse.generation import flush
from energy_etl.warehouse.sql import fill, full_name, listed, literal, quoted, run
from energy_etl.warehouse.store import SCHEMA_VERSION, Warehouse
from energy_etl.warehouse.writing import Writer


class Exporter:
    """Writes tables as they were at one moment; made by `exporting`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read through a connection that has the warehouse as `source`."""
        self._connection = connection

    @property
    def warehouse_id(self) -> str:
        """Which warehouse it is."""
        rows = run(self._connection, "SELECT warehouse_id FROM source.bookkeeping.warehouse")
        return str(rows[0][0])

    def write(self, table: Table, path: Path) -> int:
        """Write a table's rows in key order and return how many; the file is on the disk then."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = run(
            self._connection,
            fill(
                "COPY (SELECT $columns FROM source.$table ORDER BY $key) TO $path"
                " (FORMAT parquet, COMPRESSION zstd)",
                columns=listed(column.name for column in table.columns),
                table=full_name(table),
                key=listed(table.key),
                path=literal(str(path)),
            ),
        )
        flush([path])
        return int(rows[0][0])


@contextmanager
def exporting(warehouse: Warehouse) -> Iterator[Exporter]:
    """Hold the warehouse still: writers wait, so that all files are of one moment."""
    with warehouse.snapshot() as connection:
        yield Exporter(connection)


def schema_version() -> int:
    """Return the version of the tables that this program writes."""
    return SCHEMA_VERSION


def read_in(writer: Writer, table: Table, path: Path) -> tuple[int, tuple[str, ...]]:
    """Make a table's content that of a file.

    Args:
        writer: of an open transaction.
        table: what is replaced.
        path: a file of `Exporter.write`, of this or an earlier version.

    Returns:
        The rows, and the columns of the file that the table has no longer: they are left out.

    Raises:
        WarehouseError: the file lacks a column that the table needs, or has it in another type.
    """
    connection = writer._connection
    source = fill("read_parquet($path)", path=literal(str(path)))
    there = {
        str(name): str(kind)
        for name, kind, *_ in run(connection, fill("DESCRIBE FROM $source", source=source))
    }
    wrong = [
        f"{column.name} ({there.get(column.name, 'missing')} instead of {column.duckdb_type})"
        for column in table.columns
        if there.get(column.name, column.duckdb_type if column.is_nullable else None)
        != column.duckdb_type
    ]
    if wrong:
        raise WarehouseError(
            f"{path} does not fit {table.full_name}: {', '.join(wrong)}: import it with the "
            "version of energy-etl that exported it, then upgrade."
        )
    names = [column.name for column in table.columns if column.name in there]
    run(connection, fill("DELETE FROM $table", table=full_name(table)))
    rows = run(
        connection,
        fill(
            "INSERT INTO $table ($columns) SELECT $columns FROM $source",
            table=full_name(table),
            columns=listed(names),
            source=source,
        ),
    )
    _note_all(writer, table)
    return int(rows[0][0]), tuple(sorted(set(there) - set(table.polars_schema)))


def n_rows(warehouse: Warehouse, tables: Sequence[Table]) -> dict[str, int]:
    """Return the rows of each table that has any."""
    with warehouse.reading() as reader:
        counted = {
            table.full_name: int(
                reader.read(fill("SELECT count(*) FROM $table", table=full_name(table))).item()
            )
            for table in tables
        }
    return {name: n for name, n in counted.items() if n}


def _note_all(writer: Writer, table: Table) -> None:
    """Let every month of the table be published anew; those that are empty now as well."""
    if not table.is_published:
        return
    if table.time_column is None:
        writer._changed.add((table.schema, table.name, None))
        return
    months = run(
        writer._connection,
        fill(
            "SELECT DISTINCT CAST(date_trunc('month', make_timestamp(epoch_us($time))) AS DATE)"
            " FROM $table UNION SELECT month FROM bookkeeping.change"
            " WHERE schema_name = $schema AND table_name = $name AND month IS NOT NULL",
            time=quoted(table.time_column),
            table=full_name(table),
            schema=literal(table.schema),
            name=literal(table.name),
        ),
    )
    writer._changed.update((table.schema, table.name, month) for (month,) in months)
