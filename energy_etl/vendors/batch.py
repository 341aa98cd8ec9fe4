"""What the calls of one fetch say: rows, and the way each table takes them.

What an answer means is in the vendor's `rows.py`, the writing is in `warehouse`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import polars as pl

from energy_etl.errors import EnergyEtlError
from energy_etl.tables import Table
from energy_etl.tables.raw import QUARANTINE

# Between which instants a version held; `write_listing` fills them in.
FROM_AT: Final = "valid_from_at"
_BOUNDS: Final = frozenset({FROM_AT, "valid_to_at"})


@dataclass(frozen=True)
class Window:
    """Replace: the rows of `ids` within [from_at, to_at) were fetched whole.

    Attributes:
        ids: one row per fetched thing; its columns are columns of the table.
        time_column: the table's column that the window cuts.
    """

    ids: pl.DataFrame
    time_column: str
    from_at: datetime
    to_at: datetime


@dataclass(frozen=True)
class Whole:
    """Replace: everything that the table holds of `ids` came whole, at no matter what instants.

    Attributes:
        ids: one row per thing; its columns are columns of the table.
    """

    ids: pl.DataFrame


@dataclass(frozen=True)
class Listing:
    """Keep what was listed as versions in time: appeared, changed, moved, vanished.

    The table has `valid_from_at` (in its key) and `valid_to_at` (null: still so); the frame comes
    without them.

    Attributes:
        scopes: one row per COMPLETE listing; its columns are columns of the table. What stood
            within a scope and is not in the frame has vanished. Empty: nothing vanishes.
        at: when the vendor was asked.
    """

    scopes: pl.DataFrame
    at: datetime


def listing_frame(table: Table, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return what was listed as a `Listing` takes it; of two rows for one thing the last counts."""
    schema = {name: kind for name, kind in table.polars_schema.items() if name not in _BOUNDS}
    things = [name for name in table.key if name != FROM_AT]
    frame = pl.DataFrame(rows, schema=schema)
    return frame.unique(subset=things, keep="last", maintain_order=True)


How = Window | Whole | Listing | Literal["merge", "append_versions"]


@dataclass(frozen=True)
class Write:
    """Rows for one table and the way to bring them in.

    `Window` is `replace_window`, `Whole` is `replace_whole`, `Listing` is `write_listing`, "merge"
    is by the table's key,
    "append_versions" adds only new and changed values of `core.reading` as versions.
    """

    table: Table
    frame: pl.DataFrame
    how: How


@dataclass(frozen=True)
class Problem:
    """One answer that could not be used: the rest of the fetch was."""

    subject: str
    error: EnergyEtlError


@dataclass
class VendorBatch:
    """What the calls of one fetch say, ready to be written in one transaction."""

    writes: list[Write] = field(default_factory=list)
    quarantine: pl.DataFrame = field(default_factory=QUARANTINE.empty_frame)
    problems: list[Problem] = field(default_factory=list)

    def frame(self, table: Table) -> pl.DataFrame:
        """Return all rows for one table, in its schema."""
        frames = [write.frame for write in self.writes if write.table is table]
        return pl.concat(frames) if frames else table.empty_frame()


@dataclass(frozen=True)
class WhoIsWho:
    """The part of the portfolio that turns a vendor's ids into ours (tables of layer core)."""

    alias: pl.DataFrame
    register: pl.DataFrame
    meter: pl.DataFrame
