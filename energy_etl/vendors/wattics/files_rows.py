"""Which rows of a file can be sent: with a number, in time, each instant once, counters rising.

What cannot is noted as bad lines or told as notes; what a cell means is decided in `files.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from energy_etl.vendors.wattics.files_lines import BadLines
from energy_etl.vendors.wattics.wire import FIELDS

KEY: Final = ("stream_id", "stamped_at")
FALLS: Final = (
    "Wattics subtracts successive numbers, so energy would be taken back; if the meter was reset "
    "or exchanged, add to these numbers what"
)
# A last packet of 1970 stands for "nothing received yet" at the vendor.
_FIRST_YEAR: Final = 1971


def with_values(rows: pl.DataFrame, notes: list[str]) -> pl.DataFrame:
    """Rows with a number in them; -0.0 and 0.0 are equal and become the same text."""
    fields = [name for name in FIELDS if name in rows.columns and rows[name].count()]
    rows = rows.select(
        "line",
        *KEY,
        *(pl.when(pl.col(f) == 0.0).then(0.0).otherwise(pl.col(f)).alias(f) for f in fields),
    )
    kept = rows.filter(pl.any_horizontal(pl.lit(value=False), pl.col(fields).is_not_null()))
    if n_without := rows.height - kept.height:
        notes.append(f"{n_without} lines without any value were left out: they are holes.")
    return kept


def in_time(
    rows: pl.DataFrame, ahead: Mapping[str, timedelta], now: datetime, bad: BadLines
) -> pl.DataFrame:
    """Rows that are neither ahead of now nor of the time that stands for "none"."""
    latest = pl.lit(now) + pl.col("stream_id").replace_strict(
        ahead, return_dtype=pl.Duration("us"), default=timedelta(0)
    )
    is_ahead = pl.col("stamped_at") > latest
    is_ancient = pl.col("stamped_at").dt.year() < _FIRST_YEAR
    # As text: in UTC the ends of the calendar are years that Python has not.
    shown = ("line", pl.col("stamped_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("at"))
    bad.add(
        rows.filter(is_ahead).select(shown),
        lambda row: (
            f"{row['at']} is still to come: it would bar the way of every packet before it; check "
            "the stamps and the stream's zone in streams.csv"
        ),
    )
    bad.add(
        rows.filter(is_ancient).select(shown),
        lambda row: f"{row['at']} is before {_FIRST_YEAR}: check the stamps",
    )
    return rows.filter(~is_ahead, ~is_ancient)


def in_order(rows: pl.DataFrame, bad: BadLines, notes: list[str]) -> pl.DataFrame:
    """Rows by stream and instant, each instant once; contradictions are bad, all of them."""
    rows = rows.sort("line")
    is_late = pl.col("stamped_at") < pl.col("stamped_at").cum_max().over("stream_id")
    if n_late := rows.select(is_late.sum()).item():
        notes.append(f"{n_late} lines were not in order of time: they were sorted.")
    rows = rows.sort(*KEY, "line")
    same_as_before = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in KEY)
    if not rows.select(same_as_before.any()).item():
        return rows
    is_repeated = same_as_before | same_as_before.shift(-1)
    marked = rows.with_columns(is_repeated=is_repeated.fill_null(value=False))
    repeated = marked.filter("is_repeated").drop("is_repeated")
    others = [name for name in rows.columns if name not in ("line", *KEY)]
    groups = repeated.group_by(KEY).agg(
        n_bodies=pl.struct(others).n_unique(), first_line=pl.col("line").min()
    )
    told = repeated.join(groups, on=KEY)
    bad.add(
        told.filter(pl.col("n_bodies") > 1),
        lambda row: (
            f"{row['stamped_at'].isoformat()} is given more than once with different numbers, "
            f"first in line {row['first_line']}"
        ),
    )
    same = told.filter(pl.col("n_bodies") == 1)
    if not same.is_empty():
        n_left_out = same.height - groups.filter(pl.col("n_bodies") == 1).height
        notes.append(f"{n_left_out} lines that repeat another one were left out.")
    once = same.filter(pl.col("line") == pl.col("first_line")).select(rows.columns)
    single = marked.filter(~pl.col("is_repeated")).select(rows.columns)
    return pl.concat([single, once]).sort(KEY)


def counting(rows: pl.DataFrame, counters: Sequence[str], bad: BadLines) -> pl.DataFrame:
    """Rows whose counters are not below an earlier row of their stream."""
    fell = {name: pl.col(name) < pl.col(name).cum_max().over("stream_id") for name in counters}
    if not rows.select(pl.any_horizontal(pl.lit(value=False), *fell.values()).any()).item():
        return rows
    marked = rows.with_columns(
        fallen=pl.coalesce(
            pl.when(is_fallen).then(pl.lit(name)) for name, is_fallen in fell.items()
        )
    )
    bad.add(
        marked.filter(pl.col("fallen").is_not_null()),
        lambda row: f"{row['fallen']} falls to {row[row['fallen']]}: {FALLS} it showed before",
    )
    return marked.filter(pl.col("fallen").is_null()).select(rows.columns)
