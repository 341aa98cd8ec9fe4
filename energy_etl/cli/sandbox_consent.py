"""Gives the sandbox's consent as a person would, for the demo and for tests.

The page is asked for, its form is filled in as it stands there and sent; nothing of the sandbox is
known but that its button says "Allow".
"""

import sys
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlencode, urljoin, urlsplit

from energy_etl.errors import (
    ConfigurationError,
    EnergyEtlError,
    MalformedError,
    UnavailableError,
)
from energy_etl.rest.failures import is_loopback
from energy_etl.settings import Settings
from energy_etl.vendors.wiser.consent import Consent, authorize_by_paste
from energy_etl.vendors.wiser.settings import WiserSettings

_ANSWER_S: Final = 30.0
_RESTART: Final = "stop what answers there, then run `energy-etl sandbox`."


def grant_sandbox_consent(settings: Settings) -> Consent:
    """Authorise the Wiser account at the sandbox, without anybody at a browser.

    Args:
        settings: of the project, with the sandbox's URL in effect; the sandbox must be running.

    Raises:
        ConfigurationError: the target is not the sandbox, or Wiser's address is another one.
        UnavailableError: the sandbox does not answer.
        MalformedError: it shows something else than its page.
    """
    if settings.target != "sandbox":
        raise ConfigurationError(
            "Consent is given without a person on the sandbox only: run `energy-etl wiser "
            "authorize`."
        )
    section = settings.section(WiserSettings)
    host = urlsplit(section.base_url).hostname or ""
    if not is_loopback(host):
        raise ConfigurationError(
            f"{host} is asked for no consent on the target sandbox: remove wiser.base_url from the "
            "settings, or set ENERGY_ETL_TARGET=live."
        )
    return authorize_by_paste(section, settings.token_dir, ask=allow)


def try_sandbox_consent(settings: Settings) -> None:
    """Do so; where it fails that is told, and all but Wiser goes on.

    It fails on credentials of the real Wiser that somebody set before the target.
    """
    try:
        grant_sandbox_consent(settings)
    except EnergyEtlError as error:
        print(f"energy-etl: {error}", file=sys.stderr, flush=True)


def allow(url: str) -> str:
    """Open an authorisation page, press Allow, and return the address that this leads to."""
    _, _, page = _exchange(url)
    form = _Form()
    form.feed(page)
    if not form.has_allow:
        raise MalformedError(
            f"{url.partition('?')[0]} shows no page with a button Allow: unset what is set for "
            "Wiser, or set ENERGY_ETL_TARGET=live; when another program answers there, stop it."
        )
    status, location, _ = _exchange(urljoin(url, form.action), urlencode(form.fields).encode())
    if status not in (302, 303) or not location:
        raise MalformedError(
            f"{url.partition('?')[0]} answered {status} to Allow, and no redirect: {_RESTART}"
        )
    return location


class _Form(HTMLParser):
    """The page's form: its action, its hidden fields, and the button that allows."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.has_allow = False
        self._button: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = given.get("action", "")
        elif tag == "input" and given.get("type") == "hidden":
            self.fields[given.get("name", "")] = given.get("value", "")
        elif tag == "button":
            self._button = given

    def handle_data(self, data: str) -> None:
        if self._button is not None and data.strip() == "Allow":
            self.fields[self._button.get("name", "")] = self._button.get("value", "")
            self.has_allow = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "button":
            self._button = None


def _exchange(url: str, form: bytes | None = None) -> tuple[int, str, str]:
    """GET, or POST a form; returns status, Location and text. Redirects are not followed."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_S)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("POST" if form else "GET", target, form, headers)
        answer = connection.getresponse()
        # Whatever answers there: what is no text has no button either.
        text = answer.read().decode("utf-8", "replace")
        return answer.status, answer.getheader("Location", ""), text
    except (OSError, HTTPException) as error:
        raise UnavailableError(
            f"The sandbox cannot be asked at {url.partition('?')[0]} ({error}): "
            "start it with `energy-etl sandbox`."
        ) from None
    finally:
        connection.close()
