"""HTTP/1.1 to one host with as little work per exchange as there can be.

One request, one answer, on connections that are kept; what a status means is the collector's. The
answers are parsed by llhttp, Node's parser (httptools). A general client costs fifteen times what
bare connections do, per packet; this one costs a few times that.

What matters most is what an exchange that failed says: `NotSentError` when no byte of the request
was handed to a connection, the others when it may have arrived.
"""

import asyncio
import math
import socket
import ssl
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

# Of a whole answer with its head; a collector's answer is a line or a page of an error.
MAX_ANSWER_BYTES: Final = 64 * 1024
# Below what servers and load balancers keep (60 s and more): a packet is not sent at the moment
# in which the other side closes the connection.
KEPT_IDLE_S: Final = 30.0
_RESOLVED_FOR_S: Final = 10.0
# TLS says goodbye; whoever does not answer that is hung up on.
_FAREWELL_S: Final = 1.0

Headers = list[tuple[bytes, bytes]]


class NotSentError(Exception):
    """The request surely never left: there is no connection; the message is the cause."""


class NotTrustedError(NotSentError):
    """The same: the other side's certificate is not trusted, or not of this host."""


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


class _Connection(asyncio.Protocol):
    """One connection and the exchange that is under way on it."""

    def __init__(self, pool: "Connections") -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.idle_since_s = 0.0
        # When the exchange must be over; inf: none is under way.
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

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is none of asyncio's classes, though it does the same.
        self._transport = cast(asyncio.Transport, transport)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
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
        if self._answer is not None and self._is_head_complete and self._ends_with_connection():
            self._settle(is_keeping=False)
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(exc)
        self._pool.was_lost(self)
        if not self.lost.done():
            self.lost.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._answer is None:
            # A second answer in the same breath: nobody asked for it.
            self._is_keeping = False
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # What stands behind a body is no head: trailers are passed over.
        if not self._is_head_complete:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # Answers of 1xx come before the one that was asked for.
        self._is_head_complete = self._parser.get_status_code() >= 200

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
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


