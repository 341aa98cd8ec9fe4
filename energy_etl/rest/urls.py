"""URLs that cannot lead anywhere else: ids in a path, and a vendor's base address."""

from urllib.parse import quote

import httpx

from energy_etl.errors import ConfigurationError
from energy_etl.rest.failures import is_loopback


def build_path(template: str, **ids: str) -> str:
    """Fill a path template such as `/v1/devices/{device_id}` with percent-encoded ids.

    `.` and `..` become `%2E` and `%2E%2E`: anything between us and the vendor may resolve dots.

    Raises:
        ConfigurationError: an id is empty or cannot be encoded.
    """
    encoded: dict[str, str] = {}
    for name, value in ids.items():
        try:
            text = quote(value, safe="")
        except UnicodeEncodeError:
            text = ""
        if not text:
            raise ConfigurationError(
                f"The {name} {value!r} cannot stand in a URL: correct it in the portfolio."
            )
        encoded[name] = text.replace(".", "%2E") if set(text) == {"."} else text
    return template.format(**encoded)


def checked_base(setting: str, base_url: str) -> httpx.URL:
    """Return the base URL that a setting gives.

    Raises:
        ConfigurationError: it is no http(s) address, or would show the credential to others.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query:
        raise ConfigurationError(
            f"{setting} is no http(s) address without user and query: correct it in the settings."
        )
    if url.scheme == "http" and not is_loopback(url.host):
        raise ConfigurationError(
            f"{setting} is plain http to {url.host}, which would show the credential to "
            "everybody on the way: use https."
        )
    return url
