"""A small picture of a table for the Dagster UI: bars or a line as SVG within Markdown.

SVG is shown beside the numbers, where a PNG hides behind a link. A chart library takes longer to
load than a computation takes; these pictures have two axes and one colour. The report's charts are
not made here.
"""

import base64
from datetime import date, datetime
from html import escape
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.tables import Plot

_WIDTH: Final = 640
_HEIGHT: Final = 160
_LEFT, _TOP, _BOTTOM = 56, 22, 34
_INK: Final = "#1f2937"
_BAR: Final = "#2563eb"
# More bars than this are a line; more texts than this do not fit.
_MAX_BARS: Final = 60
_MAX_TEXTS: Final = 24


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
    svg = base64.b64encode(to_svg(points, title).encode()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{svg})")


def _points(frame: pl.DataFrame, plot: Plot) -> pl.DataFrame:
    """Return x and y, one row per x, sorted; the longest bars first where x is a text."""
    rows = frame if plot.only is None else frame.filter(plot.only)
    y = pl.len() if plot.y == "n" else getattr(pl.col(plot.y).drop_nulls(), plot.how)()
    points = (
        rows.filter(pl.col(plot.x).is_not_null() if plot.y == "n" else pl.col(plot.y).is_not_null())
        .group_by(pl.col(plot.x).alias("x"))
        .agg(y=y.cast(pl.Float64))
        .filter(pl.col("y").is_finite())
    )
    if points.schema["x"] == pl.String:
        return points.sort(pl.col("y").abs(), "x", descending=[True, False]).head(_MAX_TEXTS)
    return points.sort("x")


def to_svg(points: pl.DataFrame, title: str) -> str:
    """Return a picture of `x` and `y` (finite), at least one row."""
    ys = points["y"].to_list()
    low, high = min(0.0, *ys), max(0.0, *ys)
    span = (high - low) or 1.0
    is_text = points.schema["x"] == pl.String
    bottom = _HEIGHT - _BOTTOM
    per_unit = (bottom - _TOP) / span

    def at(y: float) -> float:
        return bottom - (y - low) * per_unit

    step = (_WIDTH - _LEFT - 8) / len(ys)
    middles = [_LEFT + step * (n + 0.5) for n in range(len(ys))]
    if len(ys) > _MAX_BARS:
        line = " ".join(f"{x:.1f},{at(y):.1f}" for x, y in zip(middles, ys, strict=True))
        marks = f'<polyline points="{line}" fill="none" stroke="{_BAR}" stroke-width="1.5"/>'
    else:
        marks = "".join(
            f'<rect x="{x - step * 0.4:.1f}" y="{min(at(y), at(0.0)):.1f}" '
            f'width="{step * 0.8:.1f}" height="{max(abs(at(y) - at(0.0)), 0.5):.1f}" '
            f'fill="{_BAR}"><title>{escape(_label(each))}: {y:,.4g}</title></rect>'
            for each, x, y in zip(points["x"], middles, ys, strict=True)
        )
    shown = range(len(ys)) if is_text else sorted({0, len(ys) // 2, len(ys) - 1})
    limit = max(3, int(step / 6.5)) if is_text else 16
    texts = "".join(
        f'<text x="{middles[n]:.1f}" y="{bottom + 14}" text-anchor="middle">'
        f"{escape(_cut(_label(points['x'][n]), limit))}</text>"
        for n in shown
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="11" fill="{_INK}">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>'
        f'<text x="8" y="14" font-weight="bold">{escape(title)}</text>'
        f'<text x="{_LEFT - 6}" y="{at(high) + 4:.1f}" text-anchor="end">{high:,.4g}</text>'
        f'<text x="{_LEFT - 6}" y="{at(low) + 4:.1f}" text-anchor="end">{low:,.4g}</text>'
        f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{at(0.0):.1f}" y2="{at(0.0):.1f}" '
        f'stroke="{_INK}" stroke-width="0.5"/>{marks}{texts}</svg>'
    )


def _label(x: object) -> str:
    if isinstance(x, datetime):
        return x.strftime("%Y-%m-%d %H:%M")
    return x.isoformat() if isinstance(x, date) else str(x)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
