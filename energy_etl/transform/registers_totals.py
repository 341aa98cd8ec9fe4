"""Registers that do not count up: totals per interval, and instantaneous values.

`kind` interval: a reading is the total of one interval, stamped at its start or its end.
`kind` instant: a reading is a temperature, a power, a voltage: averaged over time, never summed.
Cumulative registers are `registers_cumulative.py`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_etl.transform.cleaning import IMPLAUSIBLE_NATIVE, SUSPECT_FACTOR, SUSPECT_QUANTILE
from energy_etl.transform.cleaning_edits import DROPPED_SCHEMA, EVENT_SCHEMA, edit_rows
from energy_etl.transform.cleaning_story import GRACE_S, Floats, Ints
from energy_etl.transform.registers_flags import Flag, Quality
from energy_etl.transform.registers_grid import (
    STUCK_INTERVALS,
    STUCK_US,
    Grid,
    GridTotals,
    ranges,
)

# A mains total of exactly 0 for this long is an outage filled with zeros (CalTRACK 2.2.1.4).
ZERO_FILLED_US: Final = STUCK_US
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


@dataclass(frozen=True, slots=True)
class Meter:
    """What a register of totals or samples is.

    Attributes:
        register_id: our id.
        rate_per_s: declared rating per second (inf: none).
        resolution: smallest step.
    """

    register_id: str
    rate_per_s: float
    resolution: float


def compute_interval_totals(
    readings: pl.DataFrame,
    meters: Sequence[Meter],
    grid: Grid,
    *,
    is_end_stamped: bool,
    is_watched: bool,
) -> tuple[GridTotals, pl.DataFrame]:
    """Put totals on the grid, from each register's first reading to its last.

    An interval without a reading is `missing` (null, flag `gap`); so is one whose reading is
    null (an interval with fewer readings than the register usually sends is `missing` too: a sum
    of some of its parts is no total). A negative, impossible or too high total is `implausible`
    (null). Readings that fall into one interval are added. On mains, zeros for three hours or more
    are `missing` (flag `zero_filled`), and one non-zero value for three intervals or more is
    flagged `stuck`.

    Args:
        readings: `register` (place in `meters`), `at_us`, `reading`, `is_corrected`; sorted.
        meters: the registers.
        grid: the grid of all of them.
        is_end_stamped: True when a stamp marks the end of its interval.
        is_watched: True for mains that nothing else at the site can bring to zero.

    Returns:
        Totals sorted by register and end (`end_native` unknown), and rows of `core.edit`.
    """
    named = _named(readings, meters, grid).with_columns(
        _edge(grid, is_end_stamped).alias("edge"),
    )
    cells = named.group_by("register", "edge", maintain_order=True).agg(
        pl.col("reading").sum(),
        pl.col("rule").drop_nulls().sort().last(),
        pl.col("is_corrected").any(),
        pl.len().alias("n_readings"),
    )
    cells = cells.join(_usual_number(named, grid), on="register", maintain_order="left")
    is_partial = pl.col("rule").is_null() & (pl.col("n_readings") < pl.col("n_usual"))
    cells = cells.with_columns(
        rule=pl.when(is_partial).then(pl.lit("partial")).otherwise(pl.col("rule")),
    )
    # What came before the first reading is not known to be missing: rows begin with a whole one.
    is_first = pl.col("edge") == pl.col("edge").min().over("register")
    cells = cells.filter(~(is_first & (pl.col("rule") == "partial").fill_null(False)))
    if cells.is_empty():
        return GridTotals.empty(), _edits(named.filter(pl.col("rule").is_not_null()), meters)
    place, start = _places(cells)
    n = int(start[-1])
    energy = np.full(n, np.nan)
    quality = np.full(n, Quality.MISSING, dtype=np.uint8)
    flags = np.full(n, Flag.GAP, dtype=np.int32)
    rule = cells["rule"]
    energy[place] = np.where(rule.is_null().to_numpy(), cells["reading"].to_numpy(), np.nan)
    quality[place] = np.select(
        [rule.is_null().to_numpy(), rule.is_in(("missing", "partial")).fill_null(False).to_numpy()],
        [Quality.MEASURED, Quality.MISSING],
        Quality.IMPLAUSIBLE,
    )
    flags[place] = np.where((rule == "false_high").fill_null(False).to_numpy(), Flag.FALSE_HIGH, 0)
    flags[place] |= np.where((rule == "partial").fill_null(False).to_numpy(), Flag.GAP, 0)
    flags[place] |= np.where(cells["is_corrected"].to_numpy(), Flag.CORRECTED, 0)
    first_edge = cells["edge"].to_numpy()[np.searchsorted(place, start[:-1])]
    lengths = np.diff(start)
    number = np.repeat(cells["register"].unique(maintain_order=True).to_numpy(), lengths)
    edge = np.repeat(first_edge - start[:-1], lengths) + np.arange(n)
    totals = GridTotals(
        number.astype(np.int64),
        grid.instant_of(edge + 1),
        np.full(n, np.nan),
        energy,
        quality,
        flags,
        _last_of_each(start, n),
    )
    _flag_suspects(totals, meters, start)
    dropped = named.filter(pl.col("rule").is_not_null())
    if is_watched:
        zeros = _fill_zeros(totals, grid)
        _flag_stuck(totals)
        in_run = pl.DataFrame({"register": totals.register[zeros], "edge": edge[zeros]})
        filled = named.filter(pl.col("rule").is_null()).join(
            in_run, on=["register", "edge"], how="semi", maintain_order="left"
        )
        dropped = pl.concat([dropped, filled.with_columns(rule=pl.lit("zero_filled"))])
    return totals, _edits(dropped, meters)


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
    hole is a hole.

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
    named = _named(readings, [], grid)
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
        _edits(named.filter(pl.col("rule").is_not_null()), meters),
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


def _usual_number(named: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    """Return how many readings an interval of each register has: `register`, `n_usual` (>= 1).

    From the usual distance of its readings: the median over all of them, which a gap or a reading
    sent twice does not move.
    """
    distance_us = pl.col("at_us").diff().quantile(0.5, "lower")
    n_usual = (grid.step_us / distance_us.clip(lower_bound=1)).round().clip(1)
    return named.group_by("register").agg(n_usual.fill_null(1).cast(pl.Int64).alias("n_usual"))


def _edge(grid: Grid, is_end_stamped: bool) -> pl.Expr:
    """Number of the edge at which the interval of each reading starts."""
    at_us = pl.col("at_us") - (1 if is_end_stamped else 0)
    return (at_us - grid.phase_us) // grid.step_us


def _named(readings: pl.DataFrame, meters: Sequence[Meter], grid: Grid) -> pl.DataFrame:
    """Add `row` and `rule`: why a reading is no value; null: it is one.

    With `meters`, readings are totals: not negative, not above the rating.
    """
    reading = pl.col("reading")
    rule = pl.when(reading.is_null() | reading.is_nan()).then(pl.lit("missing"))
    rule = rule.when(reading.abs() >= IMPLAUSIBLE_NATIVE).then(pl.lit("implausible"))
    if meters:
        hours = grid.step_us / 1e6 + GRACE_S
        allow = np.asarray([m.rate_per_s * hours + m.resolution for m in meters])
        most = pl.lit(pl.Series(allow[readings["register"].to_numpy()]))
        rule = rule.when(reading < 0).then(pl.lit("negative"))
        rule = rule.when(reading > most).then(pl.lit("false_high"))
    return readings.with_row_index("row").with_columns(
        rule.otherwise(pl.lit(None, pl.String)).alias("rule")
    )


def _edits(dropped: pl.DataFrame, meters: Sequence[Meter]) -> pl.DataFrame:
    rows = dropped.select(
        pl.col("row").cast(pl.Int64),
        pl.col("register").alias("segment"),
        "at_us",
        "reading",
        "rule",
        pl.lit(None, pl.Float64).alias("before"),
        pl.lit(None, pl.Float64).alias("after"),
        pl.lit(None, pl.Int64).alias("next_row"),
    ).match_to_schema(DROPPED_SCHEMA)
    ids = [meter.register_id for meter in meters]
    return edit_rows(rows.sort("row"), EVENT_SCHEMA.to_frame(), ids)


def _places(cells: pl.DataFrame) -> tuple[Ints, Ints]:
    """Return the place of each cell when each register's intervals follow without holes.

    And the first place of each register present, with the total number at the end.
    """
    register, edge = cells["register"].to_numpy(), cells["edge"].to_numpy()
    first = np.flatnonzero(np.diff(register, prepend=register[0] - 1))
    last = np.append(first[1:], len(register)) - 1
    lengths = edge[last] - edge[first] + 1
    start = np.concatenate(([0], np.cumsum(lengths)))
    k = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(register))))
    return start[k] + edge - edge[first][k], start


def _last_of_each(start: Ints, n: int) -> np.ndarray:
    is_last = np.zeros(n, dtype=bool)
    is_last[start[1:] - 1] = True
    return is_last


def _flag_suspects(totals: GridTotals, meters: Sequence[Meter], start: Ints) -> None:
    """Flag totals far beyond a register's own usual ones where no rating forbids them."""
    for lo, hi in zip(start[:-1].tolist(), start[1:].tolist(), strict=True):
        if np.isfinite(meters[int(totals.register[lo])].rate_per_s):
            continue
        here = totals.energy_native[lo:hi]
        positive = here[here > 0]
        if positive.size:
            usual = float(np.quantile(positive, SUSPECT_QUANTILE, method="lower"))
            totals.flags[lo:hi][here > SUSPECT_FACTOR * usual] |= Flag.SUSPECT


def _runs(totals: GridTotals, at: Ints, same_value: bool) -> tuple[Ints, Ints]:
    """Cut positions into runs of neighbours within a register: first and last of each."""
    breaks = (np.diff(at) > 1) | (np.diff(totals.register[at]) != 0)
    if same_value:
        breaks |= np.diff(totals.energy_native[at]) != 0
    return at[np.concatenate(([True], breaks))], at[np.concatenate((breaks, [True]))]


def _fill_zeros(totals: GridTotals, grid: Grid) -> Ints:
    """Make long runs of zeros missing and return their places; a run at the end stays open."""
    at = np.flatnonzero(totals.energy_native == 0)
    if not at.size:
        return at
    first, last = _runs(totals, at, same_value=False)
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
        first, last = _runs(totals, at, same_value=True)
        is_long = last - first + 1 >= STUCK_INTERVALS
        totals.flags[ranges(first[is_long], last[is_long] + 1)] |= Flag.STUCK
