"""A vendor's rate limit, kept across threads and processes in `state.sqlite`.

Every call takes a place in a sliding window before it is made; a vendor's `Retry-After` closes the
window for everybody. Which limits a vendor has is told in its folder.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from energy_etl.errors import RateLimitedError
from energy_etl.state import connect, transaction

# The vendor counts when a call arrives, we count when it starts: a call that was slow to arrive
# must still have left the vendor's window when its successor comes.
MARGIN_S: Final = 1.0
_US: Final = 1_000_000
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS quota_call (name TEXT NOT NULL, called_us INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS quota_call_by_name ON quota_call (name, called_us)",
    "CREATE TABLE IF NOT EXISTS quota_pause (name TEXT PRIMARY KEY, until_us INTEGER NOT NULL)",
)


class Quota:
    """At most `limit` calls in any `window_s` seconds under one name."""

    def __init__(
        self,
        state_path: Path,
        name: str,
        limit: int,
        window_s: float,
        *,
        now_s: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Count in `state_path`; quotas of one name share one window."""
        self.name = name
        self.limit = limit
        self.window_s = window_s
        self._state_path = state_path
        self._now_s = now_s
        self._sleep = sleep
        # An SQLite connection belongs to one thread, callers come from many.
        self._owner = ThreadPoolExecutor(1, thread_name_prefix=f"quota-{name}")
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close the connection."""
        self._owner.submit(self._disconnect).result()
        self._owner.shutdown()

    def acquire(self, max_wait_s: float) -> float:
        """Take one place, waiting for it if need be, and return the seconds waited.

        Raises:
            RateLimitedError: no place comes free within max_wait_s; nothing was taken.
        """
        waited_s = 0.0
        while True:
            wait_s = self._owner.submit(self._try).result()
            if wait_s <= 0:
                return waited_s
            if waited_s + wait_s > max_wait_s:
                raise RateLimitedError(
                    f"The quota {self.name} ({self.limit} calls in {self.window_s:g} s) is used up "
                    f"for another {wait_s:.0f} s: run again then, or ask for fewer meters at once.",
                    retry_after_s=wait_s,
                )
            self._sleep(wait_s)
            waited_s += wait_s

    def pause(self, pause_s: float) -> None:
        """Give nobody a place for the next `pause_s` seconds (the vendor's `Retry-After`)."""
        self._owner.submit(self._pause, pause_s).result()

    def _open(self) -> Connection:
        if self._connection is None:
            self._state_path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = connect(self._state_path)
            # A place lost in a power cut is of no consequence; a disk sync per call would be.
            self._connection.execute("PRAGMA synchronous=NORMAL")
            with transaction(self._connection):
                for statement in _SCHEMA:
                    self._connection.execute(statement)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self) -> float:
        """Take a place and return 0, or return the seconds until one may come free."""
        connection = self._open()
        window_us = int((self.window_s + MARGIN_S) * _US)
        with transaction(connection):
            now_us = int(self._now_s() * _US)
            # Entries of the future come from a clock that was set back; they would never leave.
            connection.execute(
                "DELETE FROM quota_call WHERE name = ? AND (called_us <= ? OR called_us > ?)",
                (self.name, now_us - window_us, now_us + window_us),
            )
            pause = connection.execute(
                "SELECT until_us FROM quota_pause WHERE name = ?", (self.name,)
            ).fetchone()
            if pause is not None and now_us < pause[0]:
                return (pause[0] - now_us) / _US
            count, oldest_us = connection.execute(
                "SELECT count(*), min(called_us) FROM quota_call WHERE name = ?", (self.name,)
            ).fetchone()
            if count >= self.limit:
                return (oldest_us + window_us - now_us) / _US + 0.001
            connection.execute("INSERT INTO quota_call VALUES (?, ?)", (self.name, now_us))
            return 0.0

    def _pause(self, pause_s: float) -> None:
        until_us = int((self._now_s() + pause_s) * _US)
        connection = self._open()
        with transaction(connection):
            connection.execute(
                "INSERT INTO quota_pause VALUES (?, ?) ON CONFLICT (name) "
                "DO UPDATE SET until_us = max(until_us, excluded.until_us)",
                (self.name, until_us),
            )
