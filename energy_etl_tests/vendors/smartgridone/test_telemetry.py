"""Where a field is read, in which pieces, and how fast."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import ConfigurationError, NotFoundError
from energy_etl.rest import Answer
from energy_etl.vendors.smartgridone.tables import SERIES
from energy_etl.vendors.smartgridone.telemetry import (
    FieldWindow,
    Pacer,
    Place,
    Query,
    choose_place,
    cut,
    in_calls,
)
from energy_etl_tests.vendors.smartgridone.answers import END_AT, START_AT

POLICIES = ("rp_one_m", "rp_ten_m", "rp_one_s")
WINDOW = FieldWindow("n1", "importedAbsEnergyTot_Wh", START_AT, END_AT, "our.mains")
PLACE = Place("gridMetrics", "db", "rp_one_m", {"nodeId": "n1"})


def series(*rows: tuple[str, str, str, Sequence[str]], tags: str = "{}") -> pl.DataFrame:
    """Rows of smartgridone.series: node, database, policy, fields."""
    schema = {name: SERIES.polars_schema[name] for name in SERIES.polars_schema.names()[:6]}
    return pl.DataFrame(
        [(node, "gridMetrics", base, policy, tags, fields) for node, base, policy, fields in rows],
        schema=schema,
        orient="row",
    )


FIELDS = ["actualPowerTot_W", "importedAbsEnergyTot_Wh"]


def test_field_is_read_from_the_first_preferred_policy_that_has_it() -> None:
    listed = series(
        ("n2", "other", "rp_one_m", FIELDS),
        ("n1", "ten", "rp_ten_m", FIELDS),
        ("n1", "one", "rp_one_m", ["actualPowerTot_W"]),
        ("n1", "second", "rp_one_s", FIELDS),
    )
    place = choose_place(listed, WINDOW, POLICIES)
    assert (place.database, place.retention_policy) == ("ten", "rp_ten_m")
    place = choose_place(listed, WINDOW, ("rp_one_s", *POLICIES))
    assert place.database == "second"


def test_series_is_selected_by_its_own_tags_or_by_its_node() -> None:
    tags = json.dumps({"gatewayMAC": "a", "nodeId": "n1", "odd": None})
    listed = series(("n1", "db", "rp_one_m", FIELDS), tags=tags)
    assert choose_place(listed, WINDOW, POLICIES).tags == {"gatewayMAC": "a", "nodeId": "n1"}
    bare = series(("n1", "db", "rp_one_m", FIELDS))
    assert choose_place(bare, WINDOW, POLICIES).tags == {"nodeId": "n1"}


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (series(("n2", "db", "rp_one_m", FIELDS)), "no series of the device"),
        (series(("n1", "db", "rp_one_m", ["frequency_Hz"])), "without that field"),
        (series(("n1", "db", "rp_a", FIELDS), ("n1", "db", "rp_b", FIELDS)), "rp_a, rp_b only"),
    ],
)
def test_field_that_is_not_listed_is_told_with_the_register(
    listed: pl.DataFrame, words: str
) -> None:
    with pytest.raises(NotFoundError, match=words) as caught:
        choose_place(listed, WINDOW, POLICIES)
    assert "our.mains (n1/importedAbsEnergyTot_Wh)" in str(caught.value)


@pytest.mark.parametrize("vendor_id", ["n1", "/field", "n1/", ""])
def test_vendor_id_without_two_names_is_a_fault_of_the_portfolio(vendor_id: str) -> None:
    with pytest.raises(ConfigurationError, match=r"registers\.csv"):
        FieldWindow.of_vendor_id(vendor_id, START_AT, END_AT, "our.mains")
    named = FieldWindow.of_vendor_id("a/b/c", START_AT, END_AT, "our.mains")
    assert (named.node_id, named.field) == ("a/b", "c")


def test_statement_has_one_field_both_bounds_and_the_devices_tags() -> None:
    (query,) = cut(WINDOW, PLACE, 10_000)
    start_ms = int(START_AT.timestamp() * 1000)
    assert query.statement() == {
        "select": ["importedAbsEnergyTot_Wh"],
        "from": {"measurement": "gridMetrics", "database": "db", "retentionPolicy": "rp_one_m"},
        "where": {
            "time": [
                {"operator": ">=", "value": start_ms},
                {"operator": "<", "value": start_ms + 86_400_000},
            ],
            "tags": {"nodeId": "n1"},
        },
        "orderBy": "ASC",
    }
    assert query.n_rows == 1440


@settings(max_examples=25, deadline=None)
@given(
    length_us=st.integers(1, 40 * 86_400 * 10**6),
    offset_us=st.integers(0, 10**6),
    rows=st.integers(10, 20_000),
    policy=st.sampled_from(["rp_one_s", "rp_one_m", "rp_ten_m", "rp_unknown"]),
)
def test_pieces_cover_the_window_without_hole_or_overlap(
    length_us: int, offset_us: int, rows: int, policy: str
) -> None:
    from_at = START_AT + timedelta(microseconds=offset_us)
    to_at = from_at + timedelta(microseconds=length_us)
    window = replace(WINDOW, from_at=from_at, to_at=to_at)
    # 10 rows of a second in 40 days are 345,600 pieces: enough is enough.
    rows = max(rows, length_us // 10**8)
    pieces = cut(window, replace(PLACE, retention_policy=policy), rows)
    assert pieces[0].from_at <= from_at < pieces[0].from_at + timedelta(milliseconds=1)
    assert pieces[-1].to_at - timedelta(milliseconds=1) < to_at <= pieces[-1].to_at
    assert all(before.to_at == after.from_at for before, after in pairwise(pieces))
    assert all(piece.n_rows <= rows for piece in pieces)
    assert len({piece.window_id for piece in pieces}) == 1
    assert (pieces[0].window.from_at, pieces[0].window.to_at) == (
        pieces[0].from_at,
        pieces[-1].to_at,
    )


@settings(max_examples=15, deadline=None)
@given(minutes=st.integers(1, 10_000))
def test_halves_are_the_whole_down_to_a_minute(minutes: int) -> None:
    query = Query(WINDOW, "w", PLACE, START_AT, START_AT + timedelta(minutes=minutes))
    halves = query.halves()
    if minutes == 1:
        assert halves is None
        return
    assert halves is not None
    first, second = halves
    assert (first.from_at, first.to_at, second.to_at) == (
        query.from_at,
        second.from_at,
        query.to_at,
    )
    assert abs((first.to_at - first.from_at) - (second.to_at - second.from_at)) <= timedelta(
        milliseconds=1
    )


def test_calls_hold_no_more_queries_and_rows_than_allowed() -> None:
    queries = [*cut(WINDOW, PLACE, 144), *cut(WINDOW, PLACE, 10_000)]
    calls = list(in_calls(queries, statements_per_call=4, rows_per_call=500))
    assert [[query.n_rows for query in call] for call in calls] == [
        [144, 144, 144],
        [144, 144, 144],
        [144, 144, 144],
        [144],
        [1440],
    ]
    assert [query for call in calls for query in call] == queries
    assert [len(c) for c in in_calls(queries, statements_per_call=4, rows_per_call=10**6)] == [
        4, 4, 3,
    ]  # fmt: skip
    assert list(in_calls([], statements_per_call=1, rows_per_call=1)) == []


class Clock:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, wait_s: float) -> None:
        self.slept.append(round(wait_s, 6))
        self.now_s += wait_s

    def pacer(self) -> Pacer:
        return Pacer(now_s=lambda: self.now_s, sleep=self.sleep)


def told(**headers: Any) -> Answer:
    names = {f"x-ratelimit-{name}": str(text) for name, text in headers.items()}
    return Answer(200, names, b"", "r1", datetime(2025, 1, 1, tzinfo=UTC), "http://127.0.0.1/")


def test_pacer_waits_for_nothing_until_it_was_told() -> None:
    clock = Clock()
    pacer = clock.pacer()
    for _ in range(3):
        pacer.settle(pacer.reserve(10**6), told(), 10**6)
    assert clock.slept == []
    assert pacer.most_rows == math.inf


def test_pacer_waits_until_the_budget_has_what_a_call_will_cost() -> None:
    clock = Clock()
    pacer = clock.pacer()
    pacer.settle(pacer.reserve(1000), told(cost=20, remaining=30, used=30), 1000)
    # 60 per minute: one a second. 20 of the 30 that are left, then 10 short of the next 20.
    pacer.settle(pacer.reserve(1000), None)
    pacer.reserve(1000)
    assert clock.slept == [10.0]


def test_pacer_never_waits_longer_than_a_whole_budget_takes() -> None:
    clock = Clock()
    pacer = clock.pacer()
    pacer.settle(pacer.reserve(10), told(cost=10, remaining=0, used=60), 10)
    pacer.reserve(10**9)
    assert clock.slept == [60.0]


@pytest.mark.parametrize(
    "headers",
    [
        {"cost": "x", "remaining": 1, "used": 1},
        {"cost": 1, "remaining": 5},
        {"cost": 1, "remaining": 0, "used": 0},
        {"cost": "nan", "remaining": 1, "used": 1},
    ],
)
def test_pacer_passes_over_headers_that_tell_nothing(headers: dict[str, Any]) -> None:
    clock = Clock()
    pacer = clock.pacer()
    pacer.settle(pacer.reserve(10), told(**headers), 10)
    pacer.reserve(10**9)
    assert clock.slept == []


def test_call_that_costs_more_than_the_budget_makes_later_ones_smaller() -> None:
    pacer = Clock().pacer()
    pacer.refused(1000)
    pacer.refused(4000)
    assert pacer.most_rows == 500
