"""What the report says of sites: amounts of periods, costs, coverage, and the days of the charts.

Frames of `sources.py` in, plain objects out. A period is counted from the local day that the
figures were computed on, so that an old computation is shown as what it is.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from energy_etl.errors import ConfigurationError
from energy_etl.periods import (
    Period,
    days_between,
    local_day_bounds,
    local_day_of,
    period_window,
)
from energy_etl.report.appliances import Appliance, readable, stack_appliances
from energy_etl.report.sources import Frames

PERIODS_SHOWN: Final[tuple[Period, ...]] = ("last-week", "last-month")
# Trends need so much on both sides, as in mart.period_trend.
ENOUGH_PCT: Final = 95.0
# Four weeks, so that a day stands on the same weekday of those before.
CHART_DAYS: Final = 28
COMMODITIES: Final = ("electricity", "heat", "gas", "water")


@dataclass(frozen=True)
class Amount:
    """What a site used in a period; `reason` says why a number is missing.

    Attributes:
        amount: in kWh, or m3 for volumes; the sum of what was measured.
        previous: of the period before.
        change_pct: null below 95 % coverage on either side.
        coverage_pct: measured share, of the hours of all days of the period.
    """

    start_on: date | None
    end_on: date | None
    amount: float | None
    previous: float | None
    change_pct: float | None
    coverage_pct: float | None
    reason: str
    change_reason: str


@dataclass(frozen=True)
class Cost:
    """Cost of a site's electricity in a period by our tariffs, what was fed back deducted."""

    amount: float | None
    currency: str
    reason: str


@dataclass(frozen=True)
class Day:
    """A local day of a chart, and the same weekday four weeks before."""

    local_on: date
    hours: float
    amount_kwh: float | None
    previous_kwh: float | None
    coverage_pct: float


@dataclass(frozen=True)
class VendorFigure:
    """A vendor's figure of a period against ours; None: why is in `reason`.

    Attributes:
        coverage_pct: how much of the period we measured; the rest is part of the difference.
    """

    period: str
    coverage_pct: float | None
    own_kwh: float | None
    vendor_kwh: float | None
    difference_pct: float | None
    reason: str


@dataclass
class Site:
    """A site of the report."""

    site_id: str
    name: str
    zone: str
    currency: str
    computed_on: date
    amounts: dict[tuple[str, str], Amount] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    coverage_pct: float | None = None
    last_read_at: datetime | None = None
    days: list[Day] = field(default_factory=list)
    appliances: list[Appliance] = field(default_factory=list)
    # By the vendor and, where it has several meters of the site, the meter.
    vendors: dict[tuple[str, str], list[VendorFigure]] = field(default_factory=dict)

    @property
    def has_energy(self) -> bool:
        """Whether a day of the chart has a figure."""
        return any(day.amount_kwh is not None for day in self.days)


def compute_sites(frames: Frames, now: datetime) -> list[Site]:
    """Return every site with its figures, in the order of their names.

    Args:
        frames: of `SOURCES` by name.
        now: aware; counts where nothing was computed yet.
    """
    sites = [
        Site(
            row["site_id"],
            row["name"] or row["site_id"],
            row["zone"],
            row["currency"],
            _computed_on(frames, row["site_id"], row["zone"], now),
        )
        for row in frames["site"].iter_rows(named=True)
    ]
    by_site = {site.site_id: site for site in sites}
    days: dict[str, dict[str, dict[date, dict]]] = defaultdict(lambda: defaultdict(dict))
    for row in frames["site_daily"].iter_rows(named=True):
        days[row["site_id"]][row["commodity"]][row["local_on"]] = row
    for site in sites:
        for commodity, of_days in days[site.site_id].items():
            for period in PERIODS_SHOWN:
                site.amounts[commodity, period] = _amount(of_days, commodity, period, site)
        site.days = _chart_days(days[site.site_id]["electricity"], site)
    _add_costs(frames, by_site)
    _add_readings(frames, by_site)
    _add_appliances(frames, by_site)
    _add_vendors(frames, by_site)
    return sorted(sites, key=lambda site: (site.name.casefold(), site.site_id))


def unit_of(commodity: str) -> str:
    """Return the unit that a commodity is summed up in."""
    return "m³" if commodity in ("gas", "water") else "kWh"


