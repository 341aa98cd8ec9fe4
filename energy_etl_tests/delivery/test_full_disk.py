"""A disk that is full, and a state file that another process holds, in the middle of a push."""

import asyncio
import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from energy_etl.delivery import DrainLimits, DrainReport, Outbox, drain, release
from energy_etl.errors import EnergyEtlError, WarehouseError, WarehouseLockedError
from energy_etl.state import connect, open_state
from energy_etl.vendors.wattics.collector import open_collectors
from energy_etl.vendors.wattics.settings import WatticsSettings, sandbox_section
from energy_etl_tests.delivery.conftest import (
    NOW,
    CollectorServer,
    body,
    new_id,
    packets,
    plan,
    states,
)
from energy_etl_tests.warehouse.frames import other_process

LIMITS = DrainLimits(request_timeout_s=0.3, backoff_base_s=0.01, max_attempts=2)
N_PACKETS = 250
# What another process does that works on the state file for longer than anybody waits.
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.read()
"""


class SmallDisk:
    """A file system of a few megabytes; where mounting is forbidden, a limit on each file's size.

    To SQLite the second is a write that fails, as a disk that breaks is.
    """

    def __init__(self, folder: Path, *, is_mounted: bool) -> None:
        self.folder = folder
        self.sentence = r"^The disk of .* is full .*: nothing was written, make room and run again"
        if not is_mounted:
            self.sentence = "disk I/O error.*: check the path"
        self._is_mounted = is_mounted
        self._ballast = folder / "ballast"

    @contextlib.contextmanager
    def full(self, n_bytes: int) -> Iterator[None]:
        """Leave so many bytes for what is within."""
        if self._is_mounted:
            disk = os.statvfs(self.folder)
            self._ballast.write_bytes(bytes(max(disk.f_bavail * disk.f_frsize - n_bytes, 0)))
            try:
                yield
            finally:
                self._ballast.unlink()
            return
        largest = max(path.stat().st_size for path in self.folder.iterdir())
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + n_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def small_disk_in(place: Path) -> Iterator[SmallDisk]:
    """Yield a small disk in a folder; it is taken away afterwards."""
    folder = place / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    try:
        yield SmallDisk(folder, is_mounted=not mounted.returncode)
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk_in(tmp_path) as made:
        yield made


def filled(path: Path) -> list[str]:
    """Make a state file with released packets of four streams; return their ids."""
    ids = [new_id("disk") for _ in range(4)]
    with open_state(path) as connection:
        outbox = Outbox(connection)
        for stream_id in ids:
            outbox.fill(packets(stream_id, range(1, N_PACKETS + 1)), [plan(stream_id)], now=NOW)
        release(outbox, [plan(stream_id) for stream_id in ids], [], NOW)
    return ids


def push(
    path: Path, server: CollectorServer, on_progress: Callable[[int, int], None] | None = None
) -> DrainReport:
    """Send what is released, on a connection of its own as each run has."""
    settings = WatticsSettings.model_validate(sandbox_section(server.url))

    async def run(outbox: Outbox) -> DrainReport:
        async with open_collectors(settings) as collectors:
            return await drain(outbox, collectors, limits=LIMITS, on_progress=on_progress)

    with open_state(path) as connection:
        return asyncio.run(run(Outbox(connection)))


def assert_delivered(path: Path, server: CollectorServer, ids: list[str]) -> None:
    for stream_id in ids:
        collected = server.collected(stream_id)
        assert collected.bodies == [body(stream_id, n) for n in range(1, N_PACKETS + 1)]
        with open_state(path) as connection:
            assert set(states(Outbox(connection), stream_id).values()) == {"confirmed"}


def is_one_sentence(error: EnergyEtlError) -> bool:
    text = str(error)
    return text.endswith(".") and "\n" not in text and "Traceback" not in text


# Nothing at all, which shows at once, and so much that it shows in the middle of the sending.
@pytest.mark.parametrize("n_bytes", [0, 160_000])
def test_full_disk_stops_a_send_with_a_sentence_and_it_goes_on_when_there_is_room(
    disk: SmallDisk, server: CollectorServer, n_bytes: int
) -> None:
    path = disk.folder / "state.sqlite"
    ids = filled(path)

    with disk.full(n_bytes), pytest.raises(WarehouseError, match=disk.sentence) as raised:
        push(path, server)

    assert is_one_sentence(raised.value)
    n_sent = sum(len(server.collected(each).bodies) for each in ids)
    assert bool(n_bytes) <= n_sent < 4 * N_PACKETS
    # Whatever had arrived without being noted is found again, not sent again.
    assert push(path, server).is_complete
    assert_delivered(path, server, ids)


def test_full_disk_stops_a_fill_that_leaves_nothing_and_can_be_repeated(disk: SmallDisk) -> None:
    path = disk.folder / "state.sqlite"
    stream_id = filled(path)[0]
    more = packets(stream_id, range(1, 6000))

    with open_state(path) as connection:
        outbox = Outbox(connection)
        with (
            disk.full(40_000),
            pytest.raises(WarehouseError, match=disk.sentence) as raised,
        ):
            outbox.fill(more, [plan(stream_id)], now=NOW)
        assert is_one_sentence(raised.value)
        assert len(states(outbox, stream_id)) == N_PACKETS

        assert outbox.fill(more, [plan(stream_id)], now=NOW).n_added == 5999 - N_PACKETS


@pytest.mark.parametrize("is_sending", [False, True])
def test_state_file_held_by_another_process_stops_a_send_that_names_it_and_goes_on_afterwards(
    tmp_path: Path, server: CollectorServer, monkeypatch: pytest.MonkeyPatch, is_sending: bool
) -> None:
    path = tmp_path / "state.sqlite"
    ids = filled(path)
    monkeypatch.setattr(connect, "__kwdefaults__", {"busy_timeout_s": 0.2})

    with contextlib.ExitStack() as held:
        pids: list[int] = []

        def hold(*_: object) -> None:
            if not pids:
                pids.append(held.enter_context(other_process(HOLD, path)).pid)

        if not is_sending:
            hold()
        with pytest.raises(WarehouseLockedError, match="by another process") as raised:
            push(path, server, hold)

    assert is_one_sentence(raised.value)
    assert f"{path} is being written by another process, {pids[0]}," in str(raised.value)
    assert "nothing was written, run again when that process has ended" in str(raised.value)
    assert is_sending == any(server.collected(each).bodies for each in ids)
    assert push(path, server).is_complete
    assert_delivered(path, server, ids)
