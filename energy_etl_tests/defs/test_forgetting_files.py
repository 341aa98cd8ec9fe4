"""Whether a file names a thing; and a portfolio that lost half of its rows still does."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from energy_etl.defs.forgetting import meter_subject
from energy_etl.defs.forgetting_files import tells_file
from energy_etl.defs.resources import Etl
from energy_etl.errors import ConfigurationError
from energy_etl.portfolio.csv_file import CsvFile
from energy_etl.portfolio.forgetting import remove_rows, rows_naming
from energy_etl.rest.removal import Names
from energy_etl_tests.defs.project import REPOSITORY

NAMES = Names([frozenset({"rome-b.mains"}), frozenset({"box-7", "p-52f0"})])


@pytest.mark.parametrize(
    ("cells", "is_told"),
    [
        (("rome-b.mains", "next to it"), True),
        # Longer than a page of the file, wherever the pages end.
        (("x" * 4090 + " rome-b.mains " + "x" * 9000, ""), True),
        (("box-7", "p-52f0"), True),
        (("box-7", ""), False),
        (("rome-b.mains-2", "p-52f0"), False),
        ((b'{"told":"\\nrome-b.mains"}', None), True),
    ],
)
def test_sqlite_file_is_read_row_by_row(
    tmp_path: Path, cells: tuple[object, ...], is_told: bool
) -> None:
    """In its bytes one cell follows the other, and an id was no word of its own."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute('CREATE TABLE "a ""table" (a, b)')
        connection.execute('INSERT INTO "a ""table" VALUES (?, ?)', cells)
        # Still in its log.
        assert path.with_name("a.db-wal").stat().st_size > 0
        assert tells_file(path, NAMES) is is_told


def test_other_file_is_looked_at_around_each_id(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for text, is_told in (
        ("", False),
        ("rome-b.mains2 rome-b.mains: failed", True),
        ("rome-b.mains2 rome-b.mains.csv", False),
        ("box-7 " + "x " * 9000 + "p-52f0", True),
        ("box-7 p-52f01", False),
    ):
        path.write_text(text)
        assert tells_file(path, NAMES) is is_told
    assert not tells_file(tmp_path / "gone", NAMES)


def test_portfolio_still_tells_the_meter_when_its_rows_were_half_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of meters.csv went first: killed then, the command did not know the meter any more."""
    settings = Etl(root=str(tmp_path)).settings()
    folder = settings.portfolio_dir
    shutil.copytree(REPOSITORY / "data" / "portfolio.example", folder)
    names = meter_subject(settings, "rome-b.mains").names
    there = rows_naming(folder, names.tell)
    assert set(there) == {"meters.csv", "registers.csv", "streams.csv"}
    n_killed = 0
    while rows_naming(folder, names.tell):
        n_killed += 1
        with monkeypatch.context() as patched:
            patched.setattr(
                CsvFile, "write", lambda content, write=CsvFile.write: _die(write, content)
            )
            with pytest.raises(KeyboardInterrupt):
                remove_rows(folder, meter_subject(settings, "rome-b.mains").names.tell)
    assert n_killed == len(there)
    with pytest.raises(ConfigurationError, match=r"knows no meter rome-b\.mains"):
        meter_subject(settings, "rome-b.mains")


def test_meter_whose_id_at_a_vendor_has_a_slash_is_not_taken_for_a_box(tmp_path: Path) -> None:
    """Of `a/b?c#..1` the first letter was to tell it, and the command refused."""
    settings = Etl(root=str(tmp_path)).settings()
    shutil.copytree(REPOSITORY / "data" / "portfolio.example", settings.portfolio_dir)
    names = meter_subject(settings, "berlin-a.mains").names
    assert "a/b?c#..1" in names.single
    assert names.tell("http://v/smartmeters/a%2Fb%3Fc%23..1/savings")
    assert not names.tell("a b")


def _die(write: object, content: CsvFile) -> None:
    assert callable(write)
    write(content)
    raise KeyboardInterrupt
