"""One send run at a time, over processes."""

import os
import signal
from pathlib import Path

import pytest

from energy_etl.delivery import Outbox
from energy_etl.delivery.lease import hold_lease
from energy_etl.errors import DeliveryError
from energy_etl_tests.delivery.conftest import CollectorServer, new_id
from energy_etl_tests.delivery.sending import fill, send

N_STARTS = 4


def test_second_send_run_sends_nothing_and_says_who_is_active(
    outbox: Outbox, server: CollectorServer
) -> None:
    stream_id = new_id()
    fill(outbox, stream_id, 2)
    ours = rf"Another send run is active .*\(process {os.getpid()}, since 20"
    with hold_lease(outbox.path), pytest.raises(DeliveryError, match=ours):
        send(outbox, server)
    assert server.collected(stream_id).stamps_ms == []
    assert send(outbox, server).is_complete


def test_of_several_starts_at_once_one_gets_the_lease_and_a_kill_frees_it(tmp_path: Path) -> None:
    state_path = tmp_path / "state.sqlite"
    go_from, go_to = os.pipe()
    told_from, told_to = os.pipe()
    pids = [_start(state_path, go_from, go_to, told_to) for _ in range(N_STARTS)]
    os.close(told_to)
    os.close(go_from)
    try:
        os.write(go_to, b"!" * N_STARTS)
        with os.fdopen(told_from) as told:
            answers = [told.readline().strip() for _ in range(N_STARTS)]
        assert sorted(answers) == ["has it", *["waits"] * (N_STARTS - 1)]
    finally:
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        os.close(go_to)
    # What a killed process wrote about itself is no reason to name it.
    with hold_lease(state_path):
        pass


def _start(state_path: Path, go_from: int, go_to: int, told_to: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.close(go_to)
    os.read(go_from, 1)
    try:
        with hold_lease(state_path):
            os.write(told_to, b"has it\n")
            # Until it is killed.
            signal.pause()
    except DeliveryError:
        os.write(told_to, b"waits\n")
    finally:
        os._exit(0)


@pytest.mark.parametrize("content", ["", "x y", "1", "999999999 2025-01-01T00:00:00+00:00"])
def test_holder_that_cannot_be_read_makes_the_sentence_shorter(
    tmp_path: Path, content: str
) -> None:
    state_path = tmp_path / "state.sqlite"
    with hold_lease(state_path):
        Path(f"{state_path}.send.holder").write_text(content)
        second = hold_lease(state_path)
        with pytest.raises(DeliveryError, match=r"active on \S+state.sqlite: this one"), second:
            pytest.fail("two hold it")
