"""What the portfolio overrules, from whole tables to findings."""

import polars as pl

from energy_etl.defs.marts.edits import APPLIED, FINDINGS
from energy_etl.tables import core
from energy_etl.tables.mart import FINDING
from energy_etl_tests.transform.register_frames import (
    LATER,
    exchanges,
    manual_edit,
    manual_edits,
    minutes,
    register,
    registers,
)


def test_lost_edits_and_overlapping_exchanges_are_findings_of_one_table() -> None:
    frames = {
        core.MANUAL_EDIT.full_name: manual_edits(manual_edit("drop", 0, 60)),
        APPLIED.full_name: core.EDIT.empty_frame(),
        core.EXCHANGE.full_name: exchanges(
            ("a", minutes(0), 10.0, 5.0), ("a", minutes(600), 2.0, 0.0)
        ),
        core.REGISTER.full_name: registers(register(digits=None)),
    }
    assert {item.full_name for each in FINDINGS for item in each.inputs} == set(frames)
    found = pl.concat([FINDING.empty_frame(), *(each.find(frames, LATER) for each in FINDINGS)])
    assert found["kind"].to_list() == ["manual_edit_without_reading", "overlapping_exchanges"]
