"""Intervals added up per register and stretch of local time: what costs in `calendar.py`.

The rows come in runs (`runs.py`): so a register's text, the edges of days and the sums cost per run
and day, not per row. A join, a look-up and a group per row took four times as long.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl

from energy_etl.transform.axis import Axis
from energy_etl.transform.cleaning_story import Ints
from energy_etl.transform.runs import MIN_ROWS, first_of_runs, number_runs, spread, union_of_rows
from energy_etl.transform.sums import from_whole, sum_runs

_NEEDED: Final = (
    "register_id",
    "start_at",
    "energy_kwh",
    "volume_m3",
    "quality",
    "is_provisional",
)
_NO_PIECES: Final = pl.DataFrame(
    schema={
        "register_no": pl.UInt32,
        "stretch": pl.Int64,
        "energy_kwh": pl.Int128,
        "volume_m3": pl.Int128,
        "n_measured": pl.Int64,
        "n_estimated": pl.Int64,
        "n_settled": pl.Int64,
    }
)
# About half of the CPU time of two millions at once: what is made on the way is used again while
# it is in the cache, and fresh memory costs more than arithmetic.
_ROWS_PER_SLICE: Final = 1 << 19


def sum_stretches(
    intervals: pl.DataFrame | pl.LazyFrame, counted: pl.DataFrame, stretches: pl.DataFrame
) -> pl.DataFrame:
    """Add up intervals per register and stretch (hour, day) of its zone: one pass over all rows.

    Args:
        intervals: `core.interval`, in any order; `_NEEDED` of it are read.
        counted: register_id, zone, register_no (from 0); intervals of others are left out.
        stretches: zone, lane (of the zone, from 0), start_at, end_at; those of a lane follow each
            other without a hole. Intervals before the first and after the last are left out.

    Returns:
        register_no, stretch_no (row of `stretches`), energy_kwh, volume_m3, n_measured,
        n_estimated, n_settled (with a value, not provisional); one row for each that has
        intervals, not sorted. A sum is null when nothing is there.
    """
    axis = _axis_of(stretches)
    lanes = stretches.select("zone", "lane").unique()
    known = counted.join(lanes, on="zone").select("register_id", "register_no", "lane")
    found = [_sum_pieces(rows, known, axis) for rows in _slices(intervals)]
    pieces = pl.concat([_NO_PIECES, *found])
    # The closing edges are the start of no stretch: what lies behind the last one or before the
    # first is left behind there.
    numbers = stretches.with_row_index("stretch_no").select(
        "stretch_no", stretch=axis.stretch(pl.col("lane"), pl.col("start_at"))
    )
    wholes, counts = pl.col("energy_kwh", "volume_m3"), pl.col("^n_.*$")
    return (
        pieces.join(numbers, on="stretch")
        .group_by("register_no", "stretch_no")
        .agg(pl.when(wholes.count() > 0).then(wholes.sum()).name.keep(), counts.sum())
        .with_columns(from_whole(wholes))
    )


def _slices(intervals: pl.DataFrame | pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yield what the sums need, in pieces that stay in the processor's cache."""
    needed = intervals.lazy().select(*_NEEDED)
    if isinstance(intervals, pl.DataFrame):
        frames = [needed.collect()]
    else:
        frames = needed.collect_batches(chunk_size=_ROWS_PER_SLICE)
    for frame in frames:
        # Rows of one chunk need no copy, as long as there are not many small ones.
        is_crumbled = frame.n_chunks() * _ROWS_PER_SLICE > 8 * frame.height
        whole = frame.rechunk() if is_crumbled else frame
        start = 0
        for n_rows in whole["start_at"].chunk_lengths():
            yield from whole.slice(start, n_rows).iter_slices(_ROWS_PER_SLICE)
            start += n_rows


def _axis_of(stretches: pl.DataFrame) -> Axis:
    return Axis.from_edges(
        pl.concat(
            [
                stretches.select("lane", edge_at="start_at"),
                stretches.group_by("lane").agg(edge_at=pl.col("end_at").max()),
            ]
        )
    )


def _sum_pieces(rows: pl.DataFrame, known: pl.DataFrame, axis: Axis) -> pl.DataFrame:
    """Sum intervals per piece: neighbouring rows of one register and stretch.

    Returns:
        register_no, stretch (number of its edge on the axis), energy_kwh and volume_m3 (as
        `sum_runs` has them), n_measured, n_estimated, n_settled. A stretch may have several.
    """
    rows, first, place = _in_runs(rows, known, axis)
    runs = known[place]
    lane = runs["lane"].to_numpy().astype(np.int64)
    start, stretch = axis.cut(rows["start_at"], lane, first)
    quality = rows["quality"]
    # What no sum takes (NaN, infinities) is no value, or a day without it would look complete.
    value = rows.select_seq(pl.coalesce("energy_kwh", "volume_m3")).to_series()
    has_value = value.is_finite()
    counted = {
        # Two comparisons: `is_in` costs three times as much.
        "n_measured": has_value & ((quality == "measured") | (quality == "integrated")),
        "n_estimated": has_value & (quality == "estimated"),
        "n_settled": has_value & ~rows["is_provisional"],
    }
    return pl.DataFrame(
        {
            "register_no": runs["register_no"].gather(np.searchsorted(first, start, "right") - 1),
            "stretch": stretch,
            "energy_kwh": sum_runs(rows["energy_kwh"], start),
            "volume_m3": sum_runs(rows["volume_m3"], start),
            **{
                name: np.add.reduceat(is_counted.fill_null(False).to_numpy(), start, dtype=np.int64)
                for name, is_counted in counted.items()
            },
        }
    )


def _in_runs(
    rows: pl.DataFrame, known: pl.DataFrame, axis: Axis
) -> tuple[pl.DataFrame, Ints, pl.Series]:
    """Return the intervals of known registers, the first row of each run, and whose it is.

    A run is of one register (its place in `known`), in the order of time.
    """
    first, place = number_runs(rows, known.select("register_id").with_row_index("number"))
    if place.null_count():
        place = spread(place, first, rows.height)
        rows, place = rows.filter(place.is_not_null()), place.drop_nulls()
        first = first_of_runs([place])
        place = place.gather(first)
    ascending = union_of_rows(rows.height, first, _turns_back(rows))
    if ascending.size * MIN_ROWS > rows.height:
        # By one integer, and not by the text and the instant.
        place = spread(place, first, rows.height)
        order = rows.select(axis.key(pl.lit(place), pl.col("start_at")).arg_sort()).to_series()
        rows, place = rows[order], place.gather(order)
        first = first_of_runs([place])
        place = place.gather(first)
        ascending = union_of_rows(rows.height, first, _turns_back(rows))
    return rows, ascending, place.gather(np.searchsorted(first, ascending, "right") - 1)


def _turns_back(rows: pl.DataFrame) -> Ints:
    """Return the rows that begin before the row above."""
    at_us = rows["start_at"].to_physical().to_numpy()
    return np.flatnonzero(at_us[1:] < at_us[:-1]) + 1
