"""Our errors as Dagster failures: the run's first line is the sentence, and nothing retries it."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec

import dagster as dg

from energy_etl.errors import EnergyEtlError

Arguments = ParamSpec("Arguments")


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
