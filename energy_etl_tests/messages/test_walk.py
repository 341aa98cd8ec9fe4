"""Each case of `walk.py` is typed, and what comes is the message that the package's text shows."""

import contextlib
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from energy_etl import cli, errors
from energy_etl.delivery import account, filling
from energy_etl.rest import transport
from energy_etl.tables.core import INTERVAL, SITE
from energy_etl.warehouse import Warehouse, publish
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.defs.project import REPOSITORY, prepared
from energy_etl_tests.messages.ground import STREAMS, Case, Ground
from energy_etl_tests.messages.sites import Site, find_sites
from energy_etl_tests.messages.walk import CASES
from energy_etl_tests.warehouse.frames import intervals, sites

EXAMPLE = REPOSITORY / "data" / "portfolio.example"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `energy-etl init` makes; no case changes it."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(prepared("portfolio.example") / "data", root / "data")
    (root / "data" / "portfolio" / "streams.csv").write_text(STREAMS)
    return root


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which two sites and some intervals are published."""
    root = tmp_path_factory.mktemp("published")
    warehouse = Warehouse(root / "data" / "warehouse.duckdb", (SITE, INTERVAL))
    with warehouse.write() as writer:
        writer.replace_all(SITE, sites("a", "b").with_columns(name=pl.lit("Via Appia")))
        writer.append(INTERVAL, intervals("r1", 4))
    publish(warehouse, data_dir=root / "data", views_folder=root)
    return root


@pytest.fixture
def closed_url() -> Iterator[str]:
    """An address that is taken, and at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def root_of(case: Case, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a folder with what a case needs."""
    if case.needs in ("project", "published"):
        return request.getfixturevalue(case.needs)
    if case.needs == "files":
        shutil.copytree(EXAMPLE, tmp_path / "data" / "portfolio")
        (tmp_path / "data" / "portfolio" / "streams.csv").write_text(STREAMS)
    return tmp_path


def site_of(case: Case) -> Site:
    """Return the one message that a case is about."""
    found = [s for s in find_sites() if s.module == case.module and s.text.startswith(case.starts)]
    assert len(found) == 1, f"{case.module} has {len(found)} messages like {case.starts!r}"
    return found[0]


def code_of(case: Case, site: Site) -> int:
    """Return the exit code that the class of a message has."""
    if case.code is not None:
        return case.code
    kinds = vars(errors) | vars(account) | vars(filling) | vars(transport)
    return cli.exit_code(kinds[site.error]("x"))


def pattern_of(text: str) -> re.Pattern[str]:
    """Return what fits a message; anything may be filled in."""
    plain = " ".join(text.split())
    return re.compile(".*".join(map(re.escape, re.split(r"\{[^{}]*\}", plain))), re.DOTALL)


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{n}-{case.module}-{case.starts[:24]}" for n, case in enumerate(CASES)]
)
def test_message_is_met_with_its_next_step_and_exit_code(
    case: Case,
    tmp_path: Path,
    closed_url: str,
    stack: contextlib.ExitStack,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site, root = site_of(case), root_of(case, tmp_path, request)
    typed = Typed(root, closed_url, monkeypatch, capsys)
    if case.plant is not None:
        case.plant(Ground(root, closed_url, monkeypatch, stack))
    words = [word.replace("{root}", str(root)) for word in case.command.split()]
    code, _, err = typed.run(*words, answers=case.answers)
    # Typer draws a frame around what it says.
    told = " ".join(err.replace("│", " ").split())
    assert pattern_of(site.text).search(told), told
    assert code == code_of(case, site), told
    assert "Traceback" not in err
