"""One connection: a request goes out, its answer comes in, parsed by llhttp (httptools).

Whoever opens connections is its `Opener`: which connection an exchange takes, and until when it may
last, is told in `transport.py`.
"""

import asyncio
import math
from typing import Final, Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

# Of a whole answer with its head; a collector's answer is a line or a page of an error.
MAX_ANSWER_BYTES: Final = 64 * 1024

Headers = list[tuple[bytes, bytes]]


class LostError(Exception):
    """The request may have arrived, and no usable answer came; the message is the cause.

    `is_silent`: no byte of an answer came.
    """

    def __init__(self, cause: str, *, is_silent: bool) -> None:
        """Keep the cause."""
        super().__init__(cause)
        self.is_silent = is_silent


class NoAnswerInTimeError(Exception):
    """The request may have arrived, and the answer did not end in time."""


class Received:
    """An answer; one that does not end within `MAX_ANSWER_BYTES` is cut."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        """Keep what was parsed; names of headers are in lower case."""
        self.status = status
        self.headers = headers
        self.body = body

    def header(self, name: bytes) -> str | None:
        """Return the first header of a name, given in lower case."""
        return next((v.decode("latin-1") for n, v in self.headers if n == name), None)

    def text(self) -> str:
        """Return the body as text; one that came encoded is told, for none was asked for."""
        encoding = self.header(b"content-encoding")
        if encoding and encoding.lower() != "identity" and self.body:
            return f"(a body that nobody asked to be encoded, as {encoding[:40]})"
        return self.body[:MAX_ANSWER_BYTES].decode("utf-8", "replace")


class Opener(Protocol):
    """Is told which connections there are."""

    def opened(self, connection: "Connection") -> None:
        """Note a connection that came up."""
        ...

    def was_lost(self, connection: "Connection") -> None:
        """Forget a connection that is gone."""
        ...


class Connection(asyncio.Protocol):
    """One connection and the exchange that is under way on it.

    Attributes:
        deadline_s: when the exchange must be over; inf: none is under way.
        idle_since_s: when the last exchange ended; of whoever keeps the connection.
        lost: done when it is gone.
    """

    def __init__(self, opener: Opener) -> None:
        """Begin without an exchange; the event loop calls this, and hands the transport over."""
        self._opener = opener
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.idle_since_s = 0.0
        self.deadline_s = math.inf
        self._is_keeping = True
        self._answer: asyncio.Future[Received] | None = None
        self._n_bytes = 0
        self._begin()

    def _begin(self) -> None:
        self._headers: Headers = []
        self._body = b""
        self._is_head_complete = False

    @property
    def is_usable(self) -> bool:
        """True when the next request may go over it."""
        return self._is_keeping and self._answer is None and not self._transport.is_closing()

    def send(self, request: bytes, deadline_s: float) -> "asyncio.Future[Received]":
        """Write a request; the future has its answer, a LostError or a NoAnswerInTimeError."""
        self._answer = answer = self._loop.create_future()
        self.deadline_s = deadline_s
        self._n_bytes = 0
        self._begin()
        self._transport.write(request)
        return answer

    def expire(self) -> None:
        """End the exchange: its time is over."""
        self._fail(NoAnswerInTimeError())

    def close(self) -> None:
        """Hang up, at once when an answer is missing."""
        if self._answer is None:
            self._transport.close()
        else:
            self._fail(LostError("it was closed by us", is_silent=self._n_bytes == 0))

    def abort(self) -> None:
        """Hang up without a goodbye."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: the connection is up, TLS included."""
        # uvloop's transport is none of asyncio's classes, though it does the same.
        self._transport = cast(asyncio.Transport, transport)
        self._opener.opened(self)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: bytes came."""
        if self._answer is None:
            # Nobody asked: what comes next on this connection could be taken for an answer.
            self._transport.abort()
            return
        self._n_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(LostError(f"what came is no answer of HTTP ({error})", is_silent=False))
            return
        if self._n_bytes > MAX_ANSWER_BYTES and self._answer is not None:
            if self._is_head_complete:
                self._settle(is_keeping=False)
            else:
                self._fail(LostError("the head of the answer does not end", is_silent=False))

    def eof_received(self) -> None:
        """Called by the event loop: the other side says no more; some answers end so."""
        if self._answer is not None and self._is_head_complete and self._ends_with_connection():
            self._settle(is_keeping=False)
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop: the connection is gone."""
        self._ended(exc)
        self._opener.was_lost(self)
        if not self.lost.done():
            self.lost.set_result(None)

    def on_message_begin(self) -> None:
        """Called by the parser: an answer begins."""
        if self._answer is None:
            # A second answer in the same breath: nobody asked for it.
            self._is_keeping = False
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser: a header, or a trailer, which is passed over."""
        if not self._is_head_complete:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Called by the parser: the head is through; those of 1xx come before the answer."""
        self._is_head_complete = self._parser.get_status_code() >= 200

    def on_body(self, data: bytes) -> None:
        """Called by the parser: a piece of the body, without its framing."""
        self._body += data

    def on_message_complete(self) -> None:
        """Called by the parser: the answer is through."""
        if self._is_head_complete:
            self._settle(is_keeping=self._parser.should_keep_alive())

    def _settle(self, *, is_keeping: bool) -> None:
        """Hand the answer over."""
        answer, self._answer = self._answer, None
        self.deadline_s = math.inf
        self._is_keeping = is_keeping and answer is not None
        if answer is not None and not answer.done():
            received = Received(self._parser.get_status_code(), self._headers, self._body)
            answer.set_result(received)

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        self.deadline_s = math.inf
        self._is_keeping = False
        if answer is not None and not answer.done():
            answer.set_exception(error)
        self._transport.abort()

    def _ended(self, error: Exception | None) -> None:
        """The other side, or the network, ended the connection."""
        self._is_keeping = False
        if self._answer is not None:
            where = "in the middle of" if self._n_bytes else "before"
            cause = str(error) if error else f"it was closed {where} the answer"
            self._fail(LostError(cause, is_silent=self._n_bytes == 0))

    def _ends_with_connection(self) -> bool:
        """True when the answer's head gives no length: it ends where the connection ends."""
        framing = dict(self._headers)
        encoding = framing.get(b"transfer-encoding", b"").lower()
        return b"content-length" not in framing and not encoding.endswith(b"chunked")
