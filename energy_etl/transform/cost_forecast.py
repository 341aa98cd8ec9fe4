"""Energy and cost of the running month (`mart.cost_forecast`), beside a vendor's forecast.

A day that is left uses what the same kind of day used lately, by the clock, at the prices that are
known for that day: a tariff that changes in the month, or changed just before, is in the forecast.
"""

from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from energy_etl.periods import ONE_DAY, days_between, local_day_of
from energy_etl.tables.mart import COST_FORECAST
from energy_etl.transform.costs import (
    VENDOR_CURRENCY,
    only_mains,
    price_energy,
    priced_registers,
)
from energy_etl.transform.sums import exact_sum
from energy_etl.transform.tariffs import (
    SATURDAY,
    SITE_TARIFF,
    build_schedule,
    list_prices,
    with_span,
)

REFERENCE_DAYS: Final = 28  # four of each weekday
MIN_USABLE_DAYS: Final = 14
# CalTRACK's daily sufficiency; energy estimated within a measured total is known by the day.
MIN_KNOWN_SHARE: Final = 0.9

_KIND: Final = ["register_id", "is_weekend"]
_MONTH_SCHEMA: Final = pl.Schema(
    {
        "zone": pl.String(),
        "computed_on": pl.Date(),
        "month_on": pl.Date(),
        "next_month_on": pl.Date(),
    }
)


