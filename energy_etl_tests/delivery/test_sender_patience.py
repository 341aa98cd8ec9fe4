"""What makes a credential's streams wait, stop or park, and that no other credential notices."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from energy_etl.delivery import DrainLimits, Outbox, drain
from energy_etl.delivery.limits import Refusal
from energy_etl.vendors.wattics.collector import PostAnswer, WatticsCollector
from energy_etl_tests.delivery.conftest import CollectorServer, new_id, stamp_ms, states
from energy_etl_tests.delivery.sending import LIMITS, Wrapped, assert_delivered, fill, send


def test_collector_that_is_down_gets_few_calls_from_twenty_streams(
    outbox: Outbox, server: CollectorServer
) -> None:
    ids = [new_id() for _ in range(20)]
    for stream_id in ids:
        fill(outbox, stream_id, 2)
    server.fault("down")
    before = server.n_requests()

    report = send(outbox, server, limits=replace(LIMITS, max_parallel_streams=8))

    # Those that were under way when it tripped, and one for each wait but the last; a GET is
    # asked once more where a kept connection is dropped under it.
    assert server.n_requests() - before <= 2 * (8 + 4)
    (sentence,) = report.sentences
    assert "does not answer as it should" in sentence
    assert "'main'" in sentence
    assert report.n_pending == 40

    server.clear()
    assert send(outbox, server).is_complete
    for stream_id in ids:
        assert_delivered(outbox, server, stream_id, 2)


def test_collector_that_comes_back_is_noticed_by_one_call_and_all_go_on(
    outbox: Outbox, server: CollectorServer
) -> None:
    ids = [new_id() for _ in range(10)]
    for stream_id in ids:
        fill(outbox, stream_id, 3)
    server.fault("status", times=12, status=503)

    report = send(outbox, server)

    assert report.is_complete
    for stream_id in ids:
        assert_delivered(outbox, server, stream_id, 3)


class _TakesNothing:
    """Says which packet came last, but takes none."""

    fingerprint = "0" * 16

    def __init__(self) -> None:
        self.n_posts = 0

    async def post(self, body: bytes) -> PostAnswer:
        del body
        self.n_posts += 1
        await asyncio.sleep(0)
        return PostAnswer(503, "maintenance")

    async def last(self, stream_id: str) -> datetime | None:
        del stream_id
        return None


def test_answers_for_the_last_packet_do_not_hide_that_no_packet_is_taken(outbox: Outbox) -> None:
    for _ in range(20):
        fill(outbox, new_id(), 2)
    collector = _TakesNothing()
    waits: list[str] = []
    limits = DrainLimits(request_timeout_s=0.01, backoff_base_s=0.01)

    report = asyncio.run(drain(outbox, {"main": collector}, limits=limits, on_wait=waits.append))

    assert collector.n_posts <= 20 + 4
    assert "HTTP 503: maintenance" in report.sentences[0]
    assert report.n_pending == 40
    # Told, and not twenty times.
    assert any("calls in a row failed (HTTP 503: maintenance)" in wait for wait in waits)
    assert any("may still arrive" in wait for wait in waits)
    assert len(waits) <= 6


def test_refused_post_parks_all_streams_of_the_credential_and_no_other(
    outbox: Outbox, server: CollectorServer
) -> None:
    ours, idle, other = new_id(), new_id(), new_id("other")
    fill(outbox, idle, 1, credential="second")
    assert send(outbox, server).is_complete
    fill(outbox, ours, 3, credential="second")
    fill(outbox, other, 3)

    class Forbidding(Wrapped):
        async def post(self, body: bytes) -> PostAnswer:
            del body
            return PostAnswer(403, "not your stream")

    def wrap(name: str, collector: WatticsCollector) -> Wrapped:
        return Forbidding(collector) if name == "second" else Wrapped(collector)

    report = send(outbox, server, wrap=wrap)

    assert_delivered(outbox, server, other, 3)
    assert report.streams[ours].is_parked
    assert "HTTP 403: not your stream" in report.sentences[0]
    parked = {s.stream_id for s in outbox.streams() if s.parked_reason}
    assert parked == {ours, idle}
    refused_by = outbox.connection.execute("SELECT DISTINCT refused_by FROM stream").fetchall()
    assert {len(each or "") for (each,) in refused_by} == {0, 16}
    assert set(states(outbox, ours).values()) == {"pending"}


@pytest.mark.parametrize(
    ("status", "refusals", "is_parked"),
    [
        (400, {}, False),
        (400, {400: "park"}, True),
        (404, {}, True),
        (404, {404: "reject"}, False),
        (413, {}, False),
        (422, {422: "park"}, True),
    ],
)
def test_refusal_rejects_the_packet_or_parks_the_stream_as_configured(
    outbox: Outbox,
    server: CollectorServer,
    status: int,
    refusals: Mapping[int, Refusal],
    is_parked: bool,
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 3)
    # The question for the last packet and the first packet pass.
    server.fault("slow", times=2, delay_s=0.0)
    server.fault("status", times=1, status=status)
    limits = replace(LIMITS, refusals={**LIMITS.refusals, **refusals})

    report = send(outbox, server, limits=limits)

    assert report.streams[stream_id].is_parked == is_parked
    assert f"`energy-etl outbox retry --stream {stream_id}`" in report.sentences[0]
    if is_parked:
        assert list(states(outbox, stream_id).values()) == ["sent", "pending", "pending"]
        outbox.retry([stream_id])
        assert send(outbox, server).is_complete
        assert_delivered(outbox, server, stream_id, 3)
    else:
        assert list(states(outbox, stream_id).values()) == ["confirmed", "rejected", "confirmed"]
        assert report.n_rejected == 1


class _Busy(Wrapped):
    """Answers its first packet with 429 and a wish to wait; notes when packets are posted."""

    def __init__(self, collector: WatticsCollector, wait_s: float | None) -> None:
        super().__init__(collector)
        self._wait_s = wait_s
        self.posted: list[float] = []

    async def post(self, body: bytes) -> PostAnswer:
        self.posted.append(time.monotonic())
        if len(self.posted) == 1 and self._wait_s is not None:
            return PostAnswer(429, "slowly", self._wait_s)
        return await super().post(body)


def test_retry_after_is_obeyed_by_all_streams_of_the_credential_and_by_no_other(
    outbox: Outbox, server: CollectorServer
) -> None:
    ids, other = [new_id() for _ in range(3)], new_id("other")
    for stream_id in ids:
        fill(outbox, stream_id, 3)
    fill(outbox, other, 3, credential="second")
    busy: dict[str, _Busy] = {}
    waits: list[str] = []

    def wrap(name: str, collector: WatticsCollector) -> _Busy:
        return busy.setdefault(name, _Busy(collector, 1.2 if name == "main" else None))

    report = send(outbox, server, wrap=wrap, on_wait=waits.append)

    assert report.is_complete
    for stream_id in ids:
        assert_delivered(outbox, server, stream_id, 3)
    assert_delivered(outbox, server, other, 3, "second")
    first = busy["main"].posted[0]
    # What was already under way may still arrive right after.
    assert not [at for at in busy["main"].posted if first + 0.5 < at < first + 1.2]
    assert max(busy["second"].posted) < first + 1.2
    # Told once a second at most: a slow machine may see the end of the wait told as well.
    assert 1 <= len(waits) <= 2
    for wait in waits:
        assert wait.startswith("Credential 'main' waits for ")
        assert "the collector asked for it (HTTP 429: slowly)" in wait


def test_wait_beyond_the_limit_ends_the_run_and_holds_for_the_next_one(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 3)
    server.fault("slow", times=1, delay_s=0.0)
    server.fault("status", times=1, status=429, retry_after_s=3600)

    report = send(outbox, server)

    assert "wait for 3600 s" in report.sentences[0]
    assert report.n_pending == 3
    retry_at = outbox.due(datetime.now(UTC)).next_retry_at
    assert retry_at is not None
    assert retry_at > datetime.now(UTC) + timedelta(minutes=59)

    # A stream that comes new is due, but its credential is not to be used yet.
    fill(outbox, new_id(), 1)
    n_requests = server.n_requests()
    report = send(outbox, server)
    assert "told to an earlier send run" in report.sentences[0]
    assert server.n_requests() == n_requests


def test_one_stream_that_is_parked_fails_only_the_run_that_parked_it(
    outbox: Outbox, server: CollectorServer
) -> None:
    bad, good = new_id(), new_id("good")
    fill(outbox, bad, 1)
    server.fault("status", times=2, status=404)
    report = send(outbox, server)
    assert not report.is_complete

    fill(outbox, good, 2)
    report = send(outbox, server)

    assert report.streams[bad].was_parked
    assert len(report.sentences) == 1
    assert report.is_complete
    assert server.collected(good).stamps_ms == [stamp_ms(1), stamp_ms(2)]
