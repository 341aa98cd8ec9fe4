"""The transport below every httpx client: one deadline and one size for each exchange.

httpx's time-outs are per operation: an answer that drips a byte a second meets each of them for
hours, and a gzip bomb of 10 kB unpacks to gigabytes. So each operation on the socket gets only what
is left of the deadline, and bodies are read and unpacked here, up to a limit; httpx never sees a
stream. Nothing is retried here (`client.py` does) and no status has a meaning here.
"""

import ssl
import threading
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import httpcore
import httpx

from energy_etl.errors import MalformedError, UnavailableError

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What one call may cost.

    Attributes:
        connect_s: to open a connection.
        answer_s: for one exchange, from the first byte sent to the last one received.
        total_s: for all attempts and the waits between them; waits for a quota come on top.
        max_bytes: of one answer, packed and unpacked.
        n_attempts: exchanges at most.
        backoff_s: mean of the first wait between attempts; doubles each time.
        max_retry_after_s: the longest `Retry-After` that is waited for within a call.
        max_quota_wait_s: the longest wait for a place in the vendor's quota.
    """

    connect_s: float = 5.0
    answer_s: float = 30.0
    total_s: float = 180.0
    max_bytes: int = 64 * _MIB
    n_attempts: int = 4
    backoff_s: float = 0.5
    max_retry_after_s: float = 60.0
    max_quota_wait_s: float = 330.0


class ConnectionRefusedByVendorError(UnavailableError):
    """Nothing listens at the vendor's address."""


class BoundedTransport(httpx.BaseTransport):
    """Sends one request and returns its answer whole, or raises within the limits.

    Errors are those of `energy_etl.errors` with only the cause in the message; `client.py` adds
    vendor, endpoint and what to do next.
    """

    def __init__(self, limits: Limits, *, max_connections: int) -> None:
        """Open no connection yet."""
        self._limits = limits
        self._deadline = _Deadline()
        self._pool = httpcore.ConnectionPool(
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=30.0,
            network_backend=_DeadlineBackend(httpcore.SyncBackend(), self._deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Exchange one request for a complete, unpacked answer."""
        limits = self._limits
        self._deadline.start(limits.answer_s)
        timeouts = {
            "connect": limits.connect_s,
            "read": limits.answer_s,
            "write": limits.answer_s,
            "pool": limits.answer_s,
        }
        wire = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.read(),
            extensions={"timeout": timeouts},
        )
        try:
            answer = self._pool.handle_request(wire)
            try:
                headers = httpx.Headers(answer.headers)
                body = self._read(answer.iter_stream(), headers.get("content-encoding", ""))
            finally:
                answer.close()
        except httpcore.ConnectError as error:
            raise ConnectionRefusedByVendorError(
                f"no connection could be opened ({error})"
            ) from None
        except httpcore.TimeoutException as error:
            raise UnavailableError(self._late(error)) from None
        except httpcore.ProtocolError as error:
            raise UnavailableError(f"the answer broke off ({error})") from None
        except httpcore.NetworkError as error:
            raise UnavailableError(f"the connection was lost ({error})") from None
        # Unpacked and complete: what described the packing no longer holds.
        for name in ("content-encoding", "content-length", "transfer-encoding"):
            headers.pop(name, None)
        return httpx.Response(answer.status, headers=headers, content=body)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def _late(self, error: httpcore.TimeoutException) -> str:
        if isinstance(error, httpcore.ConnectTimeout):
            return f"no connection came up within {self._limits.connect_s:g} s"
        if isinstance(error, httpcore.PoolTimeout):
            return f"no connection came free within {self._limits.answer_s:g} s"
        return f"the answer was not complete after {self._limits.answer_s:g} s"

    def _read(self, chunks: Iterable[bytes], encoding: str) -> bytes:
        limit = self._limits.max_bytes
        coding = encoding.strip().lower()
        if coding in ("", "identity"):
            parts: list[bytes] = []
            n_bytes = 0
            for chunk in chunks:
                n_bytes += len(chunk)
                _refuse_size(n_bytes, limit)
                parts.append(chunk)
            return b"".join(parts)
        if coding not in ("gzip", "deflate"):
            raise MalformedError(
                f"the answer is packed as {coding[:40]!r}, which was not asked for"
            )
        return _unpack(chunks, limit)


def _unpack(chunks: Iterable[bytes], limit: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    unpacked = bytearray()
    n_packed = 0
    try:
        for chunk in chunks:
            n_packed += len(chunk)
            _refuse_size(n_packed, limit)
            # One byte more than allowed is enough to know, and never more than that is made.
            unpacked += unpacker.decompress(chunk, limit + 1 - len(unpacked))
            _refuse_size(len(unpacked), limit)
    except zlib.error as error:
        raise MalformedError(f"the answer cannot be unpacked ({error})") from None
    if n_packed and not unpacker.eof:
        raise MalformedError("the packed answer ends too early")
    return bytes(unpacked)


def _refuse_size(n_bytes: int, limit: int) -> None:
    if n_bytes > limit:
        raise MalformedError(f"the answer is larger than {limit / _MIB:g} MiB")


class _Deadline(threading.local):
    """The end of the exchange this thread is in; a synchronous exchange stays in its thread."""

    at_s: float = float("inf")

    def start(self, limit_s: float) -> None:
        self.at_s = time.monotonic() + limit_s

    def remaining(self, timeout_s: float | None, late: type[httpcore.TimeoutException]) -> float:
        left_s = self.at_s - time.monotonic()
        if left_s <= 0:
            raise late("deadline")
        return left_s if timeout_s is None else min(left_s, timeout_s)


class _DeadlineBackend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._deadline.remaining(timeout, httpcore.ConnectTimeout)
        stream = self._inner.connect_tcp(host, port, left_s, local_address, socket_options)
        return _DeadlineStream(stream, self._deadline)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left_s = self._deadline.remaining(timeout, httpcore.ReadTimeout)
        return self._inner.read(max_bytes, left_s)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left_s = self._deadline.remaining(timeout, httpcore.WriteTimeout)
        self._inner.write(buffer, left_s)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._deadline.remaining(timeout, httpcore.ConnectTimeout)
        stream = self._inner.start_tls(ssl_context, server_hostname, left_s)
        return _DeadlineStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
