"""Frames on their way into a table: checked, one row per key, windows per id. No SQL here."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from energy_etl.errors import TransformError
from energy_etl.tables.model import UTC_INSTANT, Table

Ids = Mapping[str, Sequence[Any]] | pl.DataFrame

_WINDOW_COLUMNS: Final = ("from_at", "to_at")

# What may be widened without asking: no value changes.
_WIDENED: Final[dict[pl.DataType | type[pl.DataType], tuple[type[pl.DataType], ...]]] = {
    pl.Int64: (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32),
    pl.Float64: (pl.Float32,),
    pl.String: (pl.Categorical, pl.Enum),
}


class FrameStream:
    """A frame as DuckDB can scan it without pyarrow, as often as it likes."""

    def __init__(self, frame: pl.DataFrame) -> None:
        """Keep the frame alive for as long as it is registered."""
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the Arrow PyCapsule of the frame."""
        return self._frame.__arrow_c_stream__(requested_schema)


def checked(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with the table's columns in the table's order and types.

    Raises:
        TransformError: a column is missing, unknown or of another type, or null where the table
            forbids it.
    """
    schema = table.polars_schema
    missing = [name for name in schema if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in schema]
    if missing or unknown:
        raise TransformError(
            f"A frame for {table.full_name} lacks the columns {missing} and has the unknown"
            f" columns {unknown}: give it exactly the table's columns."
        )
    wrong = [
        f"{name} is {frame.schema[name]} instead of {wanted}"
        for name, wanted in schema.items()
        if not _is_castable(frame.schema[name], wanted)
    ]
    if wrong:
        raise TransformError(
            f"A frame for {table.full_name} has wrong types: {'; '.join(wrong)}: cast them where"
            " the frame is made."
        )
    frame = frame.select(pl.col(name).cast(wanted) for name, wanted in schema.items())
    empty = {
        column.name: n_nulls
        for column in table.columns
        if not column.is_nullable and (n_nulls := frame[column.name].null_count())
    }
    if empty:
        found = ", ".join(f"{name} ({n_nulls} rows)" for name, n_nulls in empty.items())
        raise TransformError(
            f"A frame for {table.full_name} has nulls where there must be a value: {found}: fill"
            " or drop those rows where the frame is made."
        )
    return frame


def without_repeats(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame as it is.

    Raises:
        TransformError: a key stands in several rows: which of them is right, nobody knows.
    """
    if _has_repeats(frame, table.key):
        repeated = frame.filter(frame.select(table.key).is_duplicated()).select(table.key).row(0)
        raise TransformError(
            f"A frame for {table.full_name} has several rows with the key {repeated}: see where"
            " they are made."
        )
    return frame


def deduplicated(table: Table, batch: pl.DataFrame) -> pl.DataFrame:
    """Return one row per key, the last one, in the order of the batch."""
    if not _has_repeats(batch, table.key):
        return batch
    return batch.unique(subset=list(table.key), keep="last", maintain_order=True)


def windows_of(
    table: Table, ids: Ids, from_at: datetime | None, to_at: datetime | None
) -> pl.DataFrame:
    """Return one row per id and window: the id columns, `from_at`, `to_at`.

    Raises:
        TransformError: unknown or no id columns, no window, an instant without a zone, or a table
            whose key does not hold its time column.
    """
    name = table.full_name
    if table.time_column is None or table.time_column not in table.key:
        raise TransformError(
            f"{name} has no time column in its key, so no window of it can be replaced:"
            " use merge or replace_all."
        )
    windows = ids.clone() if isinstance(ids, pl.DataFrame) else pl.DataFrame(dict(ids))
    id_columns = [column for column in windows.columns if column not in _WINDOW_COLUMNS]
    unknown = [column for column in id_columns if column not in table.polars_schema]
    if unknown or not id_columns:
        raise TransformError(
            f"The ids of a window of {name} have the columns {windows.columns}: name at least one"
            " column of the table, and nothing else but from_at and to_at."
        )
    for column, instant in zip(_WINDOW_COLUMNS, (from_at, to_at), strict=True):
        if instant is not None:
            if instant.tzinfo is None:
                raise TransformError(
                    f"{column} of a window of {name} has no time zone: give an aware instant."
                )
            windows = windows.with_columns(pl.lit(instant).cast(UTC_INSTANT).alias(column))
        elif column not in windows.columns:
            raise TransformError(
                f"A window of {name} has no {column}: give it, or a column of it beside the ids."
            )
    types = {column: table.polars_schema[column] for column in id_columns}
    return windows.cast({**types, "from_at": UTC_INSTANT, "to_at": UTC_INSTANT}).unique(
        maintain_order=True
    )


def n_outside(
    table: Table, batch: pl.DataFrame, windows: pl.DataFrame, id_columns: Sequence[str]
) -> int:
    """Count the rows that no window covers."""
    time = pl.col(str(table.time_column))
    bounds = batch.lazy().group_by(id_columns).agg(first_at=time.min(), last_at=time.max())
    within_one = (
        bounds.join(windows.lazy(), on=id_columns, nulls_equal=True)
        .filter(pl.col("first_at") >= pl.col("from_at"), pl.col("last_at") < pl.col("to_at"))
        .select(*id_columns)
        .unique()
    )
    # A row per id tells in most cases: a fifth of the time that a row per reading takes.
    n_ids, n_within = pl.collect_all([bounds.select(pl.len()), within_one.select(pl.len())])
    if n_ids.item() == n_within.item():
        return 0
    covered = (
        batch.lazy()
        .select(*id_columns, time)
        .with_row_index("row")
        .join(windows.lazy(), on=id_columns, nulls_equal=True)
        .filter(time >= pl.col("from_at"), time < pl.col("to_at"))
        # Windows of one id may overlap.
        .select(pl.col("row").n_unique())
    )
    return batch.height - int(covered.collect().item())


def successive(batch: pl.DataFrame, key: list[str], value: str) -> pl.DataFrame:
    """Return the batch with `version` = place of a value in its key's succession, from 1.

    The succession is by `received_at`; the last row of one instant wins, and a value equal to
    the one before it is dropped.
    """
    if not _has_repeats(batch, key):
        return batch
    in_order = batch.sort("received_at", maintain_order=True).unique(
        subset=[*key, "received_at"], keep="last", maintain_order=True
    )
    is_first = pl.int_range(pl.len()).over(key) == 0
    is_new = pl.col(value).ne_missing(pl.col(value).shift(1).over(key))
    return in_order.filter(is_first | is_new).with_columns(
        version=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(key)
    )


def _has_repeats(batch: pl.DataFrame, key: Sequence[str]) -> bool:
    """Return whether a key stands twice.

    Rows mostly come one id after the other, each rising in time: then no key can, and seeing that
    takes a tenth of the time that hashing every key takes.
    """
    times = [name for name in key if isinstance(batch.schema[name], pl.Datetime)]
    if len(times) == 1 and len(key) > 1:
        ids = [name for name in key if name != times[0]]
        differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in ids)
        rises = (pl.col(times[0]) > pl.col(times[0]).shift()).fill_null(value=False)
        begins = batch.select(differs | (pl.int_range(pl.len()) == 0)).to_series()
        if batch.filter(begins).select(ids).is_unique().all() and (
            batch.select(begins | rises).to_series().all()
        ):
            return False
    return batch.select(key).is_duplicated().any()


def _is_castable(given: pl.DataType, wanted: pl.DataType) -> bool:
    if given == wanted or given == pl.Null:
        return True
    if isinstance(wanted, pl.Datetime) and isinstance(given, pl.Datetime):
        return given.time_zone == wanted.time_zone
    if isinstance(wanted, pl.List) and isinstance(given, pl.List):
        return given.inner == pl.Null or given.inner == wanted.inner
    return any(given == narrow for narrow in _WIDENED.get(wanted.base_type(), ()))
