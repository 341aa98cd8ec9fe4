"""The axis of many lanes finds for each instant the edge at or before it, within its lane."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import TransformError
from energy_etl.transform import axis as axis_module
from energy_etl.transform.axis import Axis

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTES = st.integers(min_value=-5_000_000, max_value=5_000_000)


def frame(rows: list[tuple[int, datetime]], name: str) -> pl.DataFrame:
    schema = {"lane": pl.Int64, name: pl.Datetime("us", "UTC")}
    return pl.DataFrame(rows, schema=schema, orient="row")


@given(
    st.lists(st.tuples(st.integers(0, 3), MINUTES), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 3), MINUTES), min_size=1, max_size=30),
)
@settings(max_examples=40, deadline=None)
def test_any_instant_is_put_on_the_last_edge_of_its_lane(
    edges: list[tuple[int, int]], instants: list[tuple[int, int]]
):
    edge_rows = [(lane, START + timedelta(minutes=n)) for lane, n in edges]
    rows = [(lane, START + timedelta(minutes=n)) for lane, n in instants]
    axis = Axis.from_edges(frame(edge_rows, "edge_at"))
    found = frame(rows, "at").select(axis.stretch(pl.col("lane"), pl.col("at"))).to_series()
    in_order = sorted(edge_rows)
    for number, (lane, at) in zip(found, rows, strict=True):
        at_or_before = [i for i, edge in enumerate(in_order) if edge <= (lane, at)]
        assert number == (at_or_before[-1] if at_or_before else -1)


@given(
    st.lists(st.tuples(st.integers(0, 3), MINUTES), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 3), st.lists(MINUTES, min_size=1, max_size=8)), max_size=6),
)
@settings(max_examples=25, deadline=None)
def test_cutting_runs_puts_each_instant_where_looking_it_up_does(
    edges: list[tuple[int, int]], runs: list[tuple[int, list[int]]]
):
    edge_rows = [(lane, START + timedelta(minutes=n)) for lane, n in edges]
    rows = [(lane, START + timedelta(minutes=n)) for lane, run in runs for n in sorted(run)]
    axis = Axis.from_edges(frame(edge_rows, "edge_at"))
    instants = frame(rows, "at")
    lengths = np.array([len(run) for _, run in runs], dtype=np.int64)
    lanes = np.array([lane for lane, _ in runs], dtype=np.int64)
    first, stretch = axis.cut(instants["at"], lanes, np.cumsum(lengths) - lengths)
    found = np.repeat(stretch, np.diff(first, append=len(rows)))
    expected = instants.select(axis.stretch(pl.col("lane"), pl.col("at"))).to_series()
    assert found.tolist() == expected.to_list()


def test_an_instant_far_outside_stays_on_its_lane():
    edges = [(lane, START + timedelta(days=day)) for lane in (0, 1) for day in (0, 1)]
    axis = Axis.from_edges(frame(edges, "edge_at"))
    rows = [
        (0, datetime(9999, 1, 1, tzinfo=UTC)),
        (1, datetime(9999, 1, 1, tzinfo=UTC)),
        (1, datetime(1600, 1, 1, tzinfo=UTC)),
    ]
    found = frame(rows, "at").select(axis.stretch(pl.col("lane"), pl.col("at"))).to_series()
    assert found.to_list() == [1, 3, 1]


def test_more_lanes_than_fit_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(axis_module, "_MAX_LANES", 1)
    with pytest.raises(TransformError, match="too many for one computation"):
        Axis.from_edges(frame([(0, START), (1, START)], "edge_at"))
