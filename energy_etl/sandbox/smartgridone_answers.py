"""How SmartgridOne answers: its error body, its messages, and how a JSON body is read strictly.

Both hosts (authentication and API) share one error body, `{"statusCode", "error", "message"}`; a
429 adds `retryAfter` in seconds. What the endpoints do is in the other `smartgridone_*` modules.
"""

import math
from typing import Any

import msgspec
from starlette.responses import Response

BAD_REQUEST = "Missing or misformatted query parameter or body"
_MESSAGES = {
    400: BAD_REQUEST,
    401: "Failed to verify token",
    403: "User does not have sufficient rights",
    404: "Resource not found",
    # The pages name the statuses below without their words: modelled.
    412: "The device was updated after the specified time",
    422: "The request cannot be processed as it is",
    429: "Rate limit exceeded",
}
_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    412: "Precondition Failed",
    422: "Unprocessable Entity",
    429: "Too many requests",
    500: "Internal server error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class RefusedError(Exception):
    """A call that is answered with an error status."""

    def __init__(
        self, status: int, message: str | None = None, *, retry_after_s: float | None = None
    ) -> None:
        """Refuse with the status' own message unless another is given."""
        super().__init__(message or _MESSAGES.get(status, _REASONS.get(status, "Error")))
        self.status, self.retry_after_s = status, retry_after_s

    def response(self, **headers: str) -> Response:
        """Return the answer; `retryAfter` is a whole number of seconds, at least 1."""
        body = {
            "statusCode": self.status,
            "error": _REASONS.get(self.status, "Error"),
            "message": str(self),
        }
        if self.retry_after_s is not None:
            body["retryAfter"] = int(self.wait_text())
        return answer(body, self.status, headers)

    def wait_text(self) -> str:
        """Return the wait in whole seconds that are never too short."""
        return str(max(1, math.ceil(self.retry_after_s or 0.0)))


def answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response."""
    raw = msgspec.json.encode(body)
    return Response(raw, status, headers=headers, media_type="application/json")


def read_json(body: bytes) -> Any:
    """Return a body's JSON; anything else is a 400."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400) from error


def read_object(
    body: bytes, required: frozenset[str], optional: frozenset[str] = frozenset()
) -> dict:
    """Return a JSON object with exactly the required keys and some of the optional ones, or 400."""
    content = read_json(body)
    if not isinstance(content, dict):
        raise RefusedError(400)
    if not required <= set(content) <= required | optional:
        raise RefusedError(400)
    return content


def text_of(content: dict, key: str, longest: int | None = None) -> str:
    """Return a text of 1 to `longest` characters, or 400."""
    text = content[key]
    if not isinstance(text, str) or not text or (longest is not None and len(text) > longest):
        raise RefusedError(400)
    return text


def boolean_of(text: str | None, default: bool = False) -> bool:
    """Return a query parameter that is `true` or `false`, or 400."""
    if text is None:
        return default
    if text not in ("true", "false"):
        raise RefusedError(400)
    return text == "true"
