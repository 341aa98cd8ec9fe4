"""Intervals -> energy per register and site-local hour and day.

The zone files are asked only for the bounds of days and hours (`periods.py`), once per zone and
day: the big frame of intervals is never converted to local time. Weeks and months are `spans.py`,
whole sites `site_energy.py`, windows of some days `windows.py`.
"""

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl

from energy_etl.periods import days_between, local_day_bounds, local_day_of, local_hours
from energy_etl.tables.mart import DAILY_ENERGY, HOURLY_ENERGY
from energy_etl.tables.model import UTC_INSTANT, Table
from energy_etl.transform.calendar_sums import sum_stretches
from energy_etl.transform.registers_grid import register_grid
from energy_etl.transform.registers_power import has_intervals

DAY_SCHEMA: Final = pl.Schema(
    {
        "lane": pl.Int64(),
        "zone": pl.String(),
        "local_on": pl.Date(),
        "start_at": UTC_INSTANT,
        "end_at": UTC_INSTANT,
    }
)


def compute_daily(
    intervals: pl.DataFrame | pl.LazyFrame,
    registers: pl.DataFrame,
    *,
    now: datetime,
    first_on: date | None = None,
) -> pl.DataFrame:
    """Add up intervals per register and local day, with a row for each day, also empty ones.

    An interval belongs to the local day that it starts in. The days of a register run from the
    day of its first interval (of `first_on`, when that is given: then for every register) to the
    day of `now`, which is not complete yet. Later intervals are left out.

    Args:
        intervals: `core.interval` (register_id, start_at, energy_kwh, volume_m3, quality,
            is_provisional), in any order, one row per key; those of registers that are not in
            `registers` are left out.
        registers: `core.register`, all of a site's; kind instant is left out, except for power
            that is integrated.
        now: the instant of the computation.
        first_on: first local day of every register.

    Returns:
        `mart.daily_energy`, sorted by register_id, local_on. `energy_kwh` and `volume_m3` are the
        sum of what is there, null when nothing is: never 0 for a day without data.
        `n_expected` counts the register's grid edges within the day, so 92 or 100 on a
        quarter-hour grid when the clock changes; `is_complete` is False until the day is over.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset, or a register's grid is less than a minute.
    """
    counted = _counted(registers)
    days = _days_of(intervals.lazy(), counted, now, first_on)
    if days.is_empty():
        return DAILY_ENERGY.empty_frame()
    sums = sum_stretches(intervals, counted, days)
    rows = _expected(counted, days, sums, is_from_first=first_on is None)
    return finished(rows, now, DAILY_ENERGY)


def compute_hourly(
    intervals: pl.DataFrame | pl.LazyFrame,
    registers: pl.DataFrame,
    *,
    now: datetime,
    first_on: date | None = None,
) -> pl.DataFrame:
    """Add up intervals per register and site-local hour, on the days that `compute_daily` has.

    An hour is one of the wall clock (`periods.local_hours`): a day has 23 to 25 of them, the
    repeated one twice, and a clock change by half an hour leaves one of half an hour. An interval
    belongs to the hour that it starts in, also when it is longer than that: then the hour has the
    energy of all of it, and the hours that no edge of the register's grid lies in have no row.
    So in every case the hours of a day add up to the day, in energy and in intervals.

    Args:
        intervals: as `compute_daily` takes them.
        registers: as `compute_daily` takes them.
        now: the instant of the computation; the hours of its day that are to come have rows too.
        first_on: first local day of every register.

    Returns:
        `mart.hourly_energy`, sorted by register_id, start_at, with the columns and the nulls of
        `compute_daily`.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset, or a register's grid is less than a minute.
    """
    counted = _counted(registers)
    days = _days_of(intervals.lazy(), counted, now, first_on)
    if days.is_empty():
        return HOURLY_ENERGY.empty_frame()
    hours = _hours_of(days)
    sums = sum_stretches(intervals, counted, hours)
    rows = _expected(counted, hours, sums, is_from_first=first_on is None)
    has_any = (expected_intervals() > 0) | pl.col("n_settled").is_not_null()
    return finished(rows.filter(has_any), now, HOURLY_ENERGY)


