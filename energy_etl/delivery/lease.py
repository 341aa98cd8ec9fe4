"""One producer at a time: an exclusive lease beside the state file, and who holds it."""

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from energy_etl.errors import DeliveryError


@contextlib.contextmanager
def hold_lease(state_path: Path | str) -> Iterator[None]:
    """Hold the right to send; it ends with the process, also when that is killed.

    Raises:
        DeliveryError: another process is sending; the sentence says which, and since when.
    """
    lock = FileLock(f"{state_path}.send.lock")
    # Beside the lock: whoever asks for that one empties it.
    holder = Path(f"{state_path}.send.holder")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DeliveryError(
            f"Another send run is active on {state_path}{_holder_text(holder)}: this one sends "
            "nothing; wait until that run has ended, it empties the whole outbox."
        ) from None
    try:
        # The lock alone counts: a disk that is full makes the sentence shorter, no more.
        with contextlib.suppress(OSError):
            since = datetime.now(UTC).isoformat(timespec="seconds")
            holder.write_text(f"{os.getpid()} {since}\n", encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def _holder_text(holder: Path) -> str:
    try:
        pid, since = holder.read_text(encoding="utf-8").split()
        # Written by a process that was killed, it names nobody. One of another user is alive.
        with contextlib.suppress(PermissionError):
            os.kill(int(pid), 0)
    except (OSError, ValueError, OverflowError):
        return ""
    return f" (process {pid}, since {since})"
