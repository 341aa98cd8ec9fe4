"""Publishing: what changed goes to Parquet, and people's `energy.duckdb` shows it as one whole.

The warehouse is only read, under one lock, so that all tables are of one moment. Nothing that an
open reader uses is overwritten or deleted early; a run that was killed leaves the last
publication as it was, and the next one repairs whatever is missing or was moved.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import duckdb
from filelock import FileLock, Timeout

from energy_etl.errors import WarehouseError, WarehouseLockedError
from energy_etl.tables.model import Table
from energy_etl.warehouse.generation import Generation, GenerationFolder, MonthFile, flush
from energy_etl.warehouse.people import build
from energy_etl.warehouse.sql import fill, full_name, listed, literal, quoted, run
from energy_etl.warehouse.store import Warehouse

VIEWS_FOLDER: Final = Path(__file__).parent.parent / "sql"

# Counted up when files of an earlier program version must be written anew.
_FORMAT: Final = "1"
_NEVER_CHANGED: Final = ""


@dataclass(frozen=True)
class PublishReport:
    """What a publication did.

    Attributes:
        is_changed: False when everything was already as it should be.
        energy_path: the file that people open.
        generation: name of the generation it shows.
        n_files_written: Parquet files written.
        n_files_deleted: Parquet files that nobody needs any more.
    """

    is_changed: bool
    energy_path: Path
    generation: str
    n_files_written: int
    n_files_deleted: int


def publish(
    warehouse: Warehouse,
    *,
    data_dir: Path,
    views_folder: Path = VIEWS_FOLDER,
    now: datetime | None = None,
) -> PublishReport:
    """Bring `data_dir/published` and `data_dir/energy.duckdb` up to date with the warehouse.

    Args:
        warehouse: read, never written.
        data_dir: where `energy.duckdb` and `published/` lie; views name its absolute path.
        views_folder: people's views, one file each.
        now: for tests; decides which files are old enough to be deleted.

    Raises:
        WarehouseLockedError: another process writes the warehouse, or publishes.
        WarehouseError: the disk is full, a view is wrong; the last publication stays.
    """
    data_dir = data_dir.resolve()
    folder = GenerationFolder(data_dir / "published")
    with _disk_errors_named(data_dir), _one_at_a_time(folder, warehouse.lock_wait_s):
        publication = _Publication(warehouse, data_dir, folder, _views(views_folder))
        generation, n_files_written = publication.run(now or datetime.now(UTC))
        return PublishReport(
            is_changed=generation is not publication.last,
            energy_path=publication.energy_path,
            generation=generation.name,
            n_files_written=n_files_written,
            n_files_deleted=folder.prune(now or datetime.now(UTC)),
        )


class _Publication:
    """One run: what should be there is compared with what is, and only the rest is written."""

    def __init__(
        self,
        warehouse: Warehouse,
        data_dir: Path,
        folder: GenerationFolder,
        views: Mapping[str, str],
    ) -> None:
        self.warehouse = warehouse
        self.data_dir = data_dir
        self.energy_path = data_dir / "energy.duckdb"
        self.folder = folder
        self.views = views
        self.tables = [table for table in warehouse.tables if table.is_published]
        generations = folder.all()
        self.last = generations[-1] if generations else None
        self.number, self.name = folder.next_name(generations)

    def run(self, now: datetime) -> tuple[Generation, int]:
        """Return the generation that is in place, and the number of files written for it."""
        for leftover in self.data_dir.glob(".energy-*"):
            leftover.unlink()
        temporary = self.data_dir / f".energy-{self.name}.duckdb"
        written: list[Path] = []
        try:
            with self.warehouse.snapshot() as connection:
                wanted = self._wanted(connection, now)
                if self.last is not None and self._is_in_place(wanted, self.last):
                    return self.last, 0
                wanted = self._with_files_written(connection, wanted, written)
                build(
                    connection,
                    temporary,
                    self.tables,
                    {
                        name: [self.folder.folder / one.file for one in months.values() if one.file]
                        for name, months in wanted.months.items()
                    },
                    self.views,
                    self.name,
                    empty=self._empty(),
                )
            flush([*written, temporary])
        except BaseException:
            # What was begun must not stay in the way, least of all on a full disk.
            # Nor may a damaged file of empty tables: the next publication makes it anew.
            for path in (temporary, self._empty(), *written):
                path.unlink(missing_ok=True)
            raise
        # A log that somebody's own writes left behind belongs to the file that goes now.
        self.energy_path.with_name(self.energy_path.name + ".wal").unlink(missing_ok=True)
        os.replace(temporary, self.energy_path)
        flush([self.data_dir])
        # Only now: a manifest stands for an energy.duckdb that is in place.
        published = replace(wanted, energy_file=_size_and_time(self.energy_path))
        self.folder.write(published)
        return published, len(written)

    def _wanted(self, connection: duckdb.DuckDBPyConnection, now: datetime) -> Generation:
        """Return what should be there; a month that has to be written has this run's name."""
        warehouse_id = str(
            run(connection, "SELECT warehouse_id FROM source.bookkeeping.warehouse")[0][0]
        )
        tokens: dict[str, dict[date | None, str]] = {}
        for schema, name, month, token in run(
            connection,
            "SELECT schema_name, table_name, month, token FROM source.bookkeeping.change"
            " ORDER BY ALL",
        ):
            tokens.setdefault(f"{schema}.{name}", {})[month] = token
        last = self.last if self.last and self.last.warehouse_id == warehouse_id else None
        return Generation(
            number=self.number,
            name=self.name,
            published_at=now,
            root=str(self.data_dir),
            warehouse_id=warehouse_id,
            definitions=self._definitions(),
            energy_file=_size_and_time(self.energy_path),
            small={
                table.full_name: tokens.get(table.full_name, {}).get(None, _NEVER_CHANGED)
                for table in self.tables
                if table.time_column is None
            },
            months={
                table.full_name: {
                    f"{month:%Y-%m}": self._month_file(table, month, token, last)
                    for month, token in _by_month(
                        connection, table, tokens.get(table.full_name, {})
                    ).items()
                }
                for table in self.tables
                if table.time_column is not None
            },
        )

    def _month_file(
        self, table: Table, month: date, token: str, last: Generation | None
    ) -> MonthFile:
        label = f"{month:%Y-%m}"
        layout = _hash(_FORMAT, table.create_statement())
        there = last.months.get(table.full_name, {}).get(label) if last else None
        if (
            there is not None
            and (there.token, there.layout) == (token, layout)
            and (there.file is None or self.folder.has(there.file))
        ):
            return there
        file = f"{table.schema}/{table.name}/month={label}/{self.name}.parquet"
        return MonthFile(token, layout, file)

    def _is_in_place(self, wanted: Generation, last: Generation) -> bool:
        same = replace(wanted, number=last.number, name=last.name, published_at=last.published_at)
        return same == last

    def _with_files_written(
        self, connection: duckdb.DuckDBPyConnection, wanted: Generation, written: list[Path]
    ) -> Generation:
        """Write the months that have this run's name; a month without rows gets no file."""
        months: dict[str, dict[str, MonthFile]] = {}
        for table in self.tables:
            for label, one in wanted.months.get(table.full_name, {}).items():
                kept = one
                if one.file is not None and one.file.endswith(f"/{self.name}.parquet"):
                    path = self.folder.folder / one.file
                    path.parent.mkdir(parents=True, exist_ok=True)
                    written.append(path)
                    if _write_month(connection, table, label, path) == 0:
                        path.unlink()
                        written.remove(path)
                        kept = replace(one, file=None)
                months.setdefault(table.full_name, {})[label] = kept
            if table.time_column is not None:
                months.setdefault(table.full_name, {})
        return replace(wanted, months=months)

    def _definitions(self) -> str:
        views = (text for view in self.views.items() for text in view)
        return _hash(_FORMAT, *self._statements(), *views)

    def _statements(self) -> Iterator[str]:
        for table in self.tables:
            yield table.create_statement()
            yield from table.comment_statements()

    def _empty(self) -> Path:
        """Name the file with the tables and no row; those of other tables, or begun, go."""
        key = _hash(_FORMAT, duckdb.__version__, *self._statements())[:12]
        path = self.folder.folder / f"empty-{key}.duckdb"
        for other in self.folder.folder.glob("empty-*"):
            if other != path:
                other.unlink()
        return path


