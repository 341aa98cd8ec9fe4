"""`RestClient`: one vendor's calls, and all that is the same for every vendor.

Requests, answers, URLs, cookies and auth flows are httpx's; they are sent through the transport
without `httpx.Client`, which takes as long per call as all the rest of it.

Ids become part of a URL only through `build_path`, and every URL is checked against the vendor's
host and path prefix before anything is signed or sent. Redirects are never followed: headers that
carry a credential would go with them. Each attempt takes its place in the vendor's quotas, becomes
a row of the request log, and ends in an `Answer` or in one error (`failures.py`).

Not here: how a vendor signs (`auth/`), what its answers mean (`vendors/<vendor>/rows.py`).
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode, urljoin

import httpx
import msgspec

from energy_etl.errors import (
    MalformedError,
    RateLimitedError,
    UnavailableError,
    VendorError,
)
from energy_etl.quota import Quota
from energy_etl.rest.closing import Closing
from energy_etl.rest.dates import parse_http_date
from energy_etl.rest.failures import Failures
from energy_etl.rest.redaction import Redactor
from energy_etl.rest.request_log import TOKEN_ENDPOINT, RequestLog
from energy_etl.rest.transport import (
    USER_AGENT,
    BoundedTransport,
    ConnectionRefusedByVendorError,
    Limits,
)
from energy_etl.rest.urls import checked_base

_HEADERS: Final = httpx.Headers(
    {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "Connection": "keep-alive",
        "User-Agent": USER_AGENT,
    }
)


@dataclass(frozen=True)
class Answer:
    """One answer with a status of 200 to 299.

    Attributes:
        headers: names in lower case.
        body: unpacked, and as it is stored: without secrets and known personal fields.
        request_id: its row in `raw.request`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    requested_at: datetime
    url: str


