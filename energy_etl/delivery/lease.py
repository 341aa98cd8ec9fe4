"""One producer at a time: an exclusive lease beside the state file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from energy_etl.errors import DeliveryError


@contextlib.contextmanager
def hold_lease(state_path: Path | str) -> Iterator[None]:
    """Hold the right to send; it ends with the process, also when that is killed.

    Raises:
        DeliveryError: another process is sending.
    """
    lock = FileLock(f"{state_path}.send.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DeliveryError(
            f"Another send run is active on {state_path}: this one sends nothing; "
            "wait until that run has ended, it empties the whole outbox."
        ) from None
    try:
        yield
    finally:
        lock.release()
