"""Connections are used again when nothing stands against it, and no answer is taken for another."""

import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from energy_etl.errors import ConfigurationError, MalformedError, UnavailableError
from energy_etl.rest.transport import BoundedTransport, ConnectionRefusedByVendorError, Limits
from energy_etl_tests.certificates import write_certificate
from energy_etl_tests.rest.raw_server import RawServer, Received

LIMITS = Limits(connect_s=0.5, answer_s=0.5, max_bytes=1024 * 1024)


class _Server:
    """Sends these bytes in turn, one for each request, on connections that stay open."""

    def __init__(self, *answers: bytes) -> None:
        self.n_connections = 0
        self.close_after: int | None = None
        self.targets: list[str] = []
        self._answers = iter(answers)
        self._raw = RawServer(self._handle)
        self.url = self._raw.url

    def _handle(self, connection: socket.socket, first: Received) -> None:
        self.n_connections += 1
        target = first.target
        while True:
            self.targets.append(target)
            connection.sendall(next(self._answers, b""))
            if len(self.targets) == self.close_after:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                head += chunk
            target = head.decode("latin-1").split(" ")[1]

    def __enter__(self) -> "_Server":
        self._raw.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.__exit__()


def _kept(body: bytes, *more: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _chunked(framed: bytes, *more: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + framed


@contextmanager
def _transport(max_connections: int = 4) -> Iterator[Callable[..., bytes]]:
    transport = BoundedTransport(LIMITS, max_connections=max_connections)

    def get(url: str, **headers: str) -> bytes:
        return transport.handle_request(httpx.Request("GET", url, headers=headers)).content

    try:
        yield get
    finally:
        transport.close()


def test_connection_is_used_again_whatever_ends_the_answers() -> None:
    answers = [
        _kept(b"[1]"),
        _chunked(b"2\r\n[2\r\n1\r\n]\r\n0\r\n\r\n"),
        _kept(b""),
        _kept(b"[4]"),
    ]
    with _Server(*answers) as server, _transport() as get:
        assert [get(server.url + f"/{n}") for n in range(4)] == [b"[1]", b"[2]", b"", b"[4]"]
        assert server.n_connections == 1
        assert server.targets == ["/0", "/1", "/2", "/3"]


def test_connection_the_server_closed_meanwhile_is_not_used() -> None:
    with _Server(_kept(b"[1]"), _kept(b"[2]")) as server, _transport() as get:
        server.close_after = 1
        assert get(server.url) == b"[1]"
        time.sleep(0.05)
        assert get(server.url) == b"[2]"
        assert server.n_connections == 2


@pytest.mark.parametrize(
    "first",
    [
        _kept(b"[1]") + _kept(b"[forged]"),
        _kept(b"[1]", "Connection: close"),
        _kept(b"[1]").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["more than was asked for", "said to close", "of an old server"],
)
def test_answer_is_never_taken_from_what_another_left(first: bytes) -> None:
    with _Server(first, _kept(b"[2]")) as server, _transport() as get:
        assert [get(server.url), get(server.url)] == [b"[1]", b"[2]"]
        assert server.n_connections == 2


def test_interim_answers_are_passed_over() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    with _Server(hints + _kept(b"[1]")) as server, _transport() as get:
        assert get(server.url) == b"[1]"


def test_refusal_that_comes_before_the_request_is_read_is_heard() -> None:
    def refuse(connection: socket.socket, request: Received) -> None:
        del request
        connection.sendall(_kept(b"too much", "Connection: close").replace(b"200", b"413"))
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer(refuse) as server:
        transport = BoundedTransport(LIMITS, max_connections=1)
        request = httpx.Request("POST", server.url, content=bytes(20_000_000))
        # The server takes the head for all there is.
        request.headers["Content-Length"] = "0"
        assert transport.handle_request(request).status_code == 413
        transport.close()


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (_chunked(b"5\r\n[1]"), UnavailableError, "broke off"),
        (_chunked(b"zz\r\n[1]\r\n0\r\n\r\n"), UnavailableError, "broke off"),
        (_chunked(b"-5\r\n[1]\r\n0\r\n\r\n"), UnavailableError, "broke off"),
        (_chunked(b"", "Content-Length: 3", "Content-Length: 4"), MalformedError, "no single"),
        (_kept(b"[1]", "Content-Length: 2"), MalformedError, "no single number"),
        (_kept(b"[1]").replace(b": 3", b": 3x"), MalformedError, "no single number"),
        (_chunked(b"").replace(b"chunked", b"gzip, chunked"), MalformedError, "sent as 'gzip,"),
        (_kept(b"").replace(b": 0", b": 1048577"), MalformedError, "larger than 1 MiB"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", UnavailableError, r"broke off \(SSH-2.0-OpenSSH_9.6\)$"),
        (_kept(b"[1]").replace(b"OK\r\n", b"OK\r\nodd\r\n"), MalformedError, "no header"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", UnavailableError, "broke off"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, UnavailableError, "broke off"),
        (b"", UnavailableError, "broke off"),
    ],
)
def test_answer_without_a_certain_end_is_refused(
    answer: bytes, kind: type[Exception], message: str
) -> None:
    with _Server(answer) as server, _transport() as get:
        server.close_after = 1
        with pytest.raises(kind, match=message):
            get(server.url)


def test_answer_that_talks_the_parser_out_of_a_size_ends_at_the_limit() -> None:
    def pour(connection: socket.socket, request: Received) -> None:
        del request
        # A chunk of -1 bytes is read to the end of the connection, which never comes.
        connection.sendall(_chunked(b"-1\r\n"))
        for _ in range(1000):
            connection.sendall(bytes(100_000))

    with RawServer(pour) as server, _transport() as get:
        tracemalloc.start()
        try:
            with pytest.raises(MalformedError, match="does not end"):
                get(server.url)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


def test_line_break_in_a_header_is_never_sent() -> None:
    with _Server(_kept(b"[1]")) as server, _transport() as get:
        with pytest.raises(ConfigurationError, match="line break") as caught:
            get(server.url, Authorization="Bearer secret-1\r\nX-Role: admin")
        assert "secret-1" not in str(caught.value)
        assert server.targets == []


def test_calls_above_the_number_of_connections_wait_their_turn() -> None:
    at_once: list[int] = []
    busy: set[int] = set()

    def handle(connection: socket.socket, request: Received) -> None:
        del request
        busy.add(id(connection))
        at_once.append(len(busy))
        time.sleep(0.02)
        busy.discard(id(connection))
        connection.sendall(_kept(b"[1]", "Connection: close"))

    with (
        RawServer(handle) as server,
        _transport(max_connections=2) as get,
        ThreadPoolExecutor(6) as threads,
    ):
        assert list(threads.map(get, [server.url] * 12)) == [b"[1]"] * 12
    assert max(at_once) == 2


def test_no_connection_free_in_time_is_told() -> None:
    transport = BoundedTransport(LIMITS, max_connections=1)
    pool = transport._pool
    with RawServer(lambda *_: time.sleep(1)) as server:
        taken = pool.take("http", "127.0.0.1", server.port)
        with pytest.raises(UnavailableError, match=r"no connection came free within 0\.5 s"):
            transport.handle_request(httpx.Request("GET", server.url))
        pool.give_back(taken, is_reusable=False)
        transport.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate of 127.0.0.1 that nobody has heard of."""
    return write_certificate(tmp_path_factory.mktemp("tls"))


@contextmanager
def _tls_server(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        plain, _ = listening.accept()
        with plain:
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    for body in (b"[1]", b"[2]"):
                        connection.recv(65536)
                        connection.sendall(_kept(body))
            except OSError:
                return  # the client does not trust it

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        thread.join(5)
        listening.close()


def test_certificate_that_the_machine_trusts_is_trusted_and_the_connection_kept(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with _tls_server(certificate) as url, _transport() as get:
        assert [get(url), get(url)] == [b"[1]", b"[2]"]


def test_certificate_of_an_unknown_authority_is_refused(certificate: Path) -> None:
    with (
        _tls_server(certificate) as url,
        _transport() as get,
        pytest.raises(ConnectionRefusedByVendorError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        get(url)


def test_plain_server_behind_https_is_refused() -> None:
    with (
        RawServer.answering(_kept(b"[1]")) as server,
        _transport() as get,
        pytest.raises((ConnectionRefusedByVendorError, UnavailableError)),
    ):
        get(server.url.replace("http:", "https:"))
