"""What a drain makes durable before it goes on, so that a kill or a fault is not misread later."""

import asyncio
from datetime import UTC, datetime

import pytest

from energy_etl.delivery import DrainLimits, Outbox, drain, release
from energy_etl.state import open_state
from energy_etl.vendors.wattics.collector import PostAnswer
from energy_etl_tests.delivery.conftest import NOW, new_id, packets, plan, stamp

LIMITS = DrainLimits(request_timeout_s=0.2, backoff_base_s=0.01, max_attempts=2)


class _Refusing:
    """Refuses its first packet; at the next one it notes what the outbox says of the first."""

    fingerprint = "0" * 16

    def __init__(self, state_path: str) -> None:
        self._state_path = state_path
        self.n_posts = 0
        self.n_rejected_seen: list[int] = []

    async def post(self, body: bytes) -> PostAnswer:
        del body
        self.n_posts += 1
        if self.n_posts == 1:
            return PostAnswer(400, "no such field")
        with open_state(self._state_path) as connection:
            self.n_rejected_seen.append(Outbox(connection).count("rejected"))
        return PostAnswer(200)

    async def last(self, stream_id: str) -> datetime | None:
        del stream_id
        return stamp(self.n_posts) if self.n_posts > 1 else None


@pytest.fixture
def filled(outbox: Outbox) -> Outbox:
    stream_id = new_id()
    outbox.fill(packets(stream_id, range(1, 4)), [plan(stream_id)], now=NOW)
    release(outbox, [plan(stream_id)], [], NOW)
    return outbox


def test_refusal_is_durable_before_a_newer_packet_is_sent(filled: Outbox) -> None:
    # A kill in between took the refused packet for one that had arrived.
    collector = _Refusing(filled.path)
    asyncio.run(drain(filled, {"main": collector}, limits=LIMITS))
    assert collector.n_rejected_seen == [1, 1]


def test_stream_without_its_credential_waits_instead_of_being_due_at_once(filled: Outbox) -> None:
    # The sensor asked for a send run every ten seconds until somebody added the credential.
    report = asyncio.run(drain(filled, {}, limits=LIMITS))
    assert "is not among the settings" in report.sentences[0]
    due = filled.due(datetime.now(UTC))
    assert due.stream_ids == ()
    assert due.next_retry_at is not None
