"""A small picture of a table for the Dagster UI: bars or a line as SVG within Markdown.

The UI shows Markdown of less than 1,000 characters beside the numbers and hides more behind a
click, and every materialization stores its picture: so each is made as short as it has to be. A
chart library takes longer to load than a computation takes, and draws nothing that small. The
report's charts are not made here.
"""

import re
from collections.abc import Iterable
from datetime import date, datetime
from html import escape
from itertools import pairwise
from typing import Final
from urllib.parse import quote

import dagster as dg
import polars as pl

from energy_etl.tables import Plot

LONGEST_MARKDOWN: Final = 999
_WIDTH: Final = 320
_HEIGHT: Final = 70
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 6, 6, 16
# Texts stand to the left of their bars, which lie.
_TEXT_WIDTH: Final = 130
_TEXT_LENGTH: Final = 18
_ROW_HEIGHT: Final = 14
_BAR_WIDTH: Final = 9
# Three to one or more on the light theme's white and on the dark theme's black.
_COLOUR: Final = "#3b82f6"
# More bars than this are a line.
_MAX_BARS: Final = 30
# How many points are tried, until the picture is short enough.
_COUNTS: Final = {"text": (8, 7, 6, 5, 4, 3, 2, 1), "axis": (60, 50, 40, 30, 20, 10, 1)}
# Beyond this even a difference of two overflows, and below that a scale does.
_LARGEST: Final = 1e300
_SMALLEST: Final = 1e-300
_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def drawn(frame: pl.DataFrame, plot: Plot) -> dg.MarkdownMetadataValue | None:
    """Return the picture as metadata; None when there is nothing to draw.

    Of more points than fit the largest are shown where x is a text (the least, where the plot says
    so), else the last ones, and the title says so.

    Args:
        frame: rows of the table.
        plot: what is drawn; `y` may be `n`, the number of rows.
    """
    points = _points(frame, plot)
    if points.is_empty():
        return None
    is_text = _is_text(points)
    title = f"{plot.how} of {plot.y} by {plot.x}" if plot.y != "n" else f"rows by {plot.x}"
    which = ("smallest" if plot.is_least_first else "largest") if is_text else "last"
    markdown = ""
    for count in _COUNTS["text" if is_text else "axis"]:
        shown = points.head(count) if is_text else points.tail(count)
        cut = f" (the {which} {shown.height} of {points.height})"
        told = title + cut * (shown.height < points.height)
        svg = quote(_lying(shown) if is_text else _standing(shown), safe="/:=',;")
        markdown = f"{told}\n\n![{title}](data:image/svg+xml,{svg})"
        if len(markdown) <= LONGEST_MARKDOWN:
            break
    return dg.MetadataValue.md(markdown)


def _points(frame: pl.DataFrame, plot: Plot) -> pl.DataFrame:
    """Return x and y, one row per x, sorted; the longest bars first where x is a text."""
    rows = frame if plot.only is None else frame.filter(plot.only)
    y = pl.len() if plot.y == "n" else getattr(pl.col(plot.y).drop_nulls(), plot.how)()
    points = (
        rows.filter(pl.col(plot.x).is_not_null() if plot.y == "n" else pl.col(plot.y).is_not_null())
        .group_by(pl.col(plot.x).alias("x"))
        .agg(y=y.cast(pl.Float64))
        .with_columns(y=pl.when(pl.col("y").abs() < _SMALLEST).then(0.0).otherwise("y"))
        .filter(pl.col("x").is_not_null(), pl.col("y").is_finite(), pl.col("y").abs() < _LARGEST)
    )
    if not _is_text(points):
        return points.sort("x")
    size = pl.col("y") if plot.is_least_first else -pl.col("y").abs()
    return points.sort(size, "x")


def _is_text(points: pl.DataFrame) -> bool:
    kind = points.schema["x"]
    return not (kind.is_integer() or kind.is_temporal())


def _lying(points: pl.DataFrame) -> str:
    """Return the bars of texts, one below the other, each with its number."""
    ys = points["y"].to_list()
    low, high = min(0.0, *ys), max(0.0, *ys)
    per_unit = (_WIDTH - _RIGHT - _TEXT_WIDTH) / ((high - low) or 1.0)
    zero = _TEXT_WIDTH - low * per_unit
    texts, strokes = [], []
    for number, (x, y) in enumerate(points.iter_rows()):
        middle = number * _ROW_HEIGHT + _ROW_HEIGHT // 2
        texts.append(_text(0, middle + 4, f"{_cut(str(x))} {y:,.4g}"))
        strokes.append(f"M{zero:.0f},{middle}H{zero + (y * per_unit or 1):.0f}")
    return _svg(points.height * _ROW_HEIGHT, _path(strokes, _BAR_WIDTH), texts)


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
        line = _line(zip(middles, tops, strict=True), longest=1.5 * per_step)
        marks = _path(line, 1)
    else:
        strokes = [
            # A bar of nothing is a hair, so that it is seen to be there.
            f"M{middle:.0f},{zero:.0f}V{top if abs(top - zero) >= 1 else zero - 1:.0f}"
            for middle, top in zip(middles, tops, strict=True)
        ]
        marks = _path(strokes, max(round(per_step * 0.8), 1))
    first, last = _label(points["x"][0]), _label(points["x"][-1])
    texts = [_text(0, _TOP + 5, f"{high:,.4g}"), _text(_LEFT, _HEIGHT - 3, first)]
    if high > low:
        texts.append(_text(0, bottom, f"{low:,.4g}"))
    if points.height > 1:
        texts.append(_text(_WIDTH, _HEIGHT - 3, last, " text-anchor='end'"))
    return _svg(_HEIGHT, marks, texts)


def _line(points: Iterable[tuple[float, float]], *, longest: float) -> list[str]:
    """Return a line that is broken where points are missing: they are unknown, not between."""
    steps, last_x = [], None
    for x, y in points:
        is_on = last_x is not None and x - last_x <= longest
        # A point alone is a line to itself, of which the round ends show.
        steps.append(f"L{x:.0f},{y:.0f}" if is_on else f"M{x:.0f},{y:.0f}h0")
        last_x = x
    return steps


def _svg(height: int, marks: str, texts: list[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' "
        f"font-family='sans-serif' font-size='10' fill='gray'>{marks}{''.join(texts)}</svg>"
    )


def _path(strokes: list[str], width: int) -> str:
    cap = "" if width > 1 else " stroke-linecap='round'"
    return (
        f"<path d='{''.join(strokes)}' fill='none' stroke='{_COLOUR}' stroke-width='{width}'{cap}/>"
    )


def _text(x: int, y: int, text: str, anchor: str = "") -> str:
    # A control character would take the whole picture away.
    plain = escape(_NOT_IN_XML.sub("\ufffd", text))
    return f"<text x='{x}' y='{y}'{anchor}>{plain}</text>"


def _label(x: object) -> str:
    if isinstance(x, datetime):
        return x.strftime("%Y-%m-%d %H:%M")
    return x.isoformat() if isinstance(x, date) else str(x)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else text[: _TEXT_LENGTH - 1] + "…"
