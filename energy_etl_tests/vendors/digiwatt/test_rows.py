"""Digiwatt's answers into its tables: the document's samples, both shapes, drift, bad answers."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.vendors import VendorBatch, Whole
from energy_etl.vendors.digiwatt import tables
from energy_etl.vendors.digiwatt.client import ENDPOINTS
from energy_etl.vendors.digiwatt.rows import PARSERS, to_batch

SAMPLES = Path(__file__).parents[2] / "samples" / "digiwatt"
FETCHED_ON = date(2025, 4, 16)
WITH_PERIOD = {name for name, template in ENDPOINTS.items() if "{period}" in template}


def sample(endpoint: str) -> Any:
    """The document's sample, its undocumented inner parts filled in as modelled."""
    return json.loads((SAMPLES / f"{endpoint}.json").read_text())


def call(endpoint: str, document: Any = None, *, minute: int = 0, **params: Any) -> RawCall:
    """One answered call; `document` may be bytes, None takes the sample."""
    document = sample(endpoint) if document is None else document
    about = {"smartmeter_id": "125fd56", "fetched_on": FETCHED_ON.isoformat(), "period": None}
    if endpoint in WITH_PERIOD:
        about["period"] = "last-week"
    return RawCall(
        request_id=f"r-{endpoint}-{minute}",
        vendor="digiwatt",
        endpoint=endpoint,
        params=about | params,
        status=200,
        body=document if isinstance(document, bytes) else json.dumps(document).encode(),
        requested_at=datetime(2025, 4, 16, 9, minute, tzinfo=UTC),
    )


def _rows(batch: VendorBatch, endpoint: str, *columns: str) -> list[tuple[Any, ...]]:
    return batch.frame(PARSERS[endpoint][0]).select(columns).rows()


def test_every_endpoint_has_a_sample_a_parser_and_a_table() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(ENDPOINTS) == set(PARSERS)
    assert {table for table, _ in PARSERS.values()} == set(tables.DIGIWATT_TABLES) - {
        tables.SCHEMA_DRIFT
    }


@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS))
def test_sample_fills_its_table_without_drift(endpoint: str) -> None:
    batch = to_batch([call(endpoint)])
    (write,) = batch.writes
    assert write.table is PARSERS[endpoint][0]
    is_listed = {"appliance", "part"} & set(write.table.key) and write.table.time_column is None
    assert isinstance(write.how, Whole) if is_listed else write.how == "merge"
    assert write.frame.schema == write.table.polars_schema
    required = [column.name for column in write.table.columns if not column.is_nullable]
    assert sum(write.frame.select(required).null_count().row(0)) == 0
    assert write.frame["smartmeter_id_digiwatt"].unique().to_list() == ["125fd56"]
    assert not batch.problems
    assert batch.quarantine.is_empty()


@pytest.mark.parametrize("endpoint", sorted(ENDPOINTS))
def test_wrapped_answer_equals_the_bare_one(endpoint: str) -> None:
    bare = to_batch([call(endpoint)])
    wrapped = to_batch([call(endpoint, {"status": "ok", "data": sample(endpoint)})])
    assert bare.writes[0].frame.equals(wrapped.writes[0].frame)


def test_consumption_is_kept_in_kwh_and_savings_in_wh() -> None:
    batch = to_batch([call("consumption"), call("savings")])
    assert _rows(batch, "consumption", "consumption_kwh", "trend_pct") == [(73.61, 19.0)]
    assert _rows(batch, "savings", "part", "estimated_consumption_wh", "user_consumption_wh") == [
        ("total", 253900.0, 253900.0),
        ("washingMachine", 12000.0, None),
        ("dishwasher", 15500.0, None),
        ("fridge", 26000.0, None),
        ("standby", 30400.0, None),
    ]


def test_appliance_nobody_documented_is_kept_and_told_as_drift() -> None:
    savings = sample("savings") | {
        "heatPump": {"estimatedConsumption": 9, "estimatedCost": 1},
        "tips": ["less"],
    }
    batch = to_batch([call("savings", savings)])
    assert ("heatPump", 9.0) in _rows(batch, "savings", "part", "estimated_consumption_wh")
    drift = batch.frame(tables.SCHEMA_DRIFT)
    assert drift.select("field", "kind").sort("field").rows() == [
        ("heatPump", "unknown"),
        ("tips", "unknown"),
    ]


