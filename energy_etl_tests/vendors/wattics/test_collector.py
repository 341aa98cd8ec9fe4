"""The transport against the sandbox's collector, and against servers that misbehave."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from energy_etl.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    MalformedError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
)
from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.vendors.wattics.collector import (
    PostAnswer,
    WatticsCollector,
    fingerprints,
    open_collectors,
)
from energy_etl.vendors.wattics.settings import (
    SANDBOX_PATH,
    WatticsCredential,
    WatticsSettings,
    sandbox_section,
)
from energy_etl_tests.certificates import write_certificate

NOW = datetime(2025, 2, 1, tzinfo=UTC)
Result = TypeVar("Result")
MAIN = WatticsCredential(username="sandbox-wattics", password=SecretStr("sandbox-wattics-secret"))


@pytest.fixture(scope="module")
def module_sandbox() -> Iterator[SandboxServer]:
    options = {"accepts_any_stream": True}
    with SandboxServer(World(now=fixed_clock(NOW)), wattics_options=options) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(module_sandbox: SandboxServer) -> Iterator[SandboxServer]:
    yield module_sandbox
    module_sandbox.app.faults.clear()


def packet(stream_id: str, stamp: str = "2025-01-06T01:15:00.000+01:00") -> bytes:
    return f'{{"id":"{stream_id}","tsISO8601":"{stamp}","pC_1":5.0}}'.encode()


def use(
    base_url: str,
    call: Callable[[WatticsCollector], Awaitable[Result]],
    credential: WatticsCredential = MAIN,
    timeout_s: float = 5.0,
    ca_file: Path | None = None,
) -> Result:
    async def run() -> Result:
        url = base_url + SANDBOX_PATH
        async with WatticsCollector(
            url, credential, request_timeout_s=timeout_s, ca_file=ca_file
        ) as collector:
            return await call(collector)

    return asyncio.run(run())


def test_what_was_posted_is_the_last_packet(sandbox: SandboxServer) -> None:
    async def call(collector: WatticsCollector) -> tuple[object, ...]:
        before = await collector.last("c1")
        answer = await collector.post(packet("c1"))
        return before, answer.status, await collector.last("c1")

    assert use(sandbox.url, call) == (None, 200, datetime(2025, 1, 6, 0, 15, tzinfo=UTC))


def test_one_session_keeps_its_connection_and_cookie(sandbox: SandboxServer) -> None:
    wattics = sandbox.app.wattics
    before = len(wattics._sessions)

    async def call(collector: WatticsCollector) -> None:
        for minute in range(10, 20):
            await collector.post(packet("c2", f"2025-01-06T01:{minute}:00.000+01:00"))

    use(sandbox.url, call)
    assert len(wattics._sessions) - before == 1


def test_cookie_that_is_renewed_replaces_the_old_one(sandbox: SandboxServer) -> None:
    wattics = sandbox.app.wattics

    async def call(collector: WatticsCollector) -> int:
        await collector.post(packet("c10"))
        # The collector forgets its sessions, as after a restart.
        wattics._sessions.clear()
        for minute in (20, 21, 22):
            await collector.post(packet("c10", f"2025-01-06T01:{minute}:00.000+01:00"))
        return len(wattics._sessions)

    assert use(sandbox.url, call) == 1


def test_each_credential_has_its_own_session(sandbox: SandboxServer) -> None:
    before = len(sandbox.app.wattics._sessions)
    second = WatticsCredential(
        username="sandbox-wattics-2", password=SecretStr("sandbox-wattics-2-secret")
    )
    for credential in (MAIN, second):
        use(sandbox.url, lambda c: c.post(packet("c3")), credential)
    assert len(sandbox.app.wattics._sessions) - before == 2
    assert sandbox.app.wattics.streams["second"]["c3"].packets == [packet("c3")]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.sampled_from(
            ["..", "../..", "a/b?c#d", "%2f..%2f", "a&stream=b", "a b+c", "ü'\"", "\n"]
        ),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    )
)
def test_any_id_stays_in_the_query_of_the_collectors_path(
    sandbox: SandboxServer, stream_id: str
) -> None:
    use(sandbox.url, lambda c: c.last(stream_id))
    entry = sandbox.app.log[-1]
    assert entry.path == SANDBOX_PATH
    assert parse_qs(entry.query, keep_blank_values=True) == {"stream": [stream_id]}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (405, BadRequestError),
        (418, MalformedError),
        (429, RateLimitedError),
        (500, UnavailableError),
        (503, RateLimitedError),
    ],
)
def test_a_status_of_the_last_packet_is_its_error(
    sandbox: SandboxServer, status: int, error: type[Exception]
) -> None:
    fault = {"vendor": "wattics", "kind": "status", "status": status, "retry_after_s": 7}
    sandbox.app.faults.add(fault)
    with pytest.raises(error, match=f"stream c4.*HTTP {status}") as caught:
        use(sandbox.url, lambda c: c.last("c4"))
    assert getattr(caught.value, "status", None) == status
    if isinstance(caught.value, RateLimitedError):
        assert caught.value.retry_after_s == 7.0


def test_a_wrong_password_is_an_answer_without_the_password(sandbox: SandboxServer) -> None:
    wrong = WatticsCredential(username="sandbox-wattics", password=SecretStr("canary"))
    answer = use(sandbox.url, lambda c: c.post(packet("c5")), wrong)
    assert answer.status == 401
    assert "Full authentication is required" in answer.text
    assert "canary" not in repr(answer)


def test_retry_after_is_read(sandbox: SandboxServer) -> None:
    fault = {"vendor": "wattics", "kind": "status", "status": 429, "retry_after_s": 12}
    sandbox.app.faults.add(fault)
    answer = use(sandbox.url, lambda c: c.post(packet("c6")))
    assert (answer.status, answer.retry_after_s) == (429, 12.0)


def test_retry_after_as_a_date_is_read() -> None:
    at = datetime.now(UTC) + timedelta(seconds=90)
    head = f"HTTP/1.1 503 Busy\r\nRetry-After: {format_datetime(at, usegmt=True)}\r\n"
    answer = _post_to(f"{head}Content-Length: 0\r\n\r\n".encode())
    assert answer.status == 503
    assert answer.retry_after_s == pytest.approx(90, abs=5)


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_lost_connection_may_have_arrived(sandbox: SandboxServer, kind: str) -> None:
    sandbox.app.faults.add({"vendor": "wattics", "kind": kind})
    answer = use(sandbox.url, lambda c: c.post(packet(f"c7-{kind}")))
    assert (answer.status, answer.may_have_arrived) == (None, True)
    # Not repeated behind our back.
    streams = sandbox.app.wattics.streams["main"]
    assert (f"c7-{kind}" in streams) == (kind == "drop_after")
    assert kind == "drop_before" or len(streams[f"c7-{kind}"].packets) == 1


def test_a_slow_answer_ends_at_the_time_out(sandbox: SandboxServer) -> None:
    sandbox.app.faults.add({"vendor": "wattics", "kind": "slow", "delay_s": 0.4})
    answer = use(sandbox.url, lambda c: c.post(packet("c8")), timeout_s=0.1)
    assert (answer.status, answer.may_have_arrived) == (None, True)
    assert "no answer within 0.1 s" in answer.text


def test_connection_that_the_collector_closed_meanwhile_costs_no_packet(
    sandbox: SandboxServer,
) -> None:
    async def call(collector: WatticsCollector) -> list[int | None]:
        first = await collector.post(packet("c11"))
        sandbox.app.faults.add({"vendor": "wattics", "kind": "drop_before"})
        lost = await collector.post(packet("c11", "2025-01-06T01:30:00.000+01:00"))
        last = await collector.post(packet("c11", "2025-01-06T01:45:00.000+01:00"))
        return [first.status, lost.status, last.status]

    assert use(sandbox.url, call) == [200, None, 200]
    # Not even the one that met a closed door: whether it arrived is for the sender to ask.
    assert len(sandbox.app.wattics.streams["main"]["c11"].packets) == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/a b/ü/", "http://localhost:{port}/x/"])
def test_request_is_one_that_any_server_reads(url: str) -> None:
    requests: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            requests.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def post(port: int) -> None:
        async with WatticsCollector(url.format(port=port), MAIN) as collector:
            await collector.post(b"{}")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        asyncio.run(post(port))
        thread.join()
    path, host = ("/a%20b/%C3%BC/", "127.0.0.1") if " " in url else ("/x/", "localhost")
    (request,) = requests
    assert (
        request
        == (
            f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Authorization: Basic c2FuZGJveC13YXR0aWNzOnNhbmRib3gtd2F0dGljcy1zZWNyZXQ=\r\n"
            "User-Agent: energy-etl/0.1\r\nAccept: */*\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\n\r\n{}"
        ).encode()
    )


def test_nobody_who_listens_is_surely_not_sent_and_names_the_sandbox() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        answer = use(url, lambda c: c.post(packet("c9")))
        assert (answer.status, answer.may_have_arrived) == (None, False)
        assert "energy-etl sandbox" in answer.text
        with pytest.raises(UnavailableError, match="energy-etl sandbox"):
            use(url, lambda c: c.last("c9"))


def _post_to(
    answer: bytes, certificate: Path | None = None, ca_file: Path | None = None
) -> PostAnswer:
    """Post to a server that answers one connection with these bytes and closes it."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            if certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate)
                connection = context.wrap_socket(connection, server_side=True)
            connection.recv(65536)
            connection.sendall(answer)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        scheme = "https" if certificate else "http"
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        found = use(
            url, lambda collector: collector.post(packet("r")), timeout_s=2.0, ca_file=ca_file
        )
        thread.join()
    return found


