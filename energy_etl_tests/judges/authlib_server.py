"""An authorisation server made of Authlib's, on loopback: codes, PKCE, rotation, reuse detection.

What RFC 6749 and RFC 7636 say is Authlib's own code; here are its storage and its HTTP. A refresh
token that comes a second time ends every token of its consent (RFC 9700, section 4.14.2).
"""

import json
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from authlib.common.security import generate_token
from authlib.oauth2.rfc6749 import (
    AuthorizationCodeMixin,
    AuthorizationServer,
    ClientMixin,
    OAuth2Error,
    OAuth2Request,
    TokenMixin,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge

CLIENT_ID = "judged-client"
CLIENT_SECRET = "judged-secret&=%"
SCOPES = ("read:site", "offline_access")
CUSTOMER = "the customer"


class _Client(ClientMixin):
    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> Any:
        return None

    def get_allowed_scope(self, scope: Any) -> str:
        return " ".join(name for name in scope.split() if name in SCOPES)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        parts = urlsplit(redirect_uri)
        return (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", "/callback")

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_post"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in ("authorization_code", "refresh_token")


@dataclass
class _Code(AuthorizationCodeMixin):
    code: str
    redirect_uri: str
    scope: str
    code_challenge: str | None
    code_challenge_method: str | None

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass
class _Token(TokenMixin):
    access_token: str
    refresh_token: str | None
    scope: str
    family: str
    end_s: float
    is_spent: bool = False

    def check_client(self, client: ClientMixin) -> bool:
        return isinstance(client, _Client)

    def get_scope(self) -> str:
        return self.scope


@dataclass
class _Books:
    """What the server remembers; one call at a time looks into it."""

    rotates: bool
    lifetime_s: int
    codes: dict[str, _Code] = field(default_factory=dict)
    tokens: list[_Token] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def by_refresh_token(self, refresh_token: str) -> _Token | None:
        return next((t for t in self.tokens if t.refresh_token == refresh_token), None)


def _code_grant(books: _Books) -> type[AuthorizationCodeGrant]:
    class Grant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]  # noqa: RUF012

        def save_authorization_code(self, code: str, request: Any) -> None:
            told = request.payload.data.get
            books.codes[code] = _Code(
                code,
                request.payload.redirect_uri,
                request.scope,
                told("code_challenge"),
                told("code_challenge_method"),
            )

        def query_authorization_code(self, code: str, client: Any) -> _Code | None:
            return books.codes.get(code)

        def delete_authorization_code(self, authorization_code: Any) -> None:
            del books.codes[authorization_code.code]

        def authenticate_user(self, authorization_code: Any) -> str:
            return CUSTOMER

    return Grant


def _refresh_grant(books: _Books) -> type[RefreshTokenGrant]:
    class Grant(RefreshTokenGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]  # noqa: RUF012
        INCLUDE_NEW_REFRESH_TOKEN = books.rotates

        def authenticate_refresh_token(self, refresh_token: str) -> Any:
            token = books.by_refresh_token(refresh_token)
            if token is not None and token.is_spent:
                books.ended.add(token.family)
            return None if token is None or token.family in books.ended else token

        def authenticate_user(self, refresh_token: Any) -> str:
            return CUSTOMER

        def revoke_old_credential(self, refresh_token: Any) -> None:
            refresh_token.is_spent = books.rotates

    return Grant


class _Core(AuthorizationServer):
    """Authlib's server with our storage; requests and answers are plain tuples."""

    def __init__(self, books: _Books) -> None:
        super().__init__(scopes_supported=list(SCOPES))
        self._books = books
        self.register_grant(_code_grant(books), [CodeChallenge(required=True)])
        self.register_grant(_refresh_grant(books))
        self.register_token_generator(
            "default",
            BearerTokenGenerator(
                access_token_generator=lambda **_: generate_token(42),
                refresh_token_generator=lambda **_: generate_token(48),
                expires_generator=lambda *_: books.lifetime_s,
            ),
        )

    def query_client(self, client_id: str) -> Any:
        return _Client() if client_id == CLIENT_ID else None

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        old = request.refresh_token
        self._books.tokens.append(
            _Token(
                token["access_token"],
                token.get("refresh_token"),
                token["scope"],
                old.family if old else generate_token(8),
                time.time() + token["expires_in"],
            )
        )

    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        if isinstance(request, OAuth2Request):
            return request
        method, target, headers, form = request
        # It wants https; the loopback of a test has none.
        made = _Request(method, f"https://judge{target}", headers=headers)
        made.payload = BasicOAuth2Payload(dict(parse_qsl(urlsplit(target).query)) | form)
        made.sent_form = form
        return made

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, bytes, Any]:
        raw = json.dumps(body) if isinstance(body, dict) else body
        return status, (raw or "").encode(), headers

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        pass


