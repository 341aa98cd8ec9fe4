"""The cheapest story: which readings near an impossible step are kept, and what each step is.

One register at a time, plain Python over the few readings near a bad step. What all registers
share (setting readings aside, the vectorised fast path, zeros, names of what was dropped) is in
`cleaning.py`.

A reading is wrong if leaving it out makes a simpler story. Each step between kept readings is
plausible growth (free), a rollover, a reset or an unexplained change of level, at a price;
leaving readings out has a price; the cheapest story wins. Prices are in twentieths, as integers,
so that ties are ties.
"""

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Readings at each end of a run of good steps that are examined, and the longest hole between them.
REACH: Final = 24
DROPPED_AT_AN_END: Final = 20
# A hole of k readings costs 0.45 + 0.55 k: one (1.0) is cheaper than a reset (1.5), a reset is
# cheaper than two at the end (2.0), and the slope above 0.5 never merges two holes across a
# good reading. A concave price kept every total right and threw good readings away by thousands.
HOLE: Final = 9
HOLE_PER_READING: Final = 11
# Without a fall among them, this many readings may be left out at an end: as many as a change of
# level costs. Else a rating that is too low, where every step is bad, would cost all of them.
UNFALLEN_AT_AN_END: Final = 6
IMPOSSIBLE: Final = 1 << 60
GRACE_S: Final = 60.0


class Kind(IntEnum):
    """What the step to a kept reading is."""

    GROWTH = 0
    ROLLOVER = 1
    RESET = 2
    LEVEL = 3
    EXCHANGE = 4
    # Growth beyond what the register ever did, with no rating to forbid it: kept and suspect.
    JUMP = 5


PRICE: Final = {Kind.GROWTH: 0, Kind.ROLLOVER: 10, Kind.RESET: 30, Kind.LEVEL: 120, Kind.JUMP: 120}


@dataclass(frozen=True, slots=True)
class Limit:
    """What one register can do.

    Attributes:
        rate_per_s: the most it can count in a second (inf: nothing known).
        resolution: the smallest step it can show.
        modulus: 10 to its integer digits (nan: unknown, so it never rolls over).
        is_rated: False when the rate was only seen, not declared: growth beyond it is then
            suspect, not impossible.
    """

    rate_per_s: float
    resolution: float
    modulus: float
    is_rated: bool

    def allow(self, dt_s: float) -> float:
        """Return the most the register can grow in `dt_s` seconds."""
        return self.rate_per_s * (dt_s + GRACE_S) + self.resolution

    def find_bad_steps(self, at_us: Ints, reading: Floats) -> Ints:
        """Return each index whose step from the reading before falls or grows too much."""
        grown = np.diff(reading)
        allow = self.rate_per_s * (np.diff(at_us) / 1e6 + GRACE_S) + self.resolution
        return np.flatnonzero((grown < 0) | (grown > allow)) + 1


@dataclass(frozen=True, slots=True)
class Story:
    """What is dropped, and each step that is no growth, by index of the readings told."""

    dropped: list[int]
    events: list[tuple[int, Kind]]


def tell_story(
    at_us: Ints, reading: Floats, limit: Limit, is_trusted: Bools | None = None
) -> Story:
    """Return the cheapest story of one register.

    Args:
        at_us: instants in microseconds, strictly increasing.
        reading: the counter's values, all above 0 (zeros are judged afterwards) but trusted ones.
        limit: what the register can do.
        is_trusted: True for readings that no story may leave out; None: there are none.

    Returns:
        The story; with no bad step, an empty one.
    """
    bad = limit.find_bad_steps(at_us, reading)
    if not bad.size:
        return Story([], [])
    trusted = np.zeros(len(reading), dtype=bool) if is_trusted is None else is_trusted
    story = _Telling(at_us, reading, limit, bad, trusted).cheapest()
    return _drop_returns(story, at_us, reading, limit, trusted)


