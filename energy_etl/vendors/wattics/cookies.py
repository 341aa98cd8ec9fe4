"""The cookies of one session at one host, as RFC 6265 has browsers keep them (5.2 to 5.4).

A cookie is kept when it is for the one URL that the session calls, so all that are kept are sent.
The line is made when a cookie changes, not for each packet. The standard library's jar wants
request objects of its own, and its parser refuses a whole line for an attribute that it has not
heard of.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult

# What RFC 6265 (6.1) asks browsers to hold: a session that gets more is none to be held.
_MAX_COOKIES: Final = 50
_MAX_COOKIE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class _Cookie:
    value: bytes
    ends_s: float


class CookieJar:
    """What a host asked to be told again; times are of one monotonic clock."""

    def __init__(self, url: SplitResult) -> None:
        """Begin empty.

        Args:
            url: the only one that is called.
        """
        self._host = (url.hostname or "").encode()
        self._path = url.path.encode()
        self._is_secure = url.scheme == "https"
        self._cookies: dict[tuple[bytes, bytes], _Cookie] = {}
        self._header = b""
        # When the next cookie ends.
        self._stale_s = math.inf

    def header(self, now_s: float) -> bytes:
        """Return the line of a request's head that has the cookies; empty: there are none."""
        if now_s >= self._stale_s:
            self._render(now_s)
        return self._header

    def take(self, line: bytes, now_s: float) -> None:
        """Keep, replace or forget what one `Set-Cookie` says; what cannot be read is passed over.

        Args:
            line: the header's value.
            now_s: when it came.
        """
        pair, *given = line.split(b";")
        name, equals, value = (part.strip(b" \t") for part in pair.partition(b"="))
        is_unfit = not name or not equals or len(pair) > _MAX_COOKIE_BYTES
        if is_unfit or any(byte < 0x20 or byte == 0x7F for byte in pair):
            return
        attributes: dict[bytes, bytes] = {}
        for each in given:
            key, _, text = (part.strip(b" \t") for part in each.partition(b"="))
            attributes[key.lower()] = text
        path = attributes.get(b"path", b"")
        if not path.startswith(b"/"):
            path = self._path[: self._path.rfind(b"/")] or b"/"
        if not self._is_for_us(path, attributes):
            return
        self._cookies[name, path] = _Cookie(value, now_s + _seconds_left(attributes))
        if len(self._cookies) > _MAX_COOKIES:
            del self._cookies[next(iter(self._cookies))]
        self._render(now_s)

    def _render(self, now_s: float) -> None:
        """Forget what has ended, and make the line anew."""
        self._cookies = {key: c for key, c in self._cookies.items() if c.ends_s > now_s}
        self._stale_s = min((c.ends_s for c in self._cookies.values()), default=math.inf)
        # Longer paths first, then the older cookie.
        ordered = sorted(self._cookies.items(), key=lambda item: -len(item[0][1]))
        pairs = b"; ".join(b"%b=%b" % (name, c.value) for (name, _), c in ordered)
        self._header = b"Cookie: %b\r\n" % pairs if pairs else b""

    def _is_for_us(self, path: bytes, attributes: dict[bytes, bytes]) -> bool:
        if b"secure" in attributes and not self._is_secure:
            return False
        domain = attributes.get(b"domain", b"").lower().removeprefix(b".")
        if domain not in (b"", self._host) and (
            _is_address(self._host) or not self._host.endswith(b"." + domain)
        ):
            return False
        # RFC 6265, 5.1.4: the path itself, or one above it.
        return self._path == path or self._path.startswith(path.removesuffix(b"/") + b"/")


def _is_address(host: bytes) -> bool:
    try:
        ip_address(host.decode())
    except ValueError:
        return False
    return True


def _seconds_left(attributes: dict[bytes, bytes]) -> float:
    """How long a cookie is good for; Max-Age comes before Expires; none: as long as the session."""
    max_age = attributes.get(b"max-age", b"")
    if max_age.removeprefix(b"-").isdigit():
        return float(max_age)
    try:
        ends_at = parsedate_to_datetime(attributes.get(b"expires", b"").decode("latin-1"))
    except ValueError:
        return math.inf
    return (ends_at.replace(tzinfo=ends_at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
