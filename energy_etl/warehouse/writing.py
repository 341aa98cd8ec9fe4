"""`Writer`: frames into tables inside one transaction, writing only what differs.

The batch is compared with what is there first, on the content columns: equal rows stay as they
are (their bookkeeping columns too), so that the same batch again writes nothing, marks nothing as
changed and does not let the file grow. No primary keys: an index costs ten times an append.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

import duckdb
import polars as pl

from energy_etl.errors import TransformError
from energy_etl.tables.model import Table
from energy_etl.warehouse.batch import (
    FrameStream,
    Ids,
    checked,
    deduplicated,
    n_outside,
    successive,
    windows_of,
    without_repeats,
)
from energy_etl.warehouse.change import Change, combined
from energy_etl.warehouse.sql import (
    Parameters,
    fill,
    full_name,
    listed,
    matched,
    query,
    quoted,
    run,
)

# The relations that a write works on; temporary, gone at its end.
_BATCH: Final = "energy_etl_batch"
_OLD: Final = "energy_etl_old"
_DIFFERENT: Final = "energy_etl_different"
_WINDOWS: Final = "energy_etl_windows"


@dataclass(frozen=True)
class _Scope:
    """The rows of a table, as `t`, that a batch stands for."""

    time: str = ""
    params: tuple[Any, ...] = ()
    exists: str = ""

    @property
    def where(self) -> str:
        conditions = [part for part in (self.time, self.exists) if part]
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""


class Writer:
    """Writes of one transaction; made by `Warehouse.write`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Write through a connection with an open transaction."""
        self._connection = connection
        self._changed: set[tuple[str, str, date | None]] = set()

    def read(self, sql: str, params: Parameters = ()) -> pl.DataFrame:
        """Return what a query gives inside this transaction."""
        return query(self._connection, sql, params)

    def append(self, table: Table, frame: pl.DataFrame) -> Change:
        """Add the rows as they are; for append-only tables.

        Raises:
            TransformError: the frame does not have the table's columns.
        """
        batch = checked(table, frame)
        if batch.is_empty():
            return Change()
        with self._registered(_BATCH, batch):
            self._insert(table)
            return self._noted(table, _BATCH, Change(n_added=batch.height))

    def replace_all(self, table: Table, frame: pl.DataFrame) -> Change:
        """Make the table's content equal to the frame; for small tables and marts.

        Raises:
            TransformError: the frame does not have the table's columns, or a key stands in several
                rows.
        """
        return self._settle(table, without_repeats(table, checked(table, frame)), _Scope())

    def merge(self, table: Table, frame: pl.DataFrame) -> Change:
        """Insert the rows, each in place of the one with its key; the last of a batch wins.

        Raises:
            TransformError: the frame does not have the table's columns.
        """
        batch = deduplicated(table, checked(table, frame))
        if batch.is_empty():
            return Change()
        return self._settle(table, batch, _key_scope(table, batch, table.key))

    def replace_window(
        self,
        table: Table,
        frame: pl.DataFrame,
        *,
        ids: Ids,
        from_at: datetime | None = None,
        to_at: datetime | None = None,
        is_empty_kept: bool = True,
    ) -> Change:
        """Make the content of ids x [from_at, to_at) equal to the frame.

        Args:
            table: a table whose key holds its time column.
            frame: all rows of the window; the last of two rows with one key wins.
            ids: what was fetched or computed whole: a column of the table with its values, or a
                frame of id columns, which may bring `from_at` and `to_at` of each id instead.
            from_at: start of the window for all ids.
            to_at: end of the window for all ids, exclusive.
            is_empty_kept: True keeps the rows of an id for which the frame has none and reports
                it in `kept_ids` (an empty answer is no proof); False deletes them.

        Raises:
            TransformError: wrong columns, a row outside the window, a table or window that does
                not fit.
        """
        batch = deduplicated(table, checked(table, frame))
        windows = windows_of(table, ids, from_at, to_at)
        id_columns = [name for name in windows.columns if name not in ("from_at", "to_at")]
        parts = {
            "time": quoted(str(table.time_column)),
            "windows": _WINDOWS,
            "same": matched(id_columns, "t", "w"),
        }
        n_lost = n_outside(table, batch, windows, id_columns)
        if n_lost:
            # They would stand beside what is there already.
            raise TransformError(
                f"{n_lost} rows for {table.full_name} lie outside the ids and the window that"
                " were to be replaced: cut the frame to the window, or widen the window."
            )
        if windows.is_empty():
            return Change()
        within = "$same"
        if windows.select("from_at", "to_at").n_unique() > 1:
            # Only then: a join on ranges takes four times as long as one on the ids alone.
            within += " AND t.$time >= w.from_at AND t.$time < w.to_at"
        exists = fill(
            "EXISTS (SELECT 1 FROM $windows AS w WHERE $within)",
            within=fill(within, **parts),
            **parts,
        )
        scope = _Scope(
            fill("t.$time >= ? AND t.$time < ?", **parts),
            (windows["from_at"].min(), windows["to_at"].max()),
            exists,
        )
        kept = pl.DataFrame()
        silent = windows.join(batch, on=id_columns, how="anti", nulls_equal=True)
        if is_empty_kept and silent.height:
            kept = self._with_rows(table, id_columns, silent, scope)
            windows = windows.join(silent, on=id_columns, how="anti", nulls_equal=True)
        with self._registered(_WINDOWS, windows):
            return replace(self._settle(table, batch, scope), kept_ids=kept)

    def replace_whole(self, table: Table, frame: pl.DataFrame, *, ids: pl.DataFrame) -> Change:
        """Make all that the table holds of some ids equal to the frame; for small tables.

        Args:
            table: any table.
            frame: all rows of the ids; the last of two rows with one key wins.
            ids: columns of the table; one row per thing that came whole.

        Raises:
            TransformError: wrong columns, or a row of none of the ids.
        """
        batch = deduplicated(table, checked(table, frame))
        things = ids.unique(maintain_order=True)
        lost = batch.join(things, on=things.columns, how="anti", nulls_equal=True)
        if lost.height:
            raise TransformError(
                f"{lost.height} rows for {table.full_name} belong to none of the ids that were to "
                "be replaced: name their ids too, or leave the rows out."
            )
        if things.is_empty():
            return Change()
        exists = fill(
            "EXISTS (SELECT 1 FROM $windows AS w WHERE $same)",
            windows=_WINDOWS,
            same=matched(things.columns, "t", "w"),
        )
        with self._registered(_WINDOWS, things):
            return self._settle(table, batch, _Scope(exists=exists))

    def append_versions(
        self, table: Table, frame: pl.DataFrame, *, value: str = "reading_native"
    ) -> Change:
        """Add a version for each value that is new or differs from the newest version.

        The table has a `version` in its key, counted from 1, and `received_at`; a `version`
        column of the frame is not looked at. Earlier versions stay. A value equal to the newest
        version adds nothing, and so does a value that was received before that version.
        Several values of one key in a batch become versions in the order of `received_at`; of
        those received at one instant the last wins.

        Raises:
            TransformError: the frame does not have the table's columns.
        """
        key = [name for name in table.key if name != "version"]
        batch = checked(table, frame.with_columns(version=pl.lit(1, pl.Int64)))
        if batch.is_empty():
            return Change()
        # One round per place in the succession: a second value of a key is only met when several
        # answers come in one batch, as in a rebuild.
        rounds = successive(batch, key, value).partition_by("version", maintain_order=True)
        changes = [self._append_round(table, key, value, part) for part in rounds]
        return changes[0] if len(changes) == 1 else combined(changes)

    def record_changes(self) -> None:
        """Note what changed, for publishing; called at the end of the transaction."""
        token = uuid.uuid4().hex
        for schema, name, month in sorted(self._changed, key=str):
            self._run(
                "DELETE FROM bookkeeping.change WHERE schema_name = ? AND table_name = ?"
                " AND month IS NOT DISTINCT FROM ?",
                [schema, name, month],
            )
            self._run(
                "INSERT INTO bookkeeping.change VALUES (?, ?, ?, ?)", [schema, name, month, token]
            )

    def _append_round(
        self, table: Table, key: list[str], value: str, batch: pl.DataFrame
    ) -> Change:
        """Append versions of a batch that has one value per key."""
        scope = _key_scope(table, batch, key)
        parts = {
            "batch": _BATCH,
            "old": _OLD,
            "different": _DIFFERENT,
            "table": full_name(table),
            "key": listed(key, "t."),
            "same": matched(key, "b", "n"),
            "value": quoted(value),
            "where": scope.where,
        }
        with self._registered(_BATCH, batch), self._temporary(_OLD, _DIFFERENT):
            self._run(
                fill(
                    "CREATE TEMP TABLE $old AS SELECT $key, max(t.version) AS version,"
                    " arg_max(struct_pack(native := t.$value, received_at := t.received_at),"
                    " t.version) AS newest FROM $table AS t$where GROUP BY $key",
                    **parts,
                ),
                scope.params,
            )
            if self._count(_OLD) == 0:
                self._insert(table)
                return self._noted(table, _BATCH, Change(n_added=batch.height))
            self._run(
                fill(
                    "CREATE TEMP TABLE $different AS"
                    " SELECT b.* REPLACE (coalesce(n.version, 0) + 1 AS version)"
                    " FROM $batch AS b LEFT JOIN $old AS n ON $same"
                    " WHERE n.version IS NULL OR (b.received_at >= n.newest.received_at"
                    " AND b.$value IS DISTINCT FROM n.newest.native)",
                    **parts,
                )
            )
            n_added = self._count(_DIFFERENT)
            if n_added == 0:
                return Change()
            self._run(fill("INSERT INTO $table BY NAME SELECT * FROM $different", **parts))
            return self._noted(table, _DIFFERENT, Change(n_added=n_added))

    def _settle(self, table: Table, batch: pl.DataFrame, scope: _Scope) -> Change:
        """Make the table's rows in the scope equal to the batch; touch only what differs."""
        with_time = dict.fromkeys((*table.key, *filter(None, [table.time_column])))
        parts = {
            "table": full_name(table),
            "batch": _BATCH,
            "old": _OLD,
            "different": _DIFFERENT,
            "content": listed(table.content_columns),
            "content_of_old": listed(table.content_columns, "t."),
            "key": listed(with_time),
            "same": matched(table.key, "t", "d"),
            "where": scope.where,
            "and_time": f" AND {scope.time}" if scope.time else "",
        }
        with self._registered(_BATCH, batch), self._temporary(_OLD, _DIFFERENT):
            self._run(
                fill(
                    "CREATE TEMP TABLE $old AS SELECT $content_of_old FROM $table AS t$where",
                    **parts,
                ),
                scope.params,
            )
            if self._count(_OLD) == 0:
                if batch.is_empty():
                    return Change()
                self._insert(table)
                return self._noted(table, _BATCH, Change(n_added=batch.height))
            # Grouped by every content column, not by a hash: equal must mean equal.
            self._run(
                fill(
                    "CREATE TEMP TABLE $different AS SELECT $key FROM ("
                    "SELECT $content, 1 AS n FROM $batch UNION ALL"
                    " SELECT $content, -1 AS n FROM $old) GROUP BY $content HAVING sum(n) <> 0",
                    **parts,
                )
            )
            if self._count(_DIFFERENT) == 0:
                return Change()
            # All rows of a key that differs are written anew, so that a key that stands twice
            # (no index forbids it) is mended. The time bounds let DuckDB skip row groups.
            removed = self._run(
                fill("DELETE FROM $table AS t USING $different AS d WHERE $same$and_time", **parts),
                scope.params if scope.time else (),
            )
            n_added = self._insert(table, fill(" SEMI JOIN $different AS d ON $same", **parts))
            change = Change(n_added=n_added, n_removed=int(removed[0][0]))
            return self._noted(table, _DIFFERENT, change)

    def _insert(self, table: Table, only: str = "") -> int:
        """Insert the registered batch, or what a join leaves of it; return the rows."""
        rows = self._run(
            fill(
                "INSERT INTO $table ($columns) SELECT $columns_of_batch FROM $batch AS t$only",
                table=full_name(table),
                columns=listed(column.name for column in table.columns),
                columns_of_batch=listed((column.name for column in table.columns), "t."),
                batch=_BATCH,
                only=only,
            )
        )
        return int(rows[0][0])

    def _with_rows(
        self, table: Table, id_columns: list[str], silent: pl.DataFrame, scope: _Scope
    ) -> pl.DataFrame:
        """Return those of the ids that have rows in their window."""
        with self._registered(_WINDOWS, silent):
            return self.read(
                fill(
                    "SELECT DISTINCT $ids FROM $table AS t$where ORDER BY ALL",
                    ids=listed(id_columns, "t."),
                    table=full_name(table),
                    where=scope.where,
                ),
                scope.params,
            )

    def _noted(self, table: Table, relation: str, change: Change) -> Change:
        """Remember what changed for publishing; return the change with its months and windows."""
        if table.time_column is None:
            if table.is_published:
                self._changed.add((table.schema, table.name, None))
            return change
        names = [name for name in table.key if name not in (table.time_column, "version")]
        parts = {
            "time": quoted(table.time_column),
            "relation": relation,
            "ids": listed(names),
        }
        months = self._run(
            fill(
                # Of a plain timestamp: with a time zone it goes through ICU, 8 times slower.
                "SELECT DISTINCT CAST(date_trunc('month', day_on) AS DATE) FROM (SELECT DISTINCT"
                " CAST(make_timestamp(epoch_us($time)) AS DATE) AS day_on FROM $relation)"
                " ORDER BY 1",
                **parts,
            )
        )
        change = replace(change, months=tuple(row[0] for row in months))
        if table.is_published:
            self._changed.update((table.schema, table.name, month) for month in change.months)
        if table.time_column not in table.key or not names:
            return change
        windows = self.read(
            fill(
                "SELECT $ids, min($time) AS from_at, max($time) AS to_at FROM $relation"
                " GROUP BY $ids ORDER BY $ids",
                **parts,
            )
        )
        return replace(change, windows=windows)

    def _count(self, relation: str) -> int:
        return int(self._run(fill("SELECT count(*) FROM $relation", relation=relation))[0][0])

    def _run(self, statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return run(self._connection, statement, params)

    @contextmanager
    def _registered(self, name: str, frame: pl.DataFrame) -> Iterator[None]:
        self._connection.register(name, FrameStream(frame))
        try:
            yield
        finally:
            self._connection.unregister(name)

    @contextmanager
    def _temporary(self, *names: str) -> Iterator[None]:
        """Drop the temporary tables at the end; after an error the rollback does."""
        yield
        for name in names:
            self._run(fill("DROP TABLE IF EXISTS $name", name=name))


def _key_scope(table: Table, batch: pl.DataFrame, key: Sequence[str]) -> _Scope:
    """Return the rows that have a key of the batch; bounded in time where that bounds them."""
    exists = fill(
        "EXISTS (SELECT 1 FROM $batch AS b WHERE $same)",
        batch=_BATCH,
        same=matched(key, "t", "b"),
    )
    if table.time_column is None or table.time_column not in key:
        return _Scope(exists=exists)
    instants = batch[table.time_column]
    bounds = fill("t.$time >= ? AND t.$time <= ?", time=quoted(table.time_column))
    return _Scope(bounds, (instants.min(), instants.max()), exists)
