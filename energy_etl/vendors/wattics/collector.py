"""The collector's transport: one packet per POST, and the last packet by GET.

POST .../unifiedjson/            the packet as sent; Basic authentication, sent ahead
GET  .../unifiedjson/?stream=ID  the last packet as pushed, 404 when there is none

Each credential has its own session: its own connections, kept alive, and its own cookies, as
Wattics' API page asks for. aiohttp and not httpx: one process pushes several times the packets.
No repetition here: whether a packet may be sent again is decided by `delivery/sender.py`.
"""

import base64
import contextlib
import functools
import hashlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import aiohttp
from yarl import URL

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
from energy_etl.vendors.wattics.settings import WatticsCredential, WatticsSettings, checked_url
from energy_etl.vendors.wattics.wire import parse_last

_MAX_ANSWER_BYTES: Final = 64 * 1024
_RETRY_AFTER_CAP_S: Final = 86_400.0


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
        self._url = URL(checked_url(url))
        self._credential = credential
        self._tls = _trusting(ca_file) if self._url.scheme == "https" and ca_file else True
        self._timeout = aiohttp.ClientTimeout(total=request_timeout_s)
        self._max_connections = max_connections
        pair = f"{credential.username}:{credential.password.get_secret_value()}"
        self._headers = {
            "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
            "Content-Type": "application/json",
        }
        self._jar: aiohttp.CookieJar | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        # unsafe: the sandbox is an IP address, for which cookies are dropped otherwise. The jar
        # sees one host only. It is asked when a cookie comes and not for each packet: that was an
        # eighth of a packet's cost.
        self._jar = aiohttp.CookieJar(unsafe=True)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, ssl=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def fingerprint(self) -> str:
        """Tells this credential and URL from any other; slow to compute the first time."""
        return _fingerprint(
            str(self._url),
            self._credential.username,
            self._credential.password.get_secret_value(),
        )

    async def post(self, body: bytes) -> PostAnswer:
        """POST one packet once; a failure of the network is an answer without status."""
        try:
            async with self._open.post(
                self._url, data=body, headers=self._headers, allow_redirects=False
            ) as response:
                self._keep_cookies(response)
                text = await _read(response)
                if response.status == 200:
                    return _ACCEPTED
                return PostAnswer(response.status, text, _retry_after_s(response))
        except aiohttp.ClientConnectorError as error:
            return PostAnswer(None, self._unreachable(error), may_have_arrived=False)
        except aiohttp.ConnectionTimeoutError as error:
            return PostAnswer(None, self._unreachable(error), may_have_arrived=False)
        except TimeoutError:
            return PostAnswer(None, f"no answer within {self._timeout.total} s")
        except aiohttp.ClientError as error:
            return PostAnswer(None, f"the connection was lost: {_brief(error)}")

    async def last(self, stream_id: str) -> datetime | None:
        """GET the last packet of a stream and return its stamp, None when there is none.

        Raises:
            VendorError: as the status says; BadRequestError when the call is not offered.
        """
        where = f"Wattics' last packet of stream {stream_id}"
        url = self._url.with_query({"stream": stream_id})
        try:
            async with self._open.get(
                url, headers=self._headers, allow_redirects=False
            ) as response:
                self._keep_cookies(response)
                text = await _read(response)
                if response.status == 200:
                    return parse_last(text, where)
                _raise_for(response.status, text, _retry_after_s(response), where)
                return None
        except TimeoutError:
            raise UnavailableError(
                f"{where}: no answer within {self._timeout.total} s: the collector is slow or down."
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise UnavailableError(f"{where}: {self._unreachable(error)}") from None
        except aiohttp.ClientError as error:
            raise UnavailableError(f"{where}: the connection was lost: {_brief(error)}") from None

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the collector is used outside its `async with`")
        return self._session

    def _keep_cookies(self, response: aiohttp.ClientResponse) -> None:
        given = response.headers.getall("Set-Cookie", ())
        if given and self._jar is not None:
            self._jar.update_cookies_from_headers(given, self._url)
            kept = self._jar.filter_cookies(self._url).values()
            self._headers["Cookie"] = "; ".join(f"{c.key}={c.coded_value}" for c in kept)
            if not kept:
                del self._headers["Cookie"]

    def _unreachable(self, error: Exception) -> str:
        advice = "check the URL in the settings and the network"
        if self._url.scheme == "http":
            advice = "start it with `energy-etl sandbox`"
        elif isinstance(error, aiohttp.ClientConnectorCertificateError):
            advice = "where a proxy opens TLS, give its certificates in `ca_file` of the settings"
        return f"no connection to {self._url.origin()} ({_brief(error)}): {advice}"


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


def _trusting(ca_file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"wattics.ca_file: {ca_file} cannot be read as certificates ({error}): give the path "
            "of a PEM file, or leave the setting out."
        ) from None
    return context


async def _read(response: aiohttp.ClientResponse) -> str:
    # Read to its end, so that the connection can be used again; beyond the cap it is closed.
    raw = b""
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > _MAX_ANSWER_BYTES:
            response.close()
            break
    return raw[:_MAX_ANSWER_BYTES].decode("utf-8", "replace")


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    wait_s = parse_retry_after_s(response.headers.get("Retry-After"))
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
        return RateLimitedError(f"{what}: too many calls.", retry_after_s)
    if status == 503 and retry_after_s is not None:
        return RateLimitedError(f"{what}: the collector wants to be left alone.", retry_after_s)
    if status >= 500 or status == 408:
        return UnavailableError(f"{what}: the collector is not well, the next send run asks again.")
    if status in (400, 405, 410):
        return BadRequestError(f"{what}: the collector does not offer the last packet.")
    return MalformedError(f"{what}: an answer that was not to be expected, check the URL.")


def _brief(error: Exception) -> str:
    return str(error)[:160] or type(error).__name__
