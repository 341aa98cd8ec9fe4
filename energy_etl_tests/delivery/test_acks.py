"""The thread that makes acknowledgements durable while the sending goes on."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from energy_etl.delivery import Outbox, release
from energy_etl.delivery.acks import (
    MOST_BEHIND,
    AckWriter,
    Confirmed,
    Ended,
    Parked,
    Response,
    Sent,
    apply,
)
from energy_etl.delivery.mirror import response_frame
from energy_etl.errors import WarehouseError, WarehouseLockedError
from energy_etl.state import connect, transaction
from energy_etl_tests.delivery.conftest import (
    NOW,
    body,
    packets,
    plan,
    stamp,
    stamp_ms,
    states,
)

N = 250


@pytest.fixture
def filled(outbox: Outbox) -> Outbox:
    outbox.fill(packets("s", range(1, N + 1)), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW)
    return outbox


def _sent(number: int) -> Sent:
    return Sent("s", stamp_ms(number), body("s", number), 200, 1)


def test_acknowledgements_are_committed_in_groups_and_in_their_order(filled: Outbox) -> None:
    acks = AckWriter(filled.path, lambda: NOW, group=100, delay_s=0.5)
    for number in range(1, N + 1):
        acks.put(_sent(number))
    acks.put(Confirmed("s", stamp_ms(N - 1)))
    acks.close()

    assert acks.failure is None
    assert acks.n_commits <= 4
    assert filled.count("confirmed") == N - 1
    assert states(filled, "s")[N] == "sent"
    (state,) = filled.streams()
    assert (state.last_sent_ms, state.last_confirmed_ms) == (stamp_ms(N), stamp_ms(N - 1))


def test_responses_between_acknowledgements_are_kept_with_them(filled: Outbox) -> None:
    n_statements = []
    events = []
    for number in range(1, 101):
        events += [Response("s", stamp_ms(number), 1, 0.5, 200, None), _sent(number)]
    filled.connection.set_trace_callback(n_statements.append)
    apply(filled, events, NOW)
    filled.connection.set_trace_callback(None)

    assert filled.count("sent") == 100
    frame = response_frame(filled)
    assert frame["stamped_at"].to_list() == [stamp(n) for n in range(1, 101)]
    assert (frame["seconds"].unique().to_list(), frame["status"].unique().to_list()) == (
        [0.5],
        [200],
    )
    # One by one each would have moved the stream's last packet.
    assert sum("SET last_sent_ms" in statement for statement in n_statements) < 10


def test_flush_returns_when_everything_before_it_is_durable(filled: Outbox) -> None:
    acks = AckWriter(filled.path, lambda: NOW, delay_s=10.0)
    acks.put(_sent(1))
    asyncio.run(acks.flush())
    assert states(filled, "s")[1] == "sent"
    acks.close()


def test_a_disk_slower_than_the_collector_makes_the_streams_wait(filled: Outbox) -> None:
    # A million packets were sent while a third of their acknowledgements waited in memory.
    n_put = 0
    acks = AckWriter(filled.path, lambda: NOW)

    async def one_stream() -> None:
        nonlocal n_put
        for number in range(MOST_BEHIND):
            await acks.keep_up()
            acks.put(Response("s", stamp_ms(number), 1, 0.5, 200, None))
            n_put += 1

    async def while_another_writes() -> int:
        with contextlib.closing(connect(filled.path)) as other:
            other.execute("BEGIN IMMEDIATE")
            streams = [asyncio.create_task(one_stream()) for _ in range(3)]
            await asyncio.sleep(0.2)
            n_behind = n_put
            other.execute("ROLLBACK")
        await asyncio.wait_for(asyncio.gather(*streams), 30)
        return n_behind

    n_behind = asyncio.run(while_another_writes())
    acks.close()

    assert MOST_BEHIND < n_behind <= MOST_BEHIND + 3
    assert len(response_frame(filled)) == n_put == 3 * MOST_BEHIND


def test_what_comes_within_the_delay_is_committed_without_waiting_for_a_full_group(
    filled: Outbox,
) -> None:
    acks = AckWriter(filled.path, lambda: NOW, group=100, delay_s=0.01)
    acks.put(_sent(1))
    deadline = asyncio.run(_until(lambda: states(filled, "s")[1] == "sent"))
    acks.close()
    assert deadline


async def _until(is_done: object, timeout_s: float = 5.0) -> bool:
    assert callable(is_done)
    for _ in range(int(timeout_s / 0.01)):
        if is_done():
            return True
        await asyncio.sleep(0.01)
    return False


def test_a_state_file_that_cannot_be_written_ends_in_one_error_and_no_hang(
    filled: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energy_etl.state.connect.__kwdefaults__", {"busy_timeout_s": 0.05})
    with transaction(filled.connection):
        acks = AckWriter(filled.path, lambda: NOW)
        acks.put(_sent(1))
        with pytest.raises(WarehouseLockedError, match="another process"):
            asyncio.run(acks.flush())
        acks.put(_sent(2))
        acks.close()
    assert isinstance(acks.failure, WarehouseError)
    assert states(filled, "s")[1] == "pending"


def test_failures_in_a_row_move_the_next_try_away_and_a_success_forgets_them(
    filled: Outbox,
) -> None:
    waits = []
    for _ in range(8):
        acks = AckWriter(filled.path, lambda: NOW)
        acks.put(Ended("s", "no answer", is_open=False))
        acks.close()
        retry_at = filled.due(NOW).next_retry_at
        assert retry_at is not None
        waits.append(retry_at - NOW)
    assert waits[0] == timedelta(seconds=15)
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(minutes=5)

    acks = AckWriter(filled.path, lambda: NOW)
    acks.put(Ended("s", None, is_open=False))
    acks.close()
    assert filled.due(NOW).stream_ids == ("s",)


def test_a_parked_stream_is_not_due_until_it_is_retried(filled: Outbox) -> None:
    acks = AckWriter(filled.path, lambda: NOW)
    acks.put(Parked("s", "unknown at the vendor"))
    acks.close()
    assert (filled.due(NOW).stream_ids, filled.due(NOW).n_parked) == ((), 1)

    filled.retry(["s"])

    assert (filled.due(NOW).stream_ids, filled.due(NOW).n_parked) == (("s",), 0)
