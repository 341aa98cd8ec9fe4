"""A file as numbered lines, block by block, and the lines of it that cannot be sent.

Faults of one line are counted and told with its number (`BadLines`); what is no text file at all is
refused with one sentence. What a line says is read in `files_csv.py` and `files_json.py`.
"""

import heapq
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import polars as pl

from energy_etl.errors import DeliveryError, UsageError

BLOCK_BYTES: Final = 8 * 1024 * 1024
# The longest packet of the vendor's page has about 600 characters.
LONGEST_LINE_BYTES: Final = 1024 * 1024
# Stands in a text where bytes were no UTF-8.
UNREADABLE: Final = "\ufffd"
_SHOWN: Final = 20
_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class BadLines:
    """How many lines cannot be sent, and the first of them with their reasons."""

    def __init__(self) -> None:
        """Begin with none."""
        self.n = 0
        self._shown: list[tuple[int, str]] = []

    def add(self, rows: pl.DataFrame, why: Callable[[dict], str]) -> None:
        """Note rows with a column `line`; `why` is asked for the first of them only."""
        if rows.is_empty():
            return
        self.n += rows.height
        first = rows.bottom_k(_SHOWN, by="line") if rows.height > _SHOWN else rows
        told = [(row["line"], why(row)) for row in first.iter_rows(named=True)]
        self._shown = heapq.nsmallest(_SHOWN, (*self._shown, *told))

    @property
    def sentences(self) -> list[str]:
        """`line 7: ...` of the first ones, then how many more there are."""
        told = [f"line {line}: {why}" for line, why in self._shown]
        more = self.n - len(told)
        return [*told, f"and {more} more bad lines"] if more else told


def read_lines(
    path: Path, on_progress: Callable[[int, int], None] | None = None
) -> Iterator[pl.DataFrame]:
    """Yield blocks of lines: line (from 1), text (without its end); blank lines are left out.

    Args:
        path: UTF-8, with or without a byte order mark, lines ended by LF or CR LF.
        on_progress: called with (bytes read, bytes of the file) after each block.

    Raises:
        UsageError: the file is missing, or a folder.
        DeliveryError: it is unreadable, empty or no text.
    """
    n_lines, n_texts, rest = 0, 0, b""
    try:
        n_bytes = path.stat().st_size
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                if file.tell() == len(block):
                    _refuse_other_encodings(path, block)
                    block = block.removeprefix(_BOM)
                whole, newline, tail = block.rpartition(b"\n")
                if newline:
                    frame = _numbered(path, rest + whole, n_lines)
                    n_lines += 1 + (rest + whole).count(b"\n")
                    n_texts += frame.height
                    yield frame
                    rest = tail
                else:
                    rest += block
                if len(rest) > LONGEST_LINE_BYTES:
                    raise DeliveryError(
                        f"{path} line {n_lines + 1} is longer than {LONGEST_LINE_BYTES} bytes: "
                        "give a file with one measurement a line; nothing was sent."
                    )
                if on_progress:
                    on_progress(file.tell(), n_bytes)
    except IsADirectoryError:
        raise UsageError(f"{path} is a folder: name one file in it.") from None
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}: correct its name.") from None
    except OSError as error:
        raise DeliveryError(
            f"{path} cannot be read ({error.strerror or error}): check its rights and its disk."
        ) from None
    if rest:
        frame = _numbered(path, rest, n_lines)
        n_texts += frame.height
        yield frame
    if not n_texts:
        raise DeliveryError(f"{path} is empty: name a file with measurements.")


def _refuse_other_encodings(path: Path, block: bytes) -> None:
    if block.startswith(_UTF16):
        raise DeliveryError(f"{path} is UTF-16: save it as UTF-8; nothing was sent.")


def _numbered(path: Path, block: bytes, n_before: int) -> pl.DataFrame:
    if b"\0" in block:
        raise DeliveryError(
            f"{path} is no text file (it holds zero bytes after line {n_before}): save it as CSV "
            "or JSON lines in UTF-8; nothing was sent."
        )
    texts = block.decode("utf-8", "replace").split("\n")
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    return (
        frame.with_row_index("line", n_before + 1)
        .with_columns(pl.col("text").str.strip_chars_end("\r"))
        .filter(pl.col("text").str.contains(r"[^ \t]"))
    )
