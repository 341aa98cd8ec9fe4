"""Rows of the portfolio's files with their values, and what makes one unusable.

A row with a fault is left out, and so is what depends on it: `Row.because` names the place of the
fault that it comes from. Checks of one cell are in `layout.py`, checks between cells and files in
`rules.py`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from energy_etl.portfolio.csv_file import CsvFile
from energy_etl.portfolio.layout import FILES, FileLayout
from energy_etl.portfolio.problem import Problem, place_of


@dataclass
class Row:
    """One row: where it stands, its values (null for empty cells), its ids at vendors.

    Attributes:
        because: the place of the fault that it is left out for; None: it is used.
        is_ambiguous: True when another row claims its id, or one of its ids at a vendor.
    """

    file: str
    line: int
    values: dict[str, Any]
    vendor_ids: dict[str, str]
    because: str | None = None
    is_ambiguous: bool = False

    def leave_out(self, because: str) -> None:
        """Do not use it; what was wrong first stays the reason."""
        self.because = self.because or because


@dataclass
class Rows:
    """The rows of all files, and what is wrong with them.

    Attributes:
        of: file -> its rows, the faulty ones too.
        problems: what was found so far.
        partly_read: files of which rows are missing: file -> the place of the fault.
        is_fatal: True when a needed file, or its header, is not there.
    """

    of: dict[str, list[Row]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    partly_read: dict[str, str] = field(default_factory=dict)
    is_fatal: bool = False

    @classmethod
    def read(cls, folder: Path) -> "Rows":
        """Read every file of a folder; what is wrong goes to `problems`."""
        found = cls()
        for layout in FILES:
            found.of[layout.file] = found._read(folder / layout.file, layout)
        return found

    def used(self, layout: FileLayout) -> list[Row]:
        """Return the rows of a file that are not left out."""
        return [row for row in self.of[layout.file] if row.because is None]

    def refuse(self, row: Row, columns: str, message: str) -> None:
        """Note a fault of a row (half a sentence) and leave the row out."""
        place = place_of(row.file, row.line, columns)
        self.problems.append(Problem(row.file, row.line, columns, f"{place}: {message}."))
        row.leave_out(place)

    def sorted_problems(self) -> tuple[Problem, ...]:
        """Return the problems by file and line, in the order in which people mend them."""
        order = {layout.file: number for number, layout in enumerate(FILES)}
        return tuple(sorted(self.problems, key=lambda found: (order[found.file], found.line)))

    def _read(self, path: Path, layout: FileLayout) -> list[Row]:
        if not path.is_file():
            if layout.is_needed:
                message = f"{layout.file} is missing: add it, with its header line at least."
                self._miss(layout, [Problem(layout.file, 0, "", message)], is_whole=True)
            return []
        content = CsvFile.read(path)
        faults = header_faults(layout, content.header)
        is_text = all(problem.line for problem in content.problems)
        # Without text there is no header to find fault with.
        self._miss(layout, content.problems, is_whole=not is_text)
        if not is_text:
            return []
        self._miss(layout, faults, is_whole=True)
        return [] if faults else [self._row(layout, *given) for given in content.rows]

    def _miss(self, layout: FileLayout, problems: list[Problem], *, is_whole: bool) -> None:
        if problems:
            self.problems += problems
            self.partly_read.setdefault(layout.file, problems[0].place)
            self.is_fatal |= is_whole and layout.is_needed

    def _row(self, layout: FileLayout, line: int, cells: dict[str, str]) -> Row:
        row = Row(layout.file, line, {}, {})
        for name, cell in layout.cells.items():
            given = cells.get(name) or cell.default
            row.values[name] = None
            if given:
                try:
                    row.values[name] = cell.rule(given)
                except ValueError as error:
                    self.refuse(row, name, f"{given!r} {error}")
            elif cell.is_required:
                self.refuse(row, name, "the cell is empty: write a value")
        for name, given in cells.items():
            if given and (vendor := layout.vendor_of(name)):
                row.vendor_ids[vendor] = given
        return row


_ADVICE: Final = "the header {fault} columns {names}: write {wanted}"


def header_faults(layout: FileLayout, header: list[str]) -> list[Problem]:
    """Return what is wrong with a file's header; a column that may be empty may be missing."""
    missing = [
        name for name, cell in layout.cells.items() if cell.is_required and name not in header
    ]
    unknown = [
        name for name in header if name not in layout.cells and layout.vendor_of(name) is None
    ]
    repeated = sorted({name for name in header if header.count(name) > 1})
    renamed = "".join(
        f"; {old} is called {new} now"
        for old, new in layout.renamed.items()
        if old in header and new in missing
    )
    wanted = ",".join(layout.cells)
    if layout.thing:
        wanted += f" and columns such as {layout.thing}_id_<vendor>"
    return [
        Problem(
            layout.file,
            1,
            ", ".join(names),
            f"{layout.file} line 1: "
            + _ADVICE.format(fault=fault, names=", ".join(names), wanted=wanted)
            + f"{renamed}.",
        )
        for names, fault in (
            (missing, "lacks"),
            (unknown, "has the unknown"),
            (repeated, "repeats"),
        )
        if names
    ]
