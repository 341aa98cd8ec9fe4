"""`Warehouse`: the file as the rest of the package sees it. Rows are changed in `writing.py`.

A file made by an earlier version gets the columns it lacks when it is first used; one made by a
later version is refused.
"""

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from energy_etl.errors import WarehouseError
from energy_etl.tables.model import Table
from energy_etl.warehouse.connection import opened, opened_as_source
from energy_etl.warehouse.sql import (
    Parameters,
    fill,
    full_name,
    listed,
    query,
    quoted,
    roll_back,
    run,
)
from energy_etl.warehouse.writing import Writer

SCHEMA_VERSION: Final = 1

_BOOKKEEPING: Final = (
    "CREATE SCHEMA IF NOT EXISTS bookkeeping",
    "CREATE TABLE IF NOT EXISTS bookkeeping.warehouse"
    " (warehouse_id VARCHAR NOT NULL, schema_version BIGINT NOT NULL, fingerprint VARCHAR)",
    "CREATE TABLE IF NOT EXISTS bookkeeping.change (schema_name VARCHAR NOT NULL,"
    " table_name VARCHAR NOT NULL, month DATE, token VARCHAR NOT NULL)",
    "COMMENT ON TABLE bookkeeping.warehouse IS 'One row: which warehouse this is.'",
    "COMMENT ON TABLE bookkeeping.change IS 'Last change per table and month: for publishing.'",
)

# Files that this process found or made current: (inode, fingerprint) by path. Looking each time
# would cost as much as opening the file.
_current: dict[Path, tuple[int, str]] = {}


class Reader:
    """Reads of one opening of the file; made by `Warehouse.reading`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Read through an open connection."""
        self._connection = connection

    def read(self, sql: str, params: Parameters = ()) -> pl.DataFrame:
        """Return what a query gives; instants come as Datetime("us", "UTC")."""
        return query(self._connection, sql, params)

    def read_table(self, table: Table, where: str = "", params: Parameters = ()) -> pl.DataFrame:
        """Return the table's rows that meet the condition, in its Polars schema."""
        return query(self._connection, select_statement(table, where), params)

    def table_hash(self, table: Table) -> str:
        """Return a hash of the table's content: whatever the order, without bookkeeping columns.

        Comparable between files of one DuckDB version only.
        """
        return table_hash(self._connection, table)


