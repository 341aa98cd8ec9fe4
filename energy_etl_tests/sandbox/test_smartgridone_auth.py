"""SmartgridOne's authentication host over real HTTP: tokens, their lives, and who is kept out."""

from collections.abc import Iterator

import pytest

from energy_etl.sandbox import SandboxServer, World
from energy_etl_tests.sandbox.smartgridone_caller import (
    PASSWORD,
    TWO_FACTOR_USER,
    USER,
    MovedClock,
    SmartgridOneCaller,
    is_error,
)

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(scope="module")
def sandbox(world: World, clock: MovedClock) -> Iterator[SandboxServer]:
    with SandboxServer(world, smartgridone_options={"tokens": {"clock": clock}}) as sandbox:
        yield sandbox


@pytest.fixture
def caller(sandbox: SandboxServer) -> Iterator[SmartgridOneCaller]:
    with SmartgridOneCaller(sandbox) as caller:
        yield caller


def _is_let_in(caller: SmartgridOneCaller, access: str) -> bool:
    headers = {"Authorization": f"Bearer {access}"}
    answer = caller.http.get("/v1/company", headers=headers)
    return answer.status_code == 200 or not is_error(answer, 401, "Failed to verify token")


def test_login_answers_a_refresh_token_as_bare_text(caller):
    answer = caller.login()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert '"' not in answer.text
    assert caller.auth("refreshtoken/validate", answer.text).json() == {"userId": 4711}
    access = caller.auth("accesstoken", answer.text)
    assert access.headers["Content-Type"].startswith("text/plain")
    assert _is_let_in(caller, access.text)


def test_quoted_tokens_are_an_option(world):
    options = {"tokens": {"is_quoted": True}}
    with (
        SandboxServer(world, smartgridone_options=options) as sandbox,
        SmartgridOneCaller(sandbox) as caller,
    ):
        quoted = caller.login().text
        assert quoted[0] == quoted[-1] == '"'
        assert caller.auth("refreshtoken/validate", quoted.strip('"')).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"username": USER},
        {"username": USER, "password": ""},
        {"username": USER, "password": "x" * 257},
        {"username": 5, "password": PASSWORD},
        {"username": USER, "password": PASSWORD, "otp": "123456"},
        [],
    ],
)
def test_login_that_is_misspelled_is_answered_400(caller, body):
    assert is_error(caller.http.post("/auth/login", json=body), 400)


def test_login_that_is_no_json_is_answered_400(caller):
    assert is_error(caller.http.post("/auth/login", content=b"username=me"), 400)


def test_fifth_wrong_password_closes_the_account_for_a_minute(caller, clock):
    try:
        for _ in range(5):
            assert is_error(caller.login(password="wrong"), 401, "PASSWORD_INCORRECT")
        clock.pass_s(20.0)
        closed = caller.login()
        assert is_error(closed, 429, "TOO_MANY_FAILED_PASSWORD_CHECKS")
        assert closed.json()["retryAfter"] == 40
        assert caller.login("somebody", "else").status_code == 401
        clock.pass_s(41.0)
        assert caller.login().status_code == 200
    finally:
        clock.pass_s(100.0)


@pytest.mark.parametrize("path", ["accesstoken", "refreshtoken", "refreshtoken/validate", "logout"])
def test_call_without_or_with_a_wrong_token_is_answered_401(caller, path):
    method = "POST" if path == "logout" else "GET"
    assert is_error(caller.auth(path, "", method), 401, "NO_TOKEN_PROVIDED")
    assert is_error(caller.auth(path, "nonsense", method), 401)
    access = caller.auth("accesstoken", caller.login().text).text
    assert is_error(caller.auth(path, access, method), 401)


def test_refresh_token_opens_no_api(caller):
    assert not _is_let_in(caller, caller.login().text)
    assert is_error(caller.http.get("/v1/company"), 401, "Failed to verify token")


def test_access_token_ends_after_ten_minutes(caller, clock):
    access = caller.auth("accesstoken", caller.login().text).text
    clock.pass_s(599.0)
    assert _is_let_in(caller, access)
    clock.pass_s(1.0)
    assert not _is_let_in(caller, access)


def test_refresh_token_ends_after_fourteen_days_and_its_successor_later(caller, clock):
    first = caller.login().text
    clock.pass_s(13 * DAY_S)
    second = caller.auth("refreshtoken", first).text
    assert second != first
    assert caller.auth("accesstoken", first).status_code == 200
    clock.pass_s(DAY_S)
    assert is_error(caller.auth("accesstoken", first), 401)
    assert caller.auth("accesstoken", second).status_code == 200


def test_logout_ends_the_refresh_token(caller):
    token, other = caller.login().text, caller.login().text
    answer = caller.auth("logout", token, "POST")
    assert (answer.status_code, answer.content) == (204, b"")
    assert caller.auth("accesstoken", token).status_code == 401
    assert caller.auth("accesstoken", other).status_code == 200


def test_revoked_access_tokens_are_refused_and_renewed(caller, sandbox):
    refresh = caller.login().text
    access = caller.auth("accesstoken", refresh).text
    sandbox.app.vendors["smartgridone"].tokens.revoke_access()  # type: ignore[attr-defined]
    assert not _is_let_in(caller, access)
    assert _is_let_in(caller, caller.auth("accesstoken", refresh).text)


def test_account_with_a_second_factor_gets_no_token(caller, world):
    partial = caller.login(TWO_FACTOR_USER)
    assert partial.status_code == 200
    assert caller.auth("accesstoken", partial.json()["partialAuthToken"]).status_code == 401
    options = {"tokens": {"two_factor_status": 401}}
    with (
        SandboxServer(world, smartgridone_options=options) as sandbox,
        SmartgridOneCaller(sandbox) as refused,
    ):
        answer = refused.login(TWO_FACTOR_USER)
    assert is_error(answer, 401, "TWO_FACTOR_AUTHENTICATION_REQUIRED")


def test_password_can_be_changed_while_the_sandbox_runs(caller, sandbox):
    def change(password: str) -> int:
        wish = {"account": USER, "password": password}
        return caller.http.post(f"{sandbox.url}/_sandbox/passwords", json=wish).status_code

    assert change("another") == 204
    try:
        assert caller.login().status_code == 401
        assert caller.login(password="another").status_code == 200
    finally:
        change(PASSWORD)


@pytest.mark.parametrize("path", ["/auth/nothing", "/nothing", "/auth/login/x"])
def test_unknown_path_is_answered_404(caller, path):
    assert is_error(caller.http.get(path), 404, "Resource not found")


def test_posted_fault_has_the_vendors_shape(caller, sandbox):
    wish = {"vendor": "smartgridone", "kind": "status", "status": 429, "retry_after_s": 7}
    caller.http.post(f"{sandbox.url}/_sandbox/faults", json=wish)
    answer = caller.http.get("/v1/company")
    assert is_error(answer, 429)
    assert (answer.headers["Retry-After"], answer.json()["retryAfter"]) == ("7", 7)
