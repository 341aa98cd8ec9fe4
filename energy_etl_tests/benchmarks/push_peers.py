"""What others would take for push: httpx or aiohttp, one POST per packet, some streams at once.

None of them keeps anything: what was on its way when the process ends is lost or sent twice.
"""

import asyncio
import importlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import httpx

from energy_etl_tests.benchmarks.measure import BenchmarkError, Clock, Outcome, Task
from energy_etl_tests.benchmarks.push_input import Target, arrived, make_packets, target_of

N_PARALLEL: Final = 32
# Each of httpx's clients would read all certificates otherwise, for connections that have none.
_NO_TLS: Final = ssl.create_default_context()
_HEADERS: Final = {"Content-Type": "application/json"}

Post = Callable[[bytes], Awaitable[int]]


def run_httpx_shared(
    task: Task, folder: Path, clock: Clock, n_parallel: int = N_PARALLEL
) -> Outcome:
    """One AsyncClient for all streams, as httpx's page advises."""
    del folder
    target = target_of(task)

    async def send(packets: dict[str, list[bytes]]) -> None:
        async with _client(target, n_parallel) as client:
            await _in_order(packets, [_httpx_post(client, target.url)] * n_parallel)

    return _run(task, clock, send)


def run_httpx_per_worker(
    task: Task, folder: Path, clock: Clock, n_parallel: int = N_PARALLEL
) -> Outcome:
    """An AsyncClient per worker, each with one connection."""
    del folder
    target = target_of(task)

    async def send(packets: dict[str, list[bytes]]) -> None:
        clients = [_client(target, 1) for _ in range(min(n_parallel, len(packets)))]
        try:
            await _in_order(packets, [_httpx_post(client, target.url) for client in clients])
        finally:
            for client in clients:
                await client.aclose()

    return _run(task, clock, send)


def run_aiohttp(task: Task, folder: Path, clock: Clock, n_parallel: int = N_PARALLEL) -> Outcome:
    """One aiohttp session: a general client at its leanest, and nothing around it."""
    del folder
    aiohttp = importlib.import_module("aiohttp")
    target = target_of(task)
    basic = aiohttp.encode_basic_auth(target.username, target.password)

    async def send(packets: dict[str, list[bytes]]) -> None:
        connector = aiohttp.TCPConnector(limit=n_parallel, ssl=target.tls or True)
        headers = {**_HEADERS, "Authorization": basic}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def post(body: bytes) -> int:
                async with session.post(target.url, data=body) as answer:
                    await answer.read()
                    return answer.status

            await _in_order(packets, [post] * n_parallel)

    return _run(task, clock, send)


def _run(task: Task, clock: Clock, send: Callable[[dict[str, list[bytes]]], Any]) -> Outcome:
    packets = make_packets(task)
    with clock:
        asyncio.run(send(packets))
    return arrived(task, packets)


async def _in_order(packets: dict[str, list[bytes]], posts: list[Post]) -> None:
    """Send each stream's packets one after the other, as many streams at once as there are posts.

    Raises:
        BenchmarkError: a packet was not accepted.
    """
    left = iter(packets.values())

    async def work(post: Post) -> None:
        for bodies in left:
            for body in bodies:
                status = await post(body)
                if status != httpx.codes.OK:
                    raise BenchmarkError(f"The collector answered {status}.")

    async with asyncio.TaskGroup() as group:
        for post in posts:
            group.create_task(work(post))


def _httpx_post(client: httpx.AsyncClient, url: str) -> Post:
    async def post(body: bytes) -> int:
        return (await client.post(url, content=body)).status_code

    return post


def _client(target: Target, n_connections: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        auth=(target.username, target.password),
        headers=_HEADERS,
        limits=httpx.Limits(max_connections=n_connections, max_keepalive_connections=n_connections),
        # Waiting for one's turn in the pool is no failure.
        timeout=httpx.Timeout(30.0, pool=None),
        verify=target.tls or _NO_TLS,
        trust_env=False,
    )
