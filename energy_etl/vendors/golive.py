"""Going live: what would be called as whom, who agreed to it, and the one refusal without that.

A consent is a record in `state.sqlite`: who gave it, when, and a hash of each login as it is called
(vendor, login, addresses, account). A changed address or account, and a login that was added later,
is not in it. A new password is none of these and needs no new consent. It holds where it was given:
the copy of a project, made to try something out, calls nobody.

`require_consent` stands where runs and commands make their clients: `Etl.settings_to_call` for
runs, `defs/sending.py` for packets, and the commands that change something at a vendor. Not here:
what a person sees and is asked (`cli/golive.py`). What a person reads by a command of their own
(`doctor`, `init --discover`, `streams list`, `wiser authorize`) needs no consent.
"""

import getpass
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from energy_etl.errors import ConfigurationError, WarehouseError
from energy_etl.rest.failures import is_loopback
from energy_etl.settings import Settings
from energy_etl.state import get_fact, open_state, set_fact
from energy_etl.vendors import Vendor, discover_vendors
from energy_etl.vendors.reach import Login

COMMAND: Final = "`energy-etl golive`"
_FACT: Final = "golive_consent"


@dataclass(frozen=True)
class Called:
    """One login of a vendor, as it would be called.

    Attributes:
        vendor: its name.
        title: its name for people.
        login: `Login.name`; empty: the only one.
        addresses: scheme, host, port and path; nothing else of a URL.
        account: who logs in; never a secret.
        missing: settings that it still lacks.
    """

    vendor: str
    title: str
    login: str
    addresses: tuple[str, ...]
    account: str
    missing: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Names it among all logins."""
        return f"{self.vendor} {self.login}".strip()

    @property
    def fingerprint(self) -> str:
        """Tells these addresses and this account from others."""
        return _hash([self.key, self.account, *sorted(self.addresses)])


@dataclass(frozen=True)
class Consent:
    """What somebody agreed to.

    Attributes:
        given_by: user of the operating system.
        given_at: when.
        plan_hash: of everything that was shown.
        covered: fingerprint of each login; empty: it was withdrawn.
        folders: where it was given; a container and its host may see one project under two names.
        folder: where it was read.
    """

    given_by: str
    given_at: datetime
    plan_hash: str
    covered: frozenset[str]
    folders: tuple[str, ...]
    folder: str

    @property
    def is_copied(self) -> bool:
        """True when the record came here with a copy of somebody else's folder."""
        return bool(self.covered) and self.folder not in self.folders

    def covers(self, called: Called) -> bool:
        """True when this login was agreed to, here and as it is now."""
        return called.fingerprint in self.covered and not self.is_copied

    @property
    def sentence(self) -> str:
        """Who and when, and where when that was not here."""
        what = "Agreed to" if self.covered else "Withdrawn"
        where = f" in {' and '.join(self.folders)}, not here" if self.is_copied else ""
        return f"{what} by {self.given_by} on {self.given_at:%Y-%m-%d %H:%M} UTC{where}."


def planned_calls(settings: Settings) -> list[Called]:
    """Return every login that the settings begin with, in order of the vendors."""
    return [
        called
        for vendor in discover_vendors().values()
        for called in _called(vendor, settings)
        if _is_guarded(called, settings)
    ]


def plan_hash(plan: Iterable[Called]) -> str:
    """Return the hash of all that would be called."""
    return _hash(sorted(each.fingerprint for each in plan))


def read_consent(state_path: Path) -> Consent | None:
    """Return the newest record, None when nobody ever agreed.

    Raises:
        WarehouseError: the record cannot be read.
    """
    if not state_path.exists():
        return None
    with open_state(state_path) as connection:
        text = get_fact(connection, _FACT)
    if text is None:
        return None
    try:
        stored = json.loads(text)
        return Consent(
            stored["given_by"],
            datetime.fromisoformat(stored["given_at"]),
            stored["plan_hash"],
            frozenset(stored["covered"]),
            tuple(stored["folders"]),
            _folder(state_path),
        )
    except (ValueError, KeyError, TypeError):
        raise WarehouseError(
            f"The consent in {state_path} cannot be read: run {COMMAND} and agree again."
        ) from None


