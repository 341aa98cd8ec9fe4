"""Avoided energy: what a baseline expects less what was measured (`mart.savings`).

IPMVP option C (the whole meter), CalTRACK 2.0 daily methods. The model and its days are
`baseline.py` and `baseline_days.py`. Money is not judged here: the vendor's cost is carried along.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import polars as pl

from energy_etl.periods import local_day_of
from energy_etl.tables.mart import FINDING, SAVINGS
from energy_etl.transform.baseline_days import (
    FIT_COLUMNS,
    NO_DAYS,
    Days,
    Refusal,
    baseline_start_on,
    fit_baseline,
    judged_registers,
    sufficient_days,
    with_is_energy,
)

LAST_30_DAYS: Final = "last-30-days"
REPORTING_DAYS: Final = 30
# IPMVP, option C: what is to be seen in a whole meter should be above a tenth of its baseline.
MIN_RISE_PCT: Final = 10.0

# By kind of refusal: what makes the figure possible.
_NEXT_STEPS: Final = {
    "not_energy": "Name a register in measures.csv that counts energy (Wh, kWh, MWh).",
    "wrong_dates": "Mend the dates of the measure in measures.csv.",
    "not_begun": "Wait: the figure comes with the first complete day of the reporting period.",
    "no_weather": "Enter the daily means of the site in weather.csv, or map its outdoor sensor.",
    "few_temperatures": "Fill the missing days in weather.csv.",
    "insufficient_baseline": "Load the readings of the missing days from the vendor, or move the "
    "baseline in measures.csv to 365 days that were measured.",
    "insufficient_days": "See why the register has no days with enough coverage since then.",
    "no_consumption": "See whether the register of the measure in measures.csv is the right one.",
    "poor_fit": "Choose a register in measures.csv that measures less beside what was changed, or "
    "a baseline without unusual weeks.",
}


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What is judged: a measure, or the last 30 days."""

    measure_id: str
    register: dict[str, Any]
    computed_on: date
    baseline_start_on: date
    baseline_end_on: date
    reporting_start_on: date
    reporting_end_on: date
    refusal: Refusal | None = None


