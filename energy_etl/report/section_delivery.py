"""Delivery per stream, and the completeness of each register day by day."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from energy_etl.report import wording
from energy_etl.report.completeness import DAYS, Completeness
from energy_etl.report.figures import ENOUGH_PCT
from energy_etl.report.grid import Head, badge, missing, section, table
from energy_etl.report.marks import completeness_strip, delivery_strip
from energy_etl.report.markup import Child, Html, el, join, name, prose
from energy_etl.report.ranking import MANY
from energy_etl.report.streams import SHOWN_DAYS, Stream

STREAMS_SHOWN: Final = 60
REGISTERS_SHOWN: Final = 40


def delivery(streams: Sequence[Stream], now: datetime) -> Html:
    """Return the streams, the worst first."""
    title = "Delivery to Wattics"
    if not streams:
        return section(
            "delivery",
            title,
            missing(
                "No stream is mapped.",
                "`energy-etl streams create` provisions meters at Wattics and writes streams.csv.",
            ),
        )
    heads = (
        Head("Stream"),
        Head("Meter"),
        Head("Is"),
        Head(f"Last {SHOWN_DAYS} days", "picture"),
        Head("Sent", "number"),
        Head("Waiting", "number"),
        Head("Refused", "number"),
        Head("Last packet", "number"),
        Head("Lag", "number"),
        Head("Holes", "number"),
    )
    shown = streams
    if len(streams) > STREAMS_SHOWN:
        # Those that are ok say little one by one.
        n_bad = sum(each.is_bad for each in streams)
        shown = streams[: min(max(n_bad, MANY), STREAMS_SHOWN)]
    told = ""
    if len(streams) > len(shown):
        left = streams[len(shown) :]
        calm = (
            "all of the others are ok"
            if not any(s.is_bad for s in left)
            else (
                f"of the others {sum(s.is_bad for s in left)} need a look too "
                "(`energy-etl outbox status`)"
            )
        )
        told = f"The {len(shown)} of {len(streams)} streams that need a look most; {calm}. "
    reasons = [
        el("li", name(each.stream_id), ": ", prose(each.reason, 600))
        for each in shown
        if each.reason and each.condition != "ok"
    ]
    return section(
        "delivery",
        title,
        table(
            "Delivery of each stream",
            heads,
            [_stream(place, each, now) for place, each in enumerate(shown)],
            class_="dense",
        ),
        el("ul", *reasons, class_="reasons") if reasons else None,
        lead=join(
            [
                prose(told),
                " Last packet: its stamp in UTC. Lag is how long the next packet is overdue. "
                "A hole is a stretch between two accepted packets with none in it, framed in the "
                "strip; Wattics takes it for broken communication.",
            ]
        ),
    )


def completeness(found: Completeness, *, is_one_site: bool) -> Html:
    """Return the heat map: a row per register, a cell per day, filled as far as measured."""
    title = "Completeness"
    if not found.rows:
        return section(
            "completeness",
            title,
            missing(
                "No register has intervals yet.",
                "Load readings with `energy-etl backfill`; figures follow by themselves.",
            ),
        )
    shown = found.rows[:REGISTERS_SHOWN]
    told = ""
    if len(found.rows) > len(shown):
        worst = wording.percent(shown[-1].coverage_pct)
        told = (
            f"The {len(shown)} of {len(found.rows)} registers with the worst coverage; the others "
            f"have {worst} or more. "
        )
    days = wording.days(found.days[0], found.days[-1] + timedelta(days=1))
    heads = (Head("Register"), Head(_weeks(found.days), "picture"), Head("Measured", "number"))
    rows: list[Sequence[Child]] = [
        (
            join(
                [
                    name(row.label, 40),
                    el(
                        "small",
                        name(row.register_id if is_one_site else row.site_name, 40),
                        class_="id",
                    ),
                ]
            ),
            completeness_strip(row.cells, f"done-{place}", row.register_id)
            if any(row.cells)
            else wording.none("never read"),
            wording.percent(row.coverage_pct),
        )
        for place, row in enumerate(shown)
    ]
    odd = sorted(
        {
            (cell.local_on, cell.hours)
            for row in found.rows
            for cell in row.cells
            if cell and cell.hours != 24
        }
    )
    changed = ", ".join(f"{wording.short_day(on)} ({hours:g} h)" for on, hours in odd[:6])
    return section(
        "completeness",
        title,
        table(
            f"Measured share of each register's last {DAYS} days",
            heads,
            rows,
            class_="heat",
        ),
        el("p", f"Days when a clock changed: {changed}.", class_="note") if changed else None,
        lead=join(
            [
                told,
                f"{days}. Each day is as full as it was measured, orange under "
                f"{ENOUGH_PCT:.0f} %, an empty frame where nothing came; expected are the "
                "intervals of the site's own day of 23 to 25 hours.",
            ]
        ),
    )


def _weeks(days: Sequence[date]) -> Html:
    """Return the first day of each week as labels, evenly over the width of the strips."""
    return el("div", *(el("span", wording.short_day(on)) for on in days[::7]), class_="weeks")


def _stream(place: int, each: Stream, now: datetime) -> list[Child]:
    is_ok = each.condition in ("ok", "sending", "waiting", "not begun")
    kind = "plain" if is_ok else "bad"
    holes: Child = str(each.n_holes)
    if each.n_holes:
        holes = join([holes, el("small", f"{each.n_missing:,} packets")])
    strip: Child = wording.none("nothing sent")
    if each.spans:
        strip = delivery_strip(
            each.spans, now - timedelta(days=SHOWN_DAYS), now, f"sent-{place}", each.stream_id
        )
    last_at = each.last_sent_at
    lag: Child = wording.none("nothing sent" if each.last_sent_at is None else "fed by files")
    if each.lag_minutes is not None:
        lag = wording.age(each.lag_minutes)
    return [
        name(each.stream_id),
        join([name(each.source, 40), el("small", name(each.site_id or ""), class_="id")]),
        badge(each.condition, "good" if each.condition == "ok" else kind),
        strip,
        f"{each.n_accepted:,}",
        f"{each.n_waiting:,}",
        f"{each.n_rejected:,}",
        wording.moment(last_at) if last_at else wording.none("nothing sent"),
        lag,
        holes,
    ]
