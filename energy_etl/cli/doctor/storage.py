"""The files of data/: the warehouse, what is published of it, the state file and its marks."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from energy_etl.cli.doctor.holders import lock_holders, process_of
from energy_etl.cli.doctor.rows import CONFIGURATION, Row, fail, failed_by, ok, warn
from energy_etl.cli.doctor.subject import Subject
from energy_etl.errors import WarehouseError, WarehouseLockedError
from energy_etl.state import Marks, find_damage, open_state, writer_pid
from energy_etl.vendors import all_tables
from energy_etl.warehouse.looking import (
    compare_published,
    file_version,
    looking,
    missing_files,
)

LOCK_WAIT_S: Final = 1.5
_DAMAGE_S: Final = 4.0
_MARK_MAX_AGE: Final = timedelta(hours=1)
# What a run writes is published by the next computation, some minutes later.
_UNPUBLISHED_FOR: Final = timedelta(minutes=30)
_PUBLISHED_MAX_AGE: Final = timedelta(hours=3)
# As SQLite says it.
_DAMAGED: Final = ("not a database", "malformed", "corrupt")
_PUBLISH: Final = "then materialize published/energy in the UI"


def check_warehouse(subject: Subject) -> Iterator[Row]:
    """Whether the warehouse opens, who holds it, and how far the published file is behind."""
    settings = subject.settings
    path = settings.warehouse_path
    if not path.exists():
        yield fail(
            "warehouse",
            f"There is no {path}.",
            "Run `energy-etl init`.",
            CONFIGURATION,
        )
        return
    version = file_version(path)
    made_by = f"made by DuckDB {version.library}, " if version else ""
    try:
        with looking(path, lock_wait_s=LOCK_WAIT_S) as reader:
            published = compare_published(reader, settings.data_dir, all_tables())
    except WarehouseLockedError as error:
        yield _locked_row(path, error)
        return
    except WarehouseError as error:
        newer = f" The file says it was {made_by.rstrip(', ')}." if version else ""
        yield fail(
            "warehouse",
            f"{str(error).partition(': move it away')[0]}{newer}",
            "When a newer DuckDB made the file, install that one. Else stop what runs, move the "
            "file away and run `energy-etl import DIR --keep-outbox` with your newest export; "
            "without one `energy-etl init`, then `energy-etl backfill` (raw was in the file too, "
            "so `rebuild` cannot help).",
        )
        return
    yield ok("warehouse", f"{path} opens ({made_by}storage version {_storage(path)}).")
    yield from _published_rows(subject, published.published_at, published.behind)


def _locked_row(path: Path, error: WarehouseLockedError) -> Row:
    holders = lock_holders(path)
    if not holders:
        return failed_by("warehouse lock", error)
    told = " and ".join(holder.told for holder in holders)
    cause = f"{path} is held by {told}."
    if all(holder.is_ours for holder in holders):
        return warn(
            "warehouse lock",
            cause,
            "It is a run or a command of this project: wait for it; end it when it hangs "
            f"(`kill {holders[0].pid}`).",
        )
    return fail(
        "warehouse lock",
        f"{cause} Every run waits for it and fails in the end.",
        f"Close that program (`kill {holders[0].pid}`), and open data/energy.duckdb there instead: "
        "it is never locked.",
    )


def _published_rows(
    subject: Subject, published_at: datetime | None, behind: tuple[str, ...]
) -> Iterator[Row]:
    path = subject.settings.published_path
    advice = f"{subject.start_hint[:1].upper()}{subject.start_hint[1:]}, {_PUBLISH}."
    if published_at is None and not behind and not path.exists():
        yield ok("published file", "Nothing was loaded yet, so nothing is published.")
        return
    if not path.exists():
        yield fail("published file", f"{path} is missing.", advice)
        return
    gone = missing_files(path)
    if gone:
        more = f" and {len(gone) - 1} more files" if len(gone) > 1 else ""
        yield fail(
            "published file",
            f"{path} reads {gone[0]}{more}, which are not there: the project was moved, or "
            "files of data/published were deleted.",
            advice,
        )
        return
    if not behind or published_at is None:
        at = f"{published_at:%Y-%m-%d %H:%M} UTC" if published_at else "an unknown time"
        yield ok("published file", f"{path} shows what the warehouse holds, since {at}.")
        return
    written_at = datetime.fromtimestamp(subject.settings.warehouse_path.stat().st_mtime, UTC)
    is_late = (
        subject.now - written_at > _UNPUBLISHED_FOR
        or subject.now - published_at > _PUBLISHED_MAX_AGE
    )
    cause = (
        f"{path} is of {published_at:%Y-%m-%d %H:%M} UTC and older than the warehouse in "
        f"{len(behind)} tables ({', '.join(behind[:3])}{', ...' if len(behind) > 3 else ''})"
    )
    if is_late:
        yield warn("published file", f"{cause}.", advice)
    else:
        yield ok("published file", f"{cause}: the next computation publishes them.")


def check_state(subject: Subject) -> Iterator[Row]:
    """Whether the state file is sound, who writes it, and what of the marks nobody computes."""
    path = subject.settings.state_path
    if not path.exists():
        yield fail("state file", f"There is no {path}.", "Run `energy-etl init`.", CONFIGURATION)
        return
    # A log that belongs to another file would be replayed into the copy.
    restore = (
        f"Stop what runs and move {path} away, with {path.name}-wal and {path.name}-shm beside it; "
        "then put a copy in its place, or run `energy-etl init`: the outbox in it is then filled "
        "anew, and what Wattics holds is asked for."
    )
    try:
        damage = find_damage(path, max_s=_DAMAGE_S)
    except WarehouseLockedError:
        raise
    except WarehouseError as error:
        # Rights and a full disk are mended without giving the file up.
        cause = f"{str(error).partition(': ')[0]}."
        row = failed_by("state file", error)
        yield fail("state file", cause, restore) if is_damage(error) else row
        return
    if damage is not None:
        yield fail("state file", f"{path} is damaged ({damage[:200]}).", restore)
        return
    pid = writer_pid(path)
    # Another check of this process may write at this moment: the budgets' tables, once.
    is_other = pid is not None and pid != os.getpid()
    writes = f"; {process_of(pid).told} writes it now" if pid is not None and is_other else ""
    yield ok("state file", f"{path} is sound{writes}.")
    yield from _mark_rows(subject)


def is_damage(error: WarehouseError) -> bool:
    """True when SQLite says that the file itself is not as it should be."""
    return any(word in str(error) for word in _DAMAGED)


def _mark_rows(subject: Subject) -> Iterator[Row]:
    with open_state(subject.settings.state_path) as connection:
        waiting = Marks(connection).waiting()
    late = [each for each in waiting if subject.now - each.oldest_at > _MARK_MAX_AGE]
    if late:
        told = "; ".join(
            f"{each.stage}: {each.n_marks} of {each.n_registers} registers, the oldest of "
            f"{each.oldest_at:%Y-%m-%d %H:%M} UTC"
            for each in late
        )
        hint = subject.start_hint
        yield fail(
            "marks",
            f"Changed readings wait and nobody computes them ({told}).",
            f"{hint[:1].upper()}{hint[1:]} (the job is compute_figures).",
        )
        return
    n_marks = sum(each.n_marks for each in waiting)
    yield ok("marks", f"{n_marks} wait for the next computation." if n_marks else "None wait.")


def _storage(path: Path) -> str:
    version = file_version(path)
    return str(version.storage) if version else "unknown"
