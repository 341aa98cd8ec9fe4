"""Code of one's own that is told of every response: entry points of group `energy_etl.responses`.

A handler is a callable that takes a sequence of `PacketResponse`. A package of one's own declares
it in its `pyproject.toml`, and is installed beside energy_etl:

    [project.entry-points."energy_etl.responses"]
    to_dashboard = "my_package.delivery:show_responses"

    # my_package/delivery.py
    def show_responses(responses):
        for response in responses:
            if not response.is_accepted:
                print(response.stream_id, response.stamped_at, response.status, response.text)

It is called in a thread of its own, after the responses are durable (`push.response` has them all
at any later time), in the order of the posts of each stream, each response once. However slow it
is and whatever it raises, the sending goes on. It is told what it can be told with `QUEUE_SIZE`
responses waiting at most and within `CLOSE_S` seconds of the last packet; how many it missed for
that is logged with its name.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import entry_points
from types import MappingProxyType, TracebackType
from typing import Final

from energy_etl.state import us_to_instant

GROUP: Final = "energy_etl.responses"
QUEUE_SIZE: Final = 10_000
CLOSE_S: Final = 5.0
_BATCH: Final = 500
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one POST; status None: nothing did, and text says why."""

    stream_id: str
    stamped_ms: int
    posted_us: int
    seconds: float
    status: int | None
    text: str | None


@dataclass(frozen=True, slots=True)
class PacketResponse:
    """What came back for one POST of one packet, for handlers.

    Attributes:
        stream_id: the stream.
        stamped_at: the instant in the packet's time stamp.
        posted_at: when it was posted.
        seconds: until the answer, or until none came.
        status: HTTP status; None when no answer came.
        text: beginning of the answer, or why there is none; None when there is nothing to say.
        is_accepted: True when the vendor took the packet.
    """

    stream_id: str
    stamped_at: datetime
    posted_at: datetime
    seconds: float
    status: int | None
    text: str | None
    is_accepted: bool


Handler = Callable[[Sequence[PacketResponse]], object]


@cache
def discover_handlers() -> Mapping[str, Handler]:
    """Return the handlers that installed packages declare, by name; asked once per process.

    One that cannot be loaded is logged and left out: the sending goes on without it.
    """
    found: dict[str, Handler] = {}
    for entry in entry_points(group=GROUP):
        with _Fenced(entry.name, f"cannot be loaded from {entry.value!r}"):
            found[entry.name] = entry.load()
    return MappingProxyType(found)


class _Fenced:
    """Somebody else's code: whatever it raises within is logged and must not reach the sending."""

    def __init__(self, name: str, what: str) -> None:
        self._name = name
        self._what = what
        self.has_failed = False

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self.has_failed:
            self.has_failed = True
            _log.error(
                "Handler %r of group %s %s: the sending goes on; mend or "
                "uninstall the package that declares it, push.response has every response.",
                self._name,
                GROUP,
                self._what,
                exc_info=error,
            )
        return True


class Handlers:
    """The handlers of one drain, each in a thread of its own."""

    def __init__(
        self,
        handlers: Mapping[str, Handler] | None = None,
        *,
        queue_size: int = QUEUE_SIZE,
        close_s: float = CLOSE_S,
    ) -> None:
        """Start a thread per handler; None: those that installed packages declare."""
        named = discover_handlers() if handlers is None else handlers
        self._close_s = close_s
        self._told = [_Told(name, handler, queue_size) for name, handler in named.items()]

    @property
    def names(self) -> tuple[str, ...]:
        """Who is told."""
        return tuple(told.name for told in self._told)

    def tell(self, responses: Iterable[Response]) -> None:
        """Queue responses for every handler; waits for none of them."""
        if not self._told:
            return
        told = [_for_handlers(response) for response in responses]
        for each in self._told:
            each.put(told)

    def close(self) -> None:
        """Give what is queued a last chance, bounded in time, and end."""
        deadline = time.monotonic() + self._close_s
        for each in self._told:
            each.end()
        for each in self._told:
            each.join(max(0.0, deadline - time.monotonic()))


class _Told:
    """One handler, its queue and its thread."""

    def __init__(self, name: str, handler: Handler, queue_size: int) -> None:
        self.name = name
        self._handler = handler
        self._queue_size = queue_size
        self._queue: deque[PacketResponse] = deque()
        self._changed = threading.Condition()
        self._is_ending = False
        self._n_missed = 0
        # A daemon: a handler that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"responses-{name}", daemon=True)
        self._thread.start()

    def put(self, responses: list[PacketResponse]) -> None:
        with self._changed:
            room = max(0, self._queue_size - len(self._queue))
            self._queue.extend(responses[:room])
            if len(responses) > room:
                if not self._n_missed:
                    _log.warning(
                        "Handler %r of group %s is too slow: it misses responses from now on "
                        "whenever %d wait for it; push.response has them all.",
                        self.name,
                        GROUP,
                        self._queue_size,
                    )
                self._n_missed += len(responses) - room
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._is_ending = True
            self._changed.notify()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        with self._changed:
            n_left = len(self._queue)
            self._queue.clear()
        is_stuck = self._thread.is_alive()
        if self._n_missed or n_left or is_stuck:
            _log.warning(
                "Handler %r of group %s %s and missed %d responses: make it faster, or read them "
                "in push.response.",
                self.name,
                GROUP,
                "had not ended when it had to" if is_stuck else "was too slow",
                self._n_missed + n_left,
            )

    def _run(self) -> None:
        fence = _Fenced(self.name, "failed (told once per run)")
        while batch := self._next():
            with fence:
                self._handler(batch)

    def _next(self) -> list[PacketResponse]:
        """Return what comes next, together; nothing at the end."""
        with self._changed:
            while not self._queue and not self._is_ending:
                self._changed.wait()
            return [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]


def _for_handlers(response: Response) -> PacketResponse:
    return PacketResponse(
        stream_id=response.stream_id,
        stamped_at=us_to_instant(response.stamped_ms * 1000),
        posted_at=us_to_instant(response.posted_us),
        seconds=response.seconds,
        status=response.status,
        text=response.text,
        is_accepted=response.status is not None and 200 <= response.status < 300,
    )
