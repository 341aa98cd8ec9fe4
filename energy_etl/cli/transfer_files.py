"""An export: a folder of Parquet files, the outbox, the portfolio, and a manifest of all of it.

    manifest.json                      versions, and rows and SHA-256 of each file
    <schema>/<table>.parquet           every table with rows
    state.sqlite                       outbox, marks, facts: without it everything would be sent
                                       a second time
    portfolio/*.csv

Secrets and tokens are in none of them. The folder appears under its name when it is complete.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from energy_etl.cli.setup import prepare
from energy_etl.cli.up import locked_home
from energy_etl.defs.warehouse import project_warehouse
from energy_etl.delivery.lease import hold_lease
from energy_etl.delivery.outbox import Outbox
from energy_etl.errors import ConfigurationError, DeliveryError, UsageError
from energy_etl.portfolio.layout import FILES
from energy_etl.settings import Settings
from energy_etl.state import copy_state, open_state, restore_state
from energy_etl.tables import Table
from energy_etl.warehouse import Warehouse, publish
from energy_etl.warehouse.generation import flush
from energy_etl.warehouse.transfer import exporting, n_rows, read_in, schema_version

_MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1
_STATE: Final = "state.sqlite"
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What an export says of itself.

    Attributes:
        schema_version: of the tables.
        files: path in the folder -> `sha256`, and `n_rows` of tables.
        last_sent_ms: stream -> stamp of the newest packet that was sent; None: no outbox in it.
    """

    schema_version: int
    files: Mapping[str, Mapping[str, Any]]
    last_sent_ms: Mapping[str, int | None] | None