def test_missing_and_unknown_fields_are_counted_over_the_fetch() -> None:
    odd = [{"appliance": "fridge", "kWh": 1.0}, {"appliance": "ev", "value": None}]
    calls = [
        call("consumption-distribution", odd),
        call("consumption-distribution", odd, minute=1, smartmeter_id="other"),
    ]
    batch = to_batch(calls)
    assert batch.frame(tables.SCHEMA_DRIFT).select("field", "kind", "n_seen").rows() == [
        ("[].kWh", "unknown", 2),
        ("[].value", "missing", 2),
    ]
    assert batch.frame(tables.CONSUMPTION_DISTRIBUTION).height == 4


def test_both_shapes_of_the_yearly_distribution_give_the_same_rows() -> None:
    by_appliance = [
        {
            "appliance": "fridge",
            "months": [{"month": "2025-02", "value": 25.5}, {"month": "2025-03", "value": 26.25}],
        },
        {"appliance": "other", "months": [{"month": "2025-02", "value": 196.0}]},
    ]
    endpoint = "yearly-consumption-distribution"
    columns = ("month_on", "appliance", "consumption_kwh")
    first = _rows(to_batch([call(endpoint)]), endpoint, *columns)
    second = _rows(to_batch([call(endpoint, by_appliance)]), endpoint, *columns)
    assert sorted(first) == sorted(second)
    assert (date(2025, 2, 1), "fridge", 25.5) in first


def test_forecast_without_a_month_is_the_running_one() -> None:
    rows = _rows(to_batch([call("costs-history")]), "costs-history", "month_on", "is_forecast")
    assert rows == [
        (date(2025, 2, 1), False),
        (date(2025, 3, 1), False),
        (date(2025, 4, 1), True),
    ]
    no_forecast = {"forecast": {}, "costs": []}
    assert to_batch([call("costs-history", no_forecast)]).frame(tables.COSTS_HISTORY).is_empty()


def test_slot_of_a_series_ends_after_the_commonest_step() -> None:
    rows = _rows(to_batch([call("disaggregation")]), "disaggregation", "start_at", "end_at")
    at = [datetime(2025, 4, day, hour, tzinfo=UTC) for day, hour in [(14, 22), (14, 23), (15, 1)]]
    assert [start for start, _ in rows] == at
    assert {(end - start).total_seconds() for start, end in rows} == {3600.0}


def test_autumn_night_keeps_both_hours_of_a_series() -> None:
    starts = ["2025-10-26T02:00:00+02:00", "2025-10-26T02:00:00+01:00"]
    series = [{"appliance": "ev", "values": [{"start": s, "value": 1} for s in starts]}]
    rows = _rows(to_batch([call("disaggregation", series)]), "disaggregation", "start_at")
    assert rows == [
        (datetime(2025, 10, 26, 0, tzinfo=UTC),),
        (datetime(2025, 10, 26, 1, tzinfo=UTC),),
    ]


def test_half_hour_clock_change_in_a_series_shortens_one_slot_and_not_all() -> None:
    # Lord Howe, 2026-10-04: 02:00+10:30 becomes 02:30+11:00, half an hour later in real time.
    starts = ["01:00:00+10:30", "02:30:00+11:00", "03:00:00+11:00", "04:00:00+11:00"]
    slots = [{"start": f"2026-10-04T{start}", "value": 0.1} for start in starts]
    frame = to_batch([call("disaggregation", [{"appliance": "fridge", "values": slots}])]).frame(
        tables.DISAGGREGATION
    )
    minutes = (frame["end_at"] - frame["start_at"]).dt.total_minutes()
    assert minutes.to_list() == [60, 30, 60, 60]


def test_slot_without_offset_or_value_goes_to_quarantine() -> None:
    values = [
        {"start": "2025-04-15T00:00:00", "value": 1},
        {"start": "2025-04-15T00:00:00Z", "value": None},
        {"start": 1744675200000, "value": 0.5},
    ]
    batch = to_batch([call("disaggregation", [{"appliance": "ev", "values": values}])])
    assert batch.quarantine["reasons"].to_list() == ["start_without_offset", "no_value"]
    assert _rows(batch, "disaggregation", "start_at", "consumption_kwh") == [
        (datetime(2025, 4, 15, tzinfo=UTC), 0.5)
    ]


