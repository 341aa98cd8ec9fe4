"""HMAC-SHA512 over the request as it is sent (Wattsense's API pages)."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Generator

import httpx
from pydantic import SecretStr


class HmacSha512Auth(httpx.Auth):
    """`X-API-Auth: <key>:<base64(HMAC-SHA512(secret, message))>` beside `X-API-Timestamp`.

    The message is method, path, query, body and time stamp joined by one newline, absent ones left
    out. It is made from the prepared request, anew for each one that is sent.
    """

    requires_request_body = True

    def __init__(
        self,
        api_key: str,
        api_secret: SecretStr,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Sign with this key and secret."""
        self._api_key = api_key
        self._api_secret = api_secret
        self._now_s = now_s

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign and send once."""
        timestamp_ms = str(int(self._now_s() * 1000))
        signature = sign_hmac_sha512(
            self._api_secret.get_secret_value().encode(),
            request.method,
            request.url.raw_path,
            request.content,
            timestamp_ms,
        )
        request.headers["X-API-Auth"] = f"{self._api_key}:{signature}"
        request.headers["X-API-Timestamp"] = timestamp_ms
        yield request


def sign_hmac_sha512(
    secret: bytes, method: str, raw_path: bytes, body: bytes, timestamp_ms: str
) -> str:
    """Return the signature of a request; `raw_path` is path and query exactly as sent."""
    path, _, query = raw_path.partition(b"?")
    items = [method.upper().encode(), path, query, body, timestamp_ms.encode()]
    message = b"\n".join(item for item in items if item)
    return base64.b64encode(hmac.new(secret, message, hashlib.sha512).digest()).decode()
