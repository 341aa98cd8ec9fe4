"""Power -> energy: totals of registers that show watts and have no energy counter beside them.

Energy is the time-weighted mean power of an interval times its length, so it has the quality
`integrated`: nobody counted it. Instantaneous power is averaged by the trapezoidal rule between
readings (`registers_samples.compute_samples`), a source that sends mean powers has done it itself
(`registers_totals.compute_interval_totals`). Which registers are computed so is said here, for
everything that adds up energy.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from energy_etl.transform.registers_flags import Flag, Quality
from energy_etl.transform.registers_grid import Grid, GridTotals
from energy_etl.transform.registers_values import Meter, highest_values, named_values
from energy_etl.units import KW_PER_UNIT, KWH_PER_UNIT, MEAN_UNITS

_US_PER_HOUR: Final = 3_600_000_000
_NEIGHBOUR_COLUMNS: Final = (
    "register_id",
    "meter_id",
    "site_id",
    "commodity",
    "role",
    "kind",
    "unit",
    "phase",
)


def is_integrated() -> pl.Expr:
    """Return the condition on `core.register` rows whose power becomes energy.

    To be asked of all registers of a meter at once, since one energy must count once. Beside a
    register that counts in the same role and commodity, power is no energy of its own; nor is a
    phase beside the power of all phases, nor an instantaneous power beside means of the same.
    """
    of_same = ("meter_id", "role", "commodity")
    is_power = (pl.col("kind") != "cumulative") & pl.col("unit").is_in(list(KW_PER_UNIT))
    is_mean = is_power & (pl.col("kind") == "interval")
    is_total = is_power & pl.col("phase").is_null()
    has_counter = ((pl.col("kind") != "instant") & pl.col("unit").is_in(list(KWH_PER_UNIT))).any()
    total = is_total & (is_mean | ~(is_mean & is_total).any().over(of_same))
    phase = ~is_total.any().over(of_same) & (is_mean | ~is_mean.any().over(of_same))
    return is_power & ~has_counter.over(of_same) & (total | phase)


def has_intervals() -> pl.Expr:
    """Return the condition on `core.register` rows that have rows in `core.interval`.

    What counts or sends totals, and power that becomes energy; the others have samples only. To be
    asked of all registers of a meter at once.
    """
    is_mean = (pl.col("kind") == "interval") & pl.col("unit").is_in(list(MEAN_UNITS))
    return ((pl.col("kind") != "instant") & ~is_mean) | is_integrated()


def compare_neighbours(
    registers: pl.DataFrame, left_out: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Say what else at its meter and its site decides about each register's intervals.

    Args:
        registers: `core.register`.
        left_out: others that stand beside them: register_id, meter_id, site_id, commodity, role,
            kind, unit, phase; None: there are none.

    Returns:
        `register_id`, `is_integrated` (its power becomes energy), `has_production` (something at
        its site produces), one row per row of `registers`.
    """
    known = registers.select(*_NEIGHBOUR_COLUMNS, is_asked=True)
    if left_out is not None:
        known = pl.concat([known, left_out.select(*_NEIGHBOUR_COLUMNS, is_asked=False)])
    return (
        known.with_columns(
            is_integrated=is_integrated(),
            has_production=(pl.col("role") == "production").any().over("site_id"),
        )
        .filter("is_asked")
        .select("register_id", "is_integrated", "has_production")
    )


def count_own_direction(readings: pl.DataFrame, meters: Sequence[Meter]) -> pl.DataFrame:
    """Return the readings with power against a register's own direction as 0.

    A register counts one direction: what flows the other way is another register's (export beside
    import), and noise around zero is no negative energy. What is no value (null, NaN, impossible,
    beyond the rating) stays as it is: it is no zero.
    """
    rule = named_values(readings, highest_values(meters))["rule"]
    is_against = (pl.col("reading") < 0) & rule.is_null()
    return readings.with_columns(reading=pl.when(is_against).then(0.0).otherwise(pl.col("reading")))


def compute_power_totals(samples: pl.DataFrame, grid: Grid) -> GridTotals:
    """Turn mean powers per interval into energies, from each register's first to its last.

    An interval that is covered only in part, or not at all, is `missing` (null, flag `gap`): a mean
    over some minutes says nothing about the others. The last one is open until another follows.

    Args:
        samples: `register`, `end_us`, `sample_native` (W or kW), `is_provisional` (covered in
            part); sorted by register and end, each interval once.
        grid: the grid of all of them.

    Returns:
        Totals sorted by register and end, in the unit of the power times hours (`end_native`
        unknown).
    """
    whole = samples.filter(~pl.col("is_provisional"))
    register, end_us = whole["register"].to_numpy(), whole["end_us"].to_numpy()
    if not register.size:
        return GridTotals.empty()
    first = np.flatnonzero(np.diff(register, prepend=register[0] - 1))
    last = np.append(first[1:], len(register)) - 1
    lengths = (end_us[last] - end_us[first]) // grid.step_us + 1
    start = np.concatenate(([0], np.cumsum(lengths)))
    n = int(start[-1])
    of_register = np.repeat(np.arange(len(first)), lengths)
    all_ends = end_us[first][of_register] + (np.arange(n) - start[of_register]) * grid.step_us
    which = np.repeat(np.arange(len(first)), last - first + 1)
    place = start[which] + (end_us - end_us[first][which]) // grid.step_us
    energy = np.full(n, np.nan)
    quality = np.full(n, Quality.MISSING, dtype=np.uint8)
    flags = np.full(n, Flag.GAP, dtype=np.int32)
    energy[place] = whole["sample_native"].to_numpy() * (grid.step_us / _US_PER_HOUR)
    quality[place], flags[place] = Quality.INTEGRATED, 0
    is_open = np.zeros(n, dtype=bool)
    is_open[start[1:] - 1] = True
    return GridTotals(
        register[first][of_register].astype(np.int64),
        all_ends,
        np.full(n, np.nan),
        energy,
        quality,
        flags,
        is_open,
    )
