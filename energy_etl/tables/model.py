"""`Column` and `Table`: one description that yields DDL, comments and a Polars schema.

No connection and no SQL text of queries here: `warehouse/` runs what these return.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import polars as pl

Kind = Literal["text", "float", "int", "bool", "instant", "date", "flags", "bytes"]

UTC_INSTANT: Final = pl.Datetime("us", "UTC")

_POLARS: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    "text": pl.String,
    "float": pl.Float64,
    "int": pl.Int64,
    "bool": pl.Boolean,
    "instant": UTC_INSTANT,
    "date": pl.Date,
    "flags": pl.List(pl.String),
    "bytes": pl.Binary,
}
_DUCKDB: Final[Mapping[str, str]] = {
    "text": "VARCHAR",
    "float": "DOUBLE",
    "int": "BIGINT",
    "bool": "BOOLEAN",
    "instant": "TIMESTAMP WITH TIME ZONE",
    "date": "DATE",
    "flags": "VARCHAR[]",
    "bytes": "BLOB",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: ends in its unit where it has one (`_kwh`, `_pct`); `_at` UTC instant, `_on`
            local date.
        kind: the type, one of `Kind`.
        description: one sentence for the person who reads the database.
        is_nullable: False makes NOT NULL and an asset check.
        is_bookkeeping: True for when and how a row came (left out of table hashes: fetching
            the same again must not change a table).
    """

    name: str
    kind: Kind
    description: str
    is_nullable: bool = True
    is_bookkeeping: bool = False

    @property
    def duckdb_type(self) -> str:
        """The type in DDL."""
        return _DUCKDB[self.kind]

    @property
    def polars_type(self) -> pl.DataType | type[pl.DataType]:
        """The type in a frame."""
        return _POLARS[self.kind]


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        schema: DuckDB schema and Dagster group.
        name: table name; the asset key is (schema, name).
        description: what one row is.
        columns: in order.
        key: the columns that identify one row; uniqueness is an asset check, not an index.
        time_column: the instant by which a big table is cut into months when published;
            None keeps it inside `energy.duckdb` whole.
        is_published: False for what people do not get to see (raw).
    """

    schema: str
    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    time_column: str | None = None
    is_published: bool = True

    def __post_init__(self) -> None:
        """Refuse a key or a time column that is not a column."""
        names = {column.name for column in self.columns}
        missing = {*self.key, *([self.time_column] if self.time_column else [])} - names
        if missing:
            raise ValueError(f"{self.full_name}: {sorted(missing)} are no columns of the table")

    @property
    def full_name(self) -> str:
        """`schema.name`, as the SQL user types it."""
        return f"{self.schema}.{self.name}"

    @cached_property
    def polars_schema(self) -> pl.Schema:
        """Names and types in order."""
        return pl.Schema({column.name: column.polars_type for column in self.columns})

    @cached_property
    def content_columns(self) -> tuple[str, ...]:
        """Every column that says something about energy, not about when the row came."""
        return tuple(column.name for column in self.columns if not column.is_bookkeeping)

    def create_statement(self) -> str:
        """CREATE TABLE IF NOT EXISTS for this table."""
        body = ", ".join(
            f'"{c.name}" {c.duckdb_type}{"" if c.is_nullable else " NOT NULL"}'
            for c in self.columns
        )
        return f'CREATE TABLE IF NOT EXISTS "{self.schema}"."{self.name}" ({body})'

    def comment_statements(self) -> list[str]:
        """COMMENT ON for the table and each column."""
        target = f'"{self.schema}"."{self.name}"'
        return [
            f"COMMENT ON TABLE {target} IS {_quoted(self.description)}",
            *(
                f'COMMENT ON COLUMN {target}."{c.name}" IS {_quoted(c.description)}'
                for c in self.columns
            ),
        ]

    def duplicates_query(self) -> str:
        """SELECT of one number: keys that stand in more than one row."""
        key = ", ".join(f'"{name}"' for name in self.key)
        # Only names of this description go in, no value of anybody's.
        return (
            f'SELECT count(*) AS n FROM (SELECT {key} FROM "{self.schema}"."{self.name}" '  # noqa: S608
            f"GROUP BY {key} HAVING count(*) > 1)"
        )

    def empty_frame(self) -> pl.DataFrame:
        """A frame with this table's columns and no rows."""
        return pl.DataFrame(schema=self.polars_schema)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
