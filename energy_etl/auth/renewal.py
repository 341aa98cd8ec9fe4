"""What all bearer tokens share: kept on disk, renewed once for all threads and processes.

How a token is got is each subclass's `_fetch`; everything here is about when, and by whom.
"""

import abc
import hashlib
import time
from collections.abc import Callable, Generator
from typing import Final

import httpx

from energy_etl.errors import RateLimitedError, UnavailableError
from energy_etl.tokens import Token, TokenStore

DEFAULT_LIFETIME_S: Final = 300.0

TokenCalls = Generator[httpx.Request, httpx.Response, Token]


class RenewedTokenAuth(httpx.Auth, abc.ABC):
    """A bearer token per key, renewed when it is about to end and once on a 401.

    Whoever renews holds the lock of the token store, reads again what is stored, and saves the new
    token before it is used: steps of one run are processes of their own, and with rotating refresh
    tokens a second renewal would revoke the consent. After a 401 the request is sent once more,
    with a token that somebody else may have renewed meanwhile. A 403 is no expiry.
    """

    requires_request_body = True

    def __init__(
        self,
        store: TokenStore,
        key: tuple[str, ...],
        secret: str,
        *,
        vendor: str,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Keep tokens under `key`; one that was issued for another secret counts for nothing.

        Args:
            store: the folder of token files.
            key: what the token belongs to: token URL, client id or user.
            secret: what it was issued for; only a fingerprint of it is kept.
            vendor: the name in errors.
            now_s: the clock, seconds since 1970.
        """
        self._store = store
        self._key = key
        self._vendor = vendor
        self._now_s = now_s
        self._fingerprint = hashlib.sha256("\0".join((*key, secret)).encode()).hexdigest()[:16]

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

    @abc.abstractmethod
    def _fetch(self, stored: Token | None) -> TokenCalls:
        """Yield the calls that get a new token and return it; the lock is held meanwhile.

        Args:
            stored: what is kept now, issued for the same secret: its access token has ended or
                was refused, its refresh token may still be good; None: nothing is kept.
        """

    def _stored(self) -> Token | None:
        token = self._store.read(*self._key)
        return token if token is not None and token.issued_for == self._fingerprint else None

    def _usable(self, refused: str | None = None) -> Token | None:
        token = self._stored()
        if token is None or token.access_token == refused or not token.is_fresh(self._now_s()):
            return None
        return token

    def _renew(self, refused: str | None) -> TokenCalls:
        with self._store.lock(*self._key):
            # Whoever held the lock before may have renewed it.
            token = self._usable(refused)
            if token is None:
                token = yield from self._fetch(self._stored())
                self._store.write(token, *self._key)
            return token

    def _sign(self, request: httpx.Request, token: Token) -> None:
        request.headers["Authorization"] = f"{token.token_type} {token.access_token}"

    def _refuse_outage(self, response: httpx.Response, where: str) -> None:
        """Raise for an answer that says nothing about the credential: it must not cost it."""
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise RateLimitedError(f"{where} asks to slow down (429): run again later.")
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise UnavailableError(f"{where} answered {response.status_code}: run again later.")
