"""SmartgridOne's authentication host: login, access and refresh tokens, validate, logout.

Tokens are plain text without quotes. What the pages leave open, and this sandbox decides: a new
refresh token leaves the old one valid; five failed logins within a minute close an account for the
rest of that minute, also to the right password; that 429 carries `retryAfter` in its body alone; an
account with a second factor gets a partial token in a JSON object instead of a text, or a 401.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.smartgridone_answers import RefusedError, answer, read_object, text_of

LONGEST = 256
REFRESH_LIFE_S = 14 * 86_400.0
ACCESS_LIFE_S = 600.0
_LOGIN = frozenset({"username", "password"})
_FIRST_USER_ID = 4711


class Tokens:
    """Who is logged in, and the five endpoints below `/auth`."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        refresh_life_s: float = REFRESH_LIFE_S,
        access_life_s: float = ACCESS_LIFE_S,
        failed_logins: int = 5,
        lockout_s: float = 60.0,
        two_factor_status: int = 200,
        is_quoted: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let the holders of `credentials` in.

        Args:
            credentials: accounts with and without a second factor.
            refresh_life_s: how long a refresh token is accepted.
            access_life_s: how long an access token is accepted.
            failed_logins: failed checks after which an account is closed for a while.
            lockout_s: the window in which they are counted, and for how long.
            two_factor_status: 200 (a JSON object with a partial token) or 401.
            is_quoted: answer tokens in quotes, as some clients have seen.
            clock: seconds that only grow.
        """
        self._known, self._clock = credentials, clock
        self._lives_s = {"refresh": refresh_life_s, "access": access_life_s}
        self._n_failed, self._lockout_s = failed_logins, lockout_s
        self._two_factor_status, self._is_quoted = two_factor_status, is_quoted
        # Token -> kind, user and when it ends.
        self._issued: dict[str, tuple[str, str, float]] = {}
        self._failed: dict[str, deque[float]] = {}

    def handle(self, request: Request, parts: list[str], body: bytes) -> Response:
        """Answer one call below `/auth`."""
        match request.method, parts:
            case "POST", ["login"]:
                return self._login(body)
            case "GET", ["accesstoken"]:
                return self._text(self._issue("access", self._refresher(request)[0]))
            case "GET", ["refreshtoken"]:
                return self._text(self._issue("refresh", self._refresher(request)[0]))
            case "GET", ["refreshtoken", "validate"]:
                return answer({"userId": self._user_id(self._refresher(request)[0])})
            case "POST", ["logout"]:
                del self._issued[self._refresher(request)[1]]
                return Response(status_code=204)
        raise RefusedError(404)

    def user_of(self, request: Request) -> str:
        """Return who calls the API with an access token, or 401."""
        return self._holder(request, "access", None)[0]

    def revoke_access(self) -> None:
        """Forget all access tokens, as a restart of the vendor's service would."""
        self._issued = {
            token: entry for token, entry in self._issued.items() if entry[0] != "access"
        }

    def _login(self, body: bytes) -> Response:
        content = read_object(body, _LOGIN)
        username, password = (text_of(content, key, LONGEST) for key in ("username", "password"))
        known = self._known.smartgridone | self._known.smartgridone_two_factor
        failed = self._failed.setdefault(username, deque(maxlen=self._n_failed))
        closed_s = (
            failed[0] + self._lockout_s - self._clock() if len(failed) == failed.maxlen else 0
        )
        if closed_s > 0:
            raise RefusedError(429, "TOO_MANY_FAILED_PASSWORD_CHECKS", retry_after_s=closed_s)
        if known.get(username) != password:
            failed.append(self._clock())
            raise RefusedError(401, "PASSWORD_INCORRECT")
        if username in self._known.smartgridone_two_factor:
            if self._two_factor_status == 401:
                raise RefusedError(401, "TWO_FACTOR_AUTHENTICATION_REQUIRED")
            return answer({"partialAuthToken": secrets.token_urlsafe(24), "methods": ["totp"]})
        return self._text(self._issue("refresh", username))

    def _text(self, token: str) -> Response:
        text = f'"{token}"' if self._is_quoted else token
        return Response(text, media_type="text/plain")

    def _issue(self, kind: str, user: str) -> str:
        token = f"{kind}.{secrets.token_urlsafe(32)}"
        self._issued[token] = (kind, user, self._clock() + self._lives_s[kind])
        return token

    def _refresher(self, request: Request) -> tuple[str, str]:
        """Return the user and the refresh token of a call to this host, or 401."""
        return self._holder(request, "refresh", "NO_TOKEN_PROVIDED")

    def _holder(self, request: Request, kind: str, missing: str | None) -> tuple[str, str]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise RefusedError(401, missing)
        issued, user, ends_s = self._issued.get(token, ("", "", 0.0))
        if issued != kind or ends_s <= self._clock():
            raise RefusedError(401)
        return user, token

    def _user_id(self, user: str) -> int:
        return _FIRST_USER_ID + list(self._known.smartgridone).index(user)
