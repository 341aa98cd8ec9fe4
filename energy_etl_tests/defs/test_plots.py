"""Pictures of tables: XML that a browser draws, whatever stands in the rows."""

import base64
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.defs.marts import all_marts
from energy_etl.defs.plots import drawn
from energy_etl.tables import Plot

SVG = "{http://www.w3.org/2000/svg}"
DAY = date(2026, 5, 20)


def picture(frame: pl.DataFrame, plot: Plot) -> ElementTree.Element:
    metadata = drawn(frame, plot)
    assert metadata is not None
    found = re.fullmatch(r"!\[[^\]]*\]\(data:image/svg\+xml;base64,([^)]*)\)", metadata.value or "")
    assert found is not None
    return ElementTree.fromstring(base64.b64decode(found[1]))


def of(xs: Sequence[Any], ys: Sequence[float | None], **plot: Any) -> ElementTree.Element:
    return picture(pl.DataFrame({"x": xs, "y_kwh": ys}, strict=False), Plot("x", "y_kwh", **plot))


def texts(svg: ElementTree.Element) -> list[str]:
    return [each.text or each[0].tail or "" for each in svg.iter(f"{SVG}text")]


def bars(svg: ElementTree.Element) -> list[dict[str, float]]:
    """Left, top, width and height of each bar, without the ground."""
    rectangles = list(svg.iter(f"{SVG}rect"))[1:]
    names = ("x", "y", "width", "height")
    return [{name: float(each.attrib[name]) for name in names} for each in rectangles]


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
    hostile = [
        "</text><script>alert(1)</script>",
        "a\x00\x1b\ufffe&\"'b",
        "]]>",
        "](http://x)",
        "é€🏠",
    ]
    svg = of(hostile, [5.0, 4.0, 3.0, 2.0, 1.0])
    assert {each.tag.removeprefix(SVG) for each in svg.iter()} <= {
        *("svg", "rect", "text", "title", "line")
    }
    titles = [each.text for each in svg.iter(f"{SVG}title")]
    assert titles == [hostile[0], "a\ufffd\ufffd\ufffd&\"'b", *hostile[2:]]


def test_texts_are_lying_bars_with_their_numbers_the_longest_first() -> None:
    svg = of(["small", "negative", "large"], [1.0, -2.0, 4.0])
    assert texts(svg) == ["sum of y_kwh by x", "large", "4", "negative", "-2", "small", "1"]
    large, negative, small = bars(svg)
    assert large["width"] == pytest.approx(4 * small["width"], abs=0.2)
    assert negative["width"] == pytest.approx(2 * small["width"], abs=0.2)
    # They begin where the negative one ends: at 0.
    assert large["x"] == small["x"] == pytest.approx(negative["x"] + negative["width"], abs=0.2)
    assert large["y"] < negative["y"] < small["y"]


def test_of_many_texts_the_longest_are_shown_or_the_shortest_and_the_title_says_so() -> None:
    names, ys = [f"r{n:02d}" for n in range(30)], [float(n) for n in range(30)]
    most = texts(of(names, ys))
    assert most[:2] == ["sum of y_kwh by x (the largest 24 of 30)", "r29"]
    least = texts(of(names, ys, is_least_first=True))
    assert least[:2] == ["sum of y_kwh by x (the smallest 24 of 30)", "r00"]
    assert len(bars(of(names, ys))) == 24


def test_bars_of_days_stand_where_their_day_lies_also_when_one_is_missing() -> None:
    found = bars(of(days(5, without=(2,)), [1.0, 2.0, 3.0, -1.0]))
    lefts = [each["x"] for each in found]
    steps = [after - before for before, after in pairwise(lefts)]
    assert steps[1] == pytest.approx(2 * steps[0], abs=0.2)
    assert steps[2] == pytest.approx(steps[0], abs=0.2)
    # From the axis up, and the negative one down.
    axis = found[0]["y"] + found[0]["height"]
    assert found[3]["y"] == pytest.approx(axis, abs=0.2)
    assert found[2]["height"] == pytest.approx(3 * found[3]["height"], abs=0.3)


def test_many_days_are_a_line_that_is_broken_where_days_are_missing() -> None:
    gone = (40, 41, 60, 62)
    xs = days(100, without=gone)
    svg = of(xs, [float(n % 7) for n in range(len(xs))])
    (path,) = svg.iter(f"{SVG}path")
    # Begun, and anew after each hole: day 61 stands alone.
    assert path.attrib["d"].count("M") == 4
    assert path.attrib["d"].count("L") == len(xs) - 4
    assert texts(svg)[-3:] == ["2026-05-20", "2026-07-08", "2026-08-27"]


def test_more_points_than_pixels_are_the_last_ones_and_the_title_says_so() -> None:
    svg = of(days(1000), [1.0] * 1000)
    (path,) = svg.iter(f"{SVG}path")
    assert path.attrib["d"].count("L") == 399
    assert texts(svg)[0] == "sum of y_kwh by x (the last 400 of 1000)"
    assert texts(svg)[-1] == days(1000)[-1].isoformat()


@pytest.mark.parametrize(
    ("x", "label"),
    [
        (DAY, "2026-05-20"),
        (datetime(2026, 5, 20, 9, 30), "2026-05-20 09:30"),
        (7, "7"),
        ("rome-a", "rome-a"),
        (True, "True"),
    ],
)
def test_one_point_of_any_kind_is_one_bar_with_its_label(x: object, label: str) -> None:
    svg = of([x], [0.25])
    (bar,) = bars(svg)
    assert bar["width"] > 100
    assert label in texts(svg)
    assert "0.25" in texts(svg)


def test_all_zero_is_drawn_as_zero() -> None:
    svg = of([1, 2], [0.0, 0.0])
    assert [each["height"] for each in bars(svg)] == [0.5, 0.5]
    assert texts(svg) == ["sum of y_kwh by x", "0", "1", "2"]


def test_rows_are_counted_and_only_those_that_are_wanted() -> None:
    frame = pl.DataFrame({"kind": ["gap", "gap", "reset", None], "is_open": [True] * 3 + [False]})
    svg = picture(frame, Plot("kind", "n", only=pl.col("is_open")))
    assert texts(svg) == ["rows by kind", "gap", "2", "reset", "1"]


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
    svg = picture(frame, plot)
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    for bar in bars(svg):
        assert -1 <= bar["x"] <= bar["x"] + bar["width"] <= width + 1
        assert -1 <= bar["y"] <= bar["y"] + bar["height"] <= height + 1
    for path in svg.iter(f"{SVG}path"):
        assert "nan" not in path.attrib["d"]
        assert "inf" not in path.attrib["d"]


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
    assert "3" in texts(picture(frame.with_columns(currency=pl.lit("EUR")), plot))
