"""Instantaneous values: temperatures, powers, voltages, averaged over time and never summed.

`kind` instant. Values that a source has averaged or summed itself (`kind` interval) are
`registers_totals.py`'s, energy of power is `registers_power.py`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_etl.transform.cleaning_story import Floats, Ints
from energy_etl.transform.registers_grid import Grid, ranges
from energy_etl.transform.registers_values import (
    Meter,
    highest_values,
    named_values,
    value_edits,
)

_NO_MEANS: Final = pl.Schema(
    {
        "register": pl.Int64,
        "start_us": pl.Int64,
        "end_us": pl.Int64,
        "sample_native": pl.Float64,
        "n_readings": pl.Int64,
        "covered_us": pl.Int64,
        "to_us": pl.Int64,
        "is_last": pl.Boolean,
    }
)


def compute_samples(
    readings: pl.DataFrame,
    meters: Sequence[Meter],
    grid: Grid,
    *,
    gap_us: float,
    now_us: int,
    hold_us: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Average instantaneous readings over the intervals of the grid.

    A value is the time-weighted mean of the straight lines between readings: sources read at
    irregular instants, and an interval that no reading happens to fall into is no hole. One is
    where readings lie more than `gap_us` apart, before the first and after the last: an interval
    that touches it has no row. The interval that the last reading lies in has the mean up to
    there, provisional, until a reading at or after its end exists or `hold_us` has passed: then a
    hole is a hole. A reading beyond the register's rating, in either direction, is none.

    Args:
        readings: `register` (place in `meters`), `at_us`, `reading`; sorted, unique.
        meters: the registers.
        grid: the grid of all of them.
        gap_us: readings further apart have no line between them.
        now_us: the instant of the computation.
        hold_us: after this long an interval is no longer provisional.

    Returns:
        `register`, `start_us`, `end_us`, `sample_native`, `n_readings` (within the interval, may
        be 0), `is_provisional`, sorted; and rows of `core.edit`.
    """
    named = named_values(readings, highest_values(meters))
    lines = _Lines.between(named.filter(pl.col("rule").is_null()), gap_us)
    samples = _means_of_lines(lines, grid).filter(
        (pl.col("covered_us") == grid.step_us)
        | (
            # Only the last reading's interval ends in a hole that may still be filled.
            pl.col("is_last")
            & (pl.col("start_us") + pl.col("covered_us") == pl.col("to_us"))
            & (now_us - pl.col("end_us") < hold_us)
        )
    )
    return (
        samples.select(
            "register",
            "start_us",
            "end_us",
            "sample_native",
            "n_readings",
            is_provisional=pl.col("covered_us") < grid.step_us,
        ),
        value_edits(named.filter(pl.col("rule").is_not_null()), meters),
    )


@dataclass(frozen=True, slots=True)
class _Lines:
    """Straight lines from a reading to the next of the same register, in their order.

    Attributes:
        register: place of the register.
        row: number of the reading at the end; of the one at the start one less.
        from_us: start of the line.
        to_us: its end.
        from_native: reading at the start.
        to_native: reading at the end.
        is_last: no reading of the register follows.
    """

    register: Ints
    row: Ints
    from_us: Ints
    to_us: Ints
    from_native: Floats
    to_native: Floats
    is_last: npt.NDArray[np.bool_]

    @classmethod
    def between(cls, kept: pl.DataFrame, gap_us: float) -> Self:
        """Draw the lines between neighbouring readings no further apart than `gap_us`."""
        register, at_us = kept["register"].to_numpy(), kept["at_us"].to_numpy()
        reading = kept["reading"].to_numpy()
        is_same = np.diff(register) == 0
        row = np.flatnonzero(is_same & (np.diff(at_us) <= gap_us)) + 1
        return cls(
            register[row],
            row,
            at_us[row - 1],
            at_us[row],
            reading[row - 1],
            reading[row],
            np.append(~is_same, True)[row],
        )


def _means_of_lines(lines: _Lines, grid: Grid) -> pl.DataFrame:
    """Cut lines at the grid's edges and average them over each interval that one touches.

    Each interval is summed by itself: a running integral would let its last bits depend on what
    lies before it.
    """
    first = grid.edge_before(lines.from_us)
    n_pieces = grid.edge_after(lines.to_us) - first
    line = np.repeat(np.arange(len(first)), n_pieces)
    edge = ranges(first, first + n_pieces)
    start_us = grid.instant_of(edge)
    from_us, to_us = lines.from_us[line], lines.to_us[line]
    lo_us, hi_us = np.maximum(from_us, start_us), np.minimum(to_us, start_us + grid.step_us)
    length_us = hi_us - lo_us
    low = lines.from_native[line]
    share = ((lo_us - from_us) + (hi_us - from_us)) / (2.0 * (to_us - from_us))
    middle = low + (lines.to_native[line] - low) * share
    is_new = (np.diff(edge, prepend=-1) != 0) | (np.diff(lines.register[line], prepend=-1) != 0)
    a = np.flatnonzero(is_new)
    if not a.size:
        return _NO_MEANS.to_frame()
    z = np.append(a[1:], len(edge)) - 1
    covered_us = np.add.reduceat(length_us, a)
    # Weighing what exceeds the first value, not the values: a constant stays exactly itself.
    excess = (middle - np.repeat(low[a], z - a + 1)) * length_us
    end_us = start_us[a] + grid.step_us
    n_inner = lines.row[line[z]] - lines.row[line[a]]
    return pl.DataFrame(
        {
            "register": lines.register[line[a]],
            "start_us": start_us[a],
            "end_us": end_us,
            "sample_native": low[a] + np.add.reduceat(excess, a) / covered_us,
            "n_readings": n_inner + (from_us[a] >= start_us[a]) + (to_us[z] < end_us),
            "covered_us": covered_us,
            "to_us": to_us[z],
            "is_last": lines.is_last[line[z]],
        },
        schema=_NO_MEANS,
    )
