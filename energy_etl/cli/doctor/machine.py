"""What the project runs on: versions, zone data, disk, files and who may read them."""

import errno
import importlib.metadata as metadata
import os
import platform
import pwd
import shutil
import stat
import sys
import tempfile
import tomllib
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
from packaging.requirements import InvalidRequirement, Requirement

import energy_etl
from energy_etl.cli.doctor.rows import CONFIGURATION, FAILED, Row, fail, ok, warn
from energy_etl.cli.doctor.subject import Subject
from energy_etl.defs.forgetting_note import unfinished
from energy_etl.rest.secrets import secret_values
from energy_etl.settings import Settings

_DISTRIBUTION: Final = "energy-etl"
_SOURCES: Final = Path(energy_etl.__file__).resolve().parents[1] / "pyproject.toml"
# Those that a vendor's or a maker's support asks for first.
SHOWN: Final = (
    "dagster",
    "dagster-webserver",
    "duckdb",
    "polars",
    "pydantic",
    "httpx",
    "httptools",
)
# A state that changes its clock says so a year ahead at best, and some say it weeks ahead.
_OLD_ZONES_YEARS: Final = 2
_LEAST_FREE_BYTES: Final = 200_000_000
# A publication writes some hundred files beside those that it replaces.
_LEAST_FREE_FILES: Final = 1_000
# By a bare `pip` the lock would go into whatever environment that one belongs to.
_INSTALL: Final = (
    "Run `make -B .venv/.installed` in the folder of the sources: it installs what "
    "requirements.lock holds."
)
# What runs write; the rest of data/ is people's own.
_WRITTEN: Final = (
    "warehouse.duckdb*",
    "state.sqlite*",
    "energy.duckdb*",
    "dagster_home",
    "published",
    "tokens",
)
_MB: Final = 1_000_000


def check_versions() -> Iterator[Row]:
    """Python and the libraries against what the project was made for."""
    found = {name: _version(name) for name in SHOWN}
    if found["dagster"] != found["dagster-webserver"]:
        yield fail(
            "versions",
            f"dagster is {found['dagster'] or 'not installed'} and dagster-webserver "
            f"{found['dagster-webserver'] or 'not installed'}: they speak a private protocol to "
            "each other and must be of one version.",
            _INSTALL,
        )
        return
    unfit = [requirement for requirement in _requirements() if not _is_met(requirement)]
    if unfit:
        told = ", ".join(f"{each} (found {_version(each.name) or 'nothing'})" for each in unfit)
        yield fail(
            "versions",
            f"The project needs {told}.",
            _INSTALL,
        )
        return
    told = ", ".join(f"{name} {version}" for name, version in found.items())
    yield ok("versions", f"Python {platform.python_version()}, {told}.")


def check_zones(zones: tuple[str, ...], now: datetime) -> Iterator[Row]:
    """Whether local days are cut by rules that are known to be up to date.

    Args:
        zones: those of the portfolio's sites.
        now: by the clock.
    """
    version = zone_data_version()
    for zone in zones:
        if not _agree(zone, now):
            yield fail(
                "zone data",
                f"Python and Polars disagree about the clock of {zone} in the next year: local "
                "days would be cut in two ways.",
                "Update both: `pip install --upgrade tzdata polars`, and the system's tzdata.",
            )
            return
    year = int(version[:4]) if version and version[:4].isdigit() else None
    if year is not None and now.year - year >= _OLD_ZONES_YEARS:
        yield warn(
            "zone data",
            f"The zone data is version {version}: clock changes that were decided since are "
            "unknown.",
            "Update the system's tzdata (`apt install --only-upgrade tzdata`), or "
            "`pip install --upgrade tzdata` where the system has none.",
        )
        return
    yield ok("zone data", f"Version {version or 'unknown'}; Python and Polars agree.")


def check_files(root: Path, settings: Settings | None) -> Iterator[Row]:
    """Who may read the files that hold secrets.

    Args:
        root: the project's folder.
        settings: None: they cannot be read, so every file counts as holding a secret.
    """
    secrets = None if settings is None else secret_values(settings)
    found = False
    for path in (root / ".env", root / "energy_etl.toml"):
        if path.exists():
            row = _open_row(path, "600", holds_secret=_holds(path, secrets))
            found = found or row is not None
            yield from [row] if row else []
    tokens = root / "data" / "tokens"
    if tokens.is_dir():
        rows = [_open_row(tokens, "700", holds_secret=True)]
        rows += [_open_row(path, "600", holds_secret=True) for path in sorted(tokens.glob("*"))]
        bad = [row for row in rows if row is not None]
        found = found or bool(bad)
        yield from bad
    if not found:
        yield ok("file permissions", "Only their owner can read .env and the token files.")


def check_data(subject: Subject) -> Iterator[Row]:
    """Whether data/ can be written, and whether what was to leave it has left."""
    data = subject.settings.data_dir
    if not data.is_dir():
        yield fail(
            "data folder",
            f"There is no {data}.",
            "Run `energy-etl init`, or set ENERGY_ETL_ROOT to the project's folder.",
            CONFIGURATION,
        )
        return
    try:
        # Tried and not asked for: a file system may be read-only whatever the modes say.
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            # Not a matter of rights: `check_disk` tells how much room is needed.
            advice, code = f"Free some space on the disk of {data}.", FAILED
        elif error.errno == errno.EROFS:
            advice, code = "Mount its disk for writing.", CONFIGURATION
        else:
            advice, code = f"Give this user the right: `chmod u+rwx {data}`.", CONFIGURATION
        yield fail("data folder", f"{data} cannot be written ({error.strerror})", advice, code)
        return
    # What a run deletes meanwhile cannot be written either.
    locked = [path for path in _written_paths(data) if not may_write(path) and path.exists()]
    if locked:
        more = f" and {len(locked) - 1} more" if len(locked) > 1 else ""
        yield fail(
            "data folder",
            f"{locked[0]}{more} cannot be written by this user "
            f"({_user(os.geteuid())}; the owner is {_owner(locked[0])}): every run fails there.",
            f"Stop what runs, then give them to the one who runs it: "
            f"`sudo chown -R {_user(os.geteuid())} {data}`, or run energy-etl as the owner.",
            CONFIGURATION,
        )
        return
    yield ok("data folder", f"{data} can be written.")
    for thing_id in unfinished(subject.settings):
        yield warn(
            "forgetting",
            f"`energy-etl forget` of {thing_id} did not end: part of it is still there.",
            "Stop what runs, then give the same `energy-etl forget` again.",
        )


