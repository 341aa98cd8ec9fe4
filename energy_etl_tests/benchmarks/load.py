"""Extract and load: pages of history over HTTP, from 4 boxes, 8 at once, into a DuckDB file.

Ours is the way of a run: signed calls within a quota, each recorded, pages validated row by row,
then one transaction. The limit is the sum of three floors that no way can do without: fetching,
decoding, inserting what is there already.
"""

import contextlib
import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

import duckdb
import msgspec
import polars as pl

from energy_etl.rest import RequestLog
from energy_etl.tables.core import ALIAS, METER, READING, REGISTER
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.tables.raw import BODY, QUARANTINE, REQUEST
from energy_etl.vendors import WhoIsWho
from energy_etl.vendors import Window as FetchedWindow
from energy_etl.vendors.wattsense import VENDOR
from energy_etl.vendors.wattsense.client import PropertyWindow, WattsenseClient, next_link
from energy_etl.vendors.wattsense.settings import WattsenseSettings
from energy_etl.vendors.wattsense.tables import HISTORY
from energy_etl.vendors.wattsense.wire import HistoryItem
from energy_etl.warehouse import Warehouse
from energy_etl.warehouse.batch import FrameStream
from energy_etl_tests.benchmarks.load_peers import (
    history_path,
    history_query,
    run_dlt,
    run_dlt_rest_api,
    run_pydantic,
)
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
from energy_etl_tests.benchmarks.serving import (
    PAGE_SIZE,
    START_AT,
    device_of,
    end_at,
    pages_server,
    property_of,
)

N_PARALLEL: Final = 8
_TABLES: Final = (*VENDOR.tables, READING, REQUEST, BODY, QUARANTINE)
_SIZES: Final[dict[Scale, tuple[int, int]]] = {
    "small": (8, 10_000),
    "full": (40, 25_000),
    "huge": (40, 25_000),
}


