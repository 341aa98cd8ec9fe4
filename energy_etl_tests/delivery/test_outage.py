"""A day on which the collector does not answer."""

from dataclasses import replace
from datetime import timedelta

from energy_etl.delivery import Outbox, release
from energy_etl_tests.delivery.conftest import (
    START_AT,
    CollectorServer,
    new_id,
    packets,
    plan,
)
from energy_etl_tests.delivery.sending import LIMITS, assert_delivered, send

N_STREAMS = 3
HOUR = timedelta(hours=1)


def test_packets_of_a_day_of_outage_arrive_once_and_in_order_when_it_is_over(
    outbox: Outbox, server: CollectorServer
) -> None:
    plans = [plan(new_id("outage")) for _ in range(N_STREAMS)]
    patience = replace(LIMITS, max_attempts=1, breaker_after=1, breaker_gives_up_after=1)
    n_calls: list[int] = []
    for hour in range(25):
        # The hourly run: four more packets of each stream, a release and a send.
        now = START_AT + (hour + 1) * HOUR
        for agreed in plans:
            numbers = range(4 * hour + 1, 4 * hour + 5)
            outbox.fill(packets(agreed.stream_id, numbers), [agreed], now=now)
        release(outbox, plans, [], now)
        if hour == 0:
            assert send(outbox, server).is_complete
            server.fault("down")
            continue
        before = server.n_requests()
        report = send(outbox, server, limits=patience)
        n_calls.append(server.n_requests() - before)
        assert report.sentences
        assert (report.n_sent, report.n_pending) == (0, N_STREAMS * 4 * hour)
    # It is asked whether it is back, not hammered, however much waits.
    assert 1 <= min(n_calls) <= max(n_calls) <= 2 * N_STREAMS

    server.clear()
    assert send(outbox, server).is_complete

    for agreed in plans:
        assert_delivered(outbox, server, agreed.stream_id, 100)
        collected = server.collected(agreed.stream_id)
        assert (collected.n_duplicates, collected.n_out_of_order) == (0, 0)
