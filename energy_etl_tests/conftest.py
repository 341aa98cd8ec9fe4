"""For all tests: the order in which they run."""

import os

import pytest


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
