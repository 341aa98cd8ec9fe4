"""Lag, holes and spacing of what was accepted."""

from datetime import datetime, timedelta

import pytest

from energy_etl.delivery import Outbox, StreamPlan, release
from energy_etl.delivery.acks import Ended, FoundDelivered, Parked, Sent, apply
from energy_etl.delivery.outbox import BEHIND
from energy_etl.delivery.watching import lags, note_watched, watch
from energy_etl.tables.push import HOLE, STREAM_STATUS
from energy_etl_tests.delivery.conftest import NOW, body, packets, plan, stamp, stamp_ms


def _accepted(outbox: Outbox, numbers: list[int], **changes: object) -> None:
    agreed = plan("s", **changes)
    outbox.fill(packets("s", numbers), [agreed], now=NOW)
    release(outbox, [agreed], [], NOW + timedelta(days=9))
    apply(outbox, [Sent("s", stamp_ms(n), body("s", n), 200, 1) for n in numbers], NOW)


def _lags(outbox: Outbox, plans: list[StreamPlan], now: datetime) -> dict[str, float | None]:
    return dict(lags(outbox, plans, now)["stream_id", "lag_minutes"].iter_rows())


def test_an_empty_outbox_has_the_columns_of_the_tables(outbox: Outbox) -> None:
    watched = watch(outbox, [], NOW)
    assert watched.status.height == 0
    assert watched.status.schema == STREAM_STATUS.polars_schema
    assert watched.holes.schema == HOLE.polars_schema


def test_holes_are_the_stretches_between_accepted_packets(outbox: Outbox) -> None:
    _accepted(outbox, [1, 2, 5, 6, 7, 9])
    agreed = plan("s", declared_missing=((stamp(2), stamp(4)),))
    outbox.fill(packets("s", [3]), [agreed], now=NOW)

    watched = watch(outbox, [agreed], stamp(9) + timedelta(minutes=40))

    assert watched.holes.rows() == [
        ("s", stamp(2), stamp(5), 2, True),
        ("s", stamp(7), stamp(9), 1, False),
    ]
    (row,) = watched.status.to_dicts()
    assert (row["n_holes"], row["n_missing"], row["n_sent"], row["n_held"]) == (2, 3, 6, 1)
    assert (row["first_sent_at"], row["last_sent_at"]) == (stamp(1), stamp(9))
    assert (row["lag_minutes"], row["interval_minutes"]) == (25.0, 15)
    assert row["hold_reason"] == BEHIND


@pytest.mark.parametrize(("jitter_s", "n_holes"), [(60, 0), (800, 1)])
def test_a_packet_that_comes_somewhat_late_leaves_no_hole(
    outbox: Outbox, jitter_s: int, n_holes: int
) -> None:
    late_ms = stamp_ms(2) + jitter_s * 1000
    _accepted(outbox, [1])
    outbox.connection.execute(
        "INSERT INTO packet (stream_id, stamped_ms, body, state, filled_us) "
        "VALUES ('s', ?, '', 'sent', 1)",
        (late_ms,),
    )
    assert watch(outbox, [plan("s")], NOW).holes.height == n_holes


def test_spacing_is_the_median_of_the_newest_packets(outbox: Outbox) -> None:
    # 250 as agreed and then 120 at half the pace: the newest 200 spacings have the say.
    _accepted(outbox, [*range(1, 251), *range(252, 492, 2)])
    (row,) = watch(outbox, [plan("s")], NOW).status.to_dicts()
    assert row["spacing_minutes"] == 30.0


def test_lag_counts_from_the_end_of_the_next_interval_and_is_never_negative(
    outbox: Outbox,
) -> None:
    _accepted(outbox, [1])
    assert _lags(outbox, [plan("s")], stamp(1)) == {"s": 0.0}
    assert _lags(outbox, [plan("s")], stamp(3)) == {"s": 15.0}
    assert watch(outbox, [], NOW).status["lag_minutes"].to_list() == [None]


def test_stream_that_never_got_a_packet_is_watched_and_says_why(outbox: Outbox) -> None:
    from_files = frozenset()
    plans = [plan("a"), plan("b", push_from_at=None), plan("c", register_ids=from_files)]
    _accepted(outbox, [1])
    # Known to the outbox without a packet, as a stream is whose register has no readings.
    outbox.fill(packets("s", []), [plan("a")], now=NOW)
    note_watched(outbox, plans, stamp(0))
    status = watch(outbox, [*plans, plan("s")], stamp(5)).status
    assert status["stream_id", "hold_reason", "lag_minutes", "n_held", "n_missing"].rows() == [
        ("a", "no packet was made of it yet", 60.0, 0, 0),
        ("b", "no packet was made of it yet", None, 0, 0),
        ("c", "no file was pushed yet", None, 0, 0),
        ("s", None, 45.0, 0, 0),
    ]


def test_first_packet_is_awaited_from_where_it_can_be_and_not_while_it_is_about_to_go(
    outbox: Outbox,
) -> None:
    agreed, open_ended = plan("s"), plan("s", push_from_at=None)
    outbox.fill(packets("s", [3, 5]), [agreed], now=NOW)
    assert _lags(outbox, [agreed], stamp(7)) == {"s": None}
    note_watched(outbox, [agreed], stamp(0))
    note_watched(outbox, [agreed], stamp(7))
    # From the first interval on, but not from before the first packet.
    assert _lags(outbox, [agreed], stamp(7)) == {"s": 60.0}
    assert _lags(outbox, [open_ended], stamp(7)) == {"s": 60.0}
    release(outbox, [agreed], [], NOW + timedelta(days=9))
    assert _lags(outbox, [agreed], stamp(7)) == {"s": None}
    apply(outbox, [Ended("s", "no answer", is_open=False)], NOW)
    assert _lags(outbox, [agreed], stamp(7)) == {"s": 60.0}


def test_status_says_what_failed_and_when_it_is_tried_again(outbox: Outbox) -> None:
    _accepted(outbox, [1])
    apply(outbox, [FoundDelivered("s", stamp_ms(1)), Ended("s", "no answer", is_open=False)], NOW)
    (row,) = watch(outbox, [plan("s")], NOW).status.to_dicts()
    assert (row["failure"], row["retry_at"]) == ("no answer", NOW + timedelta(seconds=15))

    apply(outbox, [Parked("s", "unknown")], NOW)
    (row,) = watch(outbox, [plan("s")], NOW).status.to_dicts()
    assert (row["parked_reason"], row["parked_at"], row["retry_at"]) == ("unknown", NOW, None)
