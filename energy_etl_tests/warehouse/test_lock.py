"""Other processes and threads: who waits, who is named, what a kill or a full disk leaves."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from energy_etl.errors import WarehouseError, WarehouseLockedError
from energy_etl.tables.core import INTERVAL, SITE
from energy_etl.warehouse import Warehouse
from energy_etl_tests.warehouse.frames import intervals, other_process, sites

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
connection.close()
"""

WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from energy_etl.tables.core import INTERVAL, SITE
from energy_etl.warehouse import Warehouse
from energy_etl_tests.warehouse.frames import intervals, sites

with Warehouse(Path(sys.argv[1]), (SITE, INTERVAL)).write() as writer:
    writer.replace_all(SITE, sites("half", "done"))
    writer.append(INTERVAL, intervals("half", 500))
    print("ready", flush=True)
    sys.stdin.readline()
"""

READ = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print("ready", flush=True)
sys.stdin.readline()
"""


def locked(warehouse: Warehouse, lock_wait_s: float) -> Warehouse:
    return Warehouse(warehouse.path, warehouse.tables, lock_wait_s=lock_wait_s)


def test_file_held_by_another_process_names_its_pid_and_command(warehouse: Warehouse) -> None:
    warehouse.create()
    with other_process(HOLD, warehouse.path, "--password", "hunter2") as holder:
        waiting = locked(warehouse, 0.3)
        with pytest.raises(WarehouseLockedError) as caught, waiting.write():
            pass
        with pytest.raises(WarehouseLockedError):
            waiting.read_table(SITE)
    message = str(caught.value)
    assert str(warehouse.path) in message
    assert f"process {holder.pid} (" in message
    assert "python" in message
    assert "hunter2" not in message
    assert "\n" not in message
    assert caught.value.is_retryable


def test_writer_waits_until_the_other_process_has_finished(warehouse: Warehouse) -> None:
    warehouse.create()
    with other_process(HOLD, warehouse.path) as holder:
        assert holder.stdin is not None
        release = threading.Timer(0.5, holder.stdin.close)
        release.start()
        started = time.monotonic()
        with warehouse.write() as writer:
            writer.append(SITE, sites("a"))
        assert time.monotonic() - started >= 0.4
        release.join()
    assert warehouse.read_table(SITE).height == 1


def test_readers_of_several_processes_do_not_wait_for_each_other(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.append(SITE, sites("a"))
    with other_process(READ, warehouse.path):
        assert locked(warehouse, 0.3).read_table(SITE).height == 1
        with pytest.raises(WarehouseLockedError), locked(warehouse, 0.3).write():
            pass


def test_threads_of_one_process_take_turns(warehouse: Warehouse) -> None:
    warehouse.create()

    def add(name: str) -> None:
        for n in range(3):
            with warehouse.write() as writer:
                writer.merge(SITE, sites(f"{name}{n}"))
            warehouse.read_table(SITE)

    threads = [threading.Thread(target=add, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warehouse.read_table(SITE).height == 9


def test_thread_that_waits_too_long_is_told(warehouse: Warehouse) -> None:
    messages: list[str] = []

    def try_to_read() -> None:
        try:
            locked(warehouse, 0.2).read_table(SITE)
        except WarehouseLockedError as error:
            messages.append(str(error))

    with warehouse.write():
        thread = threading.Thread(target=try_to_read)
        thread.start()
        thread.join()
    assert len(messages) == 1
    assert "another thread of this process" in messages[0]


def test_kill_during_a_write_leaves_the_last_good_state(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.replace_all(SITE, sites("good"))
        writer.append(INTERVAL, intervals("good", 10))
    before = [warehouse.table_hash(table) for table in (SITE, INTERVAL)]
    with other_process(WRITE_UNTIL_KILLED, warehouse.path) as writing:
        writing.kill()
        writing.wait()
    after = Warehouse(warehouse.path, warehouse.tables)
    assert [after.table_hash(table) for table in (SITE, INTERVAL)] == before
    with after.write() as writer:
        writer.merge(SITE, sites("next"))
    assert sorted(after.read_table(SITE)["site_id"]) == ["good", "next"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk_is_named_keeps_what_was_there_and_resumes(small_disk: Path) -> None:
    warehouse = Warehouse(small_disk / "warehouse.duckdb", (SITE, INTERVAL))
    with warehouse.write() as writer:
        writer.append(SITE, sites("good"))
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    ballast.write_bytes(os.urandom(free.f_bavail * free.f_frsize - 64 * 1024))
    batch = intervals("r1", 20_000).with_columns(
        energy_kwh=pl.Series(random.random() for _ in range(20_000))
    )

    def load() -> None:
        with warehouse.write() as writer:
            writer.append(INTERVAL, batch)

    with pytest.raises(WarehouseError, match=r"disk of .* is full: free some space"):
        load()
    ballast.unlink()
    assert warehouse.read_table(SITE).height == 1
    assert warehouse.read_table(INTERVAL).is_empty()
    load()
    assert warehouse.read_table(INTERVAL).height == 20_000


def test_error_in_one_opening_leaves_the_next_a_sound_engine(tmp_path: Path) -> None:
    first, second = (Warehouse(tmp_path / f"{n}.duckdb", (SITE,)) for n in "ab")
    first.create()
    second.create()
    with second.reading() as reader:
        with pytest.raises(WarehouseError, match="DuckDB refused the statement"):
            first.read("SELECT no_such_column FROM core.site")
        # What was open when the engine was left behind goes on, and so does the file that failed.
        assert reader.read("SELECT count(*) AS n FROM core.site")["n"].item() == 0
        with first.write() as writer:
            writer.read("SELECT 1 AS one")
    (tmp_path / "a.duckdb").rename(tmp_path / "moved.duckdb")
    assert Warehouse(tmp_path / "moved.duckdb", (SITE,)).read_table(SITE).is_empty()


def test_closed_file_is_free_for_another_process(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    warehouse = Warehouse(path, (SITE,))
    warehouse.create()
    warehouse.read_table(SITE)
    opening = "import sys, duckdb; duckdb.connect(sys.argv[1]).execute('SELECT 1')"
    ended = subprocess.run([sys.executable, "-c", opening, str(path)], timeout=60, check=False)
    assert ended.returncode == 0
