"""Files as numbered lines: blocks of any size say the same; what is no text file is refused."""

from pathlib import Path

import polars as pl
import pytest

from energy_etl.errors import DeliveryError, UsageError
from energy_etl.vendors.wattics import files_lines
from energy_etl.vendors.wattics.files_lines import BadLines, read_lines


def test_lines_keep_their_numbers_whatever_the_size_of_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeffa\r\n\n é, \n \t\nlast".encode())
    found = []
    for size in (1, 2, 3, 7, 1000):
        # The mark of the beginning is looked for in the first block, so that one is no smaller.
        monkeypatch.setattr(files_lines, "BLOCK_BYTES", size + 2)
        found.append(pl.concat(read_lines(path)).rows())
    assert found == [[(1, "a"), (3, " é, "), (5, "last")]] * 5


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "is empty"),
        (b"\n \r\n", "is empty"),
        (b"\x89PNG\r\n\x00\x00", "is no text file"),
        ("1,2".encode("utf-16"), "is UTF-16"),
        (b"1" * (files_lines.LONGEST_LINE_BYTES * 10), "line 1 is longer than"),
    ],
    ids=["empty", "blank", "binary", "utf-16", "long"],
)
def test_what_is_no_file_of_lines_is_refused_with_a_sentence(
    tmp_path: Path, raw: bytes, why: str
) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(raw)
    with pytest.raises(DeliveryError, match=why):
        list(read_lines(path))


def test_a_folder_and_a_missing_file_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder: name one file in it"):
        list(read_lines(tmp_path))
    with pytest.raises(UsageError, match="There is no file"):
        list(read_lines(tmp_path / "missing.csv"))


def test_first_bad_lines_are_told_and_the_others_counted() -> None:
    bad = BadLines()
    for lines in (range(30, 50), range(1, 30)):
        bad.add(pl.DataFrame({"line": lines}), lambda row: f"bad {row['line']}")
    assert bad.n == 49
    assert bad.sentences == [*(f"line {n}: bad {n}" for n in range(1, 21)), "and 29 more bad lines"]
