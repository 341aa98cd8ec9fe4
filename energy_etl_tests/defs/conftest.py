"""Projects for the tests: an empty one, and one whose last days are loaded and computed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from energy_etl_tests.defs.project import MADE, N_DAYS, Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Yield a project without data."""
    with Project(tmp_path / "project") as made:
        yield made


@pytest.fixture(scope="session")
def computed_root(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder of a project with `N_DAYS` days in, nothing of Digiwatt, nothing sent.

    Made once, by whichever worker comes first.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "computed"
    with FileLock(root.with_suffix(".lock")):
        if not root.exists():
            made_in = root.with_suffix(".new")
            with Project(made_in) as made:
                assert made.load_last(N_DAYS).success
                assert made.compute(only=MADE).success
            made_in.rename(root)
    return root


@pytest.fixture
def computed(tmp_path: Path, computed_root: Path) -> Iterator[Project]:
    """Yield a copy of that project."""
    with Project(tmp_path / "computed", copy_of=computed_root) as made:
        yield made
