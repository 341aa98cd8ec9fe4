"""`Portfolio`: the files as frames of the tables they fill, and every problem they have.

What is wrong is left out with all that depends on it, and the rest is used (`rules.py`). What was
computed of a left-out register stays, and its streams wait: `gone` and `why_it_waits` tell whoever
would delete or send.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from energy_etl.errors import ConfigurationError
from energy_etl.portfolio.layout import FILES, METERS, REGISTERS, STREAMS, FileLayout
from energy_etl.portfolio.problem import Problem, list_of
from energy_etl.portfolio.rows import Row, Rows
from energy_etl.portfolio.rules import DECIDING, check_rows
from energy_etl.portfolio.stream_rules import FieldProblem
from energy_etl.tables import Table, core

_THINGS: Final = {"site": core.SITE, "meter": core.METER, "register": core.REGISTER}


@dataclass(frozen=True)
class _Doubt:
    """What a file with faults may no longer say.

    Attributes:
        of_registers: those with a row that was left out.
        named: those with any row.
        is_nameless: True when a row was left out whose register is not known.
    """

    of_registers: frozenset[str]
    named: frozenset[str]
    is_nameless: bool


@dataclass(frozen=True)
class Portfolio:
    """Who is who, and what people declared: one frame per table.

    Attributes:
        folder: where the files are.
        frames: one frame per table (`core.SITE`, `core.METER`, `core.REGISTER`, `core.ALIAS`,
            `core.EXCHANGE`, `core.GAP`, `core.MANUAL_EDIT`, `core.TARIFF`, `core.MEASURE`,
            `core.WEATHER`, `core.PORTFOLIO_PROBLEM`, `push.STREAM`, `push.STREAM_FIELD`), in its
            Polars schema. An alias is there for left-out things too, as long as nothing else
            claims it: what a vendor calls them is known.
        problems: what is wrong with the files, by file and line; their rows are left out.
        left_out: left-out registers of which it is known what they are and where (the other
            columns of `core.REGISTER` may be null): their neighbours stay what they are.
    """

    folder: Path
    frames: Mapping[Table, pl.DataFrame]
    problems: tuple[Problem, ...] = ()
    left_out: pl.DataFrame = field(default_factory=core.REGISTER.empty_frame)
    _waiting: Mapping[str, str] = field(default_factory=dict)
    _streams_missing: str | None = None
    _doubts: Mapping[Table, _Doubt] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, field_problem: FieldProblem | None = None) -> "Portfolio":
        """Read and check the files of a folder; rows with a fault are left out and told.

        Args:
            folder: where the files are.
            field_problem: what the vendor of the streams takes in a field of a packet; None:
                nobody pushes from this portfolio, so it is not checked.

        Raises:
            ConfigurationError: there is no portfolio: no folder, a needed file or its header is
                missing, or no register is left; it lists every problem.
        """
        if not folder.is_dir():
            raise ConfigurationError(
                f"There is no portfolio in {folder}: run `energy-etl init --discover`, or copy"
                " data/portfolio.example there."
            )
        rows = Rows.read(folder)
        check_rows(rows, field_problem)
        problems = rows.sorted_problems()
        is_nothing_left = bool(problems) and not rows.used(REGISTERS)
        if rows.is_fatal or is_nothing_left:
            raise ConfigurationError(list_of(folder, problems))
        frames = {layout.table: _frame(layout.table, rows.used(layout)) for layout in FILES}
        frames[core.ALIAS] = _aliases(rows)
        frames[core.PORTFOLIO_PROBLEM] = _problem_frame(problems)
        return cls(
            folder,
            frames,
            problems,
            left_out=_left_out(rows),
            _waiting=_waiting(rows),
            _streams_missing=rows.partly_read.get(STREAMS.file),
            _doubts={layout.table: _doubt(rows, layout) for layout in DECIDING},
        )

    @classmethod
    def load_strictly(cls, folder: Path, field_problem: FieldProblem | None = None) -> "Portfolio":
        """Read a portfolio that has no problem at all: before its files are changed.

        Args:
            folder: where the files are.
            field_problem: see `load`.

        Raises:
            ConfigurationError: lists every problem, each with file, line, column, value and what
                to write instead.
        """
        portfolio = cls.load(folder, field_problem)
        portfolio.refuse_problems()
        return portfolio

    def refuse_problems(self) -> None:
        """Raise when anything was left out.

        Raises:
            ConfigurationError: lists every problem, each with file, line, column, value and what
                to write instead.
        """
        if self.problems:
            raise ConfigurationError(list_of(self.folder, self.problems))

    def vendor_ids(self, thing: str, vendor: str) -> dict[str, str]:
        """Return our id of each site, meter or register that the vendor has, by the vendor's."""
        found = self.frames[core.ALIAS].filter(thing=thing, vendor=vendor)
        return dict(zip(found["vendor_id"], found["thing_id"], strict=True))

    def used_aliases(self) -> pl.DataFrame:
        """Return the rows of `core.ALIAS` whose site, meter or register is not left out."""
        used = [
            self.frames[table].select(thing=pl.lit(thing), thing_id=pl.col(f"{thing}_id"))
            for thing, table in _THINGS.items()
        ]
        return self.frames[core.ALIAS].join(pl.concat(used), on=["thing", "thing_id"], how="semi")

    def gone(self, register_ids: Iterable[str]) -> set[str]:
        """Return those of some registers that somebody took out.

        While anything is wrong nobody did: a row that cannot be read, or an id with a typing
        error, may be theirs.
        """
        if self.problems:
            return set()
        return {*register_ids}.difference(self.frames[core.REGISTER]["register_id"])

    def why_it_waits(self, stream_id: str) -> str | None:
        """Return why a stream sends nothing for now; None when it has a row, or never had one."""
        place = self._waiting.get(stream_id)
        if place is None and stream_id not in self.frames[STREAMS.table]["stream_id"]:
            place = self._streams_missing
        return None if place is None else f"waits until {place} of the portfolio is mended"

    def with_last_good(self, table: Table, before: pl.DataFrame) -> pl.DataFrame:
        """Return the table's rows, where a file is faulty those that it had before.

        What decides about figures (exchanges, manual edits) must not vanish by a typing error:
        sent figures could not be taken back.

        Args:
            table: `core.EXCHANGE` or `core.MANUAL_EDIT`.
            before: what the warehouse holds.

        Returns:
            Of registers with a faulty row the rows that were there, if there were any; where the
            register of a faulty row is not known, also those of registers that the file does not
            name any more; all else as the file says.
        """
        doubt, register_id = self._doubts[table], pl.col("register_id")
        is_kept = register_id.is_in(sorted(doubt.of_registers))
        if doubt.is_nameless:
            is_kept |= ~register_id.is_in(sorted(doubt.named))
        kept = before.filter(is_kept).select(table.polars_schema.names())
        rest = self.frames[table].join(kept, on="register_id", how="anti")
        return pl.concat([rest, kept]).sort(table.key)


