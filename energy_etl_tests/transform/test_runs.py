"""Runs of rows that say the same, and the numbers of what they say."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.transform.runs import first_of_runs, number_runs, numbers_of, union_of_rows

TEXTS = st.lists(st.sampled_from(["a", "b", None]), max_size=12)


@given(TEXTS, st.data())
@settings(max_examples=25, deadline=None)
def test_a_run_begins_wherever_any_column_says_something_else(texts, data):
    others = data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts)))
    columns = [pl.Series(texts, dtype=pl.String), pl.Series(others, dtype=pl.Boolean)]
    rows = list(zip(texts, others, strict=True))
    expected = [n for n, row in enumerate(rows) if n == 0 or row != rows[n - 1]]
    assert first_of_runs(columns).tolist() == expected


def test_columns_in_several_pieces_have_the_runs_of_the_whole():
    pieces = [pl.Series(["a", "a"]), pl.Series(["a", "b"]), pl.Series(["b", "a"])]
    assert first_of_runs([pl.concat(pieces, rechunk=False)]).tolist() == [0, 3, 5]


def test_rows_are_numbered_by_all_columns_and_the_unknown_ones_are_null():
    frame = pl.DataFrame({"meter": ["m", "m", "m", "n", "m"], "name": ["x", "x", "y", "x", "x"]})
    known = pl.DataFrame({"number": [7, 8], "meter": ["m", "n"], "name": ["x", "x"]})
    assert numbers_of(frame, known).to_list() == [7, 7, None, 8, 7]
    first, numbers = number_runs(frame, known)
    assert (first.tolist(), numbers.to_list()) == ([0, 2, 3, 4], [7, None, 8, 7])


def test_rows_of_any_of_several_arrays_come_once_and_in_order():
    assert union_of_rows(
        6, np.array([4, 0]), np.array([], dtype=np.int64), np.array([0, 3])
    ).tolist() == [0, 3, 4]
