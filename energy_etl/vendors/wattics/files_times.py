"""Local times without offset, in the order of a file, to instants.

A local time of the night when clocks go back happened twice. A file in order tells which is meant:
its first pass through that hour is summer time, its second standard time. Where the order does not
tell (one pass only, three, a file out of order) the lines are bad; a wrong guess would move energy
by an hour and could never be taken back. A local time that clocks skipped is bad too.
"""

from datetime import timedelta
from typing import Final

import polars as pl

from energy_etl.vendors.wattics.files_lines import BadLines

# Two changes of clocks are months apart.
_ANOTHER_NIGHT: Final = timedelta(days=2)


def to_instants(rows: pl.DataFrame, zone: str, bad: BadLines) -> pl.DataFrame:
    """Return the rows with stamped_at (UTC) instead of local_at (naive); others are noted as bad.

    Args:
        rows: line, local_at and any more, in the file's order.
        zone: of the local times.
        bad: takes the lines whose instant is not known.
    """
    rows = rows.with_columns(
        early=_instant(zone, "earliest"),
        late=_instant(zone, "latest"),
    )
    is_skipped = pl.col("early").is_null()
    bad.add(
        rows.filter(is_skipped),
        lambda row: f"{row['local_at']} did not happen in {zone}: clocks went forward over it",
    )
    rows = rows.filter(~is_skipped).with_columns(stamped_at="early")
    is_twofold = pl.col("early") != pl.col("late")
    twofold = rows.filter(is_twofold)
    if not twofold.is_empty():
        passes = _passes(rows, twofold)
        bad.add(
            twofold.join(passes.filter(pl.col("pass").is_null()), on="line", how="semi"),
            lambda row: (
                f"{row['local_at']} happened twice that night in {zone} and the order of the lines "
                "does not tell which one it is: give both hours in order, or JSON lines with "
                "offsets"
            ),
        )
        rows = (
            rows.join(passes, on="line", how="left", maintain_order="left")
            .filter(~is_twofold | pl.col("pass").is_not_null())
            .with_columns(stamped_at=pl.when(pl.col("pass") == 1).then("late").otherwise("early"))
            .drop("pass")
        )
    return rows.drop("local_at", "early", "late")


def _instant(zone: str, which: str) -> pl.Expr:
    local = pl.col("local_at").dt.replace_time_zone(
        zone,
        ambiguous=pl.lit(which),
        non_existent="null",
    )
    return local.dt.convert_time_zone("UTC")


def _passes(rows: pl.DataFrame, twofold: pl.DataFrame) -> pl.DataFrame:
    """line, pass (0 summer time, 1 standard time, null: not known) of the twofold rows."""
    step = pl.col("local_at").diff()
    n_up, n_down = rows.select(
        up=(step > timedelta(0)).sum(), down=(step < timedelta(0)).sum()
    ).row(0)
    if n_down > n_up:
        # Newest first: read from its end.
        rows, twofold = rows.reverse(), twofold.reverse()
    nights = (
        twofold.select("early")
        .unique()
        .sort("early")
        .with_columns(
            night=(pl.col("early").diff() > _ANOTHER_NIGHT).fill_null(value=False).cum_sum()
        )
    )
    # Surely out of order: even the later of its two instants is before the earlier of another's.
    is_ordered = not rows.select((pl.col("late") < pl.col("early").cum_max()).any()).item()
    begins_again = (pl.col("local_at") <= pl.col("local_at").shift()).fill_null(value=False)
    return (
        twofold.join(nights, on="early", maintain_order="left")
        .with_columns(again=begins_again.over("night"))
        .select(
            "line",
            pl.when((pl.col("again").sum().over("night") == 1) & pl.lit(is_ordered))
            .then(pl.col("again").cum_sum().over("night"))
            .alias("pass"),
        )
    )
