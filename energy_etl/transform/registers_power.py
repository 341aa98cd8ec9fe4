"""Power -> energy: totals of registers that show watts and have no energy counter beside them.

Energy is the time-weighted mean power of an interval times its length, so it has the quality
`integrated`: nobody counted it. Instantaneous power is averaged by the trapezoidal rule between
readings (`registers_samples.compute_samples`), a source that sends mean powers has done it itself
(`registers_totals.compute_interval_totals`). Which registers are computed so is said here, for
everything that adds up energy.
"""

from typing import Final

import numpy as np
import polars as pl

from energy_etl.transform.cleaning import IMPLAUSIBLE_NATIVE
from energy_etl.transform.registers_flags import Flag, Quality
from energy_etl.transform.registers_grid import Grid, GridTotals
from energy_etl.units import KW_PER_UNIT, KWH_PER_UNIT, MEAN_UNITS

_US_PER_HOUR: Final = 3_600_000_000


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


def count_own_direction(readings: pl.DataFrame) -> pl.DataFrame:
    """Return the readings with power against a register's own direction as 0.

    A register counts one direction: what flows the other way is another register's (export beside
    import), and noise around zero is no negative energy. What is no value (null, NaN, impossible)
    stays as it is: it is no zero.
    """
    reading = pl.col("reading")
    is_against = reading.is_between(-IMPLAUSIBLE_NATIVE, 0.0, closed="none")
    return readings.with_columns(pl.when(is_against).then(0.0).otherwise(reading).alias("reading"))


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
