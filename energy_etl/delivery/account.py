"""One credential within a drain: what stops all of its streams, and what makes them wait.

Three things are a credential's and not a stream's: a refusal (401, 403) parks all of its streams at
once; a wish to wait (`Retry-After`) holds for each of its calls; and after several failures in a
row the circuit breaker lets one call at a time through until one is answered, so that a collector
that is down gets a handful of calls and not every attempt of every stream.

Not here: what becomes of a packet (`stream_sender.py`).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from energy_etl.delivery.collector import Answer, Collector
from energy_etl.delivery.limits import DrainLimits
from energy_etl.errors import (
    AuthenticationError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
    VendorError,
)
from energy_etl.state import instant_to_us, us_to_instant

Tell = Callable[[str, str], None]
_Kind = Literal["post", "last"]
_NOT_CLOSED: Final = 0.0


class StreamEndError(Exception):
    """This stream ends for now; the message is a sentence for people.

    Attributes:
        is_parking: True when somebody has to act before anything can be sent.
        others_ms: the vendor's last packet, when it is none that we know to have sent.
        forgot_ms: the vendor's last packet, when what was confirmed behind it is gone.
    """

    def __init__(
        self,
        sentence: str,
        *,
        is_parking: bool = False,
        others_ms: int | None = None,
        forgot_ms: int | None = None,
    ) -> None:
        """Keep what to tell, and whether the stream is parked by it."""
        super().__init__(sentence)
        self.is_parking = is_parking
        self.others_ms = others_ms
        self.forgot_ms = forgot_ms


class Account:
    """The way to the collector for all streams of one credential."""

    def __init__(
        self,
        name: str,
        collector: Collector,
        limits: DrainLimits,
        *,
        tell: Tell,
        on_refused: Callable[[str], Awaitable[None]],
        on_asked_to_wait: Callable[[float], None],
    ) -> None:
        """Begin open.

        Args:
            name: the credential's, as in the stream map.
            collector: where its calls go.
            limits: how patient to be.
            tell: takes (what it is about, sentence) of each wait.
            on_refused: takes the sentence when the credential is refused, once.
            on_asked_to_wait: takes the seconds that the collector asked for.
        """
        self.name = name
        self._collector = collector
        self._limits = limits
        self._tell = tell
        self._on_refused = on_refused
        self._on_asked_to_wait = on_asked_to_wait
        # Why nothing passes any more in this drain; None while calls pass.
        self.ending: str | None = None
        self._closed_until = _NOT_CLOSED
        self._why_closed = ""
        self._asked_until = _NOT_CLOSED
        # The circuit breaker.
        self._n_failures: dict[_Kind, int] = {"post": 0, "last": 0}
        self._n_closings = 0
        self._tripped_by: _Kind | None = None
        self._is_probing = False
        self._changed = asyncio.Event()

    async def post(self, body: bytes) -> tuple[Answer, float, float]:
        """Send one packet once; return the answer and the monotonic times around the call.

        Raises:
            StreamEndError: nothing passes any more, and nothing was sent.
        """
        is_probe = self._is_narrow and await self._pass()
        began = time.monotonic()
        try:
            answer = await self._collector.post(body)
        finally:
            self._end_probe(is_probe)
        status = answer.status
        is_failure = status is None or status >= 500 or status == 408
        self._note("post", what_answered(answer) if is_failure else None, is_probe)
        ended = time.monotonic()
        if status in (401, 403):
            await self._refuse(what_answered(answer))
        elif answer.retry_after_s is not None and (is_failure or status == 429):
            self._was_asked(answer.retry_after_s, what_answered(answer))
        return answer, began, ended

    async def last_ms(self, stream_id: str) -> int | None:
        """Ask once for the stamp of the last packet, in milliseconds; None when there is none.

        Raises:
            StreamEndError: nothing passes any more, or the credential is refused just now.
            VendorError: as the collector says; BadRequestError when it does not offer the call.
        """
        is_probe = self._is_narrow and await self._pass()
        try:
            last_at = await self._collector.last(stream_id)
        except (AuthenticationError, PermissionDeniedError) as refusal:
            code = f"HTTP {refusal.status} " if refusal.status else ""
            await self._refuse(f"{code}when asked for the last packet of stream {stream_id}")
            raise StreamEndError(self.ending or "") from None
        except RateLimitedError as error:
            if error.retry_after_s is not None:
                self._was_asked(error.retry_after_s, str(error))
            raise
        except UnavailableError as error:
            self._note("last", str(error), is_probe)
            raise
        except VendorError:
            self._note("last", None, is_probe)
            raise
        finally:
            self._end_probe(is_probe)
        self._note("last", None, is_probe)
        return None if last_at is None else instant_to_us(last_at) // 1000

    def close_for(self, wait_s: float, why: str) -> None:
        """Let no call pass for a while."""
        until = time.monotonic() + wait_s
        if until > self._closed_until:
            self._closed_until, self._why_closed = until, why

    def close_as_asked(self, wait_s: float, what: str) -> None:
        """Obey a wish to wait: within the drain when it is short, else the drain ends here."""
        self._asked_until = max(self._asked_until, time.monotonic() + wait_s)
        if wait_s > self._limits.retry_after_cap_s:
            self._end(
                f"The collector asks credential {self.name!r} to wait for {wait_s:.0f} s ({what}): "
                "its packets wait, a send run after that goes on."
            )
        else:
            self.close_for(wait_s, f"the collector asked for it ({what})")

    @property
    def is_tripped(self) -> bool:
        """True while the circuit breaker lets one call at a time through."""
        return self._tripped_by is not None

    @property
    def asked_wait_s(self) -> float:
        """How long the collector still wants to be left alone; 0 when it does not."""
        return max(0.0, self._asked_until - time.monotonic())

    async def _refuse(self, what: str) -> None:
        """Stop every stream of this credential until somebody acts."""
        if self.ending is None:
            self._end(
                f"The collector refused credential {self.name!r} ({what}): check its user, "
                "password and rights; its streams are parked, and go on by themselves when "
                "the credential in the settings has changed, or after `energy-etl outbox retry "
                f"--credential {self.name}`."
            )
            await self._on_refused(self.ending or "")

    @property
    def _is_narrow(self) -> bool:
        """True when not every call just passes."""
        return (
            self._closed_until != _NOT_CLOSED
            or self._tripped_by is not None
            or self.ending is not None
        )

    async def _pass(self) -> bool:
        """Wait until a call may go; True when it is the one that tries for all."""
        while self.ending is None:
            wait_s = self._closed_until - time.monotonic()
            if wait_s > 0:
                self._tell(
                    f"{self.name} closed",
                    f"Credential {self.name!r} waits for {wait_s:.1f} s: {self._why_closed}.",
                )
                await self._wait(wait_s)
                continue
            self._closed_until = _NOT_CLOSED
            if self._tripped_by is None:
                return False
            if not self._is_probing:
                self._is_probing = True
                return True
            await self._wait(None)
        raise StreamEndError(self.ending)

    async def _wait(self, wait_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), wait_s)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _end(self, sentence: str) -> None:
        self.ending = self.ending or sentence
        self._wake()

    def _end_probe(self, is_probe: bool) -> None:
        if is_probe:
            self._is_probing = False
            self._wake()

    def _note(self, kind: _Kind, failure: str | None, is_probe: bool) -> None:
        """Count failures in a row; an accepted packet settles the questions too."""
        if failure is None:
            self._n_failures[kind] = 0
            if kind == "post":
                self._n_failures["last"] = 0
            if self._tripped_by is not None and kind in ("post", self._tripped_by):
                self._tripped_by = None
                self._n_closings = 0
                self._wake()
            return
        self._n_failures[kind] += 1
        # What was under way when the breaker tripped says nothing new.
        if is_probe or (
            self._tripped_by is None and self._n_failures[kind] >= self._limits.breaker_after
        ):
            self._trip(kind, failure)

    def _trip(self, kind: _Kind, failure: str) -> None:
        self._tripped_by = self._tripped_by or kind
        self._n_closings += 1
        n_failures = self._n_failures[kind]
        if self._n_closings >= self._limits.breaker_gives_up_after:
            self._end(
                f"The collector does not answer as it should: {n_failures} calls of credential "
                f"{self.name!r} in a row failed, the last one with {failure!r}; its packets wait, "
                "the next send run tries again."
            )
        else:
            self.close_for(
                self._limits.backoff_s(self._n_closings),
                f"{n_failures} calls in a row failed ({failure}), one call tries after that",
            )

    def _was_asked(self, wait_s: float, what: str) -> None:
        self.close_as_asked(wait_s, what)
        self._on_asked_to_wait(wait_s)


def is_open(answer: Answer) -> bool:
    """Return True when the packet may have arrived although the answer is no."""
    return answer.status != 429 and answer.may_have_arrived


def what_answered(answer: Answer) -> str:
    """Return an answer in a few words."""
    text = " ".join(answer.text.split())[:200]
    if answer.status is None:
        return text
    return f"HTTP {answer.status}: {text}" if text else f"HTTP {answer.status}"


def stamp_text(stamped_ms: int | None) -> str:
    """Return a stamp in UTC as people read it."""
    if stamped_ms is None:
        return "none"
    instant = us_to_instant(stamped_ms * 1000)
    digits = "milliseconds" if stamped_ms % 1000 else "seconds"
    return instant.isoformat(timespec=digits)
