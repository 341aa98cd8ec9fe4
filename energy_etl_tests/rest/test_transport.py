"""Hostile answers end within the deadline and the size limit."""

import gzip
import socket
import time
import tracemalloc
import zlib

import httpx
import pytest

from energy_etl.errors import MalformedError, UnavailableError
from energy_etl.rest.transport import BoundedTransport, ConnectionRefusedByVendorError, Limits
from energy_etl_tests.rest.raw_server import Handler, RawServer, Received, answer


def _get(url: str, **limits: float) -> httpx.Response:
    chosen = Limits(**limits)  # pyright: ignore[reportArgumentType]
    with httpx.Client(transport=BoundedTransport(chosen, max_connections=4)) as client:
        return client.get(url)


def _drip(head: bytes, piece: bytes) -> Handler:
    def handle(connection: socket.socket, request: Received) -> None:
        del request
        connection.sendall(head)
        for _ in range(200):
            time.sleep(0.05)
            connection.sendall(piece)

    return handle


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"y"),
        (b"", b"H"),
    ],
    ids=["body", "headers", "status line"],
)
def test_slow_drip_ends_at_the_deadline(head: bytes, piece: bytes) -> None:
    with RawServer(_drip(head, piece)) as server:
        started_s = time.monotonic()
        with pytest.raises(UnavailableError, match=r"not complete after 0\.4 s"):
            _get(server.url, answer_s=0.4)
        assert time.monotonic() - started_s < 2.0


def test_silent_server_ends_at_the_deadline() -> None:
    with (
        RawServer(lambda *_: time.sleep(2)) as server,
        pytest.raises(UnavailableError, match="not complete"),
    ):
        _get(server.url, answer_s=0.3)


def test_gzip_bomb_is_refused_without_unpacking_it() -> None:
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(bytes(60_000_000)) + packer.flush()
    bomb = answer(200, packed, headers={"Content-Encoding": "gzip"})
    assert len(bomb) < 250_000
    with RawServer.answering(bomb) as server:
        tracemalloc.start()
        try:
            with pytest.raises(MalformedError, match="larger than 1 MiB"):
                _get(server.url, max_bytes=1024 * 1024)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


def test_body_above_the_limit_is_refused() -> None:
    with (
        RawServer.answering(answer(200, b"x" * 5000)) as server,
        pytest.raises(MalformedError, match="larger than"),
    ):
        _get(server.url, max_bytes=4999)


def test_body_at_the_limit_is_taken() -> None:
    body = gzip.compress(b"x" * 5000)
    with RawServer.answering(answer(200, body, headers={"Content-Encoding": "gzip"})) as server:
        taken = _get(server.url, max_bytes=5000)
    assert taken.content == b"x" * 5000
    assert "content-encoding" not in taken.headers


@pytest.mark.parametrize(
    ("body", "encoding", "message"),
    [
        (gzip.compress(b"[1, 2, 3]" * 50, mtime=0)[:-9], "gzip", "ends too early"),
        (b"not gzip at all", "gzip", "cannot be unpacked"),
        # What stood behind the end of the first was dropped without a word.
        (gzip.compress(b"[1,", mtime=0) + gzip.compress(b" 2]", mtime=0), "gzip", "goes on where"),
        (b"anything", "br", "packed as 'br'"),
    ],
)
def test_unreadable_packing_is_malformed(body: bytes, encoding: str, message: str) -> None:
    with (
        RawServer.answering(answer(200, body, headers={"Content-Encoding": encoding})) as server,
        pytest.raises(MalformedError, match=message),
    ):
        _get(server.url)


def test_answer_cut_short_is_unavailable() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nonly this"
    with RawServer.answering(cut) as server, pytest.raises(UnavailableError, match="broke off"):
        _get(server.url)


def test_nobody_listening_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedByVendorError):
        _get(f"http://127.0.0.1:{port}")
