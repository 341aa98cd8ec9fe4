"""`Portfolio`: the files as frames of the tables they fill, or every problem they have at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from energy_etl.errors import ConfigurationError
from energy_etl.portfolio.csv_file import CsvFile
from energy_etl.portfolio.layout import (
    FILES,
    GAPS,
    MEASURES,
    METERS,
    REGISTERS,
    SITES,
    STREAMS,
    TARIFFS,
    FileLayout,
)
from energy_etl.tables import Table, core
from energy_etl.units import KW_PER_UNIT, KWH_PER_UNIT

_SHOWN_PROBLEMS: Final = 50


@dataclass
class _Row:
    """One row: where it stands, its values (null for empty cells), its ids at vendors."""

    file: str
    line: int
    values: dict[str, Any]
    vendor_ids: dict[str, str]

    def problem(self, column: str, message: str) -> str:
        return f"{self.file} line {self.line}, column {column}: {message}."


_Rows = dict[str, list[_Row]]


@dataclass(frozen=True)
class Portfolio:
    """Who is who, and what people declared: one frame per table.

    Attributes:
        frames: one frame per table (`core.SITE`, `core.METER`, `core.REGISTER`, `core.ALIAS`,
            `core.EXCHANGE`, `core.GAP`, `core.MANUAL_EDIT`, `core.TARIFF`, `core.MEASURE`,
            `core.WEATHER`, `push.STREAM`), in its Polars schema.
    """

    frames: Mapping[Table, pl.DataFrame]

    @classmethod
    def load(cls, folder: Path) -> "Portfolio":
        """Read and check the files of a folder.

        Raises:
            ConfigurationError: lists every problem, each with file, line, column, value and what
                to write instead.
        """
        if not folder.is_dir():
            raise ConfigurationError(
                f"There is no portfolio in {folder}: run `energy-etl init --discover`, or copy"
                " data/portfolio.example there."
            )
        problems: list[str] = []
        partly_read: set[str] = set()
        rows: _Rows = {
            layout.file: _read(folder, layout, problems, partly_read) for layout in FILES
        }
        _check_keys(rows, problems)
        _check_vendor_ids(rows, problems)
        _check_references(rows, partly_read, problems)
        _check_order(rows, problems)
        if not problems:
            _complete(rows)
            _check_streams(rows, problems)
        if problems:
            raise ConfigurationError(_message(folder, problems))
        frames = {layout.table: _frame(layout.table, rows[layout.file]) for layout in FILES}
        frames[core.ALIAS] = _aliases(rows)
        return cls(frames)

    def vendor_ids(self, thing: str, vendor: str) -> dict[str, str]:
        """Return our id of each site, meter or register that the vendor has, by the vendor's."""
        found = self.frames[core.ALIAS].filter(thing=thing, vendor=vendor)
        return dict(zip(found["vendor_id"], found["thing_id"], strict=True))


def _read(
    folder: Path, layout: FileLayout, problems: list[str], partly_read: set[str]
) -> list[_Row]:
    path = folder / layout.file
    if not path.is_file():
        if layout.is_needed:
            problems.append(f"{layout.file} is missing: add it, with its header line at least.")
            partly_read.add(layout.file)
        return []
    content = CsvFile.read(path)
    problems += content.problems
    missing = [
        name
        for name, cell in layout.cells.items()
        if cell.is_required and name not in content.header
    ]
    unknown = [
        name
        for name in content.header
        if name not in layout.cells and layout.vendor_of(name) is None
    ]
    repeated = sorted({name for name in content.header if content.header.count(name) > 1})
    for names, fault in ((missing, "lacks"), (unknown, "has the unknown"), (repeated, "repeats")):
        if names:
            problems.append(
                f"{layout.file} line 1: the header {fault} columns {', '.join(names)}: write"
                f" {','.join(layout.cells)}"
                + (f" and columns such as {layout.thing}_id_<vendor>." if layout.thing else ".")
            )
    if content.problems or missing or unknown or repeated:
        partly_read.add(layout.file)
    if missing or unknown or repeated:
        return []
    return [_row(layout, line, cells, problems) for line, cells in content.rows]


def _row(layout: FileLayout, line: int, cells: dict[str, str], problems: list[str]) -> _Row:
    row = _Row(layout.file, line, {}, {})
    for name, cell in layout.cells.items():
        given = cells.get(name) or cell.default
        row.values[name] = None
        if given:
            try:
                row.values[name] = cell.rule(given)
            except ValueError as error:
                problems.append(row.problem(name, f"{given!r} {error}"))
        elif cell.is_required:
            problems.append(row.problem(name, "the cell is empty: write a value"))
    for name, given in cells.items():
        if given and (vendor := layout.vendor_of(name)):
            row.vendor_ids[vendor] = given
    return row


def _check_keys(rows: _Rows, problems: list[str]) -> None:
    for layout in FILES:
        seen: dict[tuple[Any, ...], int] = {}
        for row in rows[layout.file]:
            key = tuple(row.values[name] for name in layout.table.key)
            if None in key:
                continue
            if key in seen:
                shown = ", ".join(str(value) for value in key)
                problems.append(
                    row.problem(
                        "+".join(layout.table.key),
                        f"{shown!r} stands in line {seen[key]} already: keep one of the two",
                    )
                )
            seen.setdefault(key, row.line)