def _waiting(rows: Rows) -> dict[str, str]:
    return {
        row.values["stream_id"]: row.because
        for row in rows.of[STREAMS.file]
        if row.because is not None and row.values["stream_id"] is not None
    }


def _doubt(rows: Rows, layout: FileLayout) -> _Doubt:
    named = {row.values["register_id"] for row in rows.of[layout.file]}
    known = {row.values["register_id"] for row in rows.of[REGISTERS.file]}
    faulty = {row.values["register_id"] for row in rows.of[layout.file] if row.because is not None}
    return _Doubt(
        frozenset(faulty & known - {None}),
        frozenset(named - {None}),
        layout.file in rows.partly_read or not faulty <= known - {None},
    )


def _left_out(rows: Rows) -> pl.DataFrame:
    meters = {row.values["meter_id"]: row.values for row in rows.of[METERS.file]}
    schema = core.REGISTER.polars_schema
    records = [
        {name: found.get(name) for name in schema}
        for row in rows.of[REGISTERS.file]
        if row.because is not None
        for found in [meters.get(row.values["meter_id"], {}) | row.values]
    ]
    needed = ["register_id", "meter_id", "site_id", "commodity", "role", "kind", "unit"]
    return pl.DataFrame(records, schema=schema).drop_nulls(needed)


def _frame(table: Table, rows: list[Row]) -> pl.DataFrame:
    schema = table.polars_schema
    records = [{name: row.values[name] for name in schema} for row in rows]
    return pl.DataFrame(records, schema=schema).sort(table.key)


def _aliases(rows: Rows) -> pl.DataFrame:
    records = [
        {
            "thing": layout.thing,
            "thing_id": row.values[f"{layout.thing}_id"],
            "vendor": vendor,
            "vendor_id": vendor_id,
        }
        for layout in FILES
        if layout.thing is not None
        for row in rows.of[layout.file]
        if row.values[f"{layout.thing}_id"] is not None and not row.is_ambiguous
        for vendor, vendor_id in row.vendor_ids.items()
    ]
    return pl.DataFrame(records, schema=core.ALIAS.polars_schema).sort(core.ALIAS.key)


def _problem_frame(problems: tuple[Problem, ...]) -> pl.DataFrame:
    table = core.PORTFOLIO_PROBLEM
    records = [
        {"file": p.file, "line": p.line, "columns": p.columns, "message": p.message}
        for p in problems
    ]
    # One cell may be wrong in the same words twice.
    return pl.DataFrame(records, schema=table.polars_schema).unique().sort(table.key)
