"""One meter or one person out of everything that is stored here; `energy-etl forget`.

Rows of every schema go, raw answers lose what names it, so that a rebuild does not bring it back;
streams go from the outbox, rows from the portfolio, runs that name it from Dagster's history, files
that were made of it (reports, support bundles, logs, publications). Files are written anew, so
that nothing of it can be read in what was freed. At the end every file is searched.

As long as a vendor lists it, the next run brings back what the vendor says: it has to be taken
out there too. Killed on the way, the same command begins again, and knows from its note
(`forgetting_note.py`) what the rows that are gone said.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl

from energy_etl.defs.forgetting_files import tells_file
from energy_etl.defs.forgetting_history import (
    backfills_naming,
    forget_in_history,
    refuse_active_backfill,
    runs_naming,
)
from energy_etl.defs.forgetting_note import NOTE, note_begun, note_done, noted
from energy_etl.defs.forgetting_rows import count_rows, delete_named_rows, redact_raw
from energy_etl.defs.marks import mark_for
from energy_etl.defs.warehouse import project_warehouse
from energy_etl.delivery.forgetting import OutboxPart, count_packets, forget
from energy_etl.delivery.lease import hold_lease
from energy_etl.delivery.outbox import Outbox
from energy_etl.errors import ConfigurationError, UsageError
from energy_etl.portfolio import Portfolio
from energy_etl.portfolio.forgetting import remove_rows, rows_naming
from energy_etl.rest.removal import Names
from energy_etl.settings import Settings
from energy_etl.state import Window, give_back_space, open_state
from energy_etl.tables import core, push
from energy_etl.warehouse import publish
from energy_etl.warehouse.compacting import compact

# Made of the data, and made again; or made by Dagster.
_MADE_FILES: Final = ("reports", "support", "logs")
# The repository's own, what stands for the vendors, and what is deleted at the very end.
_NOT_OURS: Final = frozenset(
    {"portfolio.example", "portfolio.replay", "sandbox", "README.md", NOTE}
)
_LEAST_NAME: Final = 6
_LEAST_ID: Final = 4
# How columns with ids of people begin.
_PEOPLE: Final = ("user_id_", "holder_id_", "owner_id_")


@dataclass(frozen=True)
class Subject:
    """Who or what is to be forgotten.

    Attributes:
        thing_id: what was typed.
        told: for people.
        names: what it is called, ours and the vendors'.
        register_ids: of a meter.
        outbox: what of the outbox tells it.
        is_begun: an earlier attempt did not end.
    """

    thing_id: str
    told: str
    names: Names
    register_ids: frozenset[str] = frozenset()
    outbox: OutboxPart = field(default_factory=lambda: OutboxPart(frozenset(), frozenset()))
    is_begun: bool = False


@dataclass(frozen=True)
class Found:
    """What of the subject is there: rows per table, packets per stream, rows per file, ..."""

    rows: Mapping[str, int]
    packets: Mapping[str, int]
    portfolio: Mapping[str, int]
    n_runs: int
    files: tuple[str, ...]
    n_backfills: int = 0
    is_begun: bool = False

    @property
    def is_empty(self) -> bool:
        """True when nothing of it is there."""
        of_dagster = self.n_runs or self.n_backfills
        there = self.rows or self.packets or self.portfolio or of_dagster or self.files
        return not (there or self.is_begun)

    def lines(self) -> Iterator[str]:
        """Yield what is there, for people."""
        for table, n_rows in self.rows.items():
            what = "answers that lose a part" if table == "raw.body" else "rows"
            yield f"{table}: {n_rows} {what}"
        for stream_id, n_packets in self.packets.items():
            yield f"outbox, stream {stream_id}: {n_packets} packets"
        for file, n_rows in self.portfolio.items():
            yield f"portfolio, {file}: {n_rows} rows"
        if self.n_runs:
            yield f"Dagster's history: {self.n_runs} runs"
        if self.n_backfills:
            yield f"Dagster's history: {self.n_backfills} backfills that lose its name"
        yield from self.files
        if self.is_begun:
            yield "what an earlier attempt left that did not end"


def meter_subject(settings: Settings, meter_id: str) -> Subject:
    """Return a meter with its registers, streams and ids at the vendors.

    Raises:
        ConfigurationError: the portfolio has faults; UsageError: it does not know the meter.
    """
    portfolio = Portfolio.load(settings.portfolio_dir)
    portfolio.refuse_problems()
    registers = portfolio.frames[core.REGISTER]
    meters = portfolio.frames[core.METER].filter(meter_id=meter_id)
    begun = noted(settings, meter_id)
    if meters.is_empty() and not begun:
        raise UsageError(
            f"The portfolio knows no meter {meter_id}: take an id of meters.csv, which "
            '`energy-etl sql "FROM core.meter"` shows with its name.'
        )
    own = frozenset(registers.filter(meter_id=meter_id)["register_id"])
    streams = portfolio.frames[push.STREAM]
    stream_ids = frozenset(streams.filter(pl.col("register_id").is_in(own))["stream_id"])
    further = portfolio.frames[push.STREAM_FIELD].filter(pl.col("register_id").is_in(own))
    fields = {
        (stream_id, name)
        for stream_id, name in further["stream_id", "field"].iter_rows()
        if stream_id not in stream_ids
    }
    names = [frozenset({name}) for name in (meter_id, *own, *stream_ids)]
    aliases = portfolio.frames[core.ALIAS]
    return _with_begun(
        Subject(
            meter_id,
            f"the meter {meter_id} ({len(own)} registers)",
            _refused_if_short(Names([*names, *_vendor_names(aliases, meter_id, own)])),
            own,
            OutboxPart(stream_ids, frozenset(fields)),
        ),
        begun,
    )


def user_subject(settings: Settings, user_id: str) -> Subject:
    """Return a person by a vendor's id, with the names that stand beside that id.

    Raises:
        UsageError: no vendor's table knows the id.
    """
    names: set[str] = set()
    begun = noted(settings, user_id)
    is_known = bool(begun)
    warehouse = project_warehouse(settings)
    with warehouse.reading() as reader:
        for table in warehouse.tables:
            columns = [column.name for column in table.columns if column.kind == "text"]
            people = [name for name in columns if name.startswith(_PEOPLE)]
            if table.schema in ("raw", "core", "mart", "push") or not people:
                continue
            rows = reader.read_table(
                table, " OR ".join(f'"{name}" = $user' for name in people), {"user": user_id}
            )
            is_known |= rows.height > 0
            # An owner's row is called after what is owned.
            of_people = [name for name in people if not name.startswith("owner")]
            if "name" in columns:
                names.update(_names_of_person(rows, of_people, user_id))
    if not is_known:
        raise UsageError(
            f"No table of a vendor knows the id {user_id} as a person's: `energy-etl sql "
            '"FROM mart.access"` shows those of people who have access.'
        )
    # A short name may be a word.
    long = [name for name in names if len(name) >= _LEAST_NAME]
    told = Names(frozenset({name}) for name in (user_id, *long))
    return _with_begun(Subject(user_id, f"the user {user_id}", _refused_if_short(told)), begun)


def _with_begun(subject: Subject, begun: Mapping[str, Any]) -> Subject:
    """Return the subject with what an earlier attempt knew of it."""
    if not begun:
        return subject
    streams = subject.outbox.stream_ids.union(begun["stream_ids"])
    fields = subject.outbox.fields.union((stream, name) for stream, name in begun["fields"])
    return replace(
        subject,
        told=begun["told"],
        names=Names([*subject.names.sets, *map(frozenset, begun["names"])]),
        register_ids=subject.register_ids.union(begun["register_ids"]),
        outbox=OutboxPart(streams, fields),
        is_begun=True,
    )


def _note(settings: Settings, subject: Subject) -> None:
    parts = {
        "told": subject.told,
        "names": [sorted(name) for name in subject.names.sets],
        "register_ids": sorted(subject.register_ids),
        "stream_ids": sorted(subject.outbox.stream_ids),
        "fields": sorted(subject.outbox.fields),
    }
    note_begun(settings, subject.thing_id, parts)


def _refused_if_short(names: Names) -> Names:
    """Return the names; one such as 7 stands everywhere, and would take everything with it."""
    short = [part for part in names.single if len(part) < _LEAST_ID]
    if short:
        raise ConfigurationError(
            f"The id {short[0]} is too short to be told from other numbers and words: nothing was "
            "deleted; give it a longer one in the portfolio, or delete its rows by hand."
        )
    return names


def find(settings: Settings, instance: dg.DagsterInstance, subject: Subject) -> Found:
    """Return what of the subject is there; nothing is changed."""
    warehouse = project_warehouse(settings)
    with warehouse.reading() as reader:
        rows = count_rows(reader, warehouse.tables, subject.names)
    with open_state(settings.state_path) as connection:
        packets = count_packets(Outbox(connection), subject.outbox)
    return Found(
        {name: n for name, n in rows.items() if n},
        {name: n for name, n in packets.items() if n},
        rows_naming(settings.portfolio_dir, subject.names.tell),
        len(runs_naming(instance, settings.dagster_home, subject.names)),
        tuple(_relative(settings, path) for path in _made_files(settings, subject.names)),
        len(backfills_naming(instance, subject.names)),
        subject.is_begun,
    )


def forget_subject(
    settings: Settings, instance: dg.DagsterInstance, subject: Subject
) -> tuple[str, ...]:
    """Take the subject out of everything; return the files under data/ that still name it.

    Nothing else may run on this project meanwhile.

    Raises:
        ConfigurationError: a backfill that has not ended names it; nothing was deleted.
        DeliveryError: a send run is active.
        WarehouseError: a file is locked, or a disk is full: run it again.
    """
    refuse_active_backfill(instance, subject.names)
    with hold_lease(settings.state_path):
        _note(settings, subject)
        with open_state(settings.state_path) as connection:
            forget(Outbox(connection), subject.outbox, subject.register_ids)
        warehouse = project_warehouse(settings)
        with warehouse.write() as writer:
            redact_raw(writer, subject.names)
            partly = sorted({stream_id for stream_id, _ in subject.outbox.fields})
            delete_named_rows(writer, warehouse.tables, subject.names, partly)
        # The sums that it was part of are made again by the next computation.
        at = datetime.now(UTC)
        mark_for(settings.state_path, "figure", [Window("forgotten", at, at, "")])
        compact(warehouse.path, lock_wait_s=settings.lock_wait_s, worth_it=0)
        give_back_space(settings.state_path, worth_it=0, wait_s=settings.lock_wait_s)
        forget_in_history(instance, settings.dagster_home, subject.names)
        for path in _made_files(settings, subject.names):
            path.unlink()
        # Also the generations that a reader may still have open.
        settings.published_path.unlink(missing_ok=True)
        shutil.rmtree(settings.data_dir / "published", ignore_errors=True)
        publish(warehouse, data_dir=settings.data_dir)
        remove_rows(settings.portfolio_dir, subject.names.tell)
        left = tuple(_relative(settings, path) for path in files_naming(settings, subject.names))
        note_done(settings, subject.thing_id)
    return left


def files_naming(settings: Settings, names: Names) -> Iterator[Path]:
    """Yield every file under data/ that names a thing by an id that tells it alone."""
    alone = Names(frozenset({part}) for part in names.single)
    for path in sorted(settings.data_dir.rglob("*")):
        inner = path.relative_to(settings.data_dir)
        # The logs of a SQLite file are read with it.
        is_looked_at = not path.name.endswith(("-wal", "-shm")) and inner.parts[0] not in _NOT_OURS
        if is_looked_at and path.is_file() and tells_file(path, alone):
            yield path


def _made_files(settings: Settings, names: Names) -> list[Path]:
    """Return reports, bundles and logs that name it; packed ones all (not searchable)."""
    found = []
    for folder in _MADE_FILES:
        for path in sorted((settings.data_dir / folder).rglob("*")):
            if path.is_file() and (path.suffix == ".zip" or tells_file(path, names)):
                found.append(path)
    return found


def _names_of_person(rows: pl.DataFrame, id_columns: list[str], user_id: str) -> set[str]:
    """Return the names beside a person's id in columns that identify people."""
    if not id_columns:
        return set()
    of_person = rows.filter(pl.any_horizontal(pl.col(id_columns) == user_id))
    return set(of_person["name"].drop_nulls())


def _vendor_names(
    aliases: pl.DataFrame, meter_id: str, register_ids: frozenset[str]
) -> Iterator[frozenset[str]]:
    """Yield what vendors call the meter and its registers.

    A vendor's id of a register may be `<box>/<property>`: the box alone tells the meter when it
    has no register of another one.
    """
    own = aliases.filter(
        ((pl.col("thing") == "meter") & (pl.col("thing_id") == meter_id))
        | ((pl.col("thing") == "register") & pl.col("thing_id").is_in(register_ids))
    )
    others = aliases.join(own, on=aliases.columns, how="anti")
    boxes = {
        (vendor, vendor_id.split("/")[0])
        for vendor, vendor_id in others["vendor", "vendor_id"].iter_rows()
    }
    for thing, vendor, vendor_id in own["thing", "vendor", "vendor_id"].iter_rows():
        yield frozenset({vendor_id})
        if thing == "register":
            parts = vendor_id.split("/")
            yield frozenset(parts[:1] if (vendor, parts[0]) not in boxes else parts)


def _relative(settings: Settings, path: Path) -> str:
    return path.relative_to(settings.root).as_posix()
