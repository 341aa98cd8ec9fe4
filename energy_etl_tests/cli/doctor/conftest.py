"""One sandbox and one well project for all tests of this folder; each test gets a copy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from energy_etl.cli.sandbox_consent import grant_sandbox_consent
from energy_etl.sandbox import SandboxServer
from energy_etl_tests.cli.doctor.ground import Ground, ground_in
from energy_etl_tests.defs.project import NOW, Project


@pytest.fixture(scope="package")
def well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, SandboxServer]]:
    """Yield a project in which nothing is wrong, and its sandbox."""
    with Project(tmp_path_factory.mktemp("well"), now=NOW) as project:
        grant_sandbox_consent(project.settings)
        yield project.root, project.sandbox


@pytest.fixture
def ground(
    well: tuple[Path, SandboxServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ground]:
    with ground_in(tmp_path, *well, monkeypatch) as made:
        yield made
