"""The page as a whole: its head, its policy, its sections in the order in which a day is begun."""

import base64
import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import polars as pl

from energy_etl.errors import ConfigurationError, UsageError
from energy_etl.report import wording
from energy_etl.report.completeness import compute_completeness
from energy_etl.report.figures import Site, compute_sites
from energy_etl.report.grid import missing
from energy_etl.report.markup import NOTHING, Html, clean, el, join
from energy_etl.report.section_access import access, findings, licences
from energy_etl.report.section_delivery import completeness, delivery
from energy_etl.report.section_portfolio import attention, portfolio, tiles
from energy_etl.report.section_sites import sites_drawn, sites_section
from energy_etl.report.sources import SOURCES, Frames
from energy_etl.report.streams import Stream, compute_streams
from energy_etl.report.style import style_sheet

# Figures older than this are not today's: the page says so at its top.
_STALE_HOURS: Final = 36
# A site's own date may be a day behind that of UTC.
_STALE_DAYS: Final = 2
_PARTS: Final = {
    "portfolio": "Portfolio",
    "sites": "Sites",
    "delivery": "Delivery",
    "completeness": "Completeness",
    "licences": "Licences",
    "access": "Access",
    "findings": "Findings",
}


@dataclass(frozen=True)
class Report:
    """The page, and the numbers that tell it apart from an empty one."""

    html: str
    numbers: Mapping[str, int | float]


def render_report(frames: Frames, now: datetime, *, site_id: str | None = None) -> Report:
    """Return the report as one HTML document that asks nobody for anything.

    Args:
        frames: of `SOURCES` by name; one that is not there is taken for empty. `stream` may have
            `is_stopped` and `is_lagging` besides.
        now: aware; ages are counted to it.
        site_id: only this site, with its streams, licences and findings, and without access,
            which is nobody's site; None: all.

    Raises:
        UsageError: there is no such site.
    """
    given = {source.name: frames.get(source.name, source.empty()) for source in SOURCES}
    if site_id is not None:
        given = _of_site(given, site_id)
    sites = compute_sites(given, now)
    streams = compute_streams(given, now)
    complete = compute_completeness(given, sites)
    charts = sites_drawn(sites, now)
    is_published = not given["publication"].is_empty()
    title = f"Energy report: {sites[0].name}" if site_id and sites else "Energy report"
    # Who gets in at the vendor is nothing for the one who is sent the page of one site.
    parts = {at: part for at, part in _PARTS.items() if site_id is None or at != "access"}
    header = el(
        "header",
        el("h1", el("bdi", clean(title))),
        el("p", _told(given["publication"], now), class_="sub"),
        _stale(given, now),
        tiles(sites, streams, given["finding"]) if is_published else NOTHING,
        attention(sites, streams, given["finding"], now) if is_published else NOTHING,
        el(
            "nav",
            el("ul", *(el("li", el("a", part, href=f"#{at}")) for at, part in parts.items())),
            aria_label="Sections",
        ),
    )
    main = el(
        "main",
        portfolio(sites, now, charts),
        sites_section(sites, now, charts),
        delivery(streams, now),
        completeness(complete, is_one_site=site_id is not None),
        licences(given["licence"]),
        access(given["access"]) if "access" in parts else NOTHING,
        findings(given["finding"], is_computed=is_published),
    )
    html = _document(title, [header, main, _footer()])
    return Report(html, _numbers(html, sites, len(charts), streams, given["finding"]))


def _of_site(frames: Frames, site_id: str) -> dict[str, pl.DataFrame]:
    known = frames["site"]["site_id"].to_list()
    if not known:
        raise ConfigurationError(
            f"Nothing of a site {clean(site_id)} was published, nor of any other: run `energy-etl "
            "demo`, or `energy-etl up` and wait for the first computation."
        )
    if site_id not in known:
        close = difflib.get_close_matches(site_id, known, n=1)
        advice = f"did you mean {close[0]}?" if close else "sites.csv lists those there are."
        raise UsageError(f"There is no site {clean(site_id)} in what was published: {advice}")
    kept = {
        name: frame.filter(pl.col("site_id") == site_id) if "site_id" in frame.columns else frame
        for name, frame in frames.items()
    }
    register_ids = kept["register"]["register_id"].to_list()
    kept["stream"] = frames["stream"].filter(pl.col("register_id").is_in(register_ids))
    stream_ids = kept["stream"]["stream_id"].to_list()
    places = [site_id, *register_ids, *kept["register"]["meter_id"].unique(), *stream_ids]
    # Also `smartgridone: licence X at mill`, but not what is said of mill-2 or mill.b.
    within = f"(^|[\\s:,(]){re.escape(site_id)}($|[\\s:,)])"
    kept["finding"] = frames["finding"].filter(
        pl.col("place").is_in(places) | pl.col("place").str.contains(within)
    )
    return kept


def _told(publication: pl.DataFrame, now: datetime) -> str:
    made = f"Made {wording.instant(now)}"
    if publication.is_empty():
        return f"{made}. Nothing was published yet."
    published_at = publication["published_at"][0]
    return f"{made} from the figures published {wording.instant(published_at)}."


def _stale(frames: Frames, now: datetime) -> Html:
    publication = frames["publication"]
    if publication.is_empty():
        return missing(
            "Nothing was computed yet.",
            "Run `energy-etl demo`, or `energy-etl up` and wait for the first computation, then "
            "make the report again.",
        )
    passed = now - publication["published_at"][0]
    # Readings and deliveries are published too, also while each computation fails.
    computed_on = frames["coverage"]["computed_on"].max()
    if passed.total_seconds() >= _STALE_HOURS * 3600:
        told = f"These figures are {wording.age(passed.total_seconds() / 60)} old."
    elif isinstance(computed_on, date) and (now.date() - computed_on).days >= _STALE_DAYS:
        told = f"These figures were computed on {wording.day(computed_on)}."
    else:
        return NOTHING
    return missing(
        told,
        "Look at the runs of compute_figures in the UI (`energy-etl up`): one failed, or nothing "
        "new came.",
    )


def _footer() -> Html:
    return el(
        "footer",
        el(
            "p",
            "A dash is unknown, never zero; beside it stands why. ▲ ▼ against the period before, "
            f"≈ less than {wording.FLAT_PCT:g} %. Days are those of each site's own clock. Every "
            "column behind these figures is described in data/README.md; data/energy.duckdb has "
            "them all.",
        ),
    )


def _numbers(
    html: str, sites: list[Site], n_drawn: int, streams: list[Stream], found: pl.DataFrame
) -> dict[str, int | float]:
    shares = [site.coverage_pct for site in sites if site.coverage_pct is not None]
    return {
        "sites": len(sites),
        "sites_drawn": n_drawn,
        "streams": len(streams),
        "streams_to_look_at": sum(each.is_bad for each in streams),
        "findings": found.height,
        **({"worst_coverage_pct": round(min(shares), 3)} if shares else {}),
        "bytes": len(html.encode()),
    }


def _document(title: str, body: Iterable[Html]) -> str:
    style = style_sheet()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # No script, no picture from elsewhere, no form, no base: also if a name ever got through.
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        # Without one a browser asks for /favicon.ico where the file is served.
        Html('<link rel="icon" href="data:,">'),
        el("title", clean(title)),
        Html(f"<style>{style}</style>"),
    )
    return f"<!doctype html>\n{el('html', head, el('body', join(body)), lang='en')}\n"
