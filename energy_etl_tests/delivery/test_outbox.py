"""What filling and noting do to packets, in any order and over kills."""

import subprocess
import sys
import time
import uuid
from datetime import UTC, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_etl.delivery import BusyWindow, Outbox, release
from energy_etl.delivery.acks import (
    Confirmed,
    Ended,
    Failed,
    FoundDelivered,
    Parked,
    Sent,
    apply,
)
from energy_etl.delivery.outbox import BEHIND, NOT_RELEASED, WITHDRAWN
from energy_etl.errors import DeliveryError
from energy_etl.state import connect
from energy_etl_tests.delivery.conftest import (
    NOW,
    START_AT,
    STEP,
    body,
    packets,
    plan,
    reasons,
    stamp,
    stamp_ms,
    states,
)


def _send(outbox: Outbox, stream_id: str, numbers: list[int]) -> None:
    apply(
        outbox,
        [Sent(stream_id, stamp_ms(n), body(stream_id, n), 200, 1) for n in numbers],
        NOW,
    )


def _filled(outbox: Outbox, numbers: list[int]) -> None:
    outbox.fill(packets("s", numbers), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW)


def test_new_packets_are_held_until_they_are_released(outbox: Outbox) -> None:
    result = outbox.fill(packets("s", [2, 1, 3]), [plan("s")], now=NOW)

    assert result.n_added == 3
    assert states(outbox, "s") == {1: "held", 2: "held", 3: "held"}
    assert set(reasons(outbox, "s").values()) == {NOT_RELEASED}


def test_the_same_packets_again_change_nothing(outbox: Outbox) -> None:
    _filled(outbox, [1, 2, 3])
    _send(outbox, "s", [1])
    before = outbox.connection.execute("SELECT * FROM packet").fetchall()

    result = outbox.fill(packets("s", [3, 2, 1]), [plan("s")], now=NOW + timedelta(hours=1))

    assert not result.has_changes
    assert outbox.connection.execute("SELECT * FROM packet").fetchall() == before


def test_a_changed_packet_that_was_not_sent_is_replaced(outbox: Outbox) -> None:
    _filled(outbox, [1, 2])
    outbox.fill(packets("s", [4]), [plan("s")], now=NOW)

    result = outbox.fill(packets("s", [1, 2, 4], value=7.5), [plan("s")], now=NOW)

    assert result.n_updated == 3
    assert states(outbox, "s") == {1: "pending", 2: "pending", 4: "held"}
    assert outbox.pending("s") == [(stamp_ms(n), body("s", n, 7.5)) for n in (1, 2)]
    assert outbox.connection.execute("SELECT count(*) FROM correction").fetchone() == (0,)


def test_a_changed_packet_that_was_sent_is_a_correction_and_never_sent_again(
    outbox: Outbox,
) -> None:
    _filled(outbox, [1, 2])
    _send(outbox, "s", [1, 2])
    apply(outbox, [Confirmed("s", stamp_ms(1))], NOW)

    result = outbox.fill(packets("s", [1, 2], value=7.5), [plan("s")], now=NOW)
    again = outbox.fill(packets("s", [1, 2], value=7.5), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW)

    assert (result.n_corrected, again.n_corrected) == (2, 0)
    assert states(outbox, "s") == {1: "superseded", 2: "superseded"}
    assert outbox.pending("s") == []
    rows = outbox.connection.execute("SELECT body_sent, body_now FROM correction").fetchall()
    assert rows == [(body("s", n), body("s", n, 7.5)) for n in (1, 2)]


def test_a_value_that_returns_to_what_was_sent_is_delivered_again(outbox: Outbox) -> None:
    _filled(outbox, [1, 2])
    _send(outbox, "s", [1, 2])
    apply(outbox, [Confirmed("s", stamp_ms(1))], NOW)
    outbox.fill(packets("s", [1, 2], value=7.5), [plan("s")], now=NOW)

    outbox.fill(packets("s", [1, 2]), [plan("s")], now=NOW)

    assert states(outbox, "s") == {1: "confirmed", 2: "sent"}


