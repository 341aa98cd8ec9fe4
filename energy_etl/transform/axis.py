"""One sorted axis of integers for many series of instants: what makes a look-up one pass.

Each lane (a zone, a meter's appliance) gets its own stretch of the axis. Finding the stretch of
time that an interval starts in is then one `search_sorted` over all lanes at once, which streams.
It also finds days that no arithmetic on an offset does (a midnight that does not exist, or that
happens twice), and costs no more than a pass per zone with `convert_time_zone`.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl

from energy_etl.errors import TransformError
from energy_etl.transform.cleaning_story import Ints
from energy_etl.transform.registers_grid import ranges

# 2**43 milliseconds are 278 years: what a lane can hold. 2**63 / 2**43 lanes fit.
_LANE_WIDTH: Final = 2**43
_LAST_WITHIN: Final = _LANE_WIDTH - 2
_MAX_LANES: Final = 2**20 - 1
_MICROSECONDS_PER_MILLISECOND: Final = 1000


@dataclass(frozen=True)
class Axis:
    """Sorted edges of all lanes, which lie on whole milliseconds.

    Attributes:
        origin: milliseconds of the earliest edge since 1970.
        edges: sorted keys; of equal ones the last is found.
    """

    origin: int
    edges: pl.Series

    @classmethod
    def from_edges(cls, edges: pl.DataFrame) -> Self:
        """Build it from `lane` (integer from 0) and `edge_at` (instant), at least one row.

        Raises:
            TransformError: more lanes than the axis holds.
        """
        lanes = edges["lane"].n_unique()
        if lanes > _MAX_LANES:
            raise TransformError(
                f"{lanes} zones or appliances are too many for one computation (at most "
                f"{_MAX_LANES}): compute fewer sites at a time."
            )
        origin = edges.select(_milliseconds(pl.col("edge_at")).min()).item()
        key = _key(pl.col("lane"), pl.col("edge_at"), origin)
        return cls(origin, edges.select(key.alias("edge")).to_series().sort())

    def key(self, lane: pl.Expr, at: pl.Expr) -> pl.Expr:
        """Return the place of an instant on its lane; one outside the lane is put at its end."""
        return _key(lane, at, self.origin)

    def stretch(self, lane: pl.Expr, at: pl.Expr) -> pl.Expr:
        """Return the number of the last edge at or before the instant; -1 before all edges.

        An instant before its lane's first edge lands on the last edge of the lane before: give
        each lane a closing edge that no stretch of interest begins at.
        """
        found = pl.lit(self.edges).search_sorted(self.key(lane, at), side="right")
        return found.cast(pl.Int64) - 1

    def cut(self, at: pl.Series, lane: Ints, first: Ints) -> tuple[Ints, Ints]:
        """Cut runs of ascending instants at the edges of their lanes.

        What `stretch` finds row by row, at a fraction of the cost: each edge is looked for among
        the instants.

        Args:
            at: instants, ascending within each run.
            lane: the lane of each run; at most 2**20 - 1 runs.
            first: first row of each run, from 0, ascending.

        Returns:
            First row of each piece, and the number of the last edge at or before it.
        """
        run = np.arange(len(first))
        n_rows = np.diff(first, append=len(at))
        last = first + n_rows - 1
        at_ms = at.dt.epoch("us").to_numpy() // _MICROSECONDS_PER_MILLISECOND
        # Each run on a lane of its own: so all instants ascend.
        keys = np.repeat(run * _LANE_WIDTH, n_rows)
        keys += (at_ms - self.origin).clip(-1, _LAST_WITHIN)
        edges = self.edges.to_numpy()
        to_lane = (lane - run) * _LANE_WIDTH
        low, high = (
            np.searchsorted(edges, keys[rows] + to_lane, "right") - 1 for rows in (first, last)
        )
        edge = ranges(low, high + 1)
        run_of_piece = np.repeat(run, high - low + 1)
        row = np.searchsorted(keys, edges[edge] - to_lane[run_of_piece])
        # The edge at or before a run's first instant.
        row[np.flatnonzero(np.diff(run_of_piece, prepend=-1))] = first
        is_some = np.diff(row, append=len(at)) > 0
        return row[is_some], edge[is_some]


def _key(lane: pl.Expr, at: pl.Expr, origin: int) -> pl.Expr:
    within = (_milliseconds(at) - origin).clip(-1, _LAST_WITHIN)
    return lane.cast(pl.Int64) * _LANE_WIDTH + within


def _milliseconds(at: pl.Expr) -> pl.Expr:
    return at.dt.epoch("us") // _MICROSECONDS_PER_MILLISECOND
