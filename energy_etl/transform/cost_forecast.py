"""Energy and cost of the running month (`mart.cost_forecast`), beside a vendor's forecast.

A day that is left uses what the same kind of day used lately, by the clock, at the prices that are
known for that day: a tariff that changes in the month, or changed just before, is in the forecast.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from energy_etl.periods import local_day_of
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
    currencies = daily_cost.sort("local_on").group_by("register_id").agg(pl.col("currency").last())
    priced = priced_registers(registers, tariffs).join(currencies, on="register_id")
    if priced.is_empty():
        return COST_FORECAST.empty_frame()
    priced = priced.join(_months(priced["zone"].unique().sort().to_list(), now), on="zone")
    days = _recent_days(priced, daily, daily_cost)
    usual = days.filter(pl.col("is_reference"), pl.col("is_usable"))
    expected = _expected(_wanted_days(priced, days), usual, intervals, priced, tariffs)
    n_usable = usual.group_by("register_id").agg(n_usable=pl.len())
    rows = (
        priced.join(_so_far(days), on="register_id", how="left")
        .join(n_usable, on="register_id", how="left")
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
    day_on, month_on = pl.col("computed_on"), pl.col("month_on")
    reference_on = day_on.dt.offset_by(f"-{REFERENCE_DAYS}d")
    known = pl.col("n_measured") + pl.col("n_estimated")
    is_usable = (
        pl.col("energy_kwh").is_not_null() & (known >= MIN_KNOWN_SHARE * pl.col("n_expected"))
    ).alias("is_usable")
    bounds = ("start_at", "end_at")
    key = ["register_id", "local_on"]
    return (
        priced.select(
            "register_id",
            "lane",
            "currency",
            "month_on",
            reference_on=reference_on,
            local_on=pl.date_ranges(
                pl.min_horizontal(reference_on, month_on), day_on, closed="left"
            ),
        )
        .explode("local_on", empty_as_null=False)
        .join(daily.select(*key, *bounds, "energy_kwh", is_usable), on=key, how="left")
        .join(
            daily_cost.select(*key, "cost", "unpriced_kwh", day_currency="currency"),
            on=key,
            how="left",
        )
        .with_columns(
            pl.col("is_usable").fill_null(value=False),
            is_weekend=_is_weekend(),
            is_reference=pl.col("local_on") >= pl.col("reference_on"),
            is_of_month=pl.col("local_on") >= pl.col("month_on"),
            is_unpriced=(pl.col("unpriced_kwh").fill_null(0.0) != 0)
            | (pl.col("cost").is_not_null() & (pl.col("day_currency") != pl.col("currency"))),
        )
    )


def _is_weekend() -> pl.Expr:
    return pl.col("local_on").dt.weekday() >= SATURDAY


def _wanted_days(priced: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """List register_id and local_on of the days to forecast: D to the end, and those to fill."""
    left = pl.date_ranges("computed_on", "next_month_on", closed="left")
    to_fill = days.filter(pl.col("is_of_month"), ~pl.col("is_usable"))
    return pl.concat(
        [
            priced.select("register_id", local_on=left).explode("local_on", empty_as_null=False),
            to_fill.select("register_id", "local_on"),
        ]
    )


def _so_far(days: pl.DataFrame) -> pl.DataFrame:
    """Add up the month's days before D per register: all of them, and the usable ones."""
    is_usable, is_unpriced = pl.col("is_usable"), pl.col("is_unpriced")
    return (
        days.filter(pl.col("is_of_month"))
        .group_by("register_id")
        .agg(
            n_days_filled=(~is_usable).sum(),
            energy_so_far_kwh=exact_sum(pl.col("energy_kwh")),
            cost_so_far=pl.when(~is_unpriced.any()).then(exact_sum(pl.col("cost"))),
            usable_kwh=exact_sum(pl.col("energy_kwh").filter(is_usable)),
            usable_cost=exact_sum(pl.col("cost").filter(is_usable)),
            unpriced_on=pl.col("local_on").filter(is_unpriced & is_usable).min(),
        )
    )


def _expected(
    wanted: pl.DataFrame,
    usual: pl.DataFrame,
    intervals: pl.DataFrame | pl.LazyFrame,
    priced: pl.DataFrame,
    tariffs: pl.DataFrame,
) -> pl.DataFrame:
    """Add up what the wanted days will use and cost.

    Returns:
        One row per register_id: expected_kwh, expected_cost, without_usual_on (the first day of a
        kind that no usable day shows), expected_unpriced_on (the first day with energy that has no
        price).
    """
    schedule = build_schedule(tariffs)
    small = priced.select("register_id", "lane", "zone", "currency", *SITE_TARIFF)
    dated = with_span(
        wanted.join(small, on="register_id").with_columns(priced_on="local_on"), schedule
    )
    # A case is one span of a site's schedule: the usual days are priced once by each.
    dated = dated.with_columns(
        case=pl.struct("lane", "span_on").rank("dense").cast(pl.Int64),
    )
    costs = _usual_costs(dated, usual, intervals, schedule)
    energy = usual.group_by(_KIND).agg(usual_kwh=pl.col("energy_kwh").mean())
    return (
        dated.join(energy, on=_KIND, how="left")
        .join(costs, on=["register_id", "case", "is_weekend"], how="left")
        .group_by("register_id")
        .agg(
            expected_kwh=exact_sum(pl.col("usual_kwh")),
            expected_cost=exact_sum(pl.col("usual_cost")),
            without_usual_on=pl.col("local_on").filter(pl.col("usual_kwh").is_null()).min(),
            expected_unpriced_on=pl.col("local_on").filter(pl.col("is_unpriced")).min(),
        )
    )


