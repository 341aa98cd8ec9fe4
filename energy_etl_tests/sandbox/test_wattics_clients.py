"""What Wattics' own clients put on the wire, byte for byte, answered as they need it.

The Ruby gem (`Config.new(:TEST, ...)`: rest-client over Net::HTTP) and the Java agent
(`Environment.LOCAL`: Apache HttpClient 4.3, not preemptive) push to
`http://localhost:8080/measurements/v2/unifiedjson/`: port 8080 is the sandbox's default. Here the
forms of their requests are replayed over a socket; their code is not used.
"""

import base64
import inspect
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from energy_etl.cli.app import sandbox as sandbox_command
from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.sandbox.model import id_wattics
from energy_etl.sandbox.server import serve
from energy_etl.settings import Settings
from energy_etl_tests.sandbox.conftest import MAIN, NOW_AT

LOCAL_URL = "http://localhost:8080/measurements/v2/unifiedjson/"
STREAM = id_wattics("rome-a.grid_import")
SIMPLE = id_wattics("rome-a.water")
BASIC = base64.b64encode(":".join(MAIN).encode())

RUBY_HEAD = (
    b"POST /measurements/v2/unifiedjson/ HTTP/1.1\r\n"
    b"Accept: */*\r\n"
    b"User-Agent: rest-client/2.0.2 (linux-gnu x86_64) ruby/2.4.1p111\r\n"
    b"Content-Length: %d\r\n"
    b"Accept-Encoding: gzip, deflate\r\n"
    b"Host: localhost:8080\r\n"
    b"Authorization: Basic %s\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n"
    b"\r\n"
)
JAVA_HEAD = (
    b"POST %s HTTP/1.1\r\n"
    b"Accept: application/json\r\n"
    b"Content-type: application/json\r\n"
    b"Content-Length: %d\r\n"
    b"Host: localhost:8080\r\n"
    b"Connection: Keep-Alive\r\n"
    b"User-Agent: Apache-HttpClient/4.3.4 (java 1.5)\r\n"
    b"Accept-Encoding: gzip,deflate\r\n"
    b"%s"
    b"\r\n"
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=fixed_clock(NOW_AT))) as sandbox:
        yield sandbox


@pytest.fixture
def wire(sandbox: SandboxServer) -> Iterator[socket.socket]:
    """A connection as a client of HTTP 1.1 opens it."""
    with socket.create_connection((sandbox.host, sandbox.port), timeout=10) as connection:
        yield connection


def read_answer(connection: socket.socket) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Return status line, headers in lower case and body of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        assert chunk, f"closed after {data!r}"
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = {name.lower(): value for name, value in (line.split(b": ", 1) for line in lines)}
    while len(body) < int(headers[b"content-length"]):
        body += connection.recv(65536)
    return status, headers, body


def packets_of(sandbox: SandboxServer, stream_id: str) -> list[dict]:
    url = f"{sandbox.url}/_sandbox/packets"
    rows = httpx.get(url, params={"stream": stream_id}).json()
    return [row["packet"] for row in rows]


def test_port_and_path_of_the_clients_are_the_sandboxs_defaults(sandbox: SandboxServer) -> None:
    for function in (serve, sandbox_command):
        assert inspect.signature(function).parameters["port"].default == urlsplit(LOCAL_URL).port
    assert urlsplit(Settings.model_fields["sandbox_url"].default).port == urlsplit(LOCAL_URL).port
    assert httpx.get(sandbox.url + urlsplit(LOCAL_URL).path).status_code == 401


def test_ruby_gem_sends_head_and_body_apart_and_a_packet_without_its_empty_fields(
    sandbox: SandboxServer, wire: socket.socket
) -> None:
    bodies = [
        b'{"id":"%s","tsISO8601":"2025-04-15T10:%02d:00.000+02:00","pC_1":%s}'
        % (STREAM.encode(), minute, number)
        for minute, number in ((0, b"5.12"), (15, b"6"))
    ]
    for body in bodies:
        wire.sendall(RUBY_HEAD % (len(body), BASIC))
        wire.sendall(body)
        status, _, answer = read_answer(wire)
        # Any status below 400 is success to the gem; the body is only printed.
        assert status == b"HTTP/1.1 200 OK"
        assert answer == b""
    assert [packet["pC_1"] for packet in packets_of(sandbox, STREAM)] == [5.12, 6]


def test_ruby_gem_with_a_wrong_password_reads_the_documented_text(wire: socket.socket) -> None:
    wire.sendall(RUBY_HEAD % (2, base64.b64encode(b"user:wrong")) + b"{}")
    status, _, body = read_answer(wire)
    assert status.startswith(b"HTTP/1.1 401 ")
    assert b"HTTP Status 401 - Full authentication is required to access this resource" in body


@pytest.mark.parametrize("path", ["unifiedjson/", "unifiedjson_utc/"])
def test_java_agent_is_challenged_first_and_sends_again_on_the_same_connection(
    sandbox: SandboxServer, wire: socket.socket, path: str
) -> None:
    n_before = len(packets_of(sandbox, SIMPLE))
    # Gson writes the fields of the subclass first; the stamp always says +00:00.
    body = b'{"value":12.5,"id":"%s","tsISO8601":"2025-04-15T08:%02d:00.000+00:00"}' % (
        SIMPLE.encode(),
        n_before,
    )
    target = b"/measurements/v2/" + path.encode()
    wire.sendall(JAVA_HEAD % (target, len(body), b"") + body)
    status, headers, _ = read_answer(wire)
    assert status.startswith(b"HTTP/1.1 401 ")
    assert headers[b"www-authenticate"].startswith(b'Basic realm="')
    assert headers.get(b"connection", b"keep-alive").lower() == b"keep-alive"
    login = b"Authorization: Basic %s\r\n" % BASIC
    wire.sendall(JAVA_HEAD % (target, len(body), login) + body)
    status, _, _ = read_answer(wire)
    assert status == b"HTTP/1.1 200 OK"
    assert len(packets_of(sandbox, SIMPLE)) == n_before + 1
