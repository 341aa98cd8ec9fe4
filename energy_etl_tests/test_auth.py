"""Signatures against the contract's vectors; one token for all threads and processes."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import SecretStr

from energy_etl.auth import ClientCredentialsAuth, HmacSha512Auth, sign_hmac_sha512
from energy_etl.errors import (
    AuthenticationError,
    EnergyEtlError,
    MalformedError,
    RateLimitedError,
    UnavailableError,
)
from energy_etl.rest import Limits, RequestLog, RestClient
from energy_etl.tokens import Token, TokenStore

VECTORS = [
    (
        "GET",
        "/v1/devices",
        b"",
        "BpLX/lgBRWbVcuiTi0qXqSA7s2hTQQIQlS+0a5OvdbDWlatVFcGCmvUm+gdT0CuuFuydo+3LAsuFTLMBBAaCeg==",
    ),
    (
        "get",
        "/v1/devices/B1/properties?property=p1&since=1286705410000",
        b"",
        "N4fiiy9KBHzkPEQzO9kZAZERgr+4SjL30fCBWtDPpcER1yx4rmjb0VRIC0U6MH+E3CnWGjHgbxdQOYOfn8XF1g==",
    ),
    (
        "PUT",
        "/v1/devices/B1/properties/p1",
        b'{"payload":21.5}',
        "/slZ6skS5+hOjA2Xa7kDwrLcIuF8ba/J9rr1zNKC8JYd+MCKpaLR+N2q+WYZ5k/D9kdyvy7vzO+3HxNNBxnJrA==",
    ),
]


@pytest.mark.parametrize(("method", "target", "body", "signature"), VECTORS)
def test_signature_equals_the_published_vector(
    method: str, target: str, body: bytes, signature: str
) -> None:
    signed = sign_hmac_sha512(b"demo-secret", method, target.encode(), body, "1700000000000")
    assert signed == signature


@pytest.mark.parametrize(("method", "target", "body", "signature"), VECTORS)
def test_prepared_request_is_signed_as_sent(
    method: str, target: str, body: bytes, signature: str
) -> None:
    auth = HmacSha512Auth("key", SecretStr("demo-secret"), now_s=lambda: 1_700_000_000.0)
    request = httpx.Request(method, f"https://api.wattsense.com{target}", content=body)
    signed = next(auth.sync_auth_flow(request))
    assert signed.headers["X-API-Auth"] == f"key:{signature}"
    assert signed.headers["X-API-Timestamp"] == "1700000000000"


def test_each_attempt_is_signed_anew() -> None:
    stamps = iter([1.0, 2.0])
    auth = HmacSha512Auth("key", SecretStr("s"), now_s=lambda: next(stamps))
    request = httpx.Request("GET", "https://api.wattsense.com/v1/devices")
    first = next(auth.sync_auth_flow(request)).headers["X-API-Auth"]
    assert next(auth.sync_auth_flow(request)).headers["X-API-Auth"] != first


class _Vendor(BaseHTTPRequestHandler):
    """A token endpoint and one resource; what it answers is set on the class."""

    protocol_version = "HTTP/1.1"
    lifetime_s: ClassVar[float] = 3600.0
    token_answer: ClassVar[tuple[int, bytes] | None] = None
    issued: ClassVar[list[str]] = []
    valid: ClassVar[set[str]] = set()
    calls: ClassVar[Counter[str]] = Counter()
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.lock:
            self.calls["token"] += 1
            number = self.calls["token"]
        if self.token_answer is not None:
            self._answer(*self.token_answer)
            return
        if "client_secret=right" not in body or "grant_type=client_credentials" not in body:
            self._answer(401, b'{"error": "invalid_client"}')
            return
        time.sleep(0.2)  # long enough for everybody else to come and want one too
        token = f"canary-token-{number}"
        self.issued.append(token)
        self.valid.add(token)
        answer = {"access_token": token, "expires_in": self.lifetime_s, "token_type": "Bearer"}
        self._answer(200, json.dumps(answer).encode())

    def do_GET(self) -> None:
        with self.lock:
            self.calls["resource"] += 1
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self.valid:
            self._answer(200, b"[]")
        else:
            self._answer(401, b'{"error": "invalid_token"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def vendor() -> Iterator[tuple[str, type[_Vendor]]]:
    class Fresh(_Vendor):
        issued: ClassVar[list[str]] = []
        valid: ClassVar[set[str]] = set()
        calls: ClassVar[Counter[str]] = Counter()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", Fresh
    server.shutdown()
    thread.join(5)
    server.server_close()


def _client(url: str, folder: Path, secret: str = "right", **options: Any) -> RestClient:
    auth = ClientCredentialsAuth(
        f"{url}/auth/token", "client", SecretStr(secret), TokenStore(folder), vendor="acme",
        **options,
    )  # fmt: skip
    return RestClient(
        vendor="acme",
        base_url=url,
        log=RequestLog("acme"),
        auth=auth,
        limits=Limits(answer_s=5.0, total_s=5.0, backoff_s=0.01),
        secrets=[secret],
    )


_PROCESS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from energy_etl_tests.test_auth import _client
print("ready", flush=True)
sys.stdin.readline()
with _client(sys.argv[1], Path(sys.argv[2])) as client, ThreadPoolExecutor(2) as threads:
    list(threads.map(lambda _: client.get("x", "/x"), range(4)))
"""


def test_four_threads_and_two_processes_fetch_one_token(
    vendor: tuple[str, type[_Vendor]], tmp_path: Path
) -> None:
    url, seen = vendor
    folder = tmp_path / "tokens"
    TokenStore(folder)
    command = [sys.executable, "-c", _PROCESS, url, str(folder)]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # its imports are done: now all want a token at once
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    with _client(url, folder) as client, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: client.get("x", "/x"), range(8)))
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert len(seen.issued) == 1
    assert seen.calls == Counter(token=1, resource=16)