def check_disk(subject: Subject) -> Iterator[Row]:
    """Room for what a publication writes before it deletes what it replaces."""
    settings = subject.settings
    if not settings.data_dir.is_dir():
        return
    free = free_bytes(settings.data_dir)
    warehouse = _size(settings.warehouse_path)
    published = _size(settings.published_path) + sum(
        _size(path) for path in (settings.data_dir / "published").rglob("*.parquet")
    )
    needed = max(_LEAST_FREE_BYTES, published)
    told = (
        f"{free / _MB:,.0f} MB are free; the warehouse has {warehouse / _MB:,.0f} MB, what is "
        f"published {published / _MB:,.0f} MB"
    )
    if free < _LEAST_FREE_BYTES:
        yield fail(
            "disk space",
            f"{told}: runs stop when the disk is full (what was committed stays).",
            f"Free at least {needed / _MB:,.0f} MB on the disk of {settings.data_dir}.",
        )
    elif free < needed:
        yield warn(
            "disk space",
            f"{told}: a publication that writes everything anew would not fit.",
            f"Free {(needed - free) / _MB:,.0f} MB more on the disk of {settings.data_dir}.",
        )
    elif free_files(settings.data_dir) < _LEAST_FREE_FILES:
        yield fail(
            "disk space",
            f"{told}, but that disk takes hardly any more files (its inodes are used up).",
            f"Delete files that nobody needs on the disk of {settings.data_dir}; "
            f"`df -i {settings.data_dir}` counts them.",
        )
    else:
        yield ok("disk space", f"{told}.")


def free_files(folder: Path) -> int:
    """Return how many more files this user may make on the disk of a folder."""
    found = os.statvfs(folder)
    # Some file systems do not count them, and say none of none.
    return found.f_favail if found.f_files else sys.maxsize


def may_write(path: Path) -> bool:
    """True when this user may write a file, or into a folder, by its mode and mount."""
    return os.access(path, os.W_OK)


def free_bytes(folder: Path) -> int:
    """Return what this user may still write on the disk of a folder."""
    return shutil.disk_usage(folder).free


def zone_data_version() -> str | None:
    """Return the version of the zone data that Python reads, None when it cannot be told."""
    for folder in zoneinfo.TZPATH:
        if (Path(folder) / "Etc" / "UTC").exists():
            with_version = Path(folder) / "tzdata.zi"
            try:
                # `# version 2026a`
                with with_version.open(encoding="ascii") as file:
                    first = file.readline().split()
            except (OSError, UnicodeDecodeError):
                return None
            return first[2] if len(first) > 2 and first[1] == "version" else None
    # `2026.1` is 2026a.
    return _version("tzdata")


def _agree(zone: str, now: datetime) -> bool:
    """Compare the offsets of the next 400 days by Python and by Polars, whose rules are its own."""
    days = pl.datetime_range(now, now.replace(year=now.year + 1), "1d", eager=True)
    by_polars = days.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_list()
    by_python = [day.astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None) for day in days]
    return by_polars == by_python


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> list[Requirement]:
    """Return what the project needs to run here; empty when that cannot be told."""
    try:
        # What was written down when it was installed is out of date after a `git pull`.
        project = tomllib.loads(_SOURCES.read_text(encoding="utf-8"))["project"]
        texts = project["dependencies"]
    except (OSError, KeyError, ValueError):
        try:
            texts = metadata.requires(_DISTRIBUTION) or []
        except metadata.PackageNotFoundError:
            return []
    try:
        found = [Requirement(text) for text in texts]
    except InvalidRequirement:
        return []
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def _is_met(requirement: Requirement) -> bool:
    version = _version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _open_row(path: Path, wanted: str, *, holds_secret: bool) -> Row | None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        # It went meanwhile: tokens are replaced.
        return None
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    cause = f"{path} can be read by group or others (mode {mode:o})"
    advice = f"Run `chmod {wanted} {path}`"
    if not holds_secret:
        return warn("file permissions", f"{cause}; it holds no secret yet.", f"{advice}.")
    renew = ", and renew what it holds if others use this machine."
    return fail("file permissions", f"{cause} and holds secrets.", advice + renew, CONFIGURATION)


def _holds(path: Path, secrets: list[str] | None) -> bool:
    if secrets is None:
        return True
    try:
        text = path.read_text(encoding="utf-8")
        text += str(tomllib.loads(text)) if path.suffix == ".toml" else ""
    except (OSError, ValueError):
        return True
    return any(secret in text for secret in secrets)


def _written_paths(data: Path) -> Iterator[Path]:
    for pattern in _WRITTEN:
        for path in sorted(data.glob(pattern)):
            yield path
            for folder, folders, files in os.walk(path):
                yield from (Path(folder) / name for name in (*folders, *files))


def _owner(path: Path) -> str:
    try:
        return _user(path.stat().st_uid)
    except OSError:
        return "unknown"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        # In a container, say.
        return str(uid)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