def test_one_bad_slot_cost_the_whole_series() -> None:
    values = [
        {"start": "2025-04-15T00:00:00Z", "value": 0.5},
        {"start": "2025-04-15T01:00:00Z", "value": "n/a"},
        {"start": "9999-12-31T23:30:00Z", "value": 1},
        {"value": 1},
        "gap",
        {"start": "2025-04-15T02:00:00Z", "value": 0.25},
    ]
    batch = to_batch([call("disaggregation", [{"appliance": "ev", "values": values}])])
    assert batch.problems == []
    assert batch.quarantine["reasons"].to_list() == [
        "type:value",
        "type:start",
        "type:start",
        "type:slot",
    ]
    assert "n/a" in batch.quarantine["raw_text"][0]
    assert _rows(batch, "disaggregation", "start_at", "consumption_kwh") == [
        (datetime(2025, 4, 15, tzinfo=UTC), 0.5),
        (datetime(2025, 4, 15, 2, tzinfo=UTC), 0.25),
    ]


def test_empty_period_is_null_and_not_zero() -> None:
    nothing = {"value": None, "previousPeriodValueTrend": None}
    batch = to_batch([call("consumption", nothing)])
    assert _rows(batch, "consumption", "consumption_kwh", "trend_pct") == [(None, None)]
    assert batch.frame(tables.SCHEMA_DRIFT).is_empty()


def test_second_fetch_of_a_day_replaces_the_first_whatever_the_order() -> None:
    first = call("consumption", {"value": 1, "previousPeriodValueTrend": 1})
    second = call("consumption", {"value": 2, "previousPeriodValueTrend": 2}, minute=5)
    for calls in ([first, second], [second, first]):
        assert _rows(to_batch(calls), "consumption", "consumption_kwh") == [(2.0,)]


@pytest.mark.parametrize(
    "document",
    [
        b"<html>",
        b"",
        b"[1, 2",
        b'{"value": NaN, "previousPeriodValueTrend": 1}',
        b"[" * 100_000,
        {"value": "a lot"},
        {"value": [1]},
        [],
        5,
    ],
    ids=["html", "empty", "cut", "nan", "deep", "text", "list", "array", "number"],
)
def test_answer_that_cannot_be_read_is_named_and_the_others_are_kept(document: Any) -> None:
    bad = call("consumption", document, smartmeter_id="bad")
    batch = to_batch([call("consumption"), bad, call("performance")])
    assert batch.frame(tables.CONSUMPTION)["smartmeter_id_digiwatt"].to_list() == ["125fd56"]
    assert batch.frame(tables.PERFORMANCE).height == 1
    (problem,) = batch.problems
    assert isinstance(problem.error, MalformedError)
    assert "smart meter bad, consumption last-week" in str(problem.error)


def test_token_calls_of_a_log_are_passed_over() -> None:
    token = RawCall("r", "digiwatt", "token", {}, 200, b"{}", datetime(2025, 4, 16, tzinfo=UTC))
    assert to_batch([token]).writes == []


_ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def _spoiled(document: Any) -> st.SearchStrategy[Any]:
    """The sample with one inner part replaced by anything."""
    places: list[Callable[[Any], None]] = []

    def walk(node: Any, path: tuple[Any, ...]) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            here = (*path, key)

            def put(value: Any, here: tuple[Any, ...] = here) -> None:
                target = copy
                for part in here[:-1]:
                    target = target[part]
                target[here[-1]] = value

            places.append(put)
            if isinstance(node[key], dict | list):
                walk(node[key], here)

    copy = json.loads(json.dumps(document))
    walk(copy, ())

    def spoil(chosen: tuple[int, Any]) -> Any:
        nonlocal copy
        copy = json.loads(json.dumps(document))
        places[chosen[0]](chosen[1])
        return copy

    return st.tuples(st.integers(0, len(places) - 1), _ANY).map(spoil)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(ENDPOINTS)).flatmap(
        lambda endpoint: st.tuples(st.just(endpoint), _spoiled(sample(endpoint)) | _ANY)
    )
)
def test_any_json_ends_in_rows_or_a_named_problem(chosen: tuple[str, Any]) -> None:
    endpoint, document = chosen
    batch = to_batch([call(endpoint, document if document is not None else b"null")])
    for write in batch.writes:
        assert write.frame.schema == write.table.polars_schema
        required = [column.name for column in write.table.columns if not column.is_nullable]
        assert sum(write.frame.select(required).null_count().row(0)) == 0
        assert not write.frame.select(write.table.key).is_duplicated().any()
