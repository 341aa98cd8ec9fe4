"""A token endpoint that answers what it is told, and an account that uses it."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
from pydantic import SecretStr

from energy_etl.auth import AuthorizationCodeAuth
from energy_etl.rest import Limits, RequestLog, RestClient
from energy_etl.tokens import Token, TokenStore

NOW_S = 1_800_000_000.0
SECRET = "canary-secret"
LIMITS = Limits(answer_s=0.5, total_s=5.0, backoff_s=0.01)


class Endpoint:
    """A token endpoint that answers what it is told, and one resource.

    Attributes:
        answers: of the token endpoint, in this order; None: it falls silent.
        forms: what it was sent.
        good: the access tokens that the resource takes.
    """

    def __init__(self, port: int = 0) -> None:
        self.answers: deque[tuple[int, bytes, dict[str, str]] | None] = deque()
        self.forms: list[dict[str, str]] = []
        self.good: set[str] = set()
        self.n_resource = 0
        self.before_answer: list[Any] = []
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.endpoint = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answers_token(self, **members: Any) -> None:
        self.good.add(str(members.get("access_token")))
        self.answers.append((200, json.dumps(members).encode(), {}))

    def answers_error(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.answers.append((status, body, headers))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    endpoint: Endpoint

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        endpoint = self.server.endpoint
        form = {name: only for name, (only,) in parse_qs(body, strict_parsing=True).items()}
        endpoint.forms.append(form)
        while endpoint.before_answer:
            endpoint.before_answer.pop()()
        answer = endpoint.answers.popleft()
        if answer is None:
            self.rfile.read(1)  # until the client gives up
            return
        self._answer(*answer)

    def do_GET(self) -> None:
        self.server.endpoint.n_resource += 1
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        is_good = token in self.server.endpoint.good
        self._answer(200 if is_good else 401, b"[]", {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


class Consented:
    """An account with a stored consent, a clock, and a client that uses it."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        token_url: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.now_s = NOW_S
        self.store = TokenStore(folder)
        self.auth = AuthorizationCodeAuth(
            token_url or f"{url}/token",
            "client",
            SecretStr(SECRET),
            self.store,
            vendor="acme",
            account="Rossi",
            default_lifetime_s=3600.0,
            now_s=lambda: self.now_s,
        )
        self.log = RequestLog("acme")
        self.rest = RestClient(
            vendor="acme",
            base_url=url,
            log=self.log,
            auth=self.auth,
            limits=LIMITS,
            secrets=[SECRET],
            sleep=sleep,
        )

    @property
    def stored(self) -> Token:
        token = self.auth.consent()
        assert token is not None
        return token

    def give(self, endpoint: Endpoint, **members: Any) -> Token:
        """Redeem a code, as `authorize` does."""
        endpoint.answers_token(**{"access_token": "access-1", "expires_in": 3600, **members})
        token = self.auth.redeem("code", redirect_uri="http://x/", verifier="v", limits=LIMITS)
        endpoint.forms.clear()
        return token

    def expire(self) -> None:
        self.now_s = self.stored.expires_at_s + 1

    def write(self, **changes: Any) -> None:
        """Change what is stored, as another host would."""
        key = (str(self.auth._token_url), "client", "Rossi")
        self.store.write(msgspec.structs.replace(self.stored, **changes), *key)

    def ask(self) -> int:
        return self.rest.get("things", "/things").status
