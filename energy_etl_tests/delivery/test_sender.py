"""Draining into a real collector over HTTP, with every fault it can be asked for."""

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_etl.delivery import DrainLimits, DrainReport, Outbox, drain, release
from energy_etl.delivery.mirror import status_frame
from energy_etl.errors import BadRequestError, DeliveryError
from energy_etl.state import connect
from energy_etl.vendors.wattics.collector import PostAnswer, open_collectors
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
from energy_etl_tests.delivery.sending import (
    LIMITS,
    TIMEOUT_S,
    Wrapped,
    assert_delivered,
    fill,
    send,
    wattics_settings,
)


def test_everything_pending_arrives_in_order_and_is_confirmed(
    outbox: Outbox, server: CollectorServer
) -> None:
    ids = [new_id() for _ in range(6)]
    for stream_id in ids:
        fill(outbox, stream_id, 30)
    shown: list[tuple[int, int]] = []

    async def run() -> DrainReport:
        async with open_collectors(wattics_settings(server)) as collectors:
            return await drain(
                outbox, collectors, limits=LIMITS, on_progress=lambda *n: shown.append(n)
            )

    report = asyncio.run(run())

    for stream_id in ids:
        assert_delivered(outbox, server, stream_id, 30)
    assert report.is_complete
    assert (report.n_sent, report.n_pending) == (180, 0)
    assert {stream.n_confirmed for stream in report.streams.values()} == {30}
    assert shown[-1] == (180, 180)
    assert outbox.due(NOW).stream_ids == ()


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_more_streams_are_under_way_than_the_limit(
    outbox: Outbox, server: CollectorServer, limit: int
) -> None:
    under_way: Counter[str] = Counter()
    most = [0]

    class Counting(Wrapped):
        """Notes which streams have a packet in flight, and how many packets each has."""

        async def post(self, body: bytes) -> PostAnswer:
            stream_id = str(json.loads(body)["id"])
            under_way[stream_id] += 1
            assert under_way[stream_id] == 1
            most[0] = max(most[0], under_way.total())
            answer = await super().post(body)
            under_way[stream_id] -= 1
            return answer

    ids = [new_id() for _ in range(5)]
    for stream_id in ids:
        fill(outbox, stream_id, 4)
    limits = replace(LIMITS, max_parallel_streams=limit)
    report = send(outbox, server, limits=limits, wrap=lambda _, collector: Counting(collector))
    assert report.is_complete
    assert min(limit, 2) <= most[0] <= limit


def test_a_second_drain_sends_nothing_and_asks_nothing(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 5)
    send(outbox, server)
    n_requests = server.n_requests()

    assert send(outbox, server).streams == {}
    assert server.n_requests() == n_requests


def test_held_packets_are_not_sent(outbox: Outbox, server: CollectorServer) -> None:
    stream_id = new_id()
    outbox.fill(packets(stream_id, [1, 2, 4]), [plan(stream_id)], now=NOW)
    release(outbox, [plan(stream_id)], [], NOW)
    send(outbox, server)
    assert server.collected(stream_id).stamps_ms == [stamp_ms(1), stamp_ms(2)]
    assert states(outbox, stream_id) == {1: "confirmed", 2: "confirmed", 4: "held"}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop_before"},
        {"kind": "drop_after"},
        {"kind": "late_commit", "delay_s": TIMEOUT_S},
        {"kind": "slow", "delay_s": TIMEOUT_S * 1.8},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 408},
    ],
    ids=lambda fault: str(fault.get("status", fault["kind"])),
)
def test_a_fault_in_the_middle_loses_and_doubles_nothing(
    outbox: Outbox, server: CollectorServer, fault: dict[str, object]
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 4)
    # The first call asks for the last packet; the two after it are packets.
    server.fault("slow", times=1, delay_s=0.0)
    server.fault("slow", times=1, delay_s=0.0)
    server.fault(**{"times": 1, **fault})  # pyright: ignore[reportArgumentType]

    report = send(outbox, server)

    assert report.is_complete
    assert_delivered(outbox, server, stream_id, 4)


