"""What a send run learnt, made durable in groups while the sending goes on.

A thread with its own connection takes events off a queue and commits them together: at most
`group` of them or what came within `delay_s`; what is durable it hands to the handlers. An event
that a kill takes away is found again: the last packet is asked before a stream is touched. In full
sync, one commit per packet would cost more than the packet.
"""

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final

from energy_etl.delivery.handlers import Handlers, Response
from energy_etl.delivery.outbox import Outbox
from energy_etl.errors import EnergyEtlError
from energy_etl.state import instant_to_us, open_state, transaction

# Of events: a hundred packets, each with its response.
GROUP: Final = 200
DELAY_S: Final = 0.05
# Events that may wait for the disk: what a run holds in memory, and what a kill makes it ask for.
MOST_BEHIND: Final = 10 * GROUP


@dataclass(frozen=True, slots=True)
class Sent:
    """The vendor accepted this body."""

    stream_id: str
    stamped_ms: int
    body: str
    status: int | None
    n_attempts: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt failed; the packet stays pending, or is rejected for good."""

    stream_id: str
    stamped_ms: int
    body: str
    status: int | None
    error: str
    n_attempts: int
    is_rejected: bool


@dataclass(frozen=True, slots=True)
class FoundDelivered:
    """The last packet says that all pending ones up to it had arrived before a kill."""

    stream_id: str
    up_to_ms: int


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The last packet is at or after all of these."""

    stream_id: str
    up_to_ms: int


@dataclass(frozen=True, slots=True)
class Parked:
    """The stream sends nothing until somebody acts.

    `refused_by`: fingerprint of the credential that was refused; another one unparks the stream.
    `others_ms`: the vendor's last packet, when it is none that we know to have sent.
    `forgot_ms`: the vendor's last packet, when what was confirmed behind it is gone (EARLIEST_MS:
    it has none).
    """

    stream_id: str
    reason: str
    refused_by: str | None = None
    others_ms: int | None = None
    forgot_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a stream's run ended: well, or with a sentence; is_open: a packet may have arrived.

    `wait_s`: how long the vendor asked to be left alone; the stream is not due before that.
    `is_confirmable`: False when the vendor does not say which packet came last: what was sent makes
    the stream due no more.
    """

    stream_id: str
    failure: str | None
    is_open: bool
    wait_s: float = 0.0
    is_confirmable: bool = True


Event = Sent | Failed | FoundDelivered | Confirmed | Parked | Response | Ended

# What people are told of a stream that is otherwise well.
NOT_OFFERED: Final = "The collector does not offer the last packet: nothing can be confirmed."
_RETRY_BASE_S: Final = 15
_RETRY_CAP_S: Final = 300
_MOVE_LAST_SENT: Final = (
    "UPDATE stream SET last_sent_ms = max(coalesce(last_sent_ms, ?1), ?1) WHERE stream_id = ?2"
)


class AckWriter:
    """The thread that commits events; `put` never waits for the disk."""

    def __init__(
        self,
        state_path: str,
        now: Callable[[], datetime],
        *,
        group: int = GROUP,
        delay_s: float = DELAY_S,
        handlers: Handlers | None = None,
    ) -> None:
        """Start the thread; handlers (None: those declared) are told what is durable."""
        self._state_path = state_path
        self._now = now
        self._group = group
        self._delay_s = delay_s
        self._handlers = Handlers() if handlers is None else handlers
        self._events: deque[Event] = deque()
        self._n_put = 0
        self._wake = threading.Event()
        self._progress = threading.Condition()
        self._catching_up = asyncio.Lock()
        self._n_written = 0
        self._is_closing = False
        self.failure: EnergyEtlError | None = None
        self.n_commits = 0
        self._thread = threading.Thread(target=self._run, name="outbox-acks", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Hand an event over; after a failure of the disk it is dropped (`failure` says so)."""
        self._events.append(event)
        self._n_put += 1
        # The thread is woken for full groups only: each waking takes the interpreter's lock from
        # the sender.
        if len(self._events) >= self._group and not self._wake.is_set():
            self._wake.set()

    async def keep_up(self) -> None:
        """Wait while more than `MOST_BEHIND` events wait for the disk.

        A collector nearby accepts packets faster than a busy disk takes their acknowledgements.
        """
        if self._n_put - self._n_written <= MOST_BEHIND:
            return
        # One of the streams looks, the others wait for it.
        async with self._catching_up:
            while self._n_put - self._n_written > MOST_BEHIND and self._thread.is_alive():
                await asyncio.sleep(DELAY_S / 10)

    async def flush(self) -> None:
        """Wait until everything put so far is durable.

        Raises:
            EnergyEtlError: the state file could not be written.
        """
        n_put = self._n_put
        self._wake.set()
        await asyncio.to_thread(self._wait_for, n_put)
        if self.failure:
            raise self.failure
        if self._n_written < n_put:
            raise RuntimeError("the thread that notes acknowledgements ended; see its traceback")

    def close(self) -> None:
        """Commit what is left, end the thread, and tell the handlers what they can still take."""
        self._is_closing = True
        self._wake.set()
        self._thread.join()
        self._handlers.close()

    def _wait_for(self, n_events: int) -> None:
        with self._progress:
            while self._n_written < n_events and self._thread.is_alive():
                self._progress.wait(0.1)

    def _run(self) -> None:
        try:
            with open_state(self._state_path) as connection:
                self._write_all(Outbox(connection))
        except EnergyEtlError as error:
            self.failure = error

    def _write_all(self, outbox: Outbox) -> None:
        while True:
            # Read before the events: what was put before closing is among them.
            is_last = self._is_closing
            self._wake.clear()
            while self._events:
                n_events = min(self._group, len(self._events))
                events = [self._events.popleft() for _ in range(n_events)]
                apply(outbox, events, self._now())
                self.n_commits += 1
                self._handlers.tell(e for e in events if type(e) is Response)
                with self._progress:
                    self._n_written += n_events
                    self._progress.notify_all()
            if is_last:
                return
            self._wake.wait(self._delay_s)


