"""Who used the energy: appliance shares by submeters and by vendors, and the vendors' scores.

Names as nilmtk has them: mains, appliance, submeter. Trends are `trends.py`.
"""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.tables.mart import APPLIANCE_SHARE, DISAGGREGATION_SCORE
from energy_etl.transform.axis import Axis
from energy_etl.transform.calendar import with_grid
from energy_etl.transform.sums import exact_sum
from energy_etl.transform.windows import (
    is_energy_register,
    part_of,
    period_windows,
    sum_windows,
)
from energy_etl.units import SECONDS_PER_HOUR, WH_PER_KWH

UNATTRIBUTED: Final = "unattributed"
OWN: Final = "own"
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

# What a register adds to its site's consumption: import + production - export.
_CONSUMPTION_SIGN: Final = {"mains": 1.0, "production": 1.0, "export": -1.0}
_SUBMETER_ROLES: Final = ("submeter", "appliance")


def compute_appliance_shares(
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    vendor_appliance_figures: pl.DataFrame,
    meters: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Share out each site's electricity over its appliances, by submeters and by each vendor.

    Own: the site's consumption is import + production - export of its primary electricity
    registers over the period, null when one of them has no energy there. Each submeter or
    appliance has its share of it, and `unattributed` = consumption - sum of what the submeters
    measured, which may be slightly negative and is never clipped. A submeter without a name is
    called by its register_id. Sites without submeters have no own rows.
    By vendor: the share of the sum of that vendor's appliances (its `other` included), over all
    meters of the site, of the figures that were fetched on the computed day.

    Args:
        daily: `mart.daily_energy`.
        registers: `core.register`.
        vendor_appliance_figures: `core.vendor_appliance_figure`.
        meters: `core.meter` (meter_id, site_id).
        now: the instant of the computation.

    Returns:
        `mart.appliance_share`, sorted by its key. Shares are null when what they are a share of
        is null or not above 0; coverage is that of all registers that a row is made of, null for
        vendors and for empty windows.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    if registers.is_empty():
        return APPLIANCE_SHARE.empty_frame()
    windows = period_windows(registers["zone"].unique().sort(), now)
    windows = windows.filter(pl.col("part") == "current")
    rows = [
        _own_shares(daily, registers, windows),
        _vendor_shares(registers, vendor_appliance_figures, meters, windows),
    ]
    return pl.concat(rows).sort(APPLIANCE_SHARE.key)


def _own_shares(
    daily: pl.DataFrame, registers: pl.DataFrame, windows: pl.DataFrame
) -> pl.DataFrame:
    is_electric = is_energy_register() & (pl.col("commodity") == "electricity")
    electric = registers.filter(is_electric & pl.col("is_primary"))
    totals = part_of(
        sum_windows(daily, electric, windows),
        "current",
        "computed_on",
        "energy_kwh",
        "n_measured",
        "n_expected",
    ).join(electric.select("register_id", "site_id", "role", "appliance"), on="register_id")
    period = ["site_id", "period", "computed_on"]
    counts = [pl.col("n_measured", "n_expected").sum()]
    is_submeter = pl.col("role").is_in(_SUBMETER_ROLES)
    appliances = (
        totals.filter(is_submeter)
        .group_by(*period, pl.coalesce("appliance", "register_id").alias("appliance"))
        .agg(exact_sum(pl.col("energy_kwh")).alias("energy_kwh"), *counts)
    )
    signed = pl.col("energy_kwh") * pl.col("role").replace_strict(
        _CONSUMPTION_SIGN, default=0.0, return_dtype=pl.Float64
    )
    is_known = pl.col("energy_kwh").is_not_null().all() & (pl.col("role") == "mains").any()
    sites = (
        totals.filter(pl.col("role").is_in(list(_CONSUMPTION_SIGN)))
        .group_by(period)
        .agg(pl.when(is_known).then(exact_sum(signed)).alias("consumption_kwh"), *counts)
    )
    attributed = appliances.group_by(period).agg(
        attributed_kwh=exact_sum(pl.col("energy_kwh")).fill_null(0.0),
        sub_measured=pl.col("n_measured").sum(),
        sub_expected=pl.col("n_expected").sum(),
    )
    rest = attributed.join(sites, on=period, how="left").select(
        *period,
        pl.lit(UNATTRIBUTED).alias("appliance"),
        (pl.col("consumption_kwh") - pl.col("attributed_kwh")).alias("energy_kwh"),
        pl.col("n_measured").fill_null(0) + pl.col("sub_measured"),
        pl.col("n_expected").fill_null(0) + pl.col("sub_expected"),
    )
    rows = pl.concat([appliances, rest], how="vertical_relaxed").join(
        sites.select(*period, "consumption_kwh"), on=period, how="left"
    )
    share = 100.0 * pl.col("energy_kwh") / pl.col("consumption_kwh")
    return _as_shares(
        rows.with_columns(
            source=pl.lit(OWN),
            share_pct=pl.when(pl.col("consumption_kwh") > 0).then(share),
            coverage_pct=pl.when(pl.col("n_expected") > 0).then(
                100.0 * pl.col("n_measured") / pl.col("n_expected")
            ),
        )
    )


def _vendor_shares(
    registers: pl.DataFrame,
    figures: pl.DataFrame,
    meters: pl.DataFrame,
    windows: pl.DataFrame,
) -> pl.DataFrame:
    sites = registers.select("site_id", "zone").unique().join(windows, on="zone")
    key = ["site_id", "period", "computed_on", "source"]
    rows = (
        figures.join(meters.select("meter_id", "site_id"), on="meter_id")
        .rename({"fetched_on": "computed_on", "vendor": "source"})
        .join(
            sites.select("site_id", "period", "computed_on"),
            on=["site_id", "period", "computed_on"],
        )
        .group_by(*key, "appliance")
        .agg(energy_kwh=exact_sum(pl.col("energy_kwh")))
    )
    sums = rows.group_by(key).agg(sum_kwh=exact_sum(pl.col("energy_kwh")))
    share = 100.0 * pl.col("energy_kwh") / pl.col("sum_kwh")
    return _as_shares(
        rows.join(sums, on=key).with_columns(
            share_pct=pl.when(pl.col("sum_kwh") > 0).then(share),
            coverage_pct=pl.lit(None, pl.Float64),
        )
    )


def _as_shares(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(APPLIANCE_SHARE.polars_schema.names()).cast(APPLIANCE_SHARE.polars_schema)


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
    way, with the least NEP (positive: it must be moved to later times; 0 when nothing is better).

    Args:
        appliance_intervals: `core.appliance_interval`, one row per key.
        intervals: `core.interval`, in any order.
        registers: `core.register`.

    Returns:
        `mart.disaggregation_score`, sorted by meter_id, vendor, appliance; no row for an estimate
        that shares no interval with a submeter. Ratios with a zero denominator are null.
    """
    pairs = _pair_with_truth(appliance_intervals, registers)
    if pairs.is_empty():
        return DISAGGREGATION_SCORE.empty_frame()
    beside = _truth_beside_estimate(appliance_intervals, intervals, pairs)
    thresholds = pairs.select("lane", "on_threshold_w")
    scores = _score(beside.filter(pl.col("own_kwh").is_not_null()).join(thresholds, on="lane"))
    return (
        scores.join(_best_shift(beside), on="lane", how="left")
        .join(pairs, on="lane")
        .select(DISAGGREGATION_SCORE.polars_schema.names())
        .cast(DISAGGREGATION_SCORE.polars_schema)
        .sort(DISAGGREGATION_SCORE.key)
    )


def _pair_with_truth(appliance_intervals: pl.DataFrame, registers: pl.DataFrame) -> pl.DataFrame:
    """One row per estimate that a submeter can judge: lane, its key, register_id, step_us."""
    estimates = appliance_intervals.select("meter_id", "vendor", "appliance").unique()
    sites = registers.select("meter_id", "site_id").unique()
    is_truth = (
        is_energy_register()
        & (pl.col("commodity") == "electricity")
        & pl.col("role").is_in(_SUBMETER_ROLES)
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
        .sort("meter_id", "vendor", "appliance")
        .with_row_index("lane")
        .with_columns(
            on_threshold_w=pl.col("appliance").replace_strict(
                _ON_THRESHOLD_W, default=_DEFAULT_THRESHOLD_W, return_dtype=pl.Float64
            )
        )
    )


def _truth_beside_estimate(
    appliance_intervals: pl.DataFrame,
    intervals: pl.DataFrame | pl.LazyFrame,
    pairs: pl.DataFrame,
) -> pl.DataFrame:
    """Every interval of every estimate, sorted by lane and start; own_kwh null where unknown."""
    estimates = (
        appliance_intervals.join(
            pairs.select("meter_id", "vendor", "appliance", "lane"),
            on=["meter_id", "vendor", "appliance"],
        )
        .select("lane", "start_at", "end_at", vendor_kwh="energy_kwh")
        .sort("lane", "start_at")
    )
    edges = [estimates.select("lane", edge_at=column) for column in ("start_at", "end_at")]
    axis = Axis.from_edges(pl.concat(edges))
    truth = (
        intervals.lazy()
        .filter(
            (pl.col("quality") == "measured")
            & ~pl.col("is_provisional")
            & pl.col("energy_kwh").is_not_null()
        )
        .select("register_id", "start_at", "end_at", "energy_kwh")
        .join(pairs.lazy().select("register_id", "lane"), on="register_id")
        .select(
            "end_at",
            "energy_kwh",
            stretch=axis.stretch(pl.col("lane"), pl.col("start_at")),
        )
        .group_by("stretch")
        .agg(
            own_kwh=exact_sum(pl.col("energy_kwh")),
            n_own=pl.len(),
            own_end_at=pl.col("end_at").max(),
        )
        .collect(engine="streaming")
    )
    length_us = (pl.col("end_at") - pl.col("start_at")).dt.total_microseconds()
    tiles = (pl.col("own_end_at") == pl.col("end_at")) & (
        pl.col("n_own") * pl.col("step_us") == length_us
    )
    return (
        estimates.with_columns(stretch=axis.stretch(pl.col("lane"), pl.col("start_at")))
        .join(truth, on="stretch", how="left", maintain_order="left")
        .join(pairs.select("lane", "step_us"), on="lane", how="left", maintain_order="left")
        .select("lane", "start_at", "end_at", "vendor_kwh", own_kwh=pl.when(tiles).then("own_kwh"))
    )


def _score(shared: pl.DataFrame) -> pl.DataFrame:
    own, vendor = pl.col("own_kwh"), pl.col("vendor_kwh")
    seconds = (pl.col("end_at") - pl.col("start_at")).dt.total_seconds()
    threshold_kwh = pl.col("on_threshold_w") * seconds / SECONDS_PER_HOUR / WH_PER_KWH
    is_on, is_said_on = own > threshold_kwh, vendor > threshold_kwh
    sums = shared.group_by("lane").agg(
        from_at=pl.col("start_at").min(),
        to_at=pl.col("end_at").max(),
        n_intervals=pl.len(),
        own_kwh=exact_sum(own),
        vendor_kwh=exact_sum(vendor),
        absolute=exact_sum((own - vendor).abs()),
        squared=exact_sum((own - vendor) ** 2),
        own_squared=exact_sum(own**2),
        n_both=(is_on & is_said_on).sum().cast(pl.Float64),
        n_either=(is_on.cast(pl.Int64) + is_said_on.cast(pl.Int64)).sum(),
    )
    return sums.with_columns(
        error_in_assigned_energy_kwh=(pl.col("own_kwh") - pl.col("vendor_kwh")).abs(),
        nep=pl.when(pl.col("own_kwh") > 0).then(pl.col("absolute") / pl.col("own_kwh")),
        nde=pl.when(pl.col("own_squared") > 0).then(
            (pl.col("squared") / pl.col("own_squared")).sqrt()
        ),
        # 2 TP + FP + FN is the number of times on by one plus the number by the other.
        f1=pl.when(pl.col("n_either") > 0).then(2.0 * pl.col("n_both") / pl.col("n_either")),
    )


def _best_shift(beside: pl.DataFrame) -> pl.DataFrame:
    """Per lane the shift with the least NEP: lane, best_shift_minutes."""
    length = pl.col("end_at") - pl.col("start_at")
    lengths = beside.group_by("lane").agg(minutes=length.dt.total_minutes().median())
    shifts = []
    for shift in range(-MAX_SHIFT, MAX_SHIFT + 1):
        # By row, not by a join: a row whose neighbour is not the wanted time away is left out.
        is_apart = pl.col("start_at") - pl.col("start_at").shift(shift) == length * shift
        is_comparable = (
            (pl.col("lane") == pl.col("lane").shift(shift))
            & is_apart
            & pl.col("own_kwh").is_not_null()
        )
        error = (pl.col("own_kwh") - pl.col("vendor_kwh").shift(shift)).abs()
        shifts.append(
            beside.lazy()
            .select(
                "lane",
                own=pl.when(is_comparable).then("own_kwh"),
                error=pl.when(is_comparable).then(error),
            )
            .group_by("lane")
            .agg(
                shift=pl.lit(shift),
                n=pl.col("own").count(),
                nep=exact_sum(pl.col("error")) / exact_sum(pl.col("own")),
            )
        )
    tried = pl.concat(pl.collect_all(shifts))
    n_unshifted = tried.filter(pl.col("shift") == 0).select("lane", n_unshifted="n")
    return (
        tried.join(n_unshifted, on="lane")
        .join(lengths, on="lane")
        # A few intervals at the edge may fit by chance.
        .filter(pl.col("nep").is_finite() & (2 * pl.col("n") >= pl.col("n_unshifted")))
        .sort("lane", "nep", pl.col("shift").abs(), "shift")
        .unique("lane", keep="first", maintain_order=True)
        .select("lane", best_shift_minutes=pl.col("shift") * pl.col("minutes"))
    )