def record_consent(state_path: Path, plan: Iterable[Called], *, at: datetime) -> Consent:
    """Store, whole or not at all, that the operating system's user agreed to a plan.

    An empty plan withdraws what was agreed to before.

    Raises:
        WarehouseLockedError: another process held the state file for too long.
        WarehouseError: it could not be written.
    """
    agreed, here = list(plan), _folder(state_path)
    covered = frozenset(each.fingerprint for each in agreed)
    folders = {here}
    try:
        before = read_consent(state_path)
    except WarehouseError:
        before = None
    if before is not None and before.covered == covered:
        folders.update(before.folders)
    consent = Consent(
        _user(), at.astimezone(UTC), plan_hash(agreed), covered, tuple(sorted(folders)), here
    )
    text = json.dumps(
        {
            "given_by": consent.given_by,
            "given_at": consent.given_at.isoformat(),
            "plan_hash": consent.plan_hash,
            "covered": sorted(covered),
            "folders": consent.folders,
        }
    )
    with open_state(state_path) as connection:
        set_fact(connection, _FACT, text)
    return consent


def uncovered(settings: Settings) -> list[Called]:
    """Return what would be called and nobody agreed to as it is now."""
    plan = planned_calls(settings)
    consent = read_consent(settings.state_path) if plan else None
    return [each for each in plan if consent is None or not consent.covers(each)]


def require_consent(settings: Settings, vendor: str, logins: Collection[str] | None = None) -> None:
    """Refuse to call a vendor that nobody agreed to call.

    Nothing is asked for on the sandbox, unless an address of a vendor was set to another machine.

    Args:
        settings: of the project.
        vendor: its name.
        logins: `Login.name` of those that are used; None: all.

    Raises:
        ConfigurationError: there is no consent, or none for these addresses and this account.
    """
    mine = [
        each
        for each in uncovered(settings)
        if each.vendor == vendor and (logins is None or each.login in logins)
    ]
    if not mine:
        return
    first = mine[0]
    consent = read_consent(settings.state_path)
    copied = f" {consent.sentence}" if consent is not None and consent.is_copied else ""
    at = f" at {', '.join(first.addresses)}" if first.addresses else ""
    as_whom = f" as {first.account}" if first.account else ""
    where = "on target live" if settings.target == "live" else "on another machine than the sandbox"
    raise ConfigurationError(
        f"Nobody has agreed yet to call {first.title}{at}{as_whom} {where}, so it was not called: "
        f"run {COMMAND}, which shows what would be called and asks.{copied}"
    )


def _called(vendor: Vendor, settings: Settings) -> list[Called]:
    if vendor.reach is None:
        # Its folder does not say how it is reached; agreed to it must be all the same.
        return [Called(vendor.name, vendor.title, "", (), "")]
    section = settings.section(vendor.settings)
    every = vendor.reach.addresses(section)
    return [
        _as_called(vendor, login, login.addresses or every)
        for login in vendor.reach.logins(section)
        if login.is_begun
    ]


def _as_called(vendor: Vendor, login: Login, addresses: tuple[str, ...]) -> Called:
    shown = tuple(filter(None, map(_address, addresses)))
    return Called(vendor.name, vendor.title, login.name, shown, login.account, login.missing)


def _address(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(no URL)"
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}" if host else ""


def _is_guarded(called: Called, settings: Settings) -> bool:
    """True on target live, and on the sandbox's for an address that is somebody else's."""
    if settings.target == "live":
        return True
    sandbox = urlsplit(settings.sandbox_url).hostname
    hosts = [urlsplit(each).hostname for each in called.addresses]
    return any(host and host != sandbox and not is_loopback(host) for host in hosts)


def _folder(state_path: Path) -> str:
    return str(state_path.resolve().parent)


def _hash(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container without an entry for its user.
        return "unknown"
