"""Username and password, exchanged for a refresh token, exchanged for access tokens (SmartgridOne).

    POST /auth/login         username, password   -> refresh token, 14 days
    GET  /auth/refreshtoken  Bearer refresh token -> the next refresh token
    GET  /auth/accesstoken   Bearer refresh token -> access token, some minutes

Tokens come as plain text. The password is sent only when there is no refresh token that works: each
wrong one counts towards a lock.
"""

import re
import time
from collections.abc import Callable, Generator
from typing import Final

import httpx
import msgspec
from pydantic import SecretStr

from energy_etl.auth.renewal import RenewedTokenAuth, TokenCalls
from energy_etl.errors import (
    AuthenticationError,
    ConfigurationError,
    MalformedError,
    RateLimitedError,
)
from energy_etl.rest.urls import checked_base
from energy_etl.tokens import Token, TokenStore

LOGIN_PATH: Final = "/auth/login"
ACCESS_PATH: Final = "/auth/accesstoken"
REFRESH_PATH: Final = "/auth/refreshtoken"
_MOST_CHARACTERS: Final = 256
_REFRESH_LIFETIME_S: Final = 14 * 86400.0
# Renewed in the second half of its life: a machine that is off for a week keeps its login.
_REFRESH_RENEWAL_S: Final = _REFRESH_LIFETIME_S / 2
# What `Token.is_fresh` keeps off the end of a long-lived token.
_MARGIN_S: Final = 60.0
# A lock without a stated end: asking again sooner would prolong it.
_LOCKED_S: Final = 300.0
# How the vendor tells of a second factor is not known; any of these words does. Whole words: "could
# not process" has otp in it.
_SECOND_FACTOR: Final = re.compile(r"\b(2fa|mfa|t?otp|(2|two|second|multi) ?factors?)\b")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9][a-zA-Z]*")
_MaybeTokenCalls = Generator[httpx.Request, httpx.Response, Token | None]


