"""Flags as bits become lists of names."""

import numpy as np
import pytest

from energy_etl.transform.registers_flags import Flag, flag_lists

EVERY_FLAG = sum(Flag)


@pytest.mark.parametrize(
    "masks",
    [[], [0, 0], [EVERY_FLAG], [0, Flag.GAP, Flag.RESET | Flag.MANUAL, 0, Flag.GAP, EVERY_FLAG]],
    ids=["none", "no flag", "all flags", "mixed"],
)
def test_masks_in_any_order_name_their_own_flags(masks: list[int]) -> None:
    names = [[str(flag.name).lower() for flag in Flag if flag & mask] for mask in masks]
    assert flag_lists(np.asarray(masks, dtype=np.int32)).to_list() == names
