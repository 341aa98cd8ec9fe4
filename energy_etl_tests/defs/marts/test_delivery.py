"""What is said of delivery: each check passes and fails, each finding tells what to do."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from energy_etl.defs.marts.delivery import DELIVERY_CHECKS, FINDINGS, SPACING_SINCE
from energy_etl.tables import Table, Verdict, push
from energy_etl.warehouse import Warehouse
from energy_etl_tests.transform.builders import utc

NOW = utc("2026-10-28T09:00")
BY_NAME = {check.name: check for check in DELIVERY_CHECKS}


def rows_of(table: Table, rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    counts = {
        column.name: 0
        for column in table.columns
        if column.kind == "int" and not column.is_nullable
    }
    schema = table.polars_schema
    return pl.DataFrame(
        [{name: {**counts, **row}.get(name) for name in schema} for row in rows], schema=schema
    )


def status_of(stream_id: str = "s", **cells: Any) -> dict[str, Any]:
    """Return a stream that is as it should be, but for some cells."""
    good = {
        "interval_minutes": 15,
        "spacing_minutes": 15.0,
        "lag_minutes": 12.0,
        "last_sent_at": NOW - timedelta(minutes=27),
    }
    return {"stream_id": stream_id, **good, **cells}


def hole(stream_id: str, after: str, n_missing: int, *, is_declared: bool = False) -> dict:
    after_at = utc(after)
    return {
        "stream_id": stream_id,
        "after_at": after_at,
        "before_at": after_at + timedelta(minutes=15 * (n_missing + 1)),
        "n_missing": n_missing,
        "is_declared": is_declared,
    }


def judge(name: str, *status: dict, holes: Iterable[dict] = (), streams: Any = ()) -> Verdict:
    frames = {
        push.STREAM_STATUS.full_name: rows_of(push.STREAM_STATUS, status),
        push.HOLE.full_name: rows_of(push.HOLE, holes),
        push.STREAM.full_name: rows_of(push.STREAM, streams),
    }
    return BY_NAME[name].judge(frames, NOW)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_nothing_sent_yet_and_streams_in_order_pass(name: str) -> None:
    never = {"stream_id": "n", "interval_minutes": 15, "n_held": 5, "hold_reason": "hole"}
    assert judge(name).passed
    assert judge(name, status_of(n_confirmed=96), never).passed


def test_parked_stream_and_refused_packets_fail_until_somebody_acts() -> None:
    parked = status_of("p", parked_reason="The vendor does not know stream p.", parked_at=NOW)
    verdict = judge("delivered", status_of(), parked, status_of("r", n_rejected=3))
    assert not verdict.passed
    assert verdict.numbers["n_parked"] == 1
    assert verdict.numbers["n_rejected"] == 3
    assert "p: The vendor does not know stream p." in verdict.message
    assert "r: Refused packets: 3." in verdict.message
    assert "energy-etl outbox retry --all" in verdict.message
    assert "retry_deliveries" in verdict.message


def test_stream_whose_reason_names_it_is_named_once() -> None:
    parked = status_of("p", parked_reason="Stream p: the vendor forgot packets.", parked_at=NOW)
    assert ": 1. Stream p: the vendor forgot packets. Mend" in judge("delivered", parked).message


def test_refused_credential_is_told_once_and_not_for_each_of_its_streams() -> None:
    reason = "The collector refused credential 'main': check its password."
    parked = [status_of(f"s{n}", parked_reason=reason, parked_at=NOW) for n in range(8)]
    verdict = judge("delivered", *parked, status_of("r", n_rejected=3))
    assert verdict.message.count(reason) == 1
    assert f"to act: 9. s0, s1, s2 and 5 more streams: {reason} r: Refused" in verdict.message


@pytest.mark.parametrize(
    ("interval", "lag", "passed"),
    [(15, 105.0, True), (15, 106.0, False), (1440, 1530.0, True), (1440, 1531.0, False)],
)
def test_stream_lags_when_its_packet_is_overdue_by_an_interval_and_90_minutes(
    interval: int, lag: float, passed: bool
) -> None:
    late = status_of(interval_minutes=interval, spacing_minutes=interval, lag_minutes=lag)
    assert judge("lag", late).passed is passed


def test_lagging_stream_is_named_with_its_reason_and_one_fed_by_files_is_not() -> None:
    late = [
        status_of("a", lag_minutes=600.0, hold_reason="hole from 1 to 2"),
        status_of("b", lag_minutes=300.0),
        status_of("f", lag_minutes=9000.0),
    ]
    streams = [{"stream_id": "a", "register_id": "r"}, {"stream_id": "f"}]
    verdict = judge("lag", *late, streams=streams)
    assert not verdict.passed
    assert verdict.numbers["n_lagging"] == 2
    assert "a: 10.0 h overdue, hole from 1 to 2. b: 5.0 h overdue, no newer" in verdict.message
    assert "f:" not in verdict.message


@pytest.mark.parametrize(("lag", "is_late"), [(1545.0, False), (1546.0, True)])
def test_stream_of_which_nothing_was_ever_sent_lags_a_day_later_and_is_a_finding(
    warehouse: Warehouse, lag: float, is_late: bool
) -> None:
    reason = "no packet was made of it yet"
    never = status_of("n", lag_minutes=lag, last_sent_at=None, hold_reason=reason)
    verdict = judge("lag", status_of(), never)
    assert verdict.passed is not is_late
    assert ("n: 25.8 h overdue and nothing was ever sent, no packet was" in verdict.message) is (
        is_late
    )
    assert verdict.numbers["n_never_sent"] == is_late
    # One that waits for somebody to act is told as that.
    parked = status_of("p", lag_minutes=9000.0, last_sent_at=None, parked_reason="Unknown.")
    frames = {push.STREAM_STATUS: rows_of(push.STREAM_STATUS, [never, parked])}
    found = found_in(warehouse, frames)
    assert set(found) == {"stream_stopped p", *(["stream_never_sent n"] if is_late else [])}
    if is_late:
        row = found["stream_never_sent n"]
        assert "overdue by 1.1 days: no packet was made of it yet." in row["message"]
        assert "mart.coverage" in row["next_step"]


def test_spacing_within_5_percent_passes_and_more_fails() -> None:
    assert judge("spacing", status_of(spacing_minutes=15.7)).passed
    verdict = judge("spacing", status_of(spacing_minutes=60.0))
    assert not verdict.passed
    assert "s: 60 instead of 15 min." in verdict.message


def test_hole_fails_unless_it_is_declared() -> None:
    declared = hole("s", "2026-10-27T10:00", 4, is_declared=True)
    assert judge("holes", status_of(), holes=[declared]).passed
    verdict = judge("holes", status_of(), holes=[declared, hole("s", "2026-10-27T20:00", 2)])
    assert not verdict.passed
    assert dict(verdict.numbers) == {"n_holes": 1, "n_missing": 2}


def test_more_streams_than_fit_are_counted() -> None:
    verdict = judge("delivered", *(status_of(f"s{n}", n_rejected=n + 1) for n in range(8)))
    assert "And 3 more." in verdict.message


# -- findings --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    tables = (push.STREAM_STATUS, push.HOLE, push.PACKET)
    return Warehouse(tmp_path_factory.mktemp("delivery") / "warehouse.duckdb", tables)


def found_in(warehouse: Warehouse, frames: dict[Table, pl.DataFrame]) -> dict[str, dict]:
    """Return the findings by kind and place, read as the step of the marts reads its inputs."""
    empty = {table: table.empty_frame() for table in warehouse.tables if table.schema == "push"}
    with warehouse.write() as writer:
        for table, frame in (empty | frames).items():
            writer.replace_all(table, frame)
    read = {each.full_name: warehouse.read_table(each) for each in empty}
    read[SPACING_SINCE.full_name] = warehouse.read(SPACING_SINCE.sql)
    (findings,) = FINDINGS
    rows = findings.find(read, NOW).to_dicts()
    return {f"{row['kind']} {row['place']}": row for row in rows}


def sent(stream_id: str, *stamps: str) -> pl.DataFrame:
    return rows_of(
        push.PACKET,
        [
            {
                "stream_id": stream_id,
                "stamped_at": utc(text),
                "body": "{}",
                "state": "confirmed",
                "filled_at": NOW,
            }
            for text in stamps
        ],
    )


def test_nothing_wrong_is_no_finding(warehouse: Warehouse) -> None:
    frames = {push.STREAM_STATUS: rows_of(push.STREAM_STATUS, [status_of(n_confirmed=9)])}
    assert found_in(warehouse, frames) == {}


def test_other_spacing_is_a_finding_with_one_message_for_all_streams_like_it(
    warehouse: Warehouse,
) -> None:
    off = [status_of(name, spacing_minutes=60.0, last_sent_at=NOW) for name in ("a", "b")]
    stamps = ["2026-10-05T00:00", "2026-10-05T00:15", "2026-10-05T01:15", "2026-10-05T02:15"]
    frames = {
        push.STREAM_STATUS: rows_of(push.STREAM_STATUS, [*off, status_of("c")]),
        push.PACKET: pl.concat([sent("a", *stamps), sent("c", *stamps)]),
    }
    found = found_in(warehouse, frames)
    assert set(found) == {"stream_spacing a", "stream_spacing b"}
    first = found["stream_spacing a"]
    assert first["from_at"] == utc("2026-10-05T00:15")
    message = first["next_step"].split('"')[1]
    assert message == found["stream_spacing b"]["next_step"].split('"')[1]
    assert "agreed at one packet every 15 minutes" in message
    assert "pushed every 60 minutes since 2026-10-05 (UTC): a, b." in message


def test_holes_are_a_finding_per_stream_with_the_newest_stretches(warehouse: Warehouse) -> None:
    holes = [hole("a", f"2026-10-2{day}T10:00", day) for day in range(1, 6)]
    frames = {
        push.STREAM_STATUS: rows_of(push.STREAM_STATUS, [status_of("a", hold_reason="too late")]),
        push.HOLE: rows_of(push.HOLE, [*holes, hole("b", "2026-10-20T10:00", 9, is_declared=True)]),
    }
    found = found_in(warehouse, frames)
    assert set(found) == {"stream_holes a"}
    row = found["stream_holes a"]
    assert "in all 15 are missing" in row["message"]
    assert "2026-10-25 10:00 to 2026-10-25 11:30 (5), and 2 earlier" in row["message"]
    assert "Its oldest held packet waits: too late." in row["message"]
    assert "gaps.csv" in row["next_step"]
    assert (row["from_at"], row["to_at"]) == (holes[0]["after_at"], holes[-1]["before_at"])


def test_stopped_stream_is_a_finding_with_the_command(warehouse: Warehouse) -> None:
    rows = [status_of("p", parked_reason="Refused.", parked_at=NOW, n_rejected=2)]
    row = found_in(warehouse, {push.STREAM_STATUS: rows_of(push.STREAM_STATUS, rows)})
    stopped = row["stream_stopped p"]
    assert stopped["message"].endswith("Refused. Refused packets: 2.")
    assert "energy-etl outbox retry --stream p" in stopped["next_step"]
