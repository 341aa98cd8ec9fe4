"""The charts of a site, drawn as SVG by Altair and vl-convert; no network, no text of anybody's.

Colours are CSS variables, so that one picture serves light, dark and print. Names stand in the
HTML around it: nothing that a vendor or a person wrote reaches the chart library.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import altair as alt
import vl_convert

from energy_etl.report.appliances import Appliance
from energy_etl.report.figures import ENOUGH_PCT, Day, Site
from energy_etl.report.markup import Html, el, join
from energy_etl.report.palette import SERIES
from energy_etl.report.wording import short_day

# As wide as a narrow screen: it is scaled, and its texts with it, by no more than a tenth.
WIDTH: Final = 380
_PLOT_WIDTH: Final = 336
_HEIGHT: Final = 150
_FONT: Final = "system-ui, 'Segoe UI', Roboto, sans-serif"
_CONFIG: Final = {
    "aria": False,
    "background": None,
    "padding": 2,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "gridColor": "var(--line)",
        "domainColor": "var(--soft)",
        "tickColor": "var(--soft)",
        "labelFont": _FONT,
        "titleFont": _FONT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
}
_LABELS: Final = alt.Axis(tickCount=4, domain=False, ticks=False, format=",~f", titlePadding=6)
_SIZE: Final = re.compile(r'^<svg[^>]*?width="([\d.]+)" height="([\d.]+)"[^>]*>')
# What Vega writes for programs that read its scene graph; fonts are the page's own.
_ATTRIBUTE: Final = re.compile(
    r' (?:class|role|aria-[a-z]+|pointer-events|font-family)="[^"]*"| opacity="1"'
)
_EMPTY: Final = re.compile(r'<path d="(?:M0,0h0v0h0Z)?"[^>]*>(?:</path>)?|<path d="[^"]*"/>')
_BARS: Final = re.compile(r'(?:<path d="[^"]*"[^>]*/>){2,}')
_BAR: Final = re.compile(r'<path d="([^"]*)"([^>]*)/>')
_LONG: Final = re.compile(r"(\d+\.\d)\d+")


class _EnergyAxis:
    """The unit of a chart, of which labels stay short, and a scale on which nothing is a line."""

    def __init__(self, amounts_kwh: Iterable[float | None]) -> None:
        known = [kwh for kwh in amounts_kwh if kwh is not None]
        most = max(map(abs, known), default=0.0)
        self._kwh, unit = next(
            ((kwh, unit) for kwh, unit in ((1e6, "GWh"), (1e3, "MWh")) if most >= 10 * kwh),
            (1.0, "kWh"),
        )
        self.title: Final = f"{unit} per day"
        # Where all is zero there is no range: zero would lie in the middle.
        domain = alt.Undefined if most else [0, 1]
        self.scale: Final = alt.Scale(zero=True, nice=True, domain=domain)

    def of(self, amount_kwh: float | None) -> float | None:
        """Return an amount in the unit."""
        return None if amount_kwh is None else amount_kwh / self._kwh


def daily_chart(days: Sequence[Day], chart_id: str) -> Html:
    """Draw the daily energy of a site, the same weekdays of four weeks before behind it.

    A day of which less than 95 % was measured is hollow, a day without data a cross.
    """
    axis = _EnergyAxis([kwh for day in days for kwh in (day.amount_kwh, day.previous_kwh)])
    rows = [
        {
            "on": day.local_on.isoformat(),
            "own": axis.of(day.amount_kwh),
            "previous": axis.of(day.previous_kwh),
            "part": "none"
            if day.amount_kwh is None
            else "whole"
            if day.coverage_pct >= ENOUGH_PCT
            else "part",
        }
        for day in days
    ]
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=_days_axis(days))
    layers = [
        # Its colour is pale, so that our own stands out; what shows its height is the edge.
        base.mark_bar(
            width={"band": 1.0}, color="var(--previous)", stroke="var(--edge)", strokeWidth=0.8
        ).encode(y=alt.Y("previous:Q", title=axis.title, axis=_LABELS, scale=axis.scale)),
        base.transform_filter("datum.part == 'whole'")
        .mark_bar(width={"band": 0.56}, color="var(--own)")
        .encode(y="own:Q"),
        base.transform_filter("datum.part == 'part'")
        .mark_bar(width={"band": 0.5}, color="var(--ground)", stroke="var(--own)", strokeWidth=1.6)
        .encode(y="own:Q"),
        base.transform_filter("datum.part == 'none'")
        .mark_text(text="×", color="var(--gap)", fontSize=13, dy=-6, fontWeight="bold")
        .encode(y=alt.datum(0)),
    ]
    chart = alt.layer(*layers).properties(width=_PLOT_WIDTH, height=_HEIGHT)
    return _drawn(
        chart,
        chart_id,
        "Energy per day",
        f"Bars of {len(days)} days from {short_day(days[0].local_on)} to "
        f"{short_day(days[-1].local_on)}; behind each the same weekday four weeks before. "
        + _extremes(days),
    )


def appliance_chart(
    appliances: Sequence[Appliance], keys: Sequence[str], days: Sequence[Day], chart_id: str
) -> Html:
    """Draw the appliances of a site stacked per day, what is unattributed on top.

    Args:
        appliances: from the bottom up.
        keys: the colour of each, of `series_of`.
        days: of the axis.
        chart_id: unique on the page.
    """
    known = [
        [kwh for kwh in amounts if kwh is not None]
        for amounts in zip(*(part.days_kwh for part in appliances), strict=True)
    ]
    axis = _EnergyAxis([sum(map(abs, amounts)) for amounts in known])
    rows = [
        {"on": day.local_on.isoformat(), "key": key, "place": place, "part": axis.of(amount)}
        for place, (key, appliance) in enumerate(zip(keys, appliances, strict=True))
        for day, amount in zip(days, appliance.days_kwh, strict=True)
        if amount is not None
    ]
    chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar(width={"band": 0.8}, stroke="var(--ground)", strokeWidth=0.5)
        .encode(
            x=_days_axis(days),
            y=alt.Y("sum(part):Q", stack="zero", title=axis.title, axis=_LABELS, scale=axis.scale),
            color=alt.Color(
                "key:N",
                legend=None,
                scale=alt.Scale(domain=keys, range=[f"var(--{key})" for key in keys]),
            ),
            order=alt.Order("place:Q"),
        )
        .properties(width=_PLOT_WIDTH, height=_HEIGHT)
    )
    return _drawn(
        chart,
        chart_id,
        "Energy per day by appliance",
        f"Stacked bars of {len(days)} days. The totals of each part stand in the list "
        "below, in the order of the stack from the bottom up.",
    )


def common_series(sites: Iterable[Site]) -> dict[str, str]:
    """Return the colours of what uses most over all sites: a fridge looks the same everywhere."""
    totals: dict[str, float] = defaultdict(float)
    for part in (part for site in sites for part in site.appliances if part.kind == "appliance"):
        totals[part.label] += part.total_kwh
    most = sorted(totals, key=lambda label: (-totals[label], label))
    return dict(zip(most, SERIES, strict=False))


def series_of(appliances: Sequence[Appliance], common: Mapping[str, str]) -> list[str]:
    """Return the name of the colour of each appliance; those not in common take what is left."""
    named = [part.label for part in appliances if part.kind == "appliance"]
    taken = {common[label] for label in named if label in common}
    free = iter([series for series in SERIES if series not in taken])
    return [
        part.kind if part.kind != "appliance" else common.get(part.label) or next(free)
        for part in appliances
    ]


def _days_axis(days: Sequence[Day]) -> alt.X:
    labels = {
        day.local_on.isoformat(): short_day(day.local_on)
        for day in days
        if day.local_on.weekday() == 0
    }
    told = ",".join(f"'{on}':'{label}'" for on, label in labels.items())
    axis = alt.Axis(
        values=list(labels),
        labelExpr=f"({{{told}}})[datum.value]",
        labelAngle=0,
        title=None,
        ticks=True,
        grid=False,
        labelOverlap=False,
    )
    domain = [day.local_on.isoformat() for day in days]
    return alt.X("on:O", axis=axis, scale=alt.Scale(domain=domain, paddingInner=0.0))


def _extremes(days: Sequence[Day]) -> str:
    known = [(day.amount_kwh, day) for day in days if day.amount_kwh is not None]
    if not known:
        return "No day has data."
    (low, lowest), (high, highest) = (
        min(known, key=lambda pair: pair[0]),
        max(known, key=lambda pair: pair[0]),
    )
    return (
        f"Least {low:,.1f} kWh on {short_day(lowest.local_on)}, most {high:,.1f} kWh on "
        f"{short_day(highest.local_on)}."
    )


def _drawn(chart: Any, chart_id: str, title: str, text: str) -> Html:
    spec = chart.to_dict(validate=False)
    # Altair's own theme and its data names go: each costs bytes a hundred times.
    spec["config"] = _CONFIG
    svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return _embedded(svg, chart_id, title, text)


def _embedded(svg: str, chart_id: str, title: str, text: str) -> Html:
    """Return Vega's SVG as a picture of any width, with its title and description."""
    size = _SIZE.match(svg)
    if size is None:
        raise AssertionError("vl-convert's SVG begins otherwise than it did: mend charts.py.")
    body = svg[size.end() :].removesuffix("</svg>")
    body = _LONG.sub(r"\1", _EMPTY.sub("", _ATTRIBUTE.sub("", body)))
    body = _BARS.sub(_joined, body)
    return picture(float(size[1]), float(size[2]), Html(body), chart_id, title, text)


def _joined(bars: re.Match[str]) -> str:
    """Return bars, which never overlap, as one path per look: a third of the bytes."""
    looks: dict[str, str] = {}
    for shape, look in _BAR.findall(bars[0]):
        looks[look] = looks.get(look, "") + shape
    return "".join(f'<path d="{shape}"{look}/>' for look, shape in looks.items())


def picture(
    width: float, height: float, body: Html, picture_id: str, title: str, text: str
) -> Html:
    """Return an SVG that is as wide as its place, and says what it shows."""
    named, told = f"{picture_id}-t", f"{picture_id}-d"
    inside = join(
        [el("title", title, id=named), el("desc", text, id=told), body],
    )
    return Html(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{named} {told}">'
        f"{inside}</svg>"
    )
