"""Outbox, frontier and sender together under any interleaving, against a plain reference.

The collector is in memory; faults, kills (which take away what was not durable yet) and what other
processes do beside a send come from hypothesis. What the collector holds must be what was released:
in order, once, and what differs from the outbox's newest values told as a correction.
"""

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_etl.delivery import DrainLimits, Outbox, drain, release
from energy_etl.delivery import sender as sender_module
from energy_etl.delivery.acks import NOT_OFFERED, AckWriter, Event
from energy_etl.delivery.frontier import hold_unplanned
from energy_etl.delivery.mirror import status_frame
from energy_etl.errors import BadRequestError, UnavailableError
from energy_etl.state import open_state, us_to_instant
from energy_etl_tests.delivery.conftest import NOW, body, packets, plan, stamp_ms, states

N_PACKETS = 8


class _Limits(DrainLimits):
    """A late commit comes within a few milliseconds here."""

    @property
    def late_commit_s(self) -> float:
        return 0.004


LIMITS = _Limits(max_attempts=2, backoff_base_s=0.0, backoff_cap_s=0.0, breaker_after=1000)


@dataclass(frozen=True)
class _Answer:
    status: int | None
    text: str
    retry_after_s: float | None = None
    may_have_arrived: bool = True


class _KilledError(Exception):
    """The process is gone."""


@dataclass
class _Collector:
    """Holds what arrived, in order of arrival.

    `faults` are for the next calls, `beside` is done at the next posts; `settled`: refused packets,
    and others that will not come any more.
    """

    faults: list[str]
    beside: list[Callable[[], None]]
    held: list[tuple[int, str]] = field(default_factory=list)
    n_posts_left: int | None = None
    settled: set[int] = field(default_factory=set)
    pending_stamps_ms: Callable[[int], list[int]] = lambda _: []
    is_offered: bool = True
    fingerprint: str = "0" * 16
    late: list[tuple[float, tuple[int, str]]] = field(default_factory=list)

    def _take_late(self) -> None:
        # By the clock and not by the loop's timers: these wait while the process does not run, and
        # a packet came later than the request time-out.
        while self.late and self.late[0][0] <= time.monotonic():
            self.held.append(self.late.pop(0)[1])

    async def post(self, body: bytes) -> _Answer:
        self._take_late()
        text = body.decode()
        stamped_at = datetime.fromisoformat(text.split('"tsISO8601":"')[1][:29])
        packet = (int(stamped_at.timestamp() * 1000), text)
        # Nothing older that may go is passed by; what is not noted yet was accepted or refused.
        settled = {ms for ms, _ in self.held} | self.settled
        assert set(self.pending_stamps_ms(packet[0] - 1)) <= settled
        if self.beside:
            self.beside.pop(0)()
        fault = self.faults.pop(0) if self.faults and self.faults[0] != "deaf" else "none"
        if fault == "late":
            self.late.append((time.monotonic() + 0.002, packet))
        elif fault in ("none", "after"):
            self.held.append(packet)
        elif fault == "bad":
            self.settled.add(packet[0])
        if self.n_posts_left is not None:
            self.n_posts_left -= 1
            if self.n_posts_left < 0:
                raise _KilledError
        if fault == "closed":
            return _Answer(429, "come back tomorrow", retry_after_s=86_400.0)
        if fault in ("before", "after", "late"):
            return _Answer(None, "connection dropped")
        return _Answer({"none": 200, "bad": 400, "busy": 429, "error": 503}[fault], fault)

    async def last(self, stream_id: str) -> datetime | None:
        if not self.is_offered:
            raise BadRequestError(f"{stream_id}: not offered")
        if self.faults and self.faults[0] == "deaf":
            self.faults.pop(0)
            raise UnavailableError(f"{stream_id}: no answer")
        self._take_late()
        return us_to_instant(self.held[-1][0] * 1000) if self.held else None


def _acks_lost_after(n_durable: int | None) -> type[AckWriter]:
    """Return a writer of a process that is killed: of what it noted, the first so many lasted."""

    class Losing(AckWriter):
        n_noted = 0

        def put(self, event: Event) -> None:
            self.n_noted += 1
            if n_durable is None or self.n_noted <= n_durable:
                super().put(event)

        async def flush(self) -> None:
            await super().flush()
            if n_durable is not None and self.n_noted > n_durable:
                raise _KilledError

    return Losing


