"""The ways the program itself writes to the portfolio.

Proposals and starts only fill what is empty; a stream's row is changed when a person asks for it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
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
    which that file gives it. A site or meter that its vendor gives no id of its own is the one
    where its registers stand already, and is left out where none of them is new. A new row whose
    own id is taken gets a number behind it. What the proposal does not know stays empty for a
    person to fill in (the zone, for instance); a missing file is made, a new vendor column is
    added to the header.

    Args:
        folder: the portfolio's folder, made when it is missing.
        proposal: "sites", "meters" and "registers" -> rows, column -> text.

    Returns:
        The ids that were added, per file.

    Raises:
        ConfigurationError: a file that is there cannot be read, or a row has an unknown column.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {layout.file: _open(folder, layout) for layout in _PROPOSED}
    rows = {
        layout.file: [_cells(row, layout) for row in proposal.get(Path(layout.file).stem, ())]
        for layout in _PROPOSED
    }
    there, wanted = _match_upwards(files, rows)
    added: dict[str, list[str]] = {}
    renamed: dict[str, dict[str, str]] = {}
    for layout in _PROPOSED:
        name = layout.file
        resolved = [_resolved(row, renamed) for row in rows[name]]
        if layout is METERS:
            there[name] |= _namesakes(files, resolved, there[name])
        renamed[_id_column(layout)], added[name] = _append(
            files[name], layout, resolved, there[name], wanted[name]
        )
    for name, file in files.items():
        if added[name] or not file.path.exists():
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


def _id_column(layout: FileLayout) -> str:
    return f"{layout.thing}_id"


def _cells(row: Mapping[str, str | None], layout: FileLayout) -> dict[str, str]:
    """Return the row's cells as text."""
    unknown = [n for n in row if n not in layout.cells and layout.vendor_of(n) is None]
    if unknown:
        raise ConfigurationError(
            f"A proposal for {layout.file} has the unknown columns {', '.join(unknown)}: leave"
            " them out where the vendor's rows are proposed."
        )
    return {name: "" if cell is None else str(cell).strip() for name, cell in row.items()}


def _resolved(cells: Mapping[str, str], renamed: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the cells with the ids of other files as those files have them."""
    return {name: renamed.get(name, {}).get(cell, cell) for name, cell in cells.items()}


def _vendor_cells(row: Mapping[str, str], layout: FileLayout) -> list[tuple[str, str]]:
    return [(name, cell) for name, cell in row.items() if cell and layout.vendor_of(name)]


def _known(file: CsvFile, layout: FileLayout) -> dict[tuple[str, str], str]:
    """Return (vendor column, vendor's id) -> id in the file."""
    return {
        cell: row[_id_column(layout)] for _, row in file.rows for cell in _vendor_cells(row, layout)
    }


def _match_upwards(
    files: Mapping[str, CsvFile], rows: Mapping[str, Sequence[Mapping[str, str]]]
) -> tuple[dict[str, dict[str, str]], dict[str, set[str]]]:
    """Find the sites and meters without a vendor id by what stands below them.

    Returns:
        Per file: proposed id -> id in the file, where all that is known below it agrees; and the
        proposed ids below which something is new.
    """
    there: dict[str, dict[str, str]] = {layout.file: {} for layout in _PROPOSED}
    wanted: dict[str, set[str]] = {layout.file: set() for layout in _PROPOSED}
    for layout, parent in ((REGISTERS, METERS), (METERS, SITES)):
        file, id_column, parent_column = files[layout.file], _id_column(layout), _id_column(parent)
        known = _known(file, layout)
        parent_of = {row[id_column]: row[parent_column] for _, row in file.rows}
        parents = {row[_id_column(parent)] for _, row in files[parent.file].rows}
        found: dict[str, set[str]] = {}
        for row in rows[layout.file]:
            proposed, above = row.get(id_column, ""), row.get(parent_column, "")
            cells = _vendor_cells(row, layout)
            mine = next((known[cell] for cell in cells if cell in known), None)
            if mine is None and not cells:
                mine = there[layout.file].get(proposed)
            # Only a row that stands there: a register may name a meter that was taken out.
            if mine is not None and parent_of[mine] in parents:
                found.setdefault(above, set()).add(parent_of[mine])
            if proposed in wanted[layout.file] or (
                mine is None and (bool(cells) or layout is REGISTERS)
            ):
                wanted[parent.file].add(above)
        there[parent.file] = {above: min(ids) for above, ids in found.items() if len(ids) == 1}
    return there, wanted


def _namesakes(
    files: Mapping[str, CsvFile], meters: Sequence[Mapping[str, str]], there: Mapping[str, str]
) -> dict[str, str]:
    """Match meters to those of the same site, name and commodity that have no register yet."""
    measured = {row["meter_id"] for _, row in files[REGISTERS.file].rows}
    told = ("site_id", "name", "commodity")
    free: dict[tuple[str, ...], list[str]] = {}
    for _, row in files[METERS.file].rows:
        if row["meter_id"] not in measured:
            key = tuple(row.get(name, "").lower() for name in told)
            free.setdefault(key, []).append(row["meter_id"])
    found: dict[str, str] = {}
    for row in meters:
        namesakes = free.get(tuple(row.get(name, "").lower() for name in told), [])
        if len(namesakes) == 1 and row.get("meter_id", "") not in there:
            found[row.get("meter_id", "")] = namesakes[0]
    return found


def _append(
    file: CsvFile,
    layout: FileLayout,
    rows: Iterable[dict[str, str]],
    matched: Mapping[str, str],
    wanted: Collection[str],
) -> tuple[dict[str, str], list[str]]:
    """Append the rows that are new; return proposed id -> id in the file, and the new ids."""
    id_column, known = _id_column(layout), _known(file, layout)
    taken = {row[id_column] for _, row in file.rows}
    in_file: dict[str, str] = {}
    added: list[str] = []
    for row in rows:
        proposed = row.get(id_column, "")
        vendor_cells = _vendor_cells(row, layout)
        there = next((known[cell] for cell in vendor_cells if cell in known), None)
        if there is None and not vendor_cells:
            there = matched.get(proposed, proposed if proposed in taken else None)
        if there is not None:
            in_file[proposed] = there
            continue
        # Nobody could map it: what is below is known already, or there is nothing to compute.
        if not vendor_cells and layout is not REGISTERS and proposed not in wanted:
            continue
        final = _free(proposed, taken)
        _add_columns(file, (name for name, cell in row.items() if cell))
        file.rows.append((0, {**row, id_column: final}))
        known |= dict.fromkeys(vendor_cells, final)
        taken.add(final)
        in_file[proposed] = final
        added.append(final)
    return in_file, added


def _free(proposed: str, taken: set[str]) -> str:
    """Return the id, with a number behind it when it is taken."""
    if proposed not in taken:
        return proposed
    n = 2
    while f"{proposed}-{n}" in taken:
        n += 1
    return f"{proposed}-{n}"
