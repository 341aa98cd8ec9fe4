"""What was listed and when: rows that appear, change, move and vanish, as versions in time.

A version holds from `valid_from_at` to `valid_to_at` (null: still so). Small tables only: what
stands is read whole and compared here, and only versions that begin or end are written.
"""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.errors import TransformError
from energy_etl.tables import Table
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.warehouse.change import Change
from energy_etl.warehouse.store import select_statement
from energy_etl.warehouse.writing import Writer

_FROM: Final = "valid_from_at"
_TO: Final = "valid_to_at"


def write_listing(
    writer: Writer, table: Table, frame: pl.DataFrame, *, scopes: pl.DataFrame, at: datetime
) -> Change:
    """Bring a listing into a table of versions.

    A row whose content is that of the version in force writes nothing. A row that differs ends that
    version and begins the next. A version in force within a scope, whose thing the frame does not
    hold, ends: a listing that failed on some page must not be among the scopes, or what was on that
    page would seem to have vanished. A row older than what is known of its thing is left out.

    Args:
        writer: of an open transaction.
        table: its key is the thing's id and `valid_from_at`.
        frame: the table's columns without the two instants; the last of two rows of a thing counts.
        scopes: one row per complete listing, in columns of the table.
        at: when the vendor was asked.

    Raises:
        TransformError: the frame lacks a column, or the table keeps no versions.
    """
    if _FROM not in table.key or _TO not in table.polars_schema:
        raise TransformError(f"{table.full_name} keeps no versions: give it {_FROM} and {_TO}.")
    things = [name for name in table.key if name != _FROM]
    content = [name for name in table.content_columns if name not in (_FROM, _TO)]
    missing = [name for name in table.polars_schema if name not in (*frame.columns, _FROM, _TO)]
    if missing:
        raise TransformError(f"The listing for {table.full_name} lacks {', '.join(missing)}.")
    listed = frame.unique(subset=things, keep="last", maintain_order=True)
    where = '"valid_to_at" IS NULL OR "valid_to_at" > ?'
    standing = writer.read(select_statement(table, where), [at])
    # Changed or vanished since.
    is_later = (pl.col(_FROM) > at) | pl.col(_TO).is_not_null()
    later = standing.filter(is_later)
    listed = listed.join(later, on=things, how="anti", nulls_equal=True)
    in_force = standing.filter(~is_later)
    begun = listed.join(in_force, on=content, how="anti", nulls_equal=True)
    ended = in_force.join(begun, on=things, how="semi", nulls_equal=True)
    if scopes.height:
        gone = in_force.join(scopes, on=scopes.columns, how="semi", nulls_equal=True).join(
            listed, on=things, how="anti", nulls_equal=True
        )
        ended = pl.concat([ended, gone])
    instant = pl.lit(at, UTC_INSTANT)
    rows = pl.concat(
        [
            ended.with_columns(instant.alias(_TO)),
            begun.with_columns(instant.alias(_FROM), pl.lit(None, UTC_INSTANT).alias(_TO)).select(
                ended.columns
            ),
        ]
    )
    # Two answers within one instant: the version that both begins and ends there never was.
    return writer.merge(table, rows.unique(subset=table.key, keep="last", maintain_order=True))