def apply(outbox: Outbox, events: Iterable[Event], now: datetime) -> None:
    """Write events in their order, in one transaction.

    Responses go first: they stand by themselves, and between the others they would cut those into
    groups of one.
    """
    now_us = instant_to_us(now)
    known = list(events)
    responses = [event for event in known if type(event) is Response]
    others = known if not responses else [e for e in known if type(e) is not Response]
    with transaction(outbox.connection):
        if responses:
            _write_responses(outbox, responses)
        for kind, group in groupby(others, key=type):
            _WRITERS[kind](outbox, list(group), now_us)


def _write_sent(outbox: Outbox, events: list[Sent], now_us: int) -> None:
    many = outbox.connection.executemany
    rows = [(e.stream_id, e.stamped_ms, e.body, e.status, e.n_attempts, now_us) for e in events]
    n_unchanged = many(
        "UPDATE packet SET state = 'sent', body_before = NULL, hold_reason = NULL, "
        "is_withdrawn = 0, status = ?4, error = NULL, n_attempts = n_attempts + ?5, sent_us = ?6 "
        "WHERE stream_id = ?1 AND stamped_ms = ?2 AND body = ?3",
        rows,
    ).rowcount
    if n_unchanged < len(rows):
        # A fill changed a packet while its older body was under way: the outbox keeps what was
        # really sent and tells the rest as a correction.
        many(
            "INSERT OR IGNORE INTO correction SELECT stream_id, stamped_ms, ?3, body, ?6 "
            "FROM packet WHERE stream_id = ?1 AND stamped_ms = ?2 AND body <> ?3",
            rows,
        )
        many(
            "UPDATE packet SET state = 'superseded', body = ?3, body_before = NULL, "
            "hold_reason = NULL, is_withdrawn = 0, status = ?4, error = NULL, "
            "n_attempts = n_attempts + ?5, sent_us = ?6 "
            "WHERE stream_id = ?1 AND stamped_ms = ?2 AND body <> ?3",
            rows,
        )
    newest = {e.stream_id: e.stamped_ms for e in events}
    many(_MOVE_LAST_SENT, [(stamped_ms, stream_id) for stream_id, stamped_ms in newest.items()])


def _write_failed(outbox: Outbox, events: list[Failed], now_us: int) -> None:
    del now_us
    # A rejection concerns the body that was refused. One that a fill has put in since is released
    # anew: left pending, it would be taken for arrived when a newer packet has.
    outbox.connection.executemany(
        "UPDATE packet SET state = iif(?6, iif(body = ?3, 'rejected', 'held'), state), "
        "status = ?4, error = ?5, n_attempts = n_attempts + ?7, "
        "body_before = iif(?6, NULL, body_before) "
        "WHERE stream_id = ?1 AND stamped_ms = ?2 AND state = 'pending'",
        [
            (e.stream_id, e.stamped_ms, e.body, e.status, e.error, e.is_rejected, e.n_attempts)
            for e in events
        ],
    )


