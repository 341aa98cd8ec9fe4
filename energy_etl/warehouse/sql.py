"""SQL text from names, and the two ways to run it.

Every identifier is quoted here, every value is a parameter.

`fill` is the only place where names get into a statement. Literals (paths in a view, comments)
go through `literal`, because DuckDB takes no parameter there.
"""

from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any, Final

import duckdb
import polars as pl

from energy_etl.tables.model import Table

Parameters = Sequence[Any] | Mapping[str, Any]

_ANSWER: Final = "energy_etl_answer"


def quoted(name: str) -> str:
    """Return the name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return the text as a quoted string literal."""
    return "'" + text.replace("'", "''") + "'"


def listed(names: Iterable[str], prefix: str = "") -> str:
    """Return the names as quoted identifiers, comma-separated, each behind the prefix."""
    return ", ".join(prefix + quoted(name) for name in names)


def matched(names: Iterable[str], left: str, right: str) -> str:
    """Return the condition that two relations agree on the columns; two nulls agree."""
    return " AND ".join(
        f"{left}.{quoted(name)} IS NOT DISTINCT FROM {right}.{quoted(name)}" for name in names
    )


def full_name(table: Table) -> str:
    """Return `"schema"."name"`."""
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def fill(template: str, **parts: str) -> str:
    """Return the template with its `$parts` put in; the parts come from the functions above."""
    return Template(template).substitute(parts)


def run(
    connection: duckdb.DuckDBPyConnection, statement: str, params: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """Run one statement to its end and return its rows."""
    # fetchall, because DuckDB 2.0 keeps a connection busy until the result is read.
    return connection.execute(statement, list(params) or None).fetchall()


def query(connection: duckdb.DuckDBPyConnection, sql: str, params: Parameters) -> pl.DataFrame:
    """Return a query's result as a frame, zero-copy where Arrow allows it."""
    if not params:
        relation = connection.sql(sql)
        return pl.DataFrame() if relation is None else pl.DataFrame(relation)
    # A relation with parameters is kept row by row: 4 us a row and 60 times slower than this
    # (DuckDB 1.5.5; a million rows took 5 s).
    given = dict(params) if isinstance(params, Mapping) else list(params)
    statement = fill("CREATE OR REPLACE TEMP TABLE $answer AS $sql", answer=_ANSWER, sql=sql)
    connection.execute(statement, given).fetchall()
    try:
        return pl.DataFrame(connection.table(_ANSWER))
    finally:
        connection.execute(fill("DROP TABLE $answer", answer=_ANSWER)).fetchall()


def roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    """Undo the transaction; a connection that DuckDB invalidated has nothing left to undo."""
    try:
        run(connection, "ROLLBACK")
    except duckdb.Error:
        return