def _computed_on(frames: Frames, site_id: str, zone: str, now: datetime) -> date:
    for name in ("trend", "coverage"):
        newest = frames[name].filter(pl.col("site_id") == site_id)["computed_on"].max()
        if isinstance(newest, date):
            return newest
    try:
        return local_day_of(zone, now)
    except ConfigurationError:
        # Its row of sites.csv is a finding; the page must not fail with it.
        return now.date()


def _amount(of_days: dict[date, dict], commodity: str, period: Period, site: Site) -> Amount:
    window = period_window(period, site.computed_on)
    if window.start_on is None or window.end_on is None:
        return Amount(None, None, None, None, None, None, "the period is empty", "")
    column = "volume_m3" if unit_of(commodity) == "m³" else "consumption_kwh"
    now = days_between(window.start_on, window.end_on)
    before = days_between(*_both(window.previous_start_on, window.previous_end_on))
    amount, coverage_pct = _sum(of_days, now, column, site.zone)
    previous, previous_coverage_pct = _sum(of_days, before, column, site.zone)
    reason, change_pct = "", None
    if amount is None:
        reason, change_reason = "nothing measured", "nothing measured"
    elif previous is None:
        change_reason = "nothing measured before"
    elif coverage_pct < ENOUGH_PCT or previous_coverage_pct < ENOUGH_PCT:
        which = "" if coverage_pct < ENOUGH_PCT else " before"
        change_reason = f"under {ENOUGH_PCT:.0f} % measured{which}"
    elif previous <= 0:
        change_reason = "nothing used before"
    else:
        change_reason, change_pct = "", 100 * (amount - previous) / previous
    return Amount(
        window.start_on,
        window.end_on,
        amount,
        previous,
        change_pct,
        coverage_pct,
        reason,
        change_reason,
    )


def _both(start_on: date | None, end_on: date | None) -> tuple[date, date]:
    return (start_on, end_on) if start_on and end_on else (date.min, date.min)


def _sum(
    of_days: dict[date, dict], wanted: Iterable[date], column: str, zone: str
) -> tuple[float | None, float]:
    """Return what the days amount to, and how much of them was measured by their hours."""
    total, measured_h, hours = None, 0.0, 0.0
    for on in wanted:
        row = of_days.get(on)
        day_hours = _hours(row, zone, on)
        hours += day_hours
        if row and row[column] is not None:
            total = (total or 0.0) + row[column]
            measured_h += day_hours * (row["coverage_pct"] or 0.0) / 100
    return total, 100 * measured_h / hours if hours else 0.0


def _hours(row: dict | None, zone: str, on: date) -> float:
    """Return how long a day was, also one that has no row because nothing was read on it."""
    if row:
        return row["hours"]
    try:
        start_at, end_at = local_day_bounds(zone, on)
    except ConfigurationError:
        return 24.0
    return (end_at - start_at).total_seconds() / 3600


def _chart_days(of_days: dict[date, dict], site: Site) -> list[Day]:
    computed_on = site.computed_on
    wanted = days_between(computed_on - timedelta(days=CHART_DAYS), computed_on)
    chart = []
    for on in wanted:
        row = of_days.get(on, {})
        before = of_days.get(on - timedelta(days=CHART_DAYS), {})
        chart.append(
            Day(
                on,
                _hours(row, site.zone, on),
                row.get("consumption_kwh"),
                before.get("consumption_kwh"),
                row.get("coverage_pct") or 0.0,
            )
        )
    return chart


def _add_costs(frames: Frames, by_site: dict[str, Site]) -> None:
    # A price of what is fed back alone would make a credit the cost of the site.
    priced = {
        row["site_id"]
        for row in frames["tariff"].iter_rows(named=True)
        if row["commodity"] == "electricity" and row["role"] == "mains"
    }
    rows: dict[tuple[str, str], list[dict]] = defaultdict(list)
    for row in frames["cost"].iter_rows(named=True):
        if row["commodity"] == "electricity":
            rows[row["site_id"], row["period"]].append(row)
    for site in by_site.values():
        for period in PERIODS_SHOWN:
            found = rows[site.site_id, period]
            amounts = [row["cost"] for row in found]
            currencies = sorted({row["currency"] for row in found})
            if site.site_id not in priced:
                cost = Cost(None, site.currency, "no tariff")
            elif len(currencies) > 1:
                cost = Cost(None, site.currency, "tariffs in several currencies")
            elif any(row["unpriced_kwh"] for row in found):
                cost = Cost(None, site.currency, "hole in the tariffs")
            elif any(row["cost"] is None and row["energy_kwh"] is not None for row in found):
                cost = Cost(None, site.currency, "the currency changed")
            elif not found or None in amounts:
                cost = Cost(None, site.currency, "nothing measured")
            else:
                cost = Cost(sum(amounts), currencies[0], "")
            site.costs[period] = cost