class _Request(OAuth2Request):
    sent_form: dict[str, str]

    @property
    def form(self) -> dict[str, str]:
        return self.sent_form

    @property
    def args(self) -> dict[str, Any]:
        return dict(parse_qsl(urlsplit(self.uri).query))


class AuthlibServer:
    """`with AuthlibServer() as judge`: authorize, token and one resource.

    Attributes:
        allows: how the customer decides; nobody is asked.
        calls: how often each endpoint was called.
        faults: (status, body) that the token endpoint answers next instead, before it looks.
    """

    def __init__(
        self, *, rotates: bool = True, lifetime_s: int = 3600, delay_s: float = 0.0
    ) -> None:
        self.allows = True
        self.calls: Counter[str] = Counter()
        self.faults: deque[tuple[int, bytes]] = deque()
        self.delay_s = delay_s
        self.books = _Books(rotates, lifetime_s)
        self._core: Any = _Core(self.books)
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.judge = self
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def is_consent_lost(self) -> bool:
        """True when a refresh token was used twice, or the customer took the consent back."""
        return bool(self.books.ended)

    def revoke(self) -> None:
        """Take back every consent."""
        self.books.ended |= {token.family for token in self.books.tokens}

    def end_access_tokens(self) -> None:
        """Let every access token expire now; the clients do not know it."""
        for token in self.books.tokens:
            token.end_s = 0.0

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, Any]:
        """Answer one call."""
        path = urlsplit(target).path
        name = path.rsplit("/", 1)[-1]
        with self.books.lock:
            self.calls[name] += 1
        if path.endswith("/oauth/token") and method == "POST":
            time.sleep(self.delay_s)
            if self.faults:
                status, told = self.faults.popleft()
                return status, told, []
            form = dict(parse_qsl(body.decode(), strict_parsing=True))
            with self.books.lock:
                return self._core.create_token_response((method, target, headers, form))
        if path.endswith("/oauth/authorize") and method == "GET":
            user = CUSTOMER if self.allows else None
            request = self._core.create_oauth2_request((method, target, headers, {}))
            with self.books.lock:
                try:
                    grant = self._core.get_consent_grant(request, CUSTOMER)
                except OAuth2Error as error:
                    return self._core.handle_error_response(request, error)
                return self._core.create_authorization_response(request, user, grant=grant)
        return self._resource(headers)

    def _resource(self, headers: dict[str, str]) -> tuple[int, bytes, Any]:
        scheme, _, access_token = headers.get("Authorization", "").partition(" ")
        with self.books.lock:
            good = any(
                token.access_token == access_token
                and token.end_s > time.time()
                and token.family not in self.books.ended
                for token in self.books.tokens
            )
        if scheme == "Bearer" and good:
            return 200, b"[]", []
        return 401, b'{"status": 401, "detail": "Access Token expired"}', []


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    judge: AuthlibServer


class _Handler(BaseHTTPRequestHandler):
    server: _Http  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, content, headers = self.server.judge.answer(
            self.command, self.path, dict(self.headers.items()), body
        )
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""
