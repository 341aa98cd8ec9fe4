"""What was pushed against what Wattics says it holds: verdicts, days, units, what it could know."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from energy_etl.tables import core, push
from energy_etl.vendors.wattics import tables
from energy_etl.vendors.wattics.holdings import compute_stream_comparison, find_differences

STREAMS = [
    # stream, field, content, unit, zone
    ("dp-e", "pC_1", "cumulative_wh", "kWh", "Europe/Rome"),
    ("dp-w", "value", "interval", "m3", "America/New_York"),
    ("dp-k", "value", "interval", "kWh", "Europe/Rome"),
    ("dp-t", "value", "sample", "degC", "Europe/Rome"),
]
NOON_AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
SENT_AT = datetime(2026, 3, 20, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 25, tzinfo=UTC)
DAY = date(2026, 3, 10)
MARCH = date(2026, 3, 1)
FIELDS = {stream_id: field for stream_id, field, *_ in STREAMS}


def packets(
    stream_id: str,
    numbers: Sequence[float],
    at: datetime = NOON_AT,
    sent_at: datetime | None = SENT_AT,
) -> list[dict[str, Any]]:
    """Packets a quarter of an hour apart."""
    return [
        {
            "stream_id": stream_id,
            "stamped_at": at + n * timedelta(minutes=15),
            "body": f'{{"id":"{stream_id}","tsISO8601":"2026","{FIELDS[stream_id]}":{number}}}',
            "state": "confirmed",
            "n_attempts": 1,
            "sent_at": sent_at,
            "confirmed_at": sent_at,
        }
        for n, number in enumerate(numbers)
    ]


def held(stream_id: str, amount: float, unit: str = "Watt", on: date = DAY) -> dict[str, Any]:
    return {
        "meter_id_wattics": f"m-{stream_id}",
        "month_on": on.replace(day=1),
        "local_on": on,
        "slot": "total",
        "consumption_native": amount,
        "unit_wattics": unit,
        "energy_wh": {"Watt": amount, "kWh": 1000 * amount}.get(unit),
    }


def compared(
    pushed: Sequence[dict[str, Any]],
    holdings: Sequence[dict[str, Any]] = (),
    *,
    asked: Sequence[str] = tuple(FIELDS),
    pushed_to_at: datetime | None = SENT_AT,
) -> dict[tuple[str, date], dict[str, Any]]:
    """Return the rows of the mart by stream and day."""
    streams = [
        {
            "stream_id": stream_id,
            "register_id": f"r-{stream_id}",
            "field": field,
            "content": content,
            "interval_minutes": 15,
            "credential": "main",
        }
        for stream_id, field, content, _, _ in STREAMS
    ]
    registers = [
        {"register_id": f"r-{stream_id}", "unit": unit, "zone": zone}
        for stream_id, _, _, unit, zone in STREAMS
    ]
    meters = [
        {"meter_id_wattics": f"m-{stream_id}", "reference": stream_id} for stream_id in FIELDS
    ]
    months = [
        {"meter_id_wattics": f"m-{stream_id}", "month_on": MARCH, "pushed_to_at": pushed_to_at}
        for stream_id in asked
    ]
    frames = {
        table.full_name: pl.DataFrame(list(rows), schema=table.polars_schema)
        for table, rows in (
            (push.STREAM, streams),
            (push.PACKET, pushed),
            (core.REGISTER, registers),
            (tables.METER, meters),
            (tables.CONSUMPTION, holdings),
            (tables.ASKED_MONTH, months),
        )
    }
    frame = compute_stream_comparison(frames, NOW)
    assert frame.schema == tables.STREAM_COMPARISON.polars_schema
    return {(row["stream_id"], row["local_on"]): row for row in frame.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("amount", "verdict"),
    [(150.0, "equal"), (150.9, "equal"), (151.1, "differs"), (0.0, "differs"), (None, "not held")],
)
def test_counter_is_compared_by_its_growth_within_one_wh(
    amount: float | None, verdict: str
) -> None:
    holdings = [] if amount is None else [held("dp-e", amount)]
    row = compared(packets("dp-e", [1000, 1100, 1150]), holdings)["dp-e", DAY]
    assert (row["verdict"], row["pushed_native"], row["unit"]) == (verdict, 150.0, "Wh")
    assert (row["n_packets"], row["n_confirmed"]) == (3, 3)
    assert row["held_native"] == amount


def test_growth_of_all_phases_is_one_amount_whatever_stands_beside() -> None:
    bodies = ['"v_1":230.0,"pC_1":1000.0,"pC_2":50.0', '"pC_1":1010.0', '"v_1":1.0,"pC_2":55.0']
    pushed = [
        row | {"body": f'{{"id":"dp-e","tsISO8601":"2026",{fields}}}'}
        for row, fields in zip(packets("dp-e", [0, 0, 0]), bodies, strict=True)
    ]
    row = compared(pushed, [held("dp-e", 15.0)])["dp-e", DAY]
    assert (row["verdict"], row["pushed_native"]) == ("equal", 15.0)


def test_values_are_added_in_their_own_unit() -> None:
    rows = compared(
        [*packets("dp-w", [0.1, 0.2]), *packets("dp-k", [1.5, 2e-1])],
        [held("dp-w", 0.3, "m3"), held("dp-k", 1700.0)],
    )
    assert rows["dp-w", DAY]["verdict"] == rows["dp-k", DAY]["verdict"] == "equal"
    assert rows["dp-k", DAY]["held_native"] == pytest.approx(1.7)


def test_units_that_cannot_be_compared_differ_without_a_difference() -> None:
    row = compared(packets("dp-w", [0.1]), [held("dp-w", 0.1, "Watt")])["dp-w", DAY]
    assert (row["verdict"], row["difference_native"]) == ("differs", None)


def test_large_amounts_are_equal_within_their_share() -> None:
    pushed = packets("dp-e", [0, 1e9])
    assert compared(pushed, [held("dp-e", 1e9 + 9e4)])["dp-e", DAY]["verdict"] == "equal"
    assert compared(pushed, [held("dp-e", 1e9 + 2e5)])["dp-e", DAY]["verdict"] == "differs"


def test_interval_that_ends_at_midnight_belongs_to_the_day_before_at_the_site() -> None:
    # 04:00 UTC is midnight in New York, where summer time has begun.
    midnight_at = datetime(2026, 3, 10, 4, tzinfo=UTC)
    rows = compared(packets("dp-w", [1.0, 2.0], midnight_at))
    assert {day: row["pushed_native"] for (_, day), row in rows.items()} == {
        date(2026, 3, 9): 1.0,
        DAY: 2.0,
    }


def test_what_was_sent_after_the_question_is_no_difference() -> None:
    late = packets("dp-e", [1150], NOON_AT + timedelta(minutes=30), SENT_AT + timedelta(seconds=1))
    pushed = [*packets("dp-e", [1000, 1100]), *late]
    row = compared(pushed, [held("dp-e", 100.0)])["dp-e", DAY]
    assert (row["verdict"], row["n_packets"]) == ("equal", 2)
    only_late = compared(late)["dp-e", DAY]
    assert (only_late["verdict"], only_late["n_packets"]) == ("not asked", 0)


def test_before_wattics_was_asked_for_anything_nothing_is_compared() -> None:
    assert compared(packets("dp-e", [1000, 1100]), asked=()) == {}


def test_month_that_nobody_asked_for_is_shown_as_pushed() -> None:
    row = compared(packets("dp-e", [1000, 1100]), asked=("dp-w",))["dp-e", DAY]
    assert (row["verdict"], row["pushed_native"], row["n_packets"]) == ("not asked", 100.0, 2)


def test_samples_have_no_amount_and_are_not_asked_for() -> None:
    row = compared(packets("dp-t", [20.5, 21.0]))["dp-t", DAY]
    assert (row["verdict"], row["pushed_native"], row["n_packets"]) == ("not asked", None, 2)


def test_what_was_not_pushed_from_here_is_told() -> None:
    rows = compared([], [held("dp-e", 5.0), held("dp-k", 0.0, "kWh")], pushed_to_at=None)
    assert {key: row["verdict"] for key, row in rows.items()} == {("dp-e", DAY): "not pushed"}


def test_packets_that_were_not_accepted_do_not_count() -> None:
    assert compared(packets("dp-e", [1000, 1100], sent_at=None)) == {}


def test_first_packet_of_all_has_no_amount_here_and_there() -> None:
    assert compared(packets("dp-e", [1000]))["dp-e", DAY]["verdict"] == "equal"


def test_finding_names_the_stream_once_and_waits_for_the_day_to_end() -> None:
    rows = compared(
        [
            *packets("dp-e", [1000, 1100]),
            *packets("dp-e", [1100, 1200], NOON_AT + timedelta(days=1)),
            *packets("dp-k", [1.0], NOW - timedelta(hours=20)),
            *packets("dp-w", [1.0]),
        ],
        [held("dp-e", 50.0), held("dp-w", 1.0, "m3")],
    )
    assert [row["verdict"] for row in rows.values()].count("not held") == 2
    mart = pl.DataFrame(list(rows.values()), schema=tables.STREAM_COMPARISON.polars_schema)
    found = find_differences({tables.STREAM_COMPARISON.full_name: mart}, NOW)
    assert found["place"].to_list() == ["dp-e"]
    assert "50.0 Wh of stream dp-e (register r-dp-e) where 200.0 Wh" in found["message"].item()
    assert "on 2 days from 2026-03-10 to 2026-03-11" in found["message"].item()
