"""A customer in a real browser: headless Chromium on the sandbox's page, back to the command."""

import queue
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from energy_etl.errors import AuthenticationError
from energy_etl.sandbox import SandboxServer
from energy_etl.vendors.wiser.consent import authorize
from energy_etl.vendors.wiser.settings import WiserSettings, sandbox_section
from energy_etl_tests.journeys.project_root import ENERGY_ETL, ProjectRoot
from energy_etl_tests.vendors.extracting import running_sandbox

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser")) if path), "")

pytestmark = [
    pytest.mark.journey,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed on this machine"),
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Its own new-headless mode; playwright gives it a fresh profile.
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    arguments += ["--disable-background-networking"]
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=arguments, ignore_default_args=["--headless"]
        )
        yield browser
        browser.close()


@contextmanager
def authorizing(project: ProjectRoot, url: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `energy-etl wiser authorize` in a terminal of its own."""
    with subprocess.Popen(
        [*ENERGY_ETL, "wiser", "authorize", "--no-browser"],
        cwd=project.root,
        env={**project.environment, "ENERGY_ETL_SANDBOX_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            yield command
        finally:
            command.kill()


def opened(browser: Browser, url: str) -> Page:
    """Open the address of an attempt and return the page, which must be whole and quiet."""
    page = browser.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.goto(url)
    expect(page.get_by_role("button", name="Allow")).to_be_visible()
    assert "sandbox-wiser" in page.inner_text("main")
    assert faults == []
    return page


def clicked(page: Page, button: str) -> str:
    """Press a button and return the heading of the page that the browser ends at."""
    page.get_by_role("button", name=button).click()
    expect(page.get_by_text("You can close this page.")).to_be_visible()
    assert page.url.startswith("http://127.0.0.1:")
    assert "/callback?" in page.url
    return page.get_by_role("heading").inner_text()


def test_customer_who_denies_and_one_who_allows_end_each_their_own_attempt(
    project: ProjectRoot, sandbox: SandboxServer, browser: Browser
) -> None:
    tokens = project.data / "tokens"
    settings = WiserSettings.model_validate(sandbox_section(sandbox.url))
    asked: queue.Queue[str] = queue.Queue()
    # Both wait at once: an answer must not count for the other attempt.
    with authorizing(project, sandbox.url) as command, ThreadPoolExecutor(1) as background:
        denied = background.submit(authorize, settings, tokens, open_url=asked.put)
        page = opened(browser, asked.get(timeout=60))
        assert clicked(page, "Deny") == "Access to Wiser was not given"
        with pytest.raises(AuthenticationError, match="denied: nothing was stored"):
            denied.result(60)
        assert command.stdout is not None
        page = opened(browser, command.stdout.readline().strip())
        assert not list(tokens.glob("*.json"))
        assert clicked(page, "Allow") == "Access to Wiser is given"
        _, err = command.communicate(timeout=60)
        assert command.returncode == 0, err
        assert "The Wiser account main is authorised since" in err
        assert len(list(tokens.glob("*.json"))) == 1