def _by_month(
    connection: duckdb.DuckDBPyConnection, table: Table, tokens: Mapping[date | None, str]
) -> dict[date, str]:
    """Return the change token of each month of a table that is cut into months."""
    by_month = {month: token for month, token in tokens.items() if month is not None}
    whole = tokens.get(None)
    if whole is not None:
        # Last written by a version that did not cut this table yet.
        months = run(
            connection,
            fill(
                "SELECT DISTINCT CAST(date_trunc('month', $time) AS DATE) FROM source.$table",
                time=quoted(str(table.time_column)),
                table=full_name(table),
            ),
        )
        by_month = {month: by_month.get(month, whole) for (month,) in months}
    return by_month


def _write_month(
    connection: duckdb.DuckDBPyConnection, table: Table, label: str, path: Path
) -> int:
    """Write one month's rows, in key order, and return how many there are."""
    first = date.fromisoformat(f"{label}-01")
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    rows = run(
        connection,
        fill(
            "COPY (SELECT $columns FROM source.$table"
            " WHERE $time >= CAST($first AS TIMESTAMPTZ) AND $time < CAST($next AS TIMESTAMPTZ)"
            " ORDER BY $key) TO $path (FORMAT parquet, COMPRESSION zstd)",
            columns=listed(column.name for column in table.columns),
            table=full_name(table),
            time=quoted(str(table.time_column)),
            first=literal(f"{first} 00:00:00+00"),
            next=literal(f"{following} 00:00:00+00"),
            key=listed(table.key),
            path=literal(str(path)),
        ),
    )
    return int(rows[0][0])


def _views(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql"))}


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _size_and_time(path: Path) -> tuple[int, int]:
    """Return what tells one file from its replacement; (-1, -1) when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


@contextmanager
def _one_at_a_time(folder: GenerationFolder, wait_s: float) -> Iterator[None]:
    folder.make()
    try:
        with FileLock(folder.folder / ".lock", timeout=wait_s):
            yield
    except Timeout as error:
        raise WarehouseLockedError(
            f"{folder.folder} was being published by another process for more than {wait_s:g} s:"
            " wait for it to end, then run again."
        ) from error


@contextmanager
def _disk_errors_named(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WarehouseError(
            f"Publishing to {data_dir} failed ({error.strerror or error}): free some space or"
            " mend the permissions and run again; a publication that was there stays as it was."
        ) from error
