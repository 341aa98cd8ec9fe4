"""A collector that costs as little as one can, so that whoever pushes is what is measured.

Bare connections on the fastest event loop, one decode per packet, three numbers per stream: a
million packets leave nothing behind but the last one of each stream. It answers as the sandbox's
does where a pusher can see it: Basic authentication with a challenge, a cookie for the session, the
last packet, and `/_sandbox/streams` for what came. Every packet is checked to be newer than the
last of its stream.

`delay_s` is waited before each answer without holding up others: a collector far away.
"""

import asyncio
import base64
import importlib
import ssl
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import parse_qs

import msgspec

_STREAMS_PATH: Final = "/_sandbox/streams"
_END_OF_HEAD: Final = b"\r\n\r\n"
_CHALLENGE: Final = b'WWW-Authenticate: Basic realm="Wattics"\r\n'
_COOKIE: Final = b"Set-Cookie: JSESSIONID=0123456789abcdef; Path=/; HttpOnly\r\n"
_REASONS: Final = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found"}


class _Packet(msgspec.Struct):
    """What the collector has to know of a packet."""

    id: str
    tsISO8601: str


@dataclass(slots=True)
class _Stream:
    """What came of one stream; stamps of a benchmark have one offset, so they sort as text."""

    newest: str = ""
    last: bytes = b""
    n_received: int = 0
    n_out_of_order: int = 0
    n_duplicates: int = 0


class BareCollector:
    """The streams of one server, and what it answers."""

    def __init__(self, path: str, username: str, password: str, delay_s: float = 0.0) -> None:
        """Begin with no packets; whoever comes with this user name and password is let in."""
        self.delay_s = delay_s
        self._path = path
        self._streams: dict[str, _Stream] = {}
        self._decode = msgspec.json.Decoder(_Packet).decode
        self._authorization = base64.b64encode(f"{username}:{password}".encode())

    def answer(self, head: bytes, body: bytes) -> bytes:
        """Return the whole answer to a request."""
        method, target, _ = head.split(b" ", 2)
        path, _, query = target.decode("latin-1").partition("?")
        if path == _STREAMS_PATH:
            return _answer(200, msgspec.json.encode(self._told()))
        if self._authorization not in head:
            return _answer(401, b"Full authentication is required.", _CHALLENGE)
        if path != self._path:
            return _answer(404)
        extra = b"" if b"JSESSIONID" in head else _COOKIE
        if method == b"GET":
            stream = self._streams.get(parse_qs(query).get("stream", [""])[0])
            return _answer(200, stream.last, extra) if stream else _answer(404, b"", extra)
        try:
            packet = self._decode(body)
        except msgspec.DecodeError as error:
            return _answer(400, str(error).encode(), extra)
        self._take(packet, body)
        return _answer(200, b"", extra)

    def _take(self, packet: _Packet, body: bytes) -> None:
        stream = self._streams.get(packet.id)
        if stream is None:
            stream = self._streams[packet.id] = _Stream()
        stream.n_received += 1
        stream.last = body
        if packet.tsISO8601 > stream.newest:
            stream.newest = packet.tsISO8601
        elif packet.tsISO8601 == stream.newest:
            stream.n_duplicates += 1
        else:
            # Or one that came twice, and not in a row: just as wrong.
            stream.n_out_of_order += 1

    def _told(self) -> list[dict[str, str | int]]:
        return [
            {
                "stream": stream_id,
                "received": stream.n_received,
                "out_of_order": stream.n_out_of_order,
                "duplicates": stream.n_duplicates,
            }
            for stream_id, stream in self._streams.items()
        ]


def _answer(status: int, body: bytes = b"", extra: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d %s\r\n%bContent-Length: %d\r\n\r\n"
    return head % (status, _REASONS[status], extra, len(body)) + body


class _Connection(asyncio.Protocol):
    """One client; requests are answered one after the other."""

    def __init__(self, collector: BareCollector) -> None:
        self._collector = collector
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is none of asyncio's classes, though it does the same.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_END_OF_HEAD)) >= 0:
            head = self._received[:end]
            size = end + len(_END_OF_HEAD) + _content_length(head)
            if len(self._received) < size:
                return
            body = self._received[end + len(_END_OF_HEAD) : size]
            self._received = self._received[size:]
            answer = self._collector.answer(head, body)
            if self._collector.delay_s:
                self._loop.call_later(self._collector.delay_s, self._transport.write, answer)
            else:
                self._transport.write(answer)


def _content_length(head: bytes) -> int:
    # After the request line, which may hold anything.
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


async def _serve(collector: BareCollector, port: int, certificate: str) -> None:
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(collector), "127.0.0.1", port, ssl=context, backlog=1024
    )
    scheme = "https" if context else "http"
    at = server.sockets[0].getsockname()[1]
    print(f"A bare collector at {scheme}://127.0.0.1:{at}", flush=True)
    await server.serve_forever()


def serve(collector: BareCollector, port: int, certificate: str) -> None:
    """Serve until the process ends; a certificate's file makes it TLS.

    The line that ends in the address is printed when the server answers.
    """
    uvloop = importlib.import_module("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(collector, port, certificate))
