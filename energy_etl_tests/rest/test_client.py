"""RestClient: URLs that cannot escape, bounded retries, errors as sentences, no secrets."""

import json
import socket
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from energy_etl.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    MalformedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
    VendorError,
)
from energy_etl.quota import Quota
from energy_etl.rest import Answer, Limits, RequestLog, RestClient, build_path
from energy_etl.rest.failures import parse_retry_after_s
from energy_etl_tests.rest.raw_server import RawServer, answer

FAST = Limits(answer_s=2.0, total_s=5.0, backoff_s=0.01)
CANARY = "canary-secret-7Jx"


def _client(url: str, **options: Any) -> RestClient:
    log = options.pop("log", None) or RequestLog("acme")
    return RestClient(
        vendor="acme", base_url=url, log=log, **{"limits": FAST, "secrets": [CANARY]} | options
    )


@pytest.fixture
def offline() -> Iterator[RestClient]:
    """A client whose URLs are looked at and never sent."""
    with _client("https://api.example.com/base") as client:
        yield client


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=30))
@example("..")
@example(".")
@example("../../etc/passwd")
@example("a/b?c#..1")
@example("%2f%2e%2e")
@example("\\..\\")
@example("//evil.example/x")
@example("'; DROP TABLE x; --")
@example("{smartmeter_id}")
@example("ü€😀\x00\r\n")
def test_any_id_stays_one_segment_of_the_vendors_path(vendor_id: str) -> None:
    try:
        path = build_path("/v1/devices/{device_id}/properties", device_id=vendor_id)
    except ConfigurationError:
        vendor_id.encode("utf-16", "surrogatepass")
        with pytest.raises(UnicodeEncodeError):
            vendor_id.encode()
        return
    url = httpx.URL("https://api.example.com").copy_with(raw_path=b"/base" + path.encode("ascii"))
    segments = url.raw_path.split(b"/")
    assert url.host == "api.example.com"
    assert segments[:4] == [b"", b"base", b"v1", b"devices"]
    assert segments[5:] == [b"properties"]
    assert segments[4] not in (b".", b"..", b"")
    assert not set(segments[4]) & set(b"?# \r\n\\")


@pytest.mark.parametrize("vendor_id", ["", "\ud800"])
def test_id_that_cannot_stand_in_a_path_is_refused_by_name(vendor_id: str) -> None:
    with pytest.raises(ConfigurationError, match=r"The smartmeter_id .* cannot stand in a URL"):
        build_path("/smartmeters/{smartmeter_id}/savings", smartmeter_id=vendor_id)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
@example("..")
@example("a/b?c#..1")
@example("50%_ü+&=;")
def test_any_id_arrives_as_it_was(vendor_id: str) -> None:
    with RawServer.answering(answer(200, b"[]")) as server, _client(server.url + "/p") as client:
        client.get("thing", build_path("/things/{thing_id}/x", thing_id=vendor_id))
        target = server.received[0].target
    prefix, segment, end = target[: len("/p/things/")], target[len("/p/things/") : -2], target[-2:]
    assert (prefix, end) == ("/p/things/", "/x")
    assert httpx.URL("http://h").copy_with(raw_path=b"/" + segment.encode()).path == f"/{vendor_id}"


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/base/v1",
        "http://api.example.com/base/v1",
        "https://api.example.com:8443/base/v1",
        "https://user@api.example.com/base/v1",
        "/elsewhere/v1",
        "/based/v1",
        "//evil.example/base/v1",
    ],
)
def test_link_that_leads_away_is_never_followed(offline: RestClient, link: str) -> None:
    previous = Answer(200, {}, b"", "r", datetime.now(UTC), "https://api.example.com/base/v1/x")
    with pytest.raises(MalformedError, match="leads away"):
        offline.follow("history", link, previous)
    assert len(offline.log) == 0


@pytest.mark.parametrize("link", ["/base/v1/x\n?page=2", "https://[base/v1", "\ud800"])
def test_link_that_is_no_url_is_told(offline: RestClient, link: str) -> None:
    previous = Answer(200, {}, b"", "r", datetime.now(UTC), "https://api.example.com/base/v1/x")
    with pytest.raises(MalformedError, match="a link that is no URL"):
        offline.follow("history", link, previous)


def test_session_cookie_is_sent_back() -> None:
    first = answer(200, b"[1]", headers={"Set-Cookie": "session=s-1; Path=/v1"})
    with RawServer.answering(first, answer(200, b"[2]")) as server, _client(server.url) as client:
        for path in ("/v1/a", "/v1/b", "/v2"):
            client.get("devices", path)
        assert [one.headers.get("cookie") for one in server.received] == [None, "session=s-1", None]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (409, BadRequestError),
        (422, BadRequestError),
        (301, MalformedError),
        (308, MalformedError),
    ],
)
def test_permanent_status_is_asked_once(status: int, kind: type[VendorError]) -> None:
    sent = answer(status, b'{"message": "no"}', headers={"Location": "http://evil.example/"})
    with (
        RawServer.answering(sent) as server,
        _client(server.url) as client,
        pytest.raises(kind) as caught,
    ):
        client.get("devices", "/v1/devices", params={"device_id": "B1"})
    assert len(server.received) == 1
    assert f"acme devices (device_id=B1) answered {status}" in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("expected", [frozenset[int](), frozenset({404})])
