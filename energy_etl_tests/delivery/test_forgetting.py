"""Streams out of the outbox for good, and single fields out of the packets of others."""

import json
from datetime import datetime
from pathlib import Path

from energy_etl.delivery import Outbox, release
from energy_etl.delivery.acks import Confirmed, Response, Sent, apply
from energy_etl.delivery.forgetting import OutboxPart, count_packets, forget
from energy_etl.state import Marks, Window, give_back_space, instant_to_us, open_state
from energy_etl_tests.delivery.conftest import NOW, body, packets, plan, stamp_ms, states


def filled(outbox: Outbox, stream_id: str, at: datetime = NOW) -> None:
    """Fill three packets of a stream, two of them delivered, one changed since."""
    agreed = plan(stream_id)
    outbox.fill(packets(stream_id, [1, 2, 3]), [agreed], now=at)
    release(outbox, [agreed], [], at)
    sent = [Sent(stream_id, stamp_ms(n), body(stream_id, n), 200, 1) for n in (1, 2)]
    answer = Response(stream_id, stamp_ms(1), instant_to_us(at), 0.1, 200, None)
    apply(outbox, [*sent, Confirmed(stream_id, stamp_ms(2)), answer], at)
    outbox.fill(packets(stream_id, [2], 7.0), [agreed], now=at)


def test_stream_is_gone_from_every_table_and_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with open_state(path) as connection:
        outbox = Outbox(connection)
        for stream_id in ("to-be-forgotten", "another"):
            filled(outbox, stream_id)
        windows = [Window(name, NOW, NOW, "v") for name in ("its-register", "another-one")]
        Marks(connection).mark("interval", windows)
        part = OutboxPart(frozenset({"to-be-forgotten"}), frozenset())
        assert count_packets(outbox, part) == {"to-be-forgotten": 3}
        before = states(outbox, "another")
        forget(outbox, part, frozenset({"its-register"}))
        assert states(outbox, "to-be-forgotten") == {}
        assert states(outbox, "another") == before
        assert [mark.register_id for mark in Marks(connection).windows("interval")] == [
            "another-one"
        ]
        assert b"to-be-forgotten" not in "".join(connection.iterdump()).encode()
    give_back_space(path, worth_it=0)
    content = path.read_bytes()
    assert b"to-be-forgotten" not in content
    assert b"its-register" not in content
    assert b"another" in content


def test_field_of_others_packets_is_gone_from_the_record_too(outbox: Outbox) -> None:
    filled(outbox, "s")
    forget(outbox, OutboxPart(frozenset(), frozenset({("s", "pC_1")})), ())
    rows = outbox.connection.execute("SELECT body, state FROM packet").fetchall()
    assert len(rows) == 3
    assert all(set(json.loads(text)) == {"id", "tsISO8601"} for text, _ in rows)
    # The two bodies of the correction differed in that field alone.
    assert outbox.connection.execute("SELECT count(*) FROM correction").fetchone() == (0,)
