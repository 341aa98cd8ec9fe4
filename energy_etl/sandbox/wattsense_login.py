"""Who calls the sandbox's Wattsense: the HMAC signature over what was sent, or Basic."""

import base64
import hashlib
import hmac
import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.access import Credentials, basic_credentials
from energy_etl.sandbox.wattsense_people import Holder, People

CLOCK_TOLERANCE_S = 300
# As many fit into 64 bits.
MAX_DIGITS = 18


def answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response."""
    raw = msgspec.json.encode(body)
    return Response(raw, status, headers=headers, media_type="application/json")


def error(status: int, message: str, **headers: str) -> Response:
    """Return an error in the shape this sandbox gives Wattsense's errors."""
    return answer({"message": message, "status": status}, status, headers)


def sign(secret: str, method: str, raw_path: str, query: str, body: bytes, stamp: str) -> str:
    """Return the signature over the parts that are present, joined by one line feed."""
    parts = [method.upper().encode(), raw_path.encode(), query.encode(), body, stamp.encode()]
    message = b"\n".join(part for part in parts if part)
    return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha512).digest()).decode()


class Login:
    """Knows the credentials and whose they are."""

    def __init__(self, credentials: Credentials, people: People) -> None:
        """Let in the holders of `credentials`."""
        self._known, self._people = credentials, people

    def caller(self, request: Request, raw_path: str, body: bytes) -> Response | Holder:
        """Return who calls, or the answer that refuses the call."""
        header = request.headers.get("x-api-auth")
        if header is None:
            return self._by_basic(request)
        key, _, signature = header.partition(":")
        stamp = request.headers.get("x-api-timestamp", "")
        if key not in self._known.wattsense_keys:
            return error(401, "Unknown API key.")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= MAX_DIGITS):
            return error(401, "X-API-Timestamp is missing or not epoch milliseconds.")
        if abs(time.time() - int(stamp) / 1000.0) > CLOCK_TOLERANCE_S:
            return error(401, "X-API-Timestamp is more than 300 seconds away from our clock.")
        query = request.scope.get("query_string", b"").decode("latin-1")
        expected = sign(
            self._known.wattsense_keys[key], request.method, raw_path, query, body, stamp
        )
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            return error(401, "The signature does not match.")
        return self._people.holder_of_key(key)

    def _by_basic(self, request: Request) -> Response | Holder:
        user, password = basic_credentials(request.headers.get("authorization", ""))
        if user in self._known.wattsense_service_accounts:
            expected, is_basic_on = self._known.wattsense_service_accounts[user]
            if password != expected:
                return error(401, "Wrong user or password.")
            if not is_basic_on:
                return error(401, "Basic authentication is off for this service account.")
            return self._people.holder_of_login(user)
        if user and self._known.wattsense_users.get(user) == password:
            return self._people.holder_of_login(user)
        message = "Wrong user or password." if user else "Authentication is required."
        return error(401, message)
