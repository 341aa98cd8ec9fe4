"""How good a vendor's disaggregation is, against the submeters that measure the same appliances.

Names as nilmtk has them, with a formula per metric. All appliances of a meter together are
`disaggregation_total.py`'s, shares `disaggregation.py`'s.
"""

import numpy as np
import polars as pl

from energy_etl.tables.mart import DISAGGREGATION_SCORE
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.cleaning_story import Floats
from energy_etl.transform.disaggregation_beside import (
    US_PER_HOUR,
    Beside,
    best_shift,
    lay_beside,
    pair_with_truth,
    try_shifts,
)
from energy_etl.units import WH_PER_KWH


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
    way, with the least NEP (positive: it must be moved to later times; 0 when none takes away a
    tenth of the error), `nep_aligned` the NEP it then has, on the intervals that have both.

    Args:
        appliance_intervals: `core.appliance_interval`, one row per key.
        intervals: `core.interval`, in any order.
        registers: `core.register`.

    Returns:
        `mart.disaggregation_score`, sorted by meter_id, vendor, appliance; no row for an estimate
        that shares no interval with a submeter. Ratios with a zero denominator are null. An
        estimate that is no number is left out.
    """
    pairs = pair_with_truth(appliance_intervals, registers)
    if pairs.is_empty():
        return DISAGGREGATION_SCORE.empty_frame()
    beside = lay_beside(appliance_intervals, intervals, pairs)
    on_threshold_w = pairs["on_threshold_w"].to_numpy()
    return (
        pl.concat(_score(block, on_threshold_w) for block in beside.blocks())
        .join(best_shift(try_shifts(beside), "lane"), on="lane", how="left")
        .join(pairs, on="lane")
        .select(DISAGGREGATION_SCORE.polars_schema.names())
        .cast(DISAGGREGATION_SCORE.polars_schema)
        .sort(DISAGGREGATION_SCORE.key)
    )


def _score(beside: Beside, on_threshold_w: Floats) -> pl.DataFrame:
    known = beside.known()
    first = known.first_of_lanes()
    own, vendor = known.own_kwh, known.vendor_kwh
    hours = (known.end_us - known.start_us) / US_PER_HOUR
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
