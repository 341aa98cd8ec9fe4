"""Packets in a real outbox: filled in any order, older days behind newer ones, nights of change."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_etl.delivery import Outbox
from energy_etl.delivery.frontier import release
from energy_etl.delivery.mirror import correction_frame, packet_frame
from energy_etl.delivery.plan import StreamPlan
from energy_etl.state import connect
from energy_etl.vendors.wattics.packets import compute_packets
from energy_etl_tests.vendors.wattics.packet_rows import (
    NO_FIELDS,
    NO_OFFSETS,
    NO_SAMPLES,
    field,
    intervals,
    numbers,
    register,
    stream,
)

FROM_AT = datetime(2025, 3, 1, tzinfo=UTC)
N_DAYS, NEWER_FROM_AT = 60, datetime(2025, 3, 31, tzinfo=UTC)
# Whatever waits for its time has waited long enough.
NOW = datetime(2099, 1, 1, tzinfo=UTC)
STREAM = stream(interval_minutes=360, push_from_at=FROM_AT)
PHASE_2 = field("pC_2", "cumulative_wh", "l2")
REGISTERS = pl.concat([register(grid_minutes=360), register(register_id="l2", grid_minutes=360)])
# Packet of the phase -> what happens to its counter, in either half and on the edge between.
RESETS = {"r": {50: 0.0, 121: 0.0, 200: 0.0}, "l2": {7: 812.5, 160: 0.25, 239: 0.0}}


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    connection = connect(tmp_path / "state.sqlite")
    yield Outbox(connection)
    connection.close()


def counted(register_id: str) -> pl.DataFrame:
    """Sixty days of a counter, every six hours, with its resets and exchanges."""
    value, ends = 100.0, []
    for n in range(N_DAYS * 4):
        value = RESETS[register_id].get(n, value) + 1.5
        ends.append(value)
    step = timedelta(hours=6)
    start_at = pl.Series([FROM_AT + n * step for n in range(len(ends))]).cast(
        pl.Datetime("us", "UTC")
    )
    rows = intervals(ends, [1.5] * len(ends))
    return rows.with_columns(
        register_id=pl.lit(register_id), start_at=start_at, end_at=start_at + step
    )


ROWS = pl.concat([counted("r"), counted("l2")])


def fill(outbox: Outbox, rows: pl.DataFrame) -> int:
    """Compute and fill what the rows say; return how many packets changed in any way."""
    packets, offsets = compute_packets(
        rows, NO_SAMPLES, STREAM, PHASE_2, REGISTERS, outbox.offsets()
    )
    done = outbox.fill(packets, [plan()], offsets=offsets, is_whole=True)
    assert done.n_corrected == 0
    return done.n_added + done.n_updated + done.n_withdrawn


def plan() -> StreamPlan:
    return StreamPlan("s", timedelta(hours=6), FROM_AT, "main", frozenset({"r", "l2"}))


def deliver(outbox: Outbox) -> None:
    release(outbox, [plan()], [], NOW, timedelta(0))
    with outbox.connection:
        outbox.connection.execute(
            "UPDATE packet SET state = 'confirmed', sent_us = 1, confirmed_us = 1 "
            "WHERE state = 'pending'"
        )
        outbox.connection.execute("UPDATE stream SET last_sent_ms = released_ms")


def test_thirty_older_days_behind_thirty_confirmed_ones_supersede_not_one_packet(
    outbox: Outbox,
) -> None:
    newer = ROWS.filter(pl.col("start_at") >= NEWER_FROM_AT)
    assert fill(outbox, newer) == 120
    deliver(outbox)
    confirmed = packet_frame(outbox).select("stamped_at", "body", "state")
    assert confirmed["state"].unique().to_list() == ["confirmed"]
    random.seed(5)
    days = list(range(30))
    random.shuffle(days)
    there = newer
    for first in range(0, 30, 10):
        chosen = [FROM_AT + timedelta(days=day) for day in days[first : first + 10]]
        older = ROWS.filter(pl.col("start_at").dt.truncate("1d").is_in(chosen))
        there = pl.concat([there, older])
        fill(outbox, there)
        assert fill(outbox, there) == 0
    assert correction_frame(outbox).is_empty()
    packets = packet_frame(outbox)
    assert packets.tail(120).select("stamped_at", "body", "state").equals(confirmed)
    assert packets["state"].to_list() == ["held"] * 120 + ["confirmed"] * 120
    for name in ("pC_1", "pC_2"):
        growth = pl.Series(numbers(packets, name)).diff().drop_nulls()
        assert growth.to_list() == pytest.approx([1500.0] * 239, abs=1e-3)


def test_days_filled_in_any_order_end_in_the_same_packets(outbox: Outbox) -> None:
    random.seed(6)
    days = ROWS["start_at"].dt.truncate("1d").unique().to_list()
    random.shuffle(days)
    for n_days in (7, 20, 41, 60):
        fill(outbox, ROWS.filter(pl.col("start_at").dt.truncate("1d").is_in(days[:n_days])))
    at_once, _ = compute_packets(ROWS, NO_SAMPLES, STREAM, PHASE_2, REGISTERS, NO_OFFSETS)
    assert packet_frame(outbox)["body"].to_list() == at_once["body"].to_list()


def test_reset_of_a_phase_that_came_after_its_packets_went_is_not_lost(outbox: Outbox) -> None:
    """Packets went without the phase while its counter was reset: it goes on from what was sent."""
    is_late = (pl.col("register_id") == "l2") & (pl.col("start_at") >= NEWER_FROM_AT)
    fill(outbox, ROWS.filter(~is_late))
    deliver(outbox)
    packets, offsets = compute_packets(
        ROWS, NO_SAMPLES, STREAM, PHASE_2, REGISTERS, outbox.offsets()
    )
    growth = pl.Series(numbers(packets, "pC_2")).diff().drop_nulls()
    assert growth.to_list() == pytest.approx([1500.0] * 239, abs=1e-3)
    # What went without it is told, and stays as it was sent.
    assert outbox.fill(packets, [plan()], offsets=offsets, is_whole=True).n_corrected == 120


@pytest.mark.parametrize(
    ("zone", "autumn_at", "spring_at", "shift_minutes"),
    [
        ("Europe/Rome", (2025, 10, 26, 0), (2025, 3, 30, 0), 60),
        ("Europe/Dublin", (2025, 10, 26, 0), (2025, 3, 30, 0), 60),
        ("America/New_York", (2025, 11, 2, 5), (2025, 3, 9, 6), 60),
        ("Australia/Lord_Howe", (2025, 4, 5, 14), (2025, 10, 4, 15), 30),
    ],
)
def test_each_packet_of_a_night_of_change_has_a_stamp_of_its_own_in_order(
    zone: str, autumn_at: tuple[int, ...], spring_at: tuple[int, ...], shift_minutes: int
) -> None:
    for night, is_autumn in ((autumn_at, True), (spring_at, False)):
        first_at = datetime(*night, tzinfo=UTC) - timedelta(hours=1)  # pyright: ignore[reportArgumentType]
        starts = [first_at + n * timedelta(minutes=15) for n in range(12)]
        rows = intervals([float(n) for n in range(12)]).with_columns(
            start_at=pl.Series(starts).cast(pl.Datetime("us", "UTC"))
        )
        rows = rows.with_columns(end_at=pl.col("start_at") + timedelta(minutes=15))
        packets, _ = compute_packets(
            rows, NO_SAMPLES, stream(push_from_at=None), NO_FIELDS, register(zone=zone), NO_OFFSETS
        )
        stamps = [json.loads(body)["tsISO8601"] for body in packets["body"]]
        instants = [datetime.fromisoformat(text) for text in stamps]
        assert instants == sorted(set(instants)) == packets["stamped_at"].to_list()
        assert all(text[-10:-6] == ".000" for text in stamps)
        walls = [text[:16] for text in stamps]
        n_again = shift_minutes // 15 if is_autumn else 0
        assert len(walls) - len(set(walls)) == n_again, "the hour that comes twice"
        assert (walls == sorted(walls)) == (not is_autumn)
        offsets = [instant.utcoffset() or timedelta() for instant in instants]
        assert max(offsets) - min(offsets) == timedelta(minutes=shift_minutes)