def export_project(
    settings: Settings, out: Path, schemas: Collection[str] = (), now: datetime | None = None
) -> Iterator[str]:
    """Write an export; yields a line per step.

    Args:
        settings: of the project.
        out: a folder that is not there, or empty.
        schemas: only the tables of these, without outbox and portfolio; empty: everything.
        now: for tests.

    Raises:
        UsageError: the folder holds something, or a schema is unknown.
        ConfigurationError: there is no warehouse.
        WarehouseError: a run held the warehouse for too long, or the disk is full.
    """
    warehouse = project_warehouse(settings)
    tables = _wanted(warehouse.tables, schemas)
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} holds something already: name a folder that is new.")
    if not settings.warehouse_path.exists():
        raise ConfigurationError(
            f"There is no warehouse in {settings.warehouse_path}: run `energy-etl init`, or set "
            "ENERGY_ETL_ROOT to the project's folder."
        )
    partial = _make_partial(out)
    try:
        files: dict[str, dict[str, Any]] = {}
        last_sent_ms = None
        # Marks and packets change with the tables: both while no run can write.
        with exporting(warehouse) as exporter:
            warehouse_id = exporter.warehouse_id
            if not schemas and settings.state_path.exists():
                copy_state(settings.state_path, partial / _STATE)
                # Of the copy: packets go out meanwhile.
                last_sent_ms = _last_sent_ms(partial / _STATE)
                files[_STATE] = {"sha256": _sha256(partial / _STATE)}
                yield f"Outbox and state: {len(last_sent_ms)} streams."
            for table in tables:
                path = partial / table.schema / f"{table.name}.parquet"
                n = exporter.write(table, path)
                name = path.relative_to(partial).as_posix()
                files[name] = {"sha256": _sha256(path), "n_rows": n}
        yield f"Tables: {len(tables)}, rows: {sum(f.get('n_rows', 0) for f in files.values())}."
        if not schemas and settings.portfolio_dir.is_dir():
            for source in sorted(settings.portfolio_dir.glob("*.csv")):
                target = partial / "portfolio" / source.name
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
                files[f"portfolio/{source.name}"] = {"sha256": _sha256(target)}
            yield "Portfolio."
        content = {
            "format": _FORMAT,
            "exported_at": (now or datetime.now(UTC)).isoformat(),
            "energy_etl": importlib.metadata.version("energy-etl"),
            "duckdb": importlib.metadata.version("duckdb"),
            "schema_version": schema_version(),
            "warehouse_id": warehouse_id,
            "last_sent_ms": last_sent_ms,
            "files": files,
        }
        (partial / _MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")
        # A power cut must not leave a name without its content.
        flush([partial / _MANIFEST, *(partial / name for name in files)])
        if out.exists():
            out.rmdir()
        os.rename(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    yield f"Written: {out}."


def import_project(
    settings: Settings, folder: Path, *, is_replacing: bool = False, keeps_outbox: bool = False
) -> Iterator[str]:
    """Bring an export in; yields a line per step.

    The outbox comes first: killed after it, packets wait; the other way round they would be sent
    twice. Run again, it begins anew. The tables come in one transaction.

    Args:
        settings: of the project.
        folder: an export.
        is_replacing: True replaces what is there.
        keeps_outbox: True leaves the outbox that is there.

    Raises:
        ConfigurationError: it is no export, damaged, or of a later version; or there is something
            already and it is not to be replaced.
        DeliveryError: the outbox that is there has sent more than the export knows of.
        WarehouseError: a file does not fit its table; nothing was changed in the tables.
    """
    manifest = _read_manifest(folder)
    _check_files(folder, manifest)
    yield "Every file is as it was exported."
    with locked_home(settings.dagster_home), hold_lease(_made(settings.state_path)):
        warehouse = project_warehouse(settings)
        by_file = {f"{t.schema}/{t.name}.parquet": t for t in warehouse.tables}
        tables = {by_file[name]: name for name in manifest.files if name in by_file}
        warehouse.create()
        if not is_replacing:
            _refuse_rows(warehouse, list(tables))
            _refuse_other_portfolio(settings, manifest)
        takes_state = manifest.last_sent_ms is not None and not keeps_outbox
        if takes_state:
            _refuse_newer_outbox(settings, manifest)
            restore_state(folder / _STATE, settings.state_path)
            yield "Outbox and state."
        if _bring_portfolio(settings, folder, manifest, is_replacing=is_replacing):
            yield "Portfolio."
        yield from _bring_tables(warehouse, tables, folder, manifest)
        prepare(settings)
        publish(warehouse, data_dir=settings.data_dir)
        yield f"Published: {settings.published_path}."


def _bring_tables(
    warehouse: Warehouse, tables: Mapping[Table, str], folder: Path, manifest: Manifest
) -> Iterator[str]:
    n_total, left_out = 0, []
    with warehouse.write() as writer:
        for table, name in tables.items():
            n, unknown = read_in(writer, table, folder / name)
            if n != manifest.files[name]["n_rows"]:
                raise ConfigurationError(
                    f"{folder / name} holds {n} rows and not {manifest.files[name]['n_rows']}: "
                    "nothing was brought in; copy the export again."
                )
            n_total += n
            left_out += [f"{table.full_name}.{column}" for column in unknown]
    yield f"Tables: {len(tables)}, rows: {n_total}."
    if left_out:
        yield f"Left out, for this version has no such columns: {', '.join(left_out)}."
    others = sorted(
        name for name in manifest.files if name.endswith(".parquet") and name not in tables.values()
    )
    if others:
        yield f"Left out, for this version has no such tables: {', '.join(others)}."


def _bring_portfolio(
    settings: Settings, folder: Path, manifest: Manifest, *, is_replacing: bool
) -> bool:
    """Return False of an export without one."""
    names = _portfolio_names(manifest)
    if not names:
        return False
    settings.portfolio_dir.mkdir(parents=True, exist_ok=True)
    for name in names:
        begun = settings.portfolio_dir / f".{name}.new"
        shutil.copyfile(folder / "portfolio" / name, begun)
        os.replace(begun, settings.portfolio_dir / name)
    if is_replacing:
        # What the export did not have belongs to what is replaced.
        for layout in FILES:
            if layout.file not in names:
                (settings.portfolio_dir / layout.file).unlink(missing_ok=True)
    return True


def _portfolio_names(manifest: Manifest) -> list[str]:
    return [Path(name).name for name in manifest.files if name.startswith("portfolio/")]


def _refuse_other_portfolio(settings: Settings, manifest: Manifest) -> None:
    """Refuse to mix two; one that an import which was killed began is none of its own."""
    names = _portfolio_names(manifest)
    for path in sorted(settings.portfolio_dir.glob("*.csv")) if names else ():
        if path.name not in names or _sha256(path) != manifest.files[f"portfolio/{path.name}"].get(
            "sha256"
        ):
            raise ConfigurationError(
                f"{path} is not what was exported: give --replace to replace the portfolio that is "
                "there, or set ENERGY_ETL_ROOT to a new folder."
            )


def _refuse_rows(warehouse: Warehouse, tables: Sequence[Table]) -> None:
    there = n_rows(warehouse, tables)
    if there:
        raise ConfigurationError(
            f"{warehouse.path} holds rows already ({', '.join(sorted(there)[:3])}, ...): give "
            "--replace to replace them, or set ENERGY_ETL_ROOT to a new folder."
        )


def _refuse_newer_outbox(settings: Settings, manifest: Manifest) -> None:
    exported = manifest.last_sent_ms or {}
    newer = [
        stream_id
        for stream_id, last_ms in _last_sent_ms(settings.state_path).items()
        if last_ms is not None and last_ms > (exported.get(stream_id) or -1)
    ]
    if newer:
        raise DeliveryError(
            f"The outbox in {settings.state_path} has sent packets that the export does not know "
            f"of ({len(newer)} streams, such as {newer[0]}): replaced by it, they would be sent a "
            "second time; give --keep-outbox to bring in everything else."
        )


def _read_manifest(folder: Path) -> Manifest:
    path = folder / _MANIFEST
    if not path.exists():
        raise UsageError(
            f"{folder} is no export of `energy-etl export`, or no complete one: it holds no "
            f"{_MANIFEST}; name the folder that was given to --out."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = Manifest(content["schema_version"], content["files"], content["last_sent_ms"])
        # First: what follows may look otherwise in a newer one.
        if content["format"] != _FORMAT or known.schema_version > schema_version():
            raise ConfigurationError(
                f"{folder} was exported by energy-etl {content.get('energy_etl')}, which is newer "
                "than this one: update energy-etl, then import it."
            )
        for name, told in known.files.items():
            if not isinstance(told["sha256"], str) or (
                name.endswith(".parquet") and not isinstance(told["n_rows"], int)
            ):
                raise TypeError(name)
        if known.last_sent_ms is not None and (
            not isinstance(known.last_sent_ms, dict) or _STATE not in known.files
        ):
            raise TypeError(_STATE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{folder} is no complete export: its {_MANIFEST} is damaged; copy the export again."
        ) from error
    return known


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name, told in manifest.files.items():
        path = (folder / name).resolve()
        # A manifest is data: it names nothing beyond its folder.
        is_inside = path.is_relative_to(folder.resolve())
        if not is_inside or not path.is_file() or _sha256(path) != told["sha256"]:
            raise ConfigurationError(
                f"{folder / name} is missing or is not what was exported: nothing was brought in; "
                "copy the export again."
            )


def _make_partial(out: Path) -> Path:
    """Make the folder that will be the export; those of exports that were killed go."""
    for leftover in out.parent.glob(f".{out.name}.partial-*"):
        pid = leftover.name.rpartition("-")[2]
        if not Path("/proc", pid).exists():
            shutil.rmtree(leftover, ignore_errors=True)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    return partial


def _wanted(tables: Sequence[Table], schemas: Collection[str]) -> list[Table]:
    known = {table.schema for table in tables}
    unknown = sorted(set(schemas) - known)
    if unknown:
        raise UsageError(
            f"There is no schema {', '.join(unknown)}: give some of {', '.join(sorted(known))}."
        )
    return [table for table in tables if not schemas or table.schema in schemas]


def _last_sent_ms(state_path: Path) -> dict[str, int | None]:
    with open_state(state_path) as connection:
        return {state.stream_id: state.last_sent_ms for state in Outbox(connection).streams()}


def _made(state_path: Path) -> Path:
    state_path.parent.mkdir(parents=True, exist_ok=True)
    return state_path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
