"""How good a vendor's disaggregation is, against the submeters that measure the same appliances.

Names as nilmtk has them, with a formula per metric. Shares are `disaggregation.py`'s.
Sorted arrays of all estimates at once, because the frames are the largest there are: joins and
exact sums took five times as long.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import polars as pl

from energy_etl.errors import TransformError
from energy_etl.tables.mart import DISAGGREGATION_SCORE
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.calendar import with_grid
from energy_etl.transform.cleaning_story import Floats, Ints
from energy_etl.transform.disaggregation import SUBMETER_ROLES
from energy_etl.transform.registers_grid import US_PER_MINUTE
from energy_etl.transform.windows import is_energy_register
from energy_etl.units import WH_PER_KWH

MAX_SHIFT: Final = 4

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
_US_PER_HOUR: Final = 60 * US_PER_MINUTE
_ESTIMATE: Final = ("meter_id", "vendor", "appliance")
_LONGEST_AXIS_US: Final = 2**63 - 1


def compute_disaggregation_scores(
    appliance_intervals: pl.DataFrame,
    intervals: pl.DataFrame | pl.LazyFrame,
    registers: pl.DataFrame,
) -> pl.DataFrame:
    """Score each vendor's estimate of an appliance against the submeter that measures it.

    The truth is the primary electricity register of the meter's site with role submeter or
    appliance whose `appliance` is the vendor's name for it; where two registers share a name
    there is no one truth, and no score. It is added up to the estimate's intervals; one counts
    only when the submeter's intervals tile it exactly and each was measured and is confirmed (a
    linear split of a gap is no truth).

    With y the truth and p the estimate: error in assigned energy = abs(sum y - sum p);
    NEP = sum abs(y-p) / sum y; NDE = sqrt(sum (y-p)^2 / sum y^2), with the root;
    F1 = 2 TP / (2 TP + FP + FN) of "mean power above the appliance's threshold". The floor is
    the estimate that is always zero: NEP 1, NDE 1, F1 0; an estimate above 1 is worse than none.
    `best_shift_minutes` is the shift of the estimate, of at most four of its own intervals either
    way, with the least NEP (positive: it must be moved to later times; 0 when nothing is better),
    `nep_aligned` the NEP it then has, on the intervals that have both.

    Args:
        appliance_intervals: `core.appliance_interval`, one row per key.
        intervals: `core.interval`, in any order.
        registers: `core.register`.

    Returns:
        `mart.disaggregation_score`, sorted by meter_id, vendor, appliance; no row for an estimate
        that shares no interval with a submeter. Ratios with a zero denominator are null. An
        estimate that is no number is left out.
    """
    pairs = _pair_with_truth(appliance_intervals, registers)
    if pairs.is_empty():
        return DISAGGREGATION_SCORE.empty_frame()
    beside = _truth_beside_estimate(appliance_intervals, intervals, pairs)
    return (
        _score(beside, pairs["on_threshold_w"].to_numpy())
        .join(_best_shift(beside), on="lane", how="left")
        .join(pairs, on="lane")
        .select(DISAGGREGATION_SCORE.polars_schema.names())
        .cast(DISAGGREGATION_SCORE.polars_schema)
        .sort(DISAGGREGATION_SCORE.key)
    )


@dataclass(frozen=True, slots=True)
class _Beside:
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


def _pair_with_truth(appliance_intervals: pl.DataFrame, registers: pl.DataFrame) -> pl.DataFrame:
    """One row per estimate that a submeter can judge: its key, register_id, step_us.

    Numbered from 0: the estimate as `lane`, the register as `truth`.
    """
    estimates = appliance_intervals.select(_ESTIMATE).unique()
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


def _truth_beside_estimate(
    appliance_intervals: pl.DataFrame,
    intervals: pl.DataFrame | pl.LazyFrame,
    pairs: pl.DataFrame,
) -> _Beside:
    """Add up the truth within each interval of each estimate, where its intervals tile it."""
    estimates = _sorted(
        appliance_intervals.select(
            _numbers(appliance_intervals, pairs.select(*_ESTIMATE, number="lane")).alias("lane"),
            *_microseconds(),
            "energy_kwh",
        ).filter(pl.col("lane").is_not_null(), pl.col("energy_kwh").is_finite()),
        "lane",
        "start_us",
    )
    truth = _truth(estimates, intervals, pairs)
    lane = estimates["lane"].to_numpy()
    start_us, end_us = estimates["start_us"].to_numpy(), estimates["end_us"].to_numpy()
    # One axis for all registers, so that finding the truth is a single look-up.
    origin_us, width_us = truth.origin_us, truth.width_us
    base = pairs["truth"].to_numpy().astype(np.int64)[lane] * width_us - origin_us
    first = np.searchsorted(truth.axis, base + start_us)
    stop = np.searchsorted(truth.axis, base + end_us)
    tiled_us = (stop - first) * pairs["step_us"].to_numpy()[lane]
    tiles = np.flatnonzero((tiled_us == end_us - start_us) & (stop > first))
    # All of them lie within; they fill it when the last one ends with it.
    tiles = tiles[truth.end_us[stop[tiles] - 1] == end_us[tiles]]
    own_kwh = np.full(len(lane), np.nan)
    if tiles.size:
        bounds = np.column_stack((first[tiles], stop[tiles])).ravel()
        own_kwh[tiles] = np.add.reduceat(np.append(truth.energy_kwh, 0.0), bounds)[::2]
    return _Beside(lane, start_us, end_us, estimates["energy_kwh"].to_numpy(), own_kwh)


@dataclass(frozen=True, slots=True)
class _Truth:
    """Measured intervals of the registers that judge, sorted by register and start.

    Attributes:
        axis: register's number * `width_us` + start - `origin_us`.
        end_us: end of the interval.
        energy_kwh: its energy.
        origin_us: the earliest start of an estimate.
        width_us: more than all estimates span.
    """

    axis: Ints
    end_us: Ints
    energy_kwh: Floats
    origin_us: int
    width_us: int


def _truth(
    estimates: pl.DataFrame, intervals: pl.DataFrame | pl.LazyFrame, pairs: pl.DataFrame
) -> _Truth:
    first_us, last_us = estimates.select(
        pl.col("start_us").min().fill_null(0), pl.col("end_us").max().fill_null(0)
    ).row(0)
    width_us = last_us - first_us + 1
    n_truths = int(pairs["truth"].max()) + 1  # pyright: ignore[reportArgumentType]
    if n_truths * width_us > _LONGEST_AXIS_US:
        raise TransformError(
            f"{n_truths} submeters and {width_us // _US_PER_HOUR} hours are too many for one "
            "computation of scores: compute fewer sites or a shorter time at once."
        )
    frame = (
        intervals.lazy()
        .filter(
            pl.col("quality").is_in(("measured", "integrated"))
            & ~pl.col("is_provisional")
            & pl.col("energy_kwh").is_finite()
        )
        .select("register_id", *_microseconds(), "energy_kwh")
        .filter(pl.col("start_us") >= first_us, pl.col("end_us") <= last_us)
        .collect(engine="streaming")
    )
    number = _numbers(frame, pairs.select("register_id", number="truth").unique())
    axis = number * width_us + frame["start_us"] - first_us
    rows = _sorted(
        frame.select(axis.alias("axis"), "end_us", "energy_kwh").drop_nulls("axis"), "axis"
    )
    return _Truth(
        rows["axis"].to_numpy(),
        rows["end_us"].to_numpy(),
        rows["energy_kwh"].to_numpy(),
        first_us,
        width_us,
    )


def _numbers(frame: pl.DataFrame, known: pl.DataFrame) -> pl.Series:
    """Return each row's `number` of the one whose other columns are the same, null for none."""
    keys = [name for name in known.columns if name != "number"]
    is_new = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in keys)
    starts = frame.select(is_new.arg_true()).to_series().to_numpy()
    known = known.cast({"number": pl.Int64})
    if starts.size > frame.height // 8:
        return frame.select(keys).join(known, on=keys, how="left", maintain_order="left")["number"]
    # Mostly sorted, as the warehouse hands them out: look up once per run, not per row.
    runs = frame.select(pl.col(keys).gather(starts))
    numbers = runs.join(known, on=keys, how="left", maintain_order="left")["number"]
    lengths = np.diff(np.append(starts, frame.height))
    return numbers.gather(np.repeat(np.arange(starts.size), lengths))


