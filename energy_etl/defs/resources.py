"""`Etl`: where an asset finds settings, warehouse, state, portfolio and the time.

It holds no secret: settings are read in the process that uses them, at the moment it uses them,
so that a mended password works without a reload and none ever reaches Dagster's storage.
"""

import contextlib
import functools
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dagster as dg

from energy_etl.defs.warehouse import project_warehouse
from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import Portfolio
from energy_etl.settings import Settings
from energy_etl.vendors import project_settings
from energy_etl.vendors.golive import require_consent
from energy_etl.vendors.wattics.wire import field_problem
from energy_etl.warehouse import Warehouse

# (name, modified ns, bytes, inode) of each file of a folder.
_Stamps = tuple[tuple[str, int, int, int], ...]
# Within this time two versions of a file may have one modification time and one size.
_YOUNG_NS: Final = 2_000_000_000


class Etl(dg.ConfigurableResource):
    """What every asset needs; all fields empty: the project in the working directory, now."""

    root: str = ""
    now_at: str = ""
    sandbox_url: str = ""

    def settings(self) -> Settings:
        """Read the settings anew.

        Raises:
            ConfigurationError: an unknown key or a value that does not fit.
        """
        overrides = {"sandbox_url": self.sandbox_url} if self.sandbox_url else {}
        return project_settings(Path(self.root) if self.root else None, **overrides)

    def settings_to_call(self, vendor: str, login: str | None = None) -> Settings:
        """Read the settings for a client of a vendor: every run gets them here.

        Args:
            vendor: its name.
            login: `Login.name` that is used; None: all of the vendor's.

        Raises:
            ConfigurationError: as `settings`; or on target live nobody agreed to call it so.
        """
        settings = self.settings()
        require_consent(settings, vendor, None if login is None else (login,))
        return settings

    def warehouse(self) -> Warehouse:
        """Name the writer's file; it is opened by the calls on it."""
        return project_warehouse(self.settings())

    def portfolio(self) -> Portfolio:
        """Read the portfolio; what is faulty in its files is left out and told.

        Raises:
            ConfigurationError: there is none yet, or nothing in it can be used.
        """
        settings = self.settings()
        folder = settings.portfolio_dir
        if not folder.is_dir() and settings.target == "sandbox":
            folder = settings.data_dir / "portfolio.example"
        if not folder.is_dir():
            raise ConfigurationError(
                f"There is no portfolio in {settings.portfolio_dir}: "
                "run `energy-etl init --discover`, then complete its empty cells."
            )
        stamps = _stamps(folder)
        is_young = any(time.time_ns() - modified < _YOUNG_NS for _, modified, _, _ in stamps)
        read = _portfolio_of.__wrapped__ if is_young else _portfolio_of
        return read(folder, stamps)

    def now(self) -> datetime:
        """The instant that figures are computed for: the clock's, or the demo's pinned one."""
        return datetime.fromisoformat(self.now_at) if self.now_at else datetime.now(UTC)


def _stamps(folder: Path) -> _Stamps:
    stamps: list[tuple[str, int, int, int]] = []
    for path in sorted(folder.glob("*.csv")):
        # What cannot be looked at is told by who reads it.
        with contextlib.suppress(OSError):
            at = path.stat()
            stamps.append((path.name, at.st_mtime_ns, at.st_size, at.st_ino))
    return tuple(stamps)


@functools.lru_cache(maxsize=1)
def _portfolio_of(folder: Path, stamps: _Stamps) -> Portfolio:
    """Read a portfolio; once for the same files, as sensors look at it every few seconds."""
    del stamps
    return Portfolio.load(folder, field_problem)
