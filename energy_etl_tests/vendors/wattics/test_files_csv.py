"""Lines of Swarm's CSV: what is read, against a slow reader of one line at a time; what is bad."""

import csv
import re
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.vendors.wattics.files_csv import parse_csv
from energy_etl.vendors.wattics.files_lines import BadLines, read_lines

STAMP = re.compile(r"[0-9]{4}(-[0-9]{1,2}){2} [0-9]{1,2}:[0-9]{1,2}:[0-5]?[0-9]")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

STAMPS = st.one_of(
    st.datetimes(datetime(1980, 1, 1), datetime(2060, 1, 1)).map(
        lambda at: at.strftime("%Y-%m-%d %H:%M:%S")
    ),
    st.sampled_from(
        [
            "2024-1-5 3:00:00",
            "2024-02-30 00:00:00",
            "2024-01-01 24:00:00",
            "2024-01-01 23:59:60",
            "2024-01-01T00:00:00",
            "2024-01-0100:00:00",
            "01/02/2024 00:00",
            "timestamp",
            "",
        ]
    ),
)
CELLS = st.one_of(
    st.floats(-1e12, 1e12).map(repr),
    st.sampled_from(["", " ", "1", "+1.", ".5", "1e5", "1e999", "-0", "nan", "inf", "1_0", "1,5"]),
    st.text("0123456789.,+-eE \t;\u0664x", max_size=6),
)


@st.composite
def lines_of_csv(draw: st.DrawFn) -> str:
    cells = [draw(STAMPS), *draw(st.lists(CELLS, max_size=5))]
    quotes = draw(st.sampled_from(["none", "all", "open"]))
    if quotes == "all":
        return ",".join(f'"{cell}"' for cell in cells)
    return ",".join(cells) + ('"' if quotes == "open" else "")


def slowly(text: str, n_columns: int) -> tuple[datetime, list[float | None]] | None:
    """Return stamp and values of a line, None when it cannot be sent."""
    try:
        stamp, *cells = (cell.strip(" \t") for cell in next(csv.reader([text], strict=True)))
    except csv.Error:
        return None
    try:
        stamped_at = (
            datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S") if STAMP.fullmatch(stamp) else None
        )
    except ValueError:
        stamped_at = None
    if stamped_at is None or any(cells[n_columns:]):
        return None
    if not all(NUMBER.fullmatch(cell) and abs(float(cell)) < 1e308 for cell in cells if cell):
        return None
    values = [float(cell) if cell else None for cell in cells[:n_columns]]
    return stamped_at, values + [None] * (n_columns - len(values))


def read(path: Path, n_columns: int) -> tuple[pl.DataFrame, BadLines]:
    bad = BadLines()
    return pl.concat([parse_csv(b, n_columns, bad) for b in read_lines(path)], how="diagonal"), bad


@settings(max_examples=15, deadline=None)
@given(
    texts=st.lists(lines_of_csv(), min_size=1, max_size=8).filter(
        lambda ts: any(map(str.strip, ts))
    ),
    n_columns=st.sampled_from([1, 3]),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    is_ended=st.booleans(),
)
def test_lines_are_read_as_by_a_slow_reader(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    n_columns: int,
    end: str,
    mark: bytes,
    is_ended: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.csv"
    path.write_bytes(mark + (end.join(texts) + end * is_ended).encode())
    rows, bad = read(path, n_columns)
    expected = {
        line: slowly(text, n_columns) for line, text in enumerate(texts, 1) if text.strip(" \t")
    }
    missing = [f"m{n}" for n in range(1, n_columns + 1) if f"m{n}" not in rows.columns]
    rows = rows.with_columns(pl.lit(None, pl.Float64).alias(name) for name in missing)
    names = [f"m{n}" for n in range(1, n_columns + 1)]
    found = {row["line"]: (row["local_at"], [row[n] for n in names]) for row in rows.to_dicts()}
    assert found == {line: row for line, row in expected.items() if row is not None}
    told = [int(sentence.split()[1].rstrip(":")) for sentence in bad.sentences]
    assert told == [line for line, row in expected.items() if row is None]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("timestamp,value", "'timestamp' is no time stamp: write 2024-05-31 14:00:00"),
        ("2024-02-30 00:00:00,1", "is no time that exists"),
        ("2024-01-01 00:00:00;1,5", "separated by ';'"),
        ("2024-01-01 00:00:00\t1", "separated by a tab"),
        ('2024-01-01 00:00:00,"1,5"', "'1,5' has a decimal comma: write 1.5"),
        ("2024-01-01 00:00:00,1,5", "has 2 measurements, and this stream takes one"),
        ("2024-01-01 00:00:00,NaN", "'NaN' is not finite: leave the cell empty"),
        ("2024-01-01 00:00:00,1e999", "'1e999' is not finite"),
        ("2024-01-01 00:00:00,x1", "measurement 1: 'x1' is no number"),
        ('2024-01-01 00:00:00,"1', "a quote that is not closed"),
    ],
)
def test_a_bad_line_is_told_with_its_number_and_what_to_write(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(f"2024-01-01 00:00:00,1\n\n{text}\n2024-01-01 00:15:00,2,,\n", "utf-8")
    rows, bad = read(path, 1)
    assert rows["line"].to_list() == [1, 4]
    assert bad.n == 1
    assert bad.sentences[0].startswith("line 3: ")
    assert why in bad.sentences[0]


def test_bytes_of_another_encoding_are_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes(b"2024-01-01 00:00:00,1\n2024-01-01 00:15:00,2\xb0\n")
    rows, bad = read(path, 1)
    assert rows["line"].to_list() == [1]
    assert bad.sentences[0].startswith("line 2: ")
    assert "is not UTF-8" in bad.sentences[0]


def test_more_columns_than_a_packet_has_are_told(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("2024-01-01 00:00:00," + ",".join(["1"] * 22), "utf-8")
    _, bad = read(path, 21)
    assert "it has 22 measurements, and a packet has 21 at most" in bad.sentences[0]
