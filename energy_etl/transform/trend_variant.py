"""Which days a vendor counts and what it compares them with, told by its own figures.

Our figures are made for each of four hypotheses and each stored fetch (`mart.trend_variant`);
those that the package shows as its own are in `trends.py`, how far a vendor is off once its variant
is known in `vendor_drift.py`.

The hypotheses: an open period ends with the last complete day or runs up to the fetch
(`has_today`), and it is compared with the same part of the one before (`elapsed`) or with all
of it (`whole`). Open are this-week, this-month and, when it runs up to the fetch, last-seven-days.
Yesterday, last-week and last-month are the same in all four and tell nothing.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from energy_etl.periods import local_day_bounds
from energy_etl.tables.mart import TREND_VARIANT
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.trends import MIN_COVERAGE_PCT, sole_mains

FETCH_DAYS: Final = 35
# The oldest fetch, its running month, and all of the month before.
INTERVAL_DAYS: Final = FETCH_DAYS + 31 + 31
OPEN_PERIODS: Final = ("this-week", "this-month", "last-seven-days")
HYPOTHESES: Final = (("elapsed", False), ("elapsed", True), ("whole", False), ("whole", True))

# In the sandbox, over 100 days at all hours, the right hypothesis is off by at most 0.13 % and half
# a point; the wrong ones differ by 6 % (this-week) and 40 points in the median. The room above is
# for two meters on one cable.
ENERGY_TOLERANCE_PCT: Final = 2.0
ENERGY_TOLERANCE_KWH: Final = 0.05
# One point, and the half that the vendor's integer hides; a large ratio is as much less exact.
TREND_TOLERANCE_POINTS: Final = 1.5
RATIO_TOLERANCE_PCT: Final = 1.0
# A period up to the fetch ends at the newest reading that the vendor had: at the quarter hour that
# the fetch falls into, or up to an hour before its end.
SLOT_MINUTES: Final = 15
LAGS_MINUTES: Final = (0, 15, 30, 45, 60)
MIN_FIGURES: Final = 2
MIN_FITTING_SHARE: Final = 0.8

_FIGURE: Final = ["meter_id", "vendor", "period", "fetched_on"]
_HYPOTHESIS: Final = ["previous_part", "has_today"]
_TODAY: Final = {
    False: "open periods end with the last complete day",
    True: "open periods run up to the fetch",
}
_COMPARED: Final = {
    "elapsed": "compared with the same elapsed part of the period before",
    "whole": "compared with the whole period before",
}
_SPAN_SCHEMA: Final = pl.Schema(
    {
        "zone": pl.String(),
        "fetched_on": pl.Date(),
        "period": pl.String(),
        "previous_part": pl.String(),
        "has_today": pl.Boolean(),
        "today_at": UTC_INSTANT,
        "tomorrow_at": UTC_INSTANT,
        "start_at": UTC_INSTANT,
        "end_at": UTC_INSTANT,
        "previous_start_at": UTC_INSTANT,
        "previous_end_at": UTC_INSTANT,
        "previous_whole_end_at": UTC_INSTANT,
    }
)


def compute_trend_variants(
    vendor_figures: pl.DataFrame,
    intervals: pl.DataFrame,
    registers: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Hold a vendor's figures of the last 35 days of fetches against four ways to count.

    For each figure of an open period our energy and trend are made under each hypothesis, up to
    the fetch where today is included (to the end of its quarter hour and to 15 to 60 minutes before
    that, since a vendor's newest reading is older than its answer), and the part of the period
    before for as long. A hypothesis fits when the vendor's energy lies within max(2 %, 0.05 kWh) of
    ours and its trend within max(1.5 points, 1 % of the ratio); a figure counts only where two
    hypotheses are further apart than that. The best one must explain at least 80 % of at least two
    figures, and more than any other. An empty period (a Monday's this-week) is 0 kWh without a
    trend here, because that is what a vendor can be compared with.

    Args:
        vendor_figures: `core.vendor_figure`, every stored fetch.
        intervals: register_id, start_at, end_at, energy_kwh, is_measured of the mains registers
            of those meters, from 97 days before the newest fetch; in any order.
        registers: `core.register`.
        now: not looked at: what a vendor once counted does not change with the time.

    Returns:
        `mart.trend_variant`, four rows per meter and vendor that has a figure of an open period,
        sorted by its key; meters without exactly one primary mains register are left out. Both
        medians are over the figures that count, each at the lag that suits it best, and null when
        there are none. Figures whose instant is unknown, or of whose windows less than 95 % was
        measured, count for nothing.

    Raises:
        ConfigurationError: a zone is unknown.
    """
    del now
    asked = _asked(vendor_figures, registers)
    if asked.is_empty():
        return TREND_VARIANT.empty_frame()
    judged = _judged(_own_figures(asked, intervals))
    is_counted = pl.col("is_telling")
    counted = (
        judged.group_by("meter_id", "vendor", *_HYPOTHESIS)
        .agg(
            n_asked=pl.len(),
            n_figures=is_counted.sum(),
            n_fitting=(is_counted & pl.col("is_fitting")).sum(),
            median_energy_error_pct=pl.col("energy_error_pct").filter(is_counted).median(),
            median_trend_error_points=pl.col("trend_error_points").filter(is_counted).median(),
        )
        .sort(TREND_VARIANT.key)
    )
    return pl.DataFrame(
        [row for meter in counted.partition_by("meter_id", "vendor") for row in _verdicts(meter)],
        schema=TREND_VARIANT.polars_schema,
    )


