"""Wiser's consent: the page where a customer allows or denies, and the token endpoint behind it.

RFC 6749 with the page's own choices: client id and secret in the form only, access tokens of one
hour, codes good once. It leaves open, and this sandbox decides: refresh tokens rotate and a second
use of one ends the consent (both can be switched off), PKCE is verified when it is sent, `state` is
required. Tokens carry what they stand for under a seal, so that a consent outlives a restart of the
sandbox; they open nothing else.
"""

import base64
import hashlib
import hmac
import html
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

SCOPES = ("read:site", "offline_access")
READING_SCOPE = "read:site"
# What the sandbox's client registered: this address, at any port (RFC 8252, 7.3).
REDIRECT_HOST, REDIRECT_PATH = "127.0.0.1", "/callback"
ASKED_LIFETIME_S = 600.0
_SEAL_KEY = b"sandbox-wiser-seal"
# RFC 7636: 43 to 128 unreserved characters; S256 makes 43.
_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem;"
    "color:#1b1b1b;background:#fafafa}main{background:#fff;border:1px solid #ddd;"
    "border-radius:8px;padding:1.5rem 2rem}h1{font-size:1.3rem}button{font:inherit;"
    "padding:.6rem 1.6rem;margin:.5rem .5rem .5rem 0;border-radius:6px;border:1px solid #0a6b2d;"
    "cursor:pointer}button.allow{background:#0a6b2d;color:#fff}button.deny{background:#fff;"
    "color:#0a6b2d}p.small{color:#555;font-size:.9rem}"
)
_READS_AS = {
    "read:site": "see locations, sites, rooms and devices",
    "offline_access": "do so while you are away, until you take it back",
}


@dataclass(frozen=True)
class Grant:
    """What a customer allowed: to whom and what; `family` is one consent, through all renewals."""

    client_id: str
    scope: str
    family: str


@dataclass(frozen=True)
class _Asked:
    client_id: str
    redirect_uri: str
    scope: str
    state: str
    challenge: str
    end_s: float


@dataclass
class _Code:
    asked: _Asked
    grant: Grant
    end_s: float
    is_spent: bool = False


class ConsentError(Exception):
    """An access token that is not accepted; `is_expired` says that it was once."""

    def __init__(self, *, is_expired: bool) -> None:
        """Say whether it has ended or never was."""
        super().__init__()
        self.is_expired = is_expired


