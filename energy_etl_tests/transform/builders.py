"""Small frames of `core` and `mart` for the tests of transforms."""

from datetime import UTC, datetime, timedelta

import polars as pl

from energy_etl.tables.core import INTERVAL, REGISTER


def make_register(register_id: str, **columns: object) -> pl.DataFrame:
    """One row of core.register: a primary cumulative mains register in kWh on a 15-minute grid."""
    row: dict[str, object] = {
        "register_id": register_id,
        "meter_id": f"{register_id}-meter",
        "site_id": "site",
        "zone": "Europe/Rome",
        "commodity": "electricity",
        "role": "mains",
        "appliance": None,
        "kind": "cumulative",
        "unit": "kWh",
        "grid_minutes": 15,
        "digits": None,
        "rating_native_per_hour": None,
        "resolution_native": 0.001,
        "stamp": "instant",
        "is_primary": True,
    }
    return pl.DataFrame([row | columns], schema=REGISTER.polars_schema)


def make_intervals(
    register_id: str,
    start_at: datetime,
    values: list[float | None],
    *,
    minutes: int = 15,
    quality: str = "measured",
    column: str = "energy_kwh",
) -> pl.DataFrame:
    """Consecutive rows of core.interval from start_at on; a null value is a missing interval."""
    starts = [start_at + timedelta(minutes=minutes * n) for n in range(len(values))]
    rows = {
        "register_id": [register_id] * len(values),
        "start_at": starts,
        "end_at": [start + timedelta(minutes=minutes) for start in starts],
        "energy_kwh": [None] * len(values),
        "volume_m3": [None] * len(values),
        "register_end_native": [None] * len(values),
        "quality": ["missing" if value is None else quality for value in values],
        "flags": [[] for _ in values],
        "is_provisional": [False] * len(values),
        "is_pushable": [True] * len(values),
        "hold_reason": [None] * len(values),
    }
    return pl.DataFrame(rows | {column: values}, schema=INTERVAL.polars_schema)


def make_flat_load(
    register_id: str,
    start_at: datetime,
    end_at: datetime,
    *,
    kwh: float = 1.0,
    minutes: int = 15,
    quality: str = "measured",
) -> pl.DataFrame:
    """The same energy in every interval of [start_at, end_at)."""
    count = (end_at - start_at) // timedelta(minutes=minutes)
    return make_intervals(register_id, start_at, [kwh] * count, minutes=minutes, quality=quality)


def utc(text: str) -> datetime:
    """An aware UTC instant from ISO text without an offset."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
