"""Connections kept open between exchanges; every operation on one is bounded in time and bytes.

The parser is the standard library's `http.client.HTTPResponse`: it costs a fifth of what h11 does.
It trusts what it reads in some places (the size of a chunk may be negative, `read` returns a body
that was cut short), so bytes and seconds are counted below it, on the socket, where no parser can
be talked out of them. What a status means is not known here.
"""

import contextlib
import http.client
import io
import select
import socket
import ssl
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpx

from energy_etl.errors import MalformedError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER_BYTES: Final = 65_536
# Below what servers and load balancers keep (60 s and more): a connection is not sent on at the
# moment in which the other side closes it.
_KEPT_IDLE_S: Final = 30.0

# Scheme, host, port.
Origin = tuple[str, str, int]
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class NoConnectionError(Exception):
    """None came up, or none came free; the message is the cause."""


class NoConnectionInTimeError(NoConnectionError):
    """The same, after waiting for it."""


class HttpAnswer(http.client.HTTPResponse):
    """The standard library's parser, past all interim answers (it skips only 100)."""

    def begin(self) -> None:
        """Read the head of the final answer."""
        super().begin()
        while 100 <= self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # pyright: ignore[reportAttributeAccessIssue]
            super().begin()


class _Reader(io.BufferedReader):
    """Stays open when an answer is through: the connection's next answer comes out of it."""

    def close(self) -> None:
        """Do nothing; `Connection.close` closes the socket."""


class Connection(io.RawIOBase):
    """One socket, with what is left of the exchange's seconds and bytes."""

    def __init__(self, opened: socket.socket, origin: Origin) -> None:
        """Take over an open socket."""
        self.origin = origin
        self.idle_since_s = 0.0
        self._socket = opened
        self._deadline_s = 0.0
        self._n_bytes_left = 0
        self._is_idle = True
        self._reader = _Reader(self, _BUFFER_BYTES)

    def start(self, deadline_s: float, max_bytes: int) -> None:
        """Begin an exchange that may last until `deadline_s` (monotonic) and bring `max_bytes`."""
        self._deadline_s = deadline_s
        self._n_bytes_left = max_bytes
        self._is_idle = False

    def send(self, message: bytes) -> None:
        """Send all of it.

        Raises:
            TimeoutError: the deadline came first.
            OSError: the connection is lost.
        """
        left = memoryview(message)
        while left:
            self._socket.settimeout(self._left_s())
            left = left[self._socket.send(left) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return what `HttpAnswer` reads from: all that it wants of a socket."""
        del mode
        return self._reader

    def readable(self) -> bool:
        """Return True: it is read through a buffer."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        """Read what is there, waiting for the first byte; None between exchanges."""
        if self._is_idle:
            return None
        self._socket.settimeout(self._left_s())
        n_bytes = self._socket.recv_into(buffer)
        self._n_bytes_left -= n_bytes
        if self._n_bytes_left < 0:
            raise MalformedError("the answer does not end")
        return n_bytes

    def finish(self) -> bool:
        """End the exchange; False when bytes came that belong to no answer."""
        self._is_idle = True
        return not self._reader.peek(1)

    def is_dead(self) -> bool:
        """True when an idle connection was closed by the other side, or says something unasked."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the socket."""
        super().close()
        self._socket.close()

    def _left_s(self) -> float:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("deadline")
        return left_s


class ConnectionPool:
    """At most so many connections in use at once; idle ones are used again, the latest first."""

    def __init__(self, max_connections: int, *, connect_s: float, wait_s: float) -> None:
        """Open no connection yet.

        Args:
            max_connections: in use at once, and idle at most.
            connect_s: how long opening one may take.
            wait_s: how long to wait for one to come free.
        """
        self._connect_s = connect_s
        self._wait_s = wait_s
        self._max_connections = max_connections
        self._places = threading.BoundedSemaphore(max_connections)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._is_closed = False
        self._tls: ssl.SSLContext | None = None

    def take(self, scheme: str, host: str, port: int | None) -> Connection:
        """Return a connection for one exchange; `give_back` it.

        Raises:
            NoConnectionError: none could be opened.
            NoConnectionInTimeError: none came up, or none came free, in time.
        """
        if not self._places.acquire(timeout=self._wait_s):
            raise NoConnectionInTimeError(f"no connection came free within {self._wait_s:g} s")
        try:
            origin = (scheme, host, port or _DEFAULT_PORTS[scheme])
            return self._idle_one(origin) or self._open(origin)
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: Connection, *, is_reusable: bool) -> None:
        """Keep a connection for the next exchange, or close it."""
        dropped = connection
        with self._lock:
            if is_reusable and not self._is_closed:
                connection.idle_since_s = time.monotonic()
                self._idle.append(connection)
                dropped = self._idle.pop(0) if len(self._idle) > self._max_connections else None
        if dropped is not None:
            dropped.close()
        self._places.release()

    def close(self) -> None:
        """Close idle connections now, and those in use when they come back."""
        with self._lock:
            idle, self._idle, self._is_closed = self._idle, [], True
        for connection in idle:
            connection.close()

    def _idle_one(self, origin: Origin) -> Connection | None:
        while True:
            with self._lock:
                found = next((c for c in reversed(self._idle) if c.origin == origin), None)
                if found is None:
                    return None
                self._idle.remove(found)
            if time.monotonic() - found.idle_since_s < _KEPT_IDLE_S and not found.is_dead():
                return found
            found.close()

    def _open(self, origin: Origin) -> Connection:
        scheme, host, port = origin
        with contextlib.ExitStack() as undo:
            try:
                opened = undo.enter_context(socket.create_connection((host, port), self._connect_s))
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if scheme == "https":
                    # The handshake as a whole gets this long.
                    opened = undo.enter_context(
                        self._tls_context().wrap_socket(opened, server_hostname=host)
                    )
            except TimeoutError:
                raise NoConnectionInTimeError(
                    f"no connection came up within {self._connect_s:g} s"
                ) from None
            except (OSError, UnicodeError) as error:
                raise NoConnectionError(str(error)) from None
            undo.pop_all()
        return Connection(opened, origin)

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                # Certifi's authorities and, for a company's own one, the machine's.
                self._tls = httpx.create_ssl_context(trust_env=False)
                self._tls.load_default_certs()
                self._tls.set_alpn_protocols(["http/1.1"])
            return self._tls
