"""Old packets go, and nothing that delivery rests on goes with them."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_etl.delivery import Outbox, release
from energy_etl.delivery.acks import Confirmed, Failed, Response, Sent, apply
from energy_etl.delivery.mirror import packet_frame
from energy_etl.delivery.pruning import (
    old_packets,
    old_responses,
    prune_packets,
    prune_responses,
)
from energy_etl.state import instant_to_us, transaction
from energy_etl_tests.delivery.conftest import (
    NOW,
    body,
    new_id,
    packets,
    plan,
    stamp,
    stamp_ms,
    states,
)

LATER = NOW + timedelta(days=1)


def deliver(outbox: Outbox, stream_id: str, numbers: list[int], at: datetime = NOW) -> None:
    apply(
        outbox,
        [
            *(Sent(stream_id, stamp_ms(n), body(stream_id, n), 200, 1) for n in numbers),
            Confirmed(stream_id, stamp_ms(numbers[-1])),
        ],
        at,
    )


def delivered_stream(outbox: Outbox, n_packets: int, **changes: object) -> str:
    stream_id = new_id()
    agreed = plan(stream_id, **changes)
    outbox.fill(packets(stream_id, range(1, n_packets + 1)), [agreed], now=NOW)
    release(outbox, [agreed], [], NOW)
    deliver(outbox, stream_id, list(range(1, n_packets + 1)))
    return stream_id


def test_confirmed_packets_go_but_for_the_last_one_of_a_stream(outbox: Outbox) -> None:
    stream_id = delivered_stream(outbox, 20)
    assert old_packets(outbox, NOW).n_rows == 0
    found = old_packets(outbox, LATER)
    assert (found.n_rows, found.first_at, found.last_at) == (19, stamp(1), stamp(19))
    assert prune_packets(outbox, LATER) == 19
    assert states(outbox, stream_id) == {20: "confirmed"}
    assert prune_packets(outbox, LATER) == 0


def test_pruned_packets_that_are_computed_again_do_not_come_back(outbox: Outbox) -> None:
    stream_id = delivered_stream(outbox, 5)
    prune_packets(outbox, LATER)
    computed = packets(stream_id, range(1, 8))
    result = outbox.fill(computed, [plan(stream_id)], is_whole=True, now=LATER)
    assert (result.n_added, result.n_corrected) == (2, 0)
    assert states(outbox, stream_id) == {5: "confirmed", 6: "held", 7: "held"}
    release(outbox, [plan(stream_id)], [], LATER)
    # It goes on behind the last one, without a hole.
    assert outbox.pending(stream_id)[0][0] == stamp_ms(6)
    assert not outbox.fill(computed, [plan(stream_id)], is_whole=True, now=LATER).has_changes


def test_packets_that_need_a_person_stay(outbox: Outbox) -> None:
    stream_id = delivered_stream(outbox, 2)
    agreed = plan(stream_id)
    outbox.fill(packets(stream_id, [1, 2, 3, 4, 5]), [agreed], now=NOW)
    release(outbox, [agreed], [], NOW)
    refused = Failed(stream_id, stamp_ms(3), body(stream_id, 3), 400, "no such field", 1, True)
    apply(outbox, [refused], NOW)
    deliver(outbox, stream_id, [4, 5])
    outbox.fill(packets(stream_id, [4], 1.0), [agreed], now=NOW)
    assert states(outbox, stream_id)[4] == "superseded"
    assert prune_packets(outbox, LATER) == 3
    assert states(outbox, stream_id) == {3: "rejected", 5: "confirmed"}
    corrections = outbox.connection.execute("SELECT count(*) FROM correction").fetchone()
    assert corrections == (1,)


def test_stream_that_takes_older_packets_keeps_all_of_them(outbox: Outbox) -> None:
    stream_id = delivered_stream(outbox, 5, is_historical=True)
    assert prune_packets(outbox, LATER) == 0
    assert len(states(outbox, stream_id)) == 5


def test_packet_that_an_offset_rests_on_stays_with_all_behind_it(outbox: Outbox) -> None:
    stream_id = new_id()
    agreed = plan(stream_id)
    filled = packets(stream_id, range(1, 11))
    # From the sixth on the packets have lost the field.
    filled = filled.with_columns(
        body=pl.when(pl.col("stamped_at") > stamp(5))
        .then(pl.col("body").str.replace("pC_1", "value"))
        .otherwise("body")
    )
    offsets = pl.DataFrame(
        {
            "stream_id": [stream_id],
            "field": ["pC_1"],
            "from_at": [stamp(1)],
            "offset_wh": [7.0],
            "is_frozen": [False],
            "used_to_at": [None],
            "used_wh": [None],
            "fed_by": ["r"],
        },
        schema=outbox.offsets().schema,
    )
    outbox.fill(filled, [agreed], offsets=offsets, now=NOW)
    release(outbox, [agreed], [], NOW)
    rows = packet_frame(outbox, stream_id=stream_id)["stamped_at", "body"].rows()
    events = [Sent(stream_id, int(at.timestamp() * 1000), text, 200, 1) for at, text in rows]
    apply(outbox, [*events, Confirmed(stream_id, stamp_ms(10))], NOW)
    before = outbox.offsets().rows()
    assert before[0][5:7] == (stamp(5), 50.0)
    assert prune_packets(outbox, LATER) == 4
    assert outbox.offsets().rows() == before


def test_answers_go_by_their_age(outbox: Outbox) -> None:
    stream_id = delivered_stream(outbox, 1)
    posted = [NOW + timedelta(hours=n) for n in range(4)]
    apply(
        outbox,
        [Response(stream_id, stamp_ms(1), instant_to_us(at), 0.1, 200, None) for at in posted],
        NOW,
    )
    found = old_responses(outbox, posted[2])
    assert (found.n_rows, found.first_at, found.last_at) == (2, posted[0], posted[1])
    assert prune_responses(outbox, posted[2]) == 2
    left = outbox.connection.execute("SELECT min(posted_us) FROM response").fetchone()[0]
    assert left == instant_to_us(posted[2])


class Killed(Exception):
    pass


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(n_packets=st.integers(1, 30), n_batches=st.integers(0, 9))
def test_pruning_that_is_killed_anywhere_can_go_on(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, n_packets: int, n_batches: int
) -> None:
    stream_id = delivered_stream(outbox, n_packets)
    n_left = n_batches

    @contextmanager
    def mortal(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        nonlocal n_left
        with transaction(connection):
            yield connection
            n_left -= 1
            if n_left < 0:
                raise Killed

    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr("energy_etl.delivery.pruning._BATCH", 4)
        patched.setattr("energy_etl.delivery.pruning.transaction", mortal)
        prune_packets(outbox, LATER)
    there = states(outbox, stream_id)
    # A prefix is gone, and what is computed anew of it stays out.
    assert list(there) == list(range(n_packets - len(there) + 1, n_packets + 1))
    computed = packets(stream_id, range(1, n_packets + 1))
    outbox.fill(computed, [plan(stream_id)], is_whole=True, now=LATER)
    assert states(outbox, stream_id) == there
    prune_packets(outbox, LATER)
    assert states(outbox, stream_id) == {n_packets: "confirmed"}
