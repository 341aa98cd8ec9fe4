"""OAuth2 client credentials (RFC 6749, section 4.4)."""

import time
from collections.abc import Callable
from typing import Final

import httpx
import msgspec
from pydantic import SecretStr

from energy_etl.auth.renewal import DEFAULT_LIFETIME_S, RenewedTokenAuth, TokenCalls
from energy_etl.errors import AuthenticationError, MalformedError
from energy_etl.tokens import Token, TokenStore

# RFC 6749, section 5.2, and what Keycloak answers for a client that was switched off.
_REFUSED_STATUSES: Final = frozenset({400, 401, 403})


class ClientCredentialsAuth(RenewedTokenAuth):
    """A bearer token per (token URL, client id), fetched with client id and secret."""

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
        key = (str(self._token_url), client_id)
        super().__init__(store, key, client_secret.get_secret_value(), vendor=vendor, now_s=now_s)

    def _fetch(self, stored: Token | None) -> TokenCalls:
        del stored  # this grant has no refresh token
        requested_s = self._now_s()
        response = yield httpx.Request(
            "POST",
            self._token_url,
            data={
                "client_id": self._client_id,
                "client_secret": self._client_secret.get_secret_value(),
                "grant_type": "client_credentials",
            },
            headers={"Accept": "application/json"},
        )
        return self._parse(response, requested_s)

    def _parse(self, response: httpx.Response, requested_s: float) -> Token:
        where = f"{self._vendor}'s token endpoint {self._token_url}"
        status = response.status_code
        if status in _REFUSED_STATUSES:
            raise AuthenticationError(
                f"{where} refused the client id and secret ({status}): check "
                f"{self._vendor}.client_id and {self._vendor}.client_secret in the settings."
            )
        self._refuse_outage(response, where)
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
