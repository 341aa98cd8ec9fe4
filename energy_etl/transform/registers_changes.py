"""What changed between the stored intervals of some registers and the recomputed ones.

So that a late reading rewrites the intervals whose evidence changed and no other row. Writing is
`warehouse`'s business.
"""

from dataclasses import dataclass

import polars as pl

from energy_etl.errors import TransformError
from energy_etl.tables.core import INTERVAL

_KEY = INTERVAL.key


@dataclass(frozen=True, slots=True)
class ChangedWindows:
    """Where stored and recomputed intervals differ.

    Attributes:
        windows: `register_id`, `from_at`, `to_at` (half-open), sorted; one row per unbroken run
            of intervals that differ, are new, or are gone.
        rows: the recomputed `core.interval` rows within the windows, sorted by key. A window
            without rows means that its stored rows go.
    """

    windows: pl.DataFrame
    rows: pl.DataFrame


def changed_windows(old: pl.DataFrame, new: pl.DataFrame) -> ChangedWindows:
    """Compare stored intervals with recomputed ones, row by row and whole rows.

    Args:
        old: stored `core.interval` rows of some registers, any order.
        new: recomputed rows of the SAME registers: a register that is only in `old` has lost all
            its intervals.

    Returns:
        The windows to replace and the rows to put there; both empty when nothing differs.

    Raises:
        TransformError: a frame lacks a column of `core.interval`.
    """
    before, after = _ordered(old, "stored"), _ordered(new, "recomputed")
    if before.equals(after):
        return ChangedWindows(_merged(after.clear()), after.clear())
    content = [name for name in INTERVAL.content_columns if name not in _KEY]
    both = after.join(before, on=_KEY, how="inner", suffix="_before")
    is_same = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(f"{name}_before")) for name in content
    )
    same = both.filter(is_same).select(_KEY)
    rows = after.join(same, on=_KEY, how="anti", maintain_order="left")
    gone = before.join(same, on=_KEY, how="anti")
    return ChangedWindows(_merged(pl.concat([rows, gone])), rows)


def _ordered(frame: pl.DataFrame, which: str) -> pl.DataFrame:
    missing = [name for name in INTERVAL.polars_schema if name not in frame.columns]
    if missing:
        raise TransformError(
            f"The {which} intervals lack the columns {', '.join(missing)}; "
            "hand over rows of core.interval."
        )
    frame = frame.select(INTERVAL.polars_schema.names()).cast(INTERVAL.polars_schema)
    # Sorting millions of rows that are sorted costs more than looking.
    start, register = pl.col("start_at"), pl.col("register_id")
    is_after = (register > register.shift()) | (
        (register == register.shift()) & (start > start.shift())
    )
    return frame if frame.select(is_after.all()).item() else frame.sort(_KEY)


def _merged(intervals: pl.DataFrame) -> pl.DataFrame:
    """Join neighbouring intervals of a register into windows."""
    spans = intervals.select("register_id", "start_at", "end_at").unique().sort(_KEY)
    is_new = (
        (pl.col("register_id") != pl.col("register_id").shift())
        | (pl.col("start_at") > pl.col("end_at").shift())
    ).fill_null(True)
    return (
        spans.with_columns(is_new.cum_sum().alias("window"))
        .group_by("window", maintain_order=True)
        .agg(
            pl.first("register_id"),
            pl.first("start_at").alias("from_at"),
            pl.max("end_at").alias("to_at"),
        )
        .drop("window")
    )