class LoginAuth(RenewedTokenAuth):
    """A bearer token per (authentication URL, username).

    The refresh token is stored before the access token is asked for, so that an outage in between
    costs no second login.
    """

    def __init__(
        self,
        auth_url: str,
        username: str,
        password: SecretStr,
        store: TokenStore,
        *,
        vendor: str,
        renew_after_s: float = 225.0,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Log in at `auth_url`.

        Args:
            auth_url: scheme, host and path prefix of the authentication endpoints.
            username: at most 256 characters, as is the password.
            password: sent to `auth_url` only.
            store: the folder of token files.
            vendor: the name of the vendor and of its section in the settings.
            renew_after_s: age at which an access token is replaced.
            now_s: the clock, seconds since 1970.

        Raises:
            ConfigurationError: `auth_url` would show the password, or a text is too long.
        """
        self._url = auth_url.rstrip("/")
        self._username = username
        self._password = password
        self._lifetime_s = renew_after_s + min(_MARGIN_S, renew_after_s)
        secret = password.get_secret_value()
        checked_base(f"{vendor}.auth_url", self._url)
        if max(len(username), len(secret)) > _MOST_CHARACTERS:
            raise ConfigurationError(
                f"{vendor}.username or {vendor}.password has more than {_MOST_CHARACTERS} "
                "characters, which the vendor refuses: correct it in the settings."
            )
        super().__init__(store, (self._url, username), secret, vendor=vendor, now_s=now_s)

    def _fetch(self, stored: Token | None) -> TokenCalls:
        refresh = yield from self._kept_refresh(stored)
        if refresh is not None:
            access = yield from self._access(refresh)
            if access is not None:
                return access
        refresh = yield from self._log_in()
        access = yield from self._access(refresh)
        if access is None:
            raise AuthenticationError(
                f"{self._where(ACCESS_PATH)} refuses the refresh token that a login has just "
                f"given: check that this machine's clock is right, then {self._vendor}.auth_url."
            )
        return access

    def _kept_refresh(self, stored: Token | None) -> _MaybeTokenCalls:
        """Return the stored refresh token, renewed when half of its life is over; None: log in."""
        if stored is None or stored.refresh_token is None:
            return None
        left_s = (stored.refresh_expires_at_s or 0.0) - self._now_s()
        if left_s <= 0:
            return None
        if left_s > _REFRESH_RENEWAL_S:
            return stored
        response = yield self._request(REFRESH_PATH, stored)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            return None
        if not response.is_success:
            # The old one is good for another week; the next renewal asks again.
            return stored
        return self._keep(self._text(response, REFRESH_PATH))

    def _log_in(self) -> TokenCalls:
        response = yield httpx.Request(
            "POST",
            self._url + LOGIN_PATH,
            json={"username": self._username, "password": self._password.get_secret_value()},
            headers={"Accept": "text/plain, application/json"},
        )
        where = self._where(LOGIN_PATH)
        if not response.is_server_error and _tells_of_second_factor(_message(response)):
            raise AuthenticationError(
                f"{where} asks for a second factor, which an unattended program cannot give: "
                f"make an account without it for {self._vendor}, and set {self._vendor}.username "
                f"and {self._vendor}.password to it."
            )
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            wait_s = _retry_after_s(response) or _LOCKED_S
            raise RateLimitedError(
                f"{where} is locked after too many wrong passwords: check {self._vendor}.password "
                f"in the settings, then run again in {wait_s:.0f} s.",
                wait_s,
            )
        if response.status_code in (
            httpx.codes.BAD_REQUEST,
            httpx.codes.UNAUTHORIZED,
            httpx.codes.FORBIDDEN,
        ):
            raise AuthenticationError(
                f"{where} refused the username and password ({response.status_code}): check "
                f"{self._vendor}.username and {self._vendor}.password in the settings; each wrong "
                "try counts towards a lock."
            )
        return self._keep(self._text(response, LOGIN_PATH))

    def _access(self, refresh: Token) -> _MaybeTokenCalls:
        """Return a token with a new access token; None: the refresh token is refused."""
        requested_s = self._now_s()
        response = yield self._request(ACCESS_PATH, refresh)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            return None
        return msgspec.structs.replace(
            refresh,
            access_token=self._text(response, ACCESS_PATH),
            expires_at_s=requested_s + self._lifetime_s,
            lifetime_s=self._lifetime_s,
        )

    def _request(self, path: str, refresh: Token) -> httpx.Request:
        return httpx.Request(
            "GET",
            self._url + path,
            headers={
                "Accept": "text/plain, application/json",
                "Authorization": f"Bearer {refresh.refresh_token}",
            },
        )

    def _keep(self, refresh_token: str) -> Token:
        """Store a refresh token, with an access token that has ended."""
        now_s = self._now_s()
        token = Token(
            access_token="",
            token_type="Bearer",
            expires_at_s=now_s,
            lifetime_s=0.0,
            issued_for=self._fingerprint,
            refresh_token=refresh_token,
            refresh_expires_at_s=now_s + _REFRESH_LIFETIME_S,
        )
        self._store.write(token, *self._key)
        return token

    def _text(self, response: httpx.Response, path: str) -> str:
        """Return the token of an answer; some deployments put it in quotes."""
        where = self._where(path)
        self._refuse_outage(response, where)
        token = response.text.strip().strip('"').strip()
        is_token = token.isascii() and token.isprintable() and not set(token) & set(' {<"')
        if response.status_code != httpx.codes.OK or not token or not is_token:
            raise MalformedError(
                f"{where} answered {response.status_code} without a token that can be read: check "
                f"{self._vendor}.auth_url in the settings."
            )
        return token

    def _where(self, path: str) -> str:
        return f"{self._vendor}'s login {self._url}{path}"


def _message(response: httpx.Response) -> str:
    """Return what an answer says in words; a token, which might hold any word, is none."""
    is_token = response.is_success and response.text.lstrip()[:1] != "{"
    return "" if is_token else response.text[:500]


def _tells_of_second_factor(said: str) -> bool:
    return _SECOND_FACTOR.search(" ".join(_WORD.findall(said)).lower()) is not None


def _retry_after_s(response: httpx.Response) -> float | None:
    """Return the seconds that a lock lasts: `retryAfter` of the body, else the header."""
    try:
        told: float | str | None = msgspec.json.decode(response.content, type=_Error).retry_after
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = None
    told = response.headers.get("retry-after") if told is None else told
    try:
        wait_s = float(told) if told is not None else 0.0
    except ValueError:
        return None
    return wait_s if 0 < wait_s < float("inf") else None


class _Error(msgspec.Struct):
    retry_after: float | str | None = msgspec.field(default=None, name="retryAfter")
