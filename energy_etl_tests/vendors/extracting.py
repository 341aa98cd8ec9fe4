"""What the tests of the extracting vendors share: a sandbox, faults, a fetch, a replay from raw."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import polars as pl

from energy_etl.rest import RawCall, RequestLog
from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.vendors import VendorBatch

NOW_AT = datetime(2025, 4, 16, 9, 0, tzinfo=UTC)


@contextmanager
def running_sandbox() -> Iterator[SandboxServer]:
    """A sandbox whose present is fixed."""
    with SandboxServer(World(now=fixed_clock(NOW_AT))) as sandbox:
        yield sandbox


@contextmanager
def fault(sandbox: SandboxServer, **fault: Any) -> Iterator[None]:
    """Plant a fault and take it away again."""
    url = f"{sandbox.url}/_sandbox/faults"
    httpx.post(url, json=fault).raise_for_status()
    try:
        yield
    finally:
        httpx.delete(url).raise_for_status()


def requests_seen(sandbox: SandboxServer, vendor: str, since_id: int = 0) -> list[dict[str, Any]]:
    """The sandbox's own request log."""
    query = {"vendor": vendor, "since_id": since_id}
    answer = httpx.get(f"{sandbox.url}/_sandbox/requests", params=query).json()
    return answer["requests"] if isinstance(answer, dict) else answer


def replayed(log: RequestLog) -> list[RawCall]:
    """Take a log's rows as they would be stored, and read the calls back from them."""
    requests, bodies = log.take()
    joined = requests.join(bodies, on="body_sha256", how="left").filter(
        pl.col("error").is_null() & pl.col("status").is_between(200, 299)
    )
    return [RawCall.from_row(row) for row in joined.iter_rows(named=True)]


def content(batch: VendorBatch) -> dict[str, list[dict[str, Any]]]:
    """All rows of a batch by table, in a fixed order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for write in batch.writes:
        # A listing comes without the instants of its versions.
        key = [name for name in write.table.key if name in write.frame.columns]
        rows = write.frame.sort(key).to_dicts()
        found.setdefault(write.table.full_name, []).extend(rows)
    return found


def alias_frame(thing: str, vendor: str, pairs: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """core.alias of (our id, vendor's id) pairs."""
    return pl.DataFrame(
        [
            {"thing": thing, "thing_id": ours, "vendor": vendor, "vendor_id": theirs}
            for ours, theirs in pairs
        ],
        schema=dict.fromkeys(("thing", "thing_id", "vendor", "vendor_id"), pl.String),
    )
