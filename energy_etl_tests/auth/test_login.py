"""LoginAuth against a scripted vendor: which calls are made when, and what each failure is called.

Threads, processes and the lock are those of `RenewedTokenAuth` (test_auth.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from energy_etl.auth import LoginAuth
from energy_etl.errors import (
    AuthenticationError,
    ConfigurationError,
    EnergyEtlError,
    MalformedError,
    RateLimitedError,
    UnavailableError,
)
from energy_etl.tokens import TokenStore

AUTH_URL = "https://login.acme.test/base"
DAY_S = 86_400.0


@dataclass
class Acme:
    """A vendor that gives numbered tokens; a script replaces single answers."""

    folder: Path
    now_s: float = 1_000_000.0
    calls: list[str] = field(default_factory=list)
    script: dict[str, Callable[[], httpx.Response]] = field(default_factory=dict)
    n_given: int = 0
    refused: set[str] = field(default_factory=set)
    password: str = "canary-password"

    def auth(self, **changes: Any) -> LoginAuth:
        given: dict[str, Any] = {"auth_url": AUTH_URL, "username": "ann"} | changes
        return LoginAuth(
            password=SecretStr(self.password),
            store=TokenStore(self.folder),
            vendor="acme",
            now_s=lambda: self.now_s,
            **given,
        )

    def get(self, auth: LoginAuth | None = None) -> tuple[int, str]:
        """Make one call to the API; return its status and the token it went with."""
        flow = (auth or self.auth()).sync_auth_flow(httpx.Request("GET", "https://api.acme.test/x"))
        request = next(flow)
        while True:
            response = self._answer(request)
            try:
                request = flow.send(response)
            except StopIteration:
                return response.status_code, request.headers["Authorization"]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.rpartition("/")[2]
        self.calls.append(name)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self.refused:
            return httpx.Response(401, json={"statusCode": 401, "message": "Failed to verify"})
        if name in self.script:
            return self.script[name]()
        if name == "x":
            return httpx.Response(200)
        if name == "login":
            assert str(request.url) == f"{AUTH_URL}/auth/login"
            assert request.read() == b'{"username":"ann","password":"canary-password"}'
        else:
            assert token.startswith("canary-login") or token.startswith("canary-refreshtoken")
        self.n_given += 1
        return httpx.Response(200, text=f"canary-{name}-{self.n_given}")


@pytest.fixture
def acme(tmp_path: Path) -> Acme:
    return Acme(tmp_path / "tokens")


def test_first_call_logs_in_and_later_ones_use_the_stored_token(acme: Acme) -> None:
    assert acme.get() == (200, "Bearer canary-accesstoken-2")
    assert acme.get() == (200, "Bearer canary-accesstoken-2")
    assert acme.calls == ["login", "accesstoken", "x", "x"]


def test_access_token_is_replaced_at_225_seconds_without_a_login(acme: Acme) -> None:
    acme.get()
    acme.now_s += 224.0
    acme.get()
    assert acme.calls[3:] == ["x"]
    acme.now_s += 1.0
    assert acme.get() == (200, "Bearer canary-accesstoken-3")
    assert acme.calls[4:] == ["accesstoken", "x"]


def test_access_token_that_is_refused_is_replaced_once_and_the_call_repeated(acme: Acme) -> None:
    acme.get()
    acme.refused.add("canary-accesstoken-2")
    assert acme.get() == (200, "Bearer canary-accesstoken-3")
    assert acme.calls[3:] == ["x", "accesstoken", "x"]
    acme.script["x"] = lambda: httpx.Response(401)
    assert acme.get()[0] == 401
    assert acme.calls[6:] == ["x", "accesstoken", "x"]


def test_call_without_the_right_is_no_expiry(acme: Acme) -> None:
    acme.get()
    acme.script["x"] = lambda: httpx.Response(403)
    assert acme.get()[0] == 403
    assert acme.calls[3:] == ["x"]


def test_refresh_token_is_renewed_in_the_second_half_of_its_life(acme: Acme) -> None:
    acme.get()
    acme.now_s += 6.9 * DAY_S
    acme.get()
    assert acme.calls[3:] == ["accesstoken", "x"]
    acme.now_s += 0.2 * DAY_S
    acme.get()
    assert acme.calls[5:] == ["refreshtoken", "accesstoken", "x"]
    acme.now_s += 6.9 * DAY_S
    acme.get()
    assert acme.calls[8:] == ["accesstoken", "x"]


def test_refresh_token_that_has_ended_or_was_revoked_costs_one_login(acme: Acme) -> None:
    acme.get()
    acme.now_s += 14.1 * DAY_S
    acme.get()
    assert acme.calls[3:] == ["login", "accesstoken", "x"]
    acme.refused = {"canary-login-3"}
    acme.now_s += 300.0
    assert acme.get()[0] == 200
    assert acme.calls[6:] == ["accesstoken", "login", "accesstoken", "x"]
    acme.refused = {"canary-login-5"}
    acme.now_s += 8 * DAY_S
    assert acme.get()[0] == 200
    assert acme.calls[10:] == ["refreshtoken", "login", "accesstoken", "x"]


def test_renewal_that_fails_for_now_keeps_the_old_refresh_token(acme: Acme) -> None:
    acme.get()
    acme.now_s += 8 * DAY_S
    acme.script["refreshtoken"] = lambda: httpx.Response(503)
    assert acme.get()[0] == 200
    assert acme.calls[3:] == ["refreshtoken", "accesstoken", "x"]


def test_outage_between_login_and_access_token_costs_no_second_login(acme: Acme) -> None:
    acme.script["accesstoken"] = lambda: httpx.Response(502)
    with pytest.raises(UnavailableError, match="accesstoken answered 502"):
        acme.get()
    del acme.script["accesstoken"]
    assert acme.get()[0] == 200
    assert acme.calls == ["login", "accesstoken", "accesstoken", "x"]


def test_quotes_around_tokens_are_stripped(acme: Acme) -> None:
    acme.script["login"] = lambda: httpx.Response(200, text='"canary-login-a"\n')
    acme.script["accesstoken"] = lambda: httpx.Response(200, text='"quoted"')
    assert acme.get() == (200, "Bearer quoted")


def _error(status: int, error: str, **more: Any) -> Callable[[], httpx.Response]:
    body = {"statusCode": status, "error": error, "message": "no"} | more
    return lambda: httpx.Response(status, json=body)


LOCKED = "TOO_MANY_FAILED_PASSWORD_CHECKS"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (_error(401, "PASSWORD_INCORRECT"), AuthenticationError, r"acme\.username and acme\.pass"),
        (_error(400, "Bad Request"), AuthenticationError, r"refused the username and password"),
        (_error(401, "TWO_FACTOR_CODE_REQUIRED"), AuthenticationError, "second factor"),
        (lambda: httpx.Response(200, json={"methods": ["totp"]}), AuthenticationError, "second f"),
        (_error(429, LOCKED, retryAfter=41), RateLimitedError, "in 41 s"),
        (_error(429, LOCKED), RateLimitedError, "in 300 s"),
        (_error(500, "Internal Server Error"), UnavailableError, "answered 500"),
        (lambda: httpx.Response(504), UnavailableError, "answered 504"),
        # It has otp in it, and is no second factor.
        (_error(500, "could not process"), UnavailableError, "answered 500"),
        (_error(503, "MFA is out of order"), UnavailableError, "answered 503"),
        (_error(401, "Not possible"), AuthenticationError, r"acme\.username and acme\.pass"),
        (_error(401, "otpRequired"), AuthenticationError, "second factor"),
        (_error(401, "2FA"), AuthenticationError, "second factor"),
        (lambda: httpx.Response(200, text="<html>"), MalformedError, r"acme\.auth_url"),
        (lambda: httpx.Response(200, text=""), MalformedError, r"acme\.auth_url"),
        (lambda: httpx.Response(404), MalformedError, r"acme\.auth_url"),
    ],
)
def test_login_that_fails_is_told_by_kind_and_nothing_is_stored(
    acme: Acme,
    answer: Callable[[], httpx.Response],
    kind: type[EnergyEtlError],
    words: str,
) -> None:
    acme.script["login"] = answer
    with pytest.raises(kind, match=words) as caught:
        acme.get()
    assert "canary" not in str(caught.value)
    assert acme.calls == ["login"]
    assert TokenStore(acme.folder).read(AUTH_URL, "ann") is None


def test_lock_tells_how_long_it_lasts(acme: Acme) -> None:
    acme.script["login"] = _error(429, LOCKED, retryAfter="12.5")
    with pytest.raises(RateLimitedError) as caught:
        acme.get()
    assert caught.value.retry_after_s == 12.5


def test_refresh_token_of_a_fresh_login_that_is_refused_is_told(acme: Acme) -> None:
    acme.script["accesstoken"] = lambda: httpx.Response(401)
    with pytest.raises(AuthenticationError, match="a login has just given"):
        acme.get()
    assert acme.calls == ["login", "accesstoken"]


def test_token_of_another_password_counts_for_nothing(acme: Acme) -> None:
    acme.get()
    acme.password = "canary-wrong"
    acme.script["login"] = _error(401, "PASSWORD_INCORRECT")
    with pytest.raises(AuthenticationError):
        acme.get()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auth_url": "http://login.acme.test"}, "plain http"),
        ({"auth_url": "login.acme.test"}, "no http"),
        ({"auth_url": "https://u:p@login.acme.test"}, "no http"),
        ({"username": "x" * 257}, "more than 256"),
    ],
)
def test_address_or_name_that_cannot_be_used_is_told_before_anything_is_sent(
    acme: Acme, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        acme.auth(**changes)
    assert acme.auth(auth_url="http://127.0.0.1:8080/acme")
