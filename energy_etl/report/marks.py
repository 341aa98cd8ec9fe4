"""Small pictures by hand, where a chart library would draw nothing more: strips and a scale.

A strip is one row of a table: it is stretched to the width of its cell, so it has no text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from energy_etl.report.charts import WIDTH, picture
from energy_etl.report.figures import ENOUGH_PCT, VendorFigure
from energy_etl.report.markup import Html, clean, el, join
from energy_etl.report.wording import counted, number, percent, short_day

# Two meters of class B (EN 50470-3) may differ by 1 % each.
TOLERANCE_PCT: Final = 2.0
_ROW: Final = 26
_LEFT, _RIGHT = 112, 76
_STRIP_HEIGHT: Final = 20


@dataclass(frozen=True)
class Cell:
    """A day of a strip: its share in percent, None where nothing was expected."""

    local_on: date
    hours: float
    n_expected: int
    n_measured: int

    @property
    def share_pct(self) -> float:
        """Measured share of the expected intervals."""
        return 100 * self.n_measured / self.n_expected if self.n_expected else 0.0

    @property
    def told(self) -> str:
        """What the day's tooltip says."""
        hours = "" if self.hours == 24 else f" ({self.hours:g} h)"
        return f"{short_day(self.local_on)}{hours}: {self.n_measured} of {self.n_expected}"


def completeness_strip(cells: Sequence[Cell | None], strip_id: str, whose: str) -> Html:
    """Draw a row of days: each as full as it was measured; an empty frame is nothing at all.

    Args:
        cells: one per day; None where the register did not exist yet.
        strip_id: unique on the page.
        whose: for those who do not see it.
    """
    parts: list[Html] = []
    run_from: int | None = None
    for place, cell in enumerate([*cells, None]):
        is_whole = cell is not None and cell.share_pct >= 100 and cell.hours == 24
        if is_whole:
            run_from = place if run_from is None else run_from
            continue
        if run_from is not None:
            # Days without a fault are one shape: most of all days.
            bars = "".join(f"M{10 * at + 0.6:g},0h8.8v20h-8.8z" for at in range(run_from, place))
            parts.append(el("path", d=bars, class_="full"))
            run_from = None
        if cell is not None and place < len(cells):
            parts.append(_cell(place, cell))
    known = [cell for cell in cells if cell is not None]
    faulty = [cell for cell in known if cell.share_pct < ENOUGH_PCT]
    text = f"{len(known)} days, {len(faulty)} of them under {ENOUGH_PCT:.0f} %"
    if faulty:
        worst = min(faulty, key=lambda cell: cell.share_pct)
        text += f"; the worst {short_day(worst.local_on)} with {percent(worst.share_pct)}"
    return _strip(10 * len(cells), join(parts), strip_id, f"Completeness of {whose}", text)


def delivery_strip(
    spans: Sequence[tuple[datetime, datetime, str]],
    from_at: datetime,
    to_at: datetime,
    strip_id: str,
    whose: str,
) -> Html:
    """Draw when a stream's packets were stamped: full where sent, framed where there is a hole.

    Args:
        spans: from, to, and `sent`, `hole` or `declared`.
        from_at: left end.
        to_at: right end.
        strip_id: unique on the page.
        whose: for those who do not see it.
    """
    total_s = (to_at - from_at).total_seconds()
    shapes: list[Html] = []
    n_holes = 0
    for begin_at, end_at, what in spans:
        left = max(0.0, 400 * (begin_at - from_at).total_seconds() / total_s)
        right = min(400.0, 400 * (end_at - from_at).total_seconds() / total_s)
        if right <= left:
            continue
        n_holes += what == "hole"
        # A hole of a quarter of an hour is seen in a fortnight, too.
        width = right - left if what == "sent" else max(right - left, 2.5)
        title = el("title", f"{what}: {begin_at:%m-%d %H:%M} to {end_at:%m-%d %H:%M} UTC")
        is_full = what == "sent"
        shapes.append(
            el(
                "rect",
                None if is_full else title,
                x=f"{left:.1f}",
                y=6 if is_full else 1,
                width=f"{width:.1f}",
                height=8 if is_full else 18,
                class_={"sent": "full", "hole": "part", "declared": "none-cell"}[what],
            )
        )
    text = counted(n_holes, "hole", "holes") if n_holes else "no hole"
    return _strip(400, join(shapes), strip_id, f"Packets of {whose}", text)