def _add_readings(frames: Frames, by_site: dict[str, Site]) -> None:
    """Add coverage and newest reading of the electricity registers that make a site's figure."""
    counted = frames["register"].filter(
        (pl.col("commodity") == "electricity")
        & pl.col("is_primary")
        & pl.col("role").is_in(["mains", "export", "production"])
    )
    rows = (
        counted.select("register_id")
        .join(frames["coverage"], on="register_id")
        .group_by("site_id")
        .agg(
            pl.col("last_read_at").min(),
            pl.col("n_expected").sum(),
            never=pl.col("last_read_at").is_null().any(),
            coverage_pct=100 * pl.col("n_measured").sum() / pl.col("n_expected").sum(),
        )
    )
    for row in rows.iter_rows(named=True):
        site = by_site.get(row["site_id"])
        if site is not None:
            site.last_read_at = None if row["never"] else row["last_read_at"]
            site.coverage_pct = row["coverage_pct"] if row["n_expected"] else None


def _add_appliances(frames: Frames, by_site: dict[str, Site]) -> None:
    submeters = frames["register"].filter(
        (pl.col("commodity") == "electricity")
        & pl.col("is_primary")
        & pl.col("role").is_in(["submeter", "appliance"])
    )
    energy: dict[str, dict[date, float | None]] = defaultdict(dict)
    wanted = submeters.select("register_id").join(frames["daily"], on="register_id")
    for row in wanted.iter_rows(named=True):
        energy[row["register_id"]][row["local_on"]] = row["energy_kwh"]
    for site in by_site.values():
        parts: dict[str, list[float | None]] = {}
        for row in submeters.filter(pl.col("site_id") == site.site_id).iter_rows(named=True):
            of_days = energy[row["register_id"]]
            amounts = [of_days.get(day.local_on) for day in site.days]
            label = readable(row["appliance"]) or row["meter_name"] or row["register_id"]
            # Two meters of one appliance are one; where one is silent both are unknown.
            parts[label] = [
                None if one is None or other is None else one + other
                for one, other in zip(parts.get(label, [0.0] * len(amounts)), amounts, strict=True)
            ]
        site.appliances = stack_appliances(parts, [day.amount_kwh for day in site.days])


def _add_vendors(frames: Frames, by_site: dict[str, Site]) -> None:
    primary = frames["register"].filter(
        pl.col("is_primary") & (pl.col("commodity") == "electricity")
    )
    order = ("yesterday", "last-seven-days", "this-week", "last-week", "this-month", "last-month")
    rows = (
        frames["trend"]
        .filter(pl.col("vendor").is_not_null())
        .join(primary.select("register_id", "meter_name"), on="register_id")
        .with_columns(is_alone=pl.col("register_id").n_unique().over("site_id", "vendor") == 1)
        .sort("register_id")
    )
    for row in rows.iter_rows(named=True):
        site = by_site.get(row["site_id"])
        if site is None or row["period"] not in order:
            continue
        if row["vendor_energy_kwh"] is None:
            reason = "no figure of the vendor"
        elif row["energy_kwh"] is None:
            reason = "nothing measured"
        elif row["energy_kwh"] <= 0:
            reason = "nothing used"
        elif row["vendor_difference_pct"] is None:
            reason = f"under {ENOUGH_PCT:.0f} % measured"
        else:
            reason = ""
        meter = "" if row["is_alone"] else row["meter_name"] or row["register_id"]
        figures = site.vendors.setdefault((row["vendor"], meter), [])
        figures.append(
            VendorFigure(
                row["period"],
                row["coverage_pct"],
                row["energy_kwh"],
                row["vendor_energy_kwh"],
                row["vendor_difference_pct"],
                reason,
            )
        )
        figures.sort(key=lambda figure: order.index(figure.period))
