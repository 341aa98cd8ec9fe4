"""Our errors as Dagster failures: the run's first line is the sentence, and nothing retries it."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, ParamSpec

import dagster as dg
import polars as pl

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


def plainly(body: Callable[Arguments, Any]) -> Callable[Arguments, Any]:
    """Decorate an asset's body: an error of ours ends its step with that sentence.

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
    except (EnergyEtlError, BaseExceptionGroup) as error:
        ours = _ours(error)
        if ours is None:
            raise
        # Level-triggered sensors ask again for what is still due; a retry here would only hammer.
        raise dg.Failure(description=str(ours), allow_retries=False) from ours


def _ours(error: BaseException) -> EnergyEtlError | None:
    """Return the error of ours that this is, or the first one that a group of errors holds."""
    while isinstance(error, BaseExceptionGroup):
        group = error.subgroup(EnergyEtlError)
        if group is None:
            return None
        error = group.exceptions[0]
    return error if isinstance(error, EnergyEtlError) else None


def told_plainly(error: BaseException) -> str:
    """Return what one of `DATA_FAULTS` says to people: our errors are sentences already."""
    if isinstance(error, EnergyEtlError):
        return str(error)
    return (
        f"{type(error).__name__}: {error} (a fault of the program, not of the portfolio: report "
        "it with this run's log)"
    )
