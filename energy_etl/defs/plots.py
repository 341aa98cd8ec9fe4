"""A small picture of a table for the Dagster UI: bars or a line as SVG within Markdown.

The UI shows Markdown of 1,000 characters and more behind one click on the numbers' page, SVG then
as sharp as the page. A chart library takes longer to load than a computation takes; these pictures
have two axes and one colour. The report's charts are not made here.
"""

import base64
import re
from collections.abc import Iterable
from datetime import date, datetime
from html import escape
from itertools import pairwise
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.tables import Plot

_WIDTH: Final = 640
_HEIGHT: Final = 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 26, 24
# Texts stand to the left of their bars, which lie.
_TEXT_WIDTH: Final = 210
_TEXT_LENGTH: Final = 34
_ROW_HEIGHT: Final = 16
_INK: Final = "#1f2937"
_BAR: Final = "#2563eb"
# More bars than this are a line.
_MAX_BARS: Final = 60
_MAX_TEXTS: Final = 24
# A picture stands in every materialization's event: no more points than it has pixels.
_MAX_POINTS: Final = 400
# Beyond this even a difference of two overflows.
_LARGEST: Final = 1e300
_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def drawn(frame: pl.DataFrame, plot: Plot) -> dg.MarkdownMetadataValue | None:
    """Return the picture as metadata; None when there is nothing to draw.

    Args:
        frame: rows of the table.
        plot: what is drawn; `y` may be `n`, the number of rows.
    """
    points = _points(frame, plot)
    if points.is_empty():
        return None
    title = f"{plot.how} of {plot.y} by {plot.x}" if plot.y != "n" else f"rows by {plot.x}"
    if _is_text(points):
        shown = points.head(_MAX_TEXTS)
        which = "smallest" if plot.is_least_first else "largest"
    else:
        shown = points.tail(_MAX_POINTS)
        which = "last"
    if shown.height < points.height:
        title += f" (the {which} {shown.height} of {points.height})"
    svg = base64.b64encode(to_svg(shown, title).encode()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{svg})")


def to_svg(points: pl.DataFrame, title: str) -> str:
    """Return a picture of `x` and `y` (a number below 1e300), at least one row.

    Args:
        points: of texts lying bars are made, in their order; of dates, instants or whole numbers
            (sorted) standing bars, or a line of many, each where it lies on its axis.
        title: what is drawn.
    """
    height, body = _lying(points) if _is_text(points) else (_HEIGHT, _standing(points))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="11" fill="{_INK}">'
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
        f'<text x="8" y="14" font-weight="bold">{_plain(title)}</text>{body}</svg>'
    )


def _points(frame: pl.DataFrame, plot: Plot) -> pl.DataFrame:
    """Return x and y, one row per x, sorted; the longest bars first where x is a text."""
    rows = frame if plot.only is None else frame.filter(plot.only)
    y = pl.len() if plot.y == "n" else getattr(pl.col(plot.y).drop_nulls(), plot.how)()
    points = (
        rows.filter(pl.col(plot.x).is_not_null() if plot.y == "n" else pl.col(plot.y).is_not_null())
        .group_by(pl.col(plot.x).alias("x"))
        .agg(y=y.cast(pl.Float64))
        .filter(pl.col("x").is_not_null(), pl.col("y").is_finite(), pl.col("y").abs() < _LARGEST)
    )
    if not _is_text(points):
        return points.sort("x")
    size = pl.col("y") if plot.is_least_first else -pl.col("y").abs()
    return points.sort(size, "x")


def _is_text(points: pl.DataFrame) -> bool:
    kind = points.schema["x"]
    return not (kind.is_integer() or kind.is_temporal())


