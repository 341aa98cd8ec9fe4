"""`energy-etl sql`: one query on what people read, also while a run writes."""

import itertools
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from energy_etl.cli.values import existing_path
from energy_etl.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from energy_etl.warehouse.asking import Answer

# More than anybody reads on a screen; a pipe gets all.
_SHOWN_ROWS: Final = 200


class QueryCommand(TyperCommand):
    """A query that begins with a comment, as README's do, is no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line."""
        return super().parse_args(ctx, [f" {a}" if a.startswith("-- ") else a for a in args])


def sql(
    query: Annotated[
        str | None, typer.Argument(help="One SELECT; - reads it from stdin; none: lists tables.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Read the query from this file.", callback=existing_path)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many rows (a terminal shows 200).")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask data/energy.duckdb, reading only; alone: its tables.

    Safe while runs write. A terminal gets a table, a pipe tab-separated lines with a header.
    Instants are UTC, differences of instants seconds. No other file is read.
    """
    from energy_etl.vendors import project_settings
    from energy_etl.warehouse.asking import LISTING, asking

    if as_csv and as_json:
        raise UsageError("Give one of --csv and --json.")
    text = _text(query, file)
    is_screen = sys.stdout.isatty() and not (as_csv or as_json)
    n_rows = limit if limit is not None else _SHOWN_ROWS if is_screen else None
    if text is None:
        n_rows = None
    with asking(project_settings().published_path, LISTING if text is None else text) as answer:
        rows = itertools.islice(answer.rows, n_rows)
        with _pipe_may_end():
            if as_json:
                _print_json(answer.columns, rows)
            elif is_screen:
                _print_table(answer, list(rows))
            else:
                _print_lines(answer.columns, rows, "," if as_csv else "\t")
        is_cut = n_rows is not None and next(answer.rows, None) is not None
    if is_cut:
        print(f"energy-etl: There are more than {n_rows} rows: give --limit.", file=sys.stderr)


def _text(query: str | None, file: Path | None) -> str | None:
    if query is not None and file is not None:
        raise UsageError("Give a query or --file, not both.")
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


def _print_json(columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    separator = "[\n"
    for row in rows:
        plain = {name: _plain(value) for name, value in zip(columns, row, strict=True)}
        print(separator + indent(json.dumps(plain, indent=2), "  "), end="")
        separator = ",\n"
    print("[]" if separator == "[\n" else "\n]")


def _print_lines(columns: Sequence[str], rows: Iterable[tuple[Any, ...]], separator: str) -> None:
    import csv

    writer = csv.writer(sys.stdout, delimiter=separator, lineterminator="\n")
    if columns:
        writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)


def _print_table(answer: "Answer", rows: Sequence[tuple[Any, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as ScreenTable
    from rich.text import Text

    screen = ScreenTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    for name, is_numeric in zip(answer.columns, answer.is_numeric, strict=True):
        justify = "right" if is_numeric else "left"
        screen.add_column(Text(_printable(name)), justify=justify, overflow="fold")
    for row in rows:
        # As text: brackets in a name are no markup.
        screen.add_row(*(Text(_shown(value)) for value in row))
    console = Console()
    endless = console.options.update(max_width=sys.maxsize)
    if console.measure(screen, options=endless).minimum <= console.width:
        console.print(screen)
    else:
        # Columns of three letters tell nothing: a row after the other, a line for each column.
        for row in rows:
            record = ScreenTable("", "", box=None, show_header=False, padding=(0, 1))
            record.columns[1].overflow = "fold"
            for name, value in zip(answer.columns, row, strict=True):
                record.add_row(Text(_printable(name), style="bold"), Text(_shown(value)))
            console.print(record, "")
    print(f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}", file=sys.stderr)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else _printable(_cell(value))


def _printable(text: str) -> str:
    """Return a text without what a terminal obeys: a vendor's name may hold it."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def _cell(value: Any) -> str:
    """Return a value as a cell of CSV: null is empty, what is nested is JSON."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return json.dumps(plain) if isinstance(plain, list | dict) else str(plain)


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it; what it does not know (NaN, long decimals) as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
        case Decimal():
            number = int(value) if value == value.to_integral_value() else float(value)
            return number if Decimal(str(number)) == value else f"{value:f}"
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {_cell(name): _plain(item) for name, item in value.items()}
    return str(value)
