"""The cookies of one session, against the rules of RFC 6265."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlsplit

import pytest

from energy_etl.vendors.wattics.cookies import CookieJar

URL = "https://web-collector.wattics.com/measurements/v2/unifiedjson/"


def sent(*lines: bytes, url: str = URL, later_s: float = 0.0) -> bytes:
    """Return what is sent back after these lines."""
    jar = CookieJar(urlsplit(url))
    for line in lines:
        jar.take(line, 100.0)
    return jar.header(100.0 + later_s).removeprefix(b"Cookie: ").removesuffix(b"\r\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b"JSESSIONID=0a1b; Path=/; HttpOnly; Secure; SameSite=Lax; Partitioned",
            b"JSESSIONID=0a1b",
        ),
        (b"a=b", b"a=b"),
        (b'a="b c"; path=/measurements', b'a="b c"'),
        (b"a={x:1}; Path=/measurements/v2/unifiedjson/", b"a={x:1}"),
        (b"a=b; Path=relative", b"a=b"),
        (b"a=b; Path=/measure", b""),
        (b"a=b; Path=/measurements/v2/unifiedjson/deeper", b""),
        (b"a=b; Domain=wattics.com", b"a=b"),
        (b"a=b; Domain=.Web-Collector.wattics.com", b"a=b"),
        (b"a=b; Domain=other.com", b""),
        (b"a=b; Domain=collector.wattics.com", b""),
        (b"no pair", b""),
        (b"=b", b""),
        (b"a=b\x0b", b""),
        (b"a=" + b"x" * 5000, b""),
        (b"a=b; Max-Age=0", b""),
        (b"a=b; Max-Age=-1", b""),
        (b"a=b; Max-Age=soon", b"a=b"),
        (b"a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT", b""),
        (b"a=b; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=60", b"a=b"),
        (b"a=b; Expires=never", b"a=b"),
        (b"a=", b"a="),
    ],
)
def test_cookie_is_kept_when_it_is_for_the_session(line: bytes, expected: bytes) -> None:
    assert sent(line) == expected


def test_secure_cookie_is_not_sent_in_the_clear() -> None:
    url = "http://127.0.0.1:8080/x/"
    assert sent(b"a=b; Secure", url=url) == b""
    # No domain has an address for a part.
    assert sent(b"c=d; Domain=0.0.1", url=url) == b""


def test_cookie_that_comes_again_replaces_the_old_one_in_its_place() -> None:
    assert sent(b"a=1; Path=/", b"b=1; Path=/", b"a=2; Path=/") == b"a=2; b=1"


def test_cookie_of_the_longer_path_stands_first() -> None:
    assert sent(b"a=1; Path=/", b"a=2; Path=/measurements/") == b"a=2; a=1"


def test_cookie_is_forgotten_on_demand() -> None:
    assert sent(b"a=1; Path=/", b"b=1; Path=/", b"a=; Path=/; Max-Age=0") == b"b=1"


def test_cookie_ends_by_itself() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True).encode()
    lines = (b"a=1; Max-Age=20", b"b=1; Expires=" + later, b"c=1")
    assert sent(*lines) == b"a=1; b=1; c=1"
    assert sent(*lines, later_s=25) == b"b=1; c=1"
    assert sent(*lines, later_s=35) == b"c=1"


def test_flood_of_cookies_is_bounded() -> None:
    lines = (b"n%d=1" % number for number in range(200))
    assert sent(*lines).count(b"=") == 50
