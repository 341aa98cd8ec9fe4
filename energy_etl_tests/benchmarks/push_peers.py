"""What others would take for push: httpx or aiohttp, one POST per packet, 32 streams at once.

None of them keeps anything: what was on its way when the process ends is lost or sent twice.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import httpx

from energy_etl.vendors.wattics.settings import sandbox_section
from energy_etl_tests.benchmarks.measure import BenchmarkError, Clock, Outcome, Task

N_PARALLEL: Final = 32
_TLS: Final = ssl.create_default_context()
_HEADERS: Final = {"Content-Type": "application/json"}

Post = Callable[[bytes], Awaitable[int]]


def run_httpx_shared(task: Task, folder: Path, clock: Clock) -> Outcome:
    """One AsyncClient for all streams, as httpx's page advises."""
    del folder
    url, credential = _target(task)

    async def send(packets: dict[str, list[bytes]]) -> None:
        limits = httpx.Limits(max_connections=N_PARALLEL)
        async with _client(credential, limits) as client:
            await _in_order(packets, [_httpx_post(client, url)] * N_PARALLEL)

    return _run(task, clock, send)


def run_httpx_per_worker(task: Task, folder: Path, clock: Clock) -> Outcome:
    """An AsyncClient per worker, each with one connection."""
    del folder
    url, credential = _target(task)

    async def send(packets: dict[str, list[bytes]]) -> None:
        n_workers = min(N_PARALLEL, len(packets))
        clients = [_client(credential, httpx.Limits(max_connections=1)) for _ in range(n_workers)]
        try:
            await _in_order(packets, [_httpx_post(client, url) for client in clients])
        finally:
            for client in clients:
                await client.aclose()

    return _run(task, clock, send)


def run_aiohttp(task: Task, folder: Path, clock: Clock) -> Outcome:
    """One aiohttp session: the transport that ours uses, and nothing around it."""
    del folder
    url, (username, password) = _target(task)

    async def send(packets: dict[str, list[bytes]]) -> None:
        connector = aiohttp.TCPConnector(limit=N_PARALLEL)
        headers = {**_HEADERS, "Authorization": aiohttp.encode_basic_auth(username, password)}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

            async def post(body: bytes) -> int:
                async with session.post(url, data=body) as answer:
                    await answer.read()
                    return answer.status

            await _in_order(packets, [post] * N_PARALLEL)

    return _run(task, clock, send)


def _run(task: Task, clock: Clock, send: Callable[[dict[str, list[bytes]]], Any]) -> Outcome:
    # Here: push.py lists these functions, so it cannot be imported first.
    from energy_etl_tests.benchmarks.push import arrived, make_packets

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


def _client(credential: tuple[str, str], limits: httpx.Limits) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        auth=credential,
        headers=_HEADERS,
        limits=limits,
        # Each client would read all certificates otherwise, for connections that have none.
        verify=_TLS,
        trust_env=False,
    )


def _target(task: Task) -> tuple[str, tuple[str, str]]:
    section = sandbox_section(task.source)
    credential = section["credentials"]["main"]
    return section["collector_url"], (credential["username"], credential["password"])
