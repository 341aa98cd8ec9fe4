"""`Mart`, `Findings`, `Check`: tables and verdicts that are computed from other tables.

A vendor brings those of its own nouns (`vendors/<vendor>/`), those of everybody stand in
`defs/marts/`. Who reads the inputs and writes the result is `defs/`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import polars as pl

from energy_etl.tables.model import Table

Frames = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Query:
    """An input that is not a whole table: some columns or rows of big ones.

    Attributes:
        full_name: under which the frame is handed over; no table has it.
        sql: what gives the frame.
        tables: the tables it reads.
    """

    full_name: str
    sql: str
    tables: tuple[Table, ...]


Input = Table | Query


@dataclass(frozen=True)
class Plot:
    """What the Dagster UI draws of a table: one bar per value of `x`, or one line over `x`.

    Attributes:
        x: a date, an instant, a whole number or a text.
        y: a number; its unit is its suffix.
        how: what stands for the rows that share an x.
        only: the rows that are drawn; None: all.
        is_least_first: True begins with the smallest where x is a text: where little is bad.
    """

    x: str
    y: str
    how: Literal["sum", "mean", "median", "max"] = "sum"
    only: pl.Expr | None = None
    is_least_first: bool = False


@dataclass(frozen=True)
class Mart:
    """A table of layer mart, computed whole with all other marts.

    Attributes:
        table: what is computed.
        inputs: what it is made of: tables (marts too) and queries.
        compute: (frames by full name, now) -> the table's rows; pure.
        note: for the UI: what makes it and how to read it.
        plot: for the UI; None: there is nothing to draw.
        numbers: for the UI: name -> aggregate over the table's rows.
    """

    table: Table
    inputs: tuple[Input, ...]
    compute: Callable[[Frames, datetime], pl.DataFrame]
    note: str = ""
    plot: Plot | None = None
    numbers: Mapping[str, pl.Expr] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """What somebody should look at.

    Attributes:
        inputs: the tables and queries that are looked at.
        find: (frames by full name, now) -> rows of mart.finding; pure.
    """

    inputs: tuple[Input, ...]
    find: Callable[[Frames, datetime], pl.DataFrame]


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        passed: False shows the asset as degraded.
        numbers: what was counted, for the UI.
        message: what is wrong and what to do next; of one that passed it is dropped.
    """

    passed: bool
    numbers: Mapping[str, int | float | str]
    message: str = ""

    def __post_init__(self) -> None:
        """Say nothing when nothing is wrong."""
        if self.passed:
            object.__setattr__(self, "message", "")


@dataclass(frozen=True)
class Check:
    """An asset check.

    Attributes:
        table: the asset it is shown at.
        name: in the UI, snake_case.
        description: what has to hold.
        inputs: the tables and queries that are looked at.
        judge: (frames by full name, now) -> verdict; pure.
        is_blocking: True stops what is downstream in the same run: only for faults of a whole
            table; the quality of single rows is a matter of the rows.
    """

    table: Table
    name: str
    description: str
    inputs: tuple[Input, ...]
    judge: Callable[[Frames, datetime], Verdict]
    is_blocking: bool = False
