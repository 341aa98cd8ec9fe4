"""Days -> energy per register and site-local week and month, the running ones too.

Hours and days are `calendar.py`'s; windows that are counted from today are in `windows.py`.
"""

from datetime import date, datetime
from typing import Final, Literal

import polars as pl

from energy_etl.periods import local_day_bounds, local_day_of
from energy_etl.tables.mart import MONTHLY_ENERGY, WEEKLY_ENERGY
from energy_etl.tables.model import UTC_INSTANT, Table
from energy_etl.transform.calendar import finished, with_grid
from energy_etl.transform.sums import exact_sum

# As Polars calls them; its weeks begin on Mondays.
Span = Literal["1w", "1mo"]

_SPAN_SCHEMA: Final = pl.Schema(
    {
        "zone": pl.String(),
        "span_on": pl.Date(),
        "next_on": pl.Date(),
        "start_at": UTC_INSTANT,
        "end_at": UTC_INSTANT,
    }
)


def compute_weekly(daily: pl.DataFrame, registers: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Add up days per register and local week from Monday to Sunday, up to the one of `now`.

    `n_expected` counts the register's grid edges within the whole week, by its length in UTC: also
    on days before the register's first one, on missing ones and on those to come.

    Args:
        daily: `mart.daily_energy`, up to the day of `now`.
        registers: `core.register` (register_id, site_id, zone, grid_minutes); days of others are
            left out.
        now: the instant of the computation.

    Returns:
        `mart.weekly_energy`, sorted by register_id, week_on; one row for each week from the
        register's first day on. `energy_kwh` and `volume_m3` are the sum of the days that have
        one, null when none has; `is_complete` is True when the week is over and each of its days
        is complete.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset, or a register's grid is less than a minute.
    """
    return _compute(daily, registers, now, "1w", WEEKLY_ENERGY, "week_on")


def compute_monthly(daily: pl.DataFrame, registers: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Add up days per register and local month, up to the one of `now`; as `compute_weekly` does.

    Returns:
        `mart.monthly_energy`, sorted by register_id, month_on.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset, or a register's grid is less than a minute.
    """
    return _compute(daily, registers, now, "1mo", MONTHLY_ENERGY, "month_on")


def _compute(
    daily: pl.DataFrame,
    registers: pl.DataFrame,
    now: datetime,
    span: Span,
    table: Table,
    name: str,
) -> pl.DataFrame:
    first = daily.group_by("register_id").agg(since_on=pl.col("local_on").min())
    known = with_grid(registers.select("register_id", "site_id", "zone", "grid_minutes")).join(
        first, on="register_id"
    )
    if known.is_empty():
        return table.empty_frame()
    spans = _spans_by_zone(known, now, span)
    # A register's first span is the one that its first day lies in.
    wanted = known.join(spans, on="zone").filter(pl.col("next_on") > pl.col("since_on"))
    found = daily.group_by("register_id", span_on=pl.col("local_on").dt.truncate(span)).agg(
        exact_sum(pl.col("energy_kwh")).alias("energy_kwh"),
        exact_sum(pl.col("volume_m3")).alias("volume_m3"),
        pl.col("n_measured", "n_estimated").sum(),
        # What complete days expect is all that the span does only when each of its days is there
        # and complete.
        n_settled=pl.col("n_expected").filter(pl.col("is_complete")).sum(),
    )
    rows = wanted.join(found, on=["register_id", "span_on"], how="left")
    return finished(rows.sort("register_id", "span_on").rename({"span_on": name}), now, table)


def _spans_by_zone(known: pl.DataFrame, now: datetime, span: Span) -> pl.DataFrame:
    """One row per zone and week or month, from the first one that a register of the zone has."""
    rows = []
    since = known.group_by("zone").agg(pl.col("since_on").min())
    for zone, since_on in since.iter_rows():
        names = pl.select(
            span_on=pl.date_range(
                pl.lit(since_on).dt.truncate(span), local_day_of(zone, now), interval=span
            )
        ).with_columns(next_on=pl.col("span_on").dt.offset_by(span))
        rows += [
            (zone, *name, _start(zone, name[0]), _start(zone, name[1])) for name in names.rows()
        ]
    return pl.DataFrame(rows, schema=_SPAN_SCHEMA, orient="row")


def _start(zone: str, day: date) -> datetime:
    return local_day_bounds(zone, day)[0]
