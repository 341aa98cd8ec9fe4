"""A warehouse with a few tables of every sort, in a folder of its own."""

import shutil
from pathlib import Path

import pytest

from energy_etl.tables import core, mart, raw
from energy_etl.warehouse import Warehouse

# Not all of them: making a file with every comment takes longer than most of these tests.
TABLES = (raw.REQUEST, raw.BODY, core.SITE, core.TARIFF, core.READING, core.INTERVAL, mart.FINDING)


@pytest.fixture(scope="session")
def made_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with these tables and no rows, to be copied and never written to."""
    made = Warehouse(tmp_path_factory.mktemp("made") / "warehouse.duckdb", TABLES)
    made.create()
    return made.path


@pytest.fixture
def made_warehouse(made_file: Path, tmp_path: Path) -> Warehouse:
    """A warehouse whose file has its tables already."""
    path = tmp_path / "data" / "warehouse.duckdb"
    path.parent.mkdir()
    shutil.copyfile(made_file, path)
    return Warehouse(path, TABLES, lock_wait_s=20)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse whose file does not exist yet."""
    return Warehouse(tmp_path / "data" / "warehouse.duckdb", TABLES, lock_wait_s=20)
