"""One query of a person on the published file: reading only, and faults told in one sentence.

The writer's file is never opened, so nobody waits for a run and no run waits for anybody.
"""

import difflib
import itertools
import re
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from energy_etl.errors import WarehouseError
from energy_etl.warehouse.sql import fill, literal, run

_ROWS_AT_ONCE: Final = 2_000
_NUMERIC: Final = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL|BIGNUM")
# A table function, so a SELECT may hold it, that writes files and lasts.
_LOGGING: Final = re.compile(r'\benable_(?:logging|profiling)"?\s*\(', re.I)

# What DuckDB passes over in front of a statement, too: a byte order mark, an empty statement.
_EXPLAIN: Final = re.compile(
    r"\A(?:[\s;\ufeff\u200b]|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*explain"
    r"(?:\s+analyze\b|\s*\((?!\s*(?:select|from|with|values)\b)[^)]*\))?",
    re.I | re.S,
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
LISTING: Final = """
SELECT t.schema_name || '.' || t.name AS table_name, t.is_view, t.comment FROM (
    SELECT schema_name, table_name AS name, false AS is_view, comment FROM duckdb_tables()
    UNION ALL
    SELECT schema_name, view_name, true, comment FROM duckdb_views() WHERE NOT internal
) AS t WHERE t.schema_name <> 'main' ORDER BY ALL
"""


@dataclass(frozen=True)
class Answer:
    """What a query gives.

    Attributes:
        columns: their names, each one once.
        is_numeric: per column.
        rows: as Python's values, instants in UTC; read as they are asked for, so that an answer
            may be larger than the memory.
    """

    columns: tuple[str, ...]
    is_numeric: tuple[bool, ...]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def asking(path: Path, sql: str) -> Iterator[Answer]:
    """Ask the published file, and nothing but it, one question.

    Args:
        path: the published file.
        sql: one statement that reads: SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN;
            `LISTING` gives all that can be asked for.

    Raises:
        WarehouseError: nothing was published yet, the statement would write, or it is wrong: one
            sentence, with the nearest names.
        KeyboardInterrupt: somebody did not want to wait.
    """
    if not path.exists():
        raise WarehouseError(
            f"There is no {path} yet: run `energy-etl demo`, or `energy-etl up` until its first "
            "computation has ended, then ask again."
        )
    try:
        connection = duckdb.connect(str(path), read_only=True)
    except duckdb.Error as error:
        raise WarehouseError(
            f"{path} cannot be opened ({' '.join(str(error).split())}): move it away, and the next "
            "computation publishes it again."
        ) from error
    try:
        _keep_to_what_is_published(connection, path)
        _refuse_writing(connection, sql)
        with _ended_by_ctrl_c(connection):
            yield _answer(connection.sql(sql))
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.Error as error:
        raise WarehouseError(_sentence(connection, error)) from error
    except RuntimeError as error:
        if "interrupted" not in str(error):
            raise
        raise KeyboardInterrupt from None
    finally:
        # Closing waits for the end of a query that nobody waits for any more.
        connection.interrupt()
        connection.close()


@contextmanager
def _ended_by_ctrl_c(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Have Ctrl-C end a query at once.

    Python's own handler waits until DuckDB comes back, and DuckDB looks for signals in some of its
    loops only: a query that streams its rows went on for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    is_over = threading.Event()

    def watch() -> None:
        while signals := receiver.recv(64):
            # More than once: before the query has begun it is without effect.
            while signal.SIGINT in signals and not is_over.wait(0.05):
                connection.interrupt()

    watcher = threading.Thread(target=watch, name="ctrl-c", daemon=True)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        is_over.set()
        sender.close()
        watcher.join()
        receiver.close()


def _keep_to_what_is_published(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Let a query reach no other file (of secrets; the writer's, which it would lock), no network.

    A query may come from anywhere.
    """
    published = literal(str((path.parent / "published").resolve()))
    for statement in (
        "SET TimeZone = 'UTC'",
        fill("SET allowed_directories = [$published]", published=published),
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        run(connection, statement)


def _answer(relation: duckdb.DuckDBPyRelation | None) -> Answer:
    if relation is None:
        return Answer((), (), iter(()))
    names: list[str] = []
    for name in relation.columns:
        # As DuckDB calls the second of two columns of one name.
        number = next(n for n in itertools.count() if _numbered(name, n) not in names)
        names.append(_numbered(name, number))
    is_numeric = tuple(_NUMERIC.match(str(kind)) is not None for kind in relation.types)
    # The first rows now: a query that fails has said nothing yet.
    first = relation.fetchmany(_ROWS_AT_ONCE)
    return Answer(tuple(names), is_numeric, _rows(relation, first))


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _rows(
    relation: duckdb.DuckDBPyRelation, rows: list[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    while rows:
        yield from rows
        rows = relation.fetchmany(_ROWS_AT_ONCE)


def _refuse_writing(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    kinds = [statement.type for statement in statements]
    if not kinds:
        raise WarehouseError(
            'The query is empty: give one, such as `energy-etl sql "FROM mart.site_last_week"`.'
        )
    if _LOGGING.search(sql):
        raise WarehouseError(
            "The query would make DuckDB write a log, and this command only reads: leave that out."
        )
    # PIVOT comes as two statements without a text of their own.
    is_pivot = kinds[-1:] == [duckdb.StatementType.SELECT] and not any(
        statement.query.strip() for statement in statements
    )
    if len(kinds) > 1 and not is_pivot:
        raise WarehouseError(f"There are {len(kinds)} statements in the query: give one at a time.")
    explained = _EXPLAIN.sub("", sql, count=1)
    if kinds == [duckdb.StatementType.EXPLAIN] and explained != sql:
        # EXPLAIN ANALYZE does what it explains.
        _refuse_writing(connection, explained)
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
    if isinstance(error, duckdb.PermissionException):
        return (
            "The query reads more than what is published "
            f"({' '.join(text.split())[:200]}): this command asks data/energy.duckdb alone; join "
            "it with files of yours in a DuckDB client that opens it read-only. When the project's "
            "folder was moved, the next computation publishes it anew."
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return "The memory is not enough for the query: ask for fewer rows or columns at a time."
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
