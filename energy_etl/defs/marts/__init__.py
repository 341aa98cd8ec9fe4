"""What is computed into layer `mart`, found in and checked there: one module per question.

Each module may have `MARTS`, `FINDINGS` and `CHECKS` (tables/derived.py): which function of
`transform/` makes which table of which inputs. A vendor's own stand in its folder. Nothing is
computed here, and Dagster is not needed: `defs/assets/mart.py` and `defs/checks.py` run it.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any

import polars as pl

from energy_etl.tables import Check, Findings, Frames, Input, Mart, Plot, Query, Table
from energy_etl.tables.mart import FINDING
from energy_etl.vendors import discover_vendors


def made(
    table: Table,
    compute: Callable[..., pl.DataFrame],
    *inputs: Input,
    note: str = "",
    plot: Plot | None = None,
    numbers: Mapping[str, pl.Expr] | None = None,
) -> Mart:
    """Return the mart of a function that takes its inputs in order, and `now` by name."""

    def called(frames: Frames, now: Any) -> pl.DataFrame:
        return compute(*(frames[each.full_name] for each in inputs), now=now)

    return Mart(table, inputs, called, note, plot, numbers or {})


def found(find: Callable[..., pl.DataFrame], *inputs: Input) -> Findings:
    """Return the findings of a function that takes its inputs in order, whenever it is asked."""

    def called(frames: Frames, now: Any) -> pl.DataFrame:
        del now
        return find(*(frames[each.full_name] for each in inputs))

    return Findings(inputs, called)


def all_marts() -> list[Mart]:
    """Return every mart, the shared ones and the vendors', each after those it is made of."""
    marts = [*_each("MARTS"), *(mart for v in discover_vendors().values() for mart in v.marts)]
    marts.append(_finding_mart(all_findings()))
    by_table = {mart.table: mart for mart in marts}
    order = TopologicalSorter(
        {m.table: [t for t in tables_of(m.inputs) if t in by_table] for m in marts}
    )
    return [by_table[table] for table in order.static_order()]


def all_findings() -> list[Findings]:
    """Return what is looked for, in everybody's tables and in each vendor's."""
    of_vendors = [v.findings for v in discover_vendors().values() if v.findings]
    return [*_each("FINDINGS"), *of_vendors]


def all_checks() -> list[Check]:
    """Return the checks of everybody's tables and of each vendor's."""
    return [*_each("CHECKS"), *(check for v in discover_vendors().values() for check in v.checks)]


def tables_of(inputs: Iterable[Input]) -> tuple[Table, ...]:
    """Return the tables behind inputs, each once, in order."""
    of_each = (each.tables if isinstance(each, Query) else (each,) for each in inputs)
    return tuple(dict.fromkeys(table for tables in of_each for table in tables))


def _each(name: str) -> Iterator[Any]:
    for info in pkgutil.iter_modules(__path__, f"{__name__}."):
        yield from getattr(importlib.import_module(info.name), name, ())


def _finding_mart(all_of_them: list[Findings]) -> Mart:
    def compute(frames: Frames, now: Any) -> pl.DataFrame:
        rows = pl.concat([FINDING.empty_frame(), *(each.find(frames, now) for each in all_of_them)])
        # The same fault may be seen from two sides; one row tells it.
        ordered = rows.sort(*FINDING.key, "message")
        return ordered.unique(list(FINDING.key), keep="first", maintain_order=True)

    inputs = dict.fromkeys(item for each in all_of_them for item in each.inputs)
    return Mart(
        FINDING,
        tuple(inputs),
        compute,
        note="What cleaning, coverage, tariffs, the portfolio and the vendors' tables show.",
        plot=Plot("kind", "n", "sum"),
    )