_FAULTS = st.one_of(
    st.just({"kind": "slow", "delay_s": 0.0}),
    st.just({"kind": "drop_before"}),
    st.just({"kind": "drop_after"}),
    st.just({"kind": "late_commit", "delay_s": 0.12}),
    st.just({"kind": "slow", "delay_s": 0.3}),
    st.just({"kind": "status", "status": 503}),
    st.just({"kind": "status", "status": 429, "retry_after_s": 0}),
)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(_FAULTS, min_size=3, max_size=14))
def test_any_schedule_of_faults_ends_with_everything_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    server: CollectorServer,
    schedule: list[dict[str, object]],
) -> None:
    server.clear()
    ids = [new_id() for _ in range(3)]
    connection = connect(tmp_path_factory.mktemp("faults") / "state.sqlite")
    with contextlib.closing(connection):
        outbox = Outbox(connection)
        for stream_id in ids:
            fill(outbox, stream_id, 6)
        for fault in schedule:
            server.fault(**{"times": 1, **fault})  # pyright: ignore[reportArgumentType]
        patient = DrainLimits(request_timeout_s=0.2, backoff_base_s=0.005, max_attempts=6)

        async def run() -> None:
            async with open_collectors(wattics_settings(server, 0.2)) as collectors:
                await drain(outbox, collectors, limits=patient)

        for _ in range(4):
            asyncio.run(run())
            if outbox.count("confirmed") == 18:
                break
        for stream_id in ids:
            assert_delivered(outbox, server, stream_id, 6)


def test_without_asking_for_the_last_packet_there_are_duplicates(
    outbox: Outbox, server: CollectorServer
) -> None:
    """The control: the faults above do double packets when nobody asks."""

    class Blind(Wrapped):
        async def last(self, stream_id: str) -> datetime | None:
            raise BadRequestError(f"{stream_id}: not offered")

    stream_id = new_id()
    fill(outbox, stream_id, 3)
    server.fault("drop_after", times=1)

    report = send(outbox, server, wrap=lambda _, collector: Blind(collector))

    collected = server.collected(stream_id)
    assert collected.n_duplicates == 1
    assert collected.n_out_of_order == 0
    # In order, at least once, and honest about what nobody confirmed.
    assert set(states(outbox, stream_id).values()) == {"sent"}
    assert report.is_complete
    assert not report.streams[stream_id].is_confirmable


def test_one_poisoned_stream_among_twenty_does_not_stop_the_others(
    outbox: Outbox, server: CollectorServer
) -> None:
    good, bad = [new_id("good") for _ in range(19)], new_id("bad")
    for stream_id in good:
        fill(outbox, stream_id, 3)
    poisoned = (
        packets(bad, range(1, 6))
        .with_row_index("n")
        .with_columns(body=packets(bad, range(1, 6))["body"].str.replace("pC_1", "unknown_field"))
    )
    mixed = (
        packets(bad, range(1, 6))
        .with_row_index("n")
        .update(poisoned.filter(poisoned["n"] == 2), on="n")
    )
    outbox.fill(mixed.drop("n"), [plan(bad)], now=NOW)
    release(outbox, [plan(bad)], [], NOW)

    report = send(outbox, server)

    for stream_id in good:
        assert_delivered(outbox, server, stream_id, 3)
    assert states(outbox, bad) == {
        1: "confirmed",
        2: "confirmed",
        3: "rejected",
        4: "confirmed",
        5: "confirmed",
    }
    assert report.n_rejected == 1
    with pytest.raises(DeliveryError, match=r"1 were refused.*Unknown key 'unknown_field'"):
        report.raise_if_incomplete()
    status, error = outbox.connection.execute(
        "SELECT status, error FROM packet WHERE state = 'rejected'"
    ).fetchone()
    assert (status, "unknown_field" in error) == (400, True)


def test_a_wrong_password_stops_its_streams_at_once_and_sends_all_when_mended(
    outbox: Outbox, server: CollectorServer
) -> None:
    first, second, other = new_id(), new_id(), new_id("other")
    for stream_id in (first, second):
        fill(outbox, stream_id, 5, credential="second")
    fill(outbox, other, 5)
    before = server.n_requests()

    report = send(outbox, server, passwords={"second": "wrong-canary-password"})

    assert_delivered(outbox, server, other, 5)
    assert report.n_pending == 10
    (sentence,) = report.sentences
    assert sentence.startswith("The collector refused credential 'second' (HTTP 401")
    assert "`energy-etl outbox retry --credential second`" in sentence
    assert "canary" not in sentence
    with pytest.raises(DeliveryError, match="10 packets of 2 streams were due"):
        report.raise_if_incomplete()
    # One question per refused stream at most, no packet.
    assert server.n_requests() - before <= 2 + (1 + 5 + 1)
    assert outbox.due(datetime.now(UTC)).stream_ids == ()
    assert [s.parked_reason for s in outbox.streams() if s.credential == "second"] == [sentence] * 2

    # The same password again: nothing is asked, and no run fails for what was parked before.
    n_requests = server.n_requests()
    again = send(outbox, server, passwords={"second": "wrong-canary-password"})
    assert again.sentences == [sentence]
    again.raise_if_incomplete()
    assert server.n_requests() == n_requests

    # Mended, it goes on without any command.
    mended = send(outbox, server)

    assert mended.is_complete
    for stream_id in (first, second):
        assert_delivered(outbox, server, stream_id, 5, "second")


