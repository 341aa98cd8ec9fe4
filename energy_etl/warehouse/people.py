"""`energy.duckdb`, the file that people open: small tables inside, views over Parquet, comments.

It is built beside the one in use and takes its place when it is complete. Which files a view
names is decided in `publishing.py`; the views for people are `energy_etl/sql/*.sql`, each one
`CREATE VIEW mart.<file name>` with its comments.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from energy_etl.errors import WarehouseError
from energy_etl.tables.model import Table
from energy_etl.warehouse.connection import errors_named
from energy_etl.warehouse.generation import flush
from energy_etl.warehouse.sql import (
    Parameters,
    fill,
    full_name,
    listed,
    literal,
    query,
    quoted,
    roll_back,
    run,
)


def build(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    tables: Sequence[Table],
    files: Mapping[str, Sequence[Path]],
    views: Mapping[str, str],
    generation: str,
    *,
    empty: Path,
) -> None:
    """Write a complete file at `path`; the connection has the warehouse attached as `source`.

    Args:
        connection: reads the warehouse; the new file is attached to it while this runs.
        path: a file that is not there yet.
        tables: what to show.
        files: for each table that lies in Parquet (`schema.name`) its files, maybe none.
        views: people's views, file name without suffix -> SQL.
        generation: shown in `main.publication`.
        empty: a file with these tables and no row, by which the new one begins; made where it is
            missing, so its name has to change with the tables and with DuckDB.
    """
    if not empty.exists():
        _make_empty(connection, empty, tables)
    shutil.copyfile(empty, path)
    with _changed_at_once(connection, path):
        for table in tables:
            if files.get(table.full_name):
                _put_view_in_place(connection, table, files[table.full_name])
            elif table.full_name not in files:
                _fill_table(connection, table)
        for name, statements in views.items():
            _create_view_for_people(connection, name, statements)
        run(
            connection,
            "CREATE TABLE main.publication AS"
            " SELECT CAST(? AS VARCHAR) AS generation, now() AS published_at",
            [generation],
        )
        run(
            connection,
            "COMMENT ON TABLE main.publication IS 'One row: which publication this file is.'",
        )


def _make_empty(
    connection: duckdb.DuckDBPyConnection, empty: Path, tables: Sequence[Table]
) -> None:
    """Write the tables with their comments: a thousand statements, a second of CPU time."""
    begun = empty.with_name(empty.name + ".new")
    with _changed_at_once(connection, begun):
        for table in tables:
            run(connection, fill("CREATE SCHEMA IF NOT EXISTS $name", name=quoted(table.schema)))
            # Rows of an earlier version have nothing in columns that are needed now.
            run(connection, table.create_statement().replace(" NOT NULL", ""))
            for statement in table.comment_statements():
                run(connection, statement)
    flush([begun])
    os.replace(begun, empty)


@contextmanager
def _changed_at_once(connection: duckdb.DuckDBPyConnection, path: Path) -> Iterator[None]:
    """Attach a file as `people`, the current database, for one transaction.

    Only one: hundreds of comments cost a flush to the disk each otherwise.
    """
    run(connection, fill("ATTACH $path AS people", path=literal(str(path))))
    run(connection, "USE people")
    run(connection, "BEGIN TRANSACTION")
    try:
        yield
        run(connection, "COMMIT")
    except BaseException:
        roll_back(connection)
        raise
    run(connection, "USE memory")
    run(connection, "DETACH people")


def read_published(path: Path, sql: str, params: Parameters = ()) -> pl.DataFrame:
    """Return what a query on the published file gives; never waits for a run.

    Raises:
        WarehouseError: nothing was published yet, or the query is wrong.
    """
    with reading_published(path) as read:
        return read(sql, params)


@contextmanager
def reading_published(path: Path) -> Iterator[Callable[..., pl.DataFrame]]:
    """Open the published file once for several queries, all of one publication.

    Yields:
        (sql, params) -> frame; a query that is refused leaves the others as they are.

    Raises:
        WarehouseError: nothing was published yet, or a query is wrong.
    """
    with errors_named(path):
        if not path.exists():
            raise WarehouseError(
                f"There is no {path} yet: run `energy-etl demo`, or `energy-etl up` until its "
                "first computation has ended."
            )
        connection = duckdb.connect(str(path), read_only=True)

    def read(sql: str, params: Parameters = ()) -> pl.DataFrame:
        with errors_named(path):
            return query(connection, sql, params)

    try:
        with errors_named(path):
            run(connection, "SET TimeZone = 'UTC'")
        yield read
    finally:
        connection.close()


def count_published(path: Path, tables: Sequence[Table]) -> dict[Table, int]:
    """Return the rows of each table in the published file.

    Raises:
        WarehouseError: nothing was published yet.
    """
    counts = [
        fill("SELECT $i AS i, count(*) AS n FROM $table", i=str(i), table=full_name(table))
        for i, table in enumerate(tables)
    ]
    if not counts:
        return {}
    rows = read_published(path, " UNION ALL ".join(counts)).rows()
    return {tables[i]: n for i, n in rows}


def _fill_table(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    run(
        connection,
        fill(
            "INSERT INTO $table ($columns) SELECT $columns FROM source.$table ORDER BY $key",
            table=full_name(table),
            columns=listed(column.name for column in table.columns),
            key=listed(table.key),
        ),
    )


def _put_view_in_place(
    connection: duckdb.DuckDBPyConnection, table: Table, files: Sequence[Path]
) -> None:
    run(connection, fill("DROP TABLE $table", table=full_name(table)))
    run(
        connection,
        fill(
            "CREATE VIEW $table AS SELECT $columns FROM read_parquet([$files],"
            " union_by_name = true, hive_partitioning = false)",
            table=full_name(table),
            columns=listed(column.name for column in table.columns),
            files=", ".join(literal(str(file)) for file in files),
        ),
    )
    for statement in table.comment_statements():
        run(connection, statement.replace("COMMENT ON TABLE", "COMMENT ON VIEW", 1))


def _create_view_for_people(
    connection: duckdb.DuckDBPyConnection, name: str, statements: str
) -> None:
    where = f"energy_etl/sql/{name}.sql"
    try:
        run(connection, "CREATE SCHEMA IF NOT EXISTS mart")
        run(connection, statements)
    except duckdb.Error as error:
        text = " ".join(str(error).split())
        raise WarehouseError(
            f"{where}: DuckDB refused the view: {text}: mend the file, then publish again."
        ) from error
    found = run(
        connection,
        "SELECT comment FROM duckdb_views() WHERE database_name = 'people'"
        " AND schema_name = 'mart' AND view_name = ?",
        [name],
    )
    if not found or not found[0][0]:
        raise WarehouseError(
            f"{where} makes no commented view mart.{name}: let it say CREATE VIEW mart.{name}"
            " and COMMENT ON VIEW."
        )