def test_status_that_is_expected_is_raised_and_is_no_failure_in_the_log(
    expected: frozenset[int],
) -> None:
    with (
        RawServer.answering(answer(404, b"{}"), answer(403, b"{}")) as server,
        _client(server.url) as client,
    ):
        with pytest.raises(NotFoundError):
            client.get("units", "/v1/units", expected=expected)
        with pytest.raises(PermissionDeniedError):
            client.get("units", "/v1/units", expected=expected)
    assert client.log.calls() == [], "no rows are made of it"
    rows, _ = client.log.take()
    assert rows["status"].to_list() == [404, 403]
    assert rows["error"].is_null().to_list() == [bool(expected), False]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_server_error_is_retried_and_never_taken_for_a_bad_login(status: int) -> None:
    with RawServer.answering(answer(status)) as server, _client(server.url) as client:
        with pytest.raises(UnavailableError, match=f"answered {status}.*asked 4 times"):
            client.get("devices", "/v1/devices")
        requests, _ = client.log.take()
    assert requests["status"].to_list() == [status] * 4


def test_error_that_passes_is_survived() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nonly this"
    answers = [answer(503), cut, answer(200, b"[1]")]
    with RawServer.answering(*answers) as server, _client(server.url) as client:
        assert client.get("devices", "/v1/devices").body == b"[1]"
        assert [call.status for call in client.log.calls()] == [200]
        assert client.log.take()[0]["status"].to_list() == [503, None, 200]


def test_retry_after_is_obeyed_by_every_thread_and_process(tmp_path: Path) -> None:
    slow = answer(429, headers={"Retry-After": "1"})
    quota = Quota(tmp_path / "state.sqlite", "acme", 100, 10.0)
    other = Quota(tmp_path / "state.sqlite", "acme", 100, 10.0)
    with (
        RawServer.answering(slow, answer(200, b"[]")) as server,
        _client(server.url, quotas=[quota]) as client,
    ):
        started_s = time.monotonic()
        client.get("devices", "/v1/devices")
        assert 1.0 <= time.monotonic() - started_s < 3.0
        quota.pause(0.3)
        assert 0.2 < other.acquire(5.0) < 1.0
    other.close()


def test_retry_after_beyond_the_bound_ends_the_call() -> None:
    slow = answer(429, headers={"Retry-After": "86400"})
    with RawServer.answering(slow) as server, _client(server.url) as client:
        with pytest.raises(RateLimitedError, match="run again in 86400 s") as caught:
            client.get("devices", "/v1/devices")
        with pytest.raises(RateLimitedError, match="asked for a pause"):
            client.get("devices", "/v1/devices")
    assert caught.value.retry_after_s == 86400
    assert len(server.received) == 1


def test_all_attempts_together_end_at_the_total() -> None:
    limits = Limits(answer_s=2.0, total_s=0.5, backoff_s=0.4, n_attempts=20)
    with RawServer.answering(answer(503)) as server, _client(server.url, limits=limits) as client:
        started_s = time.monotonic()
        with pytest.raises(UnavailableError):
            client.get("devices", "/v1/devices")
        assert time.monotonic() - started_s < 1.5


def test_nobody_listening_names_the_sandbox() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        _client(f"http://127.0.0.1:{port}") as client,
        pytest.raises(UnavailableError, match="`energy-etl sandbox`"),
    ):
        client.get("devices", "/v1/devices")


@pytest.mark.parametrize(
    "base_url",
    ["", "ftp://x", "api.example.com", "http://api.example.com", "https://u:p@api.example.com"],
)
def test_base_url_that_is_unsafe_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"acme\.base_url"):
        _client(base_url)


def test_secrets_reach_neither_log_nor_error() -> None:
    body = json.dumps(
        {"access_token": "tok-1", "user": {"firstName": "Ada", "email": "a@b.c"}, "x": CANARY}
    ).encode()
    refused = answer(400, f'client_secret={CANARY} password="hunter22"'.encode())
    with RawServer.answering(answer(200, body), refused) as server, _client(server.url) as client:
        kept = client.get("user", "/v1/user", query={"key": CANARY}).body
        with pytest.raises(BadRequestError) as caught:
            client.get("user", "/v1/user", query={"key": CANARY})
        requests, bodies = client.log.take()
    stored = b"".join(zlib.decompress(packed) for packed in bodies["body_zlib"])
    everything = f"{requests.rows()} {caught.value} {stored!r} {kept!r}"
    for secret in (CANARY, "tok-1", "Ada", "a@b.c", "hunter22"):
        assert secret not in everything
    assert json.loads(kept)["user"] == {"firstName": "[redacted]", "email": "[redacted]"}
    assert server.received[0].target.endswith(f"key={CANARY}")


def test_request_log_holds_what_a_rebuild_needs() -> None:
    with RawServer.answering(answer(200, b"[1]"), answer(204)) as server:
        with _client(server.url) as client:
            first = client.get("history", "/h", params={"device_id": "B1", "page": 0})
            client.get("history", "/h", params={"device_id": "B1", "page": 1})
            client.log.annotate(first.request_id, is_last=True)
        calls = client.log.calls()
        requests, bodies = client.log.take()
    assert [(call.status, call.body) for call in calls] == [(200, b"[1]"), (204, b"")]
    assert calls[0].params == {
        "device_id": "B1",
        "page": 0,
        "is_last": True,
        "fetch_id": client.log.fetch_id,
    }
    assert requests["body_sha256"].to_list() == [bodies["body_sha256"].item(), None]
    assert bodies["n_bytes"].to_list() == [3]
    assert len(client.log) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7", 7.0), (None, None), ("", None), ("soon", None), ("-1", None), ("1" * 400, 111111111.0)],
)
def test_retry_after_in_seconds_is_read(text: str | None, expected: float | None) -> None:
    assert parse_retry_after_s(text) == expected


def test_retry_after_as_a_date_is_read() -> None:
    assert parse_retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    wait_s = parse_retry_after_s("Wed, 21 Oct 2195 07:28:00 GMT")
    assert wait_s is not None
    assert wait_s > 1e9
