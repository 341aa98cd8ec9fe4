"""HTTP/1.1 to one host with as little work per exchange as there can be.

One request, one answer, on connections that are kept; what a status means is the collector's, what
an answer is made of is in `connection.py`. A general client costs about ten times what bare
connections do, per packet; this one does not cost twice as much.

What matters most is what an exchange that failed says: `NotSentError` when no byte of the request
was handed to a connection, the others when it may have arrived.
"""

import asyncio
import math
import socket
import ssl
from typing import Final

from energy_etl.vendors.wattics.connection import Connection, LostError, Received

# Below what servers and load balancers keep (60 s and more): a packet is not sent at the moment
# in which the other side closes the connection.
KEPT_IDLE_S: Final = 30.0
_RESOLVED_FOR_S: Final = 10.0
# TLS says goodbye; whoever does not answer that is hung up on.
_FAREWELL_S: Final = 1.0


class NotSentError(Exception):
    """The request surely never left: there is no connection; the message is the cause."""


class NotTrustedError(NotSentError):
    """The same: the other side's certificate is not trusted, or not of this host."""


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
        self._open: set[Connection] = set()
        # The one used last is taken first, so that what is too much grows old.
        self._idle: list[Connection] = []
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

    def opened(self, connection: Connection) -> None:
        """Note a connection that came up."""
        self._open.add(connection)

    def was_lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._open.discard(connection)

    async def _exchange_on(
        self, connection: Connection, request: bytes, deadline_s: float
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

    def _take_idle(self) -> Connection | None:
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

    async def _connect(self, deadline_s: float) -> Connection:
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

    async def _connect_to(self, address: str, within_s: float) -> Connection:
        limit = asyncio.timeout(within_s)
        try:
            async with limit:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self),
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
