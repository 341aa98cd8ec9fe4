"""Vendors' estimates beside the submeters that measure the same appliances, as sorted arrays.

What is made of them is in `disaggregation_scores.py` and `disaggregation_total.py`. Sorted arrays
of all estimates at once, because the frames are the largest there are: joins and exact sums took
five times as long.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import polars as pl

from energy_etl.errors import TransformError
from energy_etl.transform.calendar import with_grid
from energy_etl.transform.cleaning_story import Floats, Ints
from energy_etl.transform.disaggregation import SUBMETER_ROLES
from energy_etl.transform.registers_grid import US_PER_MINUTE
from energy_etl.transform.runs import MIN_ROWS, first_of_runs, numbers_of
from energy_etl.transform.windows import is_energy_register

MAX_SHIFT: Final = 4
US_PER_HOUR: Final = 60 * US_PER_MINUTE

# Mean power above which an appliance counts as on, as in the literature on nilmtk's F1.
_ON_THRESHOLD_W: Final = {
    "kettle": 2000.0,
    "microwave": 200.0,
    "fridge": 50.0,
    "washingMachine": 20.0,
    "dishwasher": 10.0,
}
_DEFAULT_THRESHOLD_W: Final = 10.0
# What differs by the last bits of a sum is no better.
_NEP_DECIMALS: Final = 12
# A shift has to take away a tenth of the error: a flat load fits almost alike wherever it is moved.
_MAX_NEP_SHARE: Final = 0.9
_ESTIMATE: Final = ("meter_id", "vendor", "appliance")
_LONGEST_AXIS_US: Final = 2**63 - 1
# What is made on the way is used again while it is in the cache: four times as many took a fifth
# more CPU time.
_ROWS_PER_BLOCK: Final = 1 << 17


@dataclass(frozen=True, slots=True)
class Beside:
    """Every interval of every estimate, sorted by lane and start.

    Attributes:
        lane: number of the estimate.
        start_us: start of the interval.
        end_us: its end.
        vendor_kwh: the estimate.
        own_kwh: the truth; nan where unknown.
    """

    lane: Ints
    start_us: Ints
    end_us: Ints
    vendor_kwh: Floats
    own_kwh: Floats

    def known(self) -> Self:
        """Return the intervals whose truth is known."""
        at = np.flatnonzero(np.isfinite(self.own_kwh))
        return type(self)(
            self.lane[at],
            self.start_us[at],
            self.end_us[at],
            self.vendor_kwh[at],
            self.own_kwh[at],
        )

    def first_of_lanes(self) -> Ints:
        """Return the place of each lane's first interval."""
        return np.flatnonzero(np.diff(self.lane, prepend=-1))

    def blocks(self) -> Iterator[Self]:
        """Yield whole lanes, as many at once as stay in the processor's cache."""
        n_rows = len(self.lane)
        ends = np.append(self.first_of_lanes()[1:], n_rows)
        start = 0
        while True:
            fitting = np.searchsorted(ends, start + _ROWS_PER_BLOCK, "right") - 1
            stop = int(
                ends[max(fitting, min(np.searchsorted(ends, start, "right"), len(ends) - 1))]
            )
            yield type(self)(
                self.lane[start:stop],
                self.start_us[start:stop],
                self.end_us[start:stop],
                self.vendor_kwh[start:stop],
                self.own_kwh[start:stop],
            )
            start = stop
            if start == n_rows:
                return

    def shifted(self, by_rows: Ints) -> Self:
        """Return it with each lane's estimate moved by so many of its own intervals.

        Positive: to later times. Where no estimate lies the wanted time away the truth counts as
        unknown.

        Args:
            by_rows: shift per lane.
        """
        shift = by_rows[self.lane]
        wanted = np.arange(len(self.lane)) - shift
        source = np.clip(wanted, 0, len(self.lane) - 1)
        is_there = (
            (source == wanted)
            & (self.lane[source] == self.lane)
            & (self.start_us - self.start_us[source] == (self.end_us - self.start_us) * shift)
        )
        own_kwh = np.where(is_there, self.own_kwh, np.nan)
        return replace(self, vendor_kwh=self.vendor_kwh[source], own_kwh=own_kwh)


