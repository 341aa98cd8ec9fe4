"""Calls and answers as they are stored, made by hand."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from energy_etl.rest import RawCall

START_AT = datetime(2025, 4, 14, tzinfo=UTC)
END_AT = START_AT + timedelta(days=1)


def raw_call(
    endpoint: str, body: Any, *, number: int = 1, status: int = 200, **params: Any
) -> RawCall:
    """A call that was answered; `body` is bytes, or is sent as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    at = START_AT + timedelta(days=2, seconds=number)
    return RawCall(f"r{number}", "smartgridone", endpoint, params, status, sent, at)


def about(
    field: str = "actualPowerTot_W",
    *,
    node_id: str = "n1",
    window: str = "w1",
    from_at: datetime = START_AT,
    to_at: datetime = END_AT,
    whole: tuple[datetime, datetime] | None = None,
) -> dict[str, str]:
    """What a query asked for, as its call's params keep it."""
    first, last = whole or (from_at, to_at)
    return {
        "subject": f"our.{node_id}.{field}",
        "node_id": node_id,
        "field": field,
        "measurement": "gridMetrics",
        "retention_policy": "rp_one_m",
        "window": window,
        "window_from_at": first.isoformat(),
        "window_to_at": last.isoformat(),
        "from_at": from_at.isoformat(),
        "to_at": to_at.isoformat(),
    }


def result(
    number: int,
    rows: Sequence[Sequence[Any]],
    field: str = "actualPowerTot_W",
    tags: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A query's result with one series."""
    series = {"name": "gridMetrics", "columns": ["time", field], "values": list(rows)}
    if tags is not None:
        series["tags"] = dict(tags)
    return {"statement_id": number, "series": [series]}


def telemetry_call(body: Any, *asked: Mapping[str, str], number: int = 1) -> RawCall:
    """An answer of telemetry to queries."""
    return raw_call("telemetry/query", body, number=number, statements=list(asked))