def _write_found_delivered(outbox: Outbox, events: list[FoundDelivered], now_us: int) -> None:
    many = outbox.connection.executemany
    keys = [(e.stream_id, e.up_to_ms, now_us) for e in events]
    # Where a fill changed the body since, the older one is taken for the one that arrived.
    many(
        "INSERT OR IGNORE INTO correction SELECT stream_id, stamped_ms, body_before, body, ?3 "
        "FROM packet INDEXED BY packet_by_state WHERE stream_id = ?1 AND stamped_ms <= ?2 "
        "AND state = 'pending' AND body_before <> body",
        keys,
    )
    many(
        "UPDATE packet SET state = iif(coalesce(body_before, body) = body, 'sent', 'superseded'), "
        "body = coalesce(body_before, body), body_before = NULL, sent_us = ?3 "
        "WHERE stream_id = ?1 AND stamped_ms <= ?2 AND state = 'pending'",
        keys,
    )
    many(_MOVE_LAST_SENT, [(e.up_to_ms, e.stream_id) for e in events])


def _write_confirmed(outbox: Outbox, events: list[Confirmed], now_us: int) -> None:
    many = outbox.connection.executemany
    keys = [(e.stream_id, e.up_to_ms, now_us) for e in events]
    many(
        "UPDATE packet SET state = 'confirmed', confirmed_us = ?3 "
        "WHERE state = 'sent' AND stream_id = ?1 AND stamped_ms <= ?2",
        keys,
    )
    many(
        "UPDATE packet INDEXED BY packet_by_state SET confirmed_us = ?3 "
        "WHERE state = 'superseded' AND stream_id = ?1 AND stamped_ms <= ?2 "
        "AND confirmed_us IS NULL",
        keys,
    )
    # Where older packets are sent after newer ones, those stay confirmed.
    many(
        "UPDATE stream SET last_confirmed_ms = (SELECT max(stamped_ms) FROM packet WHERE state IN "
        "('confirmed', 'superseded') AND packet.stream_id = ?1 AND confirmed_us IS NOT NULL "
        "AND (stamped_ms <= ?2 OR is_historical)) WHERE stream_id = ?1",
        [key[:2] for key in keys],
    )


def _write_parked(outbox: Outbox, events: list[Parked], now_us: int) -> None:
    outbox.connection.executemany(
        "UPDATE stream SET parked_reason = ?2, parked_us = ?3, refused_by = ?4, others_ms = ?5, "
        "forgot_ms = ?6 WHERE stream_id = ?1",
        [(e.stream_id, e.reason, now_us, e.refused_by, e.others_ms, e.forgot_ms) for e in events],
    )


def _write_responses(outbox: Outbox, events: list[Response]) -> None:
    outbox.connection.executemany(
        "INSERT INTO response (stream_id, stamped_ms, posted_us, seconds, status, text) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [(e.stream_id, e.stamped_ms, e.posted_us, e.seconds, e.status, e.text) for e in events],
    )


def _write_ended(outbox: Outbox, events: list[Ended], now_us: int) -> None:
    for event in events:
        if not event.is_open:
            outbox.connection.execute(
                "UPDATE stream SET is_sending = 0 WHERE stream_id = ?", (event.stream_id,)
            )
        outbox.connection.execute(
            "UPDATE stream SET is_confirmable = ?2 WHERE stream_id = ?1 AND is_confirmable <> ?2",
            (event.stream_id, event.is_confirmable),
        )
        if event.failure is None:
            outbox.connection.execute(
                "UPDATE stream SET retry_us = NULL, n_failures = 0, failure = ?2 "
                "WHERE stream_id = ?1",
                (event.stream_id, None if event.is_confirmable else NOT_OFFERED),
            )
        else:
            outbox.connection.execute(
                "UPDATE stream SET failure = ?2, n_failures = n_failures + 1, retry_us = "
                "?3 + 1000000 * max(?6, min(?5, ?4 * (1 << min(n_failures, 10)))) "
                "WHERE stream_id = ?1",
                (
                    event.stream_id,
                    event.failure,
                    now_us,
                    _RETRY_BASE_S,
                    _RETRY_CAP_S,
                    math.ceil(event.wait_s),
                ),
            )


_WRITERS: Final[dict[type, Callable[..., None]]] = {
    Sent: _write_sent,
    Failed: _write_failed,
    FoundDelivered: _write_found_delivered,
    Confirmed: _write_confirmed,
    Parked: _write_parked,
    Ended: _write_ended,
}