def pair_with_truth(appliance_intervals: pl.DataFrame, registers: pl.DataFrame) -> pl.DataFrame:
    """Return one row per estimate that a submeter can judge: its key, register_id, step_us.

    Numbered from 0: the estimate as `lane`, the register as `truth`.
    """
    first = first_of_runs([appliance_intervals[name] for name in _ESTIMATE])
    estimates = appliance_intervals.select(pl.col(_ESTIMATE).gather(first)).unique()
    sites = registers.select("meter_id", "site_id").unique()
    is_truth = (
        is_energy_register()
        & (pl.col("commodity") == "electricity")
        & pl.col("role").is_in(SUBMETER_ROLES)
        & pl.col("is_primary")
    )
    truths = (
        with_grid(registers.filter(is_truth))
        .filter(pl.len().over("site_id", "appliance") == 1)
        .select("site_id", "appliance", "register_id", "step_us")
    )
    return (
        estimates.join(sites, on="meter_id")
        .join(truths, on=["site_id", "appliance"])
        .sort(_ESTIMATE)
        .with_row_index("lane")
        .with_columns(
            truth=pl.col("register_id").rank("dense") - 1,
            on_threshold_w=pl.col("appliance").replace_strict(
                _ON_THRESHOLD_W, default=_DEFAULT_THRESHOLD_W, return_dtype=pl.Float64
            ),
        )
    )


def lay_beside(
    appliance_intervals: pl.DataFrame,
    intervals: pl.DataFrame | pl.LazyFrame,
    pairs: pl.DataFrame,
) -> Beside:
    """Add up the truth within each interval of each estimate, where its intervals tile it.

    Args:
        appliance_intervals: `core.appliance_interval`, one row per key, in any order.
        intervals: `core.interval`, in any order.
        pairs: as `pair_with_truth` gives them.

    Raises:
        TransformError: too many submeters over too long a time for one axis.
    """
    known = pairs.select(*_ESTIMATE, number=pl.col("lane").cast(pl.Int64))
    estimates = appliance_intervals.select(
        numbers_of(appliance_intervals, known).alias("lane"), *_microseconds(), "energy_kwh"
    )
    is_judged = estimates["lane"].is_not_null() & estimates["energy_kwh"].is_finite()
    # Nearly always all of them, and filtering copies every column.
    if not is_judged.all():
        estimates = estimates.filter(is_judged)
    estimates = _sorted(estimates, "lane", "start_us")
    lane = estimates["lane"].to_numpy()
    start_us, end_us = estimates["start_us"].to_numpy(), estimates["end_us"].to_numpy()
    truths = pairs.select("register_id", "step_us", number="truth").unique()
    measured = Measured.within(intervals, truths, start_us, end_us)
    own_kwh = measured.sums(pairs["truth"].to_numpy().astype(np.int64)[lane], start_us, end_us)
    return Beside(lane, start_us, end_us, estimates["energy_kwh"].to_numpy(), own_kwh)


