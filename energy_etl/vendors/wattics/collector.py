"""The collector's transport: one packet per POST, and the last packet by GET.

POST .../unifiedjson/            the packet as sent; Basic authentication, sent ahead
GET  .../unifiedjson/?stream=ID  the last packet as pushed, 404 when there is none

Each credential has its own session: its own connections, kept alive, and its own cookies, as
Wattics' API page asks for. No redirect is followed, and nothing is repeated here: whether a packet
may be sent again is decided by `delivery/stream_sender.py`. The bytes are in `transport.py`.
"""

import base64
import contextlib
import functools
import hashlib
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote, urlencode, urlsplit

from energy_etl.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    MalformedError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
    VendorError,
)
from energy_etl.rest.failures import parse_retry_after_s
from energy_etl.rest.transport import USER_AGENT
from energy_etl.vendors.wattics.connection import LostError, NoAnswerInTimeError, Received
from energy_etl.vendors.wattics.cookies import CookieJar
from energy_etl.vendors.wattics.settings import WatticsCredential, WatticsSettings, checked_url
from energy_etl.vendors.wattics.transport import Connections, NotSentError, NotTrustedError
from energy_etl.vendors.wattics.wire import parse_last

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_RETRY_AFTER_CAP_S: Final = 86_400.0
_LATER: Final = "run again later, a send run does so by itself"


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """What came back for one packet; status None: nothing did."""

    status: int | None
    text: str = ""
    retry_after_s: float | None = None
    may_have_arrived: bool = True


_ACCEPTED: Final = PostAnswer(200)


