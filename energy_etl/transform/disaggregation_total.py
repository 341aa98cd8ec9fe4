"""How good a vendor's disaggregation of a meter is, all appliances together.

One appliance alone is `disaggregation_scores.py`'s; both look at the same sorted arrays
(`disaggregation_beside.py`).
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from energy_etl.tables.mart import DISAGGREGATION_TOTAL
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.calendar import with_grid
from energy_etl.transform.cleaning_story import Floats, Ints
from energy_etl.transform.disaggregation_beside import (
    Beside,
    Measured,
    best_shift,
    lay_beside,
    pair_with_truth,
    try_shifts,
)
from energy_etl.transform.windows import CONSUMPTION_SIGN, is_energy_register


def compute_disaggregation_totals(
    appliance_intervals: pl.DataFrame,
    intervals: pl.DataFrame | pl.LazyFrame,
    registers: pl.DataFrame,
) -> pl.DataFrame:
    """Score each vendor's disaggregation of a meter: all appliances that a submeter can judge.

    Truth and intervals are those of `compute_disaggregation_scores`; an interval counts when every
    judged appliance has both truth and estimate in it and the consumption is known. An appliance
    that shares no interval with its submeter is not judged.

    Mains is the site's consumption, import + production - export of its primary electricity
    registers, not the import that the vendor sees: the submeters measure what came from the roof
    too, so that beside the import alone they would be parts larger than their whole, and the
    accuracy of an estimate of nothing would fall below 0.5. At a site with PV a vendor that counts
    only what the grid delivered therefore scores lower, on the same ground as the floor. Null, with
    what is made of it, at a site without a mains register.

    With y the truth, p the estimate, per appliance i and interval t:
    fraction of energy assigned correctly = sum_i min(sum_t y / sum_it y, sum_t p / sum_it p), 0 to
    1 (nilmtk); 1 whatever the estimate when one appliance is judged, null when either side has no
    energy, as the estimate of nothing has.
    Total energy accuracy = 1 - sum_it abs(p - y) / (2 * sum_t mains) (Kolter and Johnson 2011), at
    most 1; not below 0 while neither the appliances nor their estimates exceed the mains. Its floor
    is that of the estimate that is always zero: 1 - sum y / (2 * mains).
    Alignment first: `best_shift_minutes` is the shift of all estimates with the least
    sum abs(p - y) / sum y, of at most four intervals either way, and
    `total_energy_accuracy_aligned` the accuracy it then has.

    Args:
        appliance_intervals: `core.appliance_interval`, one row per key.
        intervals: `core.interval` of submeters, mains, production and export, in any order.
        registers: `core.register`.

    Returns:
        `mart.disaggregation_total`, sorted by meter_id, vendor; no row for a meter without a shared
        interval. Ratios with a denominator that is not above 0 are null.

    Raises:
        TransformError: too many submeters over too long a time for one computation.
    """
    pairs = pair_with_truth(appliance_intervals, registers)
    if pairs.is_empty():
        return DISAGGREGATION_TOTAL.empty_frame()
    beside = lay_beside(appliance_intervals, intervals, pairs)
    known = beside.known()
    if not known.lane.size:
        return DISAGGREGATION_TOTAL.empty_frame()
    pairs = pairs.with_columns(
        number=pl.struct("meter_id", "vendor").rank("dense").cast(pl.Int64) - 1
    )
    group_of_lane = pairs["number"].to_numpy()
    meters = pairs.select("number", "site_id", "meter_id", "vendor").unique().sort("number")
    mains = _mains(beside, meters["site_id"], intervals, registers)
    shifts = best_shift(
        try_shifts(beside)
        .join(pairs.select("lane", "number"), on="lane")
        .group_by("number", "shift")
        .agg(pl.col("n", "error", "own").sum(), pl.col("minutes").median()),
        "number",
    )
    by_group = meters.join(shifts, on="number", how="left")["shift"].fill_null(0).to_numpy()
    judged = _judge(known, group_of_lane, mains)
    aligned = judged
    if by_group.any():
        moved = beside.shifted(by_group[group_of_lane])
        aligned = _judge(moved.known(), group_of_lane, mains)
    return (
        judged.join(
            aligned.select("number", total_energy_accuracy_aligned="total_energy_accuracy"),
            on="number",
            how="left",
        )
        .join(shifts, on="number", how="left")
        .join(meters, on="number")
        .select(DISAGGREGATION_TOTAL.polars_schema.names())
        .cast(DISAGGREGATION_TOTAL.polars_schema)
        .sort(DISAGGREGATION_TOTAL.key)
    )


@dataclass(frozen=True, slots=True)
class _Mains:
    """What sites consume.

    Attributes:
        measured: their registers.
        parts: per meter that is disaggregated, the numbers of its site's registers and their signs.
    """

    measured: Measured
    parts: list[list[tuple[int, float]]]

    def consumption(self, group: Ints, start_us: Ints, end_us: Ints) -> Floats:
        """Return the consumption in [start, end) of each row's site, nan where not all is known."""
        total = np.zeros(len(group))
        for place in range(max(map(len, self.parts), default=0)):
            numbers = np.array(
                [parts[place][0] if place < len(parts) else -1 for parts in self.parts]
            )
            signs = np.array(
                [parts[place][1] if place < len(parts) else 0.0 for parts in self.parts]
            )
            rows = np.flatnonzero(numbers[group] >= 0)
            found = self.measured.sums(numbers[group[rows]], start_us[rows], end_us[rows])
            total[rows] += signs[group[rows]] * found
        return total


