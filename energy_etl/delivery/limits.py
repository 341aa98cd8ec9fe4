"""How patient a drain is, and what it reports."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

from energy_etl.errors import DeliveryError

Refusal = Literal["reject", "park"]


class PatienceSettings(Protocol):
    """What a vendor's settings say about a drain; the fields are those of `DrainLimits`."""

    @property
    def max_parallel_streams(self) -> int: ...  # noqa: D102
    @property
    def request_timeout_s(self) -> float: ...  # noqa: D102
    @property
    def on_refusal(self) -> Mapping[int, Refusal]: ...  # noqa: D102
    @property
    def breaker_after(self) -> int: ...  # noqa: D102
    @property
    def breaker_gives_up_after(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class DrainLimits:
    """Bounds of one drain.

    Attributes:
        max_parallel_streams: streams under way at once; each has one packet in flight.
        request_timeout_s: the collector's; a late commit comes at most this long after the
            failure.
        max_attempts: posts of one packet, and questions for the last one, in a row.
        backoff_base_s: first wait after a failure; doubled each time.
        backoff_cap_s: longest wait of our own.
        retry_after_cap_s: longest wait that a vendor may ask for within a drain; when it asks for
            more, its streams end for now.
        refusals: HTTP status -> reject the packet and go on, or park its stream.
        breaker_after: calls of one credential that fail in a row, over all of its streams, before
            one stream alone tries and the others wait.
        breaker_gives_up_after: the drain ends for a credential when it is to wait like that for
            this time, with no packet accepted in between.
    """

    max_parallel_streams: int = 32
    request_timeout_s: float = 10.0
    max_attempts: int = 5
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    retry_after_cap_s: float = 120.0
    refusals: Mapping[int, Refusal] = field(
        default_factory=lambda: {400: "reject", 404: "park", 413: "reject", 422: "reject"}
    )
    breaker_after: int = 5
    breaker_gives_up_after: int = 5

    @classmethod
    def from_settings(cls, settings: PatienceSettings) -> Self:
        """Take what a vendor's settings say; the rest is as by default."""
        return cls(
            max_parallel_streams=settings.max_parallel_streams,
            request_timeout_s=settings.request_timeout_s,
            refusals=settings.on_refusal,
            breaker_after=settings.breaker_after,
            breaker_gives_up_after=settings.breaker_gives_up_after,
        )

    def backoff_s(self, attempt: int) -> float:
        """Return the wait after an attempt (from 1), with jitter."""
        longest_s = min(self.backoff_cap_s, self.backoff_base_s * 2 ** (attempt - 1))
        return longest_s * random.uniform(0.5, 1.0)

    @property
    def late_commit_s(self) -> float:
        """How long after a post failed its packet may still appear, with a margin."""
        return self.request_timeout_s * 1.1 + 0.05


@dataclass(slots=True)
class StreamReport:
    """What a drain did for one stream.

    `n_found` packets had arrived before (a kill, a lost answer); `n_sent` counts them too.
    `problem` is a sentence, None when everything due was delivered and confirmed. A stream that
    `was_parked` before the drain had nothing due: its sentence is there, but it fails no run.
    """

    stream_id: str
    n_sent: int = 0
    n_found: int = 0
    n_confirmed: int = 0
    n_pending: int = 0
    n_rejected: int = 0
    problem: str | None = None
    is_parked: bool = False
    was_parked: bool = False
    is_confirmable: bool = True


@dataclass(slots=True)
class DrainReport:
    """What a drain did; `sentences` has each problem once."""

    streams: dict[str, StreamReport] = field(default_factory=dict)
    elapsed_s: float = 0.0

    @property
    def n_sent(self) -> int:
        """Packets that the vendor accepted."""
        return sum(stream.n_sent for stream in self.streams.values())

    @property
    def n_rejected(self) -> int:
        """Packets that the vendor refused."""
        return sum(stream.n_rejected for stream in self.streams.values())

    @property
    def n_pending(self) -> int:
        """Packets that were due and are still there."""
        return sum(stream.n_pending for stream in self._due)

    @property
    def sentences(self) -> list[str]:
        """Each problem once, in order of the streams."""
        return _sentences(list(self.streams.values()))

    @property
    def is_complete(self) -> bool:
        """True when everything due was accepted and nothing was refused."""
        return not self.n_pending and not self.n_rejected and not _sentences(self._due)

    def raise_if_incomplete(self) -> None:
        """Raise a DeliveryError that says what is left and why, when something due is."""
        if self.is_complete:
            return
        sentences = _sentences(self._due)
        n_streams = sum(bool(s.problem or s.n_pending) for s in self._due)
        shown = " ".join(sentences[:5])
        more = f" And {len(sentences) - 5} more." if len(sentences) > 5 else ""
        raise DeliveryError(
            f"{self.n_pending} packets of {n_streams} streams were due and not delivered, "
            f"{self.n_rejected} were refused; `energy-etl outbox status` shows what each stream "
            f"waits for. {shown}{more}".rstrip()
        )

    @property
    def _due(self) -> list[StreamReport]:
        return [stream for stream in self.streams.values() if not stream.was_parked]


def _sentences(streams: list[StreamReport]) -> list[str]:
    return list(dict.fromkeys(stream.problem for stream in streams if stream.problem))
