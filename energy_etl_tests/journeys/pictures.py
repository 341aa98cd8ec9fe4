"""`make pictures`: the pictures of the UI in docs/, from a demo of 31 days.

Not a test: somebody looks at them before they are committed.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from energy_etl_tests.journeys.dagster_ui import CHROMIUM, DagsterUi, opened_ui
from energy_etl_tests.journeys.project_root import (
    ENERGY_ETL,
    FINISHED,
    REPOSITORY,
    ProjectRoot,
    WebServer,
    wait_for,
)

DOCS = REPOSITORY / "docs"
HEIGHTS = {"ui_lineage.png": 900, "ui_asset.png": 780, "ui_checks.png": 820}
DEMO_WITHIN_S = 1800.0


@contextmanager
def _running(root: Path) -> Iterator[str]:
    """Run the demo and start `up`; yield the UI's address."""
    project = ProjectRoot(root)
    try:
        ended = project.run(*ENERGY_ETL, "demo", "--days", "31", timeout_s=DEMO_WITHIN_S)
        if ended.code:
            raise SystemExit(f"energy-etl demo: {ended}")
        url = project.start_up().url()
        WebServer(url).wait_until_loaded()
        yield url
    finally:
        project.end_processes()


def _lineage(ui: DagsterUi) -> None:
    ui.lineage()
    # The graph is fitted into the window once its size is known.
    places = "nodes => nodes.map(n => n.getBoundingClientRect().x).join()"
    groups, seen = ui.page.locator("foreignObject.group"), list[str]()

    def is_still() -> bool | None:
        seen.append(groups.evaluate_all(places))
        return (len(set(seen[-3:])) == 1 and len(seen) > 3) or None

    wait_for(is_still, 60)


def _asset(ui: DagsterUi) -> None:
    ui.asset("mart/site_daily", "events", "sum of consumption_kwh by local_on")


def _checks(ui: DagsterUi) -> None:
    ui.checks("core/interval")
    ui.page.get_by_text("n_wrong").last.wait_for()


def take(url: str) -> None:
    """Take every picture of a UI that answers, when no run makes it say that something runs."""
    server = WebServer(url)

    def is_quiet() -> bool | None:
        return all(run["status"] in FINISHED for run in server.runs()) or None

    wait_for(is_quiet, 600, server.runs)
    for (name, height), show in zip(HEIGHTS.items(), (_lineage, _asset, _checks), strict=True):
        with opened_ui(url, height=height) as ui:
            show(ui)
            ui.page.screenshot(path=DOCS / name, animations="disabled")
        print(f"docs/{name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Make all of them anew."""
    if not CHROMIUM:
        sys.exit("The pictures need Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder)) as url:
        take(url)


if __name__ == "__main__":
    main()
