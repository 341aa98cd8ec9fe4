"""What all streams of one credential share within a drain, and how answers are told to people."""

import asyncio
import time

from energy_etl.delivery.collector import Answer, Collector
from energy_etl.state import us_to_instant


class StreamEndError(Exception):
    """This stream ends for now; the message is a sentence for people."""


class Account:
    """One credential: a refusal stops all of its streams, a rate limit makes them wait."""

    def __init__(self, name: str, collector: Collector) -> None:
        """Begin open and not refused."""
        self.name = name
        self.collector = collector
        self.refusal: str | None = None
        self._closed_until = 0.0

    def refuse(self, sentence: str) -> None:
        """Stop every stream of this credential for the rest of the drain."""
        self.refusal = self.refusal or sentence

    def close_for(self, wait_s: float) -> None:
        """Let no call pass for a while."""
        self._closed_until = max(self._closed_until, time.monotonic() + wait_s)

    async def wait_until_open(self) -> None:
        """Wait as long as the vendor asked for.

        Raises:
            StreamEndError: the credential was refused.
        """
        while (wait_s := self._closed_until - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        if self.refusal:
            raise StreamEndError(self.refusal)


def is_open(answer: Answer) -> bool:
    """Return True when the packet may have arrived although the answer is no."""
    return answer.status != 429 and answer.may_have_arrived


def what_answered(answer: Answer) -> str:
    """Return an answer in a few words."""
    text = " ".join(answer.text.split())[:200]
    return f"HTTP {answer.status}: {text}" if answer.status is not None else text


def stamp_text(stamped_ms: int | None) -> str:
    """Return a stamp in UTC as people read it."""
    if stamped_ms is None:
        return "none"
    instant = us_to_instant(stamped_ms * 1000)
    digits = "milliseconds" if stamped_ms % 1000 else "seconds"
    return instant.isoformat(timespec=digits)
