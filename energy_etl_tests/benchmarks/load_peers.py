"""What others would take for extract and load: dlt with Arrow tables, httpx + pydantic per record.

Both as their documents advise for volume: dlt gets whole pages as Arrow tables and fetches in
parallel; pydantic's rows reach DuckDB as one frame.
"""

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import duckdb
import httpx
import polars as pl
from pydantic import BaseModel, Field

from energy_etl_tests.benchmarks.measure import Clock, Outcome, Task
from energy_etl_tests.benchmarks.serving import (
    PAGE_SIZE,
    START_AT,
    device_of,
    end_at,
    property_of,
)

_N_PARALLEL: Final = 8


class Item(BaseModel):
    """One historical value."""

    timestamp: int = Field(ge=0)
    property: str
    payload: float | str | None = None
    scaled_payload: float | None = Field(None, alias="scaledPayload", allow_inf_nan=False)


def run_pydantic(task: Task, folder: Path, clock: Clock) -> Outcome:
    """One shared httpx client, 8 threads, one model per record, one frame into DuckDB."""
    path = folder / "pydantic.duckdb"
    with clock:
        with (
            httpx.Client(base_url=task.source, trust_env=False) as client,
            ThreadPoolExecutor(_N_PARALLEL) as executor,
        ):

            def fetch(number: int) -> list[tuple[int, str, Any, float | None]]:
                return [
                    (item.timestamp, item.property, item.payload, item.scaled_payload)
                    for rows in _pages(client.get, number, task.n_per_group)
                    for item in map(Item.model_validate, rows)
                ]

            fetched = list(executor.map(fetch, range(task.n_groups)))
        frame = pl.DataFrame(
            [row for rows in fetched for row in rows],
            schema={
                "timestamp_ms": pl.Int64,
                "property": pl.String,
                "payload": pl.Float64,
                "scaled_payload": pl.Float64,
            },
            orient="row",
        ).with_columns(measured_at=pl.from_epoch("timestamp_ms", time_unit="ms"))
        with contextlib.closing(duckdb.connect(str(path))) as connection:
            connection.register("frame", frame.lazy().collect())
            connection.execute("CREATE TABLE history AS SELECT * FROM frame")
    return _outcome(path, "history")


def run_dlt(task: Task, folder: Path, clock: Clock) -> Outcome:
    """dlt: resources in parallel that yield one Arrow table per page."""
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "EXTRACT__WORKERS": str(_N_PARALLEL),
        "DLT_DATA_DIR": str(folder / "dlt"),
    }
    dlt: Any = importlib.import_module("dlt")
    requests: Any = importlib.import_module("dlt.sources.helpers.requests")
    arrow: Any = importlib.import_module("pyarrow")
    types = {
        "timestamp": arrow.int64(),
        "property": arrow.string(),
        "payload": arrow.float64(),
        "scaledPayload": arrow.float64(),
    }
    path = folder / "dlt.duckdb"

    def history(number: int) -> Iterator[Any]:
        with requests.Client().session as session:

            def get(url: str, **query: Any) -> Any:
                return session.get(task.source + url, **query)

            for rows in _pages(get, number, task.n_per_group):
                columns = {
                    name: arrow.array([row[name] for row in rows], kind)
                    for name, kind in types.items()
                }
                yield arrow.table(columns)

    with clock:
        resources = [
            dlt.resource(
                history,
                name=property_of(number),
                table_name="history",
                write_disposition="append",
                parallelized=True,
            )(number)
            for number in range(task.n_groups)
        ]
        pipeline = dlt.pipeline(
            "bench",
            destination=dlt.destinations.duckdb(str(path)),
            dataset_name="wattsense",
            pipelines_dir=str(folder / "pipelines"),
        )
        pipeline.run(resources).raise_on_failed_jobs()
    return _outcome(path, "wattsense.history")


def _pages(get: Callable[..., Any], number: int, n_readings: int) -> Iterator[list[dict]]:
    since, until = (int(at.timestamp() * 1000) for at in (START_AT, end_at(n_readings)))
    query: dict[str, str | int] | None = {
        "property": property_of(number),
        "since": since,
        "until": until,
        "size": PAGE_SIZE,
    }
    url = f"/v1/devices/{device_of(number)}/properties"
    while url:
        answer = get(url, params=query)
        yield answer.json()
        # Both clients parse the Link header themselves.
        url, query = answer.links.get("next", {}).get("url", ""), None


def _outcome(path: Path, table: str) -> Outcome:
    with contextlib.closing(duckdb.connect(str(path), read_only=True)) as connection:
        statement = f"SELECT count(*), sum(scaled_payload) FROM {table}"  # noqa: S608
        ((n_rows, total),) = connection.execute(statement).fetchall()
    return Outcome(n_rows, total)
