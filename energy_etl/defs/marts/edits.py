"""Who overruled what: decisions in the portfolio that nothing came of."""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.tables import Findings, Frames, Query, core
from energy_etl.transform.exchanges import compute_exchange_findings
from energy_etl.transform.manual_edits import compute_edit_findings

APPLIED: Final = Query(
    "manual_edits_applied",
    "SELECT register_id, rule, from_at FROM core.edit WHERE starts_with(rule, 'manual_')",
    (core.EDIT,),
)


def _find_edits(frames: Frames, now: datetime) -> pl.DataFrame:
    return compute_edit_findings(
        frames[core.MANUAL_EDIT.full_name], frames[APPLIED.full_name], now=now
    )


def _find_exchanges(frames: Frames, now: datetime) -> pl.DataFrame:
    return compute_exchange_findings(
        frames[core.EXCHANGE.full_name], frames[core.REGISTER.full_name], now=now
    )


FINDINGS: Final = (
    Findings((core.MANUAL_EDIT, APPLIED), _find_edits),
    Findings((core.EXCHANGE, core.REGISTER), _find_exchanges),
)
