"""Push: one POST per packet, the order of each stream kept, to the sandbox's collector.

Ours reads the durable outbox, asks for each stream's last packet before and after, and commits each
acknowledgement in groups. The limit writes requests that are rendered already to one connection per
stream and looks at nothing but the end of each answer.
"""

import asyncio
import base64
import contextlib
import importlib
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import msgspec
import polars as pl

from energy_etl.delivery.frontier import release
from energy_etl.delivery.limits import DrainLimits, DrainReport
from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.sender import drain
from energy_etl.state import connect
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.vendors.wattics.collector import open_collectors
from energy_etl.vendors.wattics.settings import WatticsSettings, sandbox_section
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
from energy_etl_tests.benchmarks.push_peers import (
    run_aiohttp,
    run_httpx_per_worker,
    run_httpx_shared,
)
from energy_etl_tests.benchmarks.serving import collector_server

_START_AT: Final = datetime(2025, 1, 6, tzinfo=UTC)
_STEP: Final = timedelta(minutes=15)
_PACKET_SCHEMA: Final = pl.Schema(
    {"stream_id": pl.String, "stamped_at": UTC_INSTANT, "body": pl.String}
)
_N_STREAMS: Final = (20, 100)
_N_PACKETS: Final[dict[Scale, int]] = {"small": 2_000, "full": 20_000, "huge": 20_000}
_END_OF_HEAD: Final = b"\r\n\r\n"


def make_packets(task: Task) -> dict[str, list[bytes]]:
    """Return the packets of each stream in order; the ids are new each time."""
    run = uuid.uuid4().hex
    stamps = [
        (_START_AT + number * _STEP).isoformat(timespec="milliseconds")
        for number in range(1, task.n_per_group + 1)
    ]
    return {
        stream_id: [
            f'{{"id":"{stream_id}","tsISO8601":"{stamp}","pC_1":{number * 12.5}}}'.encode()
            for number, stamp in enumerate(stamps)
        ]
        for stream_id in (f"{run}-{number:03d}" for number in range(task.n_groups))
    }


def run_ours(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Empty an outbox that is filled and released already."""
    return _run_ours(task, folder, clock, Clock())


def run_ours_with_filling(task: Task, folder: Path, clock: Clock) -> Outcome:
    """The same with taking the packets in and releasing them."""
    return _run_ours(task, folder, clock, clock)


def _run_ours(task: Task, folder: Path, clock: Clock, filling: Clock) -> Outcome:
    packets = make_packets(task)
    frame = pl.DataFrame(
        [
            (stream_id, _START_AT + number * _STEP, body.decode())
            for stream_id, bodies in packets.items()
            for number, body in enumerate(bodies, start=1)
        ],
        schema=_PACKET_SCHEMA,
        orient="row",
    )
    plans = [StreamPlan(stream_id, _STEP, _START_AT, "main") for stream_id in packets]
    settings = WatticsSettings.model_validate(sandbox_section(task.source))
    with contextlib.closing(connect(folder / "state.sqlite")) as connection:
        outbox = Outbox(connection)
        with filling:
            outbox.fill(frame, plans)
            release(outbox, plans, [], datetime.now(UTC))
        with clock:
            report = asyncio.run(_drained(outbox, settings))
        report.raise_if_incomplete()
    return arrived(task, packets)


async def _drained(outbox: Outbox, settings: WatticsSettings) -> DrainReport:
    limits = DrainLimits(
        max_parallel_streams=settings.max_parallel_streams,
        request_timeout_s=settings.request_timeout_s,
    )
    async with open_collectors(settings) as collectors:
        return await drain(outbox, collectors, limits=limits)


class _Posts(asyncio.Protocol):
    """Sends requests one after the other and waits for the end of each answer."""

    def __init__(self, requests: Sequence[bytes]) -> None:
        self._left = iter(requests)
        self._received = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is none of asyncio's classes, though it does the same.
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        # An accepted packet is answered without a body.
        if self._received.endswith(_END_OF_HEAD):
            if not self._received.startswith(b"HTTP/1.1 200 "):
                self.done.set_exception(BenchmarkError(self._received[:200].decode("latin-1")))
                self._transport.close()
                return
            self._received = b""
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(BenchmarkError(f"The collector hung up ({exc})."))

    def _next(self) -> None:
        request = next(self._left, None)
        if request is not None:
            self._transport.write(request)
        else:
            self.done.set_result(None)
            self._transport.close()


def run_limit(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Bare connections, one per stream, on the fastest event loop there is."""
    del folder
    packets = make_packets(task)
    send_bare(task, packets, clock)
    return arrived(task, packets)


def send_bare(task: Task, packets: dict[str, list[bytes]], clock: Clock | None = None) -> None:
    """Send packets as they are, each stream on its own connection.

    Raises:
        BenchmarkError: one was not accepted.
    """
    section = sandbox_section(task.source)
    parts = urlsplit(section["collector_url"])
    credential = section["credentials"]["main"]
    pair = base64.b64encode(f"{credential['username']}:{credential['password']}".encode()).decode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Basic {pair}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()
    requests = [
        [head + str(len(body)).encode() + _END_OF_HEAD + body for body in bodies]
        for bodies in packets.values()
    ]

    async def send() -> None:
        loop = asyncio.get_running_loop()
        protocols = [
            (await loop.create_connection(lambda of=of: _Posts(of), parts.hostname, parts.port))[1]
            for of in requests
        ]
        await asyncio.gather(*(protocol.done for protocol in protocols))

    uvloop = importlib.import_module("uvloop")
    with clock or Clock(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send())


def arrived(task: Task, packets: dict[str, list[bytes]]) -> Outcome:
    """Ask the collector what it has of these streams.

    Raises:
        BenchmarkError: packets came twice or out of order.
    """
    with urllib.request.urlopen(f"{task.source}/_sandbox/streams") as answer:
        rows = [row for row in msgspec.json.decode(answer.read()) if row["stream"] in packets]
    disorder = sum(row["out_of_order"] + row["duplicates"] for row in rows)
    if disorder:
        raise BenchmarkError(f"{disorder} packets came twice or out of order.")
    n_packets = sum(row["received"] for row in rows)
    return Outcome(n_packets, float(n_packets))


@contextlib.contextmanager
def _cases(scale: Scale, folder: Path) -> Iterator[list[Case]]:
    del folder
    with collector_server() as url:
        tasks = [Task(n, _N_PACKETS[scale] // n, url) for n in _N_STREAMS]
        yield [
            Case(
                f"push, {task.n_items:,} packets of {task.n_groups} streams",
                task,
                replace(task, n_per_group=1),
            )
            for task in tasks
        ]


def _tenth(task: Task) -> Task:
    return replace(task, n_per_group=max(1, task.n_per_group // 10))


BENCHMARK: Final = Benchmark(
    name="push",
    item="packet",
    per=1_000,
    contenders=(
        Contender("energy_etl", "ours", run_ours),
        Contender("energy_etl, filling included", "ours", run_ours_with_filling),
        Contender("aiohttp alone, nothing kept", "peer", run_aiohttp),
        Contender("httpx, a client per worker", "peer", run_httpx_per_worker, fewer=_tenth),
        Contender("httpx, one shared client", "peer", run_httpx_shared, fewer=_tenth),
        Contender("bare connections, uvloop", "limit", run_limit, reach=15.0),
    ),
    cases=_cases,
)