def _check_vendor_ids(rows: _Rows, problems: list[str]) -> None:
    for layout in FILES:
        seen: dict[tuple[str, str], int] = {}
        for row in rows[layout.file]:
            for vendor, vendor_id in row.vendor_ids.items():
                if (vendor, vendor_id) in seen:
                    problems.append(
                        row.problem(
                            f"{layout.thing}_id_{vendor}",
                            f"{vendor_id!r} stands in line {seen[vendor, vendor_id]} already: give"
                            f" it to the one {layout.thing} it is",
                        )
                    )
                seen.setdefault((vendor, vendor_id), row.line)


def _check_references(rows: _Rows, partly_read: set[str], problems: list[str]) -> None:
    for layout in FILES:
        for column, file in layout.refers_to.items():
            if file in partly_read:
                # The id may stand in a row that could not be read, and that is reported already.
                continue
            known = {row.values[column] for row in rows[file]}
            problems += [
                row.problem(
                    column,
                    f"{row.values[column]!r} is not in {file}: add it there, or correct it here",
                )
                for row in rows[layout.file]
                if row.values[column] is not None and row.values[column] not in known
            ]


def _check_order(rows: _Rows, problems: list[str]) -> None:
    for layout, first, second in (
        (GAPS, "from_at", "to_at"),
        (MEASURES, "baseline_start_on", "baseline_end_on"),
        (MEASURES, "reporting_start_on", "reporting_end_on"),
        (TARIFFS, "valid_from_on", "valid_to_on"),
        (TARIFFS, "from_local_time", "to_local_time"),
    ):
        for row in rows[layout.file]:
            start, end = row.values[first], row.values[second]
            if start is not None and end is not None and end <= start:
                problems.append(
                    row.problem(second, f"{end} is not after {first} {start}: correct one of them")
                )


def _complete(rows: _Rows) -> None:
    """Add what a register has from its meter and its site, and a tariff from its site."""
    sites = {row.values["site_id"]: row.values for row in rows[SITES.file]}
    for row in rows[TARIFFS.file]:
        row.values["currency"] = row.values["currency"] or sites[row.values["site_id"]]["currency"]
    meters = {row.values["meter_id"]: row.values for row in rows[METERS.file]}
    for row in rows[REGISTERS.file]:
        meter = meters[row.values["meter_id"]]
        site = sites[meter["site_id"]]
        row.values |= {
            "site_id": site["site_id"],
            "zone": site["zone"],
            "commodity": meter["commodity"],
        }


def _check_streams(rows: _Rows, problems: list[str]) -> None:
    """Check that each stream's register can give what the stream carries."""
    registers = {row.values["register_id"]: row.values for row in rows[REGISTERS.file]}
    for row in rows[STREAMS.file]:
        register = registers[row.values["register_id"]]
        content, grid = row.values["content"], register["grid_minutes"]
        if row.values["interval_minutes"] % grid:
            problems.append(
                row.problem(
                    "interval_minutes",
                    f"{row.values['interval_minutes']} is no multiple of the register's grid of"
                    f" {grid} minutes: a stream cannot be finer than what is measured",
                )
            )
        is_counter = register["kind"] == "cumulative" and register["unit"] in KWH_PER_UNIT
        if content == "cumulative_wh" and not is_counter:
            problems.append(
                row.problem("content", "'cumulative_wh' needs a cumulative energy register")
            )
        # The energy of a power register can be pushed as its power can.
        is_power = register["unit"] in KW_PER_UNIT and content == "interval"
        if (content == "sample") != (register["kind"] == "instant") and not is_power:
            problems.append(
                row.problem(
                    "content",
                    f"{content!r} does not fit a register of kind {register['kind']}: write sample"
                    " for instant ones, interval or cumulative_wh for others",
                )
            )


def _frame(table: Table, rows: list[_Row]) -> pl.DataFrame:
    schema = table.polars_schema
    records = [{name: row.values[name] for name in schema} for row in rows]
    return pl.DataFrame(records, schema=schema).sort(table.key)


def _aliases(rows: _Rows) -> pl.DataFrame:
    records = [
        {
            "thing": layout.thing,
            "thing_id": row.values[f"{layout.thing}_id"],
            "vendor": vendor,
            "vendor_id": vendor_id,
        }
        for layout in FILES
        if layout.thing is not None
        for row in rows[layout.file]
        for vendor, vendor_id in row.vendor_ids.items()
    ]
    return pl.DataFrame(records, schema=core.ALIAS.polars_schema).sort(core.ALIAS.key)


def _message(folder: Path, problems: list[str]) -> str:
    shown = problems[:_SHOWN_PROBLEMS]
    more = len(problems) - len(shown)
    noun = "problem" if len(problems) == 1 else "problems"
    return "\n".join(
        [
            f"The portfolio in {folder} has {len(problems)} {noun}:",
            *(f"- {problem}" for problem in shown),
            *([f"- and {more} more."] if more else []),
        ]
    )
