"""Readings and registers as frames, the way the warehouse hands them to `compute_intervals`."""

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from energy_etl.tables.core import EXCHANGE, MANUAL_EDIT, REGISTER
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.cleaning import Cleaned, Limits, clean_readings
from energy_etl.transform.registers import IntervalResult, compute_intervals

START = datetime(2024, 3, 31, tzinfo=UTC)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
HOLD_FOR = timedelta(hours=48)
JUMP_FLAGS = {"reset", "rollover", "exchange", "level"}
READING_SCHEMA = {
    "register_id": pl.String,
    "read_at": UTC_INSTANT,
    "reading_native": pl.Float64,
    "version": pl.Int64,
}


def real_data() -> Path:
    """Return the folder of real metering data, or skip the test."""
    folder = os.environ.get("ENERGY_ETL_REAL_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("ENERGY_ETL_REAL_DATA does not name a folder of real metering data")
    return Path(folder)


def minutes(n: float) -> datetime:
    return START + timedelta(minutes=n)


def register(register_id: str = "a", **changed: Any) -> dict[str, Any]:
    return {
        "register_id": register_id,
        "meter_id": "meter",
        "site_id": "site",
        "zone": "Europe/Berlin",
        "commodity": "electricity",
        "role": "submeter",
        "appliance": None,
        "kind": "cumulative",
        "unit": "kWh",
        "grid_minutes": 15,
        "digits": 6,
        "rating_native_per_hour": None,
        "resolution_native": 0.001,
        "stamp": "instant",
        "is_primary": True,
    } | changed


def registers(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=REGISTER.polars_schema)


def readings(
    rows: Iterable[tuple[float, float | None]], register_id: str = "a", version: int = 1
) -> pl.DataFrame:
    """Make readings of one register from (minutes after START, value)."""
    return pl.DataFrame(
        [(register_id, minutes(at), value, version) for at, value in rows],
        schema=READING_SCHEMA,
        orient="row",
    )


def series(values: Sequence[float | None], step: float = 15) -> list[tuple[float, float | None]]:
    return [(step * n, value) for n, value in enumerate(values)]


def exchanges(*rows: tuple[str, datetime, float, float]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=EXCHANGE.polars_schema, orient="row")


def manual_edit(
    action: str,
    from_minute: float,
    to_minute: float | None = None,
    value: float | None = None,
    register_id: str = "a",
) -> tuple[str, datetime, datetime, str, float | None, str]:
    """One decision about the readings of some minutes after START."""
    until = from_minute if to_minute is None else to_minute
    return register_id, minutes(from_minute), minutes(until), action, value, "seen by the janitor"


def manual_edits(
    *rows: tuple[str, datetime, datetime, str, float | None, str],
) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=MANUAL_EDIT.polars_schema, orient="row")


def compute(
    frame: pl.DataFrame,
    *rows: dict[str, Any],
    declared: pl.DataFrame | None = None,
    decided: pl.DataFrame | None = None,
    now: datetime = LATER,
) -> IntervalResult:
    return compute_intervals(
        frame,
        registers(*(rows or (register(),))),
        exchanges() if declared is None else declared,
        decided,
        now=now,
        hold_for=HOLD_FOR,
    )


def clean(
    values: Sequence[float | None],
    *,
    rating_per_hour: float | None = None,
    digits: int | None = None,
    step_minutes: float = 15,
    at_minutes: Sequence[float] | None = None,
) -> Cleaned:
    """Clean one register with a reading each `step_minutes`."""
    at = np.arange(len(values)) * step_minutes if at_minutes is None else np.asarray(at_minutes)
    frame = pl.DataFrame(
        {
            "segment": np.zeros(len(values), np.int64),
            "at_us": (at * 60e6).astype(np.int64),
            "reading": pl.Series(values, dtype=pl.Float64),
        }
    )
    return clean_readings(
        frame,
        Limits(
            np.array([np.inf if rating_per_hour is None else rating_per_hour / 3600]),
            np.array([0.001]),
            np.array([np.nan if digits is None else 10.0**digits]),
        ),
    )


def kept(cleaned: Cleaned) -> list[float]:
    return cleaned.kept["reading"].to_list()


def dropped(cleaned: Cleaned) -> list[tuple[float, str]]:
    return cleaned.dropped.select("reading", "rule").rows()


def check_counter_continues(intervals: pl.DataFrame) -> None:
    """Between unflagged neighbours the counter's difference is the energy (kWh registers)."""
    jumped = pl.col("flags").list.set_intersection(sorted(JUMP_FLAGS)).list.len() > 0
    pairs = intervals.with_columns(
        before=pl.col("register_end_native").shift(),
        is_next=(pl.col("register_id") == pl.col("register_id").shift())
        & (pl.col("start_at") == pl.col("end_at").shift()),
    ).filter(pl.col("is_next") & ~jumped)
    error = pairs["register_end_native"] - pairs["before"] - pairs["energy_kwh"]
    assert error.null_count() == 0
    scale = pairs["register_end_native"].abs().clip(1.0)
    assert ((error / scale).abs() <= 1e-9).all()
