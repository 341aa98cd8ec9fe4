"""The packet's format: stamps with their true offset, and what stands for "no packet yet"."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_etl.errors import MalformedError
from energy_etl.vendors.wattics.wire import (
    ELECTRICAL_FIELDS,
    packet_head,
    parse_last,
    stamp_expression,
    stamp_text,
)

ZONES = ("Europe/Rome", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu", "UTC")


def stamps(zone: str, *instants: datetime) -> list[str]:
    frame = pl.DataFrame({"at": instants}, schema={"at": pl.Datetime("us", "UTC")})
    return frame.select(stamp_expression("at", zone)).to_series().to_list()


def test_stamp_is_local_with_its_offset_and_milliseconds() -> None:
    at = datetime(2016, 2, 10, 10, 45, 31, 70_000, tzinfo=UTC)
    assert stamps("Australia/Sydney", at) == ["2016-02-10T21:45:31.070+11:00"]


def test_both_half_past_ones_of_an_autumn_night_are_distinct_and_ordered_by_instant() -> None:
    first = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    assert stamps("Europe/Rome", first, first + timedelta(hours=1)) == [
        "2025-10-26T02:30:00.000+02:00",
        "2025-10-26T02:30:00.000+01:00",
    ]
    # Lord Howe turns back by half an hour.
    howe = datetime(2025, 4, 5, 14, 45, tzinfo=UTC)
    assert stamps("Australia/Lord_Howe", howe, howe + timedelta(minutes=30)) == [
        "2025-04-06T01:45:00.000+11:00",
        "2025-04-06T01:45:00.000+10:30",
    ]


def test_utc_is_an_offset_never_z() -> None:
    assert stamps("UTC", datetime(2025, 1, 1, tzinfo=UTC)) == ["2025-01-01T00:00:00.000+00:00"]


@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2060, 1, 1)),
    st.sampled_from(ZONES),
)
def test_stamps_say_the_same_instant_as_the_standard_library(at: datetime, zone: str) -> None:
    instant = at.replace(tzinfo=UTC, microsecond=at.microsecond // 1000 * 1000)
    (text,) = stamps(zone, instant)
    assert text == stamp_text(instant.astimezone(ZoneInfo(zone)))
    assert datetime.fromisoformat(text) == instant


def test_there_are_21_electrical_fields() -> None:
    assert len(set(ELECTRICAL_FIELDS)) == 21
    assert {"aP_1", "rP_3", "apP_2", "v_1", "c_3", "pC_1", "v_12", "v_13", "v_23"} < set(
        ELECTRICAL_FIELDS
    )


@given(st.text(min_size=1))
def test_any_id_is_one_line_of_json(stream_id: str) -> None:
    line = packet_head(stream_id) + 'x"}'
    assert "\n" not in line
    assert json.loads(line) == {"id": stream_id, "tsISO8601": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "null",
        "{}",
        "[]",
        '"Invalid Date"',
        "Invalid Date",
        '{"id": "s", "tsISO8601": null}',
        '{"id": "s", "tsISO8601": "Invalid Date"}',
        '{"id": "s", "tsISO8601": "1970-01-01T01:00:00.000+01:00", "value": 0}',
    ],
)
def test_signs_of_nothing_received_are_none(text: str) -> None:
    assert parse_last(text, "here") is None


def test_last_packet_is_its_instant() -> None:
    text = '{"pC_1": 5, "tsISO8601": "2025-10-26T02:30:00.000+01:00", "id": "s"}'
    assert parse_last(text, "here") == datetime(2025, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "<html>",
        "17",
        "[1]",
        '{"id": "s"}',
        '{"tsISO8601": "yesterday"}',
        '{"tsISO8601": 5}',
        '{"tsISO8601": "2025-01-01T00:00:00.000"}',
    ],
)
def test_an_answer_that_is_no_packet_is_an_error_and_not_none(text: str) -> None:
    with pytest.raises(MalformedError, match="here: the last packet cannot be read"):
        parse_last(text, "here")
