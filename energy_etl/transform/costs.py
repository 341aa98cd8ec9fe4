"""Energy at the price in force: cost per register and local day, and per period beside a vendor's.

Prices are instants by then (`tariffs.py`); the cost of the running month is `cost_forecast.py`.
"""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.tables.mart import DAILY_COST, PERIOD_COST
from energy_etl.transform.axis import Axis
from energy_etl.transform.sums import exact_sum
from energy_etl.transform.tariffs import SITE_TARIFF, build_schedule, list_prices
from energy_etl.transform.trends import MIN_COVERAGE_PCT
from energy_etl.transform.windows import (
    is_energy_register,
    part_of,
    period_windows,
    sum_windows,
)
from energy_etl.units import M3_PER_UNIT

VENDOR_CURRENCY: Final = "EUR"  # core.vendor_figure and core.vendor_month hold cost_eur

_ONE_MICROSECOND: Final = pl.duration(microseconds=1)


def priced_registers(registers: pl.DataFrame, tariffs: pl.DataFrame) -> pl.DataFrame:
    """Pick the registers that a tariff applies to: primary, of its site, commodity and role.

    Args:
        registers: `core.register`, all of a site's.
        tariffs: `core.tariff`.

    Returns:
        Their rows sorted by register_id, with lane (an integer per site, commodity and role) and
        has_kwh: False for a counter of volume, which no price per kWh can price.
    """
    lanes = tariffs.select(SITE_TARIFF).unique().sort(SITE_TARIFF).with_row_index("lane")
    is_volume = (pl.col("kind") != "instant") & pl.col("unit").is_in(list(M3_PER_UNIT))
    return (
        registers.with_columns(has_kwh=is_energy_register())
        .filter(pl.col("is_primary"), pl.col("has_kwh") | is_volume)
        .join(lanes.cast({"lane": pl.Int64}), on=list(SITE_TARIFF))
        .sort("register_id")
    )


def lane_days(priced: pl.DataFrame, daily: pl.DataFrame) -> pl.DataFrame:
    """Return the local days of each lane, as `list_prices` takes them, at their own prices."""
    return (
        daily.select("register_id", "local_on", "start_at", "end_at")
        .join(priced.select("register_id", "lane", "zone", *SITE_TARIFF), on="register_id")
        .unique(["lane", "local_on"])
        .drop("register_id")
        .with_columns(priced_on="local_on")
    )


def compute_daily_cost(
    intervals: pl.DataFrame | pl.LazyFrame,
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    tariffs: pl.DataFrame,
) -> pl.DataFrame:
    """Price each interval's energy and add up per register and local day.

    `cost = sum(energy_kwh * price_per_kwh)` with the price in force at the interval's start, on the
    wall clock of the site; an interval in which the price changes is split in proportion to time.
    Like its energy, its cost belongs to the local day it starts in. What is exported is a credit:
    cost and price_per_kwh are negative (for a positive tariff).

    Args:
        intervals: `core.interval` (register_id, start_at, end_at, energy_kwh), in any order.
        daily: `mart.daily_energy` of the same intervals: its days get a row.
        registers: `core.register`, all of a site's.
        tariffs: `core.tariff`. Of two prices at one instant: see `build_schedule`.

    Returns:
        `mart.daily_cost`, sorted by register_id, local_on; for each register that a tariff applies
        to, also for days without energy. cost and priced_kwh are null when no energy has a price,
        unpriced_kwh is null when all has one. A counter of volume (gas in m3) has rows of nulls: a
        price per kWh says nothing about m3. currency is the day's; of a day without a price that
        of the last priced day before it, or after.

    Raises:
        ConfigurationError: a zone is unknown.
    """
    priced = priced_registers(registers, tariffs)
    if priced.is_empty() or daily.is_empty():
        return DAILY_COST.empty_frame()
    prices = list_prices(build_schedule(tariffs), lane_days(priced, daily))
    costs = price_energy(intervals, priced.select("register_id", "lane"), prices)
    sign = pl.when(pl.col("role") == "export").then(-1.0).otherwise(1.0)
    return (
        daily.select("register_id", "local_on", "coverage_pct")
        .join(priced.select("register_id", "site_id", "role", "lane"), on="register_id")
        .join(_currencies(priced, prices, tariffs), on=["lane", "local_on"])
        .join(costs.drop("lane"), on=["register_id", "local_on"], how="left")
        .with_columns(cost=sign * pl.col("cost"))
        .with_columns(
            price_per_kwh=pl.when(pl.col("priced_kwh") != 0).then(
                pl.col("cost") / pl.col("priced_kwh")
            )
        )
        .select(DAILY_COST.polars_schema.names())
        .cast(DAILY_COST.polars_schema)
        .sort("register_id", "local_on")
    )


