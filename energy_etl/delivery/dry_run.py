"""What a send run would send now, packet by packet, from a copy of the outbox that may be changed.

The copy is released and prepared as the outbox itself would be, by the same functions; then what is
pending in it is read the way a stream's sender reads it. Nobody is called, so what the vendor would
say first is not known: where a packet may have arrived without an answer, the vendor is asked for
its last one, and what it has is not sent again.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from energy_etl.delivery.outbox import Outbox, StreamState
from energy_etl.delivery.schema import HOLD_REASON, REASONS
from energy_etl.state import us_to_instant

_WAITING = " ".join(
    (
        "SELECT",
        HOLD_REASON,
        "FROM packet JOIN stream USING (stream_id) WHERE state = 'held' AND stream_id = :stream_id",
        "ORDER BY stamped_ms LIMIT 1",
    )
)


@dataclass(frozen=True)
class StreamOutlook:
    """What a send run would do with one stream.

    Attributes:
        stream_id: the stream.
        credential: who pushes it.
        n_due: packets that would be sent.
        first_at: stamp of the first of them.
        last_at: stamp of the last of them.
        n_waiting: packets that are not sent now: held, or pending where the stream stands still.
        why: what the oldest of those waits for, or why the stream stands still.
        n_rejected: packets that were refused and wait for a person.
        is_open: a packet may have arrived without an answer, so the vendor is asked first.
    """

    stream_id: str
    credential: str
    n_due: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    n_waiting: int = 0
    why: str | None = None
    n_rejected: int = 0
    is_open: bool = False

    def row(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "stream_id": self.stream_id,
            "credential": self.credential,
            "n_due": self.n_due,
            "first_at": _text(self.first_at),
            "last_at": _text(self.last_at),
            "n_waiting": self.n_waiting,
            "why": self.why,
            "n_rejected": self.n_rejected,
            "is_open": self.is_open,
        }

    @property
    def sentence(self) -> str:
        """One line for people."""
        parts = []
        if self.n_due:
            parts.append(f"{self.n_due} due, {_text(self.first_at)} to {_text(self.last_at)}")
        if self.is_open:
            parts.append("one may have arrived without an answer: the vendor is asked first")
        if self.n_waiting:
            parts.append(f"{self.n_waiting} wait")
        if self.n_rejected:
            parts.append(f"{self.n_rejected} were refused (`energy-etl outbox list`)")
        told = "; ".join(parts) or "nothing to send"
        why = f": {self.why.rstrip('.')}" if self.why and self.n_waiting else ""
        return f"{self.stream_id} (by {self.credential}): {told}{why}."


def outlook(copy: Outbox, credentials: Collection[str]) -> list[StreamOutlook]:
    """Return what would become of each stream, by id.

    Args:
        copy: of an outbox, released up to now; it is changed as a send run would change it.
        credentials: names of those that the settings have.
    """
    states = copy.streams()
    going = [each.stream_id for each in states if _why_not(each, credentials) is None]
    copy.begin_sending(going)
    return [_of_stream(copy, each, _why_not(each, credentials)) for each in states]


def packet_lines(copy: Outbox, streams: Iterable[StreamOutlook], url: str) -> Iterator[str]:
    """Yield a line of JSON per packet that would be sent, per stream in order.

    `body` holds the text whose UTF-8 bytes would be posted to `url`.

    Args:
        copy: as `outlook` left it.
        streams: of that outlook.
        url: the collector's.
    """
    for stream in streams:
        if not stream.n_due:
            continue
        for stamped_ms, body in _due(copy, stream.stream_id):
            line = {
                "stream_id": stream.stream_id,
                "credential": stream.credential,
                "url": url,
                "stamped_at": _text(us_to_instant(stamped_ms * 1000)),
                "body": body,
            }
            yield json.dumps(line, ensure_ascii=False)


def _of_stream(copy: Outbox, state: StreamState, why_not: str | None) -> StreamOutlook:
    stream_id = state.stream_id
    n_pending, n_held = copy.count("pending", stream_id), copy.count("held", stream_id)
    n_rejected = copy.count("rejected", stream_id)
    if why_not is not None:
        return StreamOutlook(
            stream_id,
            state.credential,
            n_waiting=n_pending + n_held,
            why=why_not,
            n_rejected=n_rejected,
        )
    why = copy.connection.execute(_WAITING, {**REASONS, "stream_id": stream_id}).fetchone()
    first_ms, last_ms, n_due = None, None, 0
    for stamped_ms, _ in _due(copy, stream_id):
        first_ms = stamped_ms if first_ms is None else first_ms
        last_ms, n_due = stamped_ms, n_due + 1
    return StreamOutlook(
        stream_id,
        state.credential,
        n_due,
        None if first_ms is None else us_to_instant(first_ms * 1000),
        None if last_ms is None else us_to_instant(last_ms * 1000),
        n_held + n_pending - n_due,
        why[0] if why else None,
        n_rejected,
        state.is_sending,
    )


def _due(copy: Outbox, stream_id: str) -> Iterator[tuple[int, str]]:
    """Yield what `StreamSender.deliver` would read; the vendor's answer could only shorten it."""
    (state,) = copy.streams(stream_id)
    behind_ms = None if state.is_historical else state.last_sent_ms
    while batch := copy.pending(stream_id, behind_ms):
        yield from batch
        behind_ms = batch[-1][0]


def _why_not(state: StreamState, credentials: Collection[str]) -> str | None:
    """Say why a stream stands still, None when it does not."""
    if state.parked_reason is not None:
        return state.parked_reason
    if state.credential not in credentials:
        return f"the credential {state.credential} is not in the settings"
    return None


def _text(instant: datetime | None) -> str | None:
    if instant is None:
        return None
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
