"""Errors as Dagster failures: the run's first line is a sentence, and nothing retries it.

Who is told of it is in `alerts.py`.
"""

import errno
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, ParamSpec

import dagster as dg
import polars as pl
from dagster._core.execution.plan.objects import StepFailureData

from energy_etl.errors import EnergyEtlError

Arguments = ParamSpec("Arguments")

# What a computation may raise over figures that nobody foresaw: what is computed beside it must not
# pay for it. What the machine lacks (memory, disk, a lock) is none of them and ends the step.
DATA_FAULTS: Final = (
    EnergyEtlError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
# What ends a step is told in a sentence too, whatever it is.
_STEP_FAULTS: Final = (*DATA_FAULTS, OSError, MemoryError, RuntimeError, AssertionError)
_MOST_SAID: Final = 1000


class StepFailed(dg.Failure):
    """How a step of ours ends; Dagster shows it as `StepFailed: <sentence>`."""

    # Python names the module in front of an exception, and Dagster shows what Python says; only of
    # built-in ones the module is left out.
    __module__ = "builtins"


def plainly(body: Callable[Arguments, Any]) -> Callable[Arguments, Any]:
    """Decorate the body of an asset, a check or an op: an error ends its step with a sentence.

    Goes below the asset decorator, which reads the signature through it.
    """
    if inspect.isgeneratorfunction(body):

        @functools.wraps(body)
        def generator(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
            with _as_failure():
                yield from body(*args, **kwargs)

        return generator

    @functools.wraps(body)
    def function(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
        with _as_failure():
            return body(*args, **kwargs)

    return function


@contextmanager
def _as_failure() -> Iterator[None]:
    # No `except*`: it would hand on the failure in a group, which Dagster does not look into.
    try:
        yield
    except (*_STEP_FAULTS, BaseExceptionGroup) as error:
        first = _first(error)
        if first is None:
            raise
        # Level-triggered sensors ask again for what is still due; a retry here would only hammer.
        # In one line: Dagster's lists show no second one.
        sentence = " ".join(told_plainly(first).split())
        raise StepFailed(description=sentence, allow_retries=False) from first


def _first(error: BaseException) -> BaseException | None:
    """Return this error, or of a group the first one of ours, else the first that is told."""
    for kinds in (EnergyEtlError, _STEP_FAULTS):
        found = error
        while isinstance(found, BaseExceptionGroup):
            group = found.subgroup(kinds)
            if group is None:
                break
            found = group.exceptions[0]
        if isinstance(found, kinds):
            return found
    return None


def told_plainly(error: BaseException) -> str:
    """Return what an error says to people, in one line: our errors are sentences already."""
    if isinstance(error, EnergyEtlError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory was not enough: take a shorter range, or end other programs, and retry."
    said = " ".join(str(error).split())[:_MOST_SAID]
    if isinstance(error, OSError):
        place = error.filename or "a file or a connection"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"The disk of {place} is full: free some space and run again."
        return (
            f"{place} cannot be used ({error.strerror or said}): check that it exists, its rights "
            "and the free disk space, then run again."
        )
    return (
        f"{type(error).__name__}: {said} (a fault of the program, not of the portfolio: report "
        "it with this run's log)"
    )


def failed_step_sentence(failed: StepFailureData) -> str:
    """Return what a step says of its failure: our sentence, or what was raised in the end."""
    if failed.user_failure_data and failed.user_failure_data.description:
        return failed.user_failure_data.description
    error = failed.error
    while error and error.cause:
        error = error.cause
    return error.message.strip() if error else "It failed without saying why."


def failed_run_sentence(
    instance: dg.DagsterInstance, run_id: str, failure: dg.DagsterEvent | None
) -> str:
    """Return what a failed run says, in one line: its first failed step's sentence.

    Args:
        instance: where the run's events are.
        run_id: the run.
        failure: its RUN_FAILURE event; tells what happened when no step began to run.
    """
    steps = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    said = [
        failed_step_sentence(record.event_log_entry.dagster_event.step_failure_data)
        for record in steps
        if record.event_log_entry.dagster_event is not None
    ]
    if not said and failure is not None:
        error = failure.job_failure_data.error if failure.event_specific_data else None
        while error and error.cause:
            error = error.cause
        said = [error.message if error else failure.message or "It ended without saying why."]
        said[0] = f"{said[0].strip().rstrip('.')}: open the run in the UI for its log."
    text = " ".join(said[0].split())[:_MOST_SAID] if said else "It ended without saying why."
    return text + (f" ({len(said) - 1} more steps failed.)" if len(said) > 1 else "")
