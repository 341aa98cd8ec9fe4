"""The outbox as frames of layer push, and the layer as its mirror."""

import random
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_etl.delivery import Outbox, release
from energy_etl.delivery.acks import Confirmed, Failed, Response, Sent, apply
from energy_etl.delivery.mirror import (
    correction_frame,
    last_accepted,
    offset_frame,
    packet_frame,
    response_frame,
    show,
    status_frame,
)
from energy_etl.state import open_state
from energy_etl.tables.push import (
    CORRECTION,
    MIRROR,
    PACKET,
    PUSH_TABLES,
    RESPONSE,
    STREAM_OFFSET,
    STREAM_STATUS,
)
from energy_etl.warehouse import Warehouse
from energy_etl_tests.delivery.conftest import (
    NOW,
    body,
    packets,
    plan,
    stamp,
    stamp_ms,
)


def test_an_empty_outbox_has_the_columns_of_the_tables(outbox: Outbox) -> None:
    assert packet_frame(outbox).schema == PACKET.polars_schema
    assert correction_frame(outbox).schema == CORRECTION.polars_schema
    assert offset_frame(outbox).schema == STREAM_OFFSET.polars_schema
    assert status_frame(outbox).schema == STREAM_STATUS.polars_schema


def test_frames_say_what_became_of_each_packet(outbox: Outbox) -> None:
    plans = [plan("s"), plan("t")]
    offsets = (
        outbox.offsets()
        .clear()
        .vstack(
            pl.DataFrame(
                [("s", "pC_1", stamp(1), 0.5, False, None, None, "r")],
                schema=outbox.offsets().schema,
                orient="row",
            )
        )
    )
    outbox.fill(packets("s", [1, 2, 3, 5]), plans, offsets=offsets, now=NOW)
    outbox.fill(packets("t", [2]), plans, now=NOW)
    release(outbox, plans, [], NOW)
    sent = [Sent("s", stamp_ms(n), body("s", n), 200, 1) for n in (1, 2)]
    apply(outbox, [*sent, Confirmed("s", stamp_ms(1))], NOW)
    outbox.fill(packets("s", [2], value=0.5), plans, now=NOW)

    frame = packet_frame(outbox)
    assert frame.schema == PACKET.polars_schema
    assert frame["state"].to_list() == ["confirmed", "superseded", "pending", "held", "held"]
    first = frame.row(0, named=True)
    assert (first["stamped_at"], first["sent_at"], first["confirmed_at"]) == (stamp(1), NOW, NOW)
    assert (first["status"], first["n_attempts"], first["filled_at"]) == (200, 1, NOW)

    status = {row["stream_id"]: row for row in status_frame(outbox).iter_rows(named=True)}
    counts = {name: value for name, value in status["s"].items() if name.startswith("n_")}
    assert counts == {
        "n_sent": 0,
        "n_confirmed": 1,
        "n_pending": 1,
        "n_held": 1,
        "n_rejected": 0,
        "n_superseded": 1,
        "n_dropped": 0,
        "n_holes": 0,
        "n_missing": 0,
    }
    assert status["s"]["last_sent_at"] == stamp(2)
    assert status["s"]["last_confirmed_at"] == stamp(1)
    assert status["s"]["hold_reason"].startswith("hole from 2025-01-06T00:45Z")
    assert status["t"]["last_sent_at"] is None

    correction = correction_frame(outbox).row(0, named=True)
    assert (correction["body_sent"], correction["body_now"]) == (body("s", 2), body("s", 2, 0.5))
    assert correction["stamped_at"] == stamp(2)
    assert offset_frame(outbox).rows() == [("s", "pC_1", stamp(1), 0.5, True)]


def test_newest_acceptance_is_told_per_stream_that_has_one(outbox: Outbox) -> None:
    plans = [plan("s"), plan("t")]
    outbox.fill(pl.concat([packets("s", [1, 2]), packets("t", [1])]), plans)
    release(outbox, plans, [], NOW, timedelta(hours=48))
    assert last_accepted(outbox) == {}
    for number, later in ((1, timedelta(0)), (2, timedelta(minutes=5))):
        sent = Sent("s", stamp_ms(number), body("s", number), 200, 1)
        apply(outbox, [sent], NOW + later)
    assert last_accepted(outbox) == {"s": NOW + timedelta(minutes=5)}


def test_packets_are_found_by_state_stream_and_stamp(outbox: Outbox) -> None:
    plans = [plan("s"), plan("t")]
    outbox.fill(pl.concat([packets("s", [1, 2, 4]), packets("t", [1])]), plans, now=NOW)
    release(outbox, plans, [], NOW)
    assert packet_frame(outbox, state="pending", limit=2)["stamped_at"].to_list() == [
        stamp(1),
        stamp(2),
    ]
    assert packet_frame(outbox, state="held")["stream_id"].to_list() == ["s"]
    assert packet_frame(outbox, stream_id="s", from_at=stamp(2)).height == 2


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb", (*PUSH_TABLES, MIRROR))


_PLANS = [plan("s"), plan("t", is_historical=True)]


def _shown(warehouse: Warehouse, outbox: Outbox) -> tuple[pl.DataFrame, ...]:
    show(warehouse, outbox, _PLANS, NOW)
    return _tables(warehouse)


