"""What `Etl` reads again and what not."""

import os
import shutil
import time
from pathlib import Path

import pytest

from energy_etl.defs.resources import Etl
from energy_etl.errors import ConfigurationError
from energy_etl.tables import core

EXAMPLE = Path(__file__).parents[2] / "data" / "portfolio.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a portfolio whose files were written an hour ago."""
    folder = tmp_path / "data" / "portfolio"
    shutil.copytree(EXAMPLE, folder)
    for path in folder.iterdir():
        age(path)
    return folder


def age(path: Path) -> None:
    hour_ago_s = time.time() - 3600
    os.utime(path, (hour_ago_s, hour_ago_s))


def test_portfolio_whose_files_stay_is_read_once(folder: Path) -> None:
    etl = Etl(root=str(folder.parents[1]))
    assert etl.portfolio() is etl.portfolio()


def test_portfolio_is_read_again_whatever_was_done_to_a_file(folder: Path) -> None:
    etl, sites = Etl(root=str(folder.parents[1])), folder / "sites.csv"
    first = etl.portfolio()
    text = sites.read_text(encoding="utf-8")
    name = first.frames[core.SITE]["name"][0]
    # As long as before, and as old.
    new = sites.with_name("sites.new")
    new.write_text(text.replace(name, name[::-1]), encoding="utf-8")
    shutil.copystat(sites, new)
    new.replace(sites)
    second = etl.portfolio()
    assert second.frames[core.SITE]["name"][0] == name[::-1]
    # Written a moment ago: the next version may have the same stamp.
    sites.touch()
    assert etl.portfolio() is not etl.portfolio()
    sites.unlink()
    with pytest.raises(ConfigurationError, match=r"sites\.csv"):
        etl.portfolio()