class Warehouse:
    """One DuckDB file with the given tables.

    Every call opens the file, does its work and closes it, so that other processes get their
    turn. Not for reading inside `write()`: the writer has its own `read`.
    """

    def __init__(self, path: Path, tables: Sequence[Table], *, lock_wait_s: float = 60.0) -> None:
        """Name the file and its tables; nothing is opened yet."""
        self.path = path
        self.tables = tuple(tables)
        self.lock_wait_s = lock_wait_s
        self._fingerprint = _fingerprint(self.tables)

    def create(self) -> None:
        """Make the file, schemas, tables and comments; add columns that an older file lacks."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with opened(self.path, is_read_only=False, lock_wait_s=self.lock_wait_s) as connection:
            self._bring_up_to_date(connection)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """Open one transaction: all of it is kept, or none when the block raises."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_current = self._is_known_to_be_current()
        with opened(self.path, is_read_only=False, lock_wait_s=self.lock_wait_s) as connection:
            if not is_current:
                self._bring_up_to_date(connection)
            run(connection, "BEGIN TRANSACTION")
            try:
                writer = Writer(connection)
                yield writer
                writer.record_changes()
                run(connection, "COMMIT")
            except BaseException:
                roll_back(connection)
                raise

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Open the file once for several reads; compute after the block, not in it."""
        self._make_current()
        with opened(self.path, is_read_only=True, lock_wait_s=self.lock_wait_s) as connection:
            yield Reader(connection)

    def read(self, sql: str, params: Parameters = ()) -> pl.DataFrame:
        """Return what a query gives; see `Reader.read`."""
        with self.reading() as reader:
            return reader.read(sql, params)

    def read_table(self, table: Table, where: str = "", params: Parameters = ()) -> pl.DataFrame:
        """Return the table's rows that meet the condition; see `Reader.read_table`."""
        with self.reading() as reader:
            return reader.read_table(table, where, params)

    def table_hash(self, table: Table) -> str:
        """Return a hash of the table's content; see `Reader.table_hash`."""
        with self.reading() as reader:
            return reader.table_hash(table)

    @contextmanager
    def snapshot(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Hold the file still, attached read-only as `source` to a connection of its own."""
        self._make_current()
        with opened_as_source(self.path, lock_wait_s=self.lock_wait_s) as connection:
            yield connection

    def _make_current(self) -> None:
        if self._is_known_to_be_current():
            return
        if self._is_made_for_these_tables():
            self._remember()
        else:
            self.create()

    def _is_known_to_be_current(self) -> bool:
        return self.path.exists() and _current.get(self.path.resolve()) == self._mark()

    def _remember(self) -> None:
        _current[self.path.resolve()] = self._mark()

    def _mark(self) -> tuple[int, str]:
        """Return what tells the file at this path from another one, and what it was made for."""
        return self.path.stat().st_ino, self._fingerprint

    def _is_made_for_these_tables(self) -> bool:
        """Look without the writer's lock, so that readers do not wait for each other."""
        if not self.path.exists():
            return False
        with opened(self.path, is_read_only=True, lock_wait_s=self.lock_wait_s) as connection:
            return _made_for(connection) == (SCHEMA_VERSION, self._fingerprint)

    def _bring_up_to_date(self, connection: duckdb.DuckDBPyConnection) -> None:
        run(connection, "BEGIN TRANSACTION")
        try:
            self._bring_tables_up_to_date(connection)
            run(connection, "COMMIT")
        except BaseException:
            roll_back(connection)
            raise
        self._remember()

    def _bring_tables_up_to_date(self, connection: duckdb.DuckDBPyConnection) -> None:
        known = _made_for(connection)
        if known and known[0] > SCHEMA_VERSION:
            raise WarehouseError(
                f"{self.path} has schema version {known[0]}, this program knows"
                f" {SCHEMA_VERSION}: update energy-etl, or move the file away and run"
                " `energy-etl rebuild`."
            )
        if known == (SCHEMA_VERSION, self._fingerprint):
            return
        for statement in _BOOKKEEPING:
            run(connection, statement)
        there = {
            (schema, name, column): (found, is_nullable)
            for schema, name, column, found, is_nullable in run(
                connection,
                "SELECT schema_name, table_name, column_name, data_type, is_nullable"
                " FROM duckdb_columns() WHERE database_name = current_database()",
            )
        }
        for table in self.tables:
            run(connection, fill("CREATE SCHEMA IF NOT EXISTS $name", name=quoted(table.schema)))
            run(connection, table.create_statement())
            if any((table.schema, table.name) == (schema, name) for schema, name, _ in there):
                self._add_columns(connection, table, there)
        # In one go: six hundred calls take half as long again.
        comments = [each for table in self.tables for each in table.comment_statements()]
        if comments:
            run(connection, ";".join(comments))
        if known:
            run(
                connection,
                "UPDATE bookkeeping.warehouse SET schema_version = ?, fingerprint = ?",
                [SCHEMA_VERSION, self._fingerprint],
            )
        else:
            run(
                connection,
                "INSERT INTO bookkeeping.warehouse VALUES (?, ?, ?)",
                [uuid.uuid4().hex, SCHEMA_VERSION, self._fingerprint],
            )

    def _add_columns(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: Table,
        there: Mapping[tuple[str, str, str], tuple[str, bool]],
    ) -> None:
        for column in table.columns:
            found, _ = there.get((table.schema, table.name, column.name), (None, True))
            if found is None:
                # Nullable whatever the table says: the rows that are there have no value for it.
                run(
                    connection,
                    fill(
                        "ALTER TABLE $table ADD COLUMN $column $type",
                        table=full_name(table),
                        column=quoted(column.name),
                        type=column.duckdb_type,
                    ),
                )
            elif found != column.duckdb_type:
                raise WarehouseError(
                    f"{self.path}: {table.full_name}.{column.name} is {found}, this program needs"
                    f" {column.duckdb_type}: move the file away and run `energy-etl rebuild`."
                )
        self._make_nullable(connection, table, there)

    def _make_nullable(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: Table,
        there: Mapping[tuple[str, str, str], tuple[str, bool]],
    ) -> None:
        """Let rows have no value where an older file asked for one that no batch brings now."""
        required = {column.name for column in table.columns if not column.is_nullable}
        for (schema, name, column), (_, is_nullable) in there.items():
            if (schema, name) == (table.schema, table.name) and not (
                is_nullable or column in required
            ):
                run(
                    connection,
                    fill(
                        "ALTER TABLE $table ALTER COLUMN $column DROP NOT NULL",
                        table=full_name(table),
                        column=quoted(column),
                    ),
                )


def _made_for(connection: duckdb.DuckDBPyConnection) -> tuple[int, str] | None:
    """Return the schema version and the fingerprint of the tables; None for a new file."""
    there = run(
        connection,
        "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'bookkeeping'"
        " AND table_name = 'warehouse'",
    )
    if not there:
        return None
    rows = run(connection, "SELECT schema_version, fingerprint FROM bookkeeping.warehouse")
    return (int(rows[0][0]), str(rows[0][1])) if rows else None


def select_statement(table: Table, where: str) -> str:
    """Return the SELECT of the table's columns, in order, under the condition."""
    return fill(
        "SELECT $columns FROM $table$where",
        columns=listed(column.name for column in table.columns),
        table=full_name(table),
        where=f" WHERE {where}" if where else "",
    )


def table_hash(connection: duckdb.DuckDBPyConnection, table: Table) -> str:
    """Return the count and the sum of the rows' hashes of content columns."""
    # Hashed twice: the first only combines the columns by xor, and sums of that are too regular.
    rows = run(
        connection,
        fill(
            "SELECT count(*), coalesce(sum(hash(hash($columns)))::HUGEINT, 0) FROM $table",
            columns=listed(table.content_columns),
            table=full_name(table),
        ),
    )
    n_rows, total = rows[0]
    return f"{n_rows}-{int(total):x}"


def _fingerprint(tables: Sequence[Table]) -> str:
    """Return what changes when a table, a column or a description does."""
    text = "\n".join(
        statement
        for table in tables
        for statement in (table.create_statement(), *table.comment_statements())
    )
    return hashlib.sha256(text.encode()).hexdigest()
