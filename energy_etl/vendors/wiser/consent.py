"""A customer's consent to Wiser: asked for by a person, never inside a run.

What `energy-etl wiser authorize` and `energy-etl wiser status` do, without the command line. The
protocol is in `energy_etl/auth/`; here is what is Wiser's: addresses, settings, sentences.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from energy_etl.auth import AuthorizationCodeAuth
from energy_etl.auth.authorization_request import AuthorizationRequest
from energy_etl.auth.loopback import CALLBACK_PATH, Arrival, LoopbackListener
from energy_etl.errors import AuthenticationError, ConfigurationError, EnergyEtlError
from energy_etl.tokens import Token, TokenStore
from energy_etl.vendors.wiser.settings import AUTHORIZE_PATH, TOKEN_PATH, WiserSettings

# "Your access_token will be valid for 1 hour."
ACCESS_LIFETIME_S: Final = 3600.0
_N_PASTES: Final = 3


@dataclass(frozen=True)
class Consent:
    """What is known of an account's consent without asking anybody.

    Attributes:
        state: "authorised"; "ended": it was revoked, or cannot be renewed any more; "none".
        authorised_at: when a person gave it.
        access_until_at: when the present access token ends; runs renew it by themselves.
        ended_at: when a run found that it had ended.
        is_renewable: False: there is no refresh token, so it ends with the access token.
    """

    account: str
    state: Literal["authorised", "ended", "none"]
    authorised_at: datetime | None = None
    access_until_at: datetime | None = None
    ended_at: datetime | None = None
    is_renewable: bool = False


def build_auth(settings: WiserSettings, token_dir: Path) -> AuthorizationCodeAuth:
    """Return what signs requests with the account's token.

    Raises:
        ConfigurationError: the client's credential is missing, an address is no https, or the
            token folder is open to others.
    """
    if not settings.client_id or not settings.client_secret.get_secret_value():
        raise ConfigurationError(
            "wiser.client_id or wiser.client_secret is empty: set ENERGY_ETL_WISER__CLIENT_ID and "
            "ENERGY_ETL_WISER__CLIENT_SECRET in the environment or in .env."
        )
    return AuthorizationCodeAuth(
        settings.base_url.rstrip("/") + TOKEN_PATH,
        settings.client_id,
        settings.client_secret,
        TokenStore(token_dir),
        vendor="wiser",
        account=settings.account,
        default_lifetime_s=ACCESS_LIFETIME_S,
    )


def read_consent(settings: WiserSettings, token_dir: Path) -> Consent:
    """Return what is stored of the account's consent; nobody is asked."""
    return _consent_of(settings, build_auth(settings, token_dir).consent())


def authorize(
    settings: WiserSettings, token_dir: Path, *, open_url: Callable[[str], object]
) -> Consent:
    """Ask for a consent in a browser on this machine, and store it.

    Args:
        settings: the section `wiser`.
        token_dir: where the token file is kept.
        open_url: brings the address to the customer and returns without waiting for the answer,
            which comes to a port of 127.0.0.1.

    Raises:
        AuthenticationError: it was denied, nobody answered in time, or the code was refused.
        ConfigurationError: the port is taken, or a setting does not suit the vendor.
        UnavailableError: the token endpoint gave no answer or a 5xx.
    """
    auth = build_auth(settings, token_dir)
    if settings.redirect_uri:
        raise ConfigurationError(
            "wiser.redirect_uri names an address where nobody listens for the answer: unset it, "
            "or run `energy-etl wiser authorize --paste`."
        )
    with LoopbackListener(settings.redirect_port, vendor="wiser") as listener:
        request = _request(settings, listener.redirect_uri)
        open_url(request.url)
        arrival = listener.wait(request.is_answered_by, settings.authorize_deadline_s)
        if arrival is None:
            raise AuthenticationError(
                f"Nobody answered for the wiser account {settings.account} within "
                f"{settings.authorize_deadline_s:g} s: run `energy-etl wiser authorize` again, "
                "with --paste when the browser is on another machine."
            )
        return _finish(settings, auth, request, arrival)


def authorize_by_paste(
    settings: WiserSettings, token_dir: Path, *, ask: Callable[[str], str]
) -> Consent:
    """Ask for a consent in a browser anywhere, and store it.

    Args:
        settings: the section `wiser`.
        token_dir: where the token file is kept.
        ask: shows the address to a person and returns the one that the browser was sent to in the
            end; asked again, three times at most, when that is no answer to this attempt.

    Raises:
        AuthenticationError: it was denied, what was pasted is no answer, or the code was refused.
        ConfigurationError: a setting does not suit the vendor.
        UnavailableError: the token endpoint gave no answer or a 5xx.
    """
    auth = build_auth(settings, token_dir)
    port = f":{settings.redirect_port}" if settings.redirect_port else ""
    request = _request(settings, settings.redirect_uri or f"http://127.0.0.1{port}{CALLBACK_PATH}")
    query = ""
    for _ in range(_N_PASTES):
        query = ask(request.url).strip().partition("#")[0].rpartition("?")[2]
        if request.is_answered_by(query):
            break
    return _consent_of(settings, _redeem(settings, auth, request, query))


def _request(settings: WiserSettings, redirect_uri: str) -> AuthorizationRequest:
    return AuthorizationRequest.new(
        settings.base_url.rstrip("/") + AUTHORIZE_PATH,
        client_id=settings.client_id,
        redirect_uri=redirect_uri,
        scope=settings.scope,
        uses_pkce=settings.uses_pkce,
        vendor="wiser",
        account=settings.account,
    )


def _finish(
    settings: WiserSettings,
    auth: AuthorizationCodeAuth,
    request: AuthorizationRequest,
    arrival: Arrival,
) -> Consent:
    """Exchange the code and show in the browser how it ended, to whom nobody told a command."""
    try:
        token = _redeem(settings, auth, request, arrival.query)
    except EnergyEtlError as error:
        told = str(error).replace("`", '"')
        if request.is_denied_by(arrival.query):
            told = "It was denied, and nothing was stored. Whoever asked can ask again at any time."
        arrival.show("Access to Wiser was not given", told)
        raise
    arrival.show(
        "Access to Wiser is given",
        "energy-etl may now read the locations, sites, rooms and devices of the account "
        f"“{settings.account}”, until the consent is revoked at Schneider Electric.",
    )
    return _consent_of(settings, token)


def _redeem(
    settings: WiserSettings,
    auth: AuthorizationCodeAuth,
    request: AuthorizationRequest,
    query: str,
) -> Token:
    return auth.redeem(
        request.code_of(query),
        redirect_uri=request.redirect_uri,
        verifier=request.verifier,
        limits=settings.limits,
    )


def _consent_of(settings: WiserSettings, token: Token | None) -> Consent:
    if token is None:
        return Consent(settings.account, "none")
    is_over = token.refresh_token is None and token.expires_at_s <= datetime.now(UTC).timestamp()
    is_ended = token.ended_at_s is not None
    return Consent(
        settings.account,
        "ended" if is_ended or is_over else "authorised",
        authorised_at=_instant(token.authorised_at_s),
        access_until_at=None if is_ended else _instant(token.expires_at_s),
        ended_at=_instant(token.ended_at_s),
        is_renewable=token.refresh_token is not None,
    )


def _instant(at_s: float | None) -> datetime | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC)
