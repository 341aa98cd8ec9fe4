"""One attempt to get a consent: its address, and what came back by the redirect.

Authorisation request and response of RFC 6749, section 4.1, with PKCE (RFC 7636, S256).
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import parse_qs, urlencode

from energy_etl.errors import (
    AuthenticationError,
    ConfigurationError,
    EnergyEtlError,
    UnavailableError,
)

# 256 bit each; RFC 7636 wants 43 to 128 characters of the verifier.
_N_BYTES: Final = 32
_MAX_PARAMETERS: Final = 32
_DENIED: Final = "access_denied"
_OUTAGES: Final = frozenset({"server_error", "temporarily_unavailable"})


@dataclass(frozen=True)
class AuthorizationRequest:
    """What a person is asked; each attempt has a state and a verifier of its own.

    Attributes:
        url: to be opened in a browser; it holds no secret.
        redirect_uri: where the answer comes.
        verifier: of PKCE; None without.
    """

    url: str
    redirect_uri: str
    verifier: str | None = field(repr=False)
    _state: str = field(repr=False)
    _vendor: str
    _account: str

    @classmethod
    def new(
        cls,
        authorize_url: str,
        *,
        client_id: str,
        redirect_uri: str,
        scope: str,
        uses_pkce: bool,
        vendor: str,
        account: str,
    ) -> Self:
        """Draw state and verifier; nothing is sent."""
        state = secrets.token_urlsafe(_N_BYTES)
        query = {
            "client_id": client_id,
            "response_type": "code",
            "redirect_uri": redirect_uri,
            "scope": scope,
            "state": state,
        }
        verifier = None
        if uses_pkce:
            verifier = secrets.token_urlsafe(_N_BYTES)
            query |= {
                "code_challenge": challenge_s256(verifier),
                "code_challenge_method": "S256",
            }
        url = f"{authorize_url}?{urlencode(query)}"
        return cls(url, redirect_uri, verifier, state, vendor, account)

    def is_answered_by(self, query: str) -> bool:
        """True when a redirect's query answers this attempt: our state, and a code or an error."""
        answer = _parameters(query)
        state = answer.get("state", "").encode()
        is_ours = secrets.compare_digest(state, self._state.encode())
        return is_ours and bool(answer.get("error") or answer.get("code"))

    def is_denied_by(self, query: str) -> bool:
        """True when the person said no."""
        return self.is_answered_by(query) and _parameters(query).get("error") == _DENIED

    def code_of(self, query: str) -> str:
        """Return the code that a redirect brought.

        Raises:
            AuthenticationError: consent was denied, or the query answers another attempt.
            ConfigurationError: the vendor does not accept how it was asked.
            UnavailableError: the vendor could not decide.
        """
        if not self.is_answered_by(query):
            raise AuthenticationError(
                "That is no answer to this attempt (another state, or no code): open the address "
                "that was printed last, and paste the one that the browser shows at its end."
            )
        answer = _parameters(query)
        # First of all: a denial must never look like success, whatever else stands beside it.
        if answer.get("error"):
            raise self._denial(answer["error"], answer.get("error_description", ""))
        return answer["code"]

    def _denial(self, error: str, description: str) -> EnergyEtlError:
        who = f"the {self._vendor} account {self._account}"
        if error == _DENIED:
            return AuthenticationError(
                f"Consent for {who} was denied: nothing was stored; run `energy-etl "
                f"{self._vendor} authorize` again when the customer agrees."
            )
        told = " ".join(f"{error} {description}".split())[:200]
        said = f"The authorisation of {who} was refused ({told})"
        if error in _OUTAGES:
            return UnavailableError(
                f"{said}: the fault is the vendor's, run `energy-etl {self._vendor} authorize` "
                "again later."
            )
        return ConfigurationError(
            f"{said}: check client_id, scope and redirect address of {self._vendor} in the "
            "settings and in the vendor's portal."
        )


def challenge_s256(verifier: str) -> str:
    """Return the code challenge of a verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _parameters(query: str) -> dict[str, str]:
    """Return the parameters; none of them when one comes twice, which RFC 6749 forbids."""
    try:
        # Bytes that are no text come from a terminal as halves of surrogate pairs.
        query.encode()
        found = parse_qs(query, max_num_fields=_MAX_PARAMETERS, errors="strict")
    except ValueError:
        return {}
    if any(len(values) > 1 for values in found.values()):
        return {}
    return {name: values[0] for name, values in found.items()}
