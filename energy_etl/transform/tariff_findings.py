"""What is wrong with the tariffs, as rows of `mart.finding`. Mended in tariffs.csv, not here."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.periods import load_zone
from energy_etl.tables.mart import FINDING
from energy_etl.transform.costs import lane_days, priced_registers
from energy_etl.transform.sums import exact_sum
from energy_etl.transform.tariffs import SITE_TARIFF, build_schedule, list_prices

_LOCAL: Final = "%Y-%m-%d %H:%M"


def find_tariff_faults(
    daily_cost: pl.DataFrame,
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    tariffs: pl.DataFrame,
) -> pl.DataFrame:
    """List holes and contradictions of the tariffs, within the days that have energy.

    Kinds, each at most once per site, commodity and role: `tariff_gap` (energy without a price),
    `tariff_overlap` (two prices at one instant), `tariff_currency` (two currencies on one day),
    `tariff_without_kwh` (it prices a counter of volume), `tariff_unused` (the site has no primary
    register of that commodity and role).

    Args:
        daily_cost: `mart.daily_cost`.
        daily: `mart.daily_energy` of the same intervals.
        registers: `core.register`, all of a site's.
        tariffs: `core.tariff`.

    Returns:
        `mart.finding`, sorted by kind, place; from_at and to_at span the first to the last instant.
        Instants in the message are the site's local time.

    Raises:
        ConfigurationError: a zone is unknown.
    """
    priced = priced_registers(registers, tariffs)
    unused = tariffs.join(priced, on=list(SITE_TARIFF), how="anti")
    found = [*_without_kwh(priced), *_unused(unused)]
    if not priced.is_empty() and not daily.is_empty():
        prices = list_prices(build_schedule(tariffs), lane_days(priced, daily))
        unpriced = (
            daily_cost.filter(pl.col("unpriced_kwh").fill_null(0.0) != 0)
            .join(priced.select("register_id", "lane"), on="register_id")
            .group_by("lane", "local_on")
            .agg(exact_sum(pl.col("unpriced_kwh")))
        )
        holes = prices.filter(pl.col("price_per_kwh").is_null())
        is_other = pl.col("is_other_currency")
        gaps = holes.filter(~is_other).join(
            unpriced, on=["lane", "local_on"], maintain_order="left"
        )
        lanes = priced.select("lane", "zone", *SITE_TARIFF).unique("lane").sort("lane")
        for lane in lanes.iter_rows(named=True):
            at = pl.col("lane") == lane["lane"]
            found += _gap(lane, gaps.filter(at))
            found += _overlap(lane, prices.filter(at, pl.col("other_price_per_kwh").is_not_null()))
            found += _currency(lane, holes.filter(at, is_other))
    return pl.DataFrame(found, schema=FINDING.polars_schema, orient="row").sort(FINDING.key)


def _gap(lane: dict, holes: pl.DataFrame) -> Iterator[tuple]:
    if holes.is_empty():
        return
    energy_kwh = holes.unique("local_on")["unpriced_kwh"].sum()
    yield _row(
        "tariff_gap",
        lane,
        holes,
        f"{energy_kwh:.1f} kWh of site {lane['site_id']} ({lane['commodity']}, {lane['role']}) "
        f"have no price: tariffs.csv has holes {_span(lane, holes)}, the first one "
        f"{_span(lane, holes.head(1))}. Costs of periods with such energy are null.",
        "Add a row to tariffs.csv for this site, commodity and role whose validity, hours and days "
        "cover them.",
    )


def _overlap(lane: dict, double: pl.DataFrame) -> Iterator[tuple]:
    if double.is_empty():
        return
    first = double.row(0, named=True)
    yield _row(
        "tariff_overlap",
        lane,
        double,
        f"Site {lane['site_id']} ({lane['commodity']}, {lane['role']}) has two prices at one "
        f"instant {_span(lane, double)}, the first time {first['price_per_kwh']:g} and "
        f"{first['other_price_per_kwh']:g} {first['currency']}: the row with the later "
        "valid_from_on was used, then the one for fewer days, then for fewer hours.",
        "End the older row in tariffs.csv (valid_to_on is the first day after it), or cut its "
        "hours or days.",
    )


def _currency(lane: dict, other: pl.DataFrame) -> Iterator[tuple]:
    if other.is_empty():
        return
    yield _row(
        "tariff_currency",
        lane,
        other,
        f"Site {lane['site_id']} ({lane['commodity']}, {lane['role']}) has prices in two "
        f"currencies on one day {_span(lane, other)}: energy in the currency that is not the "
        "day's first has no cost.",
        "Write one currency for all rows of tariffs.csv that are valid on one day.",
    )


def _without_kwh(priced: pl.DataFrame) -> Iterator[tuple]:
    for row in priced.filter(~pl.col("has_kwh")).iter_rows(named=True):
        yield (
            "tariff_without_kwh",
            row["register_id"],
            None,
            None,
            f"Register {row['register_id']} counts {row['unit']}, so its tariff per kWh cannot "
            "price it and its cost is null.",
            "Map a register that counts kWh as the primary one, or remove the tariff of "
            f"{row['commodity']} at site {row['site_id']} from tariffs.csv.",
        )


def _unused(unused: pl.DataFrame) -> Iterator[tuple]:
    for site_id, commodity, role in unused.select(SITE_TARIFF).unique().sort(SITE_TARIFF).rows():
        yield (
            "tariff_unused",
            f"{site_id}: {commodity} {role}",
            None,
            None,
            f"tariffs.csv prices {commodity} of role {role} at site {site_id}, which has no "
            "primary register of that kind, so nothing is priced by it.",
            "Correct commodity and role in tariffs.csv, or add the register to registers.csv.",
        )


def _row(kind: str, lane: dict, stretches: pl.DataFrame, message: str, next_step: str) -> tuple:
    place = f"{lane['site_id']}: {lane['commodity']} {lane['role']}"
    bounds = stretches["start_at"].min(), stretches["end_at"].max()
    return kind, place, *bounds, message, next_step


def _span(lane: dict, stretches: pl.DataFrame) -> str:
    """Return "from ... to ..." in the site's local time."""
    zone = load_zone(lane["zone"])
    start_at, end_at = stretches["start_at"].min(), stretches["end_at"].max()
    if not isinstance(start_at, datetime) or not isinstance(end_at, datetime):
        return ""
    return (
        f"from {start_at.astimezone(zone).strftime(_LOCAL)} to "
        f"{end_at.astimezone(zone).strftime(_LOCAL)}"
    )
