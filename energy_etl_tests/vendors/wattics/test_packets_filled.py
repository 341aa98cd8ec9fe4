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
from energy_etl.errors import DeliveryError
from energy_etl.state import connect
from energy_etl.vendors.wattics.files import FileStream, StreamMap, read_packets
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


def fill_from(outbox: Outbox, register_id: str, rows: pl.DataFrame, packet_field: str) -> list:
    """Fill and deliver a stream of one register; return what it says now in its field."""
    own = stream(interval_minutes=360, push_from_at=None, register_id=register_id)
    packets, offsets = compute_packets(
        rows.filter(register_id=register_id),
        NO_SAMPLES,
        own.with_columns(field=pl.lit(packet_field)),
        NO_FIELDS,
        REGISTERS,
        outbox.offsets(),
    )
    outbox.fill(packets, [plan()], offsets=offsets, is_whole=True)
    deliver(outbox)
    return sent(outbox, packet_field)


def sent(outbox: Outbox, packet_field: str) -> list:
    return [json.loads(body).get(packet_field) for body in packet_frame(outbox)["body"]]


def test_stream_moved_to_another_register_and_back_goes_on_by_the_energy(outbox: Outbox) -> None:
    """A stream that was moved to a young meter fell by everything that the old one had counted."""
    assert fill_from(outbox, "r", ROWS.head(10), "pC_1")[-1] == 115_000.0
    rows = ROWS.filter(pl.col("start_at") < FROM_AT + timedelta(hours=6 * 20))
    assert fill_from(outbox, "l2", rows, "pC_1")[-1] == 130_000.0
    assert fill_from(outbox, "l2", rows, "pC_1")[-1] == 130_000.0
    numbers_sent = fill_from(outbox, "r", ROWS, "pC_1")
    growth = pl.Series(numbers_sent).diff().drop_nulls()
    assert growth.to_list() == pytest.approx([1500.0] * 239, abs=1e-3)
    assert fill_from(outbox, "r", ROWS, "pC_1") == numbers_sent


def test_stream_in_another_field_begins_there_and_the_first_field_stops_no_fill(
    outbox: Outbox,
) -> None:
    """The offsets of a field that nobody computed any more refused every fill from then on."""
    fill_from(outbox, "r", ROWS.head(10), "pC_1")
    assert fill_from(outbox, "r", ROWS.head(12), "pC_2")[-2:] == [116_500.0, 118_000.0]
    assert fill_from(outbox, "r", ROWS.head(14), "pC_1")[-1] == 121_000.0


def from_file(outbox: Outbox, path: Path, hours: int, *energies_wh: float) -> None:
    first_at = FROM_AT + timedelta(hours=hours)
    lines = [
        f"{first_at + n * timedelta(hours=6):%Y-%m-%d %H:%M:%S},{energy_wh}"
        for n, energy_wh in enumerate(energies_wh)
    ]
    path.write_text("\n".join(lines))
    file_stream = FileStream("s", "pC_1", "UTC", timedelta(hours=6))
    packets = read_packets(path, StreamMap({"s": file_stream}, {}), now=NOW, stream_id="s")
    offsets = packets.offsets(outbox.offsets())
    for batch in packets.batches():
        outbox.fill(batch, [plan()], offsets=offsets)
    deliver(outbox)


def test_stream_of_files_then_of_a_register_and_back_never_falls(
    outbox: Outbox, tmp_path: Path
) -> None:
    """A register that fed a stream after files took back what the files had counted."""
    path = tmp_path / "a.csv"
    from_file(outbox, path, 6, 7e6, 7e6 + 100)
    from_file(outbox, path, 18, 7e6 + 200)
    assert sent(outbox, "pC_1") == [7e6, 7e6 + 100, 7e6 + 200]
    rows = ROWS.filter(pl.col("start_at") >= FROM_AT + timedelta(hours=18)).head(6)
    assert fill_from(outbox, "r", rows, "pC_1")[3:] == [7e6 + 200 + n * 1500 for n in range(1, 7)]
    with pytest.raises(DeliveryError, match=r"was at pC_1 = 7009200\.0 .* begins with 3\.0 behind"):
        from_file(outbox, path, 60, 3)
    from_file(outbox, path, 60, 7e6 + 9300)
    rows = ROWS.filter(pl.col("start_at") >= FROM_AT + timedelta(hours=60)).head(1)
    assert fill_from(outbox, "r", rows, "pC_1")[-2:] == [7e6 + 9300, 7e6 + 10_800]


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
