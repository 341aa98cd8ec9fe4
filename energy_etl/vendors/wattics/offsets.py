"""What is added to a register so that its stream never falls: step functions of time. Pure.

The server subtracts successive cumulative values, so the offset of a stream's field changes where
the register does not grow by the interval's energy (reset, rollover, exchange, change of level):
the stream goes on with the energy alone. Steps that a released packet used are frozen; older ones
are computed backwards from them, so that filling in the past changes no packet.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from energy_etl.tables.push import STREAM_OFFSET

OFFSET_SCHEMA: Final = pl.Schema(
    {**STREAM_OFFSET.polars_schema, "used_to_at": pl.Datetime("us", "UTC")}
)
DECIMALS_WH: Final = 3
# Below this a register's growth and the energy are the same: noise of floats, at 1e9 Wh about 1e-7.
_SAME_WH: Final = 0.01
_SAME_RELATIVE: Final = 1e-9
_FEED: Final = ["stream_id", "field"]

_Step = tuple[datetime, float]
_Row = tuple[object, ...]


class _Feed(NamedTuple):
    """One cumulative field of one stream."""

    stream_id: str
    field: str


def compute_offsets(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return every step of each field that has rows, in the columns of OFFSET_SCHEMA.

    Args:
        rows: stream_id, field, start_at, end_at, end_wh (the register, known), energy_wh (null:
            unknown) and n_hidden (rises at a row behind which a break hides); sorted by stream,
            field and end.
        known: columns of OFFSET_SCHEMA; only the frozen ones are looked at, and they come back.
    """
    frozen = known.filter("is_frozen").select(OFFSET_SCHEMA.names()).cast(dict(OFFSET_SCHEMA))  # pyright: ignore[reportArgumentType]
    anchors = {
        _Feed(str(key[0]), str(key[1])): part.sort("from_at")
        for key, part in frozen.group_by(_FEED)
    }
    jumps: dict[_Feed, list[_Step]] = {}
    for stream_id, field, end_at, jump_wh in _breaks(rows).sort("end_at").rows():
        jumps.setdefault(_Feed(stream_id, field), []).append((end_at, jump_wh))
    firsts = rows.group_by(_FEED).agg(pl.col("end_at").min()).sort(_FEED)
    found: list[_Row] = []
    for stream_id, field, first_at in firsts.rows():
        feed = _Feed(stream_id, field)
        found += _steps(feed, first_at, jumps.get(feed, []), anchors.get(feed))
    return pl.DataFrame(found, schema=OFFSET_SCHEMA, orient="row")


def _breaks(rows: pl.DataFrame) -> pl.DataFrame:
    """stream_id, field, end_at, jump_wh where a register does not grow by the energy.

    Across a hole of unknown rows the growth is what the meter counted, and stays, unless it falls
    or the hole hides a break.
    """
    is_same = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in _FEED)
    growth = pl.when(is_same).then(pl.col("end_wh") - pl.col("end_wh").shift())
    is_next = pl.col("start_at") == pl.col("end_at").shift()
    is_hidden = pl.col("n_hidden") > pl.col("n_hidden").shift()
    tolerance = pl.max_horizontal(pl.lit(_SAME_WH), pl.col("end_wh").abs() * _SAME_RELATIVE)
    jump = pl.col("energy_wh").fill_null(0.0) - growth
    is_break = pl.when(is_next | is_hidden).then(jump.abs() > tolerance).otherwise(jump > tolerance)
    return rows.select(*_FEED, "end_at", jump_wh=pl.when(is_break).then(jump)).drop_nulls()


def _steps(
    feed: _Feed, first_at: datetime, jumps: list[_Step], anchored: pl.DataFrame | None
) -> list[_Row]:
    if anchored is None:
        return _forwards(feed, [(first_at, 0.0), *jumps])
    start_at, last_at = anchored["from_at"][0], anchored["from_at"][-1]
    older: list[_Row] = []
    if first_at < start_at:
        before = [step for step in jumps if step[0] <= start_at]
        older = _backwards(feed, first_at, start_at, anchored["offset_wh"][0], before)
    # What lies within what was used stays as it was, whatever is found there later.
    used_to_at = max(last_at, *anchored["used_to_at"].drop_nulls())
    behind = [step for step in jumps if step[0] > used_to_at]
    newer = _forwards(feed, [(used_to_at, anchored["offset_wh"][-1]), *behind])[1:]
    return [*older, *anchored.rows(), *newer]


def _forwards(feed: _Feed, steps: Iterable[_Step]) -> list[_Row]:
    offset_wh = 0.0
    found: list[_Row] = []
    for from_at, jump_wh in steps:
        offset_wh = round(offset_wh + jump_wh, DECIMALS_WH)
        found.append((*feed, from_at, offset_wh, False, None))
    return found


def _backwards(
    feed: _Feed, first_at: datetime, start_at: datetime, offset_wh: float, steps: list[_Step]
) -> list[_Row]:
    """The offsets before the first frozen one: what a step adds is taken off on its older side."""
    found: list[_Row] = []
    for at, jump_wh in reversed(steps):
        if at != start_at:
            found.append((*feed, at, offset_wh, False, None))
        offset_wh = round(offset_wh - jump_wh, DECIMALS_WH)
    found.append((*feed, first_at, offset_wh, False, None))
    return found[::-1]
