"""Sums that are the same in any order."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.transform.sums import exact_sum, from_whole, sum_runs

VALUES = st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=50)


def total(values: list[float | None]) -> float | None:
    return (
        pl.DataFrame({"x": values}, schema={"x": pl.Float64}).select(exact_sum(pl.col("x"))).item()
    )


@given(VALUES, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_rows_in_another_order_give_the_same_bits(values: list[float], random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    assert total([*shuffled]) == total([*values])


@given(VALUES)
@settings(max_examples=40, deadline=None)
def test_the_sum_is_that_of_exact_arithmetic(values: list[float]):
    assert total([*values]) == pytest.approx(math.fsum(values), rel=1e-15, abs=1e-12)


def test_order_matters_to_a_plain_sum_but_not_here():
    values = [1e6, 1e-6, -1e6, 0.1, 0.2, 0.3]
    backwards = values[::-1]
    assert sum(values) != sum(backwards)
    assert total([*values]) == total([*backwards])


def test_null_and_nan_are_left_out_and_nothing_sums_to_null():
    assert total([1.0, None, math.nan, math.inf, 2.0]) == 3.0
    assert total([None, math.nan]) is None
    assert total([]) is None


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.floats(min_value=-1e22, max_value=1e22),
            st.sampled_from([math.nan, math.inf, -math.inf, 1e300, 2.0**-51, -3 * 2.0**-51]),
        ),
        min_size=1,
        max_size=40,
    ),
    st.sets(st.integers(1, 39)),
)
@settings(max_examples=20, deadline=None)
def test_sums_of_runs_have_the_bits_of_the_sum_of_each_run(values, cuts):
    first = [0, *sorted(cut for cut in cuts if cut < len(values))]
    column = pl.Series("x", values, dtype=pl.Float64)
    sums = sum_runs(column, np.array(first)).to_frame().select(from_whole(pl.col("x")))
    stops = [*first[1:], len(values)]
    runs = [values[start:stop] for start, stop in zip(first, stops, strict=True)]
    assert sums["x"].to_list() == [total(run) for run in runs]


def test_sums_of_parts_add_up_to_the_sum_of_the_whole():
    values = pl.Series("x", [0.1, 1e9, 0.2, -1e9, 0.3])
    parts = pl.concat([sum_runs(values[:2], np.array([0])), sum_runs(values[2:], np.array([0]))])
    whole = parts.to_frame().select(from_whole(pl.col("x").sum())).item()
    assert whole == total(values.to_list())