def compute_savings(
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    weather: pl.DataFrame,
    measures: pl.DataFrame,
    vendor_figures: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Tell per measure, and per mains for its last 30 days, how much energy was avoided.

    `savings_kwh` = sum over the reporting days of (expected by the baseline - measured): avoided
    energy use, CalTRACK 2.0, 3.6.1, negative when more was used. Days of the reporting period
    without sufficient energy or without a temperature are left out on both sides (3.5). The
    baseline is the declared one, at most the 365 days before its end (3.1.3); of the last 30 days
    [D-30, D) it is [D-395, D-30). What lies between the baseline and the reporting period is not
    used. `uncertainty_kwh` is half of the 90 % interval (`Fit.uncertainty_kwh`). Refused, with the
    reason: dates that overlap, a period that has not begun, an insufficient baseline, a CV(RMSE)
    above 100 %, no reporting day; the fit and what was measured are stated all the same.

    Args:
        daily: `mart.daily_energy`.
        registers: `core.register`, all of a site's. The primary mains of electricity, gas and heat
            that give kWh have a row `last-30-days`; a measure may name any register.
        weather: `mart.site_weather`.
        measures: `core.measure`; those of registers that are not in `registers` are left out.
        vendor_figures: `core.vendor_figure`: the period last-30-days fetched on the computed day
            stands beside the mains of its meter, where it has exactly one. Of several vendors the
            first by name.
        now: the instant of the computation; D is its local date at the site.

    Returns:
        `mart.savings`, sorted by measure_id, register_id. `savings_pct` is null when the baseline
        expects nothing. `vendor_difference_pct` is null unless each of the 30 days has sufficient
        energy of ours, above 0.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    known = with_is_energy(registers)
    mains = judged_registers(registers).filter("is_energy")
    comparisons = [*_of_measures(measures, known, now), *_of_mains(mains, now)]
    judged = {each.register["register_id"] for each in comparisons}
    days = sufficient_days(
        daily, known.filter(pl.col("register_id").is_in(sorted(judged))), weather
    )
    figures = _vendor_figures(vendor_figures, mains)
    by_key = {}
    for each in comparisons:
        register_id = each.register["register_id"]
        of_register = days.get(register_id, NO_DAYS)
        row = _row(each, of_register)
        if each.measure_id == LAST_30_DAYS:
            figure = figures.get((register_id, each.computed_on))
            row |= _beside_vendor(figure, of_register, each)
        # A measure that somebody called last-30-days comes first, and stays.
        by_key.setdefault((each.measure_id, register_id), row)
    return pl.DataFrame(list(by_key.values()), schema=SAVINGS.polars_schema).sort(SAVINGS.key)


def compute_savings_findings(savings: pl.DataFrame) -> pl.DataFrame:
    """List the measures that cannot be judged, and what uses more than it should.

    Kinds: `measure_refused` (a measure without a figure), `measure_without_effect` (one whose
    90 % interval holds 0), `more_than_expected` (last 30 days above the baseline by more than the
    interval and by at least 10 %).

    Args:
        savings: `mart.savings`.

    Returns:
        `mart.finding`, sorted by kind, place, from_at; empty when all is well.
    """
    is_measure = pl.col("measure_id") != LAST_30_DAYS
    place = pl.format("{}: {}", "register_id", "measure_id")
    refused = savings.filter(is_measure, pl.col("reason").is_not_null()).select(
        kind=pl.lit("measure_refused"),
        place=place,
        message=pl.format(
            "The savings of measure {} at register {} cannot be told: {}",
            "measure_id",
            "register_id",
            _reason("message"),
        ),
        next_step=_reason("kind").replace_strict(_NEXT_STEPS, default=None, return_dtype=pl.String),
    )
    saved, half = pl.col("savings_kwh"), pl.col("uncertainty_kwh")
    figures = ["register_id", pl.col("savings_pct").abs().round(1), half.round(1)]
    # Where nothing was expected there is no share to tell of, and nothing to be seen.
    is_unseen = pl.col("savings_pct").is_not_null() & (saved.abs() <= half)
    unseen = savings.filter(is_measure, is_unseen).select(
        kind=pl.lit("measure_without_effect"),
        place=place,
        message=pl.format(
            "Measure {} shows no effect yet: register {} changed by {} % of its baseline, which "
            "lies within the uncertainty of {} kWh.",
            "measure_id",
            *figures,
        ),
        next_step=pl.lit(
            "Wait for more days, or declare a register in measures.csv that measures less beside "
            "what was changed."
        ),
    )
    rise = savings.filter(~is_measure, saved < -half, pl.col("savings_pct") <= -MIN_RISE_PCT)
    more = rise.select(
        kind=pl.lit("more_than_expected"),
        place=pl.col("register_id"),
        message=pl.format(
            "Register {} used {} % more in the last 30 days than its year before lets expect for "
            "their weather (uncertainty {} kWh).",
            *figures,
        ),
        next_step=pl.lit(
            "See in mart.daily_energy since when, and ask what changed: people, machines, "
            "setpoints, hours."
        ),
    )
    empty = FINDING.empty_frame()
    found = pl.concat([empty, refused, unseen, more], how="diagonal_relaxed")
    return found.cast(FINDING.polars_schema).sort(FINDING.key)


def _reason(part: str) -> pl.Expr:
    """`kind` or `message` of a reason's text, which is that of a Refusal."""
    return (
        pl.col("reason").str.splitn(": ", 2).struct.rename_fields(["kind", "message"]).struct[part]
    )


def _of_measures(
    measures: pl.DataFrame, registers: pl.DataFrame, now: datetime
) -> Iterator[_Comparison]:
    by_id = {row["register_id"]: row for row in registers.iter_rows(named=True)}
    for measure in measures.sort("measure_id").iter_rows(named=True):
        register = by_id.get(measure["register_id"])
        if register is None:
            continue
        today = local_day_of(register["zone"], now)
        start_on, end_on = measure["reporting_start_on"], measure["reporting_end_on"] or today
        begin_on, works_on = measure["baseline_start_on"], measure["baseline_end_on"]
        yield _Comparison(
            measure["measure_id"],
            register,
            today,
            max(begin_on, baseline_start_on(works_on)),
            works_on,
            start_on,
            max(start_on, min(end_on, today)),
            _misdated(begin_on, works_on, start_on, measure["reporting_end_on"], today),
        )


def _misdated(
    begin_on: date, works_on: date, start_on: date, end_on: date | None, today: date
) -> Refusal | None:
    if begin_on >= works_on or start_on < works_on or (end_on is not None and end_on <= start_on):
        return Refusal(
            "wrong_dates",
            f"the baseline is {begin_on} to {works_on} and the reporting period {start_on} to "
            f"{end_on or 'now'}, which do not follow each other.",
        )
    if start_on >= today:
        return Refusal("not_begun", f"the reporting period begins on {start_on}.")
    return None


def _of_mains(mains: pl.DataFrame, now: datetime) -> Iterator[_Comparison]:
    for register in mains.iter_rows(named=True):
        today = local_day_of(register["zone"], now)
        start_on = today - timedelta(days=REPORTING_DAYS)
        yield _Comparison(
            LAST_30_DAYS,
            register,
            today,
            baseline_start_on(start_on),
            start_on,
            start_on,
            today,
        )


def _row(each: _Comparison, days: Days) -> dict[str, Any]:
    fit, refusal = None, each.refusal
    reporting = days.between(each.reporting_start_on, each.reporting_end_on)
    if not each.register["is_energy"]:
        refusal = Refusal("not_energy", "it counts no energy (m3 perhaps), and a baseline is kWh.")
    if refusal is None:
        fit, refusal = fit_baseline(
            days,
            each.baseline_start_on,
            each.baseline_end_on,
            commodity=each.register["commodity"],
        )
    both = reporting.with_temperature()
    if refusal is None and not len(both):
        refusal = Refusal(
            "insufficient_days",
            f"no day from {each.reporting_start_on} to {each.reporting_end_on} has both enough "
            "coverage and an outdoor temperature.",
        )
    used = both if refusal is None else reporting
    row: dict[str, Any] = {
        "measure_id": each.measure_id,
        "site_id": each.register["site_id"],
        "register_id": each.register["register_id"],
        "computed_on": each.computed_on,
        "baseline_start_on": each.baseline_start_on,
        "baseline_end_on": each.baseline_end_on,
        "reporting_start_on": each.reporting_start_on,
        "reporting_end_on": each.reporting_end_on,
        "n_baseline_days": len(
            days.between(each.baseline_start_on, each.baseline_end_on).with_temperature()
        ),
        "n_reporting_days": len(used),
        **{name: getattr(fit, name, None) for name in FIT_COLUMNS},
        "measured_kwh": used.total_kwh(),
        "reason": None if refusal is None else str(refusal),
    }
    measured = used.total_kwh()
    if refusal is None and fit is not None and measured is not None:
        expected = float(fit.expected_kwh(used.temperature_degc).sum())
        row["baseline_kwh"] = expected
        row["savings_kwh"] = expected - measured
        row["savings_pct"] = 100.0 * (expected - measured) / expected if expected > 0.0 else None
        row["uncertainty_kwh"] = fit.uncertainty_kwh(expected, len(used))
    return row


def _vendor_figures(
    vendor_figures: pl.DataFrame, mains: pl.DataFrame
) -> dict[tuple[str, date], dict[str, Any]]:
    """A vendor's last 30 days by register and day of the fetch."""
    single = mains.filter(pl.len().over("meter_id") == 1).select("register_id", "meter_id")
    rows: Iterable[dict[str, Any]] = (
        vendor_figures.filter(pl.col("period") == LAST_30_DAYS)
        .sort("vendor")
        .unique(["meter_id", "fetched_on"], keep="first", maintain_order=True)
        .join(single, on="meter_id")
        .iter_rows(named=True)
    )
    return {(row["register_id"], row["fetched_on"]): row for row in rows}


def _beside_vendor(figure: dict[str, Any] | None, days: Days, each: _Comparison) -> dict[str, Any]:
    if figure is None:
        return {}
    own = days.between(each.reporting_start_on, each.reporting_end_on)
    own_kwh, theirs_kwh = own.total_kwh(), figure["energy_kwh"]
    is_comparable = len(own) == REPORTING_DAYS and own_kwh is not None and own_kwh > 0.0
    difference = None
    if is_comparable and own_kwh is not None and theirs_kwh is not None:
        difference = 100.0 * (theirs_kwh - own_kwh) / own_kwh
    return {
        "vendor": figure["vendor"],
        "vendor_measured_kwh": theirs_kwh,
        "vendor_cost": figure["cost_eur"],
        "vendor_difference_pct": difference,
    }