def test_token_revoked_in_mid_run_is_renewed_once_by_all_threads(
    vendor: tuple[str, type[_Vendor]], tmp_path: Path
) -> None:
    url, seen = vendor
    with _client(url, tmp_path / "tokens") as client, ThreadPoolExecutor(4) as threads:
        client.get("x", "/x")
        seen.valid.clear()
        answers = list(threads.map(lambda _: client.get("x", "/x").status, range(8)))
        requests, bodies = client.log.take()
    assert answers == [200] * 8
    assert len(seen.issued) == 2
    assert requests.filter(endpoint="token").height == 2
    assert not any(token in str((requests.rows(), bodies.rows())) for token in seen.issued)


def test_token_near_its_end_is_renewed_before_it_is_refused(
    vendor: tuple[str, type[_Vendor]], tmp_path: Path
) -> None:
    url, seen = vendor
    now_s = [1_000_000.0]
    with _client(url, tmp_path / "tokens", now_s=lambda: now_s[0]) as client:
        client.get("x", "/x")
        now_s[0] += 3539.0
        client.get("x", "/x")
        assert len(seen.issued) == 1
        now_s[0] += 1.5
        client.get("x", "/x")
        assert len(seen.issued) == 2
    assert seen.calls["resource"] == 3


def test_token_that_stays_refused_is_renewed_once_and_told(
    vendor: tuple[str, type[_Vendor]], tmp_path: Path
) -> None:
    url, seen = vendor
    folder = tmp_path / "tokens"
    with _client(url, folder) as client:
        client.get("x", "/x")
        seen.valid = set()
        seen.token_answer = (200, b'{"access_token": "never-valid", "expires_in": 60}')
        with pytest.raises(AuthenticationError, match="answered 401"):
            client.get("x", "/x")
    assert seen.calls == Counter(token=2, resource=3)


def test_wrong_secret_is_told_without_it_and_mended_without_a_reload(
    vendor: tuple[str, type[_Vendor]], tmp_path: Path
) -> None:
    url, seen = vendor
    with (
        _client(url, tmp_path / "tokens", secret="canary-wrong") as client,
        pytest.raises(AuthenticationError, match=r"acme\.client_secret") as caught,
    ):
        client.get("x", "/x")
    assert "canary-wrong" not in str(caught.value)
    assert seen.calls == Counter(token=1)
    with _client(url, tmp_path / "tokens") as client:
        client.get("x", "/x")
    # The good token of the old secret is not used for a wrong new one.
    with (
        _client(url, tmp_path / "tokens", secret="canary-wrong") as client,
        pytest.raises(AuthenticationError),
    ):
        client.get("x", "/x")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((400, b'{"error":"invalid_client"}'), AuthenticationError),
        ((403, b""), AuthenticationError),
        ((429, b""), RateLimitedError),
        ((500, b"oops"), UnavailableError),
        ((503, b""), UnavailableError),
        ((404, b"<html>"), MalformedError),
        ((302, b""), MalformedError),
        ((200, b"<html>"), MalformedError),
        ((200, b"{}"), MalformedError),
        ((200, b'{"access_token": 5}'), MalformedError),
        ((200, b"\xff"), MalformedError),
    ],
)
def test_token_endpoint_that_fails_is_told_by_kind(
    vendor: tuple[str, type[_Vendor]],
    tmp_path: Path,
    answer: tuple[int, bytes],
    kind: type[EnergyEtlError],
) -> None:
    url, seen = vendor
    seen.token_answer = answer
    with _client(url, tmp_path / "tokens") as client, pytest.raises(kind, match="token endpoint"):
        client.get("x", "/x")
    assert seen.calls["resource"] == 0
    assert TokenStore(tmp_path / "tokens").read(f"{url}/auth/token", "client") is None


def test_stored_token_of_another_process_is_used(
    vendor: tuple[str, type[_Vendor]], tmp_path: Path
) -> None:
    url, seen = vendor
    with _client(url, tmp_path / "tokens") as client:
        client.get("x", "/x")
    stored = TokenStore(tmp_path / "tokens").read(f"{url}/auth/token", "client")
    assert isinstance(stored, Token)
    with _client(url, tmp_path / "tokens") as client:
        client.get("x", "/x")
    assert seen.calls == Counter(token=1, resource=2)


def test_token_is_asked_for_with_the_documented_form_and_sent_with_its_own_type(
    tmp_path: Path,
) -> None:
    auth = ClientCredentialsAuth(
        "http://127.0.0.1:1/auth/token",
        "client&1",
        SecretStr("s=cret"),
        TokenStore(tmp_path / "tokens"),
        vendor="acme",
    )
    flow = auth.sync_auth_flow(httpx.Request("GET", "http://127.0.0.1:1/x"))
    asked = next(flow)
    assert (asked.method, str(asked.url)) == ("POST", "http://127.0.0.1:1/auth/token")
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(asked.content.decode(), strict_parsing=True) == {
        "client_id": ["client&1"],
        "client_secret": ["s=cret"],
        "grant_type": ["client_credentials"],
    }
    assert "Authorization" not in asked.headers
    answer = {"access_token": "abc", "expires_in": 36000, "token_type": "Token"}
    signed = flow.send(httpx.Response(200, json=answer, request=asked))
    assert signed.headers["Authorization"] == "Token abc"
    stored = TokenStore(tmp_path / "tokens").read("http://127.0.0.1:1/auth/token", "client&1")
    assert stored is not None
    assert stored.lifetime_s == 36000.0
