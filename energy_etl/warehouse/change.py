"""`Change`: what one write did to a table. How it is found out: `writing.py`."""

from dataclasses import dataclass, field
from datetime import date

import polars as pl


@dataclass(frozen=True)
class Change:
    """What one write did.

    Attributes:
        n_added: rows inserted.
        n_removed: rows deleted (a changed row is one of each).
        months: first days of the UTC months that changed; empty for a table without time column.
        windows: one row per id that changed: the key columns without time and version, with
            `from_at` and `to_at`, the first and the last instant of its changed rows; no columns
            when nothing changed or the table has no time column in its key.
        kept_ids: the ids for which the batch was empty although they had rows: rows kept.
    """

    n_added: int = 0
    n_removed: int = 0
    months: tuple[date, ...] = ()
    windows: pl.DataFrame = field(default_factory=pl.DataFrame)
    kept_ids: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def is_change(self) -> bool:
        """True when the table's content differs from before."""
        return bool(self.n_added or self.n_removed)


def combined(changes: list[Change]) -> Change:
    """Return several writes to one table as one change."""
    windows = [change.windows for change in changes if change.windows.width]
    if windows:
        stacked = pl.concat(windows)
        ids = [name for name in stacked.columns if name not in ("from_at", "to_at")]
        merged = stacked.group_by(ids).agg(pl.col("from_at").min(), pl.col("to_at").max()).sort(ids)
    else:
        merged = pl.DataFrame()
    kept = [change.kept_ids for change in changes if change.kept_ids.width]
    return Change(
        n_added=sum(change.n_added for change in changes),
        n_removed=sum(change.n_removed for change in changes),
        months=tuple(sorted({month for change in changes for month in change.months})),
        windows=merged,
        kept_ids=pl.concat(kept).unique(maintain_order=True) if kept else pl.DataFrame(),
    )
