"""What the project runs on: versions, zone data, disk, files and who may read them."""

import importlib.metadata as metadata
import platform
import shutil
import stat
import tempfile
import tomllib
import zoneinfo
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
from packaging.requirements import InvalidRequirement, Requirement

from energy_etl.cli.doctor.rows import CONFIGURATION, Row, fail, ok, warn
from energy_etl.cli.doctor.subject import Subject
from energy_etl.rest.secrets import secret_values
from energy_etl.settings import Settings

_DISTRIBUTION: Final = "energy-etl"
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
            "Install what requirements.lock holds: `pip install -r requirements.lock`.",
        )
        return
    unfit = [requirement for requirement in _requirements() if not _is_met(requirement)]
    if unfit:
        told = ", ".join(f"{each} (found {_version(each.name) or 'nothing'})" for each in unfit)
        yield fail(
            "versions",
            f"The project needs {told}.",
            "Install what requirements.lock holds: `pip install -r requirements.lock`.",
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
    """Whether data/ can be written."""
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
        yield fail(
            "data folder",
            f"{data} cannot be written ({error.strerror or error}).",
            f"Give this user the right (`chmod u+rwx {data}`), or mount its disk for writing.",
            CONFIGURATION,
        )
        return
    yield ok("data folder", f"{data} can be written.")


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
    else:
        yield ok("disk space", f"{told}.")


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
    """Return what the project needs to run here; empty when it was not installed."""
    try:
        texts = metadata.requires(_DISTRIBUTION) or []
        found = [Requirement(text) for text in texts]
    except (metadata.PackageNotFoundError, InvalidRequirement):
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


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