class Connections:
    """At most so many exchanges at once with one host; idle connections are used again."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        *,
        max_connections: int,
        timeout_s: float,
    ) -> None:
        """Open nothing yet; to be made within the event loop that is to use it.

        Args:
            host: a name or an address.
            port: there.
            tls: what the other side's certificate is checked with; None: plain HTTP.
            max_connections: exchanges at once.
            timeout_s: of a whole exchange, waiting for a connection and opening it included.
        """
        self._host = host
        self._port = port
        self._tls = tls
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._places = asyncio.Semaphore(max_connections)
        self._open: set[_Connection] = set()
        # The one used last is taken first, so that what is too much grows old.
        self._idle: list[_Connection] = []
        self._resolving = asyncio.Lock()
        self._addresses: list[str] = []
        self._resolve_s = -math.inf
        # One timer for all exchanges: one each costs more than parsing the answer.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf

    async def exchange(self, request: bytes, *, is_repeatable: bool = False) -> Received:
        """Send a request and return its answer, whatever its status is.

        Args:
            request: head and body.
            is_repeatable: when the other side had closed a kept connection before it could know of
                the request, it is sent once more on a new one.

        Raises:
            NotSentError: it surely never left.
            LostError: it may have arrived, and no usable answer came.
            NoAnswerInTimeError: it may have arrived.
        """
        deadline_s = self._loop.time() + self._timeout_s
        if self._places.locked():
            await self._wait_for_place(deadline_s)
        else:
            await self._places.acquire()
        try:
            kept = self._take_idle()
            if kept is not None:
                try:
                    return await self._exchange_on(kept, request, deadline_s)
                except LostError as lost:
                    if not (is_repeatable and lost.is_silent):
                        raise
            fresh = await self._connect(deadline_s)
            return await self._exchange_on(fresh, request, deadline_s)
        finally:
            self._places.release()

    async def close(self) -> None:
        """Close all connections; exchanges that are under way are lost."""
        if self._timer is not None:
            self._timer.cancel()
        self._idle.clear()
        opened = list(self._open)
        for connection in opened:
            connection.close()
        if opened:
            _, left = await asyncio.wait([c.lost for c in opened], timeout=_FAREWELL_S)
            for connection in list(self._open) if left else ():
                connection.abort()
            if left:
                await asyncio.wait(left, timeout=_FAREWELL_S)

    def opened(self, connection: _Connection) -> None:
        """Note a connection that came up."""
        self._open.add(connection)

    def was_lost(self, connection: _Connection) -> None:
        """Forget a connection that is gone."""
        self._open.discard(connection)

    async def _exchange_on(
        self, connection: _Connection, request: bytes, deadline_s: float
    ) -> Received:
        answer = connection.send(request, deadline_s)
        if deadline_s < self._timer_s:
            self._look_at(deadline_s)
        try:
            return await answer
        finally:
            # Whoever was cancelled leaves an answer behind that is nobody's.
            if connection.is_usable:
                connection.idle_since_s = self._loop.time()
                self._idle.append(connection)
            else:
                connection.close()

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable and self._loop.time() - connection.idle_since_s < KEPT_IDLE_S:
                return connection
            connection.close()
        return None

    async def _wait_for_place(self, deadline_s: float) -> None:
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._places.acquire()
        except TimeoutError:
            raise NotSentError(f"no connection came free within {self._timeout_s} s") from None

    async def _connect(self, deadline_s: float) -> _Connection:
        """Open a connection to the first address that answers."""
        addresses = await self._resolve(deadline_s)
        failure = NotSentError(f"the name {self._host} has no address")
        for number, address in enumerate(addresses):
            # A network that swallows what is sent to one address leaves time for the others.
            left_s = deadline_s - self._loop.time()
            try:
                connection = await self._connect_to(address, left_s / (len(addresses) - number))
            except NotSentError as error:
                failure = error
            else:
                self._addresses = sorted(addresses, key=lambda each: each != address)
                return connection
        self._resolve_s = -math.inf
        raise failure

    async def _connect_to(self, address: str, within_s: float) -> _Connection:
        limit = asyncio.timeout(within_s)
        try:
            async with limit:
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self),
                    address,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except ssl.SSLCertVerificationError as error:
            raise NotTrustedError(str(error)) from None
        except OSError as error:
            # The network has a TimeoutError of its own.
            cause = str(error) or type(error).__name__
            if limit.expired():
                cause = f"{address} did not answer within {max(within_s, 0):.1f} s"
            raise NotSentError(cause) from None
        return connection

    async def _resolve(self, deadline_s: float) -> list[str]:
        """Return the host's addresses, the one that answered last first."""
        try:
            async with asyncio.timeout_at(deadline_s), self._resolving:
                if self._loop.time() - self._resolve_s > _RESOLVED_FOR_S:
                    found = await self._loop.getaddrinfo(
                        self._host, self._port, type=socket.SOCK_STREAM
                    )
                    known = self._addresses[:1]
                    self._addresses = sorted(
                        dict.fromkeys(str(entry[4][0]) for entry in found),
                        key=lambda address: address not in known,
                    )
                    self._resolve_s = self._loop.time()
        except TimeoutError:
            raise NotSentError(
                f"the name {self._host} was not resolved within {self._timeout_s} s"
            ) from None
        except (OSError, UnicodeError) as error:
            raise NotSentError(f"the name {self._host} has no address: {error}") from None
        return self._addresses

    def _look_at(self, deadline_s: float) -> None:
        """Look at `deadline_s` which exchanges are over time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = deadline_s
        self._timer = self._loop.call_at(deadline_s, self._look)

    def _look(self) -> None:
        self._timer, self._timer_s = None, math.inf
        now_s = self._loop.time()
        for connection in [c for c in self._open if c.deadline_s <= now_s]:
            connection.expire()
        next_s = min((c.deadline_s for c in self._open), default=math.inf)
        if next_s < math.inf:
            self._look_at(next_s)
