"""A send run that writes its packets to a file: the outbox stays as it is, and nobody is called.

The outbox is copied and the copy released as a send run would begin, so the file holds what that
run would send now. For the command line (`energy-etl push dry-run`) and the job `send_outbox`.
"""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dagster as dg

from energy_etl.defs.delivery import release_streams
from energy_etl.defs.faults import counted
from energy_etl.defs.output import put_whole
from energy_etl.defs.resources import Etl
from energy_etl.delivery.dry_run import StreamOutlook, outlook, packet_lines
from energy_etl.delivery.outbox import Outbox
from energy_etl.errors import ConfigurationError
from energy_etl.state import copy_state, open_state
from energy_etl.vendors.wattics.settings import WatticsSettings

_PREFIX: Final = ".dry-run-"
# What a killed one has left; one that is under way is younger.
_LEFT_AFTER_S: Final = 24 * 3600.0


@dataclass(frozen=True)
class DryRun:
    """What a send run would do, stream by stream.

    Attributes:
        streams: by id.
        url: where every packet would go.
        lines: reads the packets, one line of JSON each; within the context only.
    """

    streams: tuple[StreamOutlook, ...]
    url: str
    lines: Callable[[], Iterator[str]]

    @property
    def n_due(self) -> int:
        """Packets that would be sent."""
        return sum(each.n_due for each in self.streams)

    @property
    def n_waiting(self) -> int:
        """Packets that would not."""
        return sum(each.n_waiting for each in self.streams)

    @property
    def headline(self) -> str:
        """All of it in a sentence."""
        n_streams = sum(bool(each.n_due) for each in self.streams)
        due = f"{counted(self.n_due, 'packet')} of {counted(n_streams, 'stream')}"
        return f"{due} due for {self.url}, {self.n_waiting} waiting."


@contextlib.contextmanager
def look_ahead(
    etl: Etl,
    instance: dg.DagsterInstance | None,
    *,
    own_run_id: str | None = None,
    prepare: Callable[[Outbox], None] | None = None,
) -> Iterator[DryRun]:
    """Find out what a send run would do now.

    Args:
        etl: the project.
        instance: whose loads and backfills a hole may still wait for; None: there is none.
        own_run_id: a run that is not waited for.
        prepare: what is done to the outbox first, here to its copy: a retry.

    Raises:
        ConfigurationError: there is no outbox, or no portfolio.
        WarehouseError: the outbox cannot be copied: the disk is full.
    """
    settings = etl.settings()
    if not settings.state_path.exists():
        raise ConfigurationError(
            f"There is no outbox in {settings.state_path}: run `energy-etl init`, or set "
            "ENERGY_ETL_ROOT to the project's folder."
        )
    section = settings.section(WatticsSettings)
    for left in settings.data_dir.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - _LEFT_AFTER_S:
                shutil.rmtree(left)
    # Beside the outbox: where it has room its copy has it more likely than in /tmp.
    with tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=_PREFIX) as folder:
        copy_path = Path(folder) / "state.sqlite"
        copy_state(settings.state_path, copy_path)
        if prepare is not None:
            with open_state(copy_path) as connection:
                prepare(Outbox(connection))
        release_streams(etl, instance, own_run_id, state_path=copy_path)
        with open_state(copy_path) as connection:
            copy = Outbox(connection)
            streams = tuple(outlook(copy, section.credentials))
            url = section.collector_url
            yield DryRun(streams, url, lambda: packet_lines(copy, streams, url))


def write_lines(path: Path, lines: Iterator[str]) -> int:
    """Write lines to a file, whole or not at all, and return how many."""
    n_lines = 0
    with put_whole(path) as file:
        for line in lines:
            file.write(f"{line}\n".encode())
            n_lines += 1
    return n_lines
