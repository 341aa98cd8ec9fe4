"""Our errors as Dagster failures: the run's first line is the sentence, and nothing retries it."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import dagster as dg

from energy_etl.errors import EnergyEtlError

Arguments = ParamSpec("Arguments")


def failure(error: BaseException) -> dg.Failure:
    """Return the failure of an error; of a group the first of ours, for it is the cause."""
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(EnergyEtlError)
        error = (ours or error).exceptions[0]
    # Level-triggered sensors ask again for what is still due; a retry here would only hammer.
    return dg.Failure(description=str(error), allow_retries=False)


def plainly(body: Callable[Arguments, Any]) -> Callable[Arguments, Any]:
    """Decorate an asset's body: an error of ours ends its step with that sentence.

    Goes below the asset decorator, which reads the signature through it.
    """
    if inspect.isgeneratorfunction(body):

        @functools.wraps(body)
        def generator(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
            try:
                yield from body(*args, **kwargs)
            except* EnergyEtlError as group:
                raise failure(group) from group

        return generator

    @functools.wraps(body)
    def function(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
        try:
            return body(*args, **kwargs)
        except* EnergyEtlError as group:
            raise failure(group) from group

    return function
