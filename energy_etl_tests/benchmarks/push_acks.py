"""Acknowledgements made durable: what was sent is on the disk before anybody relies on it.

Ours notes for each packet that it was sent and what was answered, in commits of at most 100 packets
with full sync, while other threads go on. The limit appends a line per packet to a file and calls
fdatasync after 100 of them.
"""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from energy_etl.delivery.acks import AckWriter, Response, Sent
from energy_etl.delivery.outbox import Outbox
from energy_etl.state import connect, instant_to_us, transaction
from energy_etl_tests.benchmarks.measure import (
    Benchmark,
    BenchmarkError,
    Case,
    Clock,
    Contender,
    Outcome,
    Scale,
    Task,
)
from energy_etl_tests.benchmarks.push import N_PARALLEL, fill, tenth
from energy_etl_tests.benchmarks.push_input import START_AT, STEP, make_packets

# Of packets. Ours counts events, and with the answers' log there are two of each packet.
GROUP: Final = 100
_N_STREAMS: Final = 100
_N_PER_STREAM: Final[dict[Scale, int]] = {"small": 20, "full": 500, "huge": 500}
_STEP_MS: Final = int(STEP.total_seconds() * 1000)
_POSTED_US: Final = instant_to_us(START_AT)


def run_ours(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Hand over two events per packet, as the sender does, until all are durable."""
    return _run_ours(task, folder, clock, has_responses=True)


def run_ours_without_responses(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Only that a packet was sent: what the limit keeps too."""
    return _run_ours(task, folder, clock, has_responses=False)


def _run_ours(task: Task, folder: Path, clock: Clock, *, has_responses: bool) -> Outcome:
    packets = make_packets(task)
    n_events = 2 if has_responses else 1
    with contextlib.closing(connect(folder / "state.sqlite")) as connection:
        outbox = Outbox(connection)
        fill(outbox, packets, Clock())
        events = [
            event
            for stream_id, stamped_ms, body in _in_turns(packets)
            for event in _events(stream_id, stamped_ms, body, has_responses)
        ]
        with clock:
            acks = AckWriter(outbox.path, lambda: datetime.now(UTC), group=n_events * GROUP)
            for event in events:
                acks.put(event)
            asyncio.run(acks.flush())
            acks.close()
        n_sent = outbox.count("sent")
        (n_responses,) = connection.execute("SELECT count(*) FROM response").fetchone()
    if n_responses != (n_sent if has_responses else 0):
        raise BenchmarkError(f"{n_sent} packets were noted as sent, and {n_responses} answers.")
    return Outcome(n_sent, float(n_sent))


def _events(
    stream_id: str, stamped_ms: int, body: str, has_responses: bool
) -> Iterator[Response | Sent]:
    if has_responses:
        yield Response(stream_id, stamped_ms, _POSTED_US, 0.001, 200, None)
    yield Sent(stream_id, stamped_ms, body, 200, 1)


def _in_turns(packets: dict[str, list[bytes]]) -> Iterator[tuple[str, int, str]]:
    """Return packets as answers come in: some streams at once, one packet of each in its turn."""
    start_ms = int(START_AT.timestamp() * 1000)
    ids = list(packets)
    for first in range(0, len(ids), N_PARALLEL):
        at_once = ids[first : first + N_PARALLEL]
        for number, bodies in enumerate(zip(*(packets[s] for s in at_once), strict=True), start=1):
            for stream_id, body in zip(at_once, bodies, strict=True):
                yield stream_id, start_ms + number * _STEP_MS, body.decode()


def run_single_commits(task: Task, folder: Path, clock: Clock) -> Outcome:
    """The same table, each packet in a commit of its own."""
    return _run_bare(task, folder, clock, group=1)


def run_bare_groups(task: Task, folder: Path, clock: Clock) -> Outcome:
    """The same table in commits of 100, and nothing besides: what SQLite itself costs."""
    return _run_bare(task, folder, clock, group=GROUP)


def _run_bare(task: Task, folder: Path, clock: Clock, *, group: int) -> Outcome:
    packets = make_packets(task)
    with contextlib.closing(connect(folder / "state.sqlite")) as connection:
        outbox = Outbox(connection)
        fill(outbox, packets, Clock())
        rows = [
            (_POSTED_US, stream_id, stamped_ms) for stream_id, stamped_ms, _ in _in_turns(packets)
        ]
        with clock:
            for first in range(0, len(rows), group):
                with transaction(connection):
                    connection.executemany(
                        "UPDATE packet SET state = 'sent', status = 200, sent_us = ? "
                        "WHERE stream_id = ? AND stamped_ms = ?",
                        rows[first : first + group],
                    )
        n_sent = outbox.count("sent")
    return Outcome(n_sent, float(n_sent))


def run_limit(task: Task, folder: Path, clock: Clock) -> Outcome:
    """A line per packet, appended to a file; fdatasync after each group."""
    packets = make_packets(task)
    lines = [
        f'["{stream_id}",{stamped_ms},200,{_POSTED_US},1]\n'.encode()
        for stream_id, stamped_ms, _ in _in_turns(packets)
    ]
    path = folder / "acknowledged.jsonl"
    with clock, path.open("ab", buffering=0) as file:
        for first in range(0, len(lines), GROUP):
            file.write(b"".join(lines[first : first + GROUP]))
            os.fdatasync(file.fileno())
    n_lines = path.read_bytes().count(b"\n")
    return Outcome(n_lines, float(n_lines))


@contextlib.contextmanager
def _cases(scale: Scale, folder: Path) -> Iterator[list[Case]]:
    del folder
    task = Task(_N_STREAMS, _N_PER_STREAM[scale])
    yield [
        Case(
            f"{task.n_items:,} acknowledgements made durable",
            task,
            replace(task, n_per_group=1),
        )
    ]


BENCHMARK: Final = Benchmark(
    name="push_acks",
    item="packet",
    per=1_000,
    contenders=(
        Contender("energy_etl, with the answers' log", "ours", run_ours),
        Contender("energy_etl, that it was sent", "ours", run_ours_without_responses),
        Contender("SQLite alone, a commit per packet", "peer", run_single_commits, fewer=tenth),
        Contender("SQLite alone, a commit per 100", "peer", run_bare_groups),
        Contender("append and fdatasync per 100", "limit", run_limit, reach_per_s=0.8),
    ),
    cases=_cases,
    remark="at least 20,000 per second are wanted; it depends on the disk, so look at the limit",
    is_by_wall=True,
)