class Consents:
    """Who was allowed what; safe for one thread, as the sandbox is."""

    def __init__(
        self,
        clients: Mapping[str, str],
        places: Callable[[], dict[str, list[str]]],
        *,
        token_lifetime_s: float,
        code_lifetime_s: float,
        rotates: bool,
    ) -> None:
        """Ask for `places` (location -> names of its sites) for `clients` (id -> secret)."""
        self._clients, self._places = clients, places
        self._token_lifetime_s = token_lifetime_s
        self._code_lifetime_s = code_lifetime_s
        self.rotates = rotates
        self._asked: dict[str, _Asked] = {}
        self._codes: dict[str, _Code] = {}
        self._spent: set[str] = set()
        self._ended: set[str] = set()
        self._ended_before_s = 0.0

    def revoke_all(self) -> None:
        """Take back every consent that was given until now, as a customer may at any time."""
        self._ended_before_s = time.time()
        self._codes.clear()

    def granted(self, authorization: str) -> Grant:
        """Return what an `Authorization` header stands for.

        Raises:
            ConsentError: it has expired, was taken back, or never was a token.
        """
        scheme, _, token = authorization.partition(" ")
        facts = _opened("access", token) if scheme.lower() == "bearer" else None
        if facts is None or self._is_ended(facts):
            raise ConsentError(is_expired=False)
        if facts["end_s"] <= time.time():
            raise ConsentError(is_expired=True)
        return Grant(facts["client_id"], facts["scope"], facts["family"])

    # -- the page ----------------------------------------------------------------------------

    def authorize(self, request: Request, body: bytes) -> Response:
        """Show the page, or take the answer that was given on it."""
        if request.method == "GET":
            return self._ask(request.url.query)
        if request.method == "POST":
            form = dict(parse_qsl(body.decode("utf-8", "replace")))
            return self._decide(form.get("request", ""), form.get("decision", ""))
        return _page(405, "Not here", "<p>This page is opened in a browser.</p>")

    def _ask(self, query: str) -> Response:
        pairs = parse_qsl(query, keep_blank_values=True)
        given = dict(pairs)
        client_id, redirect_uri = given.get("client_id", ""), given.get("redirect_uri", "")
        # Nobody is sent to an address that the client did not register: RFC 6749, 4.1.2.1.
        if client_id not in self._clients:
            return _page(400, "Unknown application", "<p>Nobody registered this client_id.</p>")
        if not is_registered(redirect_uri):
            text = "<p>The redirect_uri is not one that this application registered.</p>"
            return _page(400, "Wrong address", text)
        error = _fault_of(given, is_told_twice=len(given) < len(pairs))
        if error:
            name, description = error
            facts = {"error": name, "error_description": description}
            return _redirect(redirect_uri, facts, given.get("state", ""))
        asked = _Asked(
            client_id,
            redirect_uri,
            given["scope"],
            given["state"],
            given.get("code_challenge", ""),
            time.time() + ASKED_LIFETIME_S,
        )
        ticket = secrets.token_urlsafe(24)
        now_s = time.time()
        self._asked = {key: each for key, each in self._asked.items() if each.end_s > now_s}
        self._asked[ticket] = asked
        return self._form(asked, ticket)

    def _form(self, asked: _Asked, ticket: str) -> Response:
        scopes = "".join(
            f"<li>{html.escape(_READS_AS[name])} (<code>{html.escape(name)}</code>)</li>"
            for name in asked.scope.split()
        )
        places = "".join(
            f"<li>{html.escape(location)}: {html.escape(', '.join(sites) or 'no site yet')}</li>"
            for location, sites in self._places().items()
        )
        text = (
            f"<p><strong>{html.escape(asked.client_id)}</strong> asks to</p><ul>{scopes}</ul>"
            f"<p>of your locations:</p><ul>{places}</ul>"
            # Without the query: what was asked is kept under the ticket.
            '<form method="post" action="authorize">'
            f'<input type="hidden" name="request" value="{html.escape(ticket)}">'
            '<button class="allow" id="allow" name="decision" value="allow">Allow</button>'
            '<button class="deny" id="deny" name="decision" value="deny">Deny</button></form>'
            '<p class="small">You are taken back to the application either way.</p>'
        )
        target = urlsplit(asked.redirect_uri)
        # Browsers hold a form's redirect against form-action too.
        return _page(200, "Wiser (sandbox)", text, f"'self' {target.scheme}://{target.netloc}")

    def _decide(self, ticket: str, decision: str) -> Response:
        asked = self._asked.get(ticket)
        if asked is None or asked.end_s <= time.time() or decision not in ("allow", "deny"):
            text = "<p>This request has ended. Start again from the application.</p>"
            return _page(400, "Too late", text)
        del self._asked[ticket]
        if decision == "deny":
            facts = {"error": "access_denied", "error_description": "The customer denied access."}
            return _redirect(asked.redirect_uri, facts, asked.state)
        code = secrets.token_urlsafe(24)
        grant = Grant(asked.client_id, asked.scope, secrets.token_hex(8))
        self._codes[code] = _Code(asked, grant, time.time() + self._code_lifetime_s)
        return _redirect(asked.redirect_uri, {"code": code}, asked.state)

    # -- tokens ------------------------------------------------------------------------------

    def token(self, request: Request, body: bytes) -> Response:
        """Exchange a code, or renew; errors are those of RFC 6749, section 5.2."""
        if request.method != "POST":
            return _refused(405, "invalid_request", "Use POST.", Allow="POST")
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/x-www-form-urlencoded":
            return _refused(400, "invalid_request", "The body must be form-encoded.")
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        form = dict(pairs)
        if len(form) < len(pairs):
            return _refused(400, "invalid_request", "A parameter is told twice.")
        if "authorization" in request.headers:
            text = "Send client_id and client_secret in the form, not in a header."
            return _refused(401, "invalid_client", text, **{"WWW-Authenticate": "Basic"})
        secret = self._clients.get(form.get("client_id", ""))
        given = form.get("client_secret", "")
        if secret is None or not secrets.compare_digest(secret.encode(), given.encode()):
            return _refused(401, "invalid_client", "Client authentication failed.")
        match form.get("grant_type"):
            case "authorization_code":
                return self._exchange(form)
            case "refresh_token":
                return self._renew(form)
        text = "Use authorization_code or refresh_token."
        return _refused(400, "unsupported_grant_type", text)

    def _exchange(self, form: Mapping[str, str]) -> Response:
        code = self._codes.get(form.get("code", ""))
        if code is None or code.asked.client_id != form["client_id"]:
            return _refused(400, "invalid_grant", "The code is not known.")
        if code.is_spent:
            # RFC 6749, 4.1.2: somebody else may hold the first use's tokens.
            self._ended.add(code.grant.family)
            return _refused(400, "invalid_grant", "The code was used before.")
        code.is_spent = True
        if code.end_s <= time.time():
            return _refused(400, "invalid_grant", "The code has expired.")
        if form.get("redirect_uri") != code.asked.redirect_uri:
            return _refused(400, "invalid_grant", "The redirect_uri is not the authorized one.")
        verifier = form.get("code_verifier", "")
        if (challenge_of(verifier) if verifier else "") != code.asked.challenge:
            return _refused(400, "invalid_grant", "The code_verifier does not fit.")
        return self._issued(code.grant, with_refresh=True)

    def _renew(self, form: Mapping[str, str]) -> Response:
        facts = _opened("refresh", form.get("refresh_token", ""))
        if facts is None or facts["client_id"] != form["client_id"] or self._is_ended(facts):
            return _refused(400, "invalid_grant", "The refresh token is not valid any more.")
        if not set(form.get("scope", "").split()) <= set(facts["scope"].split()):
            return _refused(400, "invalid_scope", "More than the customer allowed.")
        if facts["id"] in self._spent:
            # RFC 9700, 4.14: it was stolen from one of the two who used it.
            self._ended.add(facts["family"])
            return _refused(400, "invalid_grant", "The refresh token was used before.")
        if self.rotates:
            self._spent.add(facts["id"])
        grant = Grant(facts["client_id"], facts["scope"], facts["family"])
        return self._issued(grant, with_refresh=self.rotates)

    def _issued(self, grant: Grant, *, with_refresh: bool) -> Response:
        answer = {
            "access_token": self._sealed("access", grant, self._token_lifetime_s),
            "token_type": "Bearer",
            "expires_in": int(self._token_lifetime_s),
            "scope": grant.scope,
        }
        if with_refresh:
            answer["refresh_token"] = self._sealed("refresh", grant, 0.0)
        return _json(answer, 200)

    def _sealed(self, kind: str, grant: Grant, lifetime_s: float) -> str:
        now_s = time.time()
        facts = {
            "client_id": grant.client_id,
            "scope": grant.scope,
            "family": grant.family,
            "id": secrets.token_hex(8),
            "issued_s": now_s,
            "end_s": now_s + lifetime_s,
        }
        text = base64.urlsafe_b64encode(msgspec.json.encode(facts)).decode().rstrip("=")
        return f"{text}.{_seal(kind, text)}"

    def _is_ended(self, facts: Mapping) -> bool:
        is_gone = facts["client_id"] not in self._clients or facts["family"] in self._ended
        return is_gone or facts["issued_s"] <= self._ended_before_s


