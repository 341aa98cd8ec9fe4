"""Runs: neighbouring rows that say the same, as the warehouse and the computations hand rows out.

A register's text is then looked at once per run and not once per row. What is summed per run is in
`sums.py`, instants within runs are cut in `axis.py`.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from energy_etl.transform.cleaning_story import Ints

# With fewer rows per run than this a look-up per row costs less.
MIN_ROWS: Final = 8


def first_of_runs(columns: Sequence[pl.Series]) -> Ints:
    """Return the first row of each run of rows that are equal in all columns; null equals null."""
    lengths = [column.rle().struct.field("len").cast(pl.Int64).to_numpy() for column in columns]
    return union_of_rows(len(columns[0]), *(np.cumsum(each) - each for each in lengths))


def union_of_rows(n_rows: int, *some: Ints) -> Ints:
    """Return the rows that are in any of several arrays, ascending."""
    # np.union1d took most of the time of rows in no order.
    is_in = np.zeros(n_rows, dtype=bool)
    for rows in some:
        is_in[rows] = True
    return np.flatnonzero(is_in)


def number_runs(frame: pl.DataFrame, known: pl.DataFrame) -> tuple[Ints, pl.Series]:
    """Return the first row of each run, and the `number` of what it says, null for none.

    Args:
        frame: rows with the other columns of `known`, in any order.
        known: `number`, and columns that together are unique.
    """
    keys = [name for name in known.columns if name != "number"]
    first = first_of_runs([frame[name] for name in keys])
    runs = frame.select(pl.col(keys).gather(first))
    return first, runs.join(known, on=keys, how="left", maintain_order="left")["number"]


def spread(numbers: pl.Series, first: Ints, n_rows: int) -> pl.Series:
    """Return the number of each row from those of runs."""
    return numbers.gather(np.repeat(np.arange(first.size), np.diff(first, append=n_rows)))


def numbers_of(frame: pl.DataFrame, known: pl.DataFrame) -> pl.Series:
    """Return the number of each row; as `number_runs` does."""
    first, numbers = number_runs(frame, known)
    return spread(numbers, first, frame.height)
