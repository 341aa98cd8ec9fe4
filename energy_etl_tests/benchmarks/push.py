"""Push: one POST per packet, the order of each stream kept, over plain HTTP and over TLS.

Ours reads the durable outbox, asks for each stream's last packet before and after, and commits each
acknowledgement in groups. The limit writes requests that are rendered already to one connection per
stream and looks at nothing but the end of each answer: the server is at least as fast as that.
"""

import asyncio
import base64
import contextlib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import polars as pl

from energy_etl.delivery.frontier import release
from energy_etl.delivery.limits import DrainLimits, DrainReport
from energy_etl.delivery.loop import run_fast
from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.sender import drain
from energy_etl.state import connect
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.vendors.wattics.collector import open_collectors
from energy_etl.vendors.wattics.settings import WatticsSettings
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
from energy_etl_tests.benchmarks.push_input import (
    START_AT,
    STEP,
    Target,
    arrived,
    make_packets,
    target_of,
)
from energy_etl_tests.benchmarks.push_peers import (
    run_aiohttp,
    run_httpx_per_worker,
    run_httpx_shared,
)
from energy_etl_tests.benchmarks.push_vendor import (
    has_java_client,
    has_ruby_client,
    is_at_vendor_port,
    run_java,
    run_ruby,
    vendor_port,
)
from energy_etl_tests.benchmarks.serving import collector_server

N_PARALLEL: Final = 32
_PACKET_SCHEMA: Final = pl.Schema(
    {"stream_id": pl.String, "stamped_at": UTC_INSTANT, "body": pl.String}
)
_N_STREAMS: Final = (20, 100)
_N_PACKETS: Final[dict[Scale, int]] = {"small": 2_000, "full": 20_000, "huge": 20_000}
_END_OF_HEAD: Final = b"\r\n\r\n"


def run_ours(task: Task, folder: Path, clock: Clock, n_parallel: int = N_PARALLEL) -> Outcome:
    """Empty an outbox that is filled and released already."""
    return _run_ours(task, folder, clock, Clock(), n_parallel)


def run_ours_with_filling(task: Task, folder: Path, clock: Clock) -> Outcome:
    """The same with taking the packets in and releasing them."""
    return _run_ours(task, folder, clock, clock, N_PARALLEL)


def _run_ours(task: Task, folder: Path, clock: Clock, filling: Clock, n_parallel: int) -> Outcome:
    packets = make_packets(task)
    with contextlib.closing(connect(folder / "state.sqlite")) as connection:
        outbox = Outbox(connection)
        fill(outbox, packets, filling)
        drain_all(outbox, target_of(task), clock, n_parallel)
    return arrived(task, packets)


def fill(outbox: Outbox, packets: dict[str, list[bytes]], clock: Clock) -> None:
    """Take packets in and release them."""
    frame = pl.DataFrame(
        [
            (stream_id, START_AT + number * STEP, body.decode())
            for stream_id, bodies in packets.items()
            for number, body in enumerate(bodies, start=1)
        ],
        schema=_PACKET_SCHEMA,
        orient="row",
    )
    plans = [StreamPlan(stream_id, STEP, START_AT, "main") for stream_id in packets]
    with clock:
        outbox.fill(frame, plans)
        release(outbox, plans, [], datetime.now(UTC))


def drain_all(outbox: Outbox, target: Target, clock: Clock, n_parallel: int = N_PARALLEL) -> None:
    """Send all that is released.

    Raises:
        DeliveryError: something was not delivered.
    """
    settings = WatticsSettings.model_validate(
        {**target.section, "max_parallel_streams": n_parallel, **target.trust}
    )
    with clock:
        report = run_fast(_drained(outbox, settings))
    report.raise_if_incomplete()


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
        self._is_complete = False
        # Set when the connection is closed: a loop that ends before loses what TLS has to say.
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
            if self._is_complete:
                self.done.set_result(None)
            else:
                self.done.set_exception(BenchmarkError(f"The collector hung up ({exc})."))

    def _next(self) -> None:
        request = next(self._left, None)
        if request is not None:
            self._transport.write(request)
        else:
            self._is_complete = True
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
    target = target_of(task)
    parts = urlsplit(target.url)
    pair = base64.b64encode(f"{target.username}:{target.password}".encode()).decode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Basic {pair}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()
    requests = [
        [head + str(len(body)).encode() + _END_OF_HEAD + body for body in bodies]
        for bodies in packets.values()
    ]
    tls = target.tls
    assert parts.hostname is not None
    assert parts.port is not None
    host, port = parts.hostname, parts.port

    async def send() -> None:
        loop = asyncio.get_running_loop()
        protocols = [
            (await loop.create_connection(lambda of=of: _Posts(of), host, port, ssl=tls))[1]
            for of in requests
        ]
        await asyncio.gather(*(protocol.done for protocol in protocols))

    uvloop = importlib.import_module("uvloop")
    with clock or Clock(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send())


@contextlib.contextmanager
def _cases(scale: Scale, folder: Path) -> Iterator[list[Case]]:
    del folder
    # The vendor's clients know no other place on this machine.
    port = vendor_port() if has_java_client() or has_ruby_client() else 0
    n_packets = _N_PACKETS[scale]
    with collector_server(port=port) as plain, collector_server(has_tls=True) as with_tls:
        yield [
            *(_case(Task(n, n_packets // n, plain)) for n in _N_STREAMS),
            _case(Task(_N_STREAMS[-1], n_packets // _N_STREAMS[-1], with_tls), " over TLS"),
        ]


def _case(task: Task, how: str = "") -> Case:
    title = f"push{how}, {task.n_items:,} packets of {task.n_groups} streams"
    return Case(title, task, replace(task, n_per_group=1))


def tenth(task: Task) -> Task:
    """Return a tenth of a task."""
    return replace(task, n_per_group=max(1, task.n_per_group // 10))


BENCHMARK: Final = Benchmark(
    name="push",
    item="packet",
    per=1_000,
    contenders=(
        Contender("energy_etl", "ours", run_ours),
        Contender("energy_etl, filling included", "ours", run_ours_with_filling),
        Contender("aiohttp alone, nothing kept", "peer", run_aiohttp, needs=("aiohttp",)),
        Contender("httpx, a client per worker", "peer", run_httpx_per_worker, fewer=tenth),
        Contender("httpx, one shared client", "peer", run_httpx_shared, fewer=tenth),
        Contender(
            "Wattics' Java client",
            "peer",
            run_java,
            is_there=has_java_client,
            takes=is_at_vendor_port,
            reach_per_s=2.5,
        ),
        Contender(
            "Wattics' Ruby client",
            "peer",
            run_ruby,
            is_there=has_ruby_client,
            takes=is_at_vendor_port,
            reach_per_s=2.5,
        ),
        Contender("bare connections, uvloop", "limit", run_limit, reach=15.0),
    ),
    cases=_cases,
    is_by_wall=True,
)
