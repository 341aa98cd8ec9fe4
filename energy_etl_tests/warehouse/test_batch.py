"""What a batch is told by its order is the same as what each of its rows tells."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables.core import READING
from energy_etl.warehouse.batch import deduplicated, n_outside, windows_of

START_AT = datetime(2025, 1, 1, tzinfo=UTC)
ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=12)


def _batch(rows: list[tuple[str, int]]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (register, START_AT + timedelta(hours=hour), float(n), 1, "acme", START_AT)
            for n, (register, hour) in enumerate(rows)
        ],
        schema=READING.polars_schema,
        orient="row",
    )


@settings(max_examples=40, deadline=None)
@given(ROWS, st.booleans())
def test_last_row_of_each_key_stays_in_any_order(
    rows: list[tuple[str, int]], is_sorted: bool
) -> None:
    rows = sorted(rows) if is_sorted else rows
    last = {key: float(n) for n, key in enumerate(rows)}
    found = deduplicated(READING, _batch(rows))
    assert sorted(found["reading_native"]) == sorted(last.values())


@settings(max_examples=40, deadline=None)
@given(
    ROWS,
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(0, 6)), min_size=1),
)
def test_rows_that_no_window_covers_are_counted(
    rows: list[tuple[str, int]], spans: list[tuple[str, int, int]]
) -> None:
    ids = pl.DataFrame(
        [
            (register, START_AT + timedelta(hours=first), START_AT + timedelta(hours=after))
            for register, first, after in spans
        ],
        schema=["register_id", "from_at", "to_at"],
        orient="row",
    )
    windows = windows_of(READING, ids, None, None)
    expected = sum(
        not any(name == register and first <= hour < after for name, first, after in spans)
        for register, hour in rows
    )
    assert n_outside(READING, _batch(rows), windows, ["register_id"]) == expected