def test_certificate_of_ones_own_is_trusted_only_where_it_is_named(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path)
    accepted = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert _post_to(accepted, certificate, ca_file=certificate).status == 200
    answer = _post_to(accepted, certificate)
    assert (answer.status, answer.may_have_arrived) == (None, False)
    assert "give its certificates in `ca_file`" in answer.text


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_file_of_certificates_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    ca_file = tmp_path / "proxy.pem"
    if content is not None:
        ca_file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"ca_file: \S+proxy.pem cannot be read"):
        WatticsCollector("https://127.0.0.1/x/", MAIN, ca_file=ca_file)


def test_fingerprint_tells_credentials_apart_and_gives_none_away() -> None:
    def settings_with(**changes: str) -> WatticsSettings:
        section = sandbox_section("http://127.0.0.1:9")
        section["credentials"]["main"].update(changes)
        return WatticsSettings.model_validate(section)

    first = fingerprints(settings_with())
    assert first == fingerprints(settings_with())
    assert len(set(first.values())) == 2
    for changed in (settings_with(password="other"), settings_with(username="other")):
        now = fingerprints(changed)
        assert now["main"] != first["main"]
        assert now["second"] == first["second"]

    async def opened() -> dict[str, str]:
        async with open_collectors(settings_with()) as collectors:
            return {name: each.fingerprint for name, each in collectors.items()}

    assert asyncio.run(opened()) == first


