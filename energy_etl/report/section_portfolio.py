"""The head of the report: five numbers, what needs somebody, and every site in one table."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.report import wording
from energy_etl.report.figures import COMMODITIES, ENOUGH_PCT, Amount, Site, unit_of
from energy_etl.report.grid import Head, badge, fold, missing, section, table
from energy_etl.report.marks import spark
from energy_etl.report.markup import NOTHING, Child, Html, el, join, name
from energy_etl.report.ranking import MANY, by_need, needs_look, silent_minutes
from energy_etl.report.streams import Stream

_MOST_ALERTS: Final = 8
# A row is two kilobytes: the page of more sites would no longer open at once.
_SITES_SHOWN: Final = 500
_OTHERS_SHOWN: Final = 600


def tiles(sites: Sequence[Site], streams: Sequence[Stream], findings: pl.DataFrame) -> Html:
    """Return the numbers that a day begins with."""
    weeks = [(site, site.amounts.get(("electricity", "last-week"))) for site in sites]
    known = [(site, week) for site, week in weeks if week and week.amount is not None]
    with_change = [week for _, week in known if week.change_pct is not None]
    shares = [site.coverage_pct for site in sites if site.coverage_pct is not None]
    shown = [
        _tile("Electricity last week", _total(known), _change(with_change, len(sites))),
        _tile("Cost last week", *_costs(sites)),
        _tile(
            "Measured, last 7 days",
            wording.percent(sum(shares) / len(shares)) if shares else wording.DASH,
            f"mean of {wording.counted(len(shares), 'site', 'sites')}"
            if shares
            else "no meter of electricity",
        ),
        _tile("Delivery to Wattics", *_delivery(streams)),
        _tile(
            "Findings",
            str(findings.height),
            f"of {wording.counted(findings['kind'].n_unique(), 'kind', 'kinds')}"
            if findings.height
            else "nothing to look at",
        ),
    ]
    return el("div", *shown, class_="tiles")


def attention(
    sites: Sequence[Site], streams: Sequence[Stream], findings: pl.DataFrame, now: datetime
) -> Html:
    """Return what needs somebody, the most urgent first, each with where to read on."""
    alerts: list[Html] = []
    stopped = [each for each in streams if each.condition in ("stopped", "failing")]
    late = [each for each in streams if each.condition == "late"]
    holed = [each for each in streams if each.n_holes and each not in stopped and each not in late]
    if stopped:
        alerts.append(_alert("delivery", f"{_streams(stopped)} not sent: somebody has to act"))
    silent = [
        (site, wording.age(minutes))
        for site in sites
        if (minutes := silent_minutes(site, now)) is not None
    ]
    for site, since in silent[:3]:
        alerts.append(_alert("portfolio", name(site.name), f" has been silent for {since}"))
    if len(silent) > 3:
        more = wording.counted(len(silent) - 3, "more site is", "more sites are")
        alerts.append(_alert("portfolio", f"{more} silent"))
    for each in late[:2]:
        since = wording.age(each.lag_minutes or 0.0)
        told = (f" ({each.source}) is late by {since}",)
        alerts.append(_alert("delivery", "Stream ", name(each.stream_id, 40), *told))
    if len(late) > 2:
        alerts.append(_alert("delivery", f"{_streams(late[2:])} late, too"))
    if holed:
        n_missing = sum(each.n_missing for each in holed)
        told = f"{_streams(holed)} with holes, {n_missing:,} packets missing"
        alerts.append(_alert("delivery", told))
    low = [
        (site.coverage_pct, site)
        for site in sites
        if site.coverage_pct is not None and site.coverage_pct < ENOUGH_PCT
    ]
    for share, site in sorted(low, key=lambda pair: pair[0])[:3]:
        told = f": only {wording.percent(share)} measured"
        alerts.append(_alert("completeness", name(site.name), told))
    if len(low) > 3:
        more = wording.counted(len(low) - 3, "more site", "more sites")
        alerts.append(_alert("portfolio", f"{more} under {ENOUGH_PCT:.0f} % measured"))
    places = findings.group_by("kind").agg(pl.len(), pl.col("place").first())
    for kind, n, place in places.sort("len", "kind", descending=[True, False]).iter_rows():
        # A vendor's id says nothing before one reads the finding; a place of ours does.
        where = NOTHING if ": " in place else join([" at ", name(place, 44)])
        more = f" and {n - 1:,} more" if n > 1 else ""
        alerts.append(_alert("findings", kind.replace("_", " ").capitalize(), where, more))
    if not alerts:
        return el("p", badge("nothing needs you", "good"), class_="calm")
    # One line more is no reason to fold it.
    left = alerts[_MOST_ALERTS:] if len(alerts) > _MOST_ALERTS + 1 else []
    return el(
        "div",
        el("h2", "Needs attention", id="attention-h"),
        el("ul", *alerts[: len(alerts) - len(left)]),
        fold(f"{len(left)} more", el("ul", *left), class_="on-paper") if left else None,
        class_="attention",
    )


def portfolio(sites: Sequence[Site], now: datetime, charts: Mapping[str, str]) -> Html:
    """Return the table of all sites, and their other commodities.

    Of many those that need a look and those that use most stand open, the others behind a fold.

    Args:
        sites: in the order of their names.
        now: aware; ages are counted to it.
        charts: by the site, where on the page its charts are.
    """
    if not sites:
        return section(
            "portfolio",
            "Portfolio",
            missing(
                "There is no site yet.",
                "Fill data/portfolio (`energy-etl init --discover` proposes rows), load readings "
                "with `energy-etl backfill`, or try `energy-etl demo`.",
            ),
        )
    first, others, told = list(sites), [], None
    if len(sites) > MANY:
        ranked = by_need(sites, now)[:_SITES_SHOWN]
        first, kept = ranked[:MANY], {site.site_id for site in ranked[MANY:]}
        others = [site for site in sites if site.site_id in kept]
        told = _first(sites, now)
    worst = min((s.coverage_pct for s in sites if s.coverage_pct is not None), default=None)
    heads = (
        Head("Site"),
        Head("Last 28 days", "picture"),
        Head("Last week", "number"),
        Head("vs week before", "number"),
        Head("Cost of the week", "number"),
        Head("Last month", "number"),
        Head("vs month before", "number"),
        Head("Cost of the month", "number"),
        Head("Measured", "number"),
        Head("Last reading", "number"),
    )
    rows = [
        _row(place, site, worst, now, charts.get(site.site_id))
        for place, site in enumerate([*first, *others])
    ]
    return section(
        "portfolio",
        "Portfolio",
        table("Electricity of each site", heads, rows[: len(first)], class_="portfolio"),
        fold(
            f"The other {wording.counted(len(others), 'site', 'sites')}, by name",
            table("Electricity of the other sites", heads, rows[len(first) :], class_="portfolio"),
            class_="on-paper",
        )
        if others
        else None,
        _others(sites, charts),
        lead=join([told, _periods(sites), _meaning()]),
    )


def _first(sites: Sequence[Site], now: datetime) -> str:
    """Return which of many sites stand open."""
    n_look = sum(needs_look(site, now) for site in sites)
    of = f"Of {wording.counted(len(sites), 'site', 'sites')}"
    n_left = len(sites) - _SITES_SHOWN
    left = f" {n_left:,} more are in mart.site_daily." if n_left > 0 else ""
    if n_look > MANY:
        return f"{of} {n_look:,} need a look: the {MANY} measured least stand first.{left} "
    if n_look:
        needs = "needs a look and stands" if n_look == 1 else "need a look and stand"
        return f"{of} {n_look} {needs} first, then those that used most.{left} "
    return f"{of} none needs a look; those that used most stand first.{left} "


def _row(
    place: int, site: Site, worst: float | None, now: datetime, chart: str | None
) -> list[Child]:
    week, month = (site.amounts.get(("electricity", p)) for p in ("last-week", "last-month"))
    amounts = [day.amount_kwh for day in site.days]
    return [
        join(
            [
                _linked(site, chart),
                el("small", name(site.site_id), class_="id"),
            ]
        ),
        spark(amounts, f"spark-{place}", site.name) or wording.none("nothing measured"),
        _amount(week, "kWh"),
        _changed(week),
        _cost(site, "last-week"),
        _amount(month, "kWh"),
        _changed(month),
        _cost(site, "last-month"),
        _measured(site, worst),
        _read(site, now),
    ]


def _linked(site: Site, chart: str | None) -> Html:
    """Return a site's name, a link where its charts are drawn."""
    return el("a", name(site.name), href=f"#{chart}") if chart else name(site.name)