def is_registered(redirect_uri: str) -> bool:
    """Return True for the address that the sandbox's client registered, at any port."""
    try:
        port = urlsplit(redirect_uri).port
    except ValueError:
        return False
    # The literal address as it stands: no user before it, nothing behind it.
    host = REDIRECT_HOST if port is None else f"{REDIRECT_HOST}:{port}"
    return redirect_uri == f"http://{host}{REDIRECT_PATH}"


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636, 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _fault_of(given: Mapping[str, str], *, is_told_twice: bool) -> tuple[str, str] | None:
    """Return error and description of an authorization request, None when it is right."""
    if is_told_twice:
        return "invalid_request", "A parameter is told twice."
    if given.get("response_type") != "code":
        return "unsupported_response_type", "response_type must be code."
    if not given.get("state"):
        return "invalid_request", "state is missing."
    scopes = given.get("scope", "").split()
    if not scopes or not set(scopes) <= set(SCOPES):
        return "invalid_scope", f"scope must be of {' '.join(SCOPES)}."
    challenge, method = given.get("code_challenge", ""), given.get("code_challenge_method", "")
    if challenge and (method != "S256" or not _CHALLENGE.fullmatch(challenge)):
        return "invalid_request", "code_challenge must be one of method S256."
    if method and not challenge:
        return "invalid_request", "code_challenge is missing."
    return None


def _redirect(redirect_uri: str, facts: Mapping[str, str], state: str) -> Response:
    answer = {**facts, **({"state": state} if state else {})}
    location = f"{redirect_uri}?{urlencode(answer)}"
    headers = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response(b"", 302, headers=headers)


def _page(status: int, title: str, text: str, form_action: str = "'none'") -> Response:
    """Return a page of HTML; `text` is escaped already. Nothing is loaded from elsewhere."""
    document = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{title}</h1>{text}</main></body></html>"
    )
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {form_action}"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(document, status, headers=headers, media_type="text/html")


def _json(body: object, status: int, **headers: str) -> Response:
    raw = msgspec.json.encode(body)
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"} | headers
    return Response(raw, status, headers=headers, media_type="application/json")


def _refused(status: int, error: str, description: str, **headers: str) -> Response:
    return _json({"error": error, "error_description": description}, status, **headers)


def _seal(kind: str, text: str) -> str:
    return hmac.new(_SEAL_KEY, f"{kind}.{text}".encode(), hashlib.sha256).hexdigest()


def _opened(kind: str, token: str) -> dict | None:
    """Return what a token says, None when it is none of ours."""
    text, _, seal = token.partition(".")
    if not secrets.compare_digest(_seal(kind, text).encode(), seal.encode()):
        return None
    return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
