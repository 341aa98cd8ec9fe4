"""Looking at the warehouse from outside: as it is, briefly, and without bringing it up to date.

For those who tell how things stand. Runs read through `Warehouse`.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from energy_etl.tables.model import Table
from energy_etl.warehouse.connection import opened
from energy_etl.warehouse.generation import GenerationFolder
from energy_etl.warehouse.people import read_published
from energy_etl.warehouse.store import Reader

# DuckDB's main header: checksum, "DUCK", storage version, four flags, version of the library.
_HEADER: Final = struct.Struct("<8x4sQ32x32s")


@dataclass(frozen=True)
class FileVersion:
    """What a DuckDB file says of itself.

    Attributes:
        storage: number of the storage format.
        library: the DuckDB that made it, such as `v1.5.5`.
    """

    storage: int
    library: str


@dataclass(frozen=True)
class Publication:
    """How what people read stands beside the warehouse.

    Attributes:
        published_at: of the newest generation; None: nothing was published yet.
        behind: the tables (`schema.name`) that hold something else by now.
        n_changed: tables that ever held anything that is to be published.
    """

    published_at: datetime | None
    behind: tuple[str, ...]
    n_changed: int


@contextmanager
def looking(path: Path, *, lock_wait_s: float) -> Iterator[Reader]:
    """Open the file read-only, as it is; close it soon: a writer waits meanwhile.

    Raises:
        WarehouseLockedError: a writer held it longer than `lock_wait_s`.
        WarehouseError: missing, damaged, or made by a newer DuckDB.
    """
    with opened(path, is_read_only=True, lock_wait_s=lock_wait_s) as connection:
        yield Reader(connection)


def file_version(path: Path) -> FileVersion | None:
    """Read the header of a DuckDB file; None: it is none. No lock is needed."""
    try:
        with path.open("rb") as file:
            magic, storage, library = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error):
        return None
    if magic != b"DUCK":
        return None
    return FileVersion(storage, library.rstrip(b"\0").decode("ascii", "replace"))


def missing_files(energy_path: Path) -> list[Path]:
    """Return the Parquet files that the views of the published file name and that are not there.

    Raises:
        WarehouseError: the file cannot be read.
    """
    sql = "SELECT sql FROM duckdb_views() WHERE NOT internal AND contains(sql, 'read_parquet')"
    views = read_published(energy_path, sql)["sql"]
    named = {file for view in views for file in re.findall(r"'((?:[^']|'')+\.parquet)'", view)}
    files = (Path(file.replace("''", "'")) for file in sorted(named))
    return [file for file in files if not file.exists()]


def compare_published(reader: Reader, data_dir: Path, tables: Sequence[Table]) -> Publication:
    """Compare the warehouse with the newest generation in `data_dir/published`.

    Args:
        reader: of the warehouse.
        data_dir: where `published/` lies.
        tables: all of the project; those that are not published are passed over.

    Raises:
        WarehouseError: the file has no book-keeping: it is no warehouse of this project.
    """
    changed = reader.read("SELECT schema_name, table_name, month, token FROM bookkeeping.change")
    generations = GenerationFolder(data_dir / "published").all()
    last = generations[-1] if generations else None
    names = {table.full_name for table in tables if table.is_published}
    behind: set[str] = set()
    ever: set[str] = set()
    for schema, name, month, token in changed.iter_rows():
        table = f"{schema}.{name}"
        if table not in names:
            continue
        ever.add(table)
        if last is None:
            shown = None
        elif month is None:
            # A table that is cut into months by now has no token of the whole any more.
            shown = last.small.get(table, token if table in last.months else None)
        else:
            there = last.months.get(table, {}).get(f"{month:%Y-%m}")
            shown = there.token if there else None
        if shown != token:
            behind.add(table)
    return Publication(last.published_at if last else None, tuple(sorted(behind)), len(ever))