def test_an_unknown_stream_is_parked_and_goes_on_after_a_retry(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 3)
    server.fault("status", times=2, status=404)  # the last packet, then the first post

    report = send(outbox, server)
    assert report.streams[stream_id].is_parked
    assert "does not know stream" in report.sentences[0]
    assert states(outbox, stream_id) == {1: "pending", 2: "pending", 3: "pending"}
    parked = send(outbox, server)
    assert parked.streams[stream_id].is_parked
    assert status_frame(outbox)["parked_reason"][0] == report.sentences[0]

    outbox.retry([stream_id])
    assert send(outbox, server).is_complete
    assert_delivered(outbox, server, stream_id, 3)


def test_a_collector_that_is_down_ends_in_bounded_time_and_the_next_run_resumes(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 3)
    server.fault("down")
    report = send(outbox, server)
    assert (report.n_sent, report.n_pending) == (0, 3)
    assert "could not say which packet came last" in report.sentences[0]

    server.clear()
    assert send(outbox, server).is_complete
    assert_delivered(outbox, server, stream_id, 3)


def test_a_collector_that_dies_in_the_middle_keeps_what_it_has(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 6)
    for _ in range(3):
        server.fault("slow", times=1, delay_s=0.0)
    server.fault("down")
    report = send(outbox, server)
    assert (report.n_sent, report.n_pending) == (2, 4)

    server.clear()
    assert send(outbox, server).is_complete
    assert_delivered(outbox, server, stream_id, 6)


def test_somebody_else_who_pushes_the_stream_parks_it(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 3)
    foreign = body(stream_id, 50).encode()

    async def push() -> None:
        async with open_collectors(wattics_settings(server)) as collectors:
            assert (await collectors["main"].post(foreign)).status == 200

    asyncio.run(push())
    report = send(outbox, server)

    assert "somebody else pushes" in report.sentences[0]
    assert server.collected(stream_id).stamps_ms == [stamp_ms(50)]


def test_a_vendor_that_forgot_confirmed_packets_parks_the_stream(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 3)
    send(outbox, server)
    del server.sandbox.app.wattics.streams["main"][stream_id]
    fill(outbox, stream_id, 5)

    report = send(outbox, server)

    assert "forgot packets" in report.sentences[0]
    assert server.collected(stream_id).stamps_ms == []


def test_a_credential_that_is_not_configured_is_named(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 2, credential="third")
    report = send(outbox, server)
    assert "'third'" in report.sentences[0]
    assert report.n_pending == 2


def test_a_packet_filled_and_released_during_the_drain_is_never_out_of_order(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    agreed = plan(stream_id)
    outbox.fill(packets(stream_id, [1, 2, 4, 5]), [agreed], now=NOW)
    later = NOW + timedelta(hours=49)
    release(outbox, [agreed], [], later)
    behind = body(stream_id, 4)

    class Filling(Wrapped):
        """Fills the hole when the packet behind it was just sent."""

        async def post(self, body: bytes) -> PostAnswer:
            answer = await super().post(body)
            if body.decode() == behind:
                with contextlib.closing(connect(outbox.path)) as connection:
                    second = Outbox(connection)
                    second.fill(packets(stream_id, [3, 6]), [agreed], now=later)
                    release(second, [agreed], [], later)
            return answer

    report = send(outbox, server, wrap=lambda _, collector: Filling(collector))

    collected = server.collected(stream_id)
    assert collected.stamps_ms == [stamp_ms(n) for n in (1, 2, 4, 5, 6)]
    assert collected.n_out_of_order == 0
    release(outbox, [agreed], [], later)
    assert states(outbox, stream_id)[3] == "held"
    assert report.n_pending == 0
