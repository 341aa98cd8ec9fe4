"""Swarm's CSV: a local time stamp, then measurements, no header. Lines to columns, vectorised.

The vendor's page: `,` between cells, `.` in numbers, stamps as `2018-06-01 00:15:00`; with all
electrical parameters the measurements stand in the page's order (short lines are allowed),
otherwise there is exactly one. An empty cell is no value. Only lines that cannot be read are looked
at one by one, to say why. Which field a column is, and which instant a local time, is decided in
`files.py` and `files_times.py`.
"""

import csv
import re
from typing import Final

import polars as pl

from energy_etl.vendors.wattics.files_lines import UNREADABLE, BadLines
from energy_etl.vendors.wattics.wire import ELECTRICAL_FIELDS

MOST_COLUMNS: Final = len(ELECTRICAL_FIELDS)
_STAMP_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
# Without it "2024-01-0100:00:00" and second 60 would pass.
_STAMP_PATTERN: Final = r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2} [0-9]{1,2}:[0-9]{1,2}:[0-5]?[0-9]$"
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?[0-9]+,[0-9]+")
_BLANKS: Final = " \t"


def column(number: int) -> str:
    """Return the name of a measurement's column, from 1."""
    return f"m{number}"


def parse_csv(lines: pl.DataFrame, n_columns: int, bad: BadLines) -> pl.DataFrame:
    """Return line, local_at (naive), m1, m2, ... (null: no value), in the order of the lines.

    Args:
        lines: line, text.
        n_columns: how many measurements a line may have.
        bad: takes the lines that cannot be read.
    """
    cells = _cells(lines)
    n_cells: int = cells.select(pl.col("cells").list.len().max()).item() or 1
    n_there = min(n_columns, n_cells - 1)
    stamp = pl.col("cells").list.get(0).str.strip_chars(_BLANKS)
    texts = {
        column(number): pl.col("cells").list.get(number, null_on_oob=True).str.strip_chars(_BLANKS)
        for number in range(1, n_there + 1)
    }
    spare = pl.col("cells").list.slice(n_columns + 1)
    parsed = cells.select(
        "line",
        "text",
        local_at=pl.when(stamp.str.contains(_STAMP_PATTERN)).then(
            stamp.str.to_datetime(_STAMP_FORMAT, time_unit="us", strict=False)
        ),
        has_spare=spare.list.eval(pl.element().str.strip_chars(_BLANKS) != "").list.any(),
        **{name: text.cast(pl.Float64, strict=False) for name, text in texts.items()},
        **{f"given_{name}": text != "" for name, text in texts.items()},
    )
    is_read = pl.all_horizontal(
        pl.col("local_at").is_not_null(),
        ~pl.col("has_spare"),
        *(
            pl.col(name).is_finite().fill_null(value=False)
            | ~pl.col(f"given_{name}").fill_null(value=False)
            for name in texts
        ),
    )
    parsed = parsed.with_columns(is_read=is_read)
    bad.add(parsed.filter(~pl.col("is_read")), lambda row: _why(row["text"], n_columns))
    return parsed.filter("is_read").select("line", "local_at", *texts)


def _cells(lines: pl.DataFrame) -> pl.DataFrame:
    has_quote = pl.col("text").str.contains('"', literal=True)
    split = pl.col("text").str.split(",")
    if not lines.select(has_quote.any()).item():
        return lines.with_columns(cells=split)
    plain = lines.filter(~has_quote).with_columns(cells=split)
    quoted = lines.filter(has_quote).with_columns(
        cells=pl.col("text").map_elements(_unquoted, return_dtype=pl.List(pl.String))
    )
    return pl.concat([plain, quoted]).sort("line")


def _unquoted(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error:
        # As one cell it is no time stamp, so the line is bad.
        return [text]


def _why(text: str, n_columns: int) -> str:
    """Say why a line cannot be read."""
    if UNREADABLE in text:
        return f"{_shown(text)} is not UTF-8: save the file as UTF-8"
    try:
        stamp, *cells = (cell.strip(_BLANKS) for cell in next(csv.reader([text], strict=True)))
    except csv.Error:
        return f"{_shown(text)} has a quote that is not closed"
    if other := next((c for c in ";\t" if c in stamp), None):
        name = "a tab" if other == "\t" else f"{other!r}"
        return f"its cells are separated by {name}: write ','"
    if not re.fullmatch(_STAMP_PATTERN[1:-1], stamp):
        return (
            f"{_shown(stamp)} is no time stamp: write 2024-05-31 14:00:00, in local time; "
            "there is no header line"
        )
    for number, cell in enumerate(cells, 1):
        if cell and (problem := _why_no_number(cell)):
            return f"measurement {number}: {problem}"
    n_given = max((number for number, cell in enumerate(cells, 1) if cell), default=0)
    if n_given > n_columns == 1:
        return (
            f"it has {n_given} measurements, and this stream takes one: write one number, "
            "with a decimal point and no comma in it"
        )
    if n_given > n_columns:
        return f"it has {n_given} measurements, and a packet has {n_columns} at most"
    return f"{_shown(stamp)} is no time that exists"


def _why_no_number(cell: str) -> str | None:
    if _DECIMAL_COMMA.fullmatch(cell):
        return f"{_shown(cell)} has a decimal comma: write {cell.replace(',', '.')}"
    if _NUMBER.fullmatch(cell):
        # Beyond the range of a float.
        return f"{_shown(cell)} is not finite" if abs(float(cell)) == float("inf") else None
    if cell.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        return f"{_shown(cell)} is not finite: leave the cell empty where there is no value"
    return f"{_shown(cell)} is no number: write 12.5, or leave the cell empty"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
