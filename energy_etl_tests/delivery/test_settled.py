"""What became of some packets: counted by state, with the first reason, and of no other packet."""

from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.settled import states_of
from energy_etl_tests.delivery.conftest import packets, plan


def test_states_of_asked_packets_are_counted_and_others_left_out(outbox: Outbox) -> None:
    outbox.fill(packets("a", [1, 2, 3, 5]), [plan("a")])
    outbox.fill(packets("b", [1]), [plan("b")])
    execute = outbox.connection.execute
    execute("UPDATE packet SET state = 'confirmed' WHERE stream_id = 'a' AND body LIKE '%10.0}'")
    execute(
        "UPDATE packet SET state = 'rejected', error = 'HTTP 400' "
        "WHERE stream_id = 'a' AND body LIKE '%20.0}'"
    )
    asked = packets("a", [1, 2, 4, 5]).vstack(packets("never-filled", [1]))
    assert states_of(outbox, asked.select("stream_id", "stamped_at")).rows() == [
        ("a", "confirmed", 1, None),
        ("a", "held", 1, "not yet released"),
        ("a", "rejected", 1, "HTTP 400"),
    ]
    assert states_of(outbox, asked.clear().select("stream_id", "stamped_at")).is_empty()
