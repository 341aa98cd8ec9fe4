"""Answers of telemetry, whole, in part and damaged."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.vendors.smartgridone.pages import TelemetryRows, read_answers
from energy_etl_tests.vendors.smartgridone.answers import (
    END_AT,
    START_AT,
    about,
    result,
    telemetry_call,
)

NOON = START_AT + timedelta(hours=12)
NOON_MS = int(NOON.timestamp() * 1000)


def rows_of(read: TelemetryRows) -> list[tuple[int, datetime, float]]:
    """(statement, instant, value) of the good rows."""
    return read.rows.select("statement", "measured_at", "reading_native").rows()


def reasons_of(read: TelemetryRows) -> list[tuple[int, str]]:
    return read.quarantine.select("row_number", "reasons").rows()


@pytest.mark.parametrize(
    ("sent", "instant"),
    [
        ("2025-04-14T12:00:00Z", NOON),
        ("2025-04-14T12:00:00.250Z", NOON + timedelta(milliseconds=250)),
        ("2025-04-14T12:00:00.123456789Z", NOON + timedelta(microseconds=123456)),
        ("2025-04-14T14:00:00+02:00", NOON),
        (NOON_MS, NOON),
    ],
)
def test_time_is_read_as_text_and_as_milliseconds(sent: str | int, instant: datetime) -> None:
    read = read_answers([telemetry_call([result(0, [[sent, 5]])], about())])
    assert rows_of(read) == [(0, instant, 5.0)]
    assert read.quarantine.is_empty()


def test_time_of_both_kinds_in_one_answer_is_read() -> None:
    body = [result(0, [["2025-04-14T12:00:00Z", 1.5], [NOON_MS + 1000, 2.5]])]
    read = read_answers([telemetry_call(body, about())])
    assert [value for _, _, value in rows_of(read)] == [1.5, 2.5]


def test_each_query_has_its_own_outcome() -> None:
    body = [
        result(0, [[NOON_MS, 1]]),
        {"statement_id": 1},
        {"statement_id": 2, "error": "field type conflict"},
    ]
    asked = [about(node_id=f"n{number}", window=f"w{number}") for number in range(4)]
    read = read_answers([telemetry_call(body, *asked)])
    assert rows_of(read) == [(0, NOON, 1.0)]
    assert read.asked["error"].to_list() == [
        None,
        None,
        "field type conflict",
        "no result came for it",
    ]


def test_single_result_that_is_no_list_is_read() -> None:
    read = read_answers([telemetry_call(result(0, [[NOON_MS, 1]]), about())])
    assert rows_of(read) == [(0, NOON, 1.0)]


def test_columns_in_another_order_are_found_by_name() -> None:
    series = {"columns": ["quality", "actualPowerTot_W", "time"], "values": [["ok", 3, NOON_MS]]}
    body = [{"statement_id": 0, "series": [series]}]
    read = read_answers([telemetry_call(body, about())])
    assert rows_of(read) == [(0, NOON, 3.0)]


def test_result_without_the_field_is_an_error_of_its_query_alone() -> None:
    body = [result(0, [[NOON_MS, 1]], field="mean"), result(1, [[NOON_MS, 2]])]
    read = read_answers([telemetry_call(body, about(), about(node_id="n2", window="w2"))])
    assert rows_of(read) == [(1, NOON, 2.0)]
    assert "has the columns" in read.asked["error"][0]
    assert read.asked["error"][1] is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([NOON_MS, None], "no_value"),
        (["yesterday", 1], "no_instant"),
        (["2025-04-14T12:00:00", 1], "no_instant"),
        (["2025-02-30T12:00:00Z", 1], "no_instant"),
        ([int(END_AT.timestamp() * 1000), 1], "outside_window"),
        ([int(START_AT.timestamp() * 1000) - 1, 1], "outside_window"),
        ([NOON_MS // 1000, 1], "outside_window"),
        ([NOON_MS * 1000, 1], "type"),
        ([-1, 1], "type"),
        ([NOON_MS, "5"], "type"),
        ([NOON_MS, True], "type:[1]"),
        ([NOON_MS], "type"),
        ([1.5, 2], "type"),
        ({"time": 1}, "type"),
    ],
)
def test_row_that_fails_goes_to_quarantine_and_its_neighbours_are_kept(
    row: Any, reason: str
) -> None:
    body = [result(0, [[NOON_MS, 1], row, [NOON_MS + 60_000, 3]])]
    read = read_answers([telemetry_call(body, about())])
    assert [value for _, _, value in rows_of(read)] == [1.0, 3.0]
    assert reasons_of(read) == [(1, reason)]
    assert json.loads(read.quarantine["raw_text"][0]) == row
    assert not read.refused


def test_row_of_another_device_goes_to_quarantine() -> None:
    body = [
        result(0, [[NOON_MS, 1]], tags={"nodeId": "n1", "gatewayMAC": "a"}),
        result(1, [[NOON_MS, 2]], tags={"nodeId": "n1"}),
    ]
    read = read_answers([telemetry_call(body, about(), about(node_id="n2", window="w2"))])
    assert rows_of(read) == [(0, NOON, 1.0)]
    assert reasons_of(read) == [(1, "other_node")]


def test_nan_and_lone_surrogate_cost_their_rows_only() -> None:
    good = json.dumps([NOON_MS + 60_000, 4])
    text = json.dumps([result(0, [[NOON_MS, 1], "NAN", "SURROGATE", "GOOD"])])
    text = text.replace('"NAN"', f"[{NOON_MS}, NaN]").replace('"GOOD"', good)
    body = text.replace('"SURROGATE"', '["\\ud800", 2]').encode()
    read = read_answers([telemetry_call(body, about())])
    assert [value for _, _, value in rows_of(read)] == [1.0, 4.0]
    assert reasons_of(read) == [(1, "not_finite"), (2, "no_instant")]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[{", b"[1]", b'{"device": []}', b"\xff\xfe"])
def test_answer_without_results_is_refused_and_other_answers_are_kept(body: bytes) -> None:
    bad = telemetry_call(body, about(), number=1)
    good = telemetry_call([result(0, [[NOON_MS, 1]])], about(window="w2"), number=2)
    read = read_answers([bad, good])
    assert list(read.refused) == [0]
    assert read.rows["page"].to_list() == [1]


def test_no_answers_give_empty_frames() -> None:
    read = read_answers([])
    assert read.rows.is_empty()
    assert read.asked.is_empty()


_VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(-(10**9), 10**9)
)
_TIMES = st.integers(int(START_AT.timestamp() * 1000), int(END_AT.timestamp() * 1000) - 1)


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(st.tuples(_TIMES, _VALUES), max_size=8), bad_at=st.integers(0, 8))
def test_row_by_row_gives_what_the_whole_page_gives(
    rows: list[tuple[int, float]], bad_at: int
) -> None:
    whole = read_answers([telemetry_call([result(0, rows)], about())])
    with_bad = [*rows[:bad_at], ["x"], *rows[bad_at:]]
    single = read_answers([telemetry_call([result(0, with_bad)], about())])
    assert rows_of(single) == rows_of(whole)
    assert rows_of(whole) == [
        (0, datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at), float(value))
        for at, value in rows
    ]
    assert single.quarantine.height == 1


@settings(max_examples=15, deadline=None)
@given(cut_at=st.integers(0, 400), noise=st.binary(max_size=4))
def test_damaged_bytes_never_raise(cut_at: int, noise: bytes) -> None:
    sent = json.dumps([result(0, [[NOON_MS, 1], [NOON_MS + 1, 2]]), {"statement_id": 1}]).encode()
    call = telemetry_call(sent[:cut_at] + noise + sent[cut_at:], about(), about(window="w2"))
    read = read_answers([call])
    assert read.rows.height + read.quarantine.height <= 4