def counted_registers(registers: pl.DataFrame) -> pl.DataFrame:
    """Return those registers of `core.register` that intervals are computed of.

    Args:
        registers: all registers of the sites.
    """
    return registers.filter(has_intervals())


def with_grid(registers: pl.DataFrame) -> pl.DataFrame:
    """Add step_us and phase_us, the grid that the intervals of each register lie on.

    That is not always `grid_minutes`: an hourly register at Lord Howe has half-hour intervals,
    because its midnights are half an hour apart in summer and winter.
    """
    kinds = registers.select("zone", "grid_minutes").unique()
    grids = [register_grid(zone, minutes) for zone, minutes in kinds.iter_rows()]
    kinds = kinds.with_columns(
        step_us=pl.Series([grid.step_us for grid in grids], dtype=pl.Int64),
        phase_us=pl.Series([grid.phase_us for grid in grids], dtype=pl.Int64),
    )
    return registers.join(kinds, on=["zone", "grid_minutes"], maintain_order="left")


def expected_intervals() -> pl.Expr:
    """Count the grid edges within [start_at, end_at), beside the columns of `with_grid`."""
    # Minus the floor of the negative is the ceiling, in integers.
    edges_before = [
        -((pl.col("phase_us") - pl.col(bound).dt.epoch("us")) // pl.col("step_us"))
        for bound in ("start_at", "end_at")
    ]
    return edges_before[1] - edges_before[0]


def length_hours() -> pl.Expr:
    """Return the length of [start_at, end_at) in hours."""
    return (pl.col("end_at") - pl.col("start_at")).dt.total_seconds() / 3600.0


def finished(rows: pl.DataFrame, now: datetime, table: Table) -> pl.DataFrame:
    """Add what follows from counts and bounds, and bring the rows into the table's columns.

    Args:
        rows: the table's keys, start_at, end_at, step_us, phase_us; energy_kwh, volume_m3, and the
            intervals found: n_measured, n_estimated, n_settled (with a value, not provisional).
        now: what ends later is not complete.
        table: one of those that have the columns of `mart.daily_energy`.
    """
    return (
        rows.with_columns(
            pl.col("n_measured", "n_estimated", "n_settled").fill_null(0).cast(pl.Int64),
            n_expected=expected_intervals(),
            hours=length_hours(),
        )
        .with_columns(
            coverage_pct=pl.when(pl.col("n_expected") > 0)
            .then(100.0 * pl.col("n_measured") / pl.col("n_expected"))
            .otherwise(0.0),
            is_complete=(pl.col("n_expected") > 0)
            & (pl.col("n_settled") >= pl.col("n_expected"))
            & (pl.col("end_at") <= now),
        )
        .select(table.polars_schema.names())
        .cast(table.polars_schema)
    )


def list_days(zone: str, first_on: date, now: datetime) -> list[tuple[date, datetime, datetime]]:
    """List the local days of a zone from first_on to the one of `now`: date, start, end.

    A date that the zone left out is not among them.

    Raises:
        ConfigurationError: the zone is unknown.
        TransformError: `now` has no offset.
    """
    days = days_between(first_on, local_day_of(zone, now) + timedelta(days=1))
    bounds = [(day, *local_day_bounds(zone, day)) for day in days]
    return [(day, start_at, end_at) for day, start_at, end_at in bounds if end_at > start_at]


def _counted(registers: pl.DataFrame) -> pl.DataFrame:
    return (
        counted_registers(registers)
        .select("register_id", "site_id", "zone", "grid_minutes")
        .sort("register_id")
        .with_row_index("register_no")
    )


def _days_of(
    lazy: pl.LazyFrame, counted: pl.DataFrame, now: datetime, first_on: date | None
) -> pl.DataFrame:
    """One row per zone and local day: lane, zone, local_on, start_at, end_at."""
    first_at = None
    if first_on is None:
        first_at = lazy.select(pl.col("start_at").min()).collect(engine="streaming").item()
    days = [DAY_SCHEMA.to_frame()]
    for lane, zone in enumerate(counted["zone"].unique().sort()):
        day_on = first_on if first_at is None else local_day_of(zone, first_at)
        if day_on is not None:
            of_zone = _days_of_zone(zone, day_on, now)
            days.append(of_zone.select(pl.lit(lane, pl.Int64).alias("lane"), pl.all()))
    return pl.concat(days)


@lru_cache(maxsize=64)
def _days_of_zone(zone: str, first_on: date, now: datetime) -> pl.DataFrame:
    """The days of a zone; hours, days and each batch of registers ask for the same ones."""
    days = [(zone, *day) for day in list_days(zone, first_on, now)]
    return pl.DataFrame(days, schema=DAY_SCHEMA.to_frame().drop("lane").schema, orient="row")


def _hours_of(days: pl.DataFrame) -> pl.DataFrame:
    """The hours of the days: as the days, with local_hour."""
    hours = [local_hours(zone, day) for zone, day in days.select("zone", "local_on").iter_rows()]
    starts = pl.Series([[at for at, _ in each] for each in hours], dtype=pl.List(UTC_INSTANT))
    numbers = pl.Series([[number for _, number in each] for each in hours], dtype=pl.List(pl.Int64))
    exploded = days.with_columns(start_at=starts, local_hour=numbers).explode(
        "start_at", "local_hour"
    )
    # The last hour of a day ends with the day.
    following = pl.col("start_at").shift(-1).over("lane", "local_on")
    return exploded.with_columns(end_at=pl.coalesce(following, "end_at"))


def _expected(
    counted: pl.DataFrame, stretches: pl.DataFrame, sums: pl.DataFrame, *, is_from_first: bool
) -> pl.DataFrame:
    """Every register and stretch that must have a row, beside what was found for it, sorted.

    Each register has consecutive stretches, up to the last one of its zone: so the place of a row
    follows from its numbers, and it needs no join nor sort (a quarter of the time, for hours).
    """
    numbered = stretches.with_row_index("stretch_no")
    zones = numbered.group_by("zone").agg(
        first_no=pl.col("stretch_no").min(), last_no=pl.col("stretch_no").max()
    )
    spans = counted.select("register_no", "zone").join(zones, on="zone")
    if is_from_first:
        # All of the first day, whenever on it the first interval begins.
        of_day = pl.col("stretch_no").min().over("lane", "local_on")
        first = (
            sums.group_by("register_no")
            .agg(pl.col("stretch_no").min())
            .join(numbered.select("stretch_no", first_no=of_day), on="stretch_no")
        )
        spans = spans.drop("first_no").join(first.drop("stretch_no"), on="register_no")
    spans = spans.sort("register_no").select(
        "register_no", pl.col("first_no", "last_no").cast(pl.Int64)
    )
    grid = spans.select(
        "register_no", stretch_no=pl.int_ranges("first_no", pl.col("last_no") + 1)
    ).explode("stretch_no")
    length = pl.col("last_no") - pl.col("first_no") + 1
    places = sums.select("register_no", "stretch_no").join(
        spans.select("register_no", shift=length.cum_sum() - length - pl.col("first_no")),
        on="register_no",
        maintain_order="left",
    )
    found = np.full(grid.height, -1)
    found[places.select(pl.col("stretch_no") + pl.col("shift")).to_series().to_numpy()] = np.arange(
        sums.height
    )
    which = pl.Series(found).replace({-1: None})
    return pl.concat(
        [
            with_grid(counted)[grid["register_no"]],
            stretches.drop("lane", "zone")[grid["stretch_no"]],
            sums.drop("register_no", "stretch_no").select(pl.all().gather(which)),
        ],
        how="horizontal",
    )
