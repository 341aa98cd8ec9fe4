"""What a person is asked, and which answer counts."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.auth.authorization_request import AuthorizationRequest, challenge_s256
from energy_etl.errors import (
    AuthenticationError,
    ConfigurationError,
    EnergyEtlError,
    UnavailableError,
)


def new(*, uses_pkce: bool = True) -> AuthorizationRequest:
    return AuthorizationRequest.new(
        "https://acme.example/authorize",
        client_id="client&1",
        redirect_uri="http://127.0.0.1:8917/callback",
        scope="read:site offline_access",
        uses_pkce=uses_pkce,
        vendor="acme",
        account="Rossi",
    )


def asked(request: AuthorizationRequest) -> dict[str, str]:
    query = parse_qs(urlsplit(request.url).query, strict_parsing=True)
    return {name: only for name, (only,) in query.items()}


def answer(request: AuthorizationRequest, **facts: str) -> str:
    return urlencode({"state": asked(request)["state"], **facts})


def test_challenge_equals_the_vector_of_the_rfc() -> None:
    # RFC 7636, appendix B
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_s256(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_address_asks_for_what_the_document_names_and_pkce() -> None:
    request = new()
    assert request.verifier is not None
    facts = asked(request)
    state = facts.pop("state")
    assert facts == {
        "client_id": "client&1",
        "response_type": "code",
        "redirect_uri": "http://127.0.0.1:8917/callback",
        "scope": "read:site offline_access",
        "code_challenge": challenge_s256(request.verifier),
        "code_challenge_method": "S256",
    }
    # Base64url without padding: 43 characters carry 256 bits.
    assert len(state) == len(request.verifier) == 43
    assert request.verifier not in request.url
    assert request.verifier not in repr(request)


def test_pkce_can_be_switched_off() -> None:
    request = new(uses_pkce=False)
    assert request.verifier is None
    assert not [name for name in asked(request) if name.startswith("code_challenge")]


def test_each_attempt_has_its_own_state_and_verifier() -> None:
    attempts = [new() for _ in range(50)]
    assert len({asked(attempt)["state"] for attempt in attempts}) == 50
    assert len({attempt.verifier for attempt in attempts}) == 50


def test_answer_with_our_state_brings_the_code() -> None:
    request = new()
    query = answer(request, code="a code&")
    assert request.is_answered_by(query)
    assert request.code_of(query) == "a code&"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        "code=c&state=",
        "code=c&state=another",
        "state={state}",
        "state={state}&code=",
        "state={state}&code=a&code=b",
        "state={state}&state={state}&code=a",
        "state={state}&code=%ff",
        "error=access_denied",
        "error=access_denied&state=another",
        "state={state}&code=a" + "&x=1" * 40,
    ],
)
def test_query_that_answers_another_attempt_is_none(query: str) -> None:
    request = new()
    told = query.replace("{state}", asked(request)["state"])
    assert not request.is_answered_by(told)
    with pytest.raises(AuthenticationError, match="no answer to this attempt"):
        request.code_of(told)


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        ("access_denied", AuthenticationError, "Consent for the acme account Rossi was denied"),
        ("invalid_scope", ConfigurationError, "invalid_scope it said why"),
        ("unauthorized_client", ConfigurationError, "check client_id, scope and redirect"),
        ("server_error", UnavailableError, "the fault is the vendor's"),
        ("temporarily_unavailable", UnavailableError, "again later"),
    ],
)
def test_error_counts_before_a_code_beside_it(
    error: str, kind: type[EnergyEtlError], told: str
) -> None:
    request = new()
    query = answer(request, code="c", error=error, error_description="it said\nwhy")
    assert request.is_answered_by(query)
    with pytest.raises(kind, match=told) as caught:
        request.code_of(query)
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.text(), st.text())
def test_no_state_but_ours_is_taken(state: str, code: str) -> None:
    request = new()
    query = urlencode({"state": state, "code": code}, errors="surrogatepass")
    assert not request.is_answered_by(query)