def _sorted(frame: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """Return the frame sorted; looking takes a tenth of the time and none of the memory."""
    steps = [pl.col(key) - pl.col(key).shift() for key in keys]
    is_after = steps[-1] >= 0
    for step in steps[-2::-1]:
        is_after = (step > 0) | ((step == 0) & is_after)
    return frame if frame.select(is_after.all()).item() else frame.sort(keys)


def _microseconds() -> tuple[pl.Expr, pl.Expr]:
    return (
        pl.col("start_at").dt.epoch("us").alias("start_us"),
        pl.col("end_at").dt.epoch("us").alias("end_us"),
    )


def _score(beside: _Beside, on_threshold_w: Floats) -> pl.DataFrame:
    known = beside.known()
    first = known.first_of_lanes()
    own, vendor = known.own_kwh, known.vendor_kwh
    hours = (known.end_us - known.start_us) / _US_PER_HOUR
    threshold_kwh = on_threshold_w[known.lane] * hours / WH_PER_KWH
    is_on, is_said_on = own > threshold_kwh, vendor > threshold_kwh
    summed = {
        "n_intervals": np.ones(len(own), np.int64),
        "own_kwh": own,
        "vendor_kwh": vendor,
        "absolute": np.abs(own - vendor),
        "squared": (own - vendor) ** 2,
        "own_squared": own**2,
        "own_absolute": np.abs(own),
        "n_both": (is_on & is_said_on).astype(np.int64),
        "n_either": is_on.astype(np.int64) + is_said_on,
    }
    # Sorted by start, so that a sum is the same whatever order the rows came in.
    sums = pl.DataFrame(
        {
            "lane": known.lane[first],
            "from_us": known.start_us[first],
            "to_us": np.maximum.reduceat(known.end_us, first) if first.size else first,
            **{
                name: np.add.reduceat(values, first) if first.size else values
                for name, values in summed.items()
            },
        }
    )
    return sums.with_columns(
        from_at=pl.col("from_us").cast(UTC_INSTANT),
        to_at=pl.col("to_us").cast(UTC_INSTANT),
        error_in_assigned_energy_kwh=(pl.col("own_kwh") - pl.col("vendor_kwh")).abs(),
        nep=pl.when(pl.col("own_kwh") > 0).then(pl.col("absolute") / pl.col("own_kwh")),
        nde=pl.when(pl.col("own_squared") > 0).then(
            (pl.col("squared") / pl.col("own_squared")).sqrt()
        ),
        # Of the estimate that is always zero, by the same formulas.
        nep_floor=pl.when(pl.col("own_kwh") > 0).then(pl.col("own_absolute") / pl.col("own_kwh")),
        nde_floor=pl.when(pl.col("own_squared") > 0).then(1.0),
        # 2 TP + FP + FN is the number of times on by one plus the number by the other.
        f1=pl.when(pl.col("n_either") > 0).then(2.0 * pl.col("n_both") / pl.col("n_either")),
    )


def _best_shift(beside: _Beside) -> pl.DataFrame:
    """Per lane the shift with the least NEP: lane, best_shift_minutes, nep_aligned."""
    first = beside.first_of_lanes()
    length_us = beside.end_us - beside.start_us
    minutes = pl.DataFrame({"lane": beside.lane, "length_us": length_us}).group_by("lane")
    lengths = minutes.agg(minutes=(pl.col("length_us") // US_PER_MINUTE).median())
    is_known, n = np.isfinite(beside.own_kwh), len(beside.lane)
    tried = []
    for shift in range(-MAX_SHIFT, MAX_SHIFT + 1):
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
        tried.append(
            pl.DataFrame(
                {
                    "lane": beside.lane[first],
                    "n": np.add.reduceat(is_comparable, first, dtype=np.int64),
                    "error": np.add.reduceat(error, first),
                    "own": np.add.reduceat(own, first),
                }
            ).with_columns(shift=pl.lit(shift))
        )
    nep = pl.col("error") / pl.col("own")
    rows = pl.concat(tried).with_columns(nep=nep.round(_NEP_DECIMALS), nep_aligned=nep)
    n_unshifted = rows.filter(pl.col("shift") == 0).select("lane", n_unshifted="n")
    return (
        rows.join(n_unshifted, on="lane")
        .join(lengths, on="lane")
        # A few intervals at the edge may fit by chance.
        .filter(pl.col("nep").is_finite() & (2 * pl.col("n") >= pl.col("n_unshifted")))
        .sort("lane", "nep", pl.col("shift").abs(), "shift")
        .unique("lane", keep="first", maintain_order=True)
        .select("lane", "nep_aligned", best_shift_minutes=pl.col("shift") * pl.col("minutes"))
    )
