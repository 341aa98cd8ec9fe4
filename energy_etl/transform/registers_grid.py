"""Kept readings of cumulative registers -> the totals of a regular grid.

Which readings are kept is `cleaning.py`'s business, units and the columns of `core.interval` are
`registers.py`'s. Here is arithmetic on sorted arrays of many registers with one grid.

A step leads from the kept reading before (t_j, x_j) to the kept reading (t_i, x_i) and holds the
energy E. Between them the counter is taken as linear, so at an edge e it shows
`x_i - E * (t_i - e) / (t_i - t_j)`: for growth the line between both, after a reset the new level
counted back, within a rollover 10^n more until it wraps, within a change of level nothing.
The energy of an interval is the difference of the counter at its edges, plus, in the one interval
where the counter itself jumps (reset, rollover, exchange), that jump. So between unflagged
intervals the counter's difference IS the energy, and a register's result does not depend on which
other registers are computed with it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import gcd
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_etl.errors import TransformError
from energy_etl.transform.cleaning import Cleaned
from energy_etl.transform.cleaning_story import Floats, Ints, Kind
from energy_etl.transform.registers_flags import Codes, Flag, Masks, Quality

US_PER_MINUTE: Final = 60_000_000
# Kept readings further apart than this many grid steps make an interval between them an estimate.
GAP_STEPS: Final = 1.5
# An edge with a kept reading within this share of a grid step counts as read, not interpolated.
NEAR_SHARE: Final = 0.1
# A mains counter that stands still this long (and for three intervals) is flagged as stuck.
STUCK_US: Final = 3 * 60 * US_PER_MINUTE
STUCK_INTERVALS: Final = 3

_EVENT_FLAG: Final = {
    Kind.ROLLOVER: Flag.ROLLOVER,
    Kind.RESET: Flag.RESET,
    Kind.LEVEL: Flag.LEVEL,
    Kind.EXCHANGE: Flag.EXCHANGE,
}
_DROPPED_FLAG: Final = {
    "dip": Flag.DIP,
    "zero_glitch": Flag.ZERO_GLITCH,
    "false_low": Flag.FALSE_LOW,
    "false_high": Flag.FALSE_HIGH,
}


@dataclass(frozen=True, slots=True)
class Grid:
    """Edges at `phase_us + n * step_us` after 1970-01-01T00:00Z."""

    step_us: int
    phase_us: int

    def edge_before(self, at_us: Ints) -> Ints:
        """Return the number of the last edge at or before each instant."""
        return (at_us - self.phase_us) // self.step_us

    def edge_after(self, at_us: Ints) -> Ints:
        """Return the number of the first edge at or after each instant."""
        return -((self.phase_us - at_us) // self.step_us)

    def instant_of(self, edge: Ints) -> Ints:
        """Return the instant of each edge in microseconds."""
        return edge * self.step_us + self.phase_us


@lru_cache(maxsize=4096)
def register_grid(zone: str, grid_minutes: int) -> Grid:
    """Return the grid in UTC on which each local midnight of the zone falls.

    15 and 30 minutes fit every zone as they are. 60 minutes are shifted where the offset is not
    a whole hour (Kolkata: half past). Where the zone's offsets since 2010 differ by less than the
    grid (Lord Howe's half-hour summer time) no shift fits both, so the step becomes the largest
    that does (30 minutes), and an hourly reading is split in two.

    Args:
        zone: IANA zone of the site.
        grid_minutes: the register's configured grid, at least 1.

    Raises:
        TransformError: a grid of less than a minute.
    """
    if grid_minutes < 1:
        raise TransformError(
            f"A register in {zone} has a grid of {grid_minutes} minutes; "
            "set grid_minutes in registers.csv to 1 or more."
        )
    offsets = _offsets_minutes(zone)
    step = grid_minutes
    for offset in offsets[1:]:
        step = gcd(step, offset - offsets[0])
    return Grid(step * US_PER_MINUTE, (-offsets[0] % step) * US_PER_MINUTE)


@lru_cache(maxsize=1024)
def _offsets_minutes(zone: str) -> tuple[int, ...]:
    """List the zone's offsets from UTC from 2010 to 2037, looked at every five days."""
    tz = ZoneInfo(zone)
    first = datetime(2010, 1, 1, tzinfo=UTC)
    found: set[int] = set()
    for n in range(0, 28 * 365, 5):
        offset = (first + timedelta(days=n)).astimezone(tz).utcoffset() or timedelta()
        found.add(round(offset.total_seconds() / 60))
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class GridTotals:
    """Intervals of several registers, sorted by register and end.

    Attributes:
        register: number of the register.
        end_us: end of the interval.
        end_native: the counter at the end; nan: unknown.
        energy_native: energy in the register's unit; nan: unknown.
        quality: `Quality` codes.
        flags: `Flag` masks.
        is_open: True while no second reading follows the end.
    """

    register: Ints
    end_us: Ints
    end_native: Floats
    energy_native: Floats
    quality: Codes
    flags: Masks
    is_open: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls) -> Self:
        """Return the totals of nothing."""
        whole_numbers, floats = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(
            whole_numbers,
            whole_numbers,
            floats,
            floats,
            np.empty(0, dtype=np.uint8),
            np.empty(0, dtype=np.int32),
            np.empty(0, dtype=bool),
        )


