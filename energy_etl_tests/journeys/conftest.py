"""A project folder for each journey, and no process left on it afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from energy_etl_tests.defs.conftest import computed_root
from energy_etl_tests.journeys.project_root import ProjectRoot

__all__ = ["computed_root", "project"]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ProjectRoot]:
    """Yield a folder as a clone has it; what still runs on it at the end is killed."""
    project = ProjectRoot(tmp_path)
    yield project
    project.end_processes()