def _mains(
    beside: Beside,
    site_ids: pl.Series,
    intervals: pl.DataFrame | pl.LazyFrame,
    registers: pl.DataFrame,
) -> _Mains:
    is_part = (
        is_energy_register()
        & (pl.col("commodity") == "electricity")
        & pl.col("role").is_in(list(CONSUMPTION_SIGN))
        & pl.col("is_primary")
    )
    parts = (
        with_grid(registers.filter(is_part))
        .filter(pl.col("site_id").is_in(site_ids.implode()))
        # Without what came from the grid it is no consumption.
        .filter((pl.col("role") == "mains").any().over("site_id"))
        .sort("register_id")
        .with_row_index("number")
        .with_columns(pl.col("number").cast(pl.Int64))
    )
    by_site: dict[str, list[tuple[int, float]]] = {}
    for site_id, number, role in parts.select("site_id", "number", "role").iter_rows():
        by_site.setdefault(site_id, []).append((number, CONSUMPTION_SIGN[role]))
    measured = Measured.within(
        intervals, parts.select("register_id", "step_us", "number"), beside.start_us, beside.end_us
    )
    return _Mains(measured, [by_site.get(site_id, []) for site_id in site_ids])


def _judge(known: Beside, group_of_lane: Ints, mains: _Mains) -> pl.DataFrame:
    """Score each group over the intervals that all its lanes share: number and its figures.

    Args:
        known: rows whose truth is known.
        group_of_lane: number of the meter and vendor, which rises with the lanes.
        mains: what the meters' sites consume.
    """
    first = known.first_of_lanes()
    group = group_of_lane[known.lane[first]]
    place = np.arange(len(group)) - np.searchsorted(group, group)
    n_lanes = np.bincount(group, minlength=len(mains.parts))
    place_of_row = np.repeat(place, np.diff(np.append(first, len(known.lane))))
    origin_us = int(known.start_us.min()) if known.start_us.size else 0
    width_us = (int(known.end_us.max()) if known.end_us.size else 0) - origin_us + 1
    axis = group_of_lane[known.lane] * width_us + (known.start_us - origin_us)
    base = np.flatnonzero(place_of_row == 0)
    base_group = group_of_lane[known.lane[base]]
    consumption = mains.consumption(base_group, known.start_us[base], known.end_us[base])
    is_shared = np.isfinite(consumption)
    rows_of_place = [base]
    for number in range(1, int(place.max(initial=0)) + 1):
        rows = np.flatnonzero(place_of_row == number)
        at = rows[np.minimum(np.searchsorted(axis[rows], axis[base]), len(rows) - 1)]
        is_same = (axis[at] == axis[base]) & (known.end_us[at] == known.end_us[base])
        is_shared &= is_same | (n_lanes[base_group] <= number)
        rows_of_place.append(at)
    shared = np.flatnonzero(is_shared)
    n_groups = len(mains.parts)
    own, vendor, absolute = (np.zeros((len(rows_of_place), n_groups)) for _ in range(3))
    for number, at in enumerate(rows_of_place):
        chosen = shared[n_lanes[base_group[shared]] > number]
        of_group, rows = base_group[chosen], at[chosen]
        y, p = known.own_kwh[rows], known.vendor_kwh[rows]
        for sums, values in ((own, y), (vendor, p), (absolute, np.abs(p - y))):
            sums[number] = np.bincount(of_group, values, n_groups)
    n_intervals = np.bincount(base_group[shared], minlength=n_groups)
    begins = np.flatnonzero(np.diff(base_group[shared], prepend=-1))
    start_us, end_us = known.start_us[base[shared]], known.end_us[base[shared]]
    found = base_group[shared][begins]
    has_mains = np.array([bool(parts) for parts in mains.parts])
    mains_kwh = np.bincount(base_group[shared], consumption[shared], n_groups)
    figures = pl.DataFrame(
        {
            "number": found.astype(np.int64),
            "from_us": start_us[begins],
            "to_us": np.maximum.reduceat(end_us, begins) if begins.size else begins,
            "n_appliances": n_lanes[found],
            "n_intervals": n_intervals[found],
            "mains_kwh": np.where(has_mains, mains_kwh, np.nan)[found],
            "own_kwh": own.sum(axis=0)[found],
            "vendor_kwh": vendor.sum(axis=0)[found],
            "absolute": absolute.sum(axis=0)[found],
            "matched": _matched(own, vendor)[found],
        }
    ).with_columns(pl.col("mains_kwh").fill_nan(None))
    has_shares = (pl.col("own_kwh") > 0) & (pl.col("vendor_kwh") > 0)
    twice = 2.0 * pl.col("mains_kwh")
    return figures.with_columns(
        from_at=pl.col("from_us").cast(UTC_INSTANT),
        to_at=pl.col("to_us").cast(UTC_INSTANT),
        fraction_assigned_correctly=pl.when(has_shares).then("matched"),
        total_energy_accuracy=pl.when(twice > 0).then(1.0 - pl.col("absolute") / twice),
        total_energy_accuracy_floor=pl.when(twice > 0).then(1.0 - pl.col("own_kwh") / twice),
    )


def _matched(own: Floats, vendor: Floats) -> Floats:
    """Return per group the sum over appliances of the smaller share; nan without a share."""
    shares = [
        np.divide(each, total, out=np.full_like(each, np.nan), where=total > 0)
        for each in (own, vendor)
        for total in (each.sum(axis=0, keepdims=True),)
    ]
    return np.minimum(*shares).sum(axis=0)