class _World:
    """One stream, what its data say, and the collector that it goes to."""

    def __init__(self, outbox: Outbox, *, is_historical: bool) -> None:
        self.outbox = outbox
        self.plan = plan("s", is_historical=is_historical)
        if is_historical:
            # Its first packet is no start, or all older ones would wait for each other.
            self.plan = plan("s", is_historical=True, push_from_at=None)
        self.values: dict[int, float] = {}
        self.now = NOW
        self.collector = _Collector([], [])
        self.collector.pending_stamps_ms = lambda up_to_ms: outbox.pending_stamps_ms(
            "s", None, up_to_ms
        )

    def fill(self, numbers: Iterable[int], value: float, outbox: Outbox | None = None) -> None:
        self.values.update(dict.fromkeys(numbers, value))
        for number in sorted(set(numbers)):
            frame = packets("s", [number], value)
            (outbox or self.outbox).fill(frame, [self.plan], now=self.now)

    def act(self, action: tuple) -> None:
        """Do what another process does, through a connection of its own."""
        kind, *arguments = action
        with open_state(self.outbox.path) as connection:
            outbox = Outbox(connection)
            if kind == "fill":
                self.fill(*arguments, outbox=outbox)
            elif kind == "release":
                self.now += timedelta(hours=arguments[0])
                release(outbox, [self.plan], [], self.now)
            elif kind == "retry":
                outbox.retry()
            elif kind == "unplan":
                hold_unplanned(outbox, [])

    def send(self, faults: list[str], beside: list[tuple], kill: tuple[int, int] | None) -> None:
        self.collector.faults = faults
        self.collector.beside = [lambda action=action: self.act(action) for action in beside]
        self.collector.n_posts_left = None if kill is None else kill[1]
        acks = _acks_lost_after(None if kill is None else kill[0])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sender_module, "AckWriter", acks)
            collectors = {"main": self.collector}
            try:
                asyncio.run(drain(self.outbox, collectors, limits=LIMITS, now=lambda: self.now))
            except* _KilledError:
                pass

    def assert_in_order_and_once(self) -> None:
        stamps = [ms for ms, _ in self.collector.held]
        assert len(set(stamps)) == len(stamps)
        if not self.plan.is_historical:
            assert stamps == sorted(stamps)

    def numbers(self) -> list[int]:
        return [(ms - stamp_ms(0)) // 900_000 for ms, _ in self.collector.held]

    def settle(self) -> None:
        for _ in range(4):
            self.now += timedelta(days=9)
            release(self.outbox, [self.plan], [], self.now)
            self.send([], [], None)

    def assert_settled(self) -> None:
        rows = self.outbox.connection.execute(
            "SELECT stamped_ms, body, state FROM packet ORDER BY stamped_ms"
        ).fetchall()
        delivered = {ms: text for ms, text, state in rows if state in ("confirmed", "superseded")}
        assert delivered == dict(self.collector.held)
        assert {state for *_, state in rows} <= {"confirmed", "superseded", "held", "rejected"}
        newest_ms = max(delivered, default=None)
        for number, value in self.values.items():
            ms, now = stamp_ms(number), body("s", number, value)
            state = next(state for each, _, state in rows if each == ms)
            if ms not in delivered:
                # Nothing is left behind that could go.
                assert state == "rejected" or (newest_ms is not None and ms < newest_ms)
                assert not (self.plan.is_historical and state == "held")
            else:
                assert (state == "superseded") == (delivered[ms] != now)
                told = self.outbox.connection.execute(
                    "SELECT count(*) FROM correction WHERE stamped_ms = ? AND body_sent = ? "
                    "AND body_now = ?",
                    (ms, delivered[ms], now),
                ).fetchone()[0]
                assert told == (delivered[ms] != now)


_NUMBERS = st.lists(st.integers(1, N_PACKETS), min_size=1, max_size=4)
_FILL = st.tuples(st.just("fill"), _NUMBERS, st.sampled_from([1.0, 2.0, 3.0]))
_RELEASE = st.tuples(st.just("release"), st.sampled_from([0, 1, 49]))
_ACTION = st.one_of(_FILL, _RELEASE, st.just(("retry",)), st.just(("unplan",)))
_FAULTS = st.lists(
    st.sampled_from(["none", "before", "after", "late", "bad", "busy", "error", "deaf"]),
    min_size=2,
    max_size=6,
)
_KILL = st.one_of(st.none(), st.tuples(st.integers(0, 12), st.integers(0, 5)))
_SEND = st.tuples(st.just("send"), _FAULTS, st.lists(_ACTION, max_size=3), _KILL)
_STORY = st.lists(st.one_of(_FILL, _RELEASE, _SEND, _SEND, _ACTION), min_size=3, max_size=14)


@contextlib.contextmanager
def _world(folder: Path, *, is_historical: bool = False) -> Iterator[_World]:
    with open_state(folder / f"{uuid.uuid4().hex}.sqlite") as connection:
        yield _World(Outbox(connection), is_historical=is_historical)


@pytest.fixture
def world(memory_folder: Path) -> Iterator[_World]:
    """Return a world of which packets 1 to 3 are released."""
    with _world(memory_folder) as world:
        world.fill([1, 2, 3], 1.0)
        world.act(("release", 0))
        yield world


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(_STORY, st.booleans())
def test_any_interleaving_delivers_what_was_released_once_and_in_order(
    memory_folder: Path, story: list[tuple], is_historical: bool
) -> None:
    with _world(memory_folder, is_historical=is_historical) as world:
        # Most stories would send nothing, if their packets were only what they happen to fill.
        world.fill([1, 2, 4], 1.0)
        world.act(("release", 0))
        for kind, *arguments in story:
            if kind == "send":
                world.send(*arguments)
                world.assert_in_order_and_once()
            else:
                world.act((kind, *arguments))
        world.settle()
        world.assert_in_order_and_once()
        world.assert_settled()


def test_run_killed_after_a_refusal_keeps_no_packet_from_going_again(world: _World) -> None:
    """Nothing was pending or sent: no run settled the stream, and a newer packet passed by."""
    world.outbox.drop("s", stamp_ms(2), stamp_ms(4), "not wanted")
    world.send(["bad"], [], (1, 5))
    world.send(["bad"], [], (2, 5))
    assert states(world.outbox, "s") == {1: "rejected", 2: "dropped", 3: "dropped"}
    assert world.outbox.due(NOW).stream_ids == ("s",)
    world.send([], [], None)
    world.act(("retry",))
    world.act(("release", 0))
    world.fill([4], 1.0)
    world.act(("release", 0))
    world.send([], [], None)
    assert world.numbers() == [1, 4]


def test_body_sent_after_a_kill_is_the_one_that_is_noted(world: _World) -> None:
    """A changed packet was taken for its older body, which had never been posted."""
    world.outbox.begin_sending(["s"])
    world.fill([1], 2.0)
    world.send([], [], (1, 0))
    assert states(world.outbox, "s")[1] == "pending"
    world.send([], [], None)
    assert world.collector.held[0] == (stamp_ms(1), body("s", 1, 2.0))
    world.assert_settled()


@pytest.mark.parametrize("is_on_grid", [True, False])
def test_packet_of_somebody_else_parks_the_stream_and_after_a_retry_it_goes_on(
    world: _World, is_on_grid: bool
) -> None:
    """On our grid it was counted as ours; off it, a retry parked the stream for ever."""
    world.collector.held.append((stamp_ms(2) + (0 if is_on_grid else 1000), "not ours"))
    world.send([], [], None)
    (state,) = world.outbox.streams()
    assert "somebody else pushes" in (state.parked_reason or "")
    assert set(states(world.outbox, "s").values()) == {"pending"}
    world.act(("retry",))
    world.collector.settled = {stamp_ms(1)}
    world.send([], [], None)
    behind = "confirmed" if is_on_grid else "held"
    assert states(world.outbox, "s") == {1: behind, 2: behind, 3: "confirmed"}
    world.assert_in_order_and_once()

    # Somebody else again parks it again.
    world.collector.held.append((stamp_ms(4), "not ours"))
    world.fill([4], 1.0)
    world.act(("release", 0))
    world.send([], [], None)
    assert world.outbox.streams()[0].parked_reason


def test_state_file_restored_from_a_copy_sends_nothing_twice(
    world: _World, memory_folder: Path
) -> None:
    with contextlib.closing(sqlite3.connect(memory_folder / "copy.sqlite")) as copy:
        world.outbox.connection.backup(copy)
        world.send([], [], None)
        copy.backup(world.outbox.connection)
    world.send([], [], None)
    assert "restored from an older copy" in (world.outbox.streams()[0].parked_reason or "")
    world.act(("retry",))
    world.send([], [], None)
    assert world.numbers() == [1, 2, 3]
    world.assert_settled()


def test_stream_that_cannot_be_confirmed_is_not_due_for_that_alone(world: _World) -> None:
    """It failed every few minutes for ever, with nothing left to send."""
    world.collector.is_offered = False
    world.send([], [], None)
    assert set(states(world.outbox, "s").values()) == {"sent"}
    assert world.outbox.due(world.now).stream_ids == ()
    failure, retry_at = status_frame(world.outbox, now=world.now)["failure", "retry_at"].row(0)
    assert (failure, retry_at) == (NOT_OFFERED, None)

    world.collector.is_offered = True
    world.fill([4], 1.0)
    world.act(("release", 0))
    world.send([], [], None)
    assert set(states(world.outbox, "s").values()) == {"confirmed"}


def test_wait_that_was_noted_by_a_clock_that_was_ahead_holds_nobody(world: _World) -> None:
    """A clock a year ahead kept the credential closed for a year."""
    world.now += timedelta(days=365)
    world.send(["closed"], [], None)
    world.send([], [], None)
    assert world.numbers() == []
    world.now = NOW
    world.send([], [], None)
    assert world.numbers() == [1, 2, 3]


def test_refused_body_that_was_replaced_meanwhile_is_not_taken_for_arrived(world: _World) -> None:
    """A kill behind it made the newer body count as sent, which was never posted."""
    world.send(["bad"], [("fill", [1], 2.0)], (2, 1))
    world.send([], [], None)
    world.settle()
    assert world.numbers() == [2, 3]
    assert states(world.outbox, "s") == {1: "held", 2: "confirmed", 3: "confirmed"}
