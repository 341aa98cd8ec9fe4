"""Pictures of tables: XML that a browser draws, whatever stands in the rows."""

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.defs.marts import all_marts
from energy_etl.defs.plots import LONGEST_MARKDOWN, drawn
from energy_etl.tables import Plot

SVG = "{http://www.w3.org/2000/svg}"
DAY = date(2026, 5, 20)
MARKDOWN = re.compile(r"([^\n]*)\n\n!\[[^\]]*\]\(data:image/svg\+xml,([^() ]*)\)")


def titled(frame: pl.DataFrame, plot: Plot) -> tuple[str, ElementTree.Element]:
    metadata = drawn(frame, plot)
    assert metadata is not None
    found = MARKDOWN.fullmatch(metadata.value or "")
    assert found is not None, metadata.value
    # What is longer the UI hides behind a click.
    assert len(metadata.value or "") <= LONGEST_MARKDOWN
    return found[1], ElementTree.fromstring(unquote(found[2]))


def of(xs: Sequence[Any], ys: Sequence[float | None], **plot: Any) -> ElementTree.Element:
    return titled_of(xs, ys, **plot)[1]


def titled_of(
    xs: Sequence[Any], ys: Sequence[float | None], **plot: Any
) -> tuple[str, ElementTree.Element]:
    frame = pl.DataFrame({"x": xs, "y_kwh": ys}, strict=False)
    return titled(frame, Plot("x", "y_kwh", **plot))


def texts(svg: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in svg.iter(f"{SVG}text")]


def path(svg: ElementTree.Element) -> str:
    (found,) = svg.iter(f"{SVG}path")
    return found.attrib["d"]


def bars(svg: ElementTree.Element) -> list[tuple[int, int, int]]:
    """Of each bar where it begins, across and down, and where it ends."""
    found = re.findall(r"M(-?\d+),(-?\d+)[HV](-?\d+)", path(svg))
    return [(int(x), int(y), int(end)) for x, y, end in found]


def days(n: int, *, without: tuple[int, ...] = ()) -> list[date]:
    return [DAY + timedelta(days=k) for k in range(n) if k not in without]


@pytest.mark.parametrize(
    ("xs", "ys"),
    [
        ([], []),
        (["a", "b"], [None, float("nan")]),
        (["a", "b"], [float("inf"), -float("inf")]),
        ([None, None], [1.0, 2.0]),
    ],
)
def test_nothing_that_can_be_drawn_is_no_picture(xs: list, ys: list) -> None:
    frame = pl.DataFrame({"x": xs, "y_kwh": ys}, schema={"x": pl.String, "y_kwh": pl.Float64})
    assert drawn(frame, Plot("x", "y_kwh")) is None


def test_hostile_names_stay_text_and_do_not_take_the_picture_away() -> None:
    hostile = ["</text><script>a", "a\x00\x1b\ufffe&\"'b", "]]>", "](http://x)", "é€🏠"]
    svg = of(hostile, [5.0, 4.0, 3.0, 2.0, 1.0])
    assert {each.tag.removeprefix(SVG) for each in svg.iter()} == {"svg", "path", "text"}
    shown = ["</text><script>a", "a\ufffd\ufffd\ufffd&\"'b", *hostile[2:]]
    assert texts(svg) == [f"{name} {5 - n}" for n, name in enumerate(shown)]


def test_texts_are_lying_bars_with_their_numbers_the_longest_first() -> None:
    title, svg = titled_of(["small", "negative", "large"], [1.0, -2.0, 4.0])
    assert title == "sum of y_kwh by x"
    assert texts(svg) == ["large 4", "negative -2", "small 1"]
    large, negative, small = bars(svg)
    # All begin at 0, and the negative one goes the other way.
    assert large[0] == negative[0] == small[0]
    assert large[2] - large[0] == pytest.approx(4 * (small[2] - small[0]), abs=3)
    assert negative[0] - negative[2] == pytest.approx(2 * (small[2] - small[0]), abs=3)
    assert large[1] < negative[1] < small[1]


def test_of_many_texts_the_longest_are_shown_or_the_shortest_and_the_title_says_so() -> None:
    names, ys = [f"r{n:02d}" for n in range(30)], [float(n) for n in range(30)]
    title, svg = titled_of(names, ys)
    assert title == "sum of y_kwh by x (the largest 8 of 30)"
    assert texts(svg) == [f"r{n} {n}" for n in range(29, 21, -1)]
    title, svg = titled_of(names, ys, is_least_first=True)
    assert title == "sum of y_kwh by x (the smallest 8 of 30)"
    assert texts(svg)[:2] == ["r00 0", "r01 1"]


def test_names_that_take_much_room_leave_room_for_fewer() -> None:
    title, svg = titled_of([f"🏠{n}" * 20 for n in range(8)], [float(n) for n in range(8)])
    assert 1 <= len(texts(svg)) < 8
    assert title == f"sum of y_kwh by x (the largest {len(texts(svg))} of 8)"


