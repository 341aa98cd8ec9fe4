"""Kill -9 of fills and sends at random moments: nothing lost, nothing doubled, all in order."""

import json

import pytest

from energy_etl.delivery import Outbox
from energy_etl_tests.delivery.conftest import CollectorServer, new_id
from energy_etl_tests.delivery.killing import faults_found, kill_until_delivered, workers
from energy_etl_tests.delivery.known_intervals import (
    N_DAYS,
    expected,
    intervals_of,
    known_streams,
    stream_map,
)

N_KILLS = 6
N_KILLS_OF_CONTROL = 1


@pytest.mark.journey
def test_kills_at_random_moments_lose_and_double_nothing(
    outbox: Outbox, server: CollectorServer
) -> None:
    name = new_id("kill")
    streams = known_streams(name)
    with workers(outbox.path, server.url, name) as started:
        killed = kill_until_delivered(started, server, streams, n_kills=N_KILLS, seed=7)

    # Both kinds were hit, and some in the middle of the sending.
    assert sum(killed.n_kills.values()) >= N_KILLS
    assert min(killed.n_kills.values()) > 0
    assert len({n for n in killed.progress if 0 < n < killed.progress[-1]}) >= 2
    assert not any(faults_found(server, streams).values()), faults_found(server, streams)
    for stream in streams:
        collected = server.collected(stream.stream_id, stream.credential)
        assert (collected.n_duplicates, collected.n_out_of_order) == (0, 0)
        assert outbox.count("confirmed", stream.stream_id) == len(collected.bodies)
    assert outbox.count("superseded") == outbox.count("rejected") == 0
    # In the night in which Dublin leaves summer time it is half past one twice.
    in_dublin = [body for body in server.collected(f"{name}-wh").bodies if "T01:30:00" in body]
    offsets = [json.loads(body)["tsISO8601"][23:] for body in in_dublin]
    assert offsets == ["+01:00", "+01:00", "+00:00", "+00:00"]


@pytest.mark.journey
def test_same_kills_without_asking_for_the_last_packet_double_packets(
    outbox: Outbox, server: CollectorServer
) -> None:
    # The control: were there no doubles here, the test above could not fail.
    name = new_id("blind")
    streams = known_streams(name)
    with workers(outbox.path, server.url, name) as started:
        killed = kill_until_delivered(
            started, server, streams, n_kills=N_KILLS_OF_CONTROL, seed=7, send="blind"
        )

    assert sum(killed.n_kills.values()) >= N_KILLS_OF_CONTROL
    collected = [server.collected(s.stream_id, s.credential) for s in streams]
    assert sum(each.n_duplicates for each in collected) > 0
    assert any(faults_found(server, streams).values())
    # Doubled, not lost.
    due = expected(intervals_of(streams, range(N_DAYS)), *stream_map(streams))
    for stream, each in zip(streams, collected, strict=True):
        stamps = {json.loads(body)["tsISO8601"] for body in each.bodies}
        assert stamps == {packet["tsISO8601"] for packet in due[stream.stream_id]}
