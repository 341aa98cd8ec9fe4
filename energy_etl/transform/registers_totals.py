"""Registers that send one value per interval: totals, and means.

`kind` interval: a reading is about one interval, stamped at its start or its end. A total (kWh, m3)
is added up, a mean (W, V, degC, ...) averaged. Counters are `registers_cumulative.py`'s, values
that belong to an instant `registers_samples.py`'s; which power is energy says `registers_power.py`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_etl.transform.cleaning import SUSPECT_FACTOR, SUSPECT_QUANTILE
from energy_etl.transform.cleaning_story import GRACE_S, Floats, Ints
from energy_etl.transform.registers_flags import Flag, Quality
from energy_etl.transform.registers_grid import Grid, GridTotals
from energy_etl.transform.registers_mains import readings_in, watch_mains
from energy_etl.transform.registers_values import (
    Meter,
    highest_values,
    named_values,
    value_edits,
)
from energy_etl.units import SECONDS_PER_HOUR

# A source is coarser than the grid when nearly all its readings lie this many steps apart.
_COARSE_STEPS: Final = 1.5
_COARSE_QUANTILE: Final = 0.05
# How far stamps may jitter, as a share of a reading's length or of a grid step.
_TOLERANCE: Final = 0.05
_MARKS: Final = ("is_corrected", "is_trusted", "is_replaced")


def compute_interval_totals(
    readings: pl.DataFrame,
    meters: Sequence[Meter],
    grid: Grid,
    *,
    is_end_stamped: bool,
    is_watched: bool,
    gap_us: float,
    is_power: bool = False,
) -> tuple[GridTotals, pl.DataFrame]:
    """Put totals, or the energy of mean powers, on the grid, from first reading to last.

    An interval without a reading is `missing` (null, flag `gap`); so is one whose reading is
    null (an interval with fewer readings than the register usually sends is `missing` too: a sum
    of some of its parts is no total). A negative, impossible or too high total is `implausible`
    (null). Readings that fall into one interval are added. Where a source sends less often than
    the grid has edges, each reading is spread evenly over the intervals that it covers: its total
    is measured, the split is not (`estimated`, flag `gap`; only flag `interpolated_edge` where the
    zone halves the configured grid). So is each reading of a regular source whose distance does not
    fit the grid (10 minutes on 15), split in proportion at the edges (flag `interpolated_edge`). A
    source whose distance fits but whose own intervals straddle the grid's edges keeps its energy,
    moved by less than a grid step: to the interval that it starts in, or ends in when stamps are
    ends. On mains, zeros for three hours or more are `missing` (flag `zero_filled`), and
    one non-zero value for three intervals or more is flagged `stuck`.

    With `is_power` a reading is the mean power of its interval: energy = mean of the readings in
    the interval times its length, quality `integrated`. Power against the register's own direction
    counts as 0, as in `registers_power.count_own_direction`; the rating is one of power.

    Args:
        readings: `register` (place in `meters`), `at_us`, `reading`, `is_corrected`, and where a
            person decided something `is_trusted`, `is_replaced`; sorted.
        meters: the registers.
        grid: the grid of all of them.
        is_end_stamped: True when a stamp marks the end of its interval.
        is_watched: True for mains that nothing else at the site can bring to zero.
        gap_us: a reading that covers more than this makes estimates.
        is_power: readings are W or kW.

    Returns:
        Totals sorted by register and end (`end_native` unknown), in the readings' unit (times
        hours, when it is a power), and rows of `core.edit`.
    """
    named = _placed(readings, meters, grid, is_end_stamped=is_end_stamped, is_power=is_power)
    dropped = named.filter(pl.col("rule").is_not_null())
    cells = _cells(named, grid, is_end_stamped=is_end_stamped, is_mean=is_power)
    if cells.is_empty():
        return GridTotals.empty(), value_edits(dropped, meters)
    place, start = _places(cells)
    n = int(start[-1])
    energy = np.full(n, np.nan)
    quality = np.full(n, Quality.MISSING, dtype=np.uint8)
    flags = np.full(n, Flag.GAP, dtype=np.int32)
    rule = cells["rule"]
    has_value = rule.is_null().to_numpy()
    n_steps, length_us = cells["n_steps"].to_numpy(), cells["length_us"].to_numpy()
    is_split = has_value & (length_us > gap_us)
    per_interval = grid.step_us / (1e6 * SECONDS_PER_HOUR) if is_power else 1.0 / n_steps
    energy[place] = np.where(has_value, cells["reading"].to_numpy() * per_interval, np.nan)
    quality[place] = np.select(
        [is_split, has_value, rule.is_in(("missing", "partial")).fill_null(False).to_numpy()],
        [Quality.ESTIMATED, Quality.INTEGRATED if is_power else Quality.MEASURED, Quality.MISSING],
        Quality.IMPLAUSIBLE,
    )
    flags[place] = np.where((rule == "false_high").fill_null(False).to_numpy(), Flag.FALSE_HIGH, 0)
    is_gap = is_split | (rule == "partial").fill_null(False).to_numpy()
    flags[place] |= np.where(is_gap, Flag.GAP, 0)
    is_cut = (n_steps > 1) | (length_us % grid.step_us > 0)
    flags[place] |= np.where(has_value & ~is_split & is_cut, Flag.INTERPOLATED_EDGE, 0)
    flags[place] |= np.where(cells["is_corrected"].to_numpy(), Flag.CORRECTED, 0)
    is_by_hand = "is_replaced" in cells.columns
    if is_by_hand:
        flags[place] |= np.where(cells["is_replaced"].to_numpy(), Flag.MANUAL, 0)
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
    trusted = place[cells["is_trusted"].to_numpy()] if is_by_hand else place[:0]
    dropped = pl.concat([dropped, flag_suspects(totals, meters, named, grid, trusted)])
    if is_watched:
        dropped = pl.concat([dropped, watch_mains(totals, named, grid, trusted)])
    return totals, value_edits(dropped, meters)


def compute_means(
    readings: pl.DataFrame, meters: Sequence[Meter], grid: Grid, *, is_end_stamped: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Average the means that a source sends over the intervals of the grid, signs as they are.

    An interval in which a reading has no value or is not there has no row, nor has one with fewer
    readings than the register usually sends. A reading that covers several intervals is the mean
    of each; one that covers a part of an interval counts for that part.

    Args:
        readings: `register` (place in `meters`), `at_us`, `reading`, `is_corrected`; sorted.
        meters: the registers.
        grid: the grid of all of them.
        is_end_stamped: True when a stamp marks the end of its interval.

    Returns:
        `register`, `start_us`, `end_us`, `sample_native`, `n_readings`, `is_provisional` (always
        False: a mean comes when its interval is over), sorted; and rows of `core.edit`.
    """
    named = _placed(readings, meters, grid, is_end_stamped=is_end_stamped, is_power=True)
    cells = _cells(named, grid, is_end_stamped=is_end_stamped, is_mean=True, is_signed=True)
    start_us = pl.col("edge") * grid.step_us + grid.phase_us
    samples = cells.filter(pl.col("rule").is_null()).select(
        "register",
        start_us=start_us,
        end_us=start_us + grid.step_us,
        sample_native="reading",
        n_readings=pl.col("n_readings").cast(pl.Int64),
        is_provisional=pl.lit(False),
    )
    return samples, value_edits(named.filter(pl.col("rule").is_not_null()), meters)


