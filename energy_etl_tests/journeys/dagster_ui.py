"""Dagster's pages as a person sees them: what is clicked and read in headless Chromium.

Nothing here asks the web server behind the page's back (`project_root.WebServer` does that).
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal

from playwright.sync_api import Page, sync_playwright

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser")) if path), "")
# Its own new-headless mode; playwright gives it a fresh profile.
_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")
# The first page compiles some megabytes of script while runs take both cores.
_WAIT_MS = 120_000
_LOCATION = "__repository__@energy_etl.definitions"
_RESULTS = re.compile("^(Succeeded|Failed|Execution failed|Not evaluated|Skipped|In progress)$")


@contextmanager
def opened_ui(
    url: str, *, width: int = 1400, height: int = 900, theme: Literal["light", "dark"] = "light"
) -> Iterator["DagsterUi"]:
    """Open a browser on a web server that answers, and close it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[*_ARGUMENTS, "--disable-background-networking"],
            ignore_default_args=["--headless"],
        )
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            locale="en-GB",
            timezone_id="UTC",
        )
        page.set_default_timeout(_WAIT_MS)
        yield DagsterUi(page, url)
        browser.close()


class DagsterUi:
    """One tab of the UI."""

    def __init__(self, page: Page, url: str) -> None:
        """Keep the tab; nothing is loaded yet."""
        self.page, self._url = page, url

    def leave(self) -> None:
        """Leave the UI with the tab open."""
        self.page.goto("about:blank")

    def lineage(self) -> dict[str, float]:
        """Open the graph of all groups; return where each stands, from left to right."""
        self.page.goto(f"{self._url}/asset-groups")
        nodes = self.page.locator("foreignObject.group")
        nodes.first.wait_for()
        places: dict[str, float] = nodes.evaluate_all(
            "nodes => Object.fromEntries(nodes.map(n => [n.textContent, +n.getAttribute('x')]))"
        )
        return places

    def open_group(self, name: str, asset: str) -> None:
        """Click a group of the graph and wait until an asset of it is there."""
        self.page.locator("foreignObject.group", has_text=name).click()
        self.page.locator("foreignObject").get_by_text(asset, exact=True).first.wait_for()

    def start_backfill(self, asset: str, first_on: str, last_on: str) -> str:
        """Fill in and launch the dialog of `Materialize...`; return the id that the UI tells."""
        self.page.goto(f"{self._url}/assets/{asset}")
        self.page.get_by_role("button", name="Materialize").first.click()
        dialog = self.page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
        # On a fresh project: that what it is made of is not there yet.
        warning = self.page.get_by_role("dialog").filter(has_text="Are you sure?")
        dialog.or_(warning).first.wait_for()
        if warning.is_visible():
            warning.get_by_role("button", name="Confirm").click()
        days = dialog.get_by_role("textbox").first
        days.fill(f"[{first_on}...{last_on}]")
        days.press("Enter")
        dialog.get_by_role("button", name="Launch backfill").click()
        told = self.page.get_by_text(re.compile("^Created backfill"))
        told.wait_for()
        self.page.get_by_role("button", name="View", exact=True).or_(
            self.page.get_by_role("link", name="View", exact=True)
        ).last.click()
        self.page.wait_for_url(re.compile("/runs/b/"))
        return re.sub(".*/runs/b/([^?]+).*", r"\1", self.page.url)

    def backfill(self, backfill_id: str, status: str) -> str:
        """Open the runs of a backfill, wait until it has a status, and return the page's text."""
        self.page.goto(f"{self._url}/runs/b/{backfill_id}?tab=runs")
        self.page.get_by_text(status, exact=True).first.wait_for()
        self.page.get_by_text(re.compile("^[0-9a-f]{8}$")).first.wait_for()
        return self.page.inner_text("body")

    def tick(self, sensor: str) -> str:
        """Open the page of a sensor, then a tick of it that asked for nothing; return its text."""
        self.page.goto(f"{self._url}/locations/{_LOCATION}/sensors/{sensor}")
        self.page.get_by_role("button", name="0 runs requested").first.click()
        dialog = self.page.get_by_role("dialog").filter(has_text=f"Tick for {sensor}")
        dialog.get_by_text("Skip reason").wait_for()
        return dialog.inner_text()

    def checks(self, asset: str) -> dict[str, str]:
        """Open the checks of an asset; return the result of each by its name."""
        self.page.goto(f"{self._url}/assets/{asset}?view=checks")
        results = self.page.get_by_text(_RESULTS)
        results.first.wait_for()
        lines = self.page.inner_text("body").splitlines()
        return {
            before: line
            for before, line in pairwise(lines)
            if _RESULTS.match(line) and before.isidentifier()
        }

    def asset(self, asset: str, view: str = "overview", shown: str = "Description") -> str:
        """Open a page of an asset, wait until a text stands on it, and return all of it."""
        self.page.goto(f"{self._url}/assets/{asset}?view={view}")
        self.page.get_by_text(shown).first.wait_for()
        return self.page.inner_text("body")
