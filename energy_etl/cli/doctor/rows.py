"""`Row`: what one check found, and what a list of them amounts to."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from energy_etl.cli import exit_code
from energy_etl.errors import EnergyEtlError

Verdict = Literal["ok", "warn", "fail"]
CONFIGURATION: Final = 3
NETWORK: Final = 5
FAILED: Final = 1
# The worst comes first: a wrong setting makes the other faults, not the other way round.
_WORST_FIRST: Final = (CONFIGURATION, 4, NETWORK, FAILED)

# For an error whose sentence has no advice.
UNADVISED: Final = "Mend what is told here, then run `energy-etl doctor` again."
# The verb that the advice of our errors begins with.
_ADVICE: Final = re.compile(
    r"[:;,.] ((?:ask|check|copy|correct|give|install|look|make|mend|restore|run|set|start|unset|"
    r"wait)\b)"
)


@dataclass(frozen=True)
class Row:
    """One line of `energy-etl doctor`.

    Attributes:
        what: what was looked at.
        verdict: ok; warn: it works, but somebody should look; fail: something does not work.
        cause: what was found.
        next_step: a command or a setting; empty when there is nothing to do.
        code: the exit code of a failing row.
    """

    what: str
    verdict: Verdict
    cause: str
    next_step: str = ""
    code: int = 0

    def plain(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "what": self.what,
            "verdict": self.verdict,
            "cause": self.cause,
            "next_step": self.next_step or None,
        }


def ok(what: str, cause: str) -> Row:
    """Return a row with nothing to do."""
    return Row(what, "ok", cause)


def warn(what: str, cause: str, next_step: str) -> Row:
    """Return a row that somebody should look at; it leaves the exit code alone."""
    return Row(what, "warn", cause, next_step)


def fail(what: str, cause: str, next_step: str, code: int = FAILED) -> Row:
    """Return a failing row."""
    return Row(what, "fail", cause, next_step, code)


def failed_by(what: str, error: EnergyEtlError) -> Row:
    """Return the failing row of an error of ours."""
    cause, next_step = in_two(str(error))
    return fail(what, cause, next_step, exit_code(error))


def in_two(sentence: str) -> tuple[str, str]:
    """Cut a sentence of `energy_etl.errors` into what happened and what to do next."""
    for found in _ADVICE.finditer(sentence):
        before, after = sentence[: found.start()], sentence[found.start(1) :]
        # What a vendor said stands in quotes, and may speak of checking and setting too.
        if after.count("(") == after.count(")") and after.count('"') % 2 == 0:
            return f"{before}.", f"{after[:1].upper()}{after[1:]}"
    return sentence, UNADVISED


def worst_code(rows: Iterable[Row]) -> int:
    """Return the exit code: 0 when nothing fails, else that of the worst failing row."""
    codes = {row.code for row in rows if row.verdict == "fail"}
    return next((code for code in _WORST_FIRST if code in codes), 0)