def test_a_new_packet_behind_the_last_one_sent_is_held_with_its_reason(outbox: Outbox) -> None:
    _filled(outbox, [1])
    _send(outbox, "s", [1])
    outbox.fill(packets("s", [5]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW + timedelta(hours=49))
    _send(outbox, "s", [5])

    outbox.fill(packets("s", [3]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW + timedelta(days=9))

    assert states(outbox, "s") == {1: "sent", 3: "held", 5: "sent"}
    assert reasons(outbox, "s")[3] == BEHIND


def test_packets_of_before_the_start_of_a_stream_are_left_out(outbox: Outbox) -> None:
    # The first interval that begins at or after 00:07 is 00:15 to 00:30.
    late = plan("s", push_from_at=START_AT + timedelta(minutes=7))

    result = outbox.fill(packets("s", [0, 1, 2, 3]), [late], now=NOW)

    assert (result.n_added, result.n_before_start) == (2, 2)
    assert list(states(outbox, "s")) == [2, 3]


def test_a_start_that_was_moved_forward_takes_nothing_back(outbox: Outbox) -> None:
    """Everything that had been sent before the new start was told as a correction."""
    _filled(outbox, [1, 2, 3])
    _send(outbox, "s", [1, 2, 3])
    later = plan("s", push_from_at=stamp(2))
    outbox.fill(packets("s", [4]), [later], is_whole=True, now=NOW)
    assert states(outbox, "s") == {1: "sent", 2: "sent", 3: "superseded", 4: "held"}


def test_a_rejected_packet_that_was_mended_gets_another_chance(outbox: Outbox) -> None:
    _filled(outbox, [1, 2])
    failed = Failed("s", stamp_ms(2), body("s", 2), 400, "bad", 1, is_rejected=True)
    apply(outbox, [Sent("s", stamp_ms(1), body("s", 1), 200, 1), failed], NOW)
    assert states(outbox, "s") == {1: "sent", 2: "rejected"}

    outbox.fill(packets("s", [1, 2]), [plan("s")], now=NOW)
    assert states(outbox, "s")[2] == "rejected"
    outbox.fill(packets("s", [2], value=1.0), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW)

    assert states(outbox, "s") == {1: "sent", 2: "pending"}


def test_a_rejection_does_not_hit_a_body_that_was_put_in_meanwhile(outbox: Outbox) -> None:
    _filled(outbox, [1])
    outbox.fill(packets("s", [1], value=3.0), [plan("s")], now=NOW)

    apply(outbox, [Failed("s", stamp_ms(1), body("s", 1), 400, "bad", 1, is_rejected=True)], NOW)

    # Released anew, not pending: behind a newer packet that arrived it would be taken for arrived.
    assert states(outbox, "s") == {1: "held"}
    release(outbox, [plan("s")], [], NOW)
    assert outbox.pending("s") == [(stamp_ms(1), body("s", 1, 3.0))]


def test_a_packet_changed_while_it_was_under_way_keeps_what_was_sent(outbox: Outbox) -> None:
    _filled(outbox, [1])
    outbox.begin_sending(["s"])
    outbox.fill(packets("s", [1], value=3.0), [plan("s")], now=NOW)

    _send(outbox, "s", [1])

    row = outbox.connection.execute("SELECT state, body FROM packet").fetchone()
    assert row == ("superseded", body("s", 1))
    row = outbox.connection.execute("SELECT body_sent, body_now FROM correction").fetchone()
    assert row == (body("s", 1), body("s", 1, 3.0))


def test_a_packet_changed_after_a_kill_is_taken_for_the_one_that_arrived(outbox: Outbox) -> None:
    _filled(outbox, [1, 2])
    outbox.begin_sending(["s"])
    outbox.fill(packets("s", [1], value=3.0), [plan("s")], now=NOW)

    outbox.begin_sending(["s"])
    apply(outbox, [FoundDelivered("s", stamp_ms(1))], NOW)

    assert states(outbox, "s") == {1: "superseded", 2: "pending"}
    row = outbox.connection.execute("SELECT body_sent, body_now FROM correction").fetchone()
    assert row == (body("s", 1), body("s", 1, 3.0))


def test_a_change_before_any_sending_is_no_correction_when_the_packet_arrives(
    outbox: Outbox,
) -> None:
    _filled(outbox, [1])
    outbox.begin_sending(["s"])
    outbox.fill(packets("s", [1], value=3.0), [plan("s")], now=NOW)
    apply(outbox, [Ended("s", None, is_open=False)], NOW)

    outbox.begin_sending(["s"])
    outbox.pending("s")
    apply(outbox, [FoundDelivered("s", stamp_ms(1))], NOW)

    assert states(outbox, "s") == {1: "sent"}


def test_an_older_packet_is_not_released_while_newer_ones_are_under_way(outbox: Outbox) -> None:
    _filled(outbox, [1])
    outbox.fill(packets("s", [4]), [plan("s")], now=NOW)
    later = NOW + timedelta(hours=49)
    release(outbox, [plan("s")], [], later)
    outbox.begin_sending(["s"])

    outbox.fill(packets("s", [2]), [plan("s")], now=later)
    release(outbox, [plan("s")], [], later)
    assert states(outbox, "s") == {1: "pending", 2: "held", 4: "pending"}

    apply(outbox, [Ended("s", "no answer", is_open=False)], later)
    release(outbox, [plan("s")], [], later)
    assert states(outbox, "s") == {1: "pending", 2: "pending", 4: "pending"}


def test_packets_that_the_whole_data_no_longer_has_are_withdrawn(outbox: Outbox) -> None:
    _filled(outbox, [1, 2, 3, 5])
    _send(outbox, "s", [1])

    result = outbox.fill(packets("s", [2]), [plan("s")], now=NOW, is_whole=True)

    assert (result.n_withdrawn, result.n_corrected) == (2, 1)
    assert states(outbox, "s") == {1: "superseded", 2: "pending", 3: "held", 5: "held"}
    assert reasons(outbox, "s")[3] == WITHDRAWN
    release(outbox, [plan("s")], [], NOW + timedelta(days=9))
    assert states(outbox, "s")[3] == "held"

    outbox.fill(packets("s", [1, 2, 3, 5]), [plan("s")], now=NOW, is_whole=True)
    release(outbox, [plan("s")], [], NOW + timedelta(days=9))
    assert states(outbox, "s") == {1: "sent", 2: "pending", 3: "pending", 5: "pending"}


def test_a_part_of_the_data_withdraws_nothing(outbox: Outbox) -> None:
    _filled(outbox, [1, 2, 3])
    assert not outbox.fill(packets("s", [2]), [plan("s")], now=NOW).has_changes


def test_packets_of_an_unknown_stream_are_refused_by_name(outbox: Outbox) -> None:
    with pytest.raises(DeliveryError, match=r"packets of unknown but.*streams\.csv"):
        outbox.fill(packets("unknown", [1]), [plan("s")])


def test_two_packets_of_one_stamp_are_refused_and_nothing_is_filled(outbox: Outbox) -> None:
    double = pl.concat([packets("s", [1, 2]), packets("s", [2], value=5.0)])
    with pytest.raises(DeliveryError, match="two packets of the same millisecond"):
        outbox.fill(double, [plan("s")])
    assert states(outbox, "s") == {}


def test_ids_with_quotes_are_ids_like_others(outbox: Outbox) -> None:
    odd = "a'; DROP TABLE packet; --"
    outbox.fill(packets(odd, [1]), [plan(odd)], now=NOW)
    release(outbox, [plan(odd)], [], NOW)
    assert states(outbox, odd) == {1: "pending"}


def test_retry_unparks_and_takes_rejected_packets_up_again(outbox: Outbox) -> None:
    _filled(outbox, [1, 2, 3])
    rejected = [
        Failed("s", stamp_ms(n), body("s", n), 400, "bad", 1, is_rejected=True) for n in (1, 3)
    ]
    apply(outbox, [rejected[0], Sent("s", stamp_ms(2), body("s", 2), 200, 1), rejected[1]], NOW)

    assert outbox.retry() == 2
    release(outbox, [plan("s")], [], NOW)

    # The first is behind the second by now: never out of order.
    assert states(outbox, "s") == {1: "held", 2: "sent", 3: "pending"}
    assert reasons(outbox, "s")[1] == BEHIND


def test_due_leaves_out_what_failed_until_its_time_comes(outbox: Outbox) -> None:
    _filled(outbox, [1])
    assert outbox.due(NOW).stream_ids == ("s",)

    apply(outbox, [Ended("s", "refused", is_open=False)], NOW)

    summary = outbox.due(NOW + timedelta(seconds=1))
    assert summary.stream_ids == ()
    assert summary.next_retry_at is not None
    assert outbox.due(summary.next_retry_at).stream_ids == ("s",)


def test_due_tells_when_waiting_packets_may_go_without_news(outbox: Outbox) -> None:
    outbox.fill(packets("s", [1, 3]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW)
    assert outbox.due(NOW).next_release_at == NOW + timedelta(hours=48)


def test_offsets_of_released_packets_are_frozen_and_others_are_replaced(outbox: Outbox) -> None:
    def offsets(rows: list[tuple[int, float, bool, int | None]]) -> pl.DataFrame:
        return pl.DataFrame(
            [
                (
                    "s",
                    "pC_1",
                    stamp(a),
                    b,
                    c,
                    *((None, None) if d is None else (stamp(d), d * 10.0)),
                    "r",
                )
                for a, b, c, d in rows
            ],
            schema=outbox.offsets().schema,
            orient="row",
        )

    first = offsets([(1, 0.0, False, None), (3, 5.0, False, None), (6, 9.0, False, None)])
    outbox.fill(packets("s", [2, 3, 4]), [plan("s")], offsets=first, now=NOW)
    release(outbox, [plan("s", push_from_at=stamp(1))], [], NOW)

    frozen = offsets([(1, 0.0, True, 4), (3, 5.0, True, 4)])
    assert outbox.offsets().filter("is_frozen").equals(frozen)

    with pytest.raises(DeliveryError, match="compute the packets again"):
        outbox.fill(packets("s", [9]), [plan("s")], offsets=first, now=NOW)
    assert 9 not in states(outbox, "s")

    new = pl.concat([frozen, offsets([(8, 1.0, False, None)])])
    outbox.fill(packets("s", [9]), [plan("s")], offsets=new, now=NOW)
    assert outbox.offsets().equals(new)


def test_a_kill_during_a_fill_leaves_all_or_nothing(outbox: Outbox, tmp_path: Path) -> None:
    outbox.fill(packets("s", [1, 2]), [plan("s")], now=NOW)
    packets("s", range(1, 5_001)).write_parquet(tmp_path / "packets.parquet")
    # What the child imports is most of what this test costs.
    code = (
        "import sys, os; from datetime import timedelta; import polars as pl;"
        "from energy_etl.delivery.outbox import Outbox; from energy_etl.state import connect;"
        "from energy_etl.delivery.plan import StreamPlan;"
        "box, frame = Outbox(connect(sys.argv[1])), pl.read_parquet(sys.argv[2]);"
        "plan = StreamPlan('s', timedelta(minutes=15), None, 'main');"
        # What does not fit goes to the file before the end of the transaction.
        "box.connection.execute('PRAGMA cache_size=20');"
        "print('ready', flush=True); box.fill(frame, [plan]); os.kill(os.getpid(), 9)"
    )
    log = Path(f"{outbox.path}-wal")
    process = subprocess.Popen(
        [sys.executable, "-c", code, outbox.path, tmp_path / "packets.parquet"],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    # Within the transaction: part of it is in the file already.
    n_before = log.stat().st_size
    while process.poll() is None and log.stat().st_size < n_before + 100_000:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert outbox.count("held") in (2, 5_000)


def test_dropped_packets_are_never_sent_again_and_hold_nothing(outbox: Outbox) -> None:
    outbox.fill(packets("s", [1, 2, 3, 4, 6]), [plan("s")], now=NOW)
    assert outbox.drop("s", stamp_ms(2), stamp_ms(4), "the meter was exchanged") == 2

    # Neither the same value nor another one, nor the word that it is gone, brings them back.
    for frame in (packets("s", [2, 3]), packets("s", [2, 3], value=1.0), packets("s", [1, 4, 6])):
        outbox.fill(frame, [plan("s")], now=NOW, is_whole=frame.height == 3)
    busy = [BusyWindow(START_AT, stamp(3), None, "the backfill b1")]
    release(outbox, [plan("s")], busy, NOW)

    assert states(outbox, "s") == {
        1: "pending",
        2: "dropped",
        3: "dropped",
        4: "pending",
        6: "held",
    }
    assert reasons(outbox, "s")[2] == "given up: the meter was exchanged"
    assert outbox.connection.execute("SELECT count(*) FROM correction").fetchone() == (0,)
    assert outbox.retry() == 0


def test_packets_that_may_be_on_their_way_or_were_delivered_are_not_dropped(outbox: Outbox) -> None:
    _filled(outbox, [1, 2])
    outbox.begin_sending(["s"])
    with pytest.raises(DeliveryError, match="may be on their way"):
        outbox.drop("s", stamp_ms(1), stamp_ms(9), "no use")
    _send(outbox, "s", [1])
    apply(outbox, [Ended("s", None, is_open=False)], NOW)
    assert outbox.drop("s", stamp_ms(1), stamp_ms(9), "no use") == 1
    assert states(outbox, "s") == {1: "sent", 2: "dropped"}


def test_streams_of_a_mended_credential_go_on_and_others_stay_parked(outbox: Outbox) -> None:
    plans = [plan("a"), plan("b", credential="second"), plan("c")]
    outbox.fill(pl.concat([packets(p.stream_id, [1]) for p in plans]), plans, now=NOW)
    release(outbox, plans, [], NOW)
    parked = [Parked("a", "refused", "old"), Parked("b", "refused", "old"), Parked("c", "unknown")]
    apply(outbox, parked, NOW)

    assert outbox.unpark_changed({"main": "old", "second": "old"}) == 0
    assert outbox.unpark_changed({"main": "new", "second": "old"}) == 1
    assert outbox.due(NOW).stream_ids == ("a",)
    assert outbox.unpark_changed({}) == 0

    outbox.retry(credential="second")
    assert outbox.due(NOW).stream_ids == ("a", "b")


# As version 1 made it, with packets whose offset was used.
OLDER = """
CREATE TABLE packet (stream_id TEXT NOT NULL, stamped_ms INTEGER NOT NULL, body TEXT NOT NULL,
    state TEXT NOT NULL, hold_reason TEXT, is_withdrawn INTEGER NOT NULL DEFAULT 0,
    is_estimated INTEGER NOT NULL DEFAULT 0, n_attempts INTEGER NOT NULL DEFAULT 0, status INTEGER,
    error TEXT, body_before TEXT, filled_us INTEGER NOT NULL, sent_us INTEGER, confirmed_us INTEGER,
    PRIMARY KEY (stream_id, stamped_ms)) WITHOUT ROWID;
CREATE TABLE stream (stream_id TEXT PRIMARY KEY, credential TEXT NOT NULL, released_ms INTEGER,
    last_sent_ms INTEGER, last_confirmed_ms INTEGER, parked_reason TEXT, parked_us INTEGER,
    retry_us INTEGER, n_failures INTEGER NOT NULL DEFAULT 0, failure TEXT, release_us INTEGER,
    is_sending INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE stream_offset (stream_id TEXT NOT NULL, from_ms INTEGER NOT NULL,
    offset_wh REAL NOT NULL, is_frozen INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (stream_id, from_ms)) WITHOUT ROWID;
INSERT INTO stream (stream_id, credential, released_ms) VALUES ('s', 'main', 1736122500000);
INSERT INTO packet (stream_id, stamped_ms, body, state, filled_us) VALUES ('s', 1736122500000,
    '{"id":"s","tsISO8601":"2025-01-06T00:15:00.000+00:00","pC_2":10.0}', 'pending', 1);
INSERT INTO stream_offset VALUES ('s', 1736122500000, 7.5, 1), ('empty', 1736122500000, 1.0, 0);
"""


def test_a_state_file_of_the_version_before_keeps_its_packets_and_offsets(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    connection = connect(path)
    connection.executescript(OLDER)
    connection.close()
    for _ in range(2):
        connection = connect(path)
        box = Outbox(connection)
        frozen = ("s", "pC_2", stamp(1), 7.5, True, stamp(1), 10.0, None)
        assert box.offsets().rows() == [frozen]
        assert states(box, "s") == {1: "pending"}
        connection.close()


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.lists(st.integers(min_value=1, max_value=12), min_size=1, max_size=8, unique=True),
        min_size=1,
        max_size=5,
    )
)
def test_any_order_and_repetition_of_fills_ends_in_the_same_outbox(
    memory_folder: Path, parts: list[list[int]]
) -> None:
    found = []
    for order in (parts, [*reversed(parts), *parts]):
        connection = connect(memory_folder / f"{uuid.uuid4().hex}.sqlite")
        box = Outbox(connection)
        for numbers in order:
            box.fill(packets("s", numbers), [plan("s")], now=NOW)
        release(box, [plan("s")], [], NOW)
        found.append((states(box, "s"), reasons(box, "s")))
        connection.close()
    assert found[0] == found[1]
    expected = set().union(*parts)
    contiguous = {n for n in expected if set(range(1, n + 1)) <= expected}
    assert {n for n, state in found[0][0].items() if state == "pending"} == contiguous


def test_first_stamp_is_the_end_of_the_first_whole_interval() -> None:
    assert plan("s").first_stamp_ms() == stamp_ms(1)
    later = plan("s", push_from_at=START_AT + timedelta(microseconds=1))
    assert later.first_stamp_ms() == stamp_ms(2)
    assert plan("s", push_from_at=None).first_stamp_ms() is None
    assert stamp(1) - START_AT == STEP
    assert START_AT.tzinfo is UTC
