"""Consents of the sandbox's customer: given by browser and by paste, denied, late, looked at."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import ValidationError

from energy_etl.auth.loopback import LoopbackListener
from energy_etl.cli.sandbox_consent import allow
from energy_etl.errors import (
    AuthenticationError,
    ConfigurationError,
)
from energy_etl.sandbox import SandboxServer
from energy_etl.vendors.wiser.consent import (
    Consent,
    authorize,
    authorize_by_paste,
    build_auth,
    read_consent,
)
from energy_etl.vendors.wiser.settings import (
    API_PATH,
    WiserSettings,
    sandbox_section,
)
from energy_etl_tests.vendors.extracting import running_sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "tokens"


def section(url: str, **changes: Any) -> WiserSettings:
    return WiserSettings.model_validate(sandbox_section(url) | changes)


def browsing(**options: Any) -> httpx.Client:
    # Plain http: to load the certificates of the world takes longer than all of the rest.
    return httpx.Client(verify=False, timeout=30, **options)


def deny(url: str) -> str:
    """Press the page's other button."""
    with browsing() as browser:
        ticket = browser.get(url).text.partition('name="request" value="')[2].partition('"')[0]
        form = {"request": ticket, "decision": "deny"}
        return browser.post(url.partition("?")[0], data=form).headers["Location"]


class Browser:
    """Opens an address in the background, decides, and keeps the page it ends at."""

    def __init__(self, decide: Callable[[str], str]) -> None:
        self.page = ""
        self._decide = decide
        self._thread = threading.Thread()

    def open(self, url: str) -> None:
        self._thread = threading.Thread(target=self._run, args=(url,))
        self._thread.start()

    def _run(self, url: str) -> None:
        with browsing() as browser:
            self.page = browser.get(self._decide(url)).text

    def join(self) -> str:
        self._thread.join(30)
        return self.page


@pytest.mark.parametrize("uses_pkce", [True, False])
def test_customer_who_allows_gives_a_token_that_opens_the_api(
    sandbox: SandboxServer, folder: Path, uses_pkce: bool
) -> None:
    settings = section(sandbox.url, uses_pkce=uses_pkce)
    browser = Browser(allow)
    before = datetime.now(UTC)
    given = authorize(settings, folder, open_url=browser.open)
    assert given.state == "authorised"
    assert given.is_renewable
    assert given.authorised_at is not None
    assert given.access_until_at is not None
    assert before <= given.authorised_at <= datetime.now(UTC)
    assert timedelta(0) <= given.access_until_at - given.authorised_at <= timedelta(hours=1)
    assert read_consent(settings, folder) == given
    page = browser.join()
    assert "<h1>Access to Wiser is given</h1>" in page
    assert "the account “main”" in page
    with browsing(auth=build_auth(settings, folder)) as client:
        assert client.get(f"{settings.base_url}{API_PATH}/locations").status_code == 200


def test_customer_who_denies_is_told_and_nothing_is_stored(
    sandbox: SandboxServer, folder: Path
) -> None:
    browser = Browser(deny)
    with pytest.raises(AuthenticationError, match="Consent for the wiser account main was denied"):
        authorize(section(sandbox.url), folder, open_url=browser.open)
    page = browser.join()
    assert "<h1>Access to Wiser was not given</h1>" in page
    assert "It was denied, and nothing was stored." in page
    assert read_consent(section(sandbox.url), folder) == Consent("main", "none")
    assert not list(folder.glob("*.json"))


def test_code_that_the_vendor_refuses_is_shown_to_the_customer_too(
    sandbox: SandboxServer, folder: Path
) -> None:
    settings = section(sandbox.url, client_secret="canary-wrong")
    browser = Browser(allow)
    with pytest.raises(AuthenticationError, match=r"wiser\.client_secret"):
        authorize(settings, folder, open_url=browser.open)
    page = browser.join()
    assert "<h1>Access to Wiser was not given</h1>" in page
    assert "canary-wrong" not in page


def test_redirect_of_an_earlier_attempt_is_passed_over(
    sandbox: SandboxServer, folder: Path
) -> None:
    earlier: list[str] = []

    def older_first(url: str) -> str:
        target = allow(url)
        address = target.partition("?")[0]
        with browsing() as browser:
            earlier.append(browser.get(f"{address}?code=stolen&state=older").text)
        return target

    browser = Browser(older_first)
    assert authorize(section(sandbox.url), folder, open_url=browser.open).state == "authorised"
    browser.join()
    assert "This answer belongs to another attempt" in earlier[0]


def test_customer_who_does_not_answer_is_waited_for_until_the_deadline(
    sandbox: SandboxServer, folder: Path
) -> None:
    settings = section(sandbox.url, authorize_deadline_s=0.05)
    with pytest.raises(AuthenticationError, match=r"within 0\.05 s.*--paste"):
        authorize(settings, folder, open_url=lambda _: None)


def test_address_that_nobody_listens_at_is_for_pasting_only(
    sandbox: SandboxServer, folder: Path
) -> None:
    asked: list[str] = []
    settings = section(sandbox.url, redirect_uri="https://acme.example/done")
    with pytest.raises(ConfigurationError, match=r"wiser\.redirect_uri.*--paste"):
        authorize(settings, folder, open_url=asked.append)
    assert asked == []

    def paste(url: str) -> str:
        asked.append(parse_qs(urlsplit(url).query)["redirect_uri"][0])
        return ""

    with pytest.raises(AuthenticationError, match="no answer to this attempt"):
        authorize_by_paste(settings, folder, ask=paste)
    assert asked == ["https://acme.example/done"] * 3


def test_fixed_port_is_taken_and_named_when_it_is_in_use(
    sandbox: SandboxServer, folder: Path
) -> None:
    with LoopbackListener(0, vendor="wiser") as other:
        port = urlsplit(other.redirect_uri).port
        settings = section(sandbox.url, redirect_port=port)
        with pytest.raises(ConfigurationError, match=r"wiser\.redirect_port"):
            authorize(settings, folder, open_url=lambda _: None)


def test_pasted_address_counts_once_it_is_the_right_one(
    sandbox: SandboxServer, folder: Path
) -> None:
    pasted = iter(["http://127.0.0.1/callback?code=x&state=older", None])

    def paste(url: str) -> str:
        return next(pasted) or f"  {allow(url)}#_=_\n"

    settings = section(sandbox.url)
    assert authorize_by_paste(settings, folder, ask=paste).state == "authorised"


def test_missing_credential_is_told_with_both_variables(folder: Path) -> None:
    for given in ({"client_id": "x"}, {"client_secret": "x"}):
        with pytest.raises(ConfigurationError, match="ENERGY_ETL_WISER__CLIENT_ID and ENERGY_ETL"):
            read_consent(WiserSettings.model_validate(given), folder)


def test_settings_outside_their_bounds_are_refused() -> None:
    for wrong in ({"redirect_port": 65536}, {"authorize_deadline_s": 0}, {"account": ""}):
        with pytest.raises(ValidationError):
            WiserSettings.model_validate(wrong)


def test_live_is_the_default_and_nobody_is_hammered() -> None:
    settings = WiserSettings()
    assert settings.base_url == "https://api.exchange.se.com"
    assert settings.scope == "read:site offline_access"
    assert settings.calls_per_minute == 60
    assert settings.uses_pkce