# -- what is asked ---------------------------------------------------------------------------


def _asked(vendor_figures: pl.DataFrame, registers: pl.DataFrame) -> pl.DataFrame:
    """One row per figure of an open period, hypothesis and lag, with its windows' instants."""
    recent = pl.col("fetched_on") > pl.col("fetched_on").max() - timedelta(days=FETCH_DAYS)
    figures = (
        vendor_figures.filter(recent)
        .filter(pl.col("period").is_in(OPEN_PERIODS))
        .select(*_FIGURE, "fetched_at", vendor_kwh="energy_kwh", vendor_trend_pct="trend_pct")
        .join(sole_mains(registers).select("meter_id", "register_id", "zone"), on="meter_id")
    )
    days = figures.select("zone", "fetched_on").unique()
    spans = pl.DataFrame(
        [row for zone, on in days.iter_rows() for row in _spans(zone, on)],
        schema=_SPAN_SCHEMA,
        orient="row",
    )
    asked = figures.join(spans, on=["zone", "fetched_on", "period"]).with_columns(
        lag_minutes=pl.when("has_today")
        .then(pl.lit(list(LAGS_MINUTES), pl.List(pl.Int64)))
        .otherwise(pl.lit([0], pl.List(pl.Int64)))
    )
    # An instant on another day than the figure's would say how long a different day had been.
    is_known = pl.col("fetched_at").is_between("today_at", "tomorrow_at")
    slot_at = pl.col("fetched_at").dt.truncate(f"{SLOT_MINUTES}m")
    until_at = slot_at + pl.duration(minutes=SLOT_MINUTES - pl.col("lag_minutes"))
    elapsed = pl.max_horizontal(until_at - pl.col("today_at"), pl.duration(minutes=0))
    moved = pl.col("previous_end_at") + pl.col("elapsed")
    return (
        asked.explode("lag_minutes")
        .with_columns(
            elapsed=pl.when(pl.col("has_today") & is_known)
            .then(elapsed)
            .when(~pl.col("has_today"))
            .then(pl.duration(minutes=0))
        )
        .with_columns(
            end_at=pl.col("end_at") + pl.col("elapsed"),
            previous_end_at=pl.when(pl.col("elapsed").is_not_null()).then(
                pl.min_horizontal(moved, "previous_whole_end_at")
            ),
        )
    )


def _spans(zone: str, on: date) -> Iterator[tuple[Any, ...]]:
    """List the windows of one day's fetches, as whole days; what has passed of today is added."""

    def at(day: date) -> datetime:
        return local_day_bounds(zone, day)[0]

    week_on, month_on = on - timedelta(days=on.weekday()), on.replace(day=1)
    before_on = (month_on - timedelta(days=1)).replace(day=1)
    week = timedelta(days=7)
    for part, has_today in HYPOTHESES:
        rolling_on = on - timedelta(days=6 if has_today else 7)
        for period, start_on, previous_on in (
            ("this-week", week_on, week_on - week),
            ("this-month", month_on, before_on),
            ("last-seven-days", rolling_on, rolling_on - week),
        ):
            # All of the period before ends where this one starts.
            end_on = start_on
            if part == "elapsed":
                end_on = min(previous_on + (on - start_on), start_on)
            yield (
                *(zone, on, period, part, has_today, *local_day_bounds(zone, on)),
                *(at(start_on), at(on), at(previous_on), at(end_on), at(start_on)),
            )


# -- what we measured ------------------------------------------------------------------------