def vendor_scale(figures: Sequence[VendorFigure], scale_id: str, vendor: str) -> Html:
    """Draw how far a vendor's figures are from ours, on a band of what meters may differ by."""
    shown = [figure for figure in figures if figure.difference_pct is not None]
    most = max((abs(figure.difference_pct or 0.0) for figure in shown), default=0.0)
    reach = min(max(2.5 * TOLERANCE_PCT, 1.15 * most), 100.0)
    middle, half = _LEFT + (WIDTH - _LEFT - _RIGHT) / 2, (WIDTH - _LEFT - _RIGHT) / 2
    bottom = _ROW * len(figures) + 4
    band = half * TOLERANCE_PCT / reach
    parts = [
        el(
            "rect",
            x=f"{middle - band:.1f}",
            y=0,
            width=f"{2 * band:.1f}",
            height=bottom,
            class_="band",
        ),
        el("line", x1=f"{middle:g}", x2=f"{middle:g}", y1=0, y2=bottom, class_="axis"),
    ]
    for place, figure in enumerate(figures):
        y = _ROW * place + 17
        parts.append(el("text", figure.period.replace("-", " "), x=0, y=y + 4))
        if figure.difference_pct is None:
            parts.append(el("text", "–", x=WIDTH, y=y + 4, text_anchor="end"))
            continue
        is_within = abs(figure.difference_pct) <= TOLERANCE_PCT
        x = middle + half * max(-1.0, min(1.0, figure.difference_pct / reach))
        parts.append(
            el("circle", cx=f"{x:.1f}", cy=y, r=5, class_="dot")
            if is_within
            else el("path", d=f"M{x:.1f},{y - 7}l7,7l-7,7l-7,-7z", class_="off")
        )
        sign = "+" if figure.difference_pct >= 0.005 else ""
        told = f"{sign}{number(figure.difference_pct, '%', 2)}"
        parts.append(el("text", told, x=WIDTH, y=y + 4, text_anchor="end", class_="strong"))
    ends = ((_LEFT, f"−{reach:.0f} %", "start"), (middle, "ours", "middle"))
    ends = (*ends, (WIDTH - _RIGHT, f"+{reach:.0f} %", "end"))
    parts += [
        el("text", label, x=f"{x:g}", y=bottom + 15, text_anchor=anchor, class_="tick")
        for x, label, anchor in ends
    ]
    n_off = sum(abs(figure.difference_pct or 0.0) > TOLERANCE_PCT for figure in shown)
    text = (
        f"{len(shown)} of {len(figures)} periods can be compared; {n_off} differ by more than "
        f"{TOLERANCE_PCT:g} %."
    )
    return picture(
        WIDTH, bottom + 20, join(parts), scale_id, f"{clean(vendor)} against our figures", text
    )


def spark(amounts: Sequence[float | None], spark_id: str, whose: str) -> Html:
    """Draw the days of a site in one line of a table; a day without data is left out."""
    known = [amount for amount in amounts if amount is not None]
    if not known:
        return Html("")
    # Days of nothing at all are a hair each: they were measured.
    most = max(known)
    scale = 19 / most if most > 0 else 0.0
    bars = "".join(
        f"M{4 * place:g},20h3v{-max(0.6, scale * amount):.1f}h-3z"
        for place, amount in enumerate(amounts)
        if amount is not None
    )
    text = f"{number(min(known), 'kWh')} to {number(most, 'kWh')} per day"
    shape = el("path", d=bars, class_="full")
    return _strip(4 * len(amounts), shape, spark_id, f"Days of {whose}", text)


def _cell(place: int, cell: Cell) -> Html:
    share = cell.share_pct
    height = _STRIP_HEIGHT * share / 100
    # Something, but too little to be drawn, is not nothing.
    height = min(max(height, 1.5), 18.5) if 0 < share < 100 else height
    kind = "full" if share >= ENOUGH_PCT else "part"
    shapes = [
        el(
            "rect",
            x=f"{10 * place + 0.6:g}",
            y=0,
            width="8.8",
            height=_STRIP_HEIGHT,
            class_="none-cell",
        ),
        el("path", d=f"M{10 * place + 0.6:g},20h8.8v{-height:.1f}h-8.8z", class_=kind)
        if share > 0
        else None,
    ]
    return el("g", el("title", cell.told), *shapes)


def _strip(width: float, body: Html, strip_id: str, title: str, text: str) -> Html:
    svg = picture(width, _STRIP_HEIGHT, body, strip_id, title, text)
    return Html(svg.replace("<svg ", '<svg class="strip" preserveAspectRatio="none" ', 1))
