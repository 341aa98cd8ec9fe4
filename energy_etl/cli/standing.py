"""How the vendors stand, for `energy-etl vendors` and `energy-etl status`: nobody is called.

The request log is in the warehouse alone, which a run may hold: then what it would tell is left
open, and said so, in place of a wait.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from energy_etl.errors import ConfigurationError, WarehouseError, WarehouseLockedError
from energy_etl.quota import quota_use
from energy_etl.settings import Settings
from energy_etl.vendors import Vendor, discover_vendors
from energy_etl.warehouse import read_published
from energy_etl.warehouse.looking import looking

LOCK_WAIT_S: Final = 2.0
_HOUR: Final = timedelta(hours=1)
_CALLS: Final = """
SELECT vendor, max(requested_at) FILTER (error IS NULL) AS last_success_at,
    max(requested_at) FILTER (error IS NOT NULL) AS last_failure_at,
    -- A token that was refused says no more than that; the call that wanted it says why.
    arg_max(error, (endpoint <> 'token', requested_at)) FILTER (error IS NOT NULL) AS last_error,
    count(*) FILTER (requested_at > $1) AS n_calls,
    count(*) FILTER (requested_at > $1 AND error IS NOT NULL) AS n_failed
FROM raw.request GROUP BY vendor
"""
# What a vendor told last, of whatever kind: readings, or figures of a day.
_REACH: Final = """
SELECT vendor, max(until_at) AS until_at FROM (
    SELECT vendor, max(read_at) AS until_at FROM core.reading GROUP BY vendor
    UNION ALL
    SELECT vendor, max(end_at) FROM core.appliance_interval GROUP BY vendor
) GROUP BY vendor
"""


@dataclass(frozen=True)
class BudgetLeft:
    """One budget of calls and what is left of it."""

    what: str
    limit: int
    window_s: float
    n_left: int
    pause_s: float

    def plain(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "what": self.what,
            "limit": self.limit,
            "window_s": self.window_s,
            "n_left": self.n_left,
            "pause_s": round(self.pause_s, 1),
        }


@dataclass(frozen=True)
class VendorStanding:
    """How one vendor stands.

    Attributes:
        configured: "yes", "no", or what is missing.
        addresses: those that are called.
        calls: of `_CALLS`; None: the request log could not be read.
        until_at: how far its readings reach; None: it has none.
        budgets: what is left of its budgets.
    """

    vendor: Vendor
    configured: str
    addresses: tuple[str, ...]
    calls: dict[str, Any] | None
    until_at: datetime | None
    budgets: tuple[BudgetLeft, ...]

    @property
    def last_success_at(self) -> datetime | None:
        """When it last answered as it should."""
        return self.calls["last_success_at"] if self.calls else None

    @property
    def last_failure_at(self) -> datetime | None:
        """When a call to it last failed."""
        return self.calls["last_failure_at"] if self.calls else None

    @property
    def is_failing(self) -> bool:
        """True when its last call failed."""
        last, failed = self.last_success_at, self.last_failure_at
        return failed is not None and (last is None or last < failed)


@dataclass(frozen=True)
class Standing:
    """How all vendors stand, and what could not be looked at."""

    vendors: tuple[VendorStanding, ...]
    notes: tuple[str, ...] = field(default_factory=tuple)


def look_at_vendors(settings: Settings, now: datetime) -> Standing:
    """Read how every vendor stands."""
    notes: list[str] = []
    calls = _calls(settings, now, notes)
    reach = _reach(settings)
    found = [
        VendorStanding(
            vendor,
            *_configured(settings, vendor),
            None if calls is None else calls.get(vendor.name, _NO_CALLS),
            reach.get(vendor.name),
            _budgets(settings, vendor, now),
        )
        for vendor in discover_vendors().values()
    ]
    return Standing(tuple(found), tuple(notes))


_NO_CALLS: Final[dict[str, Any]] = {
    "last_success_at": None,
    "last_failure_at": None,
    "last_error": None,
    "n_calls": 0,
    "n_failed": 0,
}


def _calls(settings: Settings, now: datetime, notes: list[str]) -> dict[str, dict] | None:
    if not settings.warehouse_path.exists():
        return {}
    try:
        with looking(settings.warehouse_path, lock_wait_s=LOCK_WAIT_S) as reader:
            frame = reader.read(_CALLS, [now - _HOUR])
    except WarehouseLockedError:
        notes.append(
            "A run is writing the warehouse, so the calls cannot be told now: run it again in a "
            "minute."
        )
        return None
    except WarehouseError as error:
        notes.append(str(error))
        return None
    return {row.pop("vendor"): row for row in frame.to_dicts()}


def _reach(settings: Settings) -> dict[str, datetime]:
    if not settings.published_path.exists():
        return {}
    try:
        frame = read_published(settings.published_path, _REACH)
    except WarehouseError:
        # Published by another version; the next publication mends it.
        return {}
    return {vendor: at for vendor, at in frame.iter_rows() if at is not None}


def _configured(settings: Settings, vendor: Vendor) -> tuple[str, tuple[str, ...]]:
    if vendor.reach is None:
        return "yes", ()
    section = settings.section(vendor.settings)
    logins = vendor.reach.logins(section)
    addresses = tuple(_shown_address(each) for each in vendor.reach.addresses(section))
    if any(login.is_complete for login in logins):
        return "yes", addresses
    begun = next((login for login in logins if login.is_begun), None)
    if begun is None:
        return "no", addresses
    return f"half: {', '.join(begun.missing)} missing", addresses


def _shown_address(address: str) -> str:
    """Leave out a user and password: no client would call it, but its owner may look here why."""
    scheme, separator, rest = address.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _budgets(settings: Settings, vendor: Vendor, now: datetime) -> tuple[BudgetLeft, ...]:
    if vendor.reach is None or not settings.state_path.exists():
        return ()
    left: list[BudgetLeft] = []
    for budget in vendor.reach.budgets(settings.section(vendor.settings)):
        use = quota_use(settings.state_path, budget.name, budget.window_s, now.timestamp())
        n_left = 0 if use.pause_s else max(budget.limit - use.n_used, 0)
        left.append(BudgetLeft(budget.what, budget.limit, budget.window_s, n_left, use.pause_s))
    return tuple(left)


def refuse_no_project(settings: Settings) -> None:
    """Refuse a folder that holds no project.

    Raises:
        ConfigurationError: there is no data folder.
    """
    if not settings.data_dir.is_dir():
        raise ConfigurationError(
            f"There is no project in {settings.root}: run `energy-etl init`, or set "
            "ENERGY_ETL_ROOT to the project's folder."
        )


def now() -> datetime:
    """Return the clock's instant."""
    return datetime.now(UTC)


def shown(at: datetime | None) -> str:
    """Return an instant for a table that fits on 80 columns: UTC, to the minute, no year."""
    return "-" if at is None else f"{at:%m-%d %H:%M}"