class _Curve(NamedTuple):
    """One register: energy and measured time up to each edge of its intervals."""

    edge_us: NDArray[np.int64]
    energy_kwh: NDArray[np.float64]
    measured_us: NDArray[np.float64]


def _own_figures(asked: pl.DataFrame, intervals: pl.DataFrame) -> pl.DataFrame:
    """Add own_kwh and own_trend_pct; null where a window is unknown or too little was measured."""
    curves = {
        rows["register_id"][0]: _curve(rows)
        for rows in intervals.sort("register_id", "start_at").partition_by("register_id")
    }
    ordered = asked.sort("register_id", maintain_order=True)
    parts = [
        part.with_columns(
            *_window(part, curves.get(part["register_id"][0]), "start_at", "end_at", "own"),
            *_window(
                part,
                curves.get(part["register_id"][0]),
                "previous_start_at",
                "previous_end_at",
                "previous",
            ),
        )
        for part in ordered.partition_by("register_id")
    ]
    own, previous = pl.col("own_kwh"), pl.col("previous_kwh")
    is_empty = pl.col("end_at") <= pl.col("start_at")
    return pl.concat(parts).with_columns(
        is_empty=is_empty,
        own_trend_pct=pl.when((previous > 0) & ~is_empty).then(100.0 * (own - previous) / previous),
    )


def _curve(rows: pl.DataFrame) -> _Curve:
    start_us = rows["start_at"].dt.epoch("us").to_numpy()
    end_us = rows["end_at"].dt.epoch("us").to_numpy()
    energy = rows["energy_kwh"].fill_nan(None).fill_null(0.0).to_numpy()
    is_measured = (rows["is_measured"] & rows["energy_kwh"].is_not_null()).to_numpy()
    length_us = np.where(is_measured, end_us - start_us, 0)
    return _Curve(
        np.stack([start_us, end_us], axis=1).ravel(), _running(energy), _running(length_us)
    )


