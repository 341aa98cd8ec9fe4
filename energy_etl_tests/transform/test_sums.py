"""Sums that are the same in any order."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.transform.sums import exact_sum

VALUES = st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=50)


def total(values: list[float | None]) -> float | None:
    return (
        pl.DataFrame({"x": values}, schema={"x": pl.Float64}).select(exact_sum(pl.col("x"))).item()
    )


@given(VALUES, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_rows_in_another_order_give_the_same_bits(values: list[float], random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    assert total([*shuffled]) == total([*values])


@given(VALUES)
@settings(max_examples=100, deadline=None)
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