def _tables(warehouse: Warehouse) -> tuple[pl.DataFrame, ...]:
    with warehouse.reading() as reader:
        return tuple(
            reader.read_table(table, "true ORDER BY ALL").select(table.content_columns)
            for table in (PACKET, CORRECTION, RESPONSE)
        )


def _expected(outbox: Outbox) -> tuple[pl.DataFrame, ...]:
    frames = (packet_frame(outbox), correction_frame(outbox), response_frame(outbox))
    tables = (PACKET, CORRECTION, RESPONSE)
    return tuple(
        frame.select(table.content_columns).sort(table.key)
        for table, frame in zip(tables, frames, strict=True)
    )


def _is_same(a: tuple[pl.DataFrame, ...], b: tuple[pl.DataFrame, ...]) -> bool:
    return all(one.equals(other) for one, other in zip(a, b, strict=True))


def _something_happens(outbox: Outbox, chance: random.Random) -> None:
    """Do to the outbox one of the things that can be done to it."""
    stream_id, number = chance.choice("st"), chance.randrange(1, 12)
    stamped_ms, text = stamp_ms(number), body(stream_id, number)
    numbers = chance.sample(range(1, 12), 4)
    answered = Response(stream_id, stamped_ms, 1, 0.1, 200, None)
    chance.choice(
        (
            lambda: outbox.fill(packets(stream_id, numbers), _PLANS, now=NOW),
            lambda: outbox.fill(packets(stream_id, numbers, chance.random()), _PLANS, now=NOW),
            lambda: outbox.fill(packets("s", numbers), _PLANS[:1], is_whole=True, now=NOW),
            lambda: release(outbox, _PLANS, [], NOW + chance.choice([1, 60]) * timedelta(hours=1)),
            lambda: apply(outbox, [answered, Sent(stream_id, stamped_ms, text, 200, 1)], NOW),
            lambda: apply(outbox, [Confirmed(stream_id, stamped_ms)], NOW),
            lambda: apply(
                outbox, [Failed(stream_id, stamped_ms, text, 400, "bad", 1, is_rejected=True)], NOW
            ),
            lambda: outbox.drop(stream_id, stamped_ms, stamped_ms + 1, "no meter"),
            lambda: outbox.retry(),
        )
    )()


def test_what_is_shown_is_the_outbox_whatever_happened_to_it(
    outbox: Outbox, warehouse: Warehouse
) -> None:
    chance = random.Random(1)
    outbox.fill(pl.concat([packets(s, range(1, 9)) for s in "st"]), _PLANS, now=NOW)
    states = set()
    for _ in range(5):
        for _ in range(chance.randrange(4, 16)):
            _something_happens(outbox, chance)
        assert _is_same(_shown(warehouse, outbox), _expected(outbox))
        states |= set(packet_frame(outbox)["state"])
    assert len(states) >= 5


def test_only_what_changed_is_written(outbox: Outbox, warehouse: Warehouse) -> None:
    outbox.fill(packets("s", range(1, 9)), _PLANS, now=NOW)
    _shown(warehouse, outbox)
    with warehouse.write() as writer:  # Nobody does; what is not written again stays as it is.
        writer.read("SELECT 1")
        spoilt = packet_frame(outbox).with_columns(error=pl.lit("by hand"))
        writer.merge(PACKET, spoilt)
    outbox.fill(packets("s", [6], value=1.5), _PLANS, now=NOW)
    shown = _shown(warehouse, outbox)[0]
    assert shown["error"].to_list() == ["by hand"] * 5 + [None] * 3


def test_a_kill_before_the_outbox_notes_it_and_a_failed_write_lose_nothing(
    outbox: Outbox, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.fill(packets("s", range(1, 5)), _PLANS, now=NOW)
    _shown(warehouse, outbox)

    outbox.fill(packets("s", [1], value=1.5), _PLANS, now=NOW)
    with monkeypatch.context() as patched:
        patched.setattr("energy_etl.delivery.mirror._note_shown", lambda *_: None)
        _shown(warehouse, outbox)
    outbox.fill(packets("s", [2], value=2.5), _PLANS, now=NOW)
    assert _is_same(_shown(warehouse, outbox), _expected(outbox))

    outbox.fill(packets("s", [3], value=3.5), _PLANS, now=NOW)
    with monkeypatch.context() as patched:
        patched.setattr("energy_etl.delivery.mirror.watch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            show(warehouse, outbox, _PLANS, NOW)
    assert _is_same(_shown(warehouse, outbox), _expected(outbox))


def test_an_emptied_warehouse_or_another_outbox_is_shown_anew(
    outbox: Outbox, warehouse: Warehouse, tmp_path: Path
) -> None:
    outbox.fill(packets("s", range(1, 5)), _PLANS, now=NOW)
    apply(outbox, [Response("s", stamp_ms(1), 1, 0.1, 200, None)], NOW)
    before = _shown(warehouse, outbox)
    with warehouse.write() as writer:
        for table in warehouse.tables:
            writer.replace_all(table, table.empty_frame())
    assert _is_same(_shown(warehouse, outbox), before)

    with open_state(tmp_path / "other.sqlite") as connection:
        other = Outbox(connection)
        other.fill(packets("t", [1]), _PLANS, now=NOW)
        assert _is_same(_shown(warehouse, other), _expected(other))
    assert _is_same(_shown(warehouse, outbox), before)