def _lying(points: pl.DataFrame) -> tuple[int, str]:
    """Return the height and the bars of texts, one below the other, each with its number."""
    left, right = _TEXT_WIDTH + 8, _WIDTH - _LEFT
    ys = points["y"].to_list()
    low, high = min(0.0, *ys), max(0.0, *ys)
    per_unit = (right - left) / ((high - low) or 1.0)
    zero = left - low * per_unit
    rows = []
    for number, (x, y) in enumerate(points.iter_rows()):
        top, width = _TOP + number * _ROW_HEIGHT, abs(y) * per_unit
        start = min(zero, zero + y * per_unit)
        rows.append(
            f'<text x="{_TEXT_WIDTH}" y="{top + 11}" text-anchor="end">'
            f"<title>{_plain(str(x))}</title>{_plain(_cut(str(x)))}</text>"
            f'<rect x="{start:.1f}" y="{top}" width="{max(width, 0.5):.1f}" '
            f'height="{_ROW_HEIGHT - 4}" fill="{_BAR}"/>'
            f'<text x="{start + width + 4:.1f}" y="{top + 11}">{y:,.4g}</text>'
        )
    bottom = _TOP + len(rows) * _ROW_HEIGHT
    axis = _line(zero, _TOP - 2, zero, bottom)
    return bottom + 4, "".join(rows) + axis


def _standing(points: pl.DataFrame) -> str:
    """Return bars, or a line, over dates, instants or whole numbers, each where it lies."""
    xs = points["x"].to_physical().cast(pl.Float64).to_list()
    ys = points["y"].to_list()
    low, high = min(0.0, *ys), max(0.0, *ys)
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    per_unit = (bottom - _TOP) / ((high - low) or 1.0)
    step = min((after - before for before, after in pairwise(xs)), default=1.0)
    # Half a step on either side, so that the bars at the ends are whole.
    per_step = (right - _LEFT) / ((xs[-1] - xs[0]) / step + 1.0)
    middles = [_LEFT + per_step * ((x - xs[0]) / step + 0.5) for x in xs]
    tops = [bottom - (y - low) * per_unit for y in ys]
    zero = bottom + low * per_unit
    if len(ys) > _MAX_BARS:
        marks = _path(zip(middles, tops, strict=True), longest=1.5 * per_step)
    else:
        width = max(per_step * 0.8, 1.0)
        marks = "".join(
            f'<rect x="{middle - width / 2:.1f}" y="{min(top, zero):.1f}" width="{width:.1f}" '
            f'height="{max(abs(top - zero), 0.5):.1f}" fill="{_BAR}">'
            f"<title>{_plain(_label(x))}: {y:,.4g}</title></rect>"
            for x, y, middle, top in zip(points["x"], ys, middles, tops, strict=True)
        )
    numbers = "".join(
        f'<text x="{_LEFT - 6}" y="{bottom - (y - low) * per_unit + 4:.1f}" text-anchor="end">'
        f"{y:,.4g}</text>"
        for y in sorted({low, 0.0, high})
        # The zero beside a number as good as zero would be written over it.
        if y in (low, high) or min(high, -low) * per_unit > _ROW_HEIGHT
    )
    return marks + numbers + _line(_LEFT, zero, right, zero) + _dates(points["x"], middles)


def _dates(xs: pl.Series, middles: list[float]) -> str:
    """Return the first, the middle and the last of the values under the axis."""
    texts, end = [], len(middles) - 1
    for number in sorted({0, end // 2, end}):
        label = _label(xs[number])
        # 3.2 pixels are half a digit: a label at the edge moves in, and is not cut.
        half = len(label) * 3.2
        at = min(max(middles[number], 2 + half), _WIDTH - 2 - half)
        if not texts or at - half > texts[-1][1] + 6:
            texts.append((at, at + half, label))
    return "".join(
        f'<text x="{at:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{_plain(label)}</text>'
        for at, _, label in texts
    )


def _path(points: Iterable[tuple[float, float]], *, longest: float) -> str:
    """Return a line that is broken where points are missing: they are unknown, not between."""
    steps, last_x = [], None
    for x, y in points:
        is_on = last_x is not None and x - last_x <= longest
        # A point alone is a line to itself, of which the round ends show.
        steps.append(f"{'L' if is_on else 'M'}{x:.1f},{y:.1f}" + ("" if is_on else "h0"))
        last_x = x
    return (
        f'<path d="{"".join(steps)}" fill="none" stroke="{_BAR}" stroke-width="1.5" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{_INK}" stroke-width="0.5"/>'
    )


def _label(x: object) -> str:
    if isinstance(x, datetime):
        return x.strftime("%Y-%m-%d %H:%M")
    return x.isoformat() if isinstance(x, date) else str(x)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"


def _plain(text: str) -> str:
    """Return a text that XML can hold: a control character would take the whole picture away."""
    return escape(_NOT_IN_XML.sub("\ufffd", text))
