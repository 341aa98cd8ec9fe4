"""Who may call the sandbox, and how often: credentials of all vendors, Basic, rate limits.

The names and secrets below belong to the sandbox alone; they open nothing else.
"""

import base64
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Credentials:
    """What each vendor accepts; `POST /_sandbox/passwords` changes it while the sandbox runs.

    `wattsense_service_accounts` holds the password and whether Basic is on for that account;
    `wattics` maps an account to its user and password.
    """

    digiwatt: dict[str, str] = field(
        default_factory=lambda: {"sandbox-digiwatt": "sandbox-digiwatt-secret"}
    )
    wattsense_keys: dict[str, str] = field(
        default_factory=lambda: {
            "sandbox-wattsense": "sandbox-wattsense-secret",
            "sandbox-dashboard-wattsense": "sandbox-dashboard-wattsense-secret",
        }
    )
    wattsense_users: dict[str, str] = field(
        default_factory=lambda: {"sandbox-user": "sandbox-user-secret"}
    )
    wattsense_service_accounts: dict[str, tuple[str, bool]] = field(
        default_factory=lambda: {
            "sandbox-service": ("sandbox-service-secret", False),
            "sandbox-service-basic": ("sandbox-service-secret", True),
        }
    )
    smartgridone: dict[str, str] = field(
        default_factory=lambda: {"sandbox-smartgridone": "sandbox-smartgridone-secret"}
    )
    smartgridone_two_factor: dict[str, str] = field(
        default_factory=lambda: {"sandbox-smartgridone-2fa": "sandbox-smartgridone-secret"}
    )
    wattics: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {
            "main": ("sandbox-wattics", "sandbox-wattics-secret"),
            "second": ("sandbox-wattics-2", "sandbox-wattics-2-secret"),
        }
    )
    # Of Wattics' read and management API; the second may only read.
    wattics_tokens: dict[str, str] = field(
        default_factory=lambda: {
            "wattics-api": "sandbox-wattics-token",
            "wattics-api-reader": "sandbox-wattics-reader-token",
        }
    )
    wiser: dict[str, str] = field(default_factory=lambda: {"sandbox-wiser": "sandbox-wiser-secret"})

    def change(self, account: str, password: str) -> bool:
        """Give an account a new password or secret; False when nobody is called that."""
        if account in self.wattics:
            self.wattics[account] = (self.wattics[account][0], password)
            return True
        if account in self.wattics_tokens:
            self.wattics_tokens[account] = password
            return True
        if account in self.wattsense_service_accounts:
            is_basic_on = self.wattsense_service_accounts[account][1]
            self.wattsense_service_accounts[account] = (password, is_basic_on)
            return True
        one_password = (
            self.digiwatt,
            self.smartgridone,
            self.smartgridone_two_factor,
            self.wattsense_keys,
            self.wattsense_users,
            self.wiser,
        )
        for accounts in one_password:
            if account in accounts:
                accounts[account] = password
                return True
        return False


class RateLimit:
    """At most `calls` in any `window_s`; `wait_s` says how long until the next is free."""

    def __init__(self, calls: int, window_s: float) -> None:
        """Start with nothing used."""
        self.calls, self.window_s = calls, window_s
        self._used: deque[float] = deque()

    def wait_s(self) -> float:
        """Count one call and return 0, or return the seconds to wait when none is free."""
        now_s = time.monotonic()
        while self._used and self._used[0] <= now_s - self.window_s:
            self._used.popleft()
        if len(self._used) >= self.calls:
            return self._used[0] + self.window_s - now_s
        self._used.append(now_s)
        return 0.0


def basic_credentials(header: str) -> tuple[str, str]:
    """Return user and password of a Basic header, or two empty strings."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password
