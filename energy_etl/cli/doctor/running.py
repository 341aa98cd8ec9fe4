"""Running checks: side by side, each within its time, and one that breaks is a row like others."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

from energy_etl.cli.doctor.rows import NETWORK, Row, fail, failed_by
from energy_etl.errors import EnergyEtlError

LIMIT_S: Final = 5.0
# Of what asks nobody: a busy machine takes many seconds to import Dagster and to open its storage.
LOCAL_LIMIT_S: Final = 30.0
_NO_ANSWER: Final = (
    "Check the network, a proxy or firewall on the way, and the address in settings."
)
_REPORT: Final = "When it stays so, report it with the file of `energy-etl support-bundle`."


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        what: what it looks at; the row's name when it breaks or does not end.
        look: does it.
        when_broken: what to do when it breaks in a way that nobody foresaw.
        is_call: it waits for somebody else's answer.
    """

    what: str
    look: Callable[[], Iterable[Row]]
    when_broken: str = _REPORT
    is_call: bool = False


def run_checks(
    checks: Sequence[Check], *, limit_s: float = LIMIT_S, local_limit_s: float = LOCAL_LIMIT_S
) -> tuple[list[Row], bool]:
    """Run all checks at once and return their rows, in the order of the checks.

    Args:
        checks: what to run.
        limit_s: how long those that call somebody may take.
        local_limit_s: how long the others may take.

    Returns:
        The rows, and whether every check has ended: one that hangs keeps its thread.
    """
    if not checks:
        return [], True
    # All begin at once, so the time of each is the time of all.
    pool = ThreadPoolExecutor(len(checks), thread_name_prefix="doctor")
    futures = [pool.submit(lambda check=check: list(check.look())) for check in checks]
    begun_s = time.monotonic()
    for is_call, most_s in ((False, local_limit_s), (True, limit_s)):
        pairs = zip(checks, futures, strict=True)
        mine = [future for check, future in pairs if check.is_call is is_call]
        wait(mine, timeout=max(0.0, begun_s + most_s - time.monotonic()))
    pool.shutdown(wait=False, cancel_futures=True)
    rows: list[Row] = []
    for check, future in zip(checks, futures, strict=True):
        rows += _rows_of(check, future, limit_s if check.is_call else local_limit_s)
    return rows, all(future.done() for future in futures)


def _rows_of(check: Check, future: Future[list[Row]], limit_s: float) -> list[Row]:
    if not future.done():
        if check.is_call:
            late = f"There was no answer within {limit_s:g} s."
            return [fail(check.what, late, _NO_ANSWER, NETWORK)]
        late = f"The check did not end within {limit_s:g} s."
        # Nothing is known to be broken, so nothing is to be moved away.
        return [fail(check.what, late, f"Run it again when the machine is less busy. {_REPORT}")]
    # Asked for and not caught: whatever broke the check must not end the others.
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, EnergyEtlError):
        return [failed_by(check.what, error)]
    told = f"{type(error).__name__}: {error}"[:300]
    return [fail(check.what, f"The check broke ({told}).", check.when_broken)]
