"""What the push benchmarks send, where it goes, and what the collector says about it afterwards.

A task's source is the collector's base URL, and behind a `#` the file of the authority whose
certificate it shows, when it speaks TLS.
"""

import ssl
import urllib.request
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from energy_etl.vendors.wattics.settings import sandbox_section
from energy_etl_tests.benchmarks.measure import BenchmarkError, Outcome, Task

START_AT: Final = datetime(2025, 1, 6, tzinfo=UTC)
STEP: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Target:
    """Where packets go, and as whom.

    Attributes:
        base_url: of the collector's server.
        section: what the settings' section `wattics` is there.
        ca_file: the authority of its certificate; None: plain HTTP.
    """

    base_url: str
    section: dict[str, Any]
    ca_file: str | None

    @property
    def url(self) -> str:
        """Where packets are posted to."""
        return self.section["collector_url"]

    @property
    def username(self) -> str:
        """Of the credential that all of them push with."""
        return self.section["credentials"]["main"]["username"]

    @property
    def password(self) -> str:
        """Of the same credential."""
        return self.section["credentials"]["main"]["password"]

    @property
    def trust(self) -> dict[str, Any]:
        """What the settings' section says about the authority, where there is one."""
        return {"ca_file": self.ca_file} if self.ca_file else {}

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What a connection is opened with; None: plain HTTP."""
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None


def target_of(task: Task) -> Target:
    """Return where a task's packets go."""
    base_url, _, ca_file = task.source.partition("#")
    return Target(base_url, sandbox_section(base_url), ca_file or None)


def make_packets(task: Task) -> dict[str, list[bytes]]:
    """Return the packets of each stream in order; the ids are new each time."""
    stamps = [
        (START_AT + number * STEP).isoformat(timespec="milliseconds")
        for number in range(1, task.n_per_group + 1)
    ]
    return {
        stream_id: [
            f'{{"id":"{stream_id}","tsISO8601":"{stamp}","pC_1":{number * 12.5}}}'.encode()
            for number, stamp in enumerate(stamps)
        ]
        for stream_id in stream_ids(task)
    }


def stream_ids(task: Task) -> list[str]:
    """Return an id per stream, new each time."""
    run = uuid.uuid4().hex[:12]
    return [f"{run}-{number:04d}" for number in range(task.n_groups)]


def arrived(task: Task, streams: Collection[str]) -> Outcome:
    """Ask the collector what it has of these streams.

    Raises:
        BenchmarkError: packets came twice or out of order.
    """
    target = target_of(task)
    with urllib.request.urlopen(
        f"{target.base_url}/_sandbox/streams", context=target.tls
    ) as answer:
        rows = [row for row in msgspec.json.decode(answer.read()) if row["stream"] in streams]
    disorder = sum(row["out_of_order"] + row["duplicates"] for row in rows)
    if disorder:
        raise BenchmarkError(f"{disorder} packets came twice or out of order.")
    n_packets = sum(row["received"] for row in rows)
    return Outcome(n_packets, float(n_packets))
