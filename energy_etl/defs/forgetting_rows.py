"""Rows of the warehouse that name a meter or a person: counted, deleted, taken out of raw."""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from energy_etl.rest.removal import Names, pattern_of, without
from energy_etl.tables import Table, push
from energy_etl.tables.raw import BODY, QUARANTINE, REQUEST
from energy_etl.warehouse import Reader, Writer
from energy_etl.warehouse.deleting import delete_rows

_ZLIB_LEVEL: Final = 1
# Answers are unpacked to be looked at: so many calls at once.
_CALLS_AT_ONCE: Final = 200
_CALLS: Final = "SELECT request_id FROM raw.request ORDER BY requested_at, request_id"
_SOME_CALLS: Final = (
    "SELECT r.*, b.body_zlib FROM raw.request AS r LEFT JOIN raw.body AS b USING (body_sha256) "
    "WHERE list_contains(?, request_id)"
)
_UNREFERENCED: Final = (
    "t.body_sha256 NOT IN (SELECT body_sha256 FROM raw.request WHERE body_sha256 IS NOT NULL)"
)


@dataclass(frozen=True)
class _Call:
    """A call that names the thing: its row, and its answer without it (None: the call goes)."""

    row: dict[str, Any]
    body: bytes | None


def count_rows(reader: Reader, tables: Sequence[Table], names: Names) -> dict[str, int]:
    """Return per table how many rows name the thing; of raw the calls, and answers changed."""
    counts = {}
    for table in _filled(reader, tables):
        where, params = _naming(table, names)
        if table.schema != "raw" and where:
            counts[table.full_name] = _count(reader, table, where, params)
    calls = list(_calls_naming(reader, names))
    counts[REQUEST.full_name] = sum(call.body is None for call in calls)
    counts[BODY.full_name] = sum(call.body is not None for call in calls)
    return counts


def delete_named_rows(
    writer: Writer, tables: Sequence[Table], names: Names, shown_anew: Sequence[str] = ()
) -> None:
    """Delete the rows that name the thing; lists lose their item.

    Args:
        writer: of an open transaction.
        tables: those of the project.
        names: of the thing.
        shown_anew: streams that lost a field: their packets come again from the outbox.
    """
    for table in _filled(writer, tables):
        if table.schema == "raw":
            continue
        _shorten_lists(writer, table, names)
        where, params = _naming(table, names)
        if where:
            delete_rows(writer, table, where, params)
    for table in (push.PACKET, push.CORRECTION):
        if shown_anew:
            delete_rows(writer, table, "list_contains(?, t.stream_id)", [list(shown_anew)])


def redact_raw(writer: Writer, names: Names) -> None:
    """Take the thing out of raw: calls that were about it, and its part of other answers."""
    gone: list[str] = []
    for call in _calls_naming(writer, names):
        row = {name: call.row[name] for name in REQUEST.polars_schema}
        if call.body is None:
            gone.append(row["request_id"])
            continue
        row["body_sha256"] = hashlib.sha256(call.body).hexdigest()
        body = {
            "body_sha256": row["body_sha256"],
            "body_zlib": zlib.compress(call.body, _ZLIB_LEVEL),
            "n_bytes": len(call.body),
        }
        writer.merge(BODY, pl.DataFrame([body], schema=BODY.polars_schema))
        writer.merge(REQUEST, pl.DataFrame([row], schema=REQUEST.polars_schema))
    delete_rows(writer, REQUEST, "list_contains(?, t.request_id)", [gone])
    delete_rows(writer, QUARANTINE, "list_contains(?, t.request_id)", [gone])
    where, params = _naming(QUARANTINE, names)
    delete_rows(writer, QUARANTINE, where, params)
    delete_rows(writer, BODY, _UNREFERENCED)


def _calls_naming(reader: Reader | Writer, names: Names) -> Iterator[_Call]:
    ids = reader.read(_CALLS)["request_id"].to_list()
    for start in range(0, len(ids), _CALLS_AT_ONCE):
        some = reader.read(_SOME_CALLS, [ids[start : start + _CALLS_AT_ONCE]])
        for row in some.iter_rows(named=True):
            packed = row.pop("body_zlib")
            asked = "\n".join(filter(None, (row["url"], row["params"])))
            if names.tell("\n".join(filter(None, (asked, row["error"])))):
                yield _Call(row, None)
            elif packed:
                body = zlib.decompress(packed)
                kept = without(names, body, asked)
                if kept is None or kept != body:
                    yield _Call(row, kept)


def _naming(table: Table, names: Names) -> tuple[str, list[str]]:
    """Return the condition that a row names the thing, and its parameters; empty: none can."""
    columns = [column.name for column in table.columns if column.kind == "text"]
    if not columns:
        return "", []
    # All cells as one text: a pattern for each cell takes seconds to prepare over all tables.
    cells = f"concat_ws(chr(10), {', '.join(map(_quoted, columns))})"
    sets = [name for name in names.sets if len(name) > 1]
    ways = [" AND ".join(f"regexp_matches({cells}, ?)" for _ in name) for name in sets]
    params = [pattern_of(part) for name in sets for part in sorted(name)]
    if names.single:
        ways.append(f"regexp_matches({cells}, ?)")
        params.append(pattern_of(*names.single))
    return " OR ".join(f"({way})" for way in ways), params


def _filled(reader: Reader | Writer, tables: Sequence[Table]) -> list[Table]:
    """Return the tables that are not empty: a statement for each of the others takes its time."""
    rows = reader.read(
        "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() "
        "WHERE estimated_size > 0"
    )
    names = set(rows["name"])
    return [table for table in tables if table.full_name in names]


def _quoted(name: str) -> str:
    return f'"{name}"'


def _count(reader: Reader, table: Table, where: str, params: list[str]) -> int:
    # Names of our own tables and columns; values are parameters.
    statement = " ".join(("SELECT count(*) FROM", table.full_name, "WHERE", where))
    return int(reader.read(statement, params).item())


def _shorten_lists(writer: Writer, table: Table, names: Names) -> None:
    """Take the ids out of lists such as the children of a node, of tables that are small."""
    lists = [column.name for column in table.columns if column.kind == "flags"]
    if not lists or not names.single or table.time_column is not None:
        return
    ids = list(names.single)
    has_one = " OR ".join(f'list_has_any("{name}", ?)' for name in lists)
    statement = " ".join(("SELECT * FROM", table.full_name, "WHERE", has_one))
    rows = writer.read(statement, [ids] * len(lists))
    if rows.height:
        shorter = rows.with_columns(
            pl.col(lists).list.eval(pl.element().filter(~pl.element().is_in(ids)))
        )
        writer.merge(table, shorter)