@dataclass(frozen=True, slots=True)
class Measured:
    """Measured intervals of numbered registers, sorted by register and start.

    Attributes:
        axis: register's number * `width_us` + start - `origin_us`: one axis for all registers, so
            that finding an interval is a single look-up.
        end_us: end of the interval.
        energy_kwh: its energy.
        step_us: length of a register's intervals, by number.
        origin_us: the earliest start that is asked for.
        width_us: more than all that is asked for spans.
    """

    axis: Ints
    end_us: Ints
    energy_kwh: Floats
    step_us: Ints
    origin_us: int
    width_us: int

    @classmethod
    def within(
        cls,
        intervals: pl.DataFrame | pl.LazyFrame,
        registers: pl.DataFrame,
        start_us: Ints,
        end_us: Ints,
    ) -> Self:
        """Take what was measured and confirmed between the first start and the last end.

        Args:
            intervals: `core.interval`, in any order.
            registers: register_id, step_us and `number`, from 0 without a hole.
            start_us: starts that will be asked for.
            end_us: their ends.

        Raises:
            TransformError: too many registers over too long a time for one axis.
        """
        first_us = int(start_us.min()) if start_us.size else 0
        last_us = int(end_us.max()) if end_us.size else 0
        width_us = last_us - first_us + 1
        if registers.height * width_us > _LONGEST_AXIS_US:
            raise TransformError(
                f"{registers.height} submeters and {width_us // US_PER_HOUR} hours are too many "
                "for one computation of scores: compute fewer sites or a shorter time at once."
            )
        frame = (
            intervals.lazy()
            .filter(
                ((pl.col("quality") == "measured") | (pl.col("quality") == "integrated"))
                & ~pl.col("is_provisional")
                & pl.col("energy_kwh").is_finite()
            )
            .select("register_id", *_microseconds(), "energy_kwh")
            .filter(pl.col("start_us") >= first_us, pl.col("end_us") <= last_us)
            .collect(engine="streaming")
        )
        known = registers.select("register_id", pl.col("number").cast(pl.Int64))
        frame = frame.select(
            numbers_of(frame, known).alias("number"), "start_us", "end_us", "energy_kwh"
        )
        rows = _sorted(frame.drop_nulls("number"), "number", "start_us")
        axis = rows["number"] * width_us + rows["start_us"] - first_us
        return cls(
            axis.to_numpy(),
            rows["end_us"].to_numpy(),
            rows["energy_kwh"].to_numpy(),
            registers.sort("number")["step_us"].to_numpy(),
            first_us,
            width_us,
        )

    def sums(self, number: Ints, start_us: Ints, end_us: Ints) -> Floats:
        """Return what a register measured in [start, end); nan where its intervals do not tile it.

        Args:
            number: the register of each stretch.
            start_us: its start.
            end_us: its end.
        """
        energy_kwh = np.full(len(number), np.nan)
        for row in range(0, len(number), _ROWS_PER_BLOCK):
            some = slice(row, row + _ROWS_PER_BLOCK)
            self._add_up(number[some], start_us[some], end_us[some], energy_kwh[some])
        return energy_kwh

    def _add_up(self, number: Ints, start_us: Ints, end_us: Ints, energy_kwh: Floats) -> None:
        """Put the sums of some stretches where they are known."""
        base = number * self.width_us - self.origin_us
        wanted, until = base + start_us, base + end_us
        # Looking among the intervals around these stretches stays in the cache too.
        low, high = np.searchsorted(self.axis, (wanted.min(), until.max()))
        axis, ends = self.axis[low:high], self.end_us[low:high]
        first, stop = np.searchsorted(axis, wanted), np.searchsorted(axis, until)
        tiled_us = (stop - first) * self.step_us[number]
        tiles = np.flatnonzero((tiled_us == end_us - start_us) & (stop > first))
        # All of them lie within; they fill it when the last one ends with it.
        tiles = tiles[ends[stop[tiles] - 1] == end_us[tiles]]
        if tiles.size:
            bounds = np.column_stack((first[tiles], stop[tiles])).ravel()
            # No bound may lie behind the last value.
            values = np.append(self.energy_kwh[low:high], 0.0)
            energy_kwh[tiles] = np.add.reduceat(values, bounds)[::2]


def try_shifts(beside: Beside) -> pl.DataFrame:
    """Compare the truth with each lane's estimate moved by up to `MAX_SHIFT` intervals either way.

    Returns:
        One row per lane and shift, in intervals (positive: to later times): n intervals that have
        both, the error (sum of absolute differences) and the own energy on them, and the minutes
        of the lane's median interval.
    """
    return pl.concat(map(_try_shifts, beside.blocks()))


