"""What is wrong with the portfolio's files: rows that were left out, each with its place."""

from datetime import datetime
from typing import Final

from energy_etl.defs.marts import found
from energy_etl.tables import Check, Frames, Verdict, core
from energy_etl.transform.findings import compute_portfolio_findings

_PROBLEM: Final = core.PORTFOLIO_PROBLEM
_SHOWN: Final = 5


def _judge(frames: Frames, now: datetime) -> Verdict:
    del now
    problems = frames[_PROBLEM.full_name]
    more = problems.height - _SHOWN
    listed = " ".join(problems["message"].head(_SHOWN))
    message = (
        f"Rows of the portfolio are left out, and their streams wait: {listed}"
        + (f" And {more} more." if more > 0 else "")
        + " Mend the cells in data/portfolio; the next computation takes them in."
    )
    return Verdict(problems.is_empty(), {"n_problems": problems.height}, message)


FINDINGS: Final = (found(compute_portfolio_findings, _PROBLEM),)
CHECKS: Final = (
    Check(
        _PROBLEM,
        "portfolio_is_sound",
        "Every row of the portfolio's files can be used.",
        (_PROBLEM,),
        _judge,
    ),
)
