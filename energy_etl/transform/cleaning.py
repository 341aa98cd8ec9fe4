"""Which readings of a cumulative register are kept, and what each step between them is.

Here: setting readings aside, the vectorised fast path over all registers at once, and zeros. The
search for the cheapest story near the remaining impossible steps is in `cleaning_story.py`, the
names of what was dropped and the rows of `core.edit` in `cleaning_edits.py`, and the way from
kept readings to the intervals of a grid in `registers_grid.py`.

The result depends on a register's SET of readings only: when a late one comes, the register is
cleaned again as a whole. Passes over all readings are Polars expressions (a shift masked by the
change of segment; `over` takes twice the time and nine times the memory); what follows works on
the few indexes they find.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from energy_etl.transform.cleaning_edits import DROPPED_SCHEMA, name_dropped, name_unusable
from energy_etl.transform.cleaning_story import (
    GRACE_S,
    Floats,
    Ints,
    Kind,
    Limit,
    fall_kind,
    tell_story,
)

# No counter of a building shows 10^12 of anything; vendors use such numbers as "no value".
IMPLAUSIBLE_NATIVE: Final = 1e12
# Without a declared rating a step is suspect above this many times the register's own 99th
# percentile.
SUSPECT_FACTOR: Final = 20.0
SUSPECT_QUANTILE: Final = 0.99
# How many readings to either side may contradict a growing step: as long as a hole can be (ten
# readings), and less in a history that is too short to have steps that nothing contradicts.
CONTRADICTION_REACHES: Final = (10, 3, 1, 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What each segment can do, one value per segment.

    Attributes:
        rate_per_s: declared rating per second (inf: none declared, only falls are impossible).
        resolution: smallest step.
        modulus: 10 to the integer digits (nan: unknown).
    """

    rate_per_s: Floats
    resolution: Floats
    modulus: Floats

    def allow(self, segment: Ints, dt_s: Floats) -> Floats:
        """Return the most that segments can grow in `dt_s` seconds, one value per step."""
        return self.rate_per_s[segment] * (dt_s + GRACE_S) + self.resolution[segment]

    def allow_all(self, dt_s: float) -> float:
        """Return what every segment can grow in `dt_s` seconds."""
        return float(self.rate_per_s.min() * (dt_s + GRACE_S) + self.resolution.min())

    def of(self, segment: int, rate_per_s: float) -> Limit:
        """Return one segment's limit with the rate to judge it by."""
        return Limit(
            rate_per_s=rate_per_s,
            resolution=float(self.resolution[segment]),
            modulus=float(self.modulus[segment]),
            is_rated=bool(np.isfinite(self.rate_per_s[segment])),
        )


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The kept readings and what is to be said about them.

    Attributes:
        kept: rows of the input that are kept, in order, with all their columns.
        event_row: rows of `kept` whose step is a rollover, a reset or a change of level.
        event_kind: the `Kind` of each.
        event_energy: energy of each in the register's unit; nan for a change of level.
        suspect_row: rows of `kept` whose growth is far beyond what the register usually does.
        dropped: the other rows of the input (`DROPPED_SCHEMA`): `row` is the row of the input,
            `before` and `after` the kept values around it, `next_row` the row of `kept` that
            follows it, `rule` why it was dropped.
    """

    kept: pl.DataFrame
    event_row: Ints
    event_kind: Ints
    event_energy: Floats
    suspect_row: Ints
    dropped: pl.DataFrame


def clean_readings(readings: pl.DataFrame, limits: Limits) -> Cleaned:
    """Keep the readings that make the cheapest story.

    Args:
        readings: `segment` (Int64: a register, or one side of a declared exchange), `at_us`
            (Int64), `reading` (Float64, may be null or NaN), sorted and unique by the first two;
            `is_trusted` (Boolean, may be missing: none): a person says that this finite value is
            right, so it is kept and never suspect, whatever it makes of the steps beside it.
        limits: one value per segment number.

    Returns:
        What is kept, what each step is, and what was dropped. An empty frame gives empty ones.
    """
    is_usable = readings["reading"].is_between(0.0, IMPLAUSIBLE_NATIVE, closed="left")
    is_usable = is_usable.fill_null(False)
    if "is_trusted" in readings.columns:
        is_usable |= readings["is_trusted"]
    if is_usable.all():
        return _Cleaning(readings, limits).result(DROPPED_SCHEMA.to_frame(), None)
    usable_row = np.flatnonzero(is_usable.to_numpy())
    unusable = readings.with_row_index("row").filter(~is_usable)
    return _Cleaning(readings.filter(is_usable), limits).result(name_unusable(unusable), usable_row)


def seen_rate_per_s(at_us: Ints, reading: Floats) -> float:
    """Return the rate beyond which growth is suspect, from the register's own history.

    20 times the 99th percentile (lower) of its growing steps, without the steps that readings
    near them contradict: the rise to a false high reading and the return from a false low one are
    no growth. inf when nothing ever grew.
    """
    grown = np.diff(reading)
    rate = grown / (np.diff(at_us) / 1e6 + GRACE_S)
    is_growth = grown > 0
    for reach in CONTRADICTION_REACHES:
        if reach >= len(reading):
            continue
        was_higher = _sliding_max(reading, reach)[:-1] > reading[:-1]
        gets_lower = -_sliding_max(-reading[::-1], reach)[::-1][1:] < reading[1:]
        rates = rate[is_growth & ~was_higher & ~gets_lower]
        if rates.size:
            return SUSPECT_FACTOR * float(np.quantile(rates, SUSPECT_QUANTILE, method="lower"))
    return np.inf


def _sliding_max(values: Floats, reach: int) -> Floats:
    """Return, for each value, the greatest of it and the `reach` values before it."""
    highest = values.copy()
    for back in range(1, reach + 1):
        np.maximum(highest[back:], values[:-back], out=highest[back:])
    return highest


class _Cleaning:
    """One pass over usable readings (finite, not negative)."""

    def __init__(self, readings: pl.DataFrame, limits: Limits) -> None:
        self.readings = readings.rechunk()
        self.limits = limits
        self.segment = self.readings["segment"].to_numpy()
        self.at_us = self.readings["at_us"].to_numpy()
        self.x = self.readings["reading"].to_numpy()
        has_trusted = "is_trusted" in readings.columns and readings["is_trusted"].any()
        self.is_trusted = self.readings["is_trusted"].to_numpy() if has_trusted else None
        self.events: dict[int, Kind] = {}
        self._seen: dict[int, float] = {}

    def result(self, dropped: pl.DataFrame, usable_row: Ints | None) -> Cleaned:
        """Clean, and put `dropped` (what was not usable) beside what is dropped here."""
        is_kept = self._decide()
        if is_kept is None:
            kept = self.readings
            nothing = np.empty(0, np.int64)
            return Cleaned(
                kept,
                nothing,
                nothing,
                np.empty(0),
                self._unless_trusted(kept, self._suspects(kept, nothing)),
                dropped,
            )
        kept_at = np.flatnonzero(is_kept)
        kept = self.readings.filter(pl.Series(is_kept))
        at = np.asarray(sorted(self.events), dtype=np.int64)
        kinds = np.asarray([self.events[i] for i in at.tolist()], dtype=np.int64)
        rows = np.searchsorted(kept_at, at)
        is_jump = kinds == Kind.JUMP
        energy = self._energies(at, kept_at[rows - 1], kinds)
        here = name_dropped(self.readings, np.flatnonzero(~is_kept), kept_at, usable_row)
        suspects = np.union1d(self._suspects(kept, rows[~is_jump]), rows[is_jump])
        return Cleaned(
            kept,
            rows[~is_jump],
            kinds[~is_jump],
            energy[~is_jump],
            self._unless_trusted(kept, suspects),
            pl.concat([dropped, here]).sort("row") if dropped.height else here,
        )

    def _decide(self) -> np.ndarray | None:
        """Return True per kept reading; None when all are kept and every step is growth."""
        zeros = self._without_zero_segments(np.flatnonzero(self.x == 0))
        if self.is_trusted is not None:
            zeros = zeros[~self.is_trusted[zeros]]
        if zeros.size:
            is_kept = np.ones(len(self.x), dtype=bool)
            is_kept[zeros] = False
            position = np.flatnonzero(is_kept)
        else:
            is_kept, position = None, None
        dropped = self._drop_and_explain(position)
        if is_kept is None:
            if not dropped.size and not self.events:
                return None
            is_kept = np.ones(len(self.x), dtype=bool)
        is_kept[dropped] = False
        if zeros.size:
            self._give_zeros_back(zeros, is_kept)
        return is_kept

    def _without_zero_segments(self, zeros: Ints) -> Ints:
        """Leave out the zeros of segments that have nothing but zeros: those are kept."""
        if not zeros.size:
            return zeros
        of = self.segment[zeros]
        here, n_zeros = np.unique(of, return_counts=True)
        n_all = np.searchsorted(self.segment, here, "right") - np.searchsorted(self.segment, here)
        return zeros[~np.isin(of, here[n_zeros == n_all])]

    def _drop_and_explain(self, position: Ints | None) -> Ints:
        """Return the positions to drop; put the events into `self.events`.

        Args:
            position: the readings to choose from; None: all.
        """
        segment, at_us, x, is_trusted = self.segment, self.at_us, self.x, self.is_trusted
        if position is not None:
            segment, at_us, x = segment[position], at_us[position], x[position]
            is_trusted = None if is_trusted is None else is_trusted[position]
        bad = _find_bad_steps(segment, at_us, x, self.limits)
        if not bad.size:
            return bad
        touched = np.unique(segment[bad])
        start = dict(zip(touched.tolist(), np.searchsorted(segment, touched).tolist(), strict=True))
        stop = dict(
            zip(touched.tolist(), np.searchsorted(segment, touched, "right").tolist(), strict=True)
        )
        drops: list[Ints] = []
        of = segment[bad]
        for k in touched.tolist():
            lo, hi = start[k], stop[k]
            limit = self._limit(k, at_us[lo:hi], x[lo:hi])
            here = bad[np.searchsorted(of, k) : np.searchsorted(of, k, "right")] - lo
            if not limit.is_rated:
                # Only falls are known so far; what rises beyond the usual near one is bad too.
                here = limit.find_bad_steps(at_us[lo:hi], x[lo:hi])
            isolated = _isolated(here, at_us[lo:hi], x[lo:hi], limit)
            if is_trusted is not None:
                isolated = isolated[~is_trusted[isolated + lo]]
            drops.append(isolated + lo)
            if 2 * isolated.size == here.size:
                continue
            left = np.delete(np.arange(lo, hi), isolated)
            trusted = None if is_trusted is None else is_trusted[left]
            story = tell_story(at_us[left], x[left], limit, trusted)
            drops.append(left[story.dropped])
            for i, kind in story.events:
                at = int(left[i])
                self.events[at if position is None else int(position[at])] = kind
        dropped = np.sort(np.concatenate(drops).astype(np.int64))
        return dropped if position is None else position[dropped]

    def _limit(self, segment: int, at_us: Ints, x: Floats) -> Limit:
        rate = float(self.limits.rate_per_s[segment])
        if not np.isfinite(rate):
            if segment not in self._seen:
                self._seen[segment] = seen_rate_per_s(at_us, x)
            rate = self._seen[segment]
        return self.limits.of(segment, rate)

    def _give_zeros_back(self, zeros: Ints, is_kept: np.ndarray) -> None:
        """Keep zeros directly before a reset or a rollover, or at the start, where growth follows.

        A zero adds nothing, so it is set aside first; it is believed where the next kept value
        can have grown from it.
        """
        n = len(self.x)
        breaks = (np.diff(zeros) > 1) | (np.diff(self.segment[zeros]) != 0)
        first = zeros[np.concatenate(([True], breaks))]
        last = zeros[np.concatenate((breaks, [True]))]
        following = last + 1
        is_followed = following < n
        first, last, following = (a[is_followed] for a in (first, last, following))
        is_followed = is_kept[following] & (self.segment[following] == self.segment[last])
        first, last, following = (a[is_followed] for a in (first, last, following))
        kept_at = np.flatnonzero(is_kept)
        before = kept_at[np.searchsorted(kept_at, following) - 1]
        has_before = (before < following) & (self.segment[before] == self.segment[following])
        is_event = np.isin(following, np.asarray(sorted(self.events), dtype=np.int64))
        # Zeros that follow a zero somebody trusts are as good as it is.
        is_at_zero = has_before & (self.x[before] == 0)
        for k in np.flatnonzero(~has_before | is_event | is_at_zero).tolist():
            a, b, i = int(first[k]), int(last[k]), int(following[k])
            segment = int(self.segment[i])
            kind = self.events.get(i, Kind.GROWTH)
            limit = self._limit_with_zeros(segment)
            if self.x[i] > limit.allow((self.at_us[i] - self.at_us[b]) / 1e6):
                continue
            if has_before[k] and not is_at_zero[k]:
                j = int(before[k])
                dt_s = float(self.at_us[a] - self.at_us[j]) / 1e6
                can_roll = fall_kind(float(self.x[j]), 0.0, dt_s, limit) is Kind.ROLLOVER
                if kind is not Kind.RESET and not (kind is Kind.ROLLOVER and can_roll):
                    continue
                self.events[a] = self.events.pop(i)
            is_kept[a : b + 1] = True

    def _limit_with_zeros(self, segment: int) -> Limit:
        lo = int(np.searchsorted(self.segment, segment))
        hi = int(np.searchsorted(self.segment, segment, "right"))
        is_positive = self.x[lo:hi] > 0
        return self._limit(segment, self.at_us[lo:hi][is_positive], self.x[lo:hi][is_positive])

    def _energies(self, at: Ints, before: Ints, kinds: Ints) -> Floats:
        grown = self.x[at] - self.x[before]
        energy = grown.copy()
        is_rollover, is_reset = kinds == Kind.ROLLOVER, kinds == Kind.RESET
        energy[is_rollover] += self.limits.modulus[self.segment[at[is_rollover]]]
        energy[is_reset] = self.x[at[is_reset]]
        energy[kinds == Kind.LEVEL] = np.nan
        return energy

    def _unless_trusted(self, kept: pl.DataFrame, rows: Ints) -> Ints:
        if self.is_trusted is None or not rows.size:
            return rows
        return rows[~kept["is_trusted"].to_numpy()[rows]]

    def _suspects(self, kept: pl.DataFrame, events: Ints) -> Ints:
        """Return the rows of `kept` in unrated segments that grew far beyond their usual rate."""
        if np.isfinite(self.limits.rate_per_s).all() or not kept.height:
            return np.empty(0, np.int64)
        x, at_us = kept["reading"].to_numpy(), kept["at_us"].to_numpy()
        segment = kept["segment"].to_numpy()
        rate = np.zeros(len(x))
        rate[1:] = np.diff(x) / (np.diff(at_us) / 1e6 + GRACE_S)
        starts = np.flatnonzero(np.diff(segment, prepend=segment[0] - 1))
        rate[starts] = 0
        rate[events] = 0
        # Exact without a quantile for most: a step above 20 x p99 exists only where at most
        # 1 % of the growing steps come within a twentieth of the highest.
        top = np.maximum.reduceat(rate, starts)
        lengths = np.diff(np.append(starts, len(x)))
        n_grown = np.add.reduceat(rate > 0, starts)
        n_high = np.add.reduceat(rate > np.repeat(top / SUSPECT_FACTOR, lengths), starts)
        is_open = ~np.isfinite(self.limits.rate_per_s[segment[starts]])
        found: list[Ints] = []
        for k in np.flatnonzero(is_open & (top > 0) & (n_high <= 0.01 * n_grown + 1)).tolist():
            here = rate[starts[k] : starts[k] + lengths[k]]
            usual = float(np.quantile(here[here > 0], SUSPECT_QUANTILE, method="lower"))
            found.append(np.flatnonzero(here > SUSPECT_FACTOR * usual) + starts[k])
        return np.concatenate(found) if found else np.empty(0, np.int64)


def _find_bad_steps(segment: Ints, at_us: Ints, x: Floats, limits: Limits) -> Ints:
    """Return each row whose step from the row before, in its segment, falls or grows too much."""
    grown = np.diff(x)
    is_doubtful = grown < 0
    if np.isfinite(limits.rate_per_s).any() and grown.size:
        # What every segment could grow in the shortest step of all is good without a look at its
        # own limit. That leaves next to nothing, at a quarter of the CPU time.
        dt_us = np.diff(at_us)
        dt_us[segment[1:] != segment[:-1]] = dt_us.max()
        is_doubtful |= grown > limits.allow_all(max(dt_us.min(), 0) / 1e6)
    rows = np.flatnonzero(is_doubtful) + 1
    rows = rows[segment[rows] == segment[rows - 1]]
    grown = x[rows] - x[rows - 1]
    allowed = limits.allow(segment[rows], (at_us[rows] - at_us[rows - 1]) / 1e6)
    return rows[(grown < 0) | (grown > allowed)]


def _isolated(bad: Ints, at_us: Ints, x: Floats, limit: Limit) -> Ints:
    """Return the readings that alone stand out between good steps: no other story is cheaper.

    A reading is isolated if the steps to it and from it are bad, the steps beside those are good
    and exist, and the step over it is good.
    """
    if bad.size < 2:
        return np.empty(0, np.int64)
    i = bad[:-1]
    is_pair = np.diff(bad) == 1
    is_free = np.ones(len(i), dtype=bool)
    is_free[1:] &= np.diff(bad)[:-1] > 1
    is_free[:-1] &= np.diff(bad)[1:] > 1
    i = i[is_pair & is_free]
    i = i[(i >= 2) & (i <= len(x) - 3)]
    over = x[i + 1] - x[i - 1]
    allow = limit.rate_per_s * ((at_us[i + 1] - at_us[i - 1]) / 1e6 + GRACE_S) + limit.resolution
    return i[(over >= 0) & (over <= allow)]