class WatticsCollector:
    """One credential at the collector; use it as an async context."""

    def __init__(
        self,
        url: str,
        credential: WatticsCredential,
        *,
        request_timeout_s: float = 10.0,
        max_connections: int = 32,
        ca_file: Path | None = None,
    ) -> None:
        """Check the URL; nothing is opened before the context is entered.

        Raises:
            ConfigurationError: the file of certificates cannot be read.
        """
        self._url = urlsplit(checked_url(url))
        self._credential = credential
        self._tls = _trusting(ca_file) if self._url.scheme == "https" and ca_file else None
        self._timeout_s = request_timeout_s
        self._max_connections = max_connections
        pair = f"{credential.username}:{credential.password.get_secret_value()}"
        # What each request begins with. The path is quoted, what is quoted already stays.
        self._path = quote(self._url.path, safe="/%:@!$&'()*+,;=~")
        self._headers = (
            f"Host: {_ascii(self._url.netloc)}\r\n"
            f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
            f"User-Agent: {USER_AGENT}\r\nAccept: */*\r\nContent-Type: application/json\r\n"
        ).encode()
        self._post_head = f"POST {self._path} HTTP/1.1\r\n".encode() + self._headers
        self._jar = CookieJar(self._url)
        self._connections: Connections | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        is_tls = self._url.scheme == "https"
        self._jar = CookieJar(self._url)
        self._connections = Connections(
            _ascii(self._url.hostname or ""),
            self._url.port or _DEFAULT_PORTS[self._url.scheme],
            (self._tls or _trusting()) if is_tls else None,
            max_connections=self._max_connections,
            timeout_s=self._timeout_s,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        if self._connections is not None:
            connections, self._connections = self._connections, None
            await connections.close()

    @property
    def fingerprint(self) -> str:
        """Tells this credential and URL from any other; slow to compute the first time."""
        return _fingerprint(
            self._url.geturl(),
            self._credential.username,
            self._credential.password.get_secret_value(),
        )

    async def post(self, body: bytes) -> PostAnswer:
        """POST one packet once; a failure of the network is an answer without status."""
        head, cookies = self._post_head, self._jar.header(time.monotonic())
        request = b"%b%bContent-Length: %d\r\n\r\n%b" % (head, cookies, len(body), body)
        try:
            received = await self._exchange(request)
        except NotSentError as error:
            return PostAnswer(None, self._unreachable(error), may_have_arrived=False)
        except NoAnswerInTimeError:
            return PostAnswer(None, f"no answer within {self._timeout_s} s")
        except LostError as error:
            return PostAnswer(None, f"the connection was lost: {_brief(error)}")
        if received.status == 200:
            return _ACCEPTED
        return PostAnswer(received.status, received.text(), _retry_after_s(received))

    async def last(self, stream_id: str) -> datetime | None:
        """GET the last packet of a stream and return its stamp, None when there is none.

        Raises:
            VendorError: as the status says; BadRequestError when the call is not offered.
        """
        where = f"Wattics' last packet of stream {stream_id}"
        query = urlencode({"stream": stream_id})
        line = f"GET {self._path}?{query} HTTP/1.1\r\n".encode()
        request = line + self._headers + self._jar.header(time.monotonic()) + b"\r\n"
        try:
            received = await self._exchange(request, is_repeatable=True)
        except NotSentError as error:
            raise UnavailableError(f"{where}: {self._unreachable(error)}.") from None
        except NoAnswerInTimeError:
            raise UnavailableError(
                f"{where}: no answer within {self._timeout_s} s: {_LATER}."
            ) from None
        except LostError as error:
            raise UnavailableError(
                f"{where}: the connection was lost ({_brief(error)}): {_LATER}."
            ) from None
        text = received.text()
        if received.status == 200:
            return parse_last(text, where)
        _raise_for(received.status, text, _retry_after_s(received), where)
        return None

    async def _exchange(self, request: bytes, *, is_repeatable: bool = False) -> Received:
        if self._connections is None:
            raise RuntimeError("the collector is used outside its `async with`")
        received = await self._connections.exchange(request, is_repeatable=is_repeatable)
        for name, value in received.headers:
            if name == b"set-cookie":
                self._jar.take(value, time.monotonic())
        return received

    def _unreachable(self, error: NotSentError) -> str:
        advice = "check the URL in the settings and the network"
        if self._url.scheme == "http":
            advice = "start it with `energy-etl sandbox`"
        elif isinstance(error, NotTrustedError):
            advice = "where a proxy opens TLS, give its certificates in `ca_file` of the settings"
        origin = f"{self._url.scheme}://{self._url.netloc}"
        return f"no connection to {origin} ({_brief(error)}): {advice}"


@contextlib.asynccontextmanager
async def open_collectors(
    settings: WatticsSettings,
) -> AsyncIterator[dict[str, WatticsCollector]]:
    """Open one collector per credential of the settings."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(
                WatticsCollector(
                    settings.collector_url,
                    credential,
                    request_timeout_s=settings.request_timeout_s,
                    max_connections=settings.max_parallel_streams,
                    ca_file=settings.ca_file,
                )
            )
            for name, credential in settings.credentials.items()
        }


def fingerprints(settings: WatticsSettings) -> dict[str, str]:
    """Return the fingerprint of each credential by its name, as its collector has it."""
    return {
        name: WatticsCollector(settings.collector_url, credential).fingerprint
        for name, credential in settings.credentials.items()
    }


# Kept per process: a sensor asks every few seconds, and it is slow on purpose.
@functools.lru_cache(maxsize=128)
def _fingerprint(url: str, username: str, password: str) -> str:
    # scrypt with 16 MB: whoever finds a fingerprint on a disk cannot try passwords by the million.
    salt = f"energy_etl: has this credential changed? {url} {username}".encode()
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=8).hex()


def _trusting(ca_file: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"wattics.ca_file: {ca_file} cannot be read as certificates ({error}): give the path "
            "of a PEM file, or leave the setting out."
        ) from None
    return context


def _ascii(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode()


def _retry_after_s(received: Received) -> float | None:
    wait_s = parse_retry_after_s(received.header(b"retry-after"))
    return None if wait_s is None else min(wait_s, _RETRY_AFTER_CAP_S)


def _raise_for(status: int, text: str, retry_after_s: float | None, where: str) -> None:
    what = f"{where}: HTTP {status} {' '.join(text.split())[:120]}".rstrip()
    if status == 404:
        return
    error = _error(status, what, retry_after_s)
    error.status = status
    raise error


def _error(status: int, what: str, retry_after_s: float | None) -> VendorError:
    if status == 401:
        return AuthenticationError(
            f"{what}: check the credential's user name and password in the settings; "
            "its packets wait."
        )
    if status == 403:
        return PermissionDeniedError(
            f"{what}: the credential may not see the stream, check `credential` in streams.csv; "
            "its packets wait."
        )
    if status == 429:
        return RateLimitedError(f"{what}: too many calls, {_LATER}.", retry_after_s)
    if status == 503 and retry_after_s is not None:
        return RateLimitedError(
            f"{what}: the collector wants to be left alone, {_LATER}.", retry_after_s
        )
    if status >= 500 or status == 408:
        return UnavailableError(f"{what}: the collector is not well, {_LATER}.")
    if status in (400, 405, 410):
        return BadRequestError(
            f"{what}: the collector does not offer the last packet, look at the stream in the "
            "dashboard of Wattics."
        )
    return MalformedError(
        f"{what}: an answer that was not to be expected, check the credential's URL in "
        "the settings."
    )


def _brief(error: Exception) -> str:
    return str(error)[:160] or type(error).__name__
