"""Wiser over real HTTP: the page a customer clicks, codes and tokens, lists and errors."""

import html
import re
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from energy_etl.sandbox import SandboxServer, World
from energy_etl.sandbox.model import id_wiser
from energy_etl.sandbox.wiser import API_PATH, AUTHORIZE_PATH, PREFIX, TOKEN_PATH, Wiser
from energy_etl.sandbox.wiser_consent import challenge_of

REDIRECT = "http://127.0.0.1:8765/callback"
AUTHORIZE, TOKEN, API = PREFIX + AUTHORIZE_PATH, PREFIX + TOKEN_PATH, PREFIX + API_PATH
CLIENT = {"client_id": "sandbox-wiser", "client_secret": "sandbox-wiser-secret"}
ASKED = {
    "client_id": "sandbox-wiser",
    "response_type": "code",
    "redirect_uri": REDIRECT,
    "scope": "read:site offline_access",
    "state": "s&<1>",
}
# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
ROME_A = id_wiser("site", "rome-a")


class Customer:
    """Clicks on the page, and the application that exchanges what comes of it."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(base_url=sandbox.url, timeout=10.0)

    @property
    def vendor(self) -> Wiser:
        return cast(Wiser, self.sandbox.app.vendors["wiser"])

    def page(self, **changes: str) -> httpx.Response:
        return self.http.get(AUTHORIZE, params={**ASKED, **changes})

    def decide(self, decision: str = "allow", **changes: str) -> dict[str, str]:
        """Open the page, press a button, and return what the application is told."""
        page = self.page(**changes)
        assert page.status_code == 200, page.text
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
        form = {name: html.unescape(value) for name, value in hidden}
        answer = self.http.post(AUTHORIZE, data={**form, "decision": decision})
        assert answer.status_code == 302
        return redirected(answer)

    def exchange(self, code: str, **changes: str) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        return self.http.post(TOKEN, data={**form, **CLIENT, **changes})

    def renew(self, refresh_token: str, **changes: str) -> httpx.Response:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self.http.post(TOKEN, data={**form, **CLIENT, **changes})

    def tokens(self) -> dict[str, Any]:
        return self.exchange(self.decide()["code"]).json()

    def get(self, path: str, token: str, **query: str | int) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return self.http.get(f"{API}/{path}", headers=headers, params=query)


def redirected(answer: httpx.Response) -> dict[str, str]:
    location = answer.headers["location"]
    assert location.startswith(REDIRECT + "?")
    return dict(parse_qsl(urlsplit(location).query, strict_parsing=True))


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


@pytest.fixture(scope="module")
def customer(world: World) -> Iterator[Customer]:
    with SandboxServer(world) as sandbox:
        customer = Customer(sandbox)
        yield customer
        customer.http.close()


@pytest.fixture(scope="module")
def token(customer: Customer) -> str:
    return customer.tokens()["access_token"]


def test_page_names_client_scope_and_places_and_loads_nothing(customer: Customer) -> None:
    page = customer.page()
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "form-action 'self' http://127.0.0.1:8765" in page.headers["content-security-policy"]
    for text in ("sandbox-wiser", "read:site", "Rome: Villa Appia, Trastevere flat", "Dublin"):
        assert text in page.text
    assert not re.search(r"<script|src=|href=|@import|url\(", page.text)


def test_page_escapes_what_a_customer_typed(world: World) -> None:
    with SandboxServer(world) as sandbox:
        customer = Customer(sandbox)
        customer.vendor.change("sites", ROME_A, name="<script>alert(1)</script>")
        text = customer.page().text
        customer.http.close()
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_allowed_access_ends_in_a_code_and_the_state_as_it_was(customer: Customer) -> None:
    answer = customer.decide()
    assert answer.keys() == {"code", "state"}
    assert answer["state"] == ASKED["state"]
    issued = customer.exchange(answer["code"])
    assert issued.status_code == 200
    assert issued.headers["cache-control"] == "no-store"
    body = issued.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 3600
    assert body["access_token"] != body["refresh_token"]
    assert customer.get("locations", body["access_token"]).status_code == 200


def test_denied_access_is_told_without_a_code(customer: Customer) -> None:
    answer = customer.decide("deny")
    assert answer["error"] == "access_denied"
    assert answer["state"] == ASKED["state"]
    assert "code" not in answer


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "somebody"},
        {"redirect_uri": "http://localhost:8765/callback"},
        {"redirect_uri": "https://127.0.0.1:8765/callback"},
        {"redirect_uri": "http://127.0.0.1.example.org/callback"},
        {"redirect_uri": "http://user@127.0.0.1:8765/callback"},
        {"redirect_uri": "http://127.0.0.1:8765/callback#x"},
        {"redirect_uri": "http://127.0.0.1:8765/callback?x=1"},
        {"redirect_uri": "http://127.0.0.1:8765/elsewhere"},
        {"redirect_uri": "http://127.0.0.1:99999/callback"},
    ],
)
def test_unknown_client_or_address_is_never_redirected_to(
    customer: Customer, changes: dict[str, str]
) -> None:
    answer = customer.page(**changes)
    assert answer.status_code == 400
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "read:site write:site"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"state": ""}, "invalid_request"),
        ({"code_challenge": VERIFIER, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
    ],
)
def test_wrong_request_is_told_to_the_application(
    customer: Customer, changes: dict[str, str], error: str
) -> None:
    answer = customer.page(**changes)
    assert answer.status_code == 302
    assert redirected(answer)["error"] == error


def test_page_answered_twice_is_refused(customer: Customer) -> None:
    ticket = re.findall(r'name="request" value="([^"]*)"', customer.page().text)[0]
    form = {"request": ticket, "decision": "deny"}
    statuses = [customer.http.post(AUTHORIZE, data=form).status_code for _ in range(2)]
    assert statuses == [302, 400]


def test_challenge_of_a_known_verifier_is_the_published_one() -> None:
    assert challenge_of(VERIFIER) == CHALLENGE


def test_code_verifier_is_checked_when_a_challenge_was_sent(customer: Customer) -> None:
    def code() -> str:
        return customer.decide(code_challenge=CHALLENGE, code_challenge_method="S256")["code"]

    assert customer.exchange(code(), code_verifier=VERIFIER).status_code == 200
    assert told(customer.exchange(code())) == (400, "invalid_grant")
    assert told(customer.exchange(code(), code_verifier=VERIFIER + "x")) == (400, "invalid_grant")
    plain = customer.decide()["code"]
    assert told(customer.exchange(plain, code_verifier=VERIFIER)) == (400, "invalid_grant")


def test_code_used_twice_ends_what_came_of_it(customer: Customer) -> None:
    code = customer.decide()["code"]
    tokens = customer.exchange(code).json()
    assert told(customer.exchange(code)) == (400, "invalid_grant")
    assert customer.get("locations", tokens["access_token"]).status_code == 401
    assert told(customer.renew(tokens["refresh_token"])) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"client_secret": "wrong"}, (401, "invalid_client")),
        ({"client_id": "somebody"}, (401, "invalid_client")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"code": "unknown"}, (400, "invalid_grant")),
        ({"redirect_uri": REDIRECT + "/"}, (400, "invalid_grant")),
    ],
)
def test_wrong_exchange_is_answered_as_rfc_6749_says(
    customer: Customer, changes: dict[str, str], expected: tuple[int, str]
) -> None:
    form = {"code": customer.decide()["code"], **changes}
    assert told(customer.exchange(**form)) == expected


def test_token_endpoint_takes_a_form_and_no_basic(customer: Customer) -> None:
    form = {"grant_type": "authorization_code", "code": "x", "redirect_uri": REDIRECT, **CLIENT}
    assert told(customer.http.post(TOKEN, json=form)) == (400, "invalid_request")
    basic = httpx.BasicAuth(*CLIENT.values())
    assert told(customer.http.post(TOKEN, data=form, auth=basic)) == (401, "invalid_client")
    twice = "grant_type=refresh_token&grant_type=refresh_token"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = customer.http.post(TOKEN, content=twice, headers=headers)
    assert told(answer) == (400, "invalid_request")
    assert customer.http.get(TOKEN).status_code == 405


def test_renewal_rotates_and_a_second_use_ends_the_consent(customer: Customer) -> None:
    first = customer.tokens()
    second = customer.renew(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert customer.get("sites", second["access_token"]).status_code == 200
    too_much = customer.renew(second["refresh_token"], scope="write:site")
    assert told(too_much) == (400, "invalid_scope")
    assert told(customer.renew(first["refresh_token"])) == (400, "invalid_grant")
    assert told(customer.renew(second["refresh_token"])) == (400, "invalid_grant")
    assert customer.get("sites", second["access_token"]).status_code == 401


def test_options_shorten_tokens_and_codes_and_keep_the_refresh_token(world: World) -> None:
    options = {"token_lifetime_s": 0.0, "code_lifetime_s": 60.0, "rotates": False}
    with SandboxServer(world, wiser_options=options) as sandbox:
        customer = Customer(sandbox)
        tokens = customer.tokens()
        expired = customer.get("sites", tokens["access_token"])
        renewed = [customer.renew(tokens["refresh_token"]).json() for _ in range(2)]
        customer.vendor.consents.revoke_all()
        revoked = customer.renew(tokens["refresh_token"])
        again = customer.tokens()
        customer.http.close()
    assert expired.status_code == 401
    assert expired.json()["detail"] == "Access Token expired"
    assert expired.headers["content-type"] == "application/problem+json"
    assert all("refresh_token" not in answer for answer in renewed)
    assert told(revoked) == (400, "invalid_grant")
    assert "access_token" in again


def test_code_is_short_lived(world: World) -> None:
    with SandboxServer(world, wiser_options={"code_lifetime_s": 0.0}) as sandbox:
        customer = Customer(sandbox)
        answer = customer.exchange(customer.decide()["code"])
        customer.http.close()
    assert told(answer) == (400, "invalid_grant")


def test_consent_outlives_a_restart_of_the_sandbox(customer: Customer, world: World) -> None:
    tokens = customer.tokens()
    with SandboxServer(world) as sandbox:
        restarted = Customer(sandbox)
        assert restarted.get("sites", tokens["access_token"]).status_code == 200
        assert restarted.renew(tokens["refresh_token"]).status_code == 200
        forged = tokens["access_token"][:-1] + ("0" if tokens["access_token"][-1] != "0" else "1")
        assert restarted.get("sites", forged).status_code == 401
        restarted.http.close()


def test_call_without_the_right_is_refused_in_the_vendors_shapes(customer: Customer) -> None:
    nobody = customer.http.get(f"{API}/sites")
    assert nobody.status_code == 401
    assert nobody.json()["fault"]["detail"]["errorcode"] == "oauth.v2.InvalidAccessToken"
    unknown = customer.get("sites", "made-up")
    assert (unknown.status_code, unknown.json()["detail"]) == (401, "Invalid Access Token")
    narrow = customer.exchange(customer.decide(scope="offline_access")["code"]).json()
    assert customer.get("sites", narrow["access_token"]).status_code == 403


def test_portfolio_is_listed_from_location_to_device(customer: Customer, token: str) -> None:
    locations = customer.get("locations", token).json()
    assert [each["name"] for each in locations] == ["Rome", "Dublin"]
    rome = locations[0]
    assert customer.get(f"locations/{rome['id']}", token).json() == rome
    sites = customer.get(f"locations/{rome['id']}/sites", token).json()
    assert [site["id"] for site in sites] == rome["siteIds"]
    assert len(customer.get("sites", token).json()) == 3
    assert customer.get(f"sites/{ROME_A}", token).json()["type"] == "Residential"
    rooms = customer.get(f"sites/{ROME_A}/rooms", token).json()
    assert {room["name"] for room in rooms} == {"Technical room", "Garage", "Kitchen", "Laundry"}
    devices = customer.get(f"sites/{ROME_A}/devices", token).json()
    assert devices["totalCount"] == len(devices["devices"]) == 9
    by_id = {device["id"]: device for device in devices["devices"]}
    mains = by_id[id_wiser("device", "rome-a.mains")]
    assert (mains["usage"], mains["commodity"]) == ("MainMeter", "Electricity")
    assert mains["roomId"] in {room["id"] for room in rooms}
    assert by_id[mains["gatewayId"]]["type"] == "Gateway"
    assert any("roomId" not in each for each in by_id.values() if each["type"] == "EnergyMeter")


def test_zones_are_written_in_three_ways(customer: Customer, token: str) -> None:
    addresses = [site["postalAddress"] for site in customer.get("sites", token).json()]
    zones = [{k: v for k, v in each.items() if k.lower() == "timezone"} for each in addresses]
    assert zones == [
        {"timezone": "Europe/Rome"},
        {"timeZone": "Europe/Rome"},
        {"timezone": "IST"},
    ]


def test_long_list_is_paged_by_offset_and_limit(customer: Customer, token: str) -> None:
    path = f"sites/{ROME_A}/devices"
    pages = [customer.get(path, token, offset=at, limit=4).json() for at in (0, 4, 8, 12)]
    assert [len(page["devices"]) for page in pages] == [4, 4, 1, 0]
    assert {page["totalCount"] for page in pages} == {9}
    assert len({each["id"] for page in pages for each in page["devices"]}) == 9


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"offset": "-1"}, "offset"),
        ({"offset": "9" * 5000}, "offset"),
        ({"limit": "51"}, "limit"),
        ({"sort": "name"}, "sort"),
    ],
)
def test_wrong_parameters_are_named(
    customer: Customer, token: str, query: dict[str, str], name: str
) -> None:
    answer = customer.get(f"sites/{ROME_A}/devices", token, **query)
    assert answer.status_code == 400
    assert [each["name"] for each in answer.json()["invalid-params"]] == [name]


def test_unknown_paths_and_writes_are_refused(customer: Customer, token: str) -> None:
    for path in ("sites/unknown", "sites/unknown/rooms", "meters", f"sites/{ROME_A}/rooms/1"):
        answer = customer.get(path, token)
        assert answer.status_code == answer.json()["status"] == 404
    headers = {"Authorization": f"Bearer {token}"}
    assert customer.http.post(f"{API}/sites", headers=headers).status_code == 405
    elsewhere = customer.http.get(f"{PREFIX}/ecostruxure/other/v1/sites", headers=headers)
    assert elsewhere.json()["fault"]["faultstring"] == "Unable to identify proxy"


def test_things_move_and_go_as_a_test_says(world: World) -> None:
    fridge = id_wiser("device", "rome-a.fridge")
    with SandboxServer(world) as sandbox:
        customer = Customer(sandbox)
        token = customer.tokens()["access_token"]
        customer.vendor.change("devices", fridge, name="Old fridge", roomId=None)
        before = customer.get(f"sites/{ROME_A}/devices", token).json()["devices"]
        customer.vendor.remove("devices", fridge)
        after = customer.get(f"sites/{ROME_A}/devices", token).json()["devices"]
        customer.http.close()
    (changed,) = [each for each in before if each["id"] == fridge]
    assert changed["name"] == "Old fridge"
    assert "roomId" not in changed
    assert [each for each in before if each["id"] != fridge] == after


@pytest.mark.parametrize(("status", "member"), [(503, "fault"), (429, "detail")])
def test_fault_has_the_vendors_shape(
    customer: Customer, token: str, status: int, member: str
) -> None:
    wish = {"vendor": "wiser", "kind": "status", "status": status, "retry_after_s": 7}
    customer.http.post("/_sandbox/faults", json=wish)
    answer = customer.get("sites", token)
    assert answer.status_code == status
    assert member in answer.json()
    assert answer.headers["retry-after"] == "7"
