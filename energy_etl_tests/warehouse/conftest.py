"""A warehouse with a few tables of every sort, in a folder of its own."""

from pathlib import Path

import pytest

from energy_etl.tables import core, mart, raw
from energy_etl.warehouse import Warehouse

# Not all of them: making a file with every comment takes longer than most of these tests.
TABLES = (raw.REQUEST, raw.BODY, core.SITE, core.TARIFF, core.READING, core.INTERVAL, mart.FINDING)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse whose file does not exist yet."""
    return Warehouse(tmp_path / "data" / "warehouse.duckdb", TABLES, lock_wait_s=20)
