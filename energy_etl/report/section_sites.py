"""Each site: its days with those before behind them, its appliances, a vendor against us."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from energy_etl.report import wording
from energy_etl.report.appliances import Appliance
from energy_etl.report.charts import appliance_chart, common_series, daily_chart, series_of
from energy_etl.report.figures import CHART_DAYS, ENOUGH_PCT, Site
from energy_etl.report.grid import fold, missing, section
from energy_etl.report.marks import TOLERANCE_PCT, vendor_scale
from energy_etl.report.markup import Html, clean, el, join, name, prose
from energy_etl.report.ranking import by_need, needs_look

# Drawing costs an eighth of a CPU second per chart.
SITES_DRAWN: Final = 24
# More than these are a list of names, of which the first that need a look are open.
_ALL_OPEN: Final = 12
_OPEN_OF_MANY: Final = 3


def sites_drawn(sites: Sequence[Site], now: datetime) -> dict[str, str]:
    """Return where on the page the charts of a site are; of many those that come first."""
    drawn = sites
    if len(sites) > SITES_DRAWN:
        # Of a site without a figure there is nothing to draw.
        ranked = sorted(by_need(sites, now), key=lambda site: not site.has_energy)
        drawn = ranked[:SITES_DRAWN]
    return {site.site_id: f"charts-{place}" for place, site in enumerate(drawn)}


def sites_section(sites: Sequence[Site], now: datetime, charts: Mapping[str, str]) -> Html:
    """Return the charts of the sites; of many as a list in which each is opened by its name.

    Args:
        sites: all of them.
        now: aware; who is silent is counted to it.
        charts: of `sites_drawn`, in this order.
    """
    by_id = {site.site_id: site for site in sites}
    drawn = [by_id[site_id] for site_id in charts]
    told = ""
    if len(sites) > len(drawn):
        told = (
            f"The {len(drawn)} of {len(sites)} sites that need a look or used most; "
            "`energy-etl report --site ID` draws any other. "
        )
    is_open = set(charts)
    if len(drawn) > _ALL_OPEN:
        worst = [site.site_id for site in by_need(drawn, now) if needs_look(site, now)]
        is_open = set(worst[:_OPEN_OF_MANY])
        told += "Open a site by its name. "
    if not drawn:
        return section(
            "sites",
            "Sites",
            missing("There is nothing to draw.", "No site has figures yet: see Portfolio."),
        )
    common = common_series(sites)
    return section(
        "sites",
        "Sites",
        *(
            _site(place, site, common, charts[site.site_id], site.site_id in is_open)
            if len(drawn) > _ALL_OPEN
            else _site(place, site, common, charts[site.site_id])
            for place, site in enumerate(drawn)
        ),
        lead=join(
            [
                prose(told),
                " " if told else "",
                f"Electricity of the last {CHART_DAYS} complete days of each site.",
            ]
        ),
    )


def _site(
    place: int, site: Site, common: Mapping[str, str], at: str, is_open: bool | None = None
) -> Html:
    """Return a site's charts; under a fold where it is told whether that is open."""
    head = el("h3", name(site.name), el("small", name(site.site_id), " · ", site.zone, class_="id"))
    panels = el(
        "div",
        _days(place, site),
        _appliances(place, site, common),
        _vendors(place, site),
        class_="panels",
        # A link opens a fold only when it leads inside.
        id=at,
    )
    if is_open is None:
        return el("article", head, panels)
    return el("article", fold(head, panels, is_open=is_open))


def _days(place: int, site: Site) -> Html:
    if not site.has_energy:
        what = missing(
            "No day has a figure.",
            "Load readings of its mains, or look for it in the findings.",
        )
        return _panel("Energy per day", what)
    key = [
        _key("own", "energy of the day"),
        _key("previous", f"{CHART_DAYS // 7} weeks before"),
    ]
    if any(d.amount_kwh is not None and d.coverage_pct < ENOUGH_PCT for d in site.days):
        key.append(_key("hollow", f"under {ENOUGH_PCT:.0f} % measured"))
    if any(d.amount_kwh is None for d in site.days):
        key.append(_key("cross", "no data"))
    odd = [d for d in site.days if d.hours not in (24.0, 0.0)]
    note = "; ".join(f"{wording.short_day(d.local_on)} had {d.hours:g} h" for d in odd)
    return _panel(
        "Energy per day",
        daily_chart(site.days, f"days-{place}"),
        el("ul", *key, class_="key"),
        el("p", f"{note} (clock change).", class_="note") if note else None,
    )


