"""OAuth2 authorisation code (RFC 6749, section 4.1): a consent that a person gave, kept alive.

The consent itself is asked for by a command (`authorization_request.py`, `loopback.py`), never
inside a run. What may cost it is treated with care: a refresh token may be good for one use only
(rotation), and a server that sees it twice may revoke everything (RFC 9700, section 4.14.2).
"""

import time
from collections.abc import Callable, Generator, Mapping
from typing import Final

import httpx
import msgspec
from pydantic import SecretStr

from energy_etl.auth.renewal import DEFAULT_LIFETIME_S, RenewedTokenAuth, TokenCalls
from energy_etl.errors import (
    AuthenticationError,
    ConfigurationError,
    MalformedError,
    RateLimitedError,
    UnavailableError,
    VendorError,
)
from energy_etl.rest.failures import is_loopback, parse_retry_after_s
from energy_etl.rest.redaction import Redactor
from energy_etl.rest.transport import BoundedTransport, ConnectionRefusedByVendorError, Limits
from energy_etl.tokens import Token, TokenStore

# After a renewal that gave no token, nobody sends the same refresh token for so long: the first
# call may still be under way, and the other threads and processes come within seconds.
RENEWAL_PAUSE_S: Final = 60.0
_INVALID_GRANT: Final = "invalid_grant"
_CREDENTIAL_ERRORS: Final = frozenset({"invalid_client", "unauthorized_client"})
_EXCERPT: Final = 200