def _placed(
    readings: pl.DataFrame,
    meters: Sequence[Meter],
    grid: Grid,
    *,
    is_end_stamped: bool,
    is_power: bool,
) -> pl.DataFrame:
    """Add `row`, `rule`, `edge` (the interval it is about), `n_usual`, `n_steps`, `length_us`.

    `n_usual` is how many readings an interval has (1 or more), `n_steps` how many intervals a
    reading covers (1 or more), `length_us` how long it is: that many grid steps, or the usual
    distance where neither is a multiple of the other. All from the usual distance of the register's
    readings: the median over all of them, which a gap or a reading sent twice does not move.
    Coarser than the grid, or of another length, is only what nearly never comes closer: a source
    that leaves out its zeros is not.
    """
    distance_us = pl.col("at_us").diff()
    usual_us = distance_us.quantile(0.5, "lower")
    steps = usual_us / grid.step_us
    least = distance_us.quantile(_COARSE_QUANTILE, "lower") / grid.step_us
    is_coarse = (least > _COARSE_STEPS) & (least.round() == steps.round())
    multiple = pl.max_horizontal(steps, 1 / steps)
    is_misfit = (least > (1 - _TOLERANCE) * steps) & (
        (multiple - multiple.round()).abs() > _TOLERANCE * multiple.round()
    )
    lengths = (
        readings.group_by("register")
        .agg(
            n_usual=pl.when(is_misfit)
            .then(1)
            .otherwise((grid.step_us / usual_us.clip(lower_bound=1)).round().clip(1).fill_null(1)),
            n_steps=pl.when(is_coarse & ~is_misfit).then(steps.round()).otherwise(1.0),
            length_us=pl.when(is_misfit).then(usual_us),
        )
        .with_columns(pl.col("n_usual", "n_steps").cast(pl.Int64))
        .with_columns(pl.col("length_us").fill_null(pl.col("n_steps") * grid.step_us))
    )
    at_us = pl.col("at_us") - (1 if is_end_stamped else 0)
    return (
        named_values(readings, _most(lengths, meters, grid, is_power), is_signed=is_power)
        .with_columns(edge=(at_us - grid.phase_us) // grid.step_us)
        .join(lengths, on="register", maintain_order="left")
    )


def _most(lengths: pl.DataFrame, meters: Sequence[Meter], grid: Grid, is_power: bool) -> Floats:
    """Return the most that each register's rating allows within one of its readings."""
    if is_power:
        return highest_values(meters)
    rate = np.asarray([meter.rate_per_s for meter in meters])
    resolution = np.asarray([meter.resolution for meter in meters])
    seconds = np.full(len(meters), grid.step_us / 1e6)
    seconds[lengths["register"].to_numpy()] = lengths["length_us"].to_numpy() / 1e6
    return rate * (seconds + GRACE_S) + resolution


def _cells(
    named: pl.DataFrame,
    grid: Grid,
    *,
    is_end_stamped: bool,
    is_mean: bool,
    is_signed: bool = False,
) -> pl.DataFrame:
    """One row per register and interval that readings are about, sorted.

    `register`, `edge`, `reading` (sum, or mean), `rule` (null: a value), `is_corrected`,
    `n_readings`, `n_steps`, `length_us`.
    """
    named = _spread(named, grid, is_end_stamped=is_end_stamped)
    share = pl.col("share")
    reading = pl.col("reading") if is_signed or not is_mean else pl.col("reading").clip(0.0)
    total = (reading * share).sum()
    cells = named.group_by("register", "edge", maintain_order=True).agg(
        reading=total / share.sum() if is_mean else total,
        rule=pl.col("rule").drop_nulls().sort().last(),
        **{name: pl.col(name).any() for name in named.columns if name in _MARKS},
        n_readings=pl.len(),
        n_usual=pl.col("n_usual").first(),
        n_steps=pl.col("n_steps").first(),
        length_us=pl.col("length_us").first(),
        covered_us=(share * pl.col("length_us")).sum(),
    )
    is_partial = pl.col("rule").is_null() & (
        (pl.col("n_readings") < pl.col("n_usual"))
        | (pl.col("covered_us") < (1 - _TOLERANCE) * grid.step_us)
    )
    cells = cells.with_columns(
        rule=pl.when(is_partial).then(pl.lit("partial")).otherwise(pl.col("rule")),
    )
    # What came before the first reading is not known to be missing: rows begin with a whole one.
    is_first = pl.col("edge") == pl.col("edge").min().over("register")
    return cells.filter(~(is_first & (pl.col("rule") == "partial").fill_null(False)))


def _spread(named: pl.DataFrame, grid: Grid, *, is_end_stamped: bool) -> pl.DataFrame:
    """One row per reading and interval that it covers, `share`: how much of the reading lies there.

    A reading of several whole intervals has the share 1 in each: it is divided later.
    """
    length, edge = pl.col("length_us"), pl.col("edge")
    is_misfit = length % grid.step_us > 0
    named = named.with_columns(share=pl.lit(1.0))
    if (named["length_us"] == grid.step_us).all():
        return named
    from_us = pl.col("at_us") - (length if is_end_stamped else 0)
    first = edge - (pl.col("n_steps") - 1 if is_end_stamped else 0)
    first = pl.when(is_misfit).then((from_us - grid.phase_us) // grid.step_us).otherwise(first)
    last = (from_us + length - 1 - grid.phase_us) // grid.step_us
    stop = pl.when(is_misfit).then(last + 1).otherwise(first + pl.col("n_steps"))
    start_us = edge * grid.step_us + grid.phase_us
    inside_us = pl.min_horizontal(from_us + length, start_us + grid.step_us)
    inside_us -= pl.max_horizontal(from_us, start_us)
    return (
        named.with_columns(edge=pl.int_ranges(first, stop))
        .explode("edge")
        .with_columns(share=pl.when(is_misfit).then(inside_us / length).otherwise("share"))
        .sort("register", "edge", "at_us")
    )


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


def _last_of_each(start: Ints, n: int) -> npt.NDArray[np.bool_]:
    is_last = np.zeros(n, dtype=bool)
    is_last[start[1:] - 1] = True
    return is_last


def flag_suspects(
    totals: GridTotals, meters: Sequence[Meter], named: pl.DataFrame, grid: Grid, trusted: Ints
) -> pl.DataFrame:
    """Flag totals far beyond a register's own usual ones where no rating forbids them.

    Args:
        totals: sorted by register and end; its flags are changed.
        meters: the registers.
        named: their readings as in `watch_mains`.
        grid: the grid of all of them.
        trusted: rows of `totals` that a person vouches for.

    Returns:
        The readings that such a total is made of, with the rule `suspect`: they count.
    """
    is_suspect = np.zeros(len(totals.register), dtype=bool)
    start = np.flatnonzero(np.diff(totals.register, prepend=-1, append=-1))
    for lo, hi in pairwise(start.tolist()):
        if np.isfinite(meters[int(totals.register[lo])].rate_per_s):
            continue
        here = totals.energy_native[lo:hi]
        positive = here[here > 0]
        if positive.size:
            usual = float(np.quantile(positive, SUSPECT_QUANTILE, method="lower"))
            is_suspect[lo:hi] = here > SUSPECT_FACTOR * usual
    is_suspect[trusted] = False
    places = np.flatnonzero(is_suspect)
    totals.flags[places] |= Flag.SUSPECT
    return readings_in(named, totals, grid, places, "suspect")