def lay_on_grid(
    cleaned: Cleaned, modulus: Floats, grid: Grid, *, gap_us: float, watch_stuck: bool
) -> GridTotals:
    """Return the intervals from each register's first edge to its last.

    Args:
        cleaned: kept readings; `kept` has `register`, `segment`, `at_us`, `reading` and
            `is_corrected`, sorted by the first and third; the events name declared exchanges too.
        modulus: per segment, 10 to the counter's digits (nan: unknown).
        grid: the grid of all of them.
        gap_us: kept readings further apart make estimates.
        watch_stuck: flag a counter that stands still (mains).

    Returns:
        One row per interval; none for a register with fewer than two edges.
    """
    if not cleaned.kept.height:
        return _NOTHING
    laying = _Laying(cleaned, grid)
    laying.explain_events(modulus)
    laying.mark_gaps(gap_us)
    laying.mark_readings()
    return laying.totals(watch_stuck)


class _Laying:
    """Rows are kept readings, positions are edges."""

    def __init__(self, cleaned: Cleaned, grid: Grid) -> None:
        self.cleaned = cleaned
        self.grid = grid
        kept = cleaned.kept
        self.register = kept["register"].to_numpy()
        self.t = t = kept["at_us"].to_numpy()
        self.x = x = kept["reading"].to_numpy()
        self.segment = kept["segment"].to_numpy()
        e = grid.edge_before(t)
        self.first_row = first = _first_rows(self.register)
        self.dt, n_edges = _steps(t), _steps(e)
        n_edges[first] = grid.instant_of(e[first]) == t[first]
        self.n_edges = n_edges
        self.ends = ends = np.cumsum(n_edges)
        self.base = ends[first] - n_edges[first]
        self.stop = np.append(self.base[1:], ends[-1])
        self.row = row = np.repeat(np.arange(len(t)), n_edges)
        # A register's edges follow each other, from the first one at or after its first reading.
        place = np.arange(len(row))
        first_edge = e[first] + 1 - n_edges[first]
        self.edge = edge = place + np.repeat(first_edge - self.base, self.stop - self.base)
        self.edge_us = grid.instant_of(edge)
        self.lead = t[row] - self.edge_us
        self.inner = np.flatnonzero(self.lead)
        self.shown = x[row]
        i = row[self.inner]
        self.shown[self.inner] -= (x[i] - x[i - 1]) * (self.lead[self.inner] / self.dt[i])
        self.jump = np.zeros(len(row))
        self.flags: Masks = np.zeros(len(row), dtype=np.int32)
        self.quality: Codes = np.zeros(len(row), dtype=np.uint8)

    def explain_events(self, modulus: Floats) -> None:
        """Put resets, rollovers, exchanges and changes of level where they happened."""
        rows, kinds = self.cleaned.event_row, self.cleaned.event_kind
        energies = self.cleaned.event_energy
        for i, code, energy in zip(rows.tolist(), kinds.tolist(), energies.tolist(), strict=True):
            kind = Kind(code)
            start, stop = int(self.ends[i - 1]), int(self.ends[i])
            lead = self.lead[start:stop]
            grown = self.x[i] - self.x[i - 1]
            if kind is Kind.LEVEL:
                self.shown[start:stop][lead > 0] = np.nan
                continue
            if stop > start:
                self.shown[start:stop] = self.x[i] - energy * (lead / max(int(self.dt[i]), 1))
            at = start
            if kind is Kind.ROLLOVER:
                is_before_wrap = self.shown[start:stop] < 0
                self.shown[start:stop][is_before_wrap] += modulus[self.segment[i]]
                at += int(is_before_wrap.sum())
            if at < len(self.jump) and self.register[self.row[at]] == self.register[i]:
                self.jump[at] += energy - grown
        for kind, flag in _EVENT_FLAG.items():
            of = rows[kinds == kind]
            where = self._positions(of, self.t[of - 1], self.t[of])
            self.flags[where] |= flag
            if kind is Kind.LEVEL:
                self.quality[where] = Quality.IMPLAUSIBLE

    def mark_gaps(self, gap_us: float) -> None:
        """Estimated where kept readings are far apart; `gap` where no dropped one lies between."""
        is_long = self.dt > gap_us
        is_long[self.first_row] = False
        rows = np.flatnonzero(is_long)
        if not rows.size:
            return
        where = self._positions(rows, self.t[rows - 1], self.t[rows])
        self.quality[where] = np.maximum(self.quality[where], Quality.ESTIMATED)
        between = self.cleaned.dropped["next_row"].drop_nulls().to_numpy()
        n_between = np.bincount(between, minlength=len(self.t))[rows]
        rows = rows[self.dt[rows] > gap_us * (n_between + 1)]
        self.flags[self._positions(rows, self.t[rows - 1], self.t[rows])] |= Flag.GAP

    def mark_readings(self) -> None:
        """Flag what is known of single readings: dropped, corrected, suspect, far from an edge."""
        dropped = self.cleaned.dropped.filter(pl.col("next_row").is_not_null())
        rules = dropped["rule"].to_numpy()
        at_us, next_row = dropped["at_us"].to_numpy(), dropped["next_row"].to_numpy()
        for rule, flag in _DROPPED_FLAG.items():
            here = np.flatnonzero(rules == rule)
            at, rows = at_us[here], next_row[here]
            self.flags[self._positions(rows, at - 1, at)] |= flag
        corrected = self.cleaned.kept.select(pl.arg_where(pl.col("is_corrected"))).to_series()
        rows = corrected.cast(pl.Int64).to_numpy()
        self.flags[self._positions(rows, self.t[rows] - 1, self.t[rows])] |= Flag.CORRECTED
        rows = self.cleaned.suspect_row
        self.flags[self._positions(rows, self.t[rows - 1], self.t[rows])] |= Flag.SUSPECT
        near = NEAR_SHARE * self.grid.step_us
        lead = self.lead[self.inner]
        far = self.inner[(lead > near) & (self.dt[self.row[self.inner]] - lead > near)]
        self.flags[far] |= Flag.INTERPOLATED_EDGE
        following = far + 1
        following = following[following < len(self.flags)]
        self.flags[following] |= Flag.INTERPOLATED_EDGE

    def totals(self, watch_stuck: bool) -> GridTotals:
        """Subtract neighbouring edges and leave out each register's first one."""
        energy = _steps(self.shown)
        energy += self.jump
        energy[self.quality == Quality.IMPLAUSIBLE] = np.nan
        is_open = np.zeros(len(self.row), dtype=bool)
        last_row = np.append(self.first_row[1:], len(self.t)) - 1
        open_from, open_to = self.ends[last_row] - self.n_edges[last_row], self.ends[last_row]
        is_open[ranges(open_from, open_to)] = True
        # Without each register's first edge; slices instead of a mask: a third of the time.
        kept = [slice(base + 1, stop) for base, stop in zip(self.base, self.stop, strict=True)]
        totals = GridTotals(
            np.repeat(self.register[self.first_row], np.maximum(self.stop - self.base - 1, 0)),
            np.concatenate([self.edge_us[at] for at in kept]),
            np.concatenate([self.shown[at] for at in kept]),
            np.concatenate([energy[at] for at in kept]),
            np.concatenate([self.quality[at] for at in kept]),
            np.concatenate([self.flags[at] for at in kept]),
            np.concatenate([is_open[at] for at in kept]),
        )
        if watch_stuck:
            _flag_stuck(totals, self.grid)
        return totals

    def _positions(self, rows: Ints, from_us: Ints, to_us: Ints) -> Ints:
        """Return the intervals (by the position of their end) that overlap (from, to].

        `rows` are kept readings that say which register is meant. An empty stretch, as between
        the two values of a declared exchange, belongs to the interval after it.
        """
        if not rows.size:
            return np.empty(0, np.int64)
        k = np.searchsorted(self.first_row, rows, "right") - 1
        base, stop = self.base[k], self.stop[k]
        first_edge = np.append(self.edge, 0)[base]
        start = base + self.grid.edge_before(from_us) + 1 - first_edge
        end = base + self.grid.edge_after(to_us) - first_edge
        end = np.maximum(end, start) + 1
        start, end = np.maximum(start, base + 1), np.minimum(end, stop)
        is_some = start < end
        return ranges(start[is_some], end[is_some])


