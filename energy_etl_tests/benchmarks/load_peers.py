"""What others would take for extract and load: dlt, in two ways, and httpx + pydantic per record.

Each as its documents advise for volume. dlt gets whole pages as Arrow tables, or fetches by its
`rest_api` source, in parallel in both cases; it judges nothing beyond the types. pydantic does what
ours does: the same rules, faults kept with their reason, the same columns, a window replaced.
"""

import contextlib
import importlib
import json
import math
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, cast

import duckdb
import httpx
import polars as pl
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, model_validator

from energy_etl.vendors.wattsense.tables import HISTORY
from energy_etl.warehouse.batch import FrameStream
from energy_etl_tests.benchmarks.measure import BenchmarkError, Clock, Outcome, Task
from energy_etl_tests.benchmarks.serving import (
    PAGE_SIZE,
    START_AT,
    device_of,
    end_at,
    property_of,
)

_N_PARALLEL: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Page:
    """What a page was asked for, as the model's validator sees it."""

    device_id: str
    property_id: str
    from_at: datetime
    to_at: datetime
    request_id: str
    received_at: datetime


class Item(BaseModel):
    """One historical value; pydantic reads milliseconds as instants by itself."""

    measured_at: datetime = Field(alias="timestamp", ge=_EPOCH, le=_LATEST)
    property: str | None = None
    payload: float | str | None = None
    scaled_payload: float | None = Field(None, alias="scaledPayload")

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        page = cast("Page", info.context)
        payload, scaled = self.payload, self.scaled_payload
        if payload is None and scaled is None:
            raise ValueError("no_payload")
        if isinstance(payload, float) and not math.isfinite(payload):
            raise ValueError("not_finite")
        if scaled is not None and not math.isfinite(scaled):
            raise ValueError("not_finite")
        if self.property is not None and self.property != page.property_id:
            raise ValueError("other_property")
        if not page.from_at <= self.measured_at <= page.to_at:
            raise ValueError("outside_window")
        return self

    def row(self, page: Page) -> tuple[Any, ...]:
        """Return the columns of our table."""
        payload, scaled = self.payload, self.scaled_payload
        text = payload if isinstance(payload, str) else None
        number = _number(payload) if text is not None else payload
        return (
            page.device_id,
            page.property_id,
            self.measured_at,
            text,
            number,
            scaled,
            number if scaled is None else scaled,
            page.request_id,
            page.received_at,
        )


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def run_pydantic(task: Task, folder: Path, clock: Clock) -> Outcome:
    """One shared httpx client, 8 threads, one model per record, one frame into DuckDB."""
    path = folder / "pydantic.duckdb"
    bad: list[tuple[str, str, str]] = []

    def read(rows: list[dict], page: Page) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            try:
                item = Item.model_validate(row, context=page)
            except ValidationError as error:
                bad.append((page.request_id, error.errors()[0]["msg"], json.dumps(row)))
                continue
            if item.measured_at < page.to_at:
                yield item.row(page)

    with clock:
        with (
            httpx.Client(base_url=task.source, trust_env=False) as client,
            ThreadPoolExecutor(_N_PARALLEL) as executor,
        ):

            def fetch(number: int) -> list[tuple[Any, ...]]:
                window = (START_AT, end_at(task.n_per_group))
                return [
                    row
                    for rows in _pages(client.get, number, task.n_per_group)
                    for row in read(
                        rows,
                        Page(
                            device_of(number),
                            property_of(number),
                            *window,
                            uuid.uuid4().hex,
                            datetime.now(UTC),
                        ),
                    )
                ]

            fetched = list(executor.map(fetch, range(task.n_groups)))
        frame = pl.DataFrame(
            [row for rows in fetched for row in rows], schema=HISTORY.polars_schema, orient="row"
        )
        with contextlib.closing(duckdb.connect(str(path))) as connection:
            connection.register("frame", FrameStream(frame))
            connection.execute("CREATE TABLE history AS SELECT * FROM frame LIMIT 0")
            connection.execute("BEGIN")
            connection.execute(
                "DELETE FROM history WHERE measured_at >= ? AND measured_at < ? AND"
                " property_id_wattsense IN (SELECT DISTINCT property_id_wattsense FROM frame)",
                [START_AT, end_at(task.n_per_group)],
            )
            connection.execute("INSERT INTO history SELECT * FROM frame")
            connection.execute("COMMIT")
    if bad:
        raise BenchmarkError(f"{len(bad)} rows failed, first {bad[0]}.")
    return _outcome(path, "history")


