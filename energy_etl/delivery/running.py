"""What all streams of one drain share: the outbox, the clock, progress, and what is told."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from energy_etl.delivery.account import Account
from energy_etl.delivery.acks import AckWriter, Parked
from energy_etl.delivery.collector import Collector
from energy_etl.delivery.limits import DrainLimits, StreamReport
from energy_etl.delivery.outbox import Outbox, StreamState
from energy_etl.errors import EnergyEtlError
from energy_etl.state import get_fact, instant_to_us, set_fact

Progress = Callable[[int, int], None]
OnWait = Callable[[str], None]
_PROGRESS_EVERY_S: Final = 0.5
_TELL_EVERY_S: Final = 1.0
# A wish to wait outlives the drain: the next one must not ask inside of it either.
_CLOSED: Final = "collector_closed_from_until_us"
_WORTH_NOTING_S: Final = 1.0
# Clocks are set back by less than this every day.
_CLOCK_STEP_US: Final = 60_000_000


class Run:
    """One drain; `reports` has an entry for each stream that it looks at."""

    def __init__(
        self,
        outbox: Outbox,
        acks: AckWriter,
        limits: DrainLimits,
        now: Callable[[], datetime],
        on_progress: Progress | None,
        on_wait: OnWait | None,
    ) -> None:
        """Begin; the clock is read once and goes on with the monotonic one."""
        self.outbox = outbox
        self.acks = acks
        self.limits = limits
        self.began = time.monotonic()
        self._began_us = instant_to_us(now())
        self._on_progress = on_progress
        self._on_wait = on_wait
        self.states: list[StreamState] = outbox.streams()
        self.reports: dict[str, StreamReport] = {}
        self.n_due = 0
        self._n_done = 0
        self._shown_at = 0.0
        self._told_at: dict[str, float] = {}

    def count(self, n: int = 1) -> None:
        """Count packets that are settled, and show it now and then."""
        self._n_done += n
        if self._on_progress and time.monotonic() - self._shown_at > _PROGRESS_EVERY_S:
            self.show()

    def show(self) -> None:
        """Show how far the drain is."""
        if self._on_progress:
            self._shown_at = time.monotonic()
            self._on_progress(self._n_done, self.n_due)

    def tell(self, about: str, sentence: str) -> None:
        """Tell a wait; of one thing at most a sentence per second, however many streams wait."""
        now = time.monotonic()
        if self._on_wait and now - self._told_at.get(about, -_TELL_EVERY_S) >= _TELL_EVERY_S:
            self._told_at[about] = now
            self._on_wait(sentence)

    def us_at(self, monotonic: float) -> int:
        """Return the instant of a monotonic time in microseconds of 1970."""
        return self._began_us + int((monotonic - self.began) * 1e6)

    def accounts(self, collectors: Mapping[str, Collector]) -> dict[str, Account]:
        """Return one account per credential, closed as long as its collector had asked for."""
        return {name: self._account(name, collector) for name, collector in collectors.items()}

    def _account(self, name: str, collector: Collector) -> Account:
        account = Account(
            name,
            collector,
            self.limits,
            tell=self.tell,
            on_refused=lambda sentence: self._park_all(name, collector, sentence),
            on_asked_to_wait=lambda wait_s: self._note_wait(name, wait_s),
        )
        noted = get_fact(self.outbox.connection, f"{_CLOSED}:{name}") or "0 0"
        noted_us, until_us = map(int, noted.split())
        wait_s = (until_us - self._began_us) / 1e6
        # Noted later than now: the clock was wrong then, and so is the end of the wait.
        if wait_s > 0 and noted_us < self._began_us + _CLOCK_STEP_US:
            account.close_as_asked(wait_s, "told to an earlier send run")
        return account

    def _note_wait(self, name: str, wait_s: float) -> None:
        if wait_s < _WORTH_NOTING_S:
            return
        noted_us = self.us_at(time.monotonic())
        until_us = noted_us + int(wait_s * 1e6)
        # Waiting goes on without the note; a disk that is full ends the drain by itself.
        with contextlib.suppress(EnergyEtlError):
            set_fact(self.outbox.connection, f"{_CLOSED}:{name}", f"{noted_us} {until_us}")

    async def _park_all(self, credential: str, collector: Collector, sentence: str) -> None:
        # Slow on purpose, so not on the loop: a packet of another credential is under way.
        fingerprint = await asyncio.to_thread(lambda: collector.fingerprint)
        for state in self.states:
            if state.credential != credential or state.parked_reason is not None:
                continue
            self.acks.put(Parked(state.stream_id, sentence, fingerprint))
            if state.stream_id in self.reports:
                self.reports[state.stream_id].is_parked = True