def _try_shifts(beside: Beside) -> pl.DataFrame:
    first = beside.first_of_lanes()
    length_us = beside.end_us - beside.start_us
    minutes = pl.DataFrame({"lane": beside.lane, "length_us": length_us}).group_by("lane")
    lengths = minutes.agg(minutes=(pl.col("length_us") // US_PER_MINUTE).median())
    is_known, n = np.isfinite(beside.own_kwh), len(beside.lane)
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    n_both, errors, owns = [], [], []
    for shift in shifts:
        # By row, not by a join: a row whose neighbour is not the wanted time away is left out.
        to = slice(max(shift, 0), max(n + min(shift, 0), 0))
        by = slice(max(-shift, 0), max(n - max(shift, 0), 0))
        is_comparable = np.zeros(n, dtype=bool)
        is_comparable[to] = (
            is_known[to]
            & (beside.lane[to] == beside.lane[by])
            & (beside.start_us[to] - beside.start_us[by] == length_us[to] * shift)
        )
        error = np.zeros(n)
        np.abs(beside.own_kwh[to] - beside.vendor_kwh[by], out=error[to])
        error[~is_comparable] = 0.0
        own = np.where(is_comparable, beside.own_kwh, 0.0)
        n_both.append(np.add.reduceat(is_comparable, first, dtype=np.int64))
        errors.append(np.add.reduceat(error, first))
        owns.append(np.add.reduceat(own, first))
    return pl.DataFrame(
        {
            "lane": np.tile(beside.lane[first], len(shifts)),
            "shift": np.repeat(shifts, len(first)),
            "n": np.concatenate(n_both),
            "error": np.concatenate(errors),
            "own": np.concatenate(owns),
        }
    ).join(lengths, on="lane")


def best_shift(tried: pl.DataFrame, by: str) -> pl.DataFrame:
    """Pick the shift with the least NEP: `by`, shift, best_shift_minutes, nep_aligned.

    No shift (0) unless one takes away a tenth of the error.

    Args:
        tried: `by`, shift, n, error, own, minutes.
        by: what is shifted as one; it has no row when there is no truth.
    """
    nep = pl.col("error") / pl.col("own")
    rows = tried.with_columns(nep=nep.round(_NEP_DECIMALS), nep_aligned=nep)
    unshifted = rows.filter(pl.col("shift") == 0).select(by, n_unshifted="n", nep_unshifted="nep")
    is_better = pl.col("nep") <= _MAX_NEP_SHARE * pl.col("nep_unshifted")
    return (
        rows.join(unshifted, on=by)
        # A few intervals at the edge may fit by chance.
        .filter(pl.col("nep").is_finite() & (2 * pl.col("n") >= pl.col("n_unshifted")))
        .filter((pl.col("shift") == 0) | is_better)
        .sort(by, "nep", pl.col("shift").abs(), "shift")
        .unique(by, keep="first", maintain_order=True)
        .select(
            by,
            "shift",
            "nep_aligned",
            best_shift_minutes=pl.col("shift") * pl.col("minutes"),
        )
    )


def _sorted(frame: pl.DataFrame, number: str, at: str) -> pl.DataFrame:
    """Return the frame sorted by two columns, of which nearly always whole runs must be moved.

    Moving those took a quarter of the time that sorting rows did.
    """
    if frame.is_empty():
        return frame
    numbers, at_us = frame[number].to_numpy(), frame[at].to_numpy()
    is_new = (numbers[1:] != numbers[:-1]) | (at_us[1:] < at_us[:-1])
    first = np.concatenate(([0], np.flatnonzero(is_new) + 1))
    if first.size * MIN_ROWS > frame.height:
        return frame.sort(number, at)
    last = np.append(first[1:], frame.height) - 1
    order = np.lexsort((at_us[first], numbers[first]))
    begins, ends = first[order[1:]], last[order[:-1]]
    is_same = numbers[begins] == numbers[ends]
    if (is_same & (at_us[begins] < at_us[ends])).any():
        return frame.sort(number, at)
    if (np.diff(order) == 1).all():
        return frame
    bounds = zip(first[order].tolist(), last[order].tolist(), strict=True)
    return pl.concat([frame[begin : end + 1] for begin, end in bounds], rechunk=True)


def _microseconds() -> tuple[pl.Expr, pl.Expr]:
    return (
        pl.col("start_at").dt.epoch("us").alias("start_us"),
        pl.col("end_at").dt.epoch("us").alias("end_us"),
    )
