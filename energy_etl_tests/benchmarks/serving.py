"""The servers of the benchmarks, each in a process of its own.

`pages` answers with Wattsense-shaped pages of history that were rendered before the first call, so
that the server costs as little as a server can; so does the collector (`serving_collector.py`).
"""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from energy_etl_tests.benchmarks.serving_collector import BareCollector, serve
from energy_etl_tests.certificates import write_certificate

PAGE_SIZE: Final = 1000
N_DEVICES: Final = 4
START_AT: Final = datetime(2025, 1, 1, tzinfo=UTC)
STEP: Final = timedelta(minutes=15)
_START_MS: Final = int(START_AT.timestamp() * 1000)
_STEP_MS: Final = STEP // timedelta(milliseconds=1)
_MAX_DELAY_MS: Final = 60_000
_NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def device_of(number: int) -> str:
    """Return the box of a property."""
    return f"box-{number % N_DEVICES}"


def property_of(number: int) -> str:
    """Return the id of a property."""
    return f"property-{number:04d}"


def end_at(n_readings: int) -> datetime:
    """Return an instant after the last of so many readings."""
    return START_AT + (n_readings + 1) * STEP


@contextlib.contextmanager
def pages_server(n_properties: int, n_readings: int) -> Iterator[str]:
    """Serve the history of so many properties; yields the base URL."""
    with _started(["pages", str(n_properties), str(n_readings)]) as url:
        yield url


@contextlib.contextmanager
def collector_server(
    delay_s: float = 0.0, *, has_tls: bool = False, port: int = 0
) -> Iterator[str]:
    """Serve a collector that takes any stream; yields the source of tasks that push to it.

    Args:
        delay_s: waited before each answer.
        has_tls: with a certificate of its own.
        port: where; 0: anywhere.
    """
    # Here: the servers, which import this module too, start without what comes with it.
    from energy_etl.vendors.wattics.settings import SANDBOX_PATH, sandbox_section

    credential = sandbox_section("")["credentials"]["main"]
    known = [SANDBOX_PATH, credential["username"], credential["password"]]
    with tempfile.TemporaryDirectory(prefix="energy-etl-bench-") as folder:
        certificate = write_certificate(Path(folder)) if has_tls else None
        with _started(
            ["collector", str(port), str(delay_s), str(certificate or ""), *known]
        ) as url:
            yield f"{url}#{certificate}" if certificate else url


@contextlib.contextmanager
def _started(arguments: Sequence[str]) -> Iterator[str]:
    command = [sys.executable, "-m", "energy_etl_tests.benchmarks.serving", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        # The line that ends in the address is printed when the server answers.
        line = process.stdout.readline()
        if not line:
            # Here: a server, which imports this module too, needs none of what comes with it.
            from energy_etl_tests.benchmarks.measure import BenchmarkError

            raise BenchmarkError(f"The server {arguments[0]} did not start; see the lines above.")
        yield line.split()[-1]
    finally:
        # Not SIGTERM: what a script starts in its background inherits that it is ignored.
        process.kill()
        process.communicate()


def reading_at_ms(property_number: int, number: int) -> int:
    """Return when a reading was taken: close behind its quarter of an hour, never at it."""
    delay_ms = (number * 7919 + property_number * 104_729) % _MAX_DELAY_MS
    return _START_MS + number * _STEP_MS + delay_ms


def reading_wh(property_number: int, number: int) -> int:
    """Return what the counter shows then."""
    return 1_000_000 * property_number + 237 * number + number % 61


def render_pages(n_properties: int, n_readings: int) -> dict[tuple[str, str], bytes]:
    """Return complete answers by (property, since)."""
    pages: dict[tuple[str, str], bytes] = {}
    for number in range(n_properties):
        name = property_of(number)
        head = f'{{"property":"{name}","timestamp":'
        path = f"/v1/devices/{device_of(number)}/properties?property={name}"
        until = int(end_at(n_readings).timestamp() * 1000)
        for first in range(0, n_readings, PAGE_SIZE):
            after = min(first + PAGE_SIZE, n_readings)
            items = [
                f'{head}{reading_at_ms(number, n)},"payload":{value},"scaledPayload":{value}}}'
                for n in range(first, after)
                for value in (reading_wh(number, n) / 1000,)
            ]
            body = f"[{','.join(items)}]".encode()
            link = ""
            if after < n_readings:
                since = reading_at_ms(number, after)
                query = f"since={since}&until={until}&size={PAGE_SIZE}"
                link = f'Link: <{path}&{query}>; rel="next"\r\n'
            answer = (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"{link}Content-Length: {len(body)}\r\n\r\n"
            )
            since = _START_MS if first == 0 else reading_at_ms(number, first)
            pages[name, str(since)] = answer.encode() + body
    return pages


class _Pages(asyncio.Protocol):
    """Answers GETs on one connection."""

    def __init__(self, pages: dict[tuple[str, str], bytes]) -> None:
        self._pages = pages
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode("latin-1")
            query = parse_qs(target.partition("?")[2])
            key = query.get("property", [""])[0], query.get("since", [""])[0]
            self._transport.write(self._pages.get(key, _NOT_FOUND))


async def _serve_pages(n_properties: int, n_readings: int) -> None:
    pages = render_pages(n_properties, n_readings)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Pages(pages), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"Pages of history at http://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "pages":
        asyncio.run(_serve_pages(int(sys.argv[2]), int(sys.argv[3])))
    else:
        at_port, delay, certificate_path, *credential = sys.argv[2:]
        serve(BareCollector(*credential, delay_s=float(delay)), int(at_port), certificate_path)
