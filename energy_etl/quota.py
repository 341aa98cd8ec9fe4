"""A vendor's rate limit, kept across threads and processes in `state.sqlite`.

Every call takes a place in a sliding window before it is made; a vendor's `Retry-After` closes the
window for everybody. Which limits a vendor has is told in its folder.

A process that calls quickly takes several places at once and uses them up within `HELD_S`: a
transaction per call costs more than sending it. Such places are entered with the last instant at
which they may be used, so no window ever holds more calls than the limit; what is left of them then
is given back.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from energy_etl.errors import RateLimitedError
from energy_etl.state import connect, open_state, transaction

# The vendor counts when a call arrives, we count when it starts: a call that was slow to arrive
# must still have left the vendor's window when its successor comes.
MARGIN_S: Final = 1.0
# Also how long a process may go on after another one was told to pause; calls under way do too.
HELD_S: Final = 0.25
# Of the limit: what a process that dies leaves taken for one window.
_LARGEST_HOLD: Final = 0.01
_US: Final = 1_000_000
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS quota_call (name TEXT NOT NULL, called_us INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS quota_call_by_name ON quota_call (name, called_us)",
    "CREATE TABLE IF NOT EXISTS quota_pause (name TEXT PRIMARY KEY, until_us INTEGER NOT NULL)",
)


@dataclass(frozen=True)
class QuotaUse:
    """What is taken of a stored quota right now.

    Attributes:
        n_used: places taken within the window.
        pause_s: seconds for which the vendor asked everybody to wait still.
    """

    n_used: int
    pause_s: float


def quota_use(state_path: Path, name: str, window_s: float, now_s: float) -> QuotaUse:
    """Look at a stored quota without taking a place; one that was never used has none taken."""
    if not state_path.exists():
        return QuotaUse(0, 0.0)
    with open_state(state_path) as connection:
        for statement in _SCHEMA:
            connection.execute(statement)
        now_us = int(now_s * _US)
        since_us = now_us - int((window_s + MARGIN_S) * _US)
        (n_used,) = connection.execute(
            "SELECT count(*) FROM quota_call WHERE name = ? AND called_us > ?", (name, since_us)
        ).fetchone()
        pause = connection.execute(
            "SELECT until_us FROM quota_pause WHERE name = ?", (name,)
        ).fetchone()
    return QuotaUse(n_used, max(0.0, (pause[0] - now_us) / _US) if pause else 0.0)


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
        self._held = _Held()
        self._held_lock = threading.Lock()
        self._n_wanted = 1
        # An SQLite connection belongs to one thread, callers come from many.
        self._owner = ThreadPoolExecutor(1, thread_name_prefix=f"quota-{name}")
        self._connection: Connection | None = None

    def close(self) -> None:
        """Give back what is held, and close the connection."""
        self._owner.submit(self._disconnect).result()
        self._owner.shutdown()

    def acquire(self, max_wait_s: float) -> float:
        """Take one place, waiting for it if need be, and return the seconds waited.

        Raises:
            RateLimitedError: no place comes free within max_wait_s; nothing was taken.
        """
        waited_s = 0.0
        while True:
            if self._use_held():
                return waited_s
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
            with transaction(self._connection):
                self._give_back(self._connection)
            self._connection.close()
            self._connection = None

    def _use_held(self) -> bool:
        with self._held_lock:
            held = self._held
            # A clock that was set back must not make a place last longer.
            if held.rows and held.from_us <= int(self._now_s() * _US) < held.until_us:
                held.rows.pop()
                return True
            return False

    def _give_back(self, connection: Connection) -> None:
        """Give back the places that were held and not used."""
        with self._held_lock:
            held, self._held = self._held, _Held()
        connection.executemany(
            # The stamp too: a row that has left the window may have given its number to another.
            "DELETE FROM quota_call WHERE rowid = ? AND name = ? AND called_us = ?",
            [(row, self.name, held.until_us) for row in held.rows],
        )

    def _try(self) -> float:
        """Take a place and return 0, or return the seconds until one may come free."""
        if self._use_held():
            # Taken by a call that came before, while this one stood in line.
            return 0.0
        connection = self._open()
        window_us = int((self.window_s + MARGIN_S) * _US)
        with transaction(connection):
            now_us = int(self._now_s() * _US)
            self._n_wanted = self._n_to_want(now_us)
            self._give_back(connection)
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
            # One to be used now, the others held.
            until_us = now_us + int(HELD_S * _US)
            n_held = min(self._n_wanted, self.limit - count) - 1
            insert = "INSERT INTO quota_call VALUES (?, ?)"
            connection.execute(insert, (self.name, now_us))
            rows = [
                connection.execute(insert, (self.name, until_us)).lastrowid for _ in range(n_held)
            ]
        # Only now are they in the file.
        with self._held_lock:
            self._held = _Held(now_us, until_us, rows)
        return 0.0

    def _n_to_want(self, now_us: int) -> int:
        """Twice as many as before when those were used up in time, else half as many."""
        with self._held_lock:
            was_fast = not self._held.rows and self._held.from_us <= now_us < self._held.until_us
        most = max(1, int(self.limit * _LARGEST_HOLD))
        return min(most, self._n_wanted * 2) if was_fast else max(1, self._n_wanted // 2)

    def _pause(self, pause_s: float) -> None:
        until_us = int((self._now_s() + pause_s) * _US)
        connection = self._open()
        with transaction(connection):
            self._give_back(connection)
            connection.execute(
                "INSERT INTO quota_pause VALUES (?, ?) ON CONFLICT (name) "
                "DO UPDATE SET until_us = max(until_us, excluded.until_us)",
                (self.name, until_us),
            )


@dataclass
class _Held:
    """Places entered in the file and not used yet: usable within [from_us, until_us)."""

    from_us: int = 0
    until_us: int = 0
    rows: list[int | None] = field(default_factory=list)