def _amount(amount: Amount | None, unit: str) -> Child:
    if amount is None:
        return wording.none("no such meter")
    if amount.amount is None:
        return wording.none(amount.reason)
    shown = wording.number(amount.amount, unit)
    if (amount.coverage_pct or 0.0) >= ENOUGH_PCT:
        return shown
    return join([shown, el("small", f"{wording.percent(amount.coverage_pct or 0.0)} measured")])


def _changed(amount: Amount | None) -> Child:
    if amount is None:
        return wording.none("no such meter")
    if amount.change_pct is None:
        return wording.none(amount.change_reason or amount.reason)
    return wording.change(amount.change_pct)


def _cost(site: Site, period: str) -> Child:
    cost = site.costs.get(period)
    if cost is None or cost.amount is None:
        return wording.none(cost.reason if cost else "not computed")
    return wording.money(cost.amount, cost.currency)


def _measured(site: Site, worst: float | None) -> Child:
    if site.coverage_pct is None:
        return wording.none("no such meter")
    shown = wording.percent(site.coverage_pct)
    if worst is not None and site.coverage_pct == worst < 100:
        return join([shown, " ", badge("worst", "bad" if worst < ENOUGH_PCT else "plain")])
    return shown


def _read(site: Site, now: datetime) -> Child:
    if site.last_read_at is None:
        return wording.none("a meter never read")
    minutes = (now - site.last_read_at).total_seconds() / 60
    shown = f"{wording.age(minutes)}\u00a0ago" if minutes >= 0 else wording.age(minutes)
    return (
        shown if silent_minutes(site, now) is None else join([shown, " ", badge("silent", "bad")])
    )


