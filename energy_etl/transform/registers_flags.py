"""Qualities and flags of intervals as small integers, and back to the columns of `core.interval`.

A list of strings per interval costs as much as everything else together, so flags travel as bits
and become lists once, through a table of the combinations that occur.
"""

from enum import IntEnum, IntFlag
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

Codes = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.int32]


class Quality(IntEnum):
    """How an interval's total came about."""

    MEASURED = 0
    INTEGRATED = 1
    ESTIMATED = 2
    MISSING = 3
    IMPLAUSIBLE = 4


class Flag(IntFlag):
    """What happened within an interval.

    `late` and `duplicate` are about how readings arrived, not about energy: the same set of
    readings gives the same intervals, whatever the order in which days were loaded; a repeated
    value is not even stored. So they are not among these. `provisional` is a column. `manual`: a
    value that a person replaced is among those the total leans on.
    """

    RESET = 1
    ROLLOVER = 2
    EXCHANGE = 4
    LEVEL = 8
    DIP = 16
    ZERO_GLITCH = 32
    FALSE_LOW = 64
    FALSE_HIGH = 128
    CORRECTED = 256
    GAP = 512
    SUSPECT = 1024
    STUCK = 2048
    ZERO_FILLED = 4096
    INTERPOLATED_EDGE = 8192
    MANUAL = 16384


QUALITY_NAMES: Final = pl.Series([quality.name.lower() for quality in Quality], dtype=pl.String)
PROVISIONAL_REASON: Final = "provisional: no second reading after it yet"
_HOLD_REASONS: Final = pl.Series(
    [
        None,
        None,
        None,
        "missing: no reading covers it",
        "implausible: the register contradicts itself here and nothing explains it",
    ],
    dtype=pl.String,
)
_NO_VALUE_REASON: Final = "no value: the register's unit is neither an energy nor a volume"


def flag_lists(masks: Masks) -> pl.Series:
    """Return the names of each mask's flags, in the order of `Flag`."""
    # Counting instead of np.unique, whose sort alone took a sixth of the time of all intervals.
    n_of_mask = np.bincount(masks)
    present = np.flatnonzero(n_of_mask)
    code_of_mask = np.zeros(len(n_of_mask), dtype=np.uint32)
    code_of_mask[present] = np.arange(len(present))
    names = [[flag.name.lower() for flag in Flag if flag & int(m) and flag.name] for m in present]
    return pl.Series(names, dtype=pl.List(pl.String)).gather(pl.Series(code_of_mask[masks]))


def quality_names(codes: Codes) -> pl.Series:
    """Return the name of each quality."""
    if not codes.any():
        return QUALITY_NAMES.new_from_index(0, len(codes))
    return QUALITY_NAMES.gather(_places(codes))


def hold_reasons(codes: Codes, is_provisional: npt.NDArray[np.bool_], has_value: bool) -> pl.Series:
    """Say why each interval may not be delivered; null where it may.

    Args:
        codes: qualities.
        is_provisional: one per interval.
        has_value: False when the register's unit gives neither energy nor volume.
    """
    if not has_value:
        return pl.Series([_NO_VALUE_REASON]).new_from_index(0, len(codes))
    if codes.max(initial=0) < Quality.MISSING:
        reasons = pl.Series([None], dtype=pl.String).new_from_index(0, len(codes))
    else:
        reasons = _HOLD_REASONS.gather(_places(codes))
    held = np.flatnonzero(is_provisional & (codes < Quality.MISSING))
    return reasons.scatter(held, PROVISIONAL_REASON) if held.size else reasons


def _places(codes: Codes) -> pl.Series:
    # What `gather` would make of any other type, at three times the cost.
    return pl.Series(codes.astype(np.uint32))
