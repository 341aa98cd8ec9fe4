"""Rows of core tables and of the stream map, for tests of packets."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from energy_etl.tables.core import INTERVAL, REGISTER, SAMPLE
from energy_etl.tables.push import STREAM, STREAM_FIELD
from energy_etl.vendors.wattics.packets import OFFSET_SCHEMA

START_AT = datetime(2025, 3, 30, tzinfo=UTC)
STEP = timedelta(minutes=15)


def at(n: int) -> datetime:
    return START_AT + n * STEP


def register(**changes: object) -> pl.DataFrame:
    row = {
        "register_id": "r",
        "meter_id": "m",
        "site_id": "site",
        "zone": "Europe/Rome",
        "commodity": "electricity",
        "role": "mains",
        "kind": "cumulative",
        "unit": "kWh",
        "grid_minutes": 15,
        "resolution_native": 0.001,
        "stamp": "instant",
        "is_primary": True,
    }
    return pl.DataFrame([row | changes], schema=REGISTER.polars_schema)


def stream(**changes: object) -> pl.DataFrame:
    row = {
        "stream_id": "s",
        "register_id": "r",
        "field": "pC_1",
        "content": "cumulative_wh",
        "interval_minutes": 15,
        "credential": "main",
        "push_from_at": START_AT,
    }
    return pl.DataFrame([row | changes], schema=STREAM.polars_schema)


def intervals(
    ends: Sequence[float | None],
    energies: Sequence[float | None] | None = None,
    *,
    first: int = 0,
    changes: dict[int, dict[str, object]] | None = None,
) -> pl.DataFrame:
    """Rows 0, 1, ... with these register values in kWh; energies default to the growth."""
    rows = []
    for n, end in enumerate(ends):
        before = ends[n - 1] if n else None
        growth = 0.5 if end is None or before is None else end - before
        rows.append(
            {
                "register_id": "r",
                "start_at": at(first + n),
                "end_at": at(first + n + 1),
                "energy_kwh": energies[n] if energies else growth,
                "register_end_native": end,
                "quality": "measured",
                "flags": [],
                "is_provisional": False,
                "is_pushable": True,
                **(changes or {}).get(n, {}),
            }
        )
    return pl.DataFrame(rows, schema=INTERVAL.polars_schema)


NO_SAMPLES = SAMPLE.empty_frame()
NO_INTERVALS = INTERVAL.empty_frame()
NO_FIELDS = STREAM_FIELD.empty_frame()
NO_OFFSETS = pl.DataFrame(schema=OFFSET_SCHEMA)


def numbers(frame: pl.DataFrame, field: str = "pC_1") -> list[float]:
    return [json.loads(body)[field] for body in frame["body"]]


def frozen(offsets: pl.DataFrame, used_to: datetime) -> pl.DataFrame:
    """What the outbox makes of offsets once packets up to a stamp are released."""
    used = pl.col("from_at") <= used_to
    return offsets.with_columns(
        is_frozen=used, used_to_at=pl.when(used).then(pl.lit(used_to, pl.Datetime("us", "UTC")))
    )


def field(name: str, content: str, register_id: str, stream_id: str = "s") -> pl.DataFrame:
    """A further field of a stream."""
    row = {"stream_id": stream_id, "field": name, "register_id": register_id, "content": content}
    return pl.DataFrame([row], schema=STREAM_FIELD.polars_schema)


def samples(values: Sequence[float | None], *, register_id: str = "r") -> pl.DataFrame:
    """Means of the intervals 0, 1, ...; null: no row."""
    rows = [
        {
            "register_id": register_id,
            "start_at": at(n),
            "end_at": at(n + 1),
            "sample_native": value,
            "n_readings": 1,
            "is_provisional": False,
        }
        for n, value in enumerate(values)
        if value is not None
    ]
    return pl.DataFrame(rows, schema=SAMPLE.polars_schema)