def _others(sites: Sequence[Site], charts: Mapping[str, str]) -> Html:
    rows = []
    for commodity in COMMODITIES[1:]:
        unit = unit_of(commodity)
        for site in sites:
            week = site.amounts.get((commodity, "last-week"))
            month = site.amounts.get((commodity, "last-month"))
            if week or month:
                rows.append(
                    (
                        _linked(site, charts.get(site.site_id)),
                        commodity,
                        _amount(week, unit),
                        _changed(week),
                        _amount(month, unit),
                        _changed(month),
                    )
                )
    if not rows:
        return NOTHING
    heads = (
        Head("Site"),
        Head("Commodity"),
        Head("Last week", "number"),
        Head("vs week before", "number"),
        Head("Last month", "number"),
        Head("vs month before", "number"),
    )
    left = len(rows) - _OTHERS_SHOWN
    more = f"{left} more are in mart.site_daily." if left > 0 else ""
    content = [
        table("Other commodities of each site", heads, rows[:_OTHERS_SHOWN]),
        el("p", more, class_="note") if more else None,
    ]
    title = "Heat, gas and water"
    if len(rows) <= MANY:
        return join([el("h3", title), *content])
    return fold(f"{title}: {len(rows):,} rows", *content)


def _periods(sites: Sequence[Site]) -> str:
    spans = Counter(
        (amount.start_on, amount.end_on)
        for site in sites
        if (amount := site.amounts.get(("electricity", "last-week"))) and amount.start_on
    )
    if not spans:
        return ""
    (start_on, end_on), _ = spans.most_common(1)[0]
    return f"Last week is {wording.days(start_on, end_on)}. " if start_on and end_on else ""


def _meaning() -> str:
    return (
        "Electricity used at each site: mains plus own production less what was fed back. Costs "
        "are by our tariffs, what was fed back deducted. Measured: share of the last seven days' "
        f"intervals; under {ENOUGH_PCT:.0f} % there is no comparison. The last reading is that of "
        "the site's most silent meter."
    )


def _tile(label: str, figure: Child, note: Child) -> Html:
    return el(
        "div",
        el("p", label, class_="label"),
        el("p", figure, class_="figure"),
        el("p", note, class_="note"),
        class_="tile",
    )


def _total(known: Sequence[tuple[Site, Amount]]) -> str:
    total = sum(week.amount or 0.0 for _, week in known)
    return _wrapping(wording.number(total, "kWh")) if known else wording.DASH


def _wrapping(figure: str) -> str:
    """Return a figure in large letters, which may have its unit on the next line."""
    return figure.replace("\u00a0", " ")


def _change(with_change: Sequence[Amount], n_sites: int) -> Child:
    """Return the change of those sites that can be compared, all of them together."""
    before = sum(week.previous or 0.0 for week in with_change)
    if before <= 0:
        return "no site can be compared with the week before"
    now = sum(week.amount or 0.0 for week in with_change)
    of = "" if len(with_change) == n_sites else f" ({len(with_change)} of {n_sites} sites)"
    return join([wording.change(100 * (now - before) / before), f" vs week before{of}"])


def _costs(sites: Sequence[Site]) -> tuple[Child, str]:
    """Return one line per currency: what is not of one kind is not added up."""
    by_currency: dict[str, float] = defaultdict(float)
    n_known = 0
    for site in sites:
        cost = site.costs.get("last-week")
        if cost is not None and cost.amount is not None:
            by_currency[cost.currency] += cost.amount
            n_known += 1
    if not by_currency:
        return wording.DASH, "no site has a tariff and readings"
    lines = [wording.money(cost, which) for which, cost in sorted(by_currency.items())]
    shown = join(el("span", _wrapping(line), class_="line") for line in lines)
    return shown, f"{n_known} of {wording.counted(len(sites), 'site', 'sites')}"


def _delivery(streams: Sequence[Stream]) -> tuple[str, str]:
    if not streams:
        return wording.DASH, "no stream is mapped"
    n_bad = sum(each.is_bad for each in streams)
    n_begun = sum(each.condition != "not begun" for each in streams)
    n_good = sum(not each.is_bad and each.condition != "not begun" for each in streams)
    told = f"{n_bad} to look at" if n_bad else "no lag, no hole, none refused"
    if n_begun < len(streams):
        told = f"{f'{told}, ' if n_bad else ''}{len(streams) - n_begun} not begun"
    return f"{n_good} of {len(streams)} ok", told


def _streams(some: Sequence[Stream]) -> str:
    return wording.counted(len(some), "stream is", "streams are")


def _alert(where: str, *told: Child) -> Html:
    return el("li", el("a", *told, href=f"#{where}"))
