"""`Subject`: what the checks look at, read once."""

import contextlib
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http.client import HTTPException
from typing import Final

from energy_etl.cli.doctor.holders import Process, lock_holders
from energy_etl.cli.project import with_running_sandbox
from energy_etl.defs.resources import Etl
from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import Portfolio
from energy_etl.settings import Settings

_ANSWER_S: Final = 1.0


@dataclass(frozen=True)
class Subject:
    """One project.

    Attributes:
        settings: with the sandbox's address in effect.
        portfolio: None: there is none that can be used, see `portfolio_error`.
        portfolio_error: why not.
        up: the `energy-etl up` or `demo` that holds the Dagster home; None: nothing runs.
        is_sandbox_expected: False: on target sandbox nobody has started one, nor named another.
        is_offline: nobody is called.
        now: by the clock.
    """

    settings: Settings
    portfolio: Portfolio | None
    portfolio_error: ConfigurationError | None
    up: Process | None
    is_sandbox_expected: bool
    is_offline: bool
    now: datetime

    @classmethod
    def look(cls, settings: Settings, *, is_offline: bool) -> "Subject":
        """Read what several checks need."""
        holders = lock_holders(settings.dagster_home / "up.lock")
        up = holders[0] if holders else None
        is_named = "sandbox_url" in settings.model_fields_set
        settings = with_running_sandbox(settings)
        portfolio = error = None
        try:
            portfolio = Etl(root=str(settings.root)).portfolio()
        except ConfigurationError as caught:
            error = caught
        return cls(
            settings,
            portfolio,
            error,
            up,
            settings.target != "sandbox"
            or is_named
            or up is not None
            # `energy-etl sandbox`, started by hand.
            or (not is_offline and _is_sandbox(settings.sandbox_url)),
            is_offline,
            datetime.now(UTC),
        )

    @cached_property
    def start_hint(self) -> str:
        """How computing and sending go on."""
        return (
            "look at the newest failed runs in the UI"
            if self.up is not None
            else "run `energy-etl up`, which computes and sends what waits"
        )


def _is_sandbox(url: str) -> bool:
    """True when a sandbox answers at a loopback address, and not somebody else."""
    # `http.client` raises its own errors when somebody speaks another protocol there.
    with contextlib.suppress(OSError, ValueError, HTTPException):
        health = f"{url}/_sandbox/health"
        with urllib.request.urlopen(health, timeout=_ANSWER_S) as answer:
            return answer.status == 200
    return False