class AuthorizationCodeAuth(RenewedTokenAuth):
    """The access token of one account's consent, renewed by its refresh token.

    A consent that has ended is remembered in the token store: the next run fails at once, without
    a call, until a person authorises again. A fault of the token endpoint (5xx, no answer) never
    costs the consent, and the same refresh token is sent again at once only when it never left.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: SecretStr,
        store: TokenStore,
        *,
        vendor: str,
        account: str = "main",
        default_lifetime_s: float = DEFAULT_LIFETIME_S,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Keep the consent of an account; nothing is sent.

        Args:
            token_url: of the token endpoint.
            client_id: of this program.
            client_secret: sent in the form (`client_secret_post`). The consent outlives it: a new
                secret needs no new consent.
            store: the folder of token files.
            vendor: the name in errors, of the settings' section, and of the command.
            account: who gave the consent.
            default_lifetime_s: of an access token whose answer names none.
            now_s: the clock, seconds since 1970.

        Raises:
            ConfigurationError: token_url is not https, nor on this machine.
        """
        self._token_url = _checked(token_url, vendor)
        self._client_id = client_id
        self._client_secret = client_secret
        self._account = account
        self._default_lifetime_s = default_lifetime_s
        self._where = f"{vendor}'s token endpoint {self._token_url}"
        key = (str(self._token_url), client_id, account)
        super().__init__(store, key, "", vendor=vendor, now_s=now_s)

    def consent(self) -> Token | None:
        """Return what is stored of the consent; None when there is none."""
        return self._stored()

    def redeem(
        self, code: str, *, redirect_uri: str, verifier: str | None, limits: Limits
    ) -> Token:
        """POST the token endpoint: exchange a code for a token, and store it.

        Args:
            code: what the redirect brought; good for one use.
            redirect_uri: the one that the code was asked for with.
            verifier: of PKCE; None: the code was asked for without.
            limits: what the call may cost.

        Raises:
            AuthenticationError: the code or the client's credential was refused.
            UnavailableError: no connection, a time-out or a 5xx.
            MalformedError: an answer without a token.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if verifier is not None:
            form["code_verifier"] = verifier
        requested_s = self._now_s()
        transport = BoundedTransport(limits, max_connections=1)
        try:
            response = transport.handle_request(self._request(form))
        except VendorError as cause:
            raise type(cause)(
                f"{self._where} gave no token, {str(cause).rstrip('.')}: "
                f"{self._advice('authorize')}."
            ) from None
        finally:
            transport.close()
        if _error_of(response) == _INVALID_GRANT:
            raise AuthenticationError(
                f"{self._where} refused the code{self._said(response, code)}, which is good for "
                f"one use and a short time: {self._advice('authorize')}."
            )
        token = self._token_of(response, requested_s, code, verifier, authorised_at_s=requested_s)
        with self._store.lock(*self._key):
            self._store.write(token, *self._key)
        return token

    def _fetch(self, stored: Token | None) -> TokenCalls:
        stored = self._renewable(stored)
        for _ in range(2):
            requested_s = self._now_s()
            response = yield from self._refresh(stored)
            if _error_of(response) != _INVALID_GRANT:
                return self._renewed(stored, response, requested_s)
            # Somebody who does not see our lock (another host, a person) may have renewed it.
            newer = self._stored()
            if newer is None or newer.refresh_token in (None, stored.refresh_token):
                break
            if newer.is_fresh(self._now_s()):
                return newer
            stored = newer
        ended = Token(
            access_token="",
            token_type="Bearer",
            expires_at_s=0.0,
            lifetime_s=0.0,
            issued_for=self._fingerprint,
            authorised_at_s=stored.authorised_at_s,
            ended_at_s=self._now_s(),
        )
        self._store.write(ended, *self._key)
        raise self._has_ended()

    def _renewable(self, stored: Token | None) -> Token:
        """Return what is stored when a renewal may be tried now."""
        if stored is None:
            raise AuthenticationError(
                f"The {self._vendor} account {self._account} is not authorised yet: "
                f"{self._advice('authorize')}."
            )
        if stored.ended_at_s is not None:
            raise self._has_ended()
        if stored.refresh_token is None:
            raise AuthenticationError(
                f"The access to the {self._vendor} account {self._account} has ended and there is "
                f"no refresh token: {self._advice('authorize')}, with offline_access in "
                f"{self._vendor}.scope."
            )
        if stored.renewal_sent_at_s is not None:
            passed_s = self._now_s() - stored.renewal_sent_at_s
            if 0 <= passed_s < RENEWAL_PAUSE_S:
                raise UnavailableError(
                    f"{self._where} was asked for a new token {passed_s:.0f} s ago and gave none "
                    "(no answer, or a fault of its own): to ask again at once could cost the "
                    f"consent, run again in {RENEWAL_PAUSE_S - passed_s:.0f} s."
                )
        return stored

    def _refresh(self, stored: Token) -> Generator[httpx.Request, httpx.Response, httpx.Response]:
        """Send the refresh token, with the doubt on disk for as long as it is one."""
        in_doubt = msgspec.structs.replace(stored, renewal_sent_at_s=self._now_s())
        self._store.write(in_doubt, *self._key)
        form = {"grant_type": "refresh_token", "refresh_token": stored.refresh_token or ""}
        try:
            response = yield self._request(form)
        except GeneratorExit as left:
            # httpx closes the flow and does not say why; only this reason means that nothing left.
            if _was_refused(left):
                self._settle(in_doubt, stored)
            raise
        if not (response.is_success or response.is_server_error):
            # It was read and refused: the refresh token was not used up by this.
            self._settle(in_doubt, msgspec.structs.replace(stored, renewal_sent_at_s=None))
        return response

    def _settle(self, in_doubt: Token, token: Token) -> None:
        """Store what is no longer in doubt, unless somebody stored another one meanwhile."""
        if self._stored() == in_doubt:
            self._store.write(token, *self._key)

    def _renewed(self, stored: Token, response: httpx.Response, requested_s: float) -> Token:
        token = self._token_of(
            response, requested_s, stored.refresh_token, authorised_at_s=stored.authorised_at_s
        )
        # Without rotation none comes back, and the old one stays good.
        kept = token.refresh_token or stored.refresh_token
        return msgspec.structs.replace(token, refresh_token=kept)

    def _request(self, form: Mapping[str, str]) -> httpx.Request:
        return httpx.Request(
            "POST",
            self._token_url,
            data={
                **form,
                "client_id": self._client_id,
                "client_secret": self._client_secret.get_secret_value(),
            },
            headers={"Accept": "application/json"},
        )

    def _token_of(
        self,
        response: httpx.Response,
        requested_s: float,
        *secrets: str | None,
        authorised_at_s: float | None,
    ) -> Token:
        """Return the token of an answer, or raise what the answer means."""
        self._refuse_failure(response, *secrets)
        try:
            # Some gateways send numbers as text.
            answer = msgspec.json.decode(response.content, type=_TokenAnswer, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            answer = None
        if answer is None or not answer.is_usable():
            raise MalformedError(
                f"{self._where} answered {response.status_code} without a bearer token that can "
                f"be read: check {self._vendor}.base_url in the settings."
            )
        lifetime_s = answer.expires_in if answer.expires_in else 0.0
        lifetime_s = lifetime_s if lifetime_s > 0 else self._default_lifetime_s
        return Token(
            access_token=answer.access_token,
            token_type="Bearer",
            expires_at_s=requested_s + lifetime_s,
            lifetime_s=lifetime_s,
            issued_for=self._fingerprint,
            refresh_token=answer.refresh_token or None,
            authorised_at_s=authorised_at_s,
        )

    def _refuse_failure(self, response: httpx.Response, *secrets: str | None) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        said = f"{self._where} answered {status}{self._said(response, *secrets)}"
        if status == httpx.codes.TOO_MANY_REQUESTS:
            wait_s = parse_retry_after_s(response.headers.get("retry-after"))
            raise RateLimitedError(f"{said}: it asks to slow down, run again later.", wait_s)
        if response.is_server_error or status == httpx.codes.REQUEST_TIMEOUT:
            raise UnavailableError(f"{said}: the fault is not the consent's, run again later.")
        if _error_of(response) in _CREDENTIAL_ERRORS or status in (401, 403):
            raise AuthenticationError(
                f"{said}: check {self._vendor}.client_id and {self._vendor}.client_secret in the "
                f"settings; if they are right, {self._advice('authorize')}."
            )
        if status == httpx.codes.BAD_REQUEST:
            raise AuthenticationError(
                f"{said}: check client_id, scope and redirect address of {self._vendor} in the "
                f"settings; if they are right, {self._advice('authorize')}."
            )
        raise MalformedError(
            f"{said} where a token was due: check {self._vendor}.base_url in the settings."
        )

    def _said(self, response: httpx.Response, *secrets: str | None) -> str:
        """Return what a refusal says of itself, without what it may echo, as (" ... ")."""
        known = [each for each in (*secrets, self._client_secret.get_secret_value()) if each]
        text = " ".join(Redactor(known).text(response.text[:4000]).split())[:_EXCERPT]
        return f' ("{text}")' if text else ""

    def _has_ended(self) -> AuthenticationError:
        return AuthenticationError(
            f"The consent of the {self._vendor} account {self._account} has ended or was revoked: "
            f"{self._advice('authorize')} again."
        )

    def _advice(self, command: str) -> str:
        return f"run `energy-etl {self._vendor} {command}`"


class _TokenAnswer(msgspec.Struct):
    """RFC 6749, section 5.1."""

    access_token: str
    token_type: str = "Bearer"
    expires_in: float | None = None
    refresh_token: str | None = None

    def is_usable(self) -> bool:
        """True for a token that can stand in a header, of a type that we know."""
        # Letter case does not matter (RFC 6749, section 7.1), and one widespread gateway names it
        # `BearerToken`.
        is_bearer = self.token_type.lower() in ("bearer", "bearertoken")
        text = self.access_token
        return is_bearer and text.isascii() and text.isprintable() and bool(text.strip())


class _Refusal(msgspec.Struct):
    """RFC 6749, section 5.2."""

    error: str


def _checked(token_url: str, vendor: str) -> httpx.URL:
    try:
        url = httpx.URL(token_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.host and (url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host))):
        return url
    raise ConfigurationError(
        f"{vendor}.base_url is no https address, and secrets are sent there: correct it in the "
        "settings."
    )


def _error_of(response: httpx.Response) -> str | None:
    """Return the RFC 6749 error code of a 4xx, None when there is none (`{"fault"}`, no JSON)."""
    if not response.is_client_error:
        return None
    try:
        return msgspec.json.decode(response.content, type=_Refusal).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _was_refused(left: BaseException) -> bool:
    """True when the flow was left because no connection came up."""
    cause: BaseException | None = left
    while cause is not None:
        if isinstance(cause, ConnectionRefusedByVendorError):
            return True
        cause = cause.__context__
    return False