def _usual_costs(
    dated: pl.DataFrame,
    usual: pl.DataFrame,
    intervals: pl.DataFrame | pl.LazyFrame,
    schedule: pl.DataFrame,
) -> pl.DataFrame:
    """Price the usual days by each case that their kind is wanted in.

    Returns:
        register_id, case, is_weekend, usual_cost (mean per day), is_unpriced.
    """
    kinds = dated.group_by("register_id", "case", "is_weekend").agg(pl.col("priced_on").first())
    small = dated.select("register_id", "zone", "currency", *SITE_TARIFF).unique()
    days = (
        usual.select(*_KIND, "local_on", "start_at", "end_at")
        .join(kinds, on=_KIND)
        .join(small, on="register_id")
    )
    none = pl.DataFrame(schema={"usual_cost": pl.Float64, "is_unpriced": pl.Boolean})
    if days.is_empty():
        return kinds.drop("priced_on").clear().hstack(none)
    prices = list_prices(
        schedule,
        days.rename({"case": "lane"})
        .unique(["lane", "local_on"])
        .drop("register_id", "currency", "is_weekend"),
    )
    needed = intervals.lazy().filter(
        pl.col("start_at") >= days["start_at"].min(), pl.col("start_at") < days["end_at"].max()
    )
    series = days.select("register_id", lane="case").unique(maintain_order=True)
    of_day = prices.group_by("lane", "local_on").agg(day_currency=pl.col("currency").first())
    costs = price_energy(needed, series, prices).join(of_day, on=["lane", "local_on"])
    is_foreign = (pl.col("day_currency") != pl.col("currency")).fill_null(value=False)
    return (
        days.rename({"case": "lane"})
        .join(costs, on=["register_id", "lane", "local_on"], how="left")
        .group_by("register_id", "is_weekend", case="lane")
        .agg(
            usual_cost=exact_sum(pl.col("cost")) / pl.len(),
            is_unpriced=((pl.col("unpriced_kwh").fill_null(0.0) != 0) | is_foreign).any(),
        )
    )


def _vendor_forecasts(vendor_months: pl.DataFrame, priced: pl.DataFrame) -> pl.DataFrame:
    """Vendor columns per register_id and month_on."""
    return (
        vendor_months.filter(pl.col("is_forecast"), pl.col("cost_eur").is_not_null())
        .sort("vendor")
        .unique(["meter_id", "month_on"], keep="first", maintain_order=True)
        .join(only_mains(priced), on="meter_id")
        .select("register_id", "month_on", "vendor", vendor_forecast_cost="cost_eur")
    )


def _finish(rows: pl.DataFrame) -> pl.DataFrame:
    n_usable = pl.col("n_usable").fill_null(0)
    unpriced_on = pl.min_horizontal("unpriced_on", "expected_unpriced_on")
    no_energy = (
        pl.when(~pl.col("has_kwh"))
        .then(pl.lit("The register counts volume, and a price per kWh says nothing about m3."))
        .when(n_usable < MIN_USABLE_DAYS)
        .then(
            pl.format(
                f"Only {{}} of the {REFERENCE_DAYS} days before {{}} have at least 90 % of their "
                f"intervals: {MIN_USABLE_DAYS} are needed.",
                n_usable,
                "computed_on",
            )
        )
        .when(pl.col("without_usual_on").is_not_null())
        .then(
            pl.format(
                f"No day like {{}} (weekday or weekend) is usable in the {REFERENCE_DAYS} days "
                "before {}.",
                "without_usual_on",
                "computed_on",
            )
        )
    )
    no_price = pl.when(unpriced_on.is_not_null()).then(
        pl.format(
            "Energy of days like {} has no price in {}: add the price to tariffs.csv.",
            unpriced_on,
            "currency",
        )
    )
    reason = pl.coalesce(no_energy, no_price)
    # On the first of the month nothing is so far, which is nothing to add.
    energy = pl.col("expected_kwh") + pl.col("usable_kwh").fill_null(0.0)
    sign = pl.when(pl.col("role") == "export").then(-1.0).otherwise(1.0)
    cost = sign * pl.col("expected_cost") + pl.col("usable_cost").fill_null(0.0)
    days_left = (pl.col("next_month_on") - pl.col("computed_on")).dt.total_days()
    own = pl.col("forecast_cost")
    is_comparable = (own > 0) & (pl.col("currency") == VENDOR_CURRENCY)
    return (
        rows.with_columns(
            pl.col("n_days_filled").fill_null(0),
            n_days_left=days_left,
            forecast_kwh=pl.when(no_energy.is_null()).then(energy),
            forecast_cost=pl.when(reason.is_null()).then(cost),
            reason=reason,
        )
        .with_columns(
            vendor_difference_pct=pl.when(is_comparable).then(
                100.0 * (pl.col("vendor_forecast_cost") - own) / own
            )
        )
        .select(COST_FORECAST.polars_schema.names())
        .cast(COST_FORECAST.polars_schema)
        .sort("register_id")
    )
