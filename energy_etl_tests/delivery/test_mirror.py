"""The outbox as frames of layer push."""

from datetime import timedelta

import polars as pl

from energy_etl.delivery import Outbox, release
from energy_etl.delivery.acks import Confirmed, Sent, apply
from energy_etl.delivery.mirror import (
    correction_frame,
    last_accepted,
    offset_frame,
    packet_frame,
    status_frame,
)
from energy_etl.tables.push import CORRECTION, PACKET, STREAM_OFFSET, STREAM_STATUS
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
                [("s", stamp(1), 0.5, False, None)], schema=outbox.offsets().schema, orient="row"
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
    }
    assert status["s"]["last_sent_at"] == stamp(2)
    assert status["s"]["last_confirmed_at"] == stamp(1)
    assert status["s"]["hold_reason"].startswith("hole from 2025-01-06T00:45Z")
    assert status["t"]["last_sent_at"] is None

    correction = correction_frame(outbox).row(0, named=True)
    assert (correction["body_sent"], correction["body_now"]) == (body("s", 2), body("s", 2, 0.5))
    assert correction["stamped_at"] == stamp(2)
    assert offset_frame(outbox).rows() == [("s", stamp(1), 0.5, True)]


def test_newest_acceptance_is_told_per_stream_that_has_one(outbox: Outbox) -> None:
    plans = [plan("s"), plan("t")]
    outbox.fill(pl.concat([packets("s", [1, 2]), packets("t", [1])]), plans)
    release(outbox, plans, [], NOW, timedelta(hours=48))
    assert last_accepted(outbox) == {}
    for number, later in ((1, timedelta(0)), (2, timedelta(minutes=5))):
        sent = Sent("s", stamp_ms(number), body("s", number), 200, 1)
        apply(outbox, [sent], NOW + later)
    assert last_accepted(outbox) == {"s": NOW + timedelta(minutes=5)}