def run_dlt(task: Task, folder: Path, clock: Clock) -> Outcome:
    """dlt: resources in parallel that yield one Arrow table per page."""
    dlt = _import_dlt(folder)
    requests: Any = importlib.import_module("dlt.sources.helpers.requests")
    arrow: Any = importlib.import_module("pyarrow")
    types = {
        "timestamp": arrow.int64(),
        "property": arrow.string(),
        "payload": arrow.float64(),
        "scaledPayload": arrow.float64(),
    }

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
        _load_with_dlt(dlt, folder, resources)
    return _outcome(folder / "dlt.duckdb", "wattsense.history")


def run_dlt_rest_api(task: Task, folder: Path, clock: Clock) -> Outcome:
    """dlt's `rest_api` source: resources in parallel, nothing nested, types known beforehand."""
    dlt = _import_dlt(folder)
    rest_api: Any = importlib.import_module("dlt.sources.rest_api")
    columns = {
        "timestamp": {"data_type": "bigint"},
        "property": {"data_type": "text"},
        "payload": {"data_type": "double"},
        "scaled_payload": {"data_type": "double"},
    }
    with clock:
        resources = rest_api.rest_api_resources(
            {
                "client": {"base_url": task.source, "paginator": "header_link"},
                "resource_defaults": {
                    "table_name": "history",
                    "write_disposition": "append",
                    "parallelized": True,
                    "max_table_nesting": 0,
                    "columns": columns,
                },
                "resources": [
                    {
                        "name": property_of(number),
                        "endpoint": {
                            "path": history_path(number),
                            "params": history_query(number, task.n_per_group),
                            "data_selector": "$",
                        },
                    }
                    for number in range(task.n_groups)
                ],
            }
        )
        _load_with_dlt(dlt, folder, resources)
    return _outcome(folder / "dlt.duckdb", "wattsense.history")


def _import_dlt(folder: Path) -> Any:
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "EXTRACT__WORKERS": str(_N_PARALLEL),
        # One item is one row for `rest_api`: the default of 5,000 writes a file per five pages.
        "DATA_WRITER__BUFFER_MAX_ITEMS": "100000",
        "NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true",
        # dlt's own advice for DuckDB; its INSERT statements take several times as long.
        "NORMALIZE__LOADER_FILE_FORMAT": "parquet",
        "DLT_DATA_DIR": str(folder / "dlt"),
    }
    return importlib.import_module("dlt")


def _load_with_dlt(dlt: Any, folder: Path, resources: list[Any]) -> None:
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.duckdb(str(folder / "dlt.duckdb")),
        dataset_name="wattsense",
        pipelines_dir=str(folder / "pipelines"),
    )
    pipeline.run(resources, loader_file_format="parquet").raise_on_failed_jobs()


def history_path(number: int) -> str:
    """Return the path of a property's history."""
    return f"/v1/devices/{device_of(number)}/properties"


def history_query(number: int, n_readings: int) -> dict[str, str | int]:
    """Return the query of its first page."""
    since, until = (int(at.timestamp() * 1000) for at in (START_AT, end_at(n_readings)))
    return {
        "property": property_of(number),
        "since": since,
        "until": until,
        "size": PAGE_SIZE,
    }


def _pages(get: Callable[..., Any], number: int, n_readings: int) -> Iterator[list[dict]]:
    query: dict[str, str | int] | None = history_query(number, n_readings)
    url = history_path(number)
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
