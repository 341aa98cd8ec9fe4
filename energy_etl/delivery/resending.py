"""Packets that the vendor had confirmed and forgot: sent again when a person decides so.

A vendor that restores them needs nothing of this. The packets behind its last one become pending
again, oldest first and before all newer ones, with what their data say by now; offsets stay as they
are. The stream counts as being sent, so the next send run finds what was restored meanwhile before
it sends anything. What `delivery/pruning.py` deleted is not there any more and does not go again.
Of a stream that takes older packets after newer ones the last packet does not tell what was
restored before it: there they go at least once.
"""

from dataclasses import dataclass
from typing import Final

from energy_etl.delivery.lease import hold_lease
from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.schema import EARLIEST_MS
from energy_etl.errors import DeliveryError
from energy_etl.state import transaction

_FORGOTTEN: Final = (
    "FROM packet WHERE stream_id = :stream_id AND stamped_ms > :last_ms "
    "AND state IN ('sent', 'confirmed', 'superseded')"
)
_COUNT: Final = " ".join(("SELECT count(*), min(stamped_ms), max(stamped_ms)", _FORGOTTEN))
# Of what changed since it was sent the newest body goes; a vendor that restores has the older one.
_AGAIN: Final = """UPDATE packet SET state = 'pending', sent_us = NULL, confirmed_us = NULL,
    body_before = iif(state = 'superseded', body, NULL),
    body = iif(state = 'superseded', coalesce(nullif((SELECT body_now FROM correction
        WHERE correction.stream_id = packet.stream_id AND correction.stamped_ms = packet.stamped_ms
        ORDER BY noticed_us DESC LIMIT 1), ''), body), body)
    WHERE stream_id = :stream_id AND stamped_ms > :last_ms
    AND state IN ('sent', 'confirmed', 'superseded')"""
_BACK_TO_VENDOR: Final = """UPDATE stream SET is_sending = 1,
    last_sent_ms = nullif(:last_ms, :none), last_confirmed_ms = (SELECT max(stamped_ms) FROM packet
        WHERE packet.stream_id = stream.stream_id AND confirmed_us IS NOT NULL)
    WHERE stream_id = :stream_id"""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What the vendor had of a stream and has no more; stamps in milliseconds.

    Attributes:
        last_ms: the vendor's last packet; None: it has none.
        n_packets: how many of ours are newer.
        first_ms: the oldest of them.
        newest_ms: the newest of them.
    """

    last_ms: int | None
    n_packets: int
    first_ms: int
    newest_ms: int


def forgotten(outbox: Outbox, stream_id: str) -> Forgotten:
    """Return what the vendor forgot of a stream.

    Raises:
        DeliveryError: the stream is not parked for that.
    """
    row = outbox.connection.execute(
        "SELECT forgot_ms FROM stream WHERE stream_id = ?", (stream_id,)
    ).fetchone()
    if row is None or row[0] is None:
        raise DeliveryError(
            f"Stream {stream_id} is not parked for packets that the vendor forgot, so nothing of "
            "it goes again; `energy-etl outbox status` says what it waits for."
        )
    (last_ms,) = row
    counted = outbox.connection.execute(_COUNT, {"stream_id": stream_id, "last_ms": last_ms})
    return Forgotten(None if last_ms == EARLIEST_MS else last_ms, *counted.fetchone())


def resend(outbox: Outbox, stream_id: str) -> int:
    """Let a stream go on behind the vendor's last packet; return how many packets go again.

    Raises:
        DeliveryError: the stream is not parked for that, or a send run is active.
    """
    # A run that has just parked the stream may not have noted yet how that ended.
    with hold_lease(outbox.path), transaction(outbox.connection) as connection:
        last_ms = forgotten(outbox, stream_id).last_ms
        arguments = {
            "stream_id": stream_id,
            "last_ms": EARLIEST_MS if last_ms is None else last_ms,
            "none": EARLIEST_MS,
        }
        n_packets = connection.execute(_AGAIN, arguments).rowcount
        connection.execute(_BACK_TO_VENDOR, arguments)
        outbox.unpark(stream_id)
    return n_packets
