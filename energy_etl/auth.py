"""How requests are signed or given a token: one `httpx.Auth` class per way of logging in.

    ClientCredentialsAuth   OAuth2 client credentials (RFC 6749, section 4.4)
    HmacSha512Auth          a signature over method, path, query, body and time stamp
    httpx.BasicAuth         as it is

Sizes and deadlines of the token calls are those of the transport they run on (`rest/`); tokens are
kept by `tokens.py`. Which class a vendor needs is the vendor's business.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Generator
from typing import Final

import httpx
import msgspec
from pydantic import SecretStr

from energy_etl.errors import (
    AuthenticationError,
    MalformedError,
    RateLimitedError,
    UnavailableError,
)
from energy_etl.tokens import Token, TokenStore

DEFAULT_LIFETIME_S: Final = 300.0
# RFC 6749, section 5.2, and what Keycloak answers for a client that was switched off.
_REFUSED_STATUSES: Final = frozenset({400, 401, 403})


class HmacSha512Auth(httpx.Auth):
    """`X-API-Auth: <key>:<base64(HMAC-SHA512(secret, message))>` beside `X-API-Timestamp`.

    The message is method, path, query, body and time stamp joined by one newline, absent ones left
    out. It is made from the prepared request, anew for each one that is sent.
    """

    requires_request_body = True

    def __init__(
        self,
        api_key: str,
        api_secret: SecretStr,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Sign with this key and secret."""
        self._api_key = api_key
        self._api_secret = api_secret
        self._now_s = now_s

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign and send once."""
        timestamp_ms = str(int(self._now_s() * 1000))
        signature = sign_hmac_sha512(
            self._api_secret.get_secret_value().encode(),
            request.method,
            request.url.raw_path,
            request.content,
            timestamp_ms,
        )
        request.headers["X-API-Auth"] = f"{self._api_key}:{signature}"
        request.headers["X-API-Timestamp"] = timestamp_ms
        yield request


def sign_hmac_sha512(
    secret: bytes, method: str, raw_path: bytes, body: bytes, timestamp_ms: str
) -> str:
    """Return the signature of a request; `raw_path` is path and query exactly as sent."""
    path, _, query = raw_path.partition(b"?")
    items = [method.upper().encode(), path, query, body, timestamp_ms.encode()]
    message = b"\n".join(item for item in items if item)
    return base64.b64encode(hmac.new(secret, message, hashlib.sha512).digest()).decode()


class ClientCredentialsAuth(httpx.Auth):
    """A bearer token per (token URL, client id), fetched once for all threads and processes.

    It is renewed min(60 s, half of its lifetime) before its end; on a 401 it is renewed once,
    unless somebody else has done so meanwhile, and the request is sent once more.
    """

    requires_request_body = True

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: SecretStr,
        store: TokenStore,
        *,
        vendor: str,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Fetch from `token_url`; `vendor` is the name in errors."""
        self._token_url = httpx.URL(token_url)
        self._client_id = client_id
        self._client_secret = client_secret
        self._store = store
        self._vendor = vendor
        self._now_s = now_s
        self._key = (str(self._token_url), client_id)
        material = "\0".join((*self._key, client_secret.get_secret_value()))
        self._fingerprint = hashlib.sha256(material.encode()).hexdigest()[:16]

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the token, and renew it when needed."""
        token = self._usable()
        if token is None:
            token = yield from self._renew(refused=None)
        self._sign(request, token)
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            token = yield from self._renew(refused=token.access_token)
            self._sign(request, token)
            yield request

    def _usable(self, refused: str | None = None) -> Token | None:
        token = self._store.read(*self._key)
        if token is None or token.issued_for != self._fingerprint:
            return None
        if token.access_token == refused or not token.is_fresh(self._now_s()):
            return None
        return token

    def _renew(self, refused: str | None) -> Generator[httpx.Request, httpx.Response, Token]:
        with self._store.lock(*self._key):
            # Whoever held the lock before may have renewed it.
            token = self._usable(refused)
            if token is None:
                requested_s = self._now_s()
                response = yield self._token_request()
                token = self._parse(response, requested_s)
                self._store.write(token, *self._key)
            return token

    def _token_request(self) -> httpx.Request:
        return httpx.Request(
            "POST",
            self._token_url,
            data={
                "client_id": self._client_id,
                "client_secret": self._client_secret.get_secret_value(),
                "grant_type": "client_credentials",
            },
            headers={"Accept": "application/json"},
        )

    def _sign(self, request: httpx.Request, token: Token) -> None:
        request.headers["Authorization"] = f"{token.token_type} {token.access_token}"

    def _parse(self, response: httpx.Response, requested_s: float) -> Token:
        where = f"{self._vendor}'s token endpoint {self._token_url}"
        status = response.status_code
        if status in _REFUSED_STATUSES:
            raise AuthenticationError(
                f"{where} refused the client id and secret ({status}): check "
                f"{self._vendor}.client_id and {self._vendor}.client_secret in the settings."
            )
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise RateLimitedError(f"{where} asks to slow down (429): run again later.")
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise UnavailableError(f"{where} answered {status}: run again later.")
        try:
            answer = msgspec.json.decode(response.content, type=_TokenAnswer)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            answer = None
        if status != httpx.codes.OK or answer is None or not answer.access_token.isascii():
            raise MalformedError(
                f"{where} answered {status} without a token that can be read: check "
                f"{self._vendor}.base_url in the settings."
            )
        lifetime_s = answer.expires_in if answer.expires_in > 0 else DEFAULT_LIFETIME_S
        return Token(
            access_token=answer.access_token,
            token_type=answer.token_type,
            expires_at_s=requested_s + lifetime_s,
            lifetime_s=lifetime_s,
            issued_for=self._fingerprint,
        )


class _TokenAnswer(msgspec.Struct):
    access_token: str
    token_type: str = "Bearer"
    expires_in: float = DEFAULT_LIFETIME_S
