"""Mains that nothing else at the site can bring to zero: outages filled with zeros, stuck values.

For energies of an interval each (totals, means, integrated power). A counter that stands still
was read and is `registers_grid.py`'s.
"""

from typing import Final

import numpy as np
import polars as pl

from energy_etl.transform.cleaning_story import Ints
from energy_etl.transform.registers_flags import Flag, Quality
from energy_etl.transform.registers_grid import (
    STUCK_INTERVALS,
    STUCK_US,
    Grid,
    GridTotals,
    ranges,
)

# Mains at exactly 0 for this long are an outage filled with zeros (CalTRACK 2.2.1.4).
ZERO_FILLED_US: Final = STUCK_US


def watch_mains(totals: GridTotals, named: pl.DataFrame, grid: Grid, trusted: Ints) -> pl.DataFrame:
    """Make long runs of zeros missing, and flag non-zero values that repeat; in place.

    Zeros for three hours or more are `missing` (null, flag `zero_filled`); zeros at a register's
    end stay open, since they may go on. One non-zero energy for three intervals or more is flagged
    `stuck` and kept: a coarse meter at a steady load shows it too. A register that has shown power
    below zero is left alone: something at the site does bring it to zero.

    Args:
        totals: of mains; changed.
        named: their readings: `register`, `edge` (the interval each belongs to) and `rule`, beside
            what `value_edits` needs.
        grid: the grid of all of them.
        trusted: rows of `totals` whose zeros a person vouches for: they stay.

    Returns:
        The readings without a rule that fell into such a run of zeros, with the rule
        `zero_filled`.
    """
    sound = pl.col("rule").is_null()
    two_way = named.filter(sound & (pl.col("reading") < 0))["register"].unique().to_numpy()
    places = _fill_zeros(totals, grid, two_way, trusted)
    _flag_stuck(totals)
    return readings_in(named, totals, grid, places, "zero_filled")


def readings_in(
    named: pl.DataFrame, totals: GridTotals, grid: Grid, places: Ints, rule: str
) -> pl.DataFrame:
    """Return the readings without a rule that belong to some rows of `totals`, with this rule."""
    edge = grid.edge_before(totals.end_us[places]) - 1
    cells = pl.DataFrame({"register": totals.register[places], "edge": edge})
    return (
        named.filter(pl.col("rule").is_null())
        .join(cells, on=["register", "edge"], how="semi", maintain_order="left")
        .with_columns(rule=pl.lit(rule))
    )


def _runs(totals: GridTotals, at: Ints, *, is_same_value: bool) -> tuple[Ints, Ints]:
    """Cut positions into runs of neighbours within a register: first and last of each."""
    breaks = (np.diff(at) > 1) | (np.diff(totals.register[at]) != 0)
    if is_same_value:
        breaks |= np.diff(totals.energy_native[at]) != 0
    return at[np.concatenate(([True], breaks))], at[np.concatenate((breaks, [True]))]


def _fill_zeros(totals: GridTotals, grid: Grid, two_way: Ints, trusted: Ints) -> Ints:
    is_zero = (totals.energy_native == 0) & ~np.isin(totals.register, two_way)
    is_zero[trusted] = False
    at = np.flatnonzero(is_zero)
    if not at.size:
        return at
    first, last = _runs(totals, at, is_same_value=False)
    is_at_end = totals.is_open[last]
    totals.is_open[ranges(first[is_at_end], last[is_at_end] + 1)] = True
    is_long = (last - first + 1) * grid.step_us >= ZERO_FILLED_US
    places = ranges(first[is_long], last[is_long] + 1)
    totals.energy_native[places] = np.nan
    totals.quality[places] = Quality.MISSING
    totals.flags[places] |= Flag.ZERO_FILLED
    return places


def _flag_stuck(totals: GridTotals) -> None:
    at = np.flatnonzero(totals.energy_native > 0)
    if at.size:
        first, last = _runs(totals, at, is_same_value=True)
        is_long = last - first + 1 >= STUCK_INTERVALS
        totals.flags[ranges(first[is_long], last[is_long] + 1)] |= Flag.STUCK