def run_ours(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Fetch, validate and replace the window of the vendor's table."""
    return _run_ours(task, folder, clock, is_all=False)


def run_ours_with_all(task: Task, folder: Path, clock: Clock) -> Outcome:
    """The same with all that a run commits: the answers as received, and `core.reading`."""
    return _run_ours(task, folder, clock, is_all=True)


def _run_ours(task: Task, folder: Path, clock: Clock, *, is_all: bool) -> Outcome:
    settings = WattsenseSettings.model_validate(
        {
            "base_url": task.source,
            "api_key": "benchmark",
            "api_secret": "benchmark-secret",
            "page_size": PAGE_SIZE,
            "max_parallel": N_PARALLEL,
            "calls_per_5_minutes": 1_000_000,
        }
    )
    warehouse = Warehouse(folder / "warehouse.duckdb", _TABLES)
    warehouse.create()
    wanted = [
        PropertyWindow(
            device_of(n), property_of(n), START_AT, end_at(task.n_per_group), property_of(n)
        )
        for n in range(task.n_groups)
    ]
    who = _who_is_who(task.n_groups)
    with clock:
        log = RequestLog(VENDOR.name)
        with WattsenseClient(settings, log=log, state_path=folder / "state.sqlite") as client:
            report = client.fetch_histories(wanted)
        assert VENDOR.to_batch is not None
        batch = VENDOR.to_batch(log.calls())
        with warehouse.write() as writer:
            for write in batch.writes:
                assert isinstance(write.how, FetchedWindow)
                writer.replace_window(
                    write.table,
                    write.frame,
                    ids=write.how.ids,
                    from_at=write.how.from_at,
                    to_at=write.how.to_at,
                )
            if is_all:
                requests, bodies = log.take()
                writer.append(REQUEST, requests)
                writer.append(BODY, bodies)
                for write in VENDOR.core_writes(batch, who):
                    writer.append_versions(write.table, write.frame)
    lines = [*report.sentences(), *(str(problem.error) for problem in batch.problems)]
    if lines or batch.quarantine.height:
        raise BenchmarkError(f"{batch.quarantine.height} rows in quarantine. {' '.join(lines)}")
    table = READING if is_all else HISTORY
    return _outcome(folder / "warehouse.duckdb", table.full_name, "reading_native")


def run_limit(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Fetch; decode; insert a frame of the vendor's columns that is there already."""
    with clock:
        bodies = _fetch(task)
    decoder = msgspec.json.Decoder(list[HistoryItem])
    with clock:
        pages = [decoder.decode(body) for body in bodies]
    items = [item for page in pages for item in page]
    at_ms = pl.Series([item.timestamp for item in items], dtype=pl.Int64)
    frame = pl.DataFrame(
        {
            "device_id_wattsense": ["box-0"] * len(items),
            "property_id_wattsense": [item.property for item in items],
            "measured_at": (at_ms * 1000).cast(UTC_INSTANT),
            "payload_text": pl.Series([None] * len(items), dtype=pl.String),
            "payload_number": pl.Series([item.payload for item in items], dtype=pl.Float64),
            "scaled_payload": [item.scaled_payload for item in items],
            "reading_native": [item.scaled_payload for item in items],
            "request_id": ["0" * 32] * len(items),
            "received_at": pl.Series([START_AT] * len(items), dtype=UTC_INSTANT),
        },
        schema=HISTORY.polars_schema,
    )
    path = folder / "limit.duckdb"
    with clock, contextlib.closing(duckdb.connect(str(path))) as connection:
        connection.register("frame", FrameStream(frame))
        connection.execute("CREATE TABLE history AS SELECT * FROM frame")
    return _outcome(path, "history", "reading_native")


def _fetch(task: Task) -> list[bytes]:
    address = urlsplit(task.source).netloc

    def fetch_share(share: int) -> list[bytes]:
        with contextlib.closing(http.client.HTTPConnection(address)) as connection:
            return [
                body
                for number in range(share, task.n_groups, N_PARALLEL)
                for body in _fetch_history(connection, number, task.n_per_group)
            ]

    with ThreadPoolExecutor(N_PARALLEL) as executor:
        return [body for bodies in executor.map(fetch_share, range(N_PARALLEL)) for body in bodies]


def _fetch_history(
    connection: http.client.HTTPConnection, number: int, n_readings: int
) -> Iterator[bytes]:
    target: str | None = history_target(number, n_readings)
    while target is not None:
        connection.request("GET", target)
        answer = connection.getresponse()
        yield answer.read()
        target = next_link(answer.headers.get("link", ""))


def history_target(number: int, n_readings: int) -> str:
    """Return path and query of the first page of a property."""
    return f"{history_path(number)}?{urlencode(history_query(number, n_readings))}"


def _outcome(path: Path, table: str, column: str) -> Outcome:
    with contextlib.closing(duckdb.connect(str(path), read_only=True)) as connection:
        statement = f"SELECT count(*), sum({column}) FROM {table}"  # noqa: S608
        ((n_rows, total),) = connection.execute(statement).fetchall()
    return Outcome(n_rows, total)


def _who_is_who(n_properties: int) -> WhoIsWho:
    alias = pl.DataFrame(
        [
            ("register", f"register-{n}", VENDOR.name, f"{device_of(n)}/{property_of(n)}")
            for n in range(n_properties)
        ],
        schema=ALIAS.polars_schema,
        orient="row",
    )
    return WhoIsWho(alias, REGISTER.empty_frame(), METER.empty_frame())


@contextlib.contextmanager
def _cases(scale: Scale, folder: Path) -> Iterator[list[Case]]:
    n_properties, n_readings = _SIZES[scale]
    with pages_server(n_properties, n_readings) as url:
        task = Task(n_properties, n_readings, url)
        title = f"extract and load, {task.n_items:,} readings in pages of {PAGE_SIZE:,}"
        yield [Case(title, task, replace(task, n_groups=1))]


BENCHMARK: Final = Benchmark(
    name="load",
    item="reading",
    per=1_000_000,
    contenders=(
        Contender("energy_etl", "ours", run_ours),
        Contender("energy_etl, all of a run", "ours", run_ours_with_all),
        Contender("dlt, Arrow tables", "peer", run_dlt, needs=("dlt", "pyarrow"), reach=1.5),
        Contender("dlt, rest_api", "peer", run_dlt_rest_api, needs=("dlt", "pyarrow")),
        Contender("httpx + pydantic per record", "peer", run_pydantic, reach=3.5),
        Contender("fetch + decode + insert", "limit", run_limit, reach=4.0),
    ),
    cases=_cases,
)