def price_energy(
    intervals: pl.DataFrame | pl.LazyFrame, series: pl.DataFrame, prices: pl.DataFrame
) -> pl.DataFrame:
    """Add up energy and energy times price per register, lane and local day.

    Args:
        intervals: register_id, start_at, end_at, energy_kwh; those that start outside the days of
            the lane are left out.
        series: register_id and lane; a register may stand on several lanes.
        prices: as `list_prices` gives them.

    Returns:
        One row per register_id, lane and local_on that has energy, not sorted: priced_kwh,
        unpriced_kwh, cost (never negated); null as in `mart.daily_cost`.
    """
    # Each end closes its stretch too, so that an interval beyond a lane's days, or between them,
    # finds an edge that begins no stretch.
    edges = pl.concat(
        [
            prices.select("lane", edge_at="start_at"),
            prices.select("lane", edge_at="end_at"),
        ]
    ).unique()
    axis = Axis.from_edges(edges)
    numbered = series.with_row_index("series_no")
    n_series = numbered.height
    base = (
        intervals.lazy()
        .filter(pl.col("energy_kwh").is_not_null())
        .join(numbered.lazy(), on="register_id")
        .select(
            "series_no",
            "start_at",
            "end_at",
            "energy_kwh",
            first=axis.stretch(pl.col("lane"), pl.col("start_at")),
            last=axis.stretch(pl.col("lane"), pl.col("end_at") - _ONE_MICROSECOND),
        )
    )
    # The price of nearly all intervals does not change within them: their energy is added up
    # before it is priced, with one integer as the key of the group.
    cell = pl.col("first") * n_series + pl.col("series_no").cast(pl.Int64)
    whole, split = pl.collect_all(
        [
            base.filter(pl.col("first") == pl.col("last"))
            .select("energy_kwh", cell=cell)
            .group_by("cell")
            .agg(energy_kwh=exact_sum(pl.col("energy_kwh"))),
            base.filter(pl.col("first") != pl.col("last")),
        ],
        engine="streaming",
    )
    stretches = prices.select(
        "local_on",
        "price_per_kwh",
        stretch_at="start_at",
        stretch_end_at="end_at",
        stretch=axis.stretch(pl.col("lane"), pl.col("start_at")),
    )
    of_whole = whole.select(
        (pl.col("cell") % n_series).cast(pl.UInt32).alias("series_no"),
        (pl.col("cell") // n_series).alias("stretch"),
        "energy_kwh",
    ).join(stretches.select("stretch", "local_on", "price_per_kwh"), on="stretch")
    columns = ["series_no", "local_on", "price_per_kwh", "energy_kwh"]
    is_priced = pl.col("price_per_kwh").is_not_null()
    energy = pl.col("energy_kwh")
    return (
        pl.concat([of_whole.select(columns), _split(split, stretches).select(columns)])
        .group_by("series_no", "local_on")
        .agg(
            priced_kwh=exact_sum(pl.when(is_priced).then(energy)),
            unpriced_kwh=exact_sum(pl.when(~is_priced).then(energy)),
            cost=exact_sum(energy * pl.col("price_per_kwh")),
        )
        .join(numbered, on="series_no")
        .drop("series_no")
    )


def compute_period_costs(
    daily_cost: pl.DataFrame,
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    vendor_figures: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Add up costs over the six periods, and put a vendor's beside them.

    `cost_trend_pct = 100 * (cost - previous) / previous`; null when the previous cost is not above
    0 (not below, for a credit), or when less than 95 % of the intervals of either period were
    measured. `price_per_kwh = cost / energy`, null without energy.

    Args:
        daily_cost: `mart.daily_cost`; its registers get rows.
        daily: `mart.daily_energy`.
        registers: `core.register`, all of a site's.
        vendor_figures: `core.vendor_figure`; costs fetched on the computed day stand beside the
            meter's mains register, when it has exactly one primary one. Of several vendors the
            first by name.
        now: the instant of the computation, from whose local date the periods are counted.

    Returns:
        `mart.period_cost`, sorted by register_id, period, computed_on. cost is null when some
        energy of the period has no price (unpriced_kwh), or when it has two currencies. Compared
        with a vendor only in the vendor's currency, EUR, and from 95 % coverage on: what we did
        not measure is no difference of the vendor's.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    currencies = daily_cost.sort("local_on").group_by("register_id").agg(pl.col("currency").last())
    chosen = registers.with_columns(has_kwh=is_energy_register()).join(currencies, on="register_id")
    if chosen.is_empty():
        return PERIOD_COST.empty_frame()
    windows = period_windows(chosen["zone"].unique().sort(), now)
    totals = sum_windows(daily, chosen, windows).join(
        _sum_costs(daily_cost, chosen, windows), on=["register_id", "period", "part"], how="left"
    )
    key = ["register_id", "period"]
    figures = ("energy_kwh", "cost", "unpriced_kwh", "coverage_pct")
    rows = (
        part_of(totals, "current", "computed_on", "start_on", "end_on", *figures)
        .join(part_of(totals, "previous", *figures, prefix="previous_"), on=key)
        .join(chosen.select("register_id", "site_id", "meter_id", "role", "currency"), on=key[0])
        .join(
            _vendor_costs(vendor_figures, chosen),
            on=["register_id", "period", "computed_on"],
            how="left",
        )
    )
    sign = pl.when(pl.col("role") == "export").then(-1.0).otherwise(1.0)
    cost, previous, energy = pl.col("cost"), pl.col("previous_cost"), pl.col("energy_kwh")
    is_sound = (
        (sign * previous > 0)
        & (pl.col("coverage_pct") >= MIN_COVERAGE_PCT)
        & (pl.col("previous_coverage_pct") >= MIN_COVERAGE_PCT)
    )
    is_comparable = (
        (cost > 0)
        & (pl.col("currency") == VENDOR_CURRENCY)
        & (pl.col("coverage_pct") >= MIN_COVERAGE_PCT)
    )
    return (
        rows.with_columns(
            cost_trend_pct=pl.when(is_sound).then(100.0 * (cost - previous) / previous),
            price_per_kwh=pl.when(energy != 0).then(cost / energy),
            vendor_price_per_kwh=pl.when(pl.col("vendor_energy_kwh") > 0).then(
                pl.col("vendor_cost") / pl.col("vendor_energy_kwh")
            ),
            vendor_difference_pct=pl.when(is_comparable).then(
                100.0 * (pl.col("vendor_cost") - cost) / cost
            ),
        )
        .select(PERIOD_COST.polars_schema.names())
        .cast(PERIOD_COST.polars_schema)
        .sort(PERIOD_COST.key)
    )


def only_mains(registers: pl.DataFrame) -> pl.DataFrame:
    """Return register_id and meter_id of the meters with exactly one primary mains register.

    Args:
        registers: rows of `core.register` with has_kwh, of a site at least.
    """
    is_mains = (pl.col("role") == "mains") & pl.col("is_primary") & pl.col("has_kwh")
    mains = registers.filter(is_mains).filter(pl.len().over("meter_id") == 1)
    return mains.select("register_id", "meter_id")


def _split(split: pl.DataFrame, stretches: pl.DataFrame) -> pl.DataFrame:
    """Share the energy of intervals among the stretches they lie in, in proportion to time."""
    pieces = (
        split.join(stretches.select("local_on", first="stretch"), on="first")
        .with_columns(stretch=pl.int_ranges("first", pl.col("last") + 1))
        .explode("stretch", empty_as_null=False)
        .join(stretches.drop("local_on"), on="stretch", how="left")
    )
    # Beyond the last day there is no stretch, and no price either.
    start_at = pl.max_horizontal("start_at", "stretch_at")
    end_at = pl.min_horizontal("end_at", "stretch_end_at")
    length = (pl.col("end_at") - pl.col("start_at")).dt.total_microseconds()
    share = (end_at - start_at).dt.total_microseconds() / length
    return pieces.with_columns(energy_kwh=pl.col("energy_kwh") * share)


def _currencies(priced: pl.DataFrame, prices: pl.DataFrame, tariffs: pl.DataFrame) -> pl.DataFrame:
    """One row per lane and local day: its currency, never null."""
    some = tariffs.sort("valid_from_on").group_by(SITE_TARIFF).agg(pl.col("currency").first())
    lanes = priced.select("lane", *SITE_TARIFF).unique().join(some, on=SITE_TARIFF)
    of_lane = (pl.col("currency").forward_fill().backward_fill()).over("lane")
    return (
        prices.group_by("lane", "local_on")
        .agg(pl.col("currency").first())
        .sort("lane", "local_on")
        .with_columns(of_lane)
        .join(lanes.select("lane", some_currency="currency"), on="lane")
        .select("lane", "local_on", currency=pl.coalesce("currency", "some_currency"))
    )


def _sum_costs(
    daily_cost: pl.DataFrame, registers: pl.DataFrame, windows: pl.DataFrame
) -> pl.DataFrame:
    """Add up costs per register and window: register_id, period, part, cost, unpriced_kwh."""
    wanted = registers.select("register_id", "zone").join(
        windows.select("zone", "period", "part", "start_on", "end_on"), on="zone"
    )
    recent = daily_cost.filter(
        pl.col("local_on") >= windows["start_on"].min(),
        pl.col("local_on") < windows["end_on"].max(),
    )
    is_whole = (pl.col("unpriced_kwh").fill_null(0.0) == 0) & (pl.col("n_currencies") <= 1)
    return (
        recent.select("register_id", "local_on", "currency", "cost", "unpriced_kwh")
        .join(wanted, on="register_id")
        .filter(pl.col("local_on").is_between("start_on", "end_on", closed="left"))
        .group_by("register_id", "period", "part")
        .agg(
            cost=exact_sum(pl.col("cost")),
            unpriced_kwh=exact_sum(pl.col("unpriced_kwh")),
            n_currencies=pl.col("currency").filter(pl.col("cost").is_not_null()).n_unique(),
        )
        .with_columns(cost=pl.when(is_whole).then("cost"))
        .drop("n_currencies")
    )


def _vendor_costs(vendor_figures: pl.DataFrame, registers: pl.DataFrame) -> pl.DataFrame:
    """Vendor columns per register_id, period and computed_on."""
    return (
        vendor_figures.filter(pl.col("cost_eur").is_not_null())
        .sort("vendor")
        .unique(["meter_id", "period", "fetched_on"], keep="first", maintain_order=True)
        .join(only_mains(registers), on="meter_id")
        .select(
            "register_id",
            "period",
            "vendor",
            computed_on="fetched_on",
            vendor_energy_kwh="energy_kwh",
            vendor_cost="cost_eur",
            vendor_cost_trend_pct="cost_trend_pct",
        )
    )
