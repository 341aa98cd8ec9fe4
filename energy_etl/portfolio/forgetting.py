"""Rows of a meter out of the portfolio's files, and what else names it there."""

from collections.abc import Callable, Iterator
from pathlib import Path

from energy_etl.portfolio.csv_file import CsvFile
from energy_etl.portfolio.layout import FILES


def rows_naming(folder: Path, names_it: Callable[[str], bool]) -> dict[str, int]:
    """Return per file how many rows name a thing; files without such rows are absent."""
    found = {}
    for content in _files(folder):
        n_rows = sum(_names(cells, names_it) for _, cells in content.rows)
        if n_rows:
            found[content.path.name] = n_rows
    return found


def remove_rows(folder: Path, names_it: Callable[[str], bool]) -> None:
    """Take the rows that name a thing out; each file is written whole or not at all.

    What refers to others first: killed on the way, the rest still tells what the thing is.
    """
    for content in reversed(list(_files(folder))):
        kept = [(line, cells) for line, cells in content.rows if not _names(cells, names_it)]
        if len(kept) != len(content.rows):
            content.rows = kept
            content.write()


def _files(folder: Path) -> Iterator[CsvFile]:
    for layout in FILES:
        path = folder / layout.file
        if path.is_file():
            yield CsvFile.read(path)


def _names(cells: dict[str, str], names_it: Callable[[str], bool]) -> bool:
    return names_it("\n".join(cells.values()))
