"""The transport below every call: one deadline and one size for each exchange.

httpx's own time-outs are per operation: an answer that drips a byte a second meets each of them for
hours, and a gzip bomb of 10 kB unpacks to gigabytes. So bodies are read and unpacked here, up to a
limit, over connections that count seconds and bytes (`connections.py`); httpx never sees a stream.
And httpx's own transport takes 2.5 CPU seconds for a thousand pages where this one takes 0.5.
Nothing is retried here (`client.py` does) and no status has a meaning here.
"""

import contextlib
import http.client
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.errors import MissingHeaderBodySeparatorDefect
from typing import Final

import httpx

from energy_etl.errors import ConfigurationError, MalformedError, UnavailableError
from energy_etl.rest.connections import (
    Connection,
    ConnectionPool,
    HttpAnswer,
    NoConnectionError,
    NoConnectionInTimeError,
)

# What every vendor and the webhook are told of who calls.
USER_AGENT: Final = "energy-etl/0.1"
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_MIB: Final = 1024 * 1024
_CHUNK_BYTES: Final = _MIB // 4
# Of what a server wrote in place of HTTP.
_MOST_TOLD: Final = 100
# Unpacked and complete: what described the packing no longer holds.
_OF_PACKING: Final = frozenset({"content-encoding", "content-length", "transfer-encoding"})


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
        self._pool = ConnectionPool(
            max_connections, connect_s=limits.connect_s, wait_s=limits.answer_s
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Exchange one request, whose body is bytes, for a complete, unpacked answer."""
        limits = self._limits
        message = _message(request)
        url = request.url
        try:
            connection = self._pool.take(url.scheme, url.raw_host.decode("ascii"), url.port)
        except NoConnectionInTimeError as error:
            raise UnavailableError(str(error)) from None
        except NoConnectionError as error:
            raise ConnectionRefusedByVendorError(
                f"no connection could be opened ({error})"
            ) from None
        is_reusable = False
        try:
            # Packed and unpacked sizes are limited below; this stops what a parser would swallow.
            connection.start(time.monotonic() + limits.answer_s, 2 * limits.max_bytes + _MIB)
            answer, body = self._exchange(connection, request.method, message)
            is_reusable = connection.finish() and not answer.will_close
        except TimeoutError:
            raise UnavailableError(
                f"the answer was not complete after {limits.answer_s:g} s"
            ) from None
        except (http.client.HTTPException, ValueError) as error:
            said = " ".join(str(error).split())[:_MOST_TOLD] or "too early"
            raise UnavailableError(f"the answer broke off ({said})") from None
        except OSError as error:
            raise UnavailableError(f"the connection was lost ({error})") from None
        finally:
            self._pool.give_back(connection, is_reusable=is_reusable)
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in answer.headers.items()
            if name.lower() not in _OF_PACKING
        ]
        return httpx.Response(answer.status, headers=headers, content=body, request=request)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def _exchange(
        self, connection: Connection, method: str, message: bytes
    ) -> tuple[HttpAnswer, bytes]:
        # One that refuses a request may answer and close before it has read it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(message)
        answer = HttpAnswer(connection, method=method)  # pyright: ignore[reportArgumentType]
        answer.begin()
        _refuse_doubtful_length(answer)
        body = self._read(answer, answer.headers.get("content-encoding", ""))
        return answer, body

    def _read(self, answer: HttpAnswer, encoding: str) -> bytes:
        limit = self._limits.max_bytes
        _refuse_size(answer.length or 0, limit)
        coding = encoding.strip().lower()
        if coding in ("", "identity"):
            parts: list[bytes] = []
            n_bytes = 0
            for chunk in _chunks(answer):
                n_bytes += len(chunk)
                _refuse_size(n_bytes, limit)
                parts.append(chunk)
            return b"".join(parts)
        if coding not in ("gzip", "deflate"):
            raise MalformedError(
                f"the answer is packed as {coding[:40]!r}, which was not asked for"
            )
        return _unpack(_chunks(answer), limit)


def _message(request: httpx.Request) -> bytes:
    lines = [
        b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path),
        *(b"%b: %b" % header for header in request.headers.raw),
    ]
    head = b"\r\n".join(lines)
    n_ends = len(lines) - 1
    if (head.count(b"\r"), head.count(b"\n"), head.count(b"\0")) != (n_ends, n_ends, 0):
        raise ConfigurationError(
            "A credential or an id holds a line break or a null, which no request can carry: "
            "correct it in the settings or in the portfolio."
        )
    return b"%b\r\n\r\n%b" % (head, request.read())


def _refuse_doubtful_length(answer: HttpAnswer) -> None:
    """Two readers of such an answer may see it end at two places."""
    if any(
        isinstance(defect, MissingHeaderBodySeparatorDefect) for defect in answer.headers.defects
    ):
        # The parser takes a line without a colon for the end of the head, and what says how long
        # the body is for the body.
        raise MalformedError("the head of the answer holds a line that is no header")
    lengths = set(answer.headers.get_all("content-length") or ())
    if len(lengths) > 1 or not all(text.strip().isdecimal() for text in lengths):
        raise MalformedError("the answer has a length that is no single number")
    coding = answer.headers.get("transfer-encoding")
    if coding is not None and not answer.chunked:
        raise MalformedError(f"the answer is sent as {coding[:40]!r}, which was not asked for")


def _chunks(answer: HttpAnswer) -> Iterator[bytes]:
    while chunk := answer.read(_CHUNK_BYTES):
        yield chunk
    if answer.length:
        # `read` with a size does not tell.
        raise http.client.IncompleteRead(b"", answer.length)


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
            if unpacker.unused_data:
                raise MalformedError("the answer goes on where the packed one ends")
    except zlib.error as error:
        raise MalformedError(f"the answer cannot be unpacked ({error})") from None
    if n_packed and not unpacker.eof:
        raise MalformedError("the packed answer ends too early")
    return bytes(unpacked)


def _refuse_size(n_bytes: int, limit: int) -> None:
    if n_bytes > limit:
        raise MalformedError(f"the answer is larger than {limit / _MIB:g} MiB")
