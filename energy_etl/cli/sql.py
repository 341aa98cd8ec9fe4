"""`energy-etl sql`: one query on what people read, also while a run writes."""

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from energy_etl.errors import ConfigurationError

if TYPE_CHECKING:
    import polars as pl

# More than anybody reads on a screen; a pipe gets all.
_SHOWN_ROWS: Final = 200


def sql(
    query: Annotated[
        str | None, typer.Argument(help="One SELECT; - reads it from stdin; none: lists tables.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the query from this file.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many rows (a terminal shows 200).")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask data/energy.duckdb, reading only; alone: its tables.

    Safe while runs write. A terminal gets a table, a pipe tab-separated lines with a header.
    Instants are UTC.
    """
    from energy_etl.vendors import project_settings
    from energy_etl.warehouse.asking import ask, list_published

    if as_csv and as_json:
        raise typer.BadParameter("Give one of --csv and --json.")
    text = _text(query, file)
    is_screen = sys.stdout.isatty() and not (as_csv or as_json)
    n_rows = limit if limit is not None else _SHOWN_ROWS if is_screen else None
    path = project_settings().published_path
    # One row more tells whether that is all.
    wanted = None if n_rows is None else n_rows + 1
    frame = list_published(path) if text is None else ask(path, text, limit=wanted)
    is_cut = text is not None and n_rows is not None and frame.height > n_rows
    if n_rows is not None and text is not None:
        frame = frame.head(n_rows)
    with _pipe_may_end():
        if as_json:
            print(json.dumps([_plain_row(row) for row in frame.iter_rows(named=True)], indent=2))
        elif is_screen:
            _print_table(frame)
        else:
            _print_lines(frame, "," if as_csv else "\t")
    if is_cut:
        print(f"energy-etl: There are more than {n_rows} rows: give --limit.", file=sys.stderr)


def _text(query: str | None, file: Path | None) -> str | None:
    if query is not None and file is not None:
        raise typer.BadParameter("Give a query or --file, not both.")
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ConfigurationError(f"{file} is not UTF-8: save it as UTF-8.") from None
    return sys.stdin.read() if query == "-" else query


@contextmanager
def _pipe_may_end() -> Iterator[None]:
    """Whoever reads may have seen enough (`| head`): that is no failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Else the interpreter complains when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_lines(frame: "pl.DataFrame", separator: str) -> None:
    import csv

    writer = csv.writer(sys.stdout, delimiter=separator, lineterminator="\n")
    if frame.width:
        writer.writerow(frame.columns)
    writer.writerows([_cell(value) for value in row] for row in frame.iter_rows())


def _print_table(frame: "pl.DataFrame") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as ScreenTable
    from rich.text import Text

    screen = ScreenTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    for name, kind in frame.schema.items():
        screen.add_column(Text(name), justify="right" if kind.is_numeric() else "left")
    for row in frame.iter_rows():
        # As text: brackets in a name are no markup.
        screen.add_row(*(Text(_shown(value)) for value in row))
    Console().print(screen)
    print(f"{frame.height} {'row' if frame.height == 1 else 'rows'}", file=sys.stderr)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else _cell(value)


def _cell(value: Any) -> str:
    """Return a value as a cell of CSV: null is empty, what is nested is JSON."""
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return json.dumps(plain) if isinstance(plain, list | dict) else str(plain)


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it; NaN and infinity, which it does not know, as text."""
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case float() if not math.isfinite(value):
            return str(value)
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {name: _plain(item) for name, item in value.items()}
    return value