def compute_cost_forecasts(
    intervals: pl.DataFrame | pl.LazyFrame,
    daily: pl.DataFrame,
    daily_cost: pl.DataFrame,
    registers: pl.DataFrame,
    tariffs: pl.DataFrame,
    vendor_months: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Forecast the month of each register that has costs.

    `forecast = days before D + sum over the days left of the mean of the same kind of day`, where
    the mean is over the usable weekdays (or weekend days) of the 28 days before D, and their energy
    is priced, by the clock, with the tariff of the day that is left. A day is usable when at least
    90 % of its intervals have energy. Days of the month before D that are not usable are forecast
    like those left (`n_days_filled`); `energy_so_far_kwh` and `cost_so_far` hold what is there of
    them. A mean day has the length it has: clock changes within a month are not corrected for.

    Args:
        intervals: `core.interval` (register_id, start_at, end_at, energy_kwh), in any order.
        daily: `mart.daily_energy` of them.
        daily_cost: `mart.daily_cost` of them; its registers get rows.
        registers: `core.register`, all of a site's.
        tariffs: `core.tariff`.
        vendor_months: `core.vendor_month`; forecasts of the month stand beside the meter's mains
            register, when it has exactly one primary one. Of several vendors the first by name.
        now: the instant of the computation; its local date in each site's zone is D.

    Returns:
        `mart.cost_forecast`, one row per register, sorted. Refused with a reason: fewer than 14
        usable days, no usable day of a kind that is needed, and (the cost alone) a day or hour
        without a price, or a second currency. On the first of a month nothing is so far: null.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    currencies = (
        daily_cost.sort("local_on").group_by("register_id").agg(pl.col("currency").last())
    )
    priced = priced_registers(registers, tariffs).join(currencies, on="register_id")
    if priced.is_empty():
        return COST_FORECAST.empty_frame()
    priced = priced.join(_months(priced["zone"].unique().sort().to_list(), now), on="zone")
    days = _recent_days(priced, daily, daily_cost)
    wanted = pl.concat([_days_left(priced), _days_to_fill(days)])
    usual = days.filter(pl.col("is_reference"), pl.col("is_usable"))
    expected = _expected(wanted, usual, intervals, priced, tariffs)
    rows = (
        priced.join(_so_far(days), on="register_id", how="left")
        .join(
            usual.group_by("register_id").agg(n_usable=pl.len()), on="register_id", how="left"
        )
        .join(expected, on="register_id", how="left")
        .join(_vendor_forecasts(vendor_months, priced), on=["register_id", "month_on"], how="left")
    )
    return _finish(rows)


def _months(zones: list[str], now: datetime) -> pl.DataFrame:
    rows = []
    for zone in zones:
        local_on = local_day_of(zone, now)
        month_on = local_on.replace(day=1)
        next_month_on = (month_on + timedelta(days=31)).replace(day=1)
        rows.append((zone, local_on, month_on, next_month_on))
    return pl.DataFrame(rows, schema=_MONTH_SCHEMA, orient="row")


def _recent_days(
    priced: pl.DataFrame, daily: pl.DataFrame, daily_cost: pl.DataFrame
) -> pl.DataFrame:
    """List every day of the month before D, and of the 28 before D, also those without a row."""
    known = pl.col("n_measured") + pl.col("n_estimated") >= MIN_KNOWN_SHARE * pl.col("n_expected")
    is_usable = pl.col("energy_kwh").is_not_null() & known
    listed = pl.concat(
        _each_day(first_on, day_on, zone, month_on)
        for zone, day_on, month_on in priced.select("zone", "computed_on", "month_on")
        .unique()
        .iter_rows()
        for first_on in [min(month_on, day_on - timedelta(days=REFERENCE_DAYS))]
    )
    return (
        priced.select("register_id", "zone", "lane")
        .join(listed, on="zone")
        .join(
            daily.select("register_id", "local_on", "start_at", "end_at", "energy_kwh", is_usable=is_usable),
            on=["register_id", "local_on"],
            how="left",
        )
        .join(
            daily_cost.select("register_id", "local_on", "cost", "unpriced_kwh", "currency"),
            on=["register_id", "local_on"],
            how="left",
        )
        .with_columns(
            pl.col("is_usable").fill_null(value=False),
            is_weekend=pl.col("local_on").dt.weekday() >= SATURDAY,
        )
    )


def _each_day(first_on: date, day_on: date, zone: str, month_on: date) -> pl.DataFrame:
    local_on = pl.Series("local_on", days_between(first_on, day_on), dtype=pl.Date)
    reference_on = day_on - timedelta(days=REFERENCE_DAYS)
    return local_on.to_frame().select(
        pl.lit(zone).alias("zone"),
        "local_on",
        is_reference=pl.col("local_on") >= reference_on,
        is_of_month=pl.col("local_on") >= month_on,
    )


def _days_left(priced: pl.DataFrame) -> pl.DataFrame:
    """List register_id and local_on of the days from D to the end of the month."""
    left = pl.date_ranges("computed_on", pl.col("next_month_on") - ONE_DAY)
    return priced.select("register_id", local_on=left).explode("local_on", empty_as_null=False)


def _days_to_fill(days: pl.DataFrame) -> pl.DataFrame:
    to_fill = days.filter(pl.col("is_of_month"), ~pl.col("is_usable"))
    return to_fill.select("register_id", "local_on")


def _so_far(days: pl.DataFrame) -> pl.DataFrame:
    """Add up the month's days before D per register: all of them, and the usable ones."""
    of_month = days.filter(pl.col("is_of_month"))
    is_priced = pl.col("unpriced_kwh").fill_null(0.0) == 0
    has_cost = pl.col("cost").is_not_null()
    is_usable = pl.col("is_usable")
    return of_month.group_by("register_id").agg(
        n_days_filled=(~is_usable).sum(),
        energy_so_far_kwh=exact_sum(pl.col("energy_kwh")),
        cost_so_far=pl.when(is_priced.all()).then(exact_sum(pl.col("cost"))),
        usable_kwh=exact_sum(pl.col("energy_kwh").filter(is_usable)),
        usable_cost=exact_sum(pl.col("cost").filter(is_usable)),
        unpriced_on=pl.col("local_on").filter(~is_priced).min(),
        n_currencies=pl.col("currency").filter(has_cost).n_unique(),
    )


def _expected(
    wanted: pl.DataFrame,
    usual: pl.DataFrame,
    intervals: pl.DataFrame | pl.LazyFrame,
    priced: pl.DataFrame,
    tariffs: pl.DataFrame,
) -> pl.DataFrame:
    """Add up, per register, what the days that are wanted will use and cost.

    Returns:
        register_id, expected_kwh, expected_cost, n_without (days of a kind that no usable day
        shows), later_unpriced_on (the first day with energy that has no price), later_currencies.
    """
    schedule = build_schedule(tariffs)
    lanes = priced.select("register_id", "lane", "zone", "role", *SITE_TARIFF[:2])
    dated = with_span(wanted.join(lanes, on="register_id").with_columns(priced_on="local_on"), schedule)
    # A case is one span of a site's schedule: what its usual days would cost by it.
    cases = (
        dated.group_by("lane", "span_on", "is_weekend", "zone", *SITE_TARIFF)
        .agg(priced_on=pl.col("priced_on").min())
        .sort("lane", "span_on", "is_weekend")
        .with_columns(
            case=pl.struct("lane", "span_on").rank("dense").cast(pl.Int64) - 1,
        )
    )
    of_case = cases.select("lane", "span_on", "case").unique()
    repriced = _repriced(intervals, usual, lanes, cases, schedule)
    energy = usual.group_by(_KIND).agg(usual_kwh=pl.col("energy_kwh").mean())
    columns = ["register_id", "case", "is_weekend"]
    each = (
        dated.join(of_case, on=["lane", "span_on"])
        .join(energy, on=_KIND, how="left")
        .join(repriced, on=columns, how="left")
    )
    is_unpriced = pl.col("usual_unpriced_kwh") != 0
    return each.group_by("register_id").agg(
        expected_kwh=exact_sum(pl.col("usual_kwh")),
        expected_cost=exact_sum(pl.col("usual_cost")),
        n_without=pl.col("usual_kwh").is_null().sum(),
        later_unpriced_on=pl.col("local_on").filter(is_unpriced).min(),
        later_currencies=pl.col("usual_currency").drop_nulls().unique(),
    )
