"""What is added to a register so that its stream never falls: step functions of time. Pure.

The server subtracts successive cumulative values, so the offset of a stream's field changes where
the register does not grow by the interval's energy (reset, rollover, exchange, change of level):
the stream goes on with the energy alone. Steps that a released packet used are frozen; older ones
are computed backwards from them, so that filling in the past changes no packet. A stream that is
moved to another register (or from files to one) goes on from the number that it had: of what lies
before, the new register says nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from energy_etl.tables.push import STREAM_OFFSET

OFFSET_SCHEMA: Final = pl.Schema(
    {
        **STREAM_OFFSET.polars_schema,
        "used_to_at": pl.Datetime("us", "UTC"),
        "used_wh": pl.Float64,
        "fed_by": pl.String,
    }
)
DECIMALS_WH: Final = 3
# Below this a register's growth and the energy are the same: noise of floats, at 1e9 Wh about 1e-7.
_SAME_WH: Final = 0.01
_SAME_RELATIVE: Final = 1e-9
_FEED: Final = ["stream_id", "field"]

_Step = tuple[datetime, float]
_Row = tuple[object, ...]


class _Feed(NamedTuple):
    """One cumulative field of one stream, and the register that feeds it."""

    stream_id: str
    field: str
    register_id: str

    def row(self, from_at: datetime, offset_wh: float) -> _Row:
        """A step that nothing used, in the columns of OFFSET_SCHEMA."""
        return (self.stream_id, self.field, from_at, offset_wh, False, None, None, self.register_id)


def compute_offsets(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Return every step of each field that has rows, in the columns of OFFSET_SCHEMA.

    Args:
        rows: stream_id, field, register_id, start_at, end_at, end_wh (the register, known),
            energy_wh (null: unknown) and n_hidden (rises at a row behind which a break hides);
            sorted by stream, field and end.
        known: columns of OFFSET_SCHEMA; only the frozen ones are looked at, and they come back.
    """
    frozen = known.filter("is_frozen").select(OFFSET_SCHEMA.names()).cast(dict(OFFSET_SCHEMA))  # pyright: ignore[reportArgumentType]
    anchors = {key: part.sort("from_at") for key, part in frozen.group_by(_FEED)}
    jumps: dict[tuple[str, str], list[_Step]] = {}
    for stream_id, field, end_at, jump_wh in _breaks(rows).sort("end_at").rows():
        jumps.setdefault((stream_id, field), []).append((end_at, jump_wh))
    found: list[_Row] = []
    firsts = rows.group_by(_FEED).agg(pl.col("register_id", "end_at").first()).sort(_FEED)
    for stream_id, field, register_id, first_at in firsts.rows():
        feed, key = _Feed(stream_id, field, register_id), (stream_id, field)
        anchored, behind = anchors.get(key), jumps.get(key, [])
        if anchored is None:
            found += _forwards(feed, [(first_at, 0.0), *behind])
            continue
        found += anchored.rows()
        is_other = anchored["fed_by"].fill_null(register_id) != register_id
        if is_other[-1]:
            own = rows.filter(stream_id=stream_id, field=field)
            found += _going_on(feed, own, behind, anchored)
        else:
            own = anchored.slice(is_other.arg_true().max() + 1 if is_other.any() else 0)
            found += _around(feed, first_at, behind, own, is_moved=is_other.any())
    return pl.DataFrame(found, schema=OFFSET_SCHEMA, orient="row").sort(*_FEED, "from_at")


def is_own_step() -> pl.Expr:
    """Whether the step that is valid for a row is of the row's own register."""
    return pl.col("fed_by").is_null() | (pl.col("fed_by") == pl.col("register_id"))


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


def _going_on(
    feed: _Feed, rows: pl.DataFrame, jumps: list[_Step], anchored: pl.DataFrame
) -> list[_Row]:
    """The steps behind what another register, or files, fed: from the last number by the energy."""
    last_at, used_to_at, used_wh = anchored["from_at", "used_to_at", "used_wh"].row(-1)
    rows = rows.filter(pl.col("end_at") > max(last_at, used_to_at or last_at))
    if rows.is_empty():
        return []
    first_at, end_wh, energy_wh = rows["end_at", "end_wh", "energy_wh"].row(0)
    offset_wh = 0.0 if used_wh is None else used_wh + (energy_wh or 0.0) - end_wh
    return _forwards(feed, [(first_at, offset_wh), *(j for j in jumps if j[0] > first_at)])


def _around(
    feed: _Feed, first_at: datetime, jumps: list[_Step], own: pl.DataFrame, *, is_moved: bool
) -> list[_Row]:
    """The steps before and behind those that packets used; before a move there are none."""
    start_at, last_at = own["from_at"][0], own["from_at"][-1]
    older: list[_Row] = []
    if first_at < start_at and not is_moved:
        before = [step for step in jumps if step[0] <= start_at]
        older = _backwards(feed, first_at, start_at, own["offset_wh"][0], before)
    # What lies within what was used stays as it was, whatever is found there later.
    used_to_at = max(last_at, *own["used_to_at"].drop_nulls())
    behind = [step for step in jumps if step[0] > used_to_at]
    return [*older, *_forwards(feed, [(used_to_at, own["offset_wh"][-1]), *behind])[1:]]


def _forwards(feed: _Feed, steps: Iterable[_Step]) -> list[_Row]:
    offset_wh = 0.0
    found: list[_Row] = []
    for from_at, jump_wh in steps:
        offset_wh = round(offset_wh + jump_wh, DECIMALS_WH)
        found.append(feed.row(from_at, offset_wh))
    return found


def _backwards(
    feed: _Feed, first_at: datetime, start_at: datetime, offset_wh: float, steps: list[_Step]
) -> list[_Row]:
    """The offsets before the first frozen one: what a step adds is taken off on its older side."""
    found: list[_Row] = []
    for at, jump_wh in reversed(steps):
        if at != start_at:
            found.append(feed.row(at, offset_wh))
        offset_wh = round(offset_wh - jump_wh, DECIMALS_WH)
    found.append(feed.row(first_at, offset_wh))
    return found[::-1]
