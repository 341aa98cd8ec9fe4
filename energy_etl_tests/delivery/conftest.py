"""A real collector in a thread, and outboxes with packets of any streams."""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_etl.delivery import Outbox, StreamPlan
from energy_etl.delivery.mirror import packet_frame
from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.state import connect

STEP = timedelta(minutes=15)
START_AT = datetime(2025, 1, 6, tzinfo=UTC)
NOW = datetime(2025, 2, 1, 12, tzinfo=UTC)
_NUMBERS = itertools.count()


@dataclass
class Collected:
    """What the collector holds of one stream, in order of arrival."""

    stamps_ms: list[int]
    bodies: list[str]
    n_out_of_order: int
    n_duplicates: int


class CollectorServer:
    """The sandbox's Wattics collector, with faults on demand."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.url = sandbox.url

    def fault(self, kind: str, **fields: object) -> None:
        self.sandbox.app.faults.add({"vendor": "wattics", "kind": kind, **fields})

    def clear(self) -> None:
        self.sandbox.app.faults.clear()

    def collected(self, stream_id: str, account: str = "main") -> Collected:
        log = self.sandbox.app.wattics.streams[account].get(stream_id)
        if log is None:
            return Collected([], [], 0, 0)
        bodies = [raw.decode() for raw in log.packets]
        return Collected(list(log.stamps_ms), bodies, log.n_out_of_order, log.n_duplicates)

    def n_requests(self) -> int:
        return len(self.sandbox.app.log)


@pytest.fixture(scope="session")
def collector_server() -> Iterator[CollectorServer]:
    world = World(now=fixed_clock(NOW))
    options = {"accepts_any_stream": True}
    with SandboxServer(world, wattics_options=options) as sandbox:
        yield CollectorServer(sandbox)


@pytest.fixture
def server(collector_server: CollectorServer) -> Iterator[CollectorServer]:
    collector_server.clear()
    yield collector_server
    collector_server.clear()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    connection = connect(tmp_path / "state.sqlite")
    yield Outbox(connection)
    connection.close()


@pytest.fixture(scope="session")
def memory_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder in memory where there is one, for tests of many files and no disk."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path_factory.mktemp("memory")
        return
    with tempfile.TemporaryDirectory(dir=memory) as path:
        yield Path(path)


def new_id(name: str = "s") -> str:
    """Return a stream id that no other test uses: the collector is shared."""
    return f"{name}-{next(_NUMBERS)}"


def plan(stream_id: str, **changes: object) -> StreamPlan:
    fields = {
        "stream_id": stream_id,
        "interval": STEP,
        "push_from_at": START_AT,
        "credential": "main",
        "register_ids": frozenset({f"register-of-{stream_id}"}),
    }
    return StreamPlan(**{**fields, **changes})  # pyright: ignore[reportArgumentType]


def stamp(number: int) -> datetime:
    """Return the stamp of the n-th packet from the start, from 1."""
    return START_AT + number * STEP


def stamp_ms(number: int) -> int:
    return int(stamp(number).timestamp() * 1000)


def body(stream_id: str, number: int, value: float | None = None) -> str:
    at = stamp(number).isoformat(timespec="milliseconds")
    shown = number * 10.0 if value is None else value
    return f'{{"id":"{stream_id}","tsISO8601":"{at}","pC_1":{shown}}}'


def packets(stream_id: str, numbers: Sequence[int], value: float | None = None) -> pl.DataFrame:
    """Return the frame of some packets of one stream, by their numbers from 1."""
    return pl.DataFrame(
        {
            "stream_id": [stream_id] * len(numbers),
            "stamped_at": [stamp(number) for number in numbers],
            "body": [body(stream_id, number, value) for number in numbers],
        },
        schema={
            "stream_id": pl.String,
            "stamped_at": pl.Datetime("us", "UTC"),
            "body": pl.String,
        },
    )


def states(outbox: Outbox, stream_id: str) -> dict[int, str]:
    """Return the state of each packet of a stream, by its number."""
    rows = outbox.connection.execute(
        "SELECT stamped_ms, state FROM packet WHERE stream_id = ? ORDER BY stamped_ms", (stream_id,)
    )
    return {(ms - stamp_ms(0)) // 900_000: state for ms, state in rows}


def reasons(outbox: Outbox, stream_id: str) -> dict[int, str | None]:
    """Return what people are shown as the reason of each packet of a stream, by its number."""
    frame = packet_frame(outbox, stream_id=stream_id)
    return {(at - START_AT) // STEP: why for at, why in frame["stamped_at", "hold_reason"].rows()}
