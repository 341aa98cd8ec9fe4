"""Small frames for the tables that the tests write, and programs for other processes."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from energy_etl.tables.core import INTERVAL, READING, SITE

START = datetime(2024, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=15)


def at(n_steps: int) -> datetime:
    """The n-th quarter of an hour from the start."""
    return START + n_steps * STEP


def intervals(
    register_id: str, n_rows: int, *, first: int = 0, energy_kwh: float = 1.0
) -> pl.DataFrame:
    """Measured intervals of one register from the first step on."""
    return pl.DataFrame(
        [
            {
                "register_id": register_id,
                "start_at": at(n),
                "end_at": at(n + 1),
                "energy_kwh": energy_kwh,
                "volume_m3": None,
                "register_end_native": float(n),
                "quality": "measured",
                "flags": ["gap"] if n % 7 == 0 else [],
                "is_provisional": False,
                "is_pushable": True,
                "hold_reason": None,
            }
            for n in range(first, first + n_rows)
        ],
        schema=INTERVAL.polars_schema,
    )


def readings(
    values: Sequence[float | None],
    *,
    register_id: str = "r1",
    first: int = 0,
    received_at: datetime = START,
) -> pl.DataFrame:
    """Readings of one register from the first step on, without versions."""
    return pl.DataFrame(
        [
            {
                "register_id": register_id,
                "read_at": at(first + n),
                "reading_native": value,
                "version": 0,
                "vendor": "wattsense",
                "received_at": received_at,
            }
            for n, value in enumerate(values)
        ],
        schema=READING.polars_schema,
    )


def sites(*names: str) -> pl.DataFrame:
    """One site per name."""
    return pl.DataFrame(
        [
            {"site_id": name, "name": name, "zone": "Europe/Rome", "currency": "EUR"}
            for name in names
        ],
        schema=SITE.polars_schema,
    )


@contextmanager
def other_process(program: str, *arguments: Path | str) -> Iterator[subprocess.Popen[str]]:
    """Run a program in another process until it has printed its first line, and end it after."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready"
            yield process
        finally:
            process.kill()