class RestClient(Closing):
    """Calls one vendor; safe to share between threads."""

    def __init__(
        self,
        *,
        vendor: str,
        base_url: str,
        log: RequestLog,
        auth: httpx.Auth | None = None,
        limits: Limits | None = None,
        quotas: Sequence[Quota] = (),
        secrets: Sequence[str] = (),
        credential_hint: str = "check the credential in the settings",
        url_setting: str = "base_url",
        max_parallel: int = 8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            vendor: name of the vendor and of its section in the settings.
            base_url: scheme, host and path prefix that every URL must keep.
            log: where each call is recorded.
            auth: how requests are signed.
            limits: what one call may cost.
            quotas: limits that every call counts against.
            secrets: values that are removed from whatever is stored or shown.
            credential_hint: what to do when the vendor refuses the credential.
            url_setting: the vendor's setting that holds base_url, for errors.
            max_parallel: connections at most.
            sleep: how to wait (tests).

        Raises:
            ConfigurationError: base_url is no http(s) URL.
        """
        self.vendor = vendor
        self.log = log
        self._base = checked_base(f"{vendor}.{url_setting}", base_url)
        self._limits = limits or Limits()
        self._quotas = tuple(quotas)
        self._redactor = Redactor(secrets)
        self._failures = Failures(vendor, self._base, self._redactor, credential_hint, url_setting)
        self._sleep = sleep
        self._paused_until_s = 0.0
        self._pause_lock = threading.Lock()
        self._auth = auth
        self._cookies = httpx.Cookies()
        # No proxy and no .netrc of the machine: they must not decide where credentials go.
        self._transport = BoundedTransport(self._limits, max_connections=max_parallel)

    def close(self) -> None:
        """Close connections and quotas."""
        self._transport.close()
        for quota in self._quotas:
            quota.close()

    def get(
        self,
        endpoint: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        params: Mapping[str, Any] | None = None,
        quotas: Sequence[Quota] = (),
        expected: frozenset[int] = frozenset(),
    ) -> Answer:
        """GET a path below the base URL, with bounded retries.

        Args:
            endpoint: the endpoint's name in errors and in the request log.
            path: from `build_path`.
            query: sent in this order.
            params: what the call is made for, kept in the request log.
            quotas: further limits that this call counts against.
            expected: statuses that tell something too: raised, but no failure in the log.

        Raises:
            VendorError: the kind says what happened; `is_retryable` ones have been retried.
        """
        url = self._url(path, query)
        return self._call(_Exchange(endpoint, url, params or {}, expected=expected), quotas)

    def send(
        self,
        endpoint: str,
        path: str,
        *,
        json: Any,
        method: str = "POST",
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        quotas: Sequence[Quota] = (),
        is_repeatable: bool = False,
    ) -> Answer:
        """Send JSON to a path below the base URL.

        Args:
            endpoint: the endpoint's name in errors and in the request log.
            path: from `build_path`.
            json: the body, encoded once: what is signed is what is sent.
            method: POST, PUT or PATCH.
            query: sent in this order.
            headers: further headers, such as If-Unmodified-Since.
            params: what the call is made for, kept in the request log.
            quotas: further limits that this call counts against.
            is_repeatable: True for a query, which changes nothing: retried like a GET. False for
                what changes something: sent again only when it was refused unread (429, or no
                connection came up), never after a time-out or a 5xx, when it may have been done.

        Raises:
            VendorError: the kind says what happened.
        """
        exchange = _Exchange(
            endpoint,
            self._url(path, query),
            params or {},
            method,
            msgspec.json.encode(json),
            {"Content-Type": "application/json", **(headers or {})},
            is_repeatable,
        )
        return self._call(exchange, quotas)

    def follow(
        self,
        endpoint: str,
        link: str,
        previous: Answer,
        *,
        params: Mapping[str, Any] | None = None,
        quotas: Sequence[Quota] = (),
    ) -> Answer:
        """GET a link, absolute or relative, that an answer gave."""
        try:
            if not link.isprintable():
                raise ValueError("urljoin would drop line breaks")
            url = httpx.URL(urljoin(previous.url, link))
        except (httpx.InvalidURL, ValueError):
            raise MalformedError(
                f"{self._failures.who(endpoint, params or {})} gave a link that is no URL: "
                f"report it to the vendor; what came before it was kept."
            ) from None
        return self._call(_Exchange(endpoint, url, params or {}), quotas)

    def _url(self, path: str, query: Mapping[str, str | int] | None) -> httpx.URL:
        raw_path = self._base.raw_path.rstrip(b"/") + path.encode("ascii")
        if query:
            raw_path += b"?" + urlencode(query, quote_via=quote).encode("ascii")
        return self._base.copy_with(raw_path=raw_path)

    def _call(self, exchange: "_Exchange", quotas: Sequence[Quota]) -> Answer:
        self._refuse_foreign(exchange.endpoint, exchange.url, exchange.params)
        started_s = time.monotonic()
        waited_for_quota_s = 0.0
        for attempt in range(1, self._limits.n_attempts + 1):
            waited_for_quota_s += self._wait_for_place(quotas)
            try:
                return self._attempt(exchange, attempt)
            except (RateLimitedError, UnavailableError) as error:
                if not exchange.may_follow(error):
                    raise
                wait_s = self._wait_before_next(error, attempt, quotas)
                spent_s = time.monotonic() - started_s - waited_for_quota_s
                out_of_time = spent_s + (wait_s or 0.0) > self._limits.total_s
                if wait_s is None or out_of_time:
                    raise
            self._sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")  # pragma: no cover

    def _attempt(self, exchange: "_Exchange", attempt: int) -> Answer:
        endpoint, url, params = exchange.endpoint, exchange.url, exchange.params
        url_text = str(url)
        requested_at = datetime.now(UTC)
        started_s = time.monotonic()
        # 0: no answer came; never seen outside, since an error is raised then.
        status, headers, body = 0, {}, b""
        try:
            answer = self._signed_and_sent(exchange.request())
            status, headers = answer.status_code, dict(answer.headers.items())
            body = self._redactor.body(answer.content)
            error = self._failures.of_status(endpoint, url, params, answer, attempt)
        except VendorError as cause:
            error = self._failures.of_cause(endpoint, url, params, cause, attempt)
        is_failure = error is not None and status not in exchange.expected
        request_id = self.log.record(
            endpoint=endpoint,
            url=self._redactor.text(url_text),
            params=params,
            status=status or None,
            error=self._redactor.text(str(error)) if is_failure else None,
            requested_at=requested_at,
            elapsed_ms=(time.monotonic() - started_s) * 1000,
            body=body,
        )
        if error is not None:
            error.status = status or None
            error.server_at = parse_http_date(headers.get("date"))
            raise error
        return Answer(status, headers, body, request_id, requested_at, url_text)

    def _signed_and_sent(self, request: httpx.Request) -> httpx.Response:
        """Run the vendor's auth; each further request it makes (token calls) is recorded."""
        if self._cookies:
            self._cookies.set_cookie_header(request)
        if self._auth is None:
            return self._sent(request)
        flow = self._auth.sync_auth_flow(request)
        try:
            current = next(flow)
            while True:
                requested_at = datetime.now(UTC)
                answer = self._sent(current)
                if current is not request:
                    self._record_token_call(current, answer, requested_at)
                try:
                    current = flow.send(answer)
                except StopIteration:
                    return answer
        finally:
            # A renewal that failed lets go of the token's lock.
            flow.close()

    def _sent(self, request: httpx.Request) -> httpx.Response:
        answer = self._transport.handle_request(request)
        if "set-cookie" in answer.headers:
            self._cookies.extract_cookies(answer)
        return answer

    def _wait_for_place(self, quotas: Sequence[Quota]) -> float:
        waited_s = 0.0
        with self._pause_lock:
            pause_s = self._paused_until_s - time.monotonic()
        if pause_s > self._limits.max_quota_wait_s:
            raise RateLimitedError(
                f"{self.vendor} asked for a pause that lasts another {pause_s:.0f} s: "
                "run again then.",
                pause_s,
            )
        if pause_s > 0:
            self._sleep(pause_s)
            waited_s += pause_s
        for quota in (*self._quotas, *quotas):
            waited_s += quota.acquire(self._limits.max_quota_wait_s)
        return waited_s

    def _wait_before_next(
        self, error: RateLimitedError | UnavailableError, attempt: int, quotas: Sequence[Quota]
    ) -> float | None:
        """Return the seconds until the next attempt, None when there is to be none."""
        # Full jitter: clients that failed together must not come back together.
        wait_s = random.uniform(0.5, 1.5) * self._limits.backoff_s * 2 ** (attempt - 1)
        if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
            wait_s = error.retry_after_s
            for quota in (*self._quotas, *quotas):
                quota.pause(wait_s)
            with self._pause_lock:
                self._paused_until_s = max(self._paused_until_s, time.monotonic() + wait_s)
            if wait_s > self._limits.max_retry_after_s:
                return None
        return wait_s if attempt < self._limits.n_attempts else None

    def _refuse_foreign(self, endpoint: str, url: httpx.URL, params: Mapping[str, Any]) -> None:
        base = self._base
        prefix = base.raw_path.rstrip(b"/") + b"/"
        segments = url.raw_path.partition(b"?")[0].split(b"/")
        if (
            (url.scheme, url.host, url.port) != (base.scheme, base.host, base.port)
            or url.userinfo
            or not url.raw_path.startswith(prefix)
            or b".." in segments
        ):
            raise self._failures.leads_away(endpoint, url, params)

    def _record_token_call(
        self, request: httpx.Request, response: httpx.Response, requested_at: datetime
    ) -> None:
        # Its answer holds the token: never kept, whatever its status.
        self.log.record(
            endpoint=TOKEN_ENDPOINT,
            url=self._redactor.text(str(request.url)),
            params={},
            status=response.status_code,
            error=None if response.is_success else "refused",
            requested_at=requested_at,
            elapsed_ms=(datetime.now(UTC) - requested_at).total_seconds() * 1000,
        )


@dataclass(frozen=True)
class _Exchange:
    """What is to be sent, and whether it may be sent twice."""

    endpoint: str
    url: httpx.URL
    params: Mapping[str, Any]
    method: str = "GET"
    body: bytes | None = None
    headers: Mapping[str, str] | None = None
    is_repeatable: bool = True
    expected: frozenset[int] = frozenset()

    def request(self) -> httpx.Request:
        """Return it anew: an auth flow changes its headers."""
        headers = httpx.Headers(_HEADERS)
        headers.update(self.headers)
        return httpx.Request(self.method, self.url, headers=headers, content=self.body)

    def may_follow(self, error: VendorError) -> bool:
        """True when the same may be sent again after this failure."""
        # Refused unread, or never sent: there was nobody to send it to.
        is_undone = isinstance(error, RateLimitedError | ConnectionRefusedByVendorError)
        return self.is_repeatable or is_undone