def _running(steps: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum before and after each step."""
    after = np.cumsum(steps, dtype=np.float64)
    return np.stack([after - steps, after], axis=1).ravel()


def _window(
    part: pl.DataFrame, curve: _Curve | None, start: str, end: str, name: str
) -> list[pl.Series]:
    if curve is None:
        return [pl.Series(f"{name}_kwh", [None] * part.height, pl.Float64)]
    from_us = part[start].dt.epoch("us").to_numpy().astype(np.float64)
    to_us = part[end].dt.epoch("us").cast(pl.Float64).fill_null(np.nan).to_numpy()
    energy = _between(curve.edge_us, curve.energy_kwh, from_us, to_us)
    measured_us = _between(curve.edge_us, curve.measured_us, from_us, to_us)
    # NaN (an unknown end) compares as False.
    is_covered = 100.0 * measured_us >= MIN_COVERAGE_PCT * (to_us - from_us)
    return [pl.Series(f"{name}_kwh", np.where(is_covered, energy, np.nan)).fill_nan(None)]


def _between(
    edge_us: NDArray[np.int64],
    total: NDArray[np.float64],
    from_us: NDArray[np.float64],
    to_us: NDArray[np.float64],
) -> NDArray[np.float64]:
    return np.interp(to_us, edge_us, total) - np.interp(from_us, edge_us, total)


# -- what fits -------------------------------------------------------------------------------


def _judged(own: pl.DataFrame) -> pl.DataFrame:
    """One row per figure and hypothesis: how far it is off, and whether the figure can tell."""
    off_kwh = (pl.col("vendor_kwh") - pl.col("own_kwh")).abs()
    held = own.group_by(*_FIGURE, *_HYPOTHESIS).agg(
        pl.col("vendor_kwh", "vendor_trend_pct").first(),
        is_empty=pl.col("is_empty").any(),
        has_energy=pl.col("own_kwh").is_not_null().all(),
        has_trend=(pl.col("own_trend_pct").is_not_null() | pl.col("is_empty")).all(),
        energy_low=pl.col("own_kwh").min(),
        energy_high=pl.col("own_kwh").max(),
        trend_low=pl.col("own_trend_pct").min(),
        trend_high=pl.col("own_trend_pct").max(),
        energy_error_pct=(
            pl.when(pl.col("own_kwh") > 0).then(100.0 * off_kwh / pl.col("own_kwh"))
        ).min(),
        trend_error_points=(pl.col("vendor_trend_pct") - pl.col("own_trend_pct")).abs().min(),
    )
    slack_kwh = pl.max_horizontal(
        pl.col("energy_high") * ENERGY_TOLERANCE_PCT / 100.0, pl.lit(ENERGY_TOLERANCE_KWH)
    )
    slack_points = pl.max_horizontal(
        (100.0 + pl.col("trend_high")) * RATIO_TOLERANCE_PCT / 100.0,
        pl.lit(TREND_TOLERANCE_POINTS),
    )
    # An empty period says nothing of a trend: every one fits it.
    bounds = held.with_columns(
        energy_low=pl.col("energy_low") - slack_kwh,
        energy_high=pl.col("energy_high") + slack_kwh,
        trend_low=pl.when("is_empty").then(-np.inf).otherwise(pl.col("trend_low") - slack_points),
        trend_high=pl.when("is_empty").then(np.inf).otherwise(pl.col("trend_high") + slack_points),
    )
    # Only what is known under all four is held against any of them.
    has_energy = (pl.col("has_energy") & pl.col("vendor_kwh").is_not_null()).all().over(_FIGURE)
    has_trend = (
        (pl.col("has_energy") & pl.col("has_trend") & pl.col("vendor_trend_pct").is_not_null())
        .all()
        .over(_FIGURE)
    )
    energy_fits = pl.col("vendor_kwh").is_between("energy_low", "energy_high")
    trend_fits = pl.col("vendor_trend_pct").is_between("trend_low", "trend_high")
    energy_tells = pl.col("energy_low").max().over(_FIGURE) > pl.col("energy_high").min().over(
        _FIGURE
    )
    trend_tells = pl.col("trend_low").max().over(_FIGURE) > pl.col("trend_high").min().over(_FIGURE)
    return bounds.with_columns(
        is_fitting=(~has_energy | energy_fits) & (~has_trend | trend_fits),
        is_telling=(has_energy & energy_tells) | (has_trend & trend_tells),
    ).with_columns(pl.col("is_fitting", "is_telling").fill_null(value=False))


def _verdicts(meter: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Say of one meter and vendor which hypothesis is the best, and of each what it means."""
    rows = meter.to_dicts()
    vendor, n_figures = rows[0]["vendor"], rows[0]["n_figures"]
    n_asked = rows[0]["n_asked"]
    most = max(row["n_fitting"] for row in rows)
    top = [row for row in rows if row["n_fitting"] == most]
    is_explained = n_figures >= MIN_FIGURES and most >= MIN_FITTING_SHARE * n_figures
    best = top[0] if is_explained and len(top) == 1 else None
    for row in rows:
        row["is_best"] = row is best
        del row["n_asked"]
        if best is None:
            row["verdict"] = _why_none(vendor, n_figures, n_asked, top, is_explained)
        elif row is best:
            row["verdict"] = f"{vendor}: {_told(row)} ({most} of {n_figures} figures fit)."
        else:
            row["verdict"] = (
                f"{vendor} does not count so ({row['n_fitting']} of {n_figures} figures fit): "
                f"{_told(best)}."
            )
        yield row


def _told(row: dict[str, Any]) -> str:
    return f"{_TODAY[row['has_today']]} and are {_COMPARED[row['previous_part']]}"


def _why_none(
    vendor: str, n_figures: int, n_asked: int, top: list[dict[str, Any]], is_explained: bool
) -> str:
    if n_figures == 0:
        return (
            f"None of {vendor}'s {n_asked} figures of open periods can tell: on those days all "
            "four ways give the same, the instant of the fetch is unknown, or less than "
            f"{MIN_COVERAGE_PCT:g} % of our intervals were measured; a fetch in the middle of a "
            "week and a month tells."
        )
    if is_explained:
        days, parts = ({row[name] for row in top} for name in ("has_today", "previous_part"))
        # What the tied ones have in common is known.
        told = [_TODAY[each] for each in days if len(days) == 1]
        told += [f"they are {_COMPARED[each]}" for each in parts if len(parts) == 1]
        told_text = f"{vendor}: {' and '.join(told)}; the rest" if told else "Which way it counts"
        return (
            f"{told_text} cannot be told from {n_figures} figures: {len(top)} ways explain them "
            "alike; a fetch in the middle of a week and a month tells."
        )
    if n_figures < MIN_FIGURES:
        return (
            f"Only {n_figures} of {vendor}'s {n_asked} figures of open periods can tell, which is "
            f"too few (at least {MIN_FIGURES}): fetch again on another day."
        )
    return (
        f"None of the four ways explains {vendor}'s figures (at most {top[0]['n_fitting']} of "
        f"{n_figures}): see whether the register in registers.csv is the meter that {vendor} "
        "reads, and compare the closed periods in mart.period_trend."
    )
