"""For all tests: the order in which they run, and a folder for what is made once for all."""

import gc
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ROOM_NEEDED = 2 * 2**30
FOLDER = "energy-etl-tests-of-"


def pytest_configure(config: pytest.Config) -> None:
    """Put what the tests write into memory where there is room, in a folder that goes at the end.

    A flush to a disk took 4 ms, in memory it is nothing, and the suite asks for thousands. What is
    made once for all workers is there too: they inherit both variables. `--basetemp` keeps the
    tests' own folders somewhere else, to look at them.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    # A session that was killed could not remove its own.
    for left in MEMORY.glob(f"{FOLDER}*-*"):
        if not Path("/proc", left.name.removeprefix(FOLDER).split("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    is_roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_NEEDED
    prefix = f"{FOLDER}{os.getpid()}-"
    folder = tempfile.mkdtemp(prefix=prefix, dir=MEMORY if is_roomy else None)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    os.environ["SHARED_BY_TEST_WORKERS"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among modules and test items: they stay for as long as the process.

    Half a million objects are made here, and each full sweep during the tests would walk them all.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin each worker's share with journeys: they wait, and at the end nobody would fill in."""
    n_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    journeys = [item for item in items if item.get_closest_marker("journey")]
    others = [item for item in items if not item.get_closest_marker("journey")]
    share = -(-len(others) // n_workers)
    items[:] = [
        item
        for worker in range(n_workers)
        for item in (
            *journeys[worker::n_workers],
            *others[worker * share : (worker + 1) * share],
        )
    ]
