"""How requests are signed or given a token: one `httpx.Auth` class per way of logging in.

    renewal.py             RenewedTokenAuth: what all bearer tokens share (one renewal at a time)
    client_credentials.py  ClientCredentialsAuth: OAuth2 client credentials (RFC 6749, section 4.4)
    hmac_sha512.py         HmacSha512Auth: a signature over method, path, query, body, time stamp
    login.py               LoginAuth: username and password, refresh token, access token
    bare_token.py          BareTokenAuth: the token alone, as it is
    authorization_code.py  AuthorizationCodeAuth: the token of a consent that a person gave
    authorization_request.py, loopback.py   how that consent is asked for and comes back
    BasicAuth              httpx's own, as it is

Sizes and deadlines of the token calls are those of the transport they run on (`rest/`); tokens are
kept by `tokens.py`. Which class a vendor needs is the vendor's business.
"""

from httpx import BasicAuth

from energy_etl.auth.authorization_code import AuthorizationCodeAuth
from energy_etl.auth.bare_token import BareTokenAuth
from energy_etl.auth.client_credentials import ClientCredentialsAuth
from energy_etl.auth.hmac_sha512 import HmacSha512Auth, sign_hmac_sha512
from energy_etl.auth.login import LoginAuth
from energy_etl.auth.renewal import DEFAULT_LIFETIME_S, RenewedTokenAuth

__all__ = [
    "DEFAULT_LIFETIME_S",
    "AuthorizationCodeAuth",
    "BareTokenAuth",
    "BasicAuth",
    "ClientCredentialsAuth",
    "HmacSha512Auth",
    "LoginAuth",
    "RenewedTokenAuth",
    "sign_hmac_sha512",
]