def test_bars_of_days_stand_where_their_day_lies_also_when_one_is_missing() -> None:
    found = bars(of(days(5, without=(2,)), [1.0, 2.0, 3.0, -1.0]))
    steps = [after[0] - before[0] for before, after in pairwise(found)]
    assert steps[1] == pytest.approx(2 * steps[0], abs=2)
    assert steps[2] == pytest.approx(steps[0], abs=2)
    # From the axis up, and the negative one down.
    assert len({y for _, y, _ in found}) == 1
    heights = [y - end for _, y, end in found]
    assert heights[2] == pytest.approx(3 * heights[0], abs=2)
    assert heights[3] == pytest.approx(-heights[0], abs=2)


def test_many_days_are_a_line_that_is_broken_where_days_are_missing() -> None:
    xs = days(54, without=(40, 41, 50, 52))
    svg = of(xs, [float(n % 7) for n in range(len(xs))])
    # Begun, and anew after each hole: day 51 stands alone.
    assert path(svg).count("M") == 4
    assert path(svg).count("L") == len(xs) - 4
    assert texts(svg) == ["6", "2026-05-20", "0", "2026-07-12"]


def test_more_points_than_fit_are_the_last_ones_and_the_title_says_so() -> None:
    title, svg = titled_of(days(1000), [1.0] * 1000)
    assert title == "sum of y_kwh by x (the last 60 of 1000)"
    assert path(svg).count("L") == 59
    assert texts(svg)[-1] == days(1000)[-1].isoformat()


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (DAY, {"2026-05-20", "0.25"}),
        (datetime(2026, 5, 20, 9, 30), {"2026-05-20 09:30", "0.25"}),
        (7, {"7", "0.25"}),
        ("rome-a", {"rome-a 0.25"}),
        (True, {"True 0.25"}),
    ],
)
def test_one_point_of_any_kind_is_one_bar_with_its_label(x: object, shown: set[str]) -> None:
    svg = of([x], [0.25])
    assert len(bars(svg)) == 1
    assert {*texts(svg)} - {"0"} == shown


def test_all_zero_is_drawn_as_zero() -> None:
    svg = of([1, 2], [0.0, 0.0])
    assert [y - end for _, y, end in bars(svg)] == [1, 1]
    assert texts(svg) == ["0", "1", "2"]


def test_rows_are_counted_and_only_those_that_are_wanted() -> None:
    frame = pl.DataFrame({"kind": ["gap", "gap", "reset", None], "is_open": [True] * 3 + [False]})
    title, svg = titled(frame, Plot("kind", "n", only=pl.col("is_open")))
    assert title == "rows by kind"
    assert texts(svg) == ["gap 2", "reset 1"]


_NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True)
_KEYS = (
    st.text(max_size=60) | st.none(),
    st.dates() | st.none(),
    st.integers(-(2**40), 2**40) | st.none(),
)


@given(st.one_of(*(st.lists(st.tuples(key, _NUMBERS), max_size=70) for key in _KEYS)))
@settings(max_examples=30, deadline=None)
def test_whatever_stands_in_the_rows_the_picture_is_xml_within_its_bounds(rows: list) -> None:
    frame = pl.DataFrame({"x": [x for x, _ in rows], "y_kwh": [y for _, y in rows]}, strict=False)
    plot = Plot("x", "y_kwh", "max")
    if frame.is_empty() or drawn(frame.cast({"y_kwh": pl.Float64}), plot) is None:
        return
    _, svg = titled(frame, plot)
    width, height = int(svg.attrib["width"]), int(svg.attrib["height"])
    assert re.fullmatch(r"(M-?\d+,-?\d+([HV]-?\d+|h0)|L-?\d+,-?\d+)+", path(svg))
    for x, y in re.findall(r"[ML](-?\d+),(-?\d+)", path(svg)):
        assert -1 <= int(x) <= width + 1
        assert -1 <= int(y) <= height + 1


def test_number_next_to_nothing_was_drawn_as_nan() -> None:
    svg = of([1, 2], [0.0, 2.2e-309])
    assert [y - end for _, y, end in bars(svg)] == [1, 1]


def test_plots_of_the_marts_draw_columns_that_their_tables_have() -> None:
    declared = [made for made in all_marts() if made.plot]
    assert len(declared) > 20
    for made in declared:
        assert made.plot is not None
        assert drawn(made.table.empty_frame(), made.plot) is None
        assert made.plot.x in made.table.polars_schema
        assert made.plot.y == "n" or made.table.polars_schema[made.plot.y].is_numeric()


def test_costs_in_two_currencies_are_not_added_up_in_a_picture() -> None:
    (plot,) = (m.plot for m in all_marts() if m.table.full_name == "mart.daily_cost")
    assert plot is not None
    frame = pl.DataFrame({"local_on": [DAY, DAY], "cost": [1.0, 2.0], "currency": ["EUR", "GBP"]})
    assert drawn(frame, plot) is None
    assert "3" in texts(titled(frame.with_columns(currency=pl.lit("EUR")), plot)[1])
