"""A consent is renewed with care: never sent twice, never lost to a fault, its end remembered."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from pydantic import SecretStr

from energy_etl.auth import AuthorizationCodeAuth
from energy_etl.auth.authorization_code import RENEWAL_PAUSE_S
from energy_etl.cli.processes import free_port
from energy_etl.errors import (
    AuthenticationError,
    ConfigurationError,
    EnergyEtlError,
    MalformedError,
    RateLimitedError,
    UnavailableError,
)
from energy_etl.tokens import Token, TokenStore
from energy_etl_tests.auth.token_endpoint import LIMITS, NOW_S, SECRET, Consented, Endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@pytest.fixture
def rossi(endpoint: Endpoint, tmp_path: Path) -> Iterator[Consented]:
    rossi = Consented(endpoint.url, tmp_path / "tokens")
    yield rossi
    rossi.rest.close()


def test_code_is_redeemed_with_the_documented_form_and_stored(
    endpoint: Endpoint, rossi: Consented
) -> None:
    endpoint.answers_token(access_token="access-1", refresh_token="refresh-1", expires_in=3600)
    token = rossi.auth.redeem(
        "a code&", redirect_uri="http://127.0.0.1:1/callback", verifier="v", limits=LIMITS
    )
    assert endpoint.forms == [
        {
            "grant_type": "authorization_code",
            "code": "a code&",
            "redirect_uri": "http://127.0.0.1:1/callback",
            "client_id": "client",
            "client_secret": SECRET,
            "code_verifier": "v",
        }
    ]
    assert token == rossi.stored
    assert token.authorised_at_s == NOW_S
    assert token.expires_at_s == NOW_S + 3600
    assert rossi.ask() == 200


def test_code_without_pkce_is_redeemed_without_a_verifier(
    endpoint: Endpoint, rossi: Consented
) -> None:
    endpoint.answers_token(access_token="a")
    token = rossi.auth.redeem("code", redirect_uri="http://x/", verifier=None, limits=LIMITS)
    assert "code_verifier" not in endpoint.forms[0]
    assert token.lifetime_s == 3600.0


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (400, b'{"error":"invalid_grant"}', AuthenticationError, "refused the code"),
        (401, b'{"error":"invalid_client"}', AuthenticationError, "acme.client_secret"),
        (400, b'{"error":"invalid_client"}', AuthenticationError, "acme.client_secret"),
        (403, b'{"fault":{"faultstring":"no product"}}', AuthenticationError, "no product"),
        (400, b"<html>", AuthenticationError, "redirect address of acme"),
        (429, b"", RateLimitedError, "slow down"),
        (408, b"", UnavailableError, "run again later"),
        (503, b"<html>down</html>", UnavailableError, "run again later"),
        (302, b"", MalformedError, "acme.base_url"),
        (404, b"", MalformedError, "acme.base_url"),
        (200, b"<html>", MalformedError, "without a bearer token"),
        (200, b"{}", MalformedError, "without a bearer token"),
        (200, b'{"access_token": ""}', MalformedError, "without a bearer token"),
        (200, b'{"access_token": "a\\nb"}', MalformedError, "without a bearer token"),
        (200, b'{"access_token": "a", "token_type": "mac"}', MalformedError, "bearer token"),
        (200, b"\xff", MalformedError, "without a bearer token"),
    ],
)
def test_refused_code_is_told_by_kind_and_stores_nothing(
    endpoint: Endpoint,
    rossi: Consented,
    status: int,
    body: bytes,
    kind: type[EnergyEtlError],
    told: str,
) -> None:
    endpoint.answers_error(status, body)
    with pytest.raises(kind, match=told) as caught:
        rossi.auth.redeem("code", redirect_uri="http://x/", verifier="v", limits=LIMITS)
    assert str(caught.value).endswith(".")
    assert rossi.auth.consent() is None
    assert len(endpoint.forms) == 1


@pytest.mark.parametrize("spelled", [quote, quote_plus, lambda text: text.replace("/", "\\/")])
def test_refusal_that_echoes_the_form_is_told_without_its_secrets(
    endpoint: Endpoint, rossi: Consented, spelled: Callable[[str], str]
) -> None:
    code = "canary+code/with=odd&characters"
    endpoint.answers_error(400, f"code={spelled(code)}&x=1".encode())
    with pytest.raises(AuthenticationError) as caught:
        rossi.auth.redeem(code, redirect_uri="http://x/", verifier=None, limits=LIMITS)
    assert "code=[redacted]&x=1" in str(caught.value)


def test_token_that_an_answer_holds_but_for_its_end_took_minutes(
    endpoint: Endpoint, rossi: Consented
) -> None:
    code = "canary" + "aB3x" * 60
    endpoint.answers_error(400, f"{code[:-1]} {code}".encode())
    with pytest.raises(AuthenticationError) as caught:
        rossi.auth.redeem(code, redirect_uri="http://x/", verifier=None, limits=LIMITS)
    assert code not in str(caught.value)


def test_refusal_that_echoes_secrets_is_told_without_them(
    endpoint: Endpoint, rossi: Consented
) -> None:
    endpoint.answers_error(400, f"canary-code and {SECRET} and canary-verifier".encode())
    with pytest.raises(AuthenticationError) as caught:
        rossi.auth.redeem(
            "canary-code", redirect_uri="http://x/", verifier="canary-verifier", limits=LIMITS
        )
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "lifetime_s"),
    [
        ({"expires_in": "1800", "token_type": "BearerToken"}, 1800.0),
        ({"expires_in": 1800, "token_type": "bearer"}, 1800.0),
        ({"expires_in": 0}, 3600.0),
        ({"expires_in": None}, 3600.0),
    ],
)
def test_answer_of_a_gateway_is_read(
    endpoint: Endpoint, rossi: Consented, members: dict[str, Any], lifetime_s: float
) -> None:
    token = rossi.give(endpoint, **members)
    assert (token.token_type, token.lifetime_s) == ("Bearer", lifetime_s)


@pytest.mark.parametrize("rotated", ["refresh-2", None, ""])
def test_expired_token_is_renewed_with_the_documented_form(
    endpoint: Endpoint, rossi: Consented, rotated: str | None
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    rossi.expire()
    endpoint.answers_token(access_token="access-2", refresh_token=rotated)
    assert rossi.ask() == 200
    assert endpoint.forms == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "refresh-1",
            "client_id": "client",
            "client_secret": SECRET,
        }
    ]
    stored = rossi.stored
    assert stored.access_token == "access-2"
    # Without rotation none comes back, and the old one stays good.
    assert stored.refresh_token == (rotated or "refresh-1")
    assert stored.authorised_at_s == NOW_S
    assert stored.renewal_sent_at_s is None


@pytest.mark.parametrize(("lifetime_s", "early_s"), [(3600, 60.0), (40, 20.0)])
def test_token_is_renewed_a_minute_or_half_its_life_early(
    endpoint: Endpoint, rossi: Consented, lifetime_s: int, early_s: float
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1", expires_in=lifetime_s)
    rossi.now_s = NOW_S + lifetime_s - early_s - 0.1
    assert rossi.ask() == 200
    assert endpoint.forms == []
    rossi.now_s += 0.2
    endpoint.answers_token(access_token="access-2")
    assert rossi.ask() == 200
    assert len(endpoint.forms) == 1


def test_new_token_is_on_disk_before_it_is_used(endpoint: Endpoint, rossi: Consented) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    rossi.expire()
    flow = rossi.auth.sync_auth_flow(httpx.Request("GET", f"{endpoint.url}/things"))
    asked = next(flow)
    answer = {"access_token": "access-2", "refresh_token": "refresh-2"}
    signed = flow.send(httpx.Response(200, json=answer, request=asked))
    assert signed.headers["Authorization"] == "Bearer access-2"
    assert rossi.stored.refresh_token == "refresh-2"


def test_token_refused_in_mid_use_is_renewed_once(endpoint: Endpoint, rossi: Consented) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    endpoint.good.clear()
    endpoint.answers_token(access_token="access-2", refresh_token="refresh-2")
    assert rossi.ask() == 200
    endpoint.good.clear()
    endpoint.answers.append((200, b'{"access_token": "access-3"}', {}))
    with pytest.raises(AuthenticationError, match="answered 401"):
        rossi.ask()
    assert len(endpoint.forms) == 2


def test_consent_that_ended_is_remembered_until_it_is_given_again(
    endpoint: Endpoint, rossi: Consented
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    rossi.expire()
    endpoint.answers_error(400, b'{"error":"invalid_grant"}')
    sentence = (
        "The consent of the acme account Rossi has ended or was revoked: "
        "run `energy-etl acme authorize` again."
    )
    for _ in range(3):
        with pytest.raises(AuthenticationError) as caught:
            rossi.ask()
        assert str(caught.value) == sentence
    assert len(endpoint.forms) == 1
    assert endpoint.n_resource == 0
    assert rossi.stored.ended_at_s == rossi.now_s
    assert rossi.stored.refresh_token is None
    rossi.give(endpoint, refresh_token="refresh-2")
    assert rossi.ask() == 200


def test_account_without_a_consent_is_told_the_command(
    endpoint: Endpoint, rossi: Consented
) -> None:
    with pytest.raises(AuthenticationError, match="not authorised yet: run `energy-etl acme auth"):
        rossi.ask()
    assert endpoint.forms == []
    assert endpoint.n_resource == 0


def test_access_without_a_refresh_token_ends_with_the_missing_scope_named(
    endpoint: Endpoint, rossi: Consented
) -> None:
    rossi.give(endpoint)
    assert rossi.ask() == 200
    rossi.expire()
    with pytest.raises(AuthenticationError, match=r"offline_access in acme\.scope"):
        rossi.ask()
    assert endpoint.forms == []


@pytest.mark.parametrize("answer", [(503, b"<html>", {}), (200, b"cut off", {}), None])
def test_renewal_in_doubt_is_not_sent_again_at_once_by_anybody(
    endpoint: Endpoint, rossi: Consented, tmp_path: Path, answer: tuple | None
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    rossi.expire()
    endpoint.answers.append(answer)
    # The client tries its GET four times: the refresh token must go out once.
    with pytest.raises((UnavailableError, MalformedError)):
        rossi.ask()
    other = Consented(endpoint.url, tmp_path / "tokens")
    other.now_s = rossi.now_s + RENEWAL_PAUSE_S - 1
    with other.rest, pytest.raises(UnavailableError, match="run again in 1 s"):
        other.ask()
    assert len(endpoint.forms) == 1
    # It is no lost consent: the next run renews.
    rossi.now_s += RENEWAL_PAUSE_S
    endpoint.answers_token(access_token="access-2")
    assert rossi.ask() == 200
    assert rossi.stored.renewal_sent_at_s is None


def test_renewal_that_was_never_sent_is_sent_again_at_once(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    port = free_port()
    waking: list[Endpoint] = []

    def wake(_: float) -> None:
        if not waking:
            waking.append(Endpoint(port))
            waking[0].answers_token(access_token="access-2")
            endpoint.good.add("access-2")

    url = f"http://127.0.0.1:{port}/token"
    rossi = Consented(endpoint.url, tmp_path / "tokens", token_url=url, sleep=wake)
    with rossi.rest:
        rossi.store.write(
            Token("access-1", "Bearer", NOW_S - 1, 3600.0, rossi.auth._fingerprint, "refresh-1"),
            *(url, "client", "Rossi"),
        )
        assert rossi.ask() == 200
    (late,) = waking
    late.close()
    assert [form["refresh_token"] for form in late.forms] == ["refresh-1"]
    assert rossi.stored.access_token == "access-2"


def test_renewal_that_is_asked_to_wait_waits_and_goes_on(
    endpoint: Endpoint, rossi: Consented
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    rossi.expire()
    endpoint.answers_error(429, Retry_After="0")
    endpoint.answers_token(access_token="access-2")
    assert rossi.ask() == 200
    assert len(endpoint.forms) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error":"invalid_client"}'),
        (401, b'{"fault":{"faultstring":"Invalid ApiKey","detail":{"errorcode":"oauth.v2"}}}'),
        (403, b""),
        (400, b"not json"),
        (400, b'{"error":"invalid_request"}'),
    ],
)
def test_refused_client_does_not_cost_the_consent(
    endpoint: Endpoint, rossi: Consented, status: int, body: bytes
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    rossi.expire()
    endpoint.answers_error(status, body)
    with pytest.raises(AuthenticationError, match="in the settings"):
        rossi.ask()
    assert len(endpoint.forms) == 1
    endpoint.answers_token(access_token="access-2")
    assert rossi.ask() == 200


def test_token_renewed_by_another_host_meanwhile_is_used(
    endpoint: Endpoint, rossi: Consented
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    rossi.expire()
    endpoint.good.add("access-2")
    endpoint.before_answer.append(
        lambda: rossi.write(
            access_token="access-2",
            refresh_token="refresh-2",
            expires_at_s=rossi.now_s + 3600,
            renewal_sent_at_s=None,
        )
    )
    endpoint.answers_error(400, b'{"error":"invalid_grant"}')
    assert rossi.ask() == 200
    assert len(endpoint.forms) == 1
    assert rossi.stored.refresh_token == "refresh-2"


def test_refresh_token_of_another_host_is_tried_once_more(
    endpoint: Endpoint, rossi: Consented
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    rossi.expire()
    endpoint.before_answer.append(
        lambda: rossi.write(refresh_token="refresh-2", renewal_sent_at_s=None)
    )
    endpoint.answers_error(400, b'{"error":"invalid_grant"}')
    endpoint.answers_error(400, b'{"error":"invalid_grant"}')
    with pytest.raises(AuthenticationError, match="has ended or was revoked"):
        rossi.ask()
    assert [form["refresh_token"] for form in endpoint.forms] == ["refresh-1", "refresh-2"]


def test_new_client_secret_needs_no_new_consent(
    endpoint: Endpoint, rossi: Consented, tmp_path: Path
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    auth = AuthorizationCodeAuth(
        f"{endpoint.url}/token",
        "client",
        SecretStr("another"),
        TokenStore(tmp_path / "tokens"),
        vendor="acme",
        account="Rossi",
    )
    assert auth.consent() == rossi.stored


def test_another_account_has_another_consent(
    endpoint: Endpoint, rossi: Consented, tmp_path: Path
) -> None:
    rossi.give(endpoint, refresh_token="refresh-1")
    auth = AuthorizationCodeAuth(
        f"{endpoint.url}/token",
        "client",
        SecretStr(SECRET),
        TokenStore(tmp_path / "tokens"),
        vendor="acme",
        account="Bianchi",
    )
    assert auth.consent() is None


@pytest.mark.parametrize("url", ["http://example.org/token", "ftp://x/", "", "https:///token"])
def test_token_url_that_would_show_secrets_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="no https address"):
        AuthorizationCodeAuth(
            url, "client", SecretStr(SECRET), TokenStore(tmp_path / "tokens"), vendor="acme"
        )


def test_nothing_secret_is_in_the_request_log_or_shown(
    endpoint: Endpoint, rossi: Consented
) -> None:
    rossi.give(endpoint, access_token="canary-access-1", refresh_token="canary-refresh-1")
    rossi.expire()
    endpoint.answers_token(access_token="canary-access-2", refresh_token="canary-refresh-2")
    rossi.ask()
    rossi.expire()
    endpoint.answers_error(400, b"canary-refresh-2 is not good")
    with pytest.raises(AuthenticationError) as caught:
        rossi.ask()
    requests, bodies = rossi.log.take()
    assert requests.filter(endpoint="token").height == 2
    assert "canary" not in str((requests.rows(), bodies.rows(), caught.value, rossi.stored))