class _Telling:
    """The search itself: a Viterbi over the ends of each run of good steps."""

    def __init__(
        self, at_us: Ints, reading: Floats, limit: Limit, bad: Ints, is_trusted: Bools
    ) -> None:
        n = len(reading)
        self.limit = limit
        self.n = n
        edges = [0, *bad.tolist(), n]
        self.candidates: list[int] = []
        self.first_in_run: list[int] = []  # position of the run's first candidate, per candidate
        for start, stop in pairwise(edges):
            first = len(self.candidates)
            if stop - start <= 2 * REACH:
                self.candidates.extend(range(start, stop))
            else:
                self.candidates.extend(range(start, start + REACH))
                self.candidates.extend(range(stop - REACH, stop))
            self.first_in_run.extend([first] * (len(self.candidates) - first))
        at = np.asarray(self.candidates)
        self.at_s: list[float] = (at_us[at] / 1e6).tolist()
        self.x: list[float] = reading[at].tolist()
        falls = np.concatenate(([0], np.cumsum(np.diff(reading) < 0)))
        self.n_falls = int(falls[-1])
        self.falls: list[int] = falls[at].tolist()
        # The last candidate with fewer falls up to it: where holes that contain a fall begin.
        self.before_fall: list[int] = (np.searchsorted(falls[at], falls[at]) - 1).tolist()
        trusted = np.concatenate(([0], np.cumsum(is_trusted)))
        self.n_trusted = int(trusted[-1])
        self.trusted_before: list[int] = trusted[at].tolist()
        self.trusted_up_to: list[int] = trusted[at + 1].tolist()

    def cheapest(self) -> Story:
        """Run the search and walk back from its cheapest end."""
        costs: list[int] = []
        back: list[tuple[int, Kind]] = []
        for p in range(len(self.candidates)):
            cost, before, kind = self._best_link(p, costs)
            costs.append(cost)
            back.append((before, kind))
        # Of equally cheap ends the larger reading is kept: a dip is dropped, not its neighbour.
        end = min(
            range(len(costs)),
            key=lambda p: (
                costs[p]
                + _price_at_an_end(
                    self.n - 1 - self.candidates[p],
                    self.n_falls > self.falls[p],
                    self.n_trusted > self.trusted_up_to[p],
                ),
                -self.x[p],
            ),
        )
        dropped = list(range(self.candidates[end] + 1, self.n))
        events: list[tuple[int, Kind]] = []
        p = end
        while True:
            before, kind = back[p]
            if kind is not Kind.GROWTH:
                events.append((self.candidates[p], kind))
            if before < 0:
                dropped.extend(range(self.candidates[p]))
                break
            if self.first_in_run[before] != self.first_in_run[p]:
                dropped.extend(range(self.candidates[before] + 1, self.candidates[p]))
            p = before
        return Story(sorted(dropped), events[::-1])

    def _best_link(self, p: int, costs: list[int]) -> tuple[int, int, Kind]:
        """Return the cheapest cost at candidate p, the candidate kept before it, and the step."""
        i = self.candidates[p]
        best = _price_at_an_end(i, self.falls[p] > 0, self.trusted_before[p] > 0)
        best_before, best_kind = -1, Kind.GROWTH
        best_x = -1.0
        q = p - 1
        if q >= self.first_in_run[p]:
            # Within a run of good steps nothing is left out.
            if costs[q] <= best:
                best, best_before, best_x = costs[q], q, self.x[q]
            q = self.first_in_run[p] - 1
        elif q >= 0:
            kind, price = self._step(q, p)
            if costs[q] + price <= best:
                best, best_before, best_kind = costs[q] + price, q, kind
                best_x = self.x[q]
            q -= 1
        # A hole without a fall in it is a jump, not a glitch: else an upward jump would be
        # absorbed by dropping the readings beside it.
        q = min(q, self.before_fall[p])
        while q >= 0:
            hole = i - self.candidates[q] - 1
            if hole > REACH or self.trusted_up_to[q] < self.trusted_before[p]:
                break
            cost = costs[q] + (HOLE + HOLE_PER_READING * hole if hole else 0)
            if cost <= best:
                kind, price = self._step(q, p)
                cost += price
                if cost < best or (cost == best and self.x[q] > best_x):
                    best, best_before, best_kind, best_x = cost, q, kind, self.x[q]
            q -= 1
        return best, best_before, best_kind

    def _step(self, q: int, p: int) -> tuple[Kind, int]:
        """Return what the step from one candidate to another is, and its price."""
        dt_s = self.at_s[p] - self.at_s[q]
        before, after = self.x[q], self.x[p]
        if after < before:
            kind = fall_kind(before, after, dt_s, self.limit)
        elif after - before <= self.limit.allow(dt_s):
            kind = Kind.GROWTH
        else:
            kind = Kind.LEVEL if self.limit.is_rated else Kind.JUMP
        return kind, PRICE[kind]


def _price_at_an_end(n_dropped: int, has_fall: bool, has_trusted: bool) -> int:
    if has_trusted or n_dropped > (REACH if has_fall else UNFALLEN_AT_AN_END):
        return IMPOSSIBLE
    return DROPPED_AT_AN_END * n_dropped


def fall_kind(before: float, after: float, dt_s: float, limit: Limit) -> Kind:
    """Say what a fall from `before` to `after` within `dt_s` seconds is, if it is believed."""
    if after < 0:
        # Only a person can make a negative reading count; no counter starts again there.
        return Kind.LEVEL
    allow = limit.allow(dt_s)
    # False with an unknown modulus (nan). Without any known rate every fall would be plausible.
    if limit.rate_per_s < np.inf and 0 <= limit.modulus - before + after <= allow:
        return Kind.ROLLOVER
    if after <= 0.5 * before and after <= allow:
        return Kind.RESET
    return Kind.LEVEL


def _drop_returns(story: Story, at_us: Ints, x: Floats, limit: Limit, is_trusted: Bools) -> Story:
    """Drop a segment that returns to where it left, whatever its length.

    A | S | B with a change of level from S to B, plausible growth from the last reading of A to
    the first of B, a fall at one of S's ends, and no more readings in S than in A and B: another
    register was read for a while. A segment with a trusted reading stays.
    """
    turns = {i for i, kind in story.events if kind in (Kind.LEVEL, Kind.JUMP)}
    if not turns or len(story.events) < 2:
        return story
    segments = _segments(story, len(x))
    dropped = set(story.dropped)
    kinds = dict(story.events)
    k = 1
    while k < len(segments) - 1:
        a, s, b = segments[k - 1], segments[k], segments[k + 1]
        d = float(x[b[0]] - x[a[-1]])
        dt_s = float(at_us[b[0]] - at_us[a[-1]]) / 1e6
        if (
            int(b[0]) in turns
            and 0 <= d <= limit.allow(dt_s)
            and (x[s[0]] < x[a[-1]] or x[b[0]] < x[s[-1]])
            and len(s) <= len(a) + len(b)
            and not is_trusted[s].any()
        ):
            dropped.update(s.tolist())
            del kinds[int(s[0])], kinds[int(b[0])]
            segments[k - 1 : k + 2] = [np.concatenate((a, b))]
            k = max(1, k - 1)
        else:
            k += 1
    return Story(sorted(dropped), sorted(kinds.items()))


def _segments(story: Story, n: int) -> list[Ints]:
    """Cut the kept readings at each event."""
    is_kept = np.ones(n, dtype=bool)
    is_kept[story.dropped] = False
    kept = np.flatnonzero(is_kept)
    cuts = np.searchsorted(kept, [i for i, _ in story.events])
    return np.split(kept, cuts)
