"""Packets that the vendor had and forgot: sent again by decision, and what it restored is found."""

from dataclasses import dataclass

import pytest

from energy_etl.delivery import Outbox
from energy_etl.delivery.lease import hold_lease
from energy_etl.delivery.resending import forgotten, resend
from energy_etl.errors import DeliveryError
from energy_etl.sandbox.wattics import StreamLog
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
from energy_etl_tests.delivery.sending import fill, send


@dataclass
class _Log:
    """What the collector holds of one stream, and all that it ever did."""

    server: CollectorServer
    stream_id: str
    known: list[str]

    def keep(self, n: int) -> None:
        streams = self.server.sandbox.app.wattics.streams["main"]
        log = streams[self.stream_id] = StreamLog()
        for text in self.known[:n]:
            raw = text.encode()
            log.packets.append(raw)
            log.stamps_ms.append(stamp_ms(len(log.packets)))
            log.last = log.newest = raw
            log.newest_ms = log.stamps_ms[-1]
            log.seen.add(log.newest_ms)

    def bodies(self) -> list[str]:
        return self.server.collected(self.stream_id).bodies


def _forgetting(outbox: Outbox, server: CollectorServer, stream_id: str, n_kept: int) -> _Log:
    """Have a stream parked: of five confirmed packets the collector has only the first ones."""
    fill(outbox, stream_id, 5)
    assert send(outbox, server).is_complete
    log = _Log(server, stream_id, server.collected(stream_id).bodies)
    log.keep(n_kept)
    fill(outbox, stream_id, 6)
    report = send(outbox, server)
    assert f"`energy-etl outbox retry --stream {stream_id} --resend`" in report.sentences[0]
    return log


@pytest.mark.parametrize("n_kept", [0, 2])
def test_what_the_vendor_forgot_goes_again_when_somebody_decides_so(
    outbox: Outbox, server: CollectorServer, n_kept: int
) -> None:
    stream_id = new_id()
    log = _forgetting(outbox, server, stream_id, n_kept)
    # Number 4 was another value when it was sent: told as a correction, and due with it now.
    outbox.fill(packets(stream_id, [4], 7.5), [plan(stream_id)], now=NOW)

    found = forgotten(outbox, stream_id)
    assert (found.last_ms, found.n_packets) == (stamp_ms(n_kept) if n_kept else None, 5 - n_kept)
    assert (found.first_ms, found.newest_ms) == (stamp_ms(n_kept + 1), stamp_ms(5))
    assert resend(outbox, stream_id) == 5 - n_kept
    report = send(outbox, server)

    assert report.is_complete
    assert report.streams[stream_id].n_sent == 6 - n_kept
    assert log.bodies() == [body(stream_id, n, 7.5 if n == 4 else None) for n in range(1, 7)]
    assert set(states(outbox, stream_id).values()) == {"confirmed"}
    with pytest.raises(DeliveryError, match="not parked for packets that the vendor forgot"):
        resend(outbox, stream_id)


@pytest.mark.parametrize("n_restored", [4, 5])
def test_what_the_vendor_restored_after_all_does_not_go_again(
    outbox: Outbox, server: CollectorServer, n_restored: int
) -> None:
    stream_id = new_id()
    log = _forgetting(outbox, server, stream_id, 2)
    outbox.fill(packets(stream_id, [4], 7.5), [plan(stream_id)], now=NOW)
    resend(outbox, stream_id)
    log.keep(n_restored)

    report = send(outbox, server)

    assert report.is_complete
    assert report.streams[stream_id].n_found == n_restored - 2
    assert log.bodies() == [body(stream_id, n) for n in range(1, 7)]
    assert states(outbox, stream_id) == {
        n: "superseded" if n == 4 else "confirmed" for n in range(1, 7)
    }


def test_nothing_goes_again_while_a_run_sends_or_when_nothing_was_forgotten(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id, well = new_id(), new_id()
    _forgetting(outbox, server, stream_id, 2)
    fill(outbox, well, 1)
    with hold_lease(outbox.path), pytest.raises(DeliveryError, match="Another send run is active"):
        resend(outbox, stream_id)
    with pytest.raises(DeliveryError, match=f"{well} is not parked for packets that the vendor"):
        resend(outbox, well)
    # Without it, a retry asks the vendor again and parks the stream again.
    outbox.retry([stream_id])
    assert "forgot packets" in send(outbox, server).sentences[0]
    assert forgotten(outbox, stream_id).n_packets == 3
