"""Intervals -> energy per register and site-local day (`mart.daily_energy`).

The zone files are asked only for the day bounds (`periods.py`), once per zone and day: the big
frame of intervals is never converted to local time. Windows of several days are `windows.py`.
"""

from collections.abc import Iterable
from datetime import date, datetime

import polars as pl

from energy_etl.periods import days_between, local_day_bounds, local_day_of
from energy_etl.tables.mart import DAILY_ENERGY
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.axis import Axis
from energy_etl.transform.registers_grid import register_grid
from energy_etl.transform.registers_power import is_integrated
from energy_etl.transform.sums import exact_sum


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
    counted = (
        registers.filter((pl.col("kind") != "instant") | is_integrated())
        .select("register_id", "site_id", "zone", "grid_minutes")
        .sort("register_id")
        .with_row_index("register_no")
    )
    lazy = intervals.lazy()
    first_at = None
    if first_on is None:
        first_at = lazy.select(pl.col("start_at").min()).collect(engine="streaming").item()
        if first_at is None:
            return DAILY_ENERGY.empty_frame()
    days = _days_by_zone(counted["zone"].unique().sort(), now, first_at, first_on)
    if days.is_empty():
        return DAILY_ENERGY.empty_frame()
    sums = _sum_by_day(lazy, counted, days)
    rows = _expected_days(counted, days, sums, is_from_first=first_on is None)
    return _finish(rows, now)


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


def _days_by_zone(
    zones: Iterable[str], now: datetime, first_at: datetime | None, first_on: date | None
) -> pl.DataFrame:
    """One row per zone and local day: lane, zone, local_on, start_at, end_at."""
    rows = []
    for lane, zone in enumerate(zones):
        last_on = local_day_of(zone, now)
        day_on = first_on if first_at is None else local_day_of(zone, first_at)
        if day_on is None or day_on > last_on:
            continue
        for day in [*days_between(day_on, last_on), last_on]:
            start_at, end_at = local_day_bounds(zone, day)
            if end_at > start_at:  # a date that the zone left out has no row
                rows.append((lane, zone, day, start_at, end_at))
    schema = {
        "lane": pl.Int64(),
        "zone": pl.String(),
        "local_on": pl.Date(),
        "start_at": UTC_INSTANT,
        "end_at": UTC_INSTANT,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _sum_by_day(lazy: pl.LazyFrame, counted: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """One row per register_no and day that has intervals; the one pass over the big frame."""
    edges = pl.concat(
        [
            days.select("lane", edge_at="start_at"),
            days.group_by("lane").agg(edge_at=pl.col("end_at").max()),
        ]
    )
    axis = Axis.from_edges(edges)
    lanes = days.select("zone", "lane").unique()
    small = counted.join(lanes, on="zone").select("register_id", "register_no", "lane")
    value = pl.coalesce("energy_kwh", "volume_m3")
    has_value = value.is_not_null()
    # One integer as the key of the group costs about a fifth less than two columns.
    n_registers = counted.height
    cell = axis.stretch(pl.col("lane"), pl.col("start_at")) * n_registers + pl.col("register_no")
    by_cell = (
        lazy.join(small.lazy(), on="register_id")
        .select("energy_kwh", "volume_m3", "quality", "is_provisional", cell=cell.cast(pl.Int64))
        .group_by("cell")
        .agg(
            energy_kwh=exact_sum(pl.col("energy_kwh")),
            volume_m3=exact_sum(pl.col("volume_m3")),
            n_measured=(has_value & pl.col("quality").is_in(("measured", "integrated"))).sum(),
            n_estimated=(has_value & (pl.col("quality") == "estimated")).sum(),
            n_settled=(has_value & ~pl.col("is_provisional")).sum(),
        )
        .collect(engine="streaming")
    )
    starts = days.select(
        "zone",
        "local_on",
        stretch=axis.stretch(pl.col("lane"), pl.col("start_at")),
    )
    # The closing edges are the start of no day: what fell behind `now` or before the first day
    # goes here.
    return (
        by_cell.with_columns(
            register_no=(pl.col("cell") % n_registers).cast(counted.schema["register_no"]),
            stretch=pl.col("cell") // n_registers,
        )
        .join(counted.select("register_no", "zone"), on="register_no")
        .join(starts, on=["zone", "stretch"])
    )


def _expected_days(
    counted: pl.DataFrame, days: pl.DataFrame, sums: pl.DataFrame, *, is_from_first: bool
) -> pl.DataFrame:
    """Every register-day that must have a row, beside what was found for it."""
    grid = with_grid(counted).join(days, on="zone")
    if is_from_first:
        first = sums.group_by("register_no").agg(since_on=pl.col("local_on").min())
        grid = grid.join(first, on="register_no").filter(pl.col("local_on") >= pl.col("since_on"))
    return grid.join(
        sums.drop("zone", "stretch", "cell"), on=["register_no", "local_on"], how="left"
    )


def _finish(rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return (
        rows.with_columns(
            pl.col("n_measured", "n_estimated", "n_settled").fill_null(0).cast(pl.Int64),
            n_expected=expected_intervals(),
            hours=(pl.col("end_at") - pl.col("start_at")).dt.total_minutes() / 60.0,
        )
        .with_columns(
            coverage_pct=pl.when(pl.col("n_expected") > 0)
            .then(100.0 * pl.col("n_measured") / pl.col("n_expected"))
            .otherwise(0.0),
            is_complete=(pl.col("n_expected") > 0)
            & (pl.col("n_settled") >= pl.col("n_expected"))
            & (pl.col("end_at") <= now),
        )
        .sort("register_id", "local_on")
        .select(DAILY_ENERGY.polars_schema.names())
        .cast(DAILY_ENERGY.polars_schema)
    )
