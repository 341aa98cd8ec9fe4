"""Generations of what is published: which Parquet files belong together, and which may go.

One JSON manifest per generation under `published/generations/`; the newest is the one that
`energy.duckdb` shows. A file stays as long as a kept generation names it. No SQL here.
"""

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

# A reader that opened an older energy.duckdb still reads the files of its generation.
KEPT_GENERATIONS: Final = 3
KEPT_FOR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class MonthFile:
    """One month of one table: what it was written from, and where (None: the month is empty)."""

    token: str
    layout: str
    file: str | None


@dataclass(frozen=True)
class Generation:
    """Everything that decides whether something has to be published anew.

    Attributes:
        number: counted up; orders the generations whatever the clock says.
        name: the number and a random part, so that no file of a killed run is ever overwritten.
        published_at: when, UTC.
        root: the absolute data folder that the views name.
        warehouse_id: which warehouse it shows.
        definitions: hash of table definitions and people's views.
        energy_file: size and mtime of `energy.duckdb` as it was published.
        small: change token of each table that lies inside `energy.duckdb`.
        months: per table (`schema.name`) and month (`YYYY-MM`) its file.
    """

    number: int
    name: str
    published_at: datetime
    root: str
    warehouse_id: str
    definitions: str
    energy_file: tuple[int, int]
    small: Mapping[str, str] = field(default_factory=dict)
    months: Mapping[str, Mapping[str, MonthFile]] = field(default_factory=dict)

    @property
    def files(self) -> set[str]:
        """Its Parquet files, relative to `published/`."""
        return {
            month.file
            for months in self.months.values()
            for month in months.values()
            if month.file is not None
        }


class GenerationFolder:
    """`data/published`: manifests and Parquet files."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; `make` creates it."""
        self.folder = folder
        self._manifests = folder / "generations"

    def make(self) -> None:
        """Create the folder where it is missing."""
        self._manifests.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[Generation]:
        """Return the generations that can be read, oldest first."""
        read = (_from_json(path) for path in self._manifests.glob("*.json"))
        return sorted((one for one in read if one is not None), key=lambda one: one.number)

    def next_name(self, generations: list[Generation]) -> tuple[int, str]:
        """Return the number and the name of the next generation."""
        number = generations[-1].number + 1 if generations else 1
        return number, f"{number:08d}-{uuid.uuid4().hex[:8]}"

    def write(self, generation: Generation) -> None:
        """Store the manifest, whole or not at all."""
        path = self._manifests / f"{generation.name}.json"
        temporary = path.with_suffix(".tmp")
        content = {**asdict(generation), "published_at": generation.published_at.isoformat()}
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
        flush([temporary])
        os.replace(temporary, path)

    def has(self, file: str) -> bool:
        """Return True when this Parquet file is there."""
        return (self.folder / file).is_file()

    def prune(self, now: datetime) -> int:
        """Delete manifests and files that no kept generation needs; return the files deleted."""
        generations = self.all()
        kept: set[str] = set()
        for place, generation in enumerate(generations):
            # What counts is since when it is no longer the one to open, not when it was made.
            successors = generations[place + 1 :]
            is_recent = not successors or successors[0].published_at > now - KEPT_FOR
            if is_recent or len(successors) < KEPT_GENERATIONS:
                kept |= generation.files
            else:
                (self._manifests / f"{generation.name}.json").unlink(missing_ok=True)
        n_deleted = 0
        for path in self.folder.rglob("*.parquet"):
            if path.relative_to(self.folder).as_posix() in kept:
                continue
            # A file that nobody names may belong to a run that was killed a moment ago after
            # energy.duckdb was replaced.
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) <= now - KEPT_FOR:
                path.unlink(missing_ok=True)
                n_deleted += 1
        return n_deleted


def flush(paths: Iterable[Path]) -> None:
    """Force files to the disk, so that a name never outlives its content in a power cut."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _from_json(path: Path) -> Generation | None:
    """Return the generation, None when the file is damaged or of another format."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        size, mtime_ns = content.pop("energy_file")
        return Generation(
            published_at=datetime.fromisoformat(content.pop("published_at")),
            energy_file=(size, mtime_ns),
            months={
                table: {month: MonthFile(**file) for month, file in months.items()}
                for table, months in content.pop("months").items()
            },
            **content,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
