"""Pages of history: good rows are kept, bad ones are named, hostile pages are refused."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.rest import RawCall
from energy_etl.vendors.wattsense.pages import PageRows, read_pages

SAMPLES = Path(__file__).parents[2] / "samples" / "wattsense"
NO_CONTENT = b""
FROM_AT = datetime(2025, 4, 15, tzinfo=UTC)
TO_AT = FROM_AT + timedelta(days=1)
T_MS = int(FROM_AT.timestamp() * 1000) + 60_000


def _item(**changes: Any) -> dict[str, Any]:
    return {"property": "p1", "timestamp": T_MS, "payload": 1.5, "scaledPayload": 2.5} | changes


def _read(*bodies: bytes | list[Any]) -> PageRows:
    calls = [
        RawCall(
            request_id=f"r{number}",
            vendor="wattsense",
            endpoint="history",
            params={},
            status=204 if body == NO_CONTENT else 200,
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            requested_at=TO_AT,
        )
        for number, body in enumerate(bodies)
    ]
    return read_pages(calls, [("p1", FROM_AT, TO_AT)] * len(calls))


def _reasons(read: PageRows) -> list[tuple[int, str]]:
    return read.quarantine.select("row_number", "reasons").rows()


def test_scaled_payload_wins_and_both_are_kept() -> None:
    rows = _read([_item()]).rows
    assert rows.row(0, named=True) == {
        "page": 0,
        "measured_at": FROM_AT + timedelta(minutes=1),
        "payload_text": None,
        "payload_number": 1.5,
        "scaled_payload": 2.5,
        "reading_native": 2.5,
    }


@pytest.mark.parametrize(
    ("payload", "text", "number"),
    [
        (7, None, 7.0),
        (0, None, 0.0),
        ("21.5", "21.5", 21.5),
        (" 3e2 ", " 3e2 ", 300.0),
        ("on", "on", None),
        ("", "", None),
        ("21,5", "21,5", None),
        ("0x10", "0x10", None),
    ],
)
def test_payload_is_a_number_or_a_text(
    payload: object, text: str | None, number: float | None
) -> None:
    row = _read([_item(payload=payload, scaledPayload=None)]).rows.row(0, named=True)
    assert (row["payload_text"], row["payload_number"]) == (text, number)
    assert row["reading_native"] == number


def test_scaled_zero_is_a_value() -> None:
    rows = _read([_item(scaledPayload=0)]).rows
    assert rows["reading_native"].to_list() == [0.0]


def test_item_without_its_property_belongs_to_the_one_asked_for() -> None:
    item = _item()
    del item["property"]
    assert _read([item]).rows.height == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (_item(timestamp="2025-04-15T00:00:00Z"), "type:timestamp"),
        (_item(timestamp=None), "type:timestamp"),
        (_item(timestamp=-1), "type:timestamp"),
        (_item(timestamp=T_MS * 1000), "type:timestamp"),
        (_item(timestamp=2**70), "type:timestamp"),
        (_item(payload=True), "type:payload"),
        (_item(payload={"v": 1}), "type:payload"),
        (_item(payload=[1]), "type:payload"),
        (_item(scaledPayload="2.5"), "type:scaledPayload"),
        (_item(property=5), "type:property"),
        ({"property": "p1", "payload": 1}, "type"),
        (None, "type"),
        (5, "type"),
        ([], "type"),
        ("x", "type"),
        (_item(payload=None, scaledPayload=None), "no_payload"),
        (_item(payload="NaN", scaledPayload=None), "not_finite"),
        (_item(payload="-inf"), "not_finite"),
        (_item(payload=float("nan")), "not_finite"),
        (_item(scaledPayload=float("inf")), "not_finite"),
        (_item(property="p2"), "other_property"),
        (_item(timestamp=T_MS // 1000), "outside_window"),
        (_item(timestamp=T_MS - 120_000), "outside_window"),
        (_item(timestamp=T_MS + 2 * 86_400_000), "outside_window"),
        (_item(property="p2", timestamp=0), "other_property,outside_window"),
    ],
)
def test_bad_row_goes_to_quarantine_and_its_neighbours_stay(bad: Any, reason: str) -> None:
    good = [_item(), _item(timestamp=T_MS + 900_000)]
    read = _read([good[0], bad, good[1]])
    assert read.rows["measured_at"].dt.epoch("ms").to_list() == [T_MS, T_MS + 900_000]
    assert _reasons(read) == [(1, reason)]
    assert not read.refused
    raw = read.quarantine["raw_text"].item()
    assert json.loads(raw) == bad or "NaN" in raw


def test_lone_surrogate_harms_no_row() -> None:
    body = json.dumps([_item(), _item(payload="?", scaledPayload=None)]).encode()
    read = _read(body.replace(b'"?"', b'"\\ud800x"'))
    assert read.rows.height == 2
    assert read.rows["payload_text"].to_list()[1].endswith("x")


def test_bytes_that_are_no_utf8_harm_no_row() -> None:
    body = json.dumps([_item(), _item(payload="~", scaledPayload=None)]).encode()
    assert _read(body.replace(b"~", b"\xff")).rows.height == 2


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([_item()] * 50).encode()[:-30],
        b"<html>Bad gateway</html>",
        b'{"message": "oops", "status": 500}',
        b"null",
        b"[1, 2",
        b"[" * 100_000,
        b"5" * 10_000,
        b" ",
    ],
    ids=["truncated", "html", "object", "null", "open", "deep", "digits", "empty"],
)
def test_page_that_is_no_list_is_refused_and_the_next_is_read(body: bytes) -> None:
    read = _read(body, [_item()])
    assert list(read.refused) == [0]
    assert read.rows["page"].to_list() == [1]


def test_raw_text_is_cut() -> None:
    read = _read([_item(property="x" * 5000)])
    assert read.quarantine["raw_text"].str.len_chars().item() == 2000


def test_no_content_is_an_empty_page() -> None:
    read = _read(NO_CONTENT)
    assert read.rows.height == 0
    assert not read.refused


def test_item_at_the_end_of_the_window_belongs_to_the_next() -> None:
    read = _read([_item(timestamp=int(TO_AT.timestamp() * 1000))])
    assert read.rows.height == read.quarantine.height == 0


_ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_ROW = _ANY | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("property", "timestamp", "payload", "scaledPayload"), _ANY)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(_ROW, max_size=6))
def test_any_json_ends_in_rows_and_reasons(rows: list[Any]) -> None:
    read = _read([*rows, _item()])
    assert not read.refused
    assert (T_MS, 2.5) in read.rows.select(
        pl.col("measured_at").dt.epoch("ms"), "reading_native"
    ).rows()
    on_the_edge = [
        row
        for row in rows
        if isinstance(row, dict) and row.get("timestamp") == int(TO_AT.timestamp() * 1000)
    ]
    assert read.rows.height + read.quarantine.height == len(rows) + 1 - len(on_the_edge)
    assert read.rows["reading_native"].is_finite().fill_null(True).all()


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_end_in_rows_or_a_refusal(body: bytes) -> None:
    read = _read(body, [_item()])
    assert read.rows.filter(pl.col("page") == 1).height == 1


def test_sample_of_the_page_mixes_numbers_and_texts() -> None:
    rows = _read((SAMPLES / "history.json").read_bytes()).rows
    assert rows["reading_native"].to_list() == [12.345, 12350.0]
    assert rows["payload_text"].to_list() == [None, "12350"]