def _flag_stuck(totals: GridTotals, grid: Grid) -> None:
    """Flag runs of measured intervals in which the counter did not move."""
    is_flat = (totals.energy_native == 0) & (totals.quality == Quality.MEASURED)
    at = np.flatnonzero(is_flat)
    if not at.size:
        return
    breaks = (np.diff(at) > 1) | (np.diff(totals.register[at]) != 0)
    first = at[np.concatenate(([True], breaks))]
    last = at[np.concatenate((breaks, [True]))]
    needed = max(STUCK_INTERVALS, -(-STUCK_US // grid.step_us))
    is_stuck = last - first + 1 >= needed
    totals.flags[ranges(first[is_stuck], last[is_stuck] + 1)] |= Flag.STUCK


def _first_rows(register: Ints) -> Ints:
    """Return the first row of each register; there is at least one, and they are neighbours."""
    return np.concatenate(([0], np.flatnonzero(register[1:] != register[:-1]) + 1))


def _steps(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return how much each value is above the one before; 0 for the first."""
    found = np.zeros_like(values)
    # np.diff with `prepend` copies the values first.
    np.subtract(values[1:], values[:-1], out=found[1:])
    return found


def ranges(start: Ints, stop: Ints) -> Ints:
    """Return start[0]..stop[0]-1, start[1]..stop[1]-1, ... in one array."""
    lengths = stop - start
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    return np.repeat(start - (ends - lengths), lengths) + np.arange(total)


_NOTHING: Final = GridTotals(
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0),
    np.empty(0),
    np.empty(0, np.uint8),
    np.empty(0, np.int32),
    np.empty(0, np.bool_),
)