def _appliances(place: int, site: Site, common: Mapping[str, str]) -> Html:
    title = "Who used it"
    if not site.appliances:
        return _panel(
            title,
            missing(
                "No submeter is mapped.",
                "Add registers of role submeter or appliance in registers.csv.",
            ),
        )
    if all(kwh is None for part in site.appliances for kwh in part.days_kwh):
        return _panel(title, missing("The submeters have no figures.", "Load their readings."))
    whole = sum(part.total_kwh for part in site.appliances)
    keys = series_of(site.appliances, common)
    items = [_share(key, part, whole) for key, part in zip(keys, site.appliances, strict=True)]
    n_unknown = sum(amount is None for amount in site.appliances[-1].days_kwh)
    notes = []
    if n_unknown:
        days = wording.counted(n_unknown, "day", "days")
        notes.append(f"Unattributed is unknown on {days}: a meter was silent.")
    if site.appliances[-1].total_kwh < 0:
        notes.append(
            "Unattributed is below zero: the submeters measured more than the site used. Compare "
            "their roles, units and what they are behind in registers.csv."
        )
    return _panel(
        title,
        appliance_chart(site.appliances, keys, site.days, f"parts-{place}"),
        # The stack grows upwards, the list is read downwards.
        el("ul", *reversed(items), class_="key shares"),
        *(el("p", note, class_="note") for note in notes),
    )


def _share(key: str, part: Appliance, whole: float) -> Html:
    share = f" · {wording.number(100 * part.total_kwh / whole, '%', 0)}" if whole > 0 else ""
    figure = f"{wording.number(part.total_kwh, 'kWh')}{share}"
    return el("li", el("span", class_=f"dot {key}"), name(part.label, 40), el("b", figure))


def _vendors(place: int, site: Site) -> Html:
    title = "Vendor against our meters"
    if not site.vendors:
        return _panel(
            title,
            missing(
                "No vendor gives figures of this site.",
                "Map its meter at Digiwatt in the portfolio to compare.",
            ),
        )
    parts: list[Html] = []
    for number, ((vendor, meter), figures) in enumerate(sorted(site.vendors.items())):
        whose = join([name(vendor.capitalize()), *([", ", name(meter, 40)] if meter else [])])
        parts.append(el("p", whose, ": its kWh against ours", class_="whose"))
        parts.append(vendor_scale(figures, f"vendor-{place}-{number}", vendor))
        parts += [
            el(
                "p",
                f"{figure.period.replace('-', ' ').capitalize()}: we measured "
                f"{wording.percent(figure.coverage_pct)}; the rest is part of the difference.",
                class_="note",
            )
            for figure in figures
            if figure.coverage_pct is not None
            and figure.coverage_pct < 100
            and abs(figure.difference_pct or 0.0) > TOLERANCE_PCT
        ]
        reasons = sorted({figure.reason for figure in figures if figure.reason})
        if reasons:
            told = "; ".join(clean(reason) for reason in reasons)
            parts.append(el("p", f"– {told}", class_="note"))
    key = el(
        "ul",
        _key("band", f"±{TOLERANCE_PCT:g} %: two meters of class B"),
        _key("dot-within", "within"),
        _key("dot-off", "outside"),
        class_="key",
    )
    return _panel(title, *parts, key)


def _panel(title: str, *content: Html | None) -> Html:
    return el("div", el("h4", title), *content, class_="panel")


def _key(kind: str, label: str) -> Html:
    return el("li", el("span", class_=f"dot {kind}"), label)
