"""Packets behind the last one, where that was agreed: oldest first, before newer ones."""

import asyncio
from collections.abc import Iterator

import pytest

from energy_etl.delivery import Outbox, release
from energy_etl.vendors.wattics.collector import open_collectors
from energy_etl_tests.delivery.conftest import (
    NOW,
    CollectorServer,
    body,
    new_id,
    packets,
    plan,
    stamp_ms,
    states,
)
from energy_etl_tests.delivery.sending import send, wattics_settings


@pytest.fixture(params=["received", "newest"])
def last_packet(request: pytest.FixtureRequest, server: CollectorServer) -> Iterator[str]:
    """Which packet the collector takes for the last one: nobody knows that of Wattics."""
    server.sandbox.app.wattics._is_newest = request.param == "newest"
    yield request.param
    server.sandbox.app.wattics._is_newest = False


@pytest.fixture
def stream_id(outbox: Outbox, server: CollectorServer, last_packet: str) -> str:
    """Return a stream whose packets 10 and 11 are confirmed, and whose 1 to 3 and 12 are due."""
    del last_packet
    stream_id = new_id("past")
    agreed = plan(stream_id, is_historical=True, push_from_at=None)
    outbox.fill(packets(stream_id, [10, 11]), [agreed], now=NOW)
    release(outbox, [agreed], [], NOW)
    assert send(outbox, server).is_complete
    outbox.fill(packets(stream_id, [1, 2, 3, 12]), [agreed], now=NOW)
    outbox.connection.execute(
        "UPDATE packet SET state = 'pending', hold_reason = NULL WHERE state = 'held'"
    )
    return stream_id


def numbers(server: CollectorServer, stream_id: str) -> list[int]:
    return [(ms - stamp_ms(0)) // 900_000 for ms in server.collected(stream_id).stamps_ms]


def test_older_packets_are_sent_before_newer_ones_and_confirmed(
    outbox: Outbox, server: CollectorServer, stream_id: str
) -> None:
    report = send(outbox, server)
    assert report.is_complete
    assert numbers(server, stream_id) == [10, 11, 1, 2, 3, 12]
    assert set(states(outbox, stream_id).values()) == {"confirmed"}
    assert outbox.due(NOW).stream_ids == ()


def test_older_packets_alone_are_confirmed_and_forget_nothing(
    outbox: Outbox, server: CollectorServer, stream_id: str
) -> None:
    outbox.connection.execute("DELETE FROM packet WHERE stamped_ms = ?", (stamp_ms(12),))
    assert send(outbox, server).is_complete
    assert set(states(outbox, stream_id).values()) == {"confirmed"}

    # The vendor's last packet may be number 3 now, although number 11 was confirmed.
    agreed = plan(stream_id, is_historical=True, push_from_at=None)
    outbox.fill(packets(stream_id, [12]), [agreed], now=NOW)
    outbox.connection.execute("UPDATE packet SET state = 'pending' WHERE state = 'held'")
    assert send(outbox, server).is_complete
    assert numbers(server, stream_id) == [10, 11, 1, 2, 3, 12]


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_lost_answer_behind_the_last_packet_is_settled_by_the_packet_itself(
    outbox: Outbox, server: CollectorServer, stream_id: str, last_packet: str, kind: str
) -> None:
    # The question for the last packet and the first packet pass.
    server.fault("slow", times=2, delay_s=0.0)
    server.fault(kind, times=1)

    report = send(outbox, server)

    assert report.is_complete
    is_doubled = kind == "drop_after" and last_packet == "newest"
    # Who answers the newest cannot say whether number 2 came: it goes at least once.
    assert numbers(server, stream_id) == [10, 11, 1, 2, *([2] if is_doubled else []), 3, 12]
    assert set(states(outbox, stream_id).values()) == {"confirmed"}


@pytest.mark.parametrize("n_arrived", [1, 3, 4])
def test_kill_between_older_packets_loses_none(
    outbox: Outbox, server: CollectorServer, stream_id: str, last_packet: str, n_arrived: int
) -> None:
    async def push() -> None:
        async with open_collectors(wattics_settings(server)) as collectors:
            for number in [1, 2, 3, 12][:n_arrived]:
                assert (await collectors["main"].post(body(stream_id, number).encode())).status

    asyncio.run(push())
    outbox.connection.execute("UPDATE stream SET is_sending = 1")

    report = send(outbox, server)

    assert report.is_complete
    # Found as the last packet, everything before it has come: it is sent in that order.
    is_found = last_packet == "received" or n_arrived == 4
    assert report.streams[stream_id].n_found == (n_arrived if is_found else 0)
    again = [] if is_found else [1, 2, 3, 12][:n_arrived]
    assert numbers(server, stream_id) == [
        *[10, 11],
        *[1, 2, 3, 12][:n_arrived],
        *again,
        *[1, 2, 3, 12][n_arrived:],
    ]
    assert set(states(outbox, stream_id).values()) == {"confirmed"}


def test_foreign_packet_behind_ours_still_parks_a_historical_stream(
    outbox: Outbox, server: CollectorServer, stream_id: str
) -> None:
    del server.sandbox.app.wattics.streams["main"][stream_id]
    report = send(outbox, server)
    assert "forgot packets" in report.sentences[0]
    assert report.streams[stream_id].is_parked
    assert numbers(server, stream_id) == []