def test_a_redirect_is_not_followed() -> None:
    answer = _post_to(
        b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    )
    assert answer.status == 307


def test_an_endless_answer_is_cut() -> None:
    head = b"HTTP/1.1 400 Bad\r\nContent-Length: 50000000\r\n\r\n"
    answer = _post_to(head + b"x" * 2_000_000)
    assert answer.status == 400
    assert len(answer.text) <= 64 * 1024


def test_body_that_comes_encoded_is_told_and_not_decoded() -> None:
    head = b"HTTP/1.1 400 Bad\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n"
    answer = _post_to(head + b"\x1f\x8b\x08\x00")
    assert (answer.status, answer.text) == (
        400,
        "(a body that nobody asked to be encoded, as gzip)",
    )


def test_garbage_in_place_of_http_may_have_arrived() -> None:
    answer = _post_to(b"\x00\x01 no http at all\r\n\r\n")
    assert (answer.status, answer.may_have_arrived) == (None, True)
    assert "connection was lost" in answer.text


def test_half_an_answer_of_200_may_have_arrived() -> None:
    answer = _post_to(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    assert (answer.status, answer.may_have_arrived) == (None, True)


def test_use_outside_its_context_is_refused() -> None:
    collector = WatticsCollector("http://127.0.0.1:9/x/", MAIN)
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(collector.last("s"))


def test_a_url_that_is_not_safe_is_refused() -> None:
    with pytest.raises(ValueError, match="not https"):
        WatticsCollector("http://web-collector.wattics.com/x/", MAIN)
