"""The ways the program itself writes to the portfolio.

Proposals and starts only fill what is empty; a stream's row is changed when a person asks for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from energy_etl.errors import ConfigurationError
from energy_etl.portfolio.csv_file import CsvFile
from energy_etl.portfolio.layout import (
    METERS,
    REGISTERS,
    SITES,
    STREAM_FIELDS,
    STREAMS,
    FileLayout,
)
from energy_etl.portfolio.reading import Portfolio
from energy_etl.portfolio.stream_rules import FieldProblem

Rows = Sequence[Mapping[str, str | None]]

# Parents first: a meter's row names its site.
_PROPOSED: Final = (SITES, METERS, REGISTERS)


def write_proposal(folder: Path, proposal: Mapping[str, Rows]) -> dict[str, list[str]]:
    """Append what vendors list and the portfolio does not have yet.

    A row whose vendor id stands in its file is left out, and rows that name it follow the id
    which that file gives it. A new row whose own id is taken gets a number behind it. What the
    proposal does not know stays empty for a person to fill in (the zone, for instance); a missing
    file is made, a new vendor column is added to the header.

    Args:
        folder: the portfolio's folder, made when it is missing.
        proposal: "sites", "meters" and "registers" -> rows, column -> text.

    Returns:
        The ids that were added, per file.

    Raises:
        ConfigurationError: a file that is there cannot be read, or a row has an unknown column.
    """
    folder.mkdir(parents=True, exist_ok=True)
    added: dict[str, list[str]] = {}
    files: list[CsvFile] = []
    renamed: dict[str, dict[str, str]] = {}
    for layout in _PROPOSED:
        id_column = f"{layout.thing}_id"
        file = _open(folder, layout)
        rows = [_resolved(row, renamed) for row in proposal.get(Path(layout.file).stem, ())]
        renamed[id_column], added[layout.file] = _append(file, layout, id_column, rows)
        files.append(file)
    for file in files:
        if added[file.path.name] or not file.path.exists():
            file.write()
    return added


def set_push_from(folder: Path, push_from_at: datetime) -> int:
    """Fill the empty `push_from_at` cells of the streams; return how many were filled.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if not (folder / STREAMS.file).is_file():
        return 0
    file = _open(folder, STREAMS)
    empty = [row for _, row in file.rows if not row.get("push_from_at")]
    if empty:
        _add_columns(file, ["push_from_at"])
    for row in empty:
        row["push_from_at"] = push_from_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if empty:
        file.write()
    return len(empty)


def set_stream(
    folder: Path, cells: Mapping[str, str], field_problem: FieldProblem | None = None
) -> bool:
    """Append a stream's row, or change the one with its id; a portfolio that breaks is put back.

    Args:
        folder: the portfolio's folder.
        cells: column -> text; of a row that is there, columns that are left out stay as they are.
        field_problem: what the vendor takes in a field; None: not checked.

    Returns:
        True when the row is new.

    Raises:
        ConfigurationError: the files cannot be read, or would no longer fit with this row.
    """
    return _set_row(folder, STREAMS, cells, field_problem)


def set_stream_field(
    folder: Path, cells: Mapping[str, str], field_problem: FieldProblem | None = None
) -> bool:
    """Append a further field of a stream, or change its row; see `set_stream`."""
    return _set_row(folder, STREAM_FIELDS, cells, field_problem)


def _set_row(
    folder: Path,
    layout: FileLayout,
    cells: Mapping[str, str],
    field_problem: FieldProblem | None,
) -> bool:
    file, key = _open(folder, layout), layout.table.key
    before = file.path.read_bytes() if file.path.exists() else None
    there = [row for _, row in file.rows if all(row[name] == cells[name] for name in key)]
    for row in there:
        row.update(cells)
    if not there:
        file.rows.append((0, dict(cells)))
    _add_columns(file, cells)
    file.write()
    try:
        Portfolio.load_strictly(folder, field_problem)
    except ConfigurationError:
        if before is None:
            file.path.unlink()
        else:
            file.path.write_bytes(before)
        raise
    return not there


def _open(folder: Path, layout: FileLayout) -> CsvFile:
    path = folder / layout.file
    if not path.exists():
        return CsvFile(path, list(layout.cells))
    file = CsvFile.read(path)
    missing = [
        name for name, cell in layout.cells.items() if cell.is_required and name not in file.header
    ]
    faults = [problem.message for problem in file.problems]
    if missing and not faults:
        faults.append(
            f"{layout.file} line 1: the header lacks the columns {', '.join(missing)}: add them."
        )
    if faults:
        raise ConfigurationError(f"{folder / layout.file} cannot be added to: {' '.join(faults)}")
    return file


def _add_columns(file: CsvFile, cells: Iterable[str]) -> None:
    """Add the columns that a row brings and the header lacks: those that may be missing."""
    file.header += [name for name in cells if name not in file.header]


def _resolved(
    row: Mapping[str, str | None], renamed: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """Return the row's cells as text, with the ids of other files as those files have them."""
    cells = {name: "" if cell is None else str(cell).strip() for name, cell in row.items()}
    return {name: renamed.get(name, {}).get(cell, cell) for name, cell in cells.items()}


def _append(
    file: CsvFile, layout: FileLayout, id_column: str, rows: Iterable[dict[str, str]]
) -> tuple[dict[str, str], list[str]]:
    """Append the rows that are new; return proposed id -> id in the file, and the new ids."""
    known = {
        (name, cell): row[id_column]
        for _, row in file.rows
        for name, cell in row.items()
        if cell and layout.vendor_of(name)
    }
    taken = {row[id_column] for _, row in file.rows}
    in_file: dict[str, str] = {}
    added: list[str] = []
    for row in rows:
        _refuse_unknown(layout, row)
        proposed = row.get(id_column, "")
        vendor_cells = [
            (name, cell) for name, cell in row.items() if cell and layout.vendor_of(name)
        ]
        there = next((known[cell] for cell in vendor_cells if cell in known), None)
        if there is None and not vendor_cells and proposed in taken:
            there = proposed
        if there is not None:
            in_file[proposed] = there
            continue
        final = _free(proposed, taken)
        _add_columns(file, (name for name, cell in row.items() if cell))
        file.rows.append((0, {**row, id_column: final}))
        known |= dict.fromkeys(vendor_cells, final)
        taken.add(final)
        in_file[proposed] = final
        added.append(final)
    return in_file, added


def _refuse_unknown(layout: FileLayout, row: Mapping[str, str]) -> None:
    unknown = [n for n in row if n not in layout.cells and layout.vendor_of(n) is None]
    if unknown:
        raise ConfigurationError(
            f"A proposal for {layout.file} has the unknown columns {', '.join(unknown)}: leave"
            " them out where the vendor's rows are proposed."
        )


def _free(proposed: str, taken: set[str]) -> str:
    """Return the id, with a number behind it when it is taken."""
    if proposed not in taken:
        return proposed
    n = 2
    while f"{proposed}-{n}" in taken:
        n += 1
    return f"{proposed}-{n}"
