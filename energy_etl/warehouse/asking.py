"""One query of a person on the published file: reading only, and faults told in one sentence.

The writer's file is never opened, so nobody waits for a run and no run waits for anybody.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from energy_etl.errors import WarehouseError
from energy_etl.warehouse.sql import run

_EXPLAIN: Final = re.compile(
    r"\A(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*explain(?:\s+analyze\b|\s*\([^)]*\))?", re.I | re.S
)
_QUOTED: Final = re.compile(r'"([^"]+)"')
# Of DuckDB's message: what is not there; what is there instead.
_COLUMN: Final = re.compile(
    r'Referenced column "(?P<name>[^"]+)" not found.*?Candidate bindings: (?P<near>.*)', re.S
)
_COLUMN_OF_TABLE: Final = re.compile(
    r'(?:Table|Values list) "(?P<table>[^"]+)" does not have a column named "(?P<name>[^"]+)"'
    r"(?:.*?Candidate bindings: (?P<near>.*))?",
    re.S,
)
_TABLE: Final = re.compile(
    r"Table with name \"?(?P<name>\S+?)\"? does not exist(?:.*?Did you mean (?P<near>.*))?", re.S
)
_CATALOG: Final = """
SELECT t.schema_name || '.' || t.name AS table_name, t.is_view, t.comment FROM (
    SELECT schema_name, table_name AS name, false AS is_view, comment FROM duckdb_tables()
    UNION ALL
    SELECT schema_name, view_name, true, comment FROM duckdb_views() WHERE NOT internal
) AS t WHERE t.schema_name <> 'main' ORDER BY ALL
"""


def list_published(path: Path) -> pl.DataFrame:
    """Return table_name (`schema.name`), is_view and comment of all that people can ask for.

    Raises:
        WarehouseError: nothing was published yet.
    """
    return ask(path, _CATALOG)


def ask(path: Path, sql: str, *, limit: int | None = None) -> pl.DataFrame:
    """Return what one query on the published file gives; instants come in UTC.

    Args:
        path: the published file.
        sql: one statement that reads: SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN.
        limit: at most so many rows; None: all.

    Raises:
        WarehouseError: nothing was published yet, the statement would write, or it is wrong: one
            sentence, with the nearest names.
    """
    if not path.exists():
        raise WarehouseError(
            f"There is no {path} yet: run `energy-etl demo`, or `energy-etl up` until its first "
            "computation has ended, then ask again."
        )
    try:
        # Nothing is fetched from the network by itself.
        connection = duckdb.connect(
            str(path), read_only=True, config={"autoinstall_known_extensions": False}
        )
    except duckdb.Error as error:
        raise WarehouseError(
            f"{path} cannot be opened ({' '.join(str(error).split())}): move it away, and the next "
            "computation publishes it again."
        ) from error
    try:
        run(connection, "SET TimeZone = 'UTC'")
        _refuse_writing(connection, sql)
        relation = connection.sql(sql)
        if relation is None:
            return pl.DataFrame()
        return pl.DataFrame(relation if limit is None else relation.limit(limit))
    except duckdb.Error as error:
        raise WarehouseError(_sentence(connection, error)) from error
    finally:
        connection.close()


def _refuse_writing(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    kinds = [statement.type for statement in statements]
    if not kinds:
        raise WarehouseError(
            'The query is empty: give one, such as `energy-etl sql "FROM mart.site_last_week"`.'
        )
    # PIVOT comes as two statements without a text of their own.
    is_pivot = kinds[-1:] == [duckdb.StatementType.SELECT] and not any(
        statement.query.strip() for statement in statements
    )
    if len(kinds) > 1 and not is_pivot:
        raise WarehouseError(f"There are {len(kinds)} statements in the query: give one at a time.")
    if kinds == [duckdb.StatementType.EXPLAIN]:
        # EXPLAIN ANALYZE does what it explains.
        _refuse_writing(connection, _EXPLAIN.sub("", sql, count=1))
    elif kinds != [duckdb.StatementType.SELECT] and not is_pivot:
        raise WarehouseError(
            f"A statement of the kind {kinds[0].name} is not for this command, which only reads: "
            "write a SELECT (figures are changed by the portfolio's files and by runs)."
        )


def _sentence(connection: duckdb.DuckDBPyConnection, error: duckdb.Error) -> str:
    text = str(error)
    if found := _COLUMN.search(text) or _COLUMN_OF_TABLE.search(text):
        near = _QUOTED.findall(found["near"] or "") or _close_columns(connection, found["name"])
        return f"There is no column {found['name']} there: {_advice(near)}"
    if found := _TABLE.search(text):
        if found["name"].startswith("raw."):
            return (
                f"{found['name']} is not published, for it holds the vendors' answers as they "
                "came: ask the tables of that vendor's schema (`energy-etl sql` lists them)."
            )
        near = _full_names(connection, _QUOTED.findall(found["near"] or ""))
        return f"There is no table {found['name']}: {_advice(near, 'sql')}"
    if "No files found" in text or "Cannot open file" in text:
        return (
            "A file that the query reads is not there "
            f"({' '.join(text.split())[:200]}): when it is one of data/published, the next "
            "computation writes it again."
        )
    # What follows is the text of the query, or a list of every overload.
    first = " ".join(re.split(r"\n\s*(?:LINE \d|Candidate functions:)", text)[0].split())
    return f"The query is wrong ({first[:400]}): mend it, then ask again."


def _full_names(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> list[str]:
    """Return where a table of such a name is, for DuckDB leaves the schema out."""
    found: list[str] = []
    for name in names:
        bare = name.rsplit(".", 1)[-1]
        rows = run(
            connection,
            "SELECT schema_name || '.' || name FROM (SELECT schema_name, table_name AS name FROM"
            " duckdb_tables() UNION ALL SELECT schema_name, view_name FROM duckdb_views())"
            " WHERE name = ? ORDER BY 1",
            [bare],
        )
        found += [row[0] for row in rows] or [name]
    return found


def _close_columns(connection: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    rows = run(connection, "SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal")
    return difflib.get_close_matches(name, sorted(row[0] for row in rows))


def _advice(near: Sequence[str], listed_by: str = "") -> str:
    if near:
        names = list(dict.fromkeys(near))[:4]
        return f"did you mean {' or '.join(names)}?"
    if listed_by:
        return "`energy-etl sql` lists what there is."
    return '`energy-etl sql "DESCRIBE <table>"` lists the columns of a table.'
