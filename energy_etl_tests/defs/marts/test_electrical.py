"""What the electrical check reads: no more than the newest month of meters that need it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from energy_etl.defs.marts.electrical import ENERGIES, MARTS, SAMPLES
from energy_etl.tables import Table, core
from energy_etl.warehouse import Warehouse
from energy_etl_tests.transform.register_frames import register

END = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(minutes=15)


def row_of(register_id: str, days_before_end: float, **columns: Any) -> dict[str, Any]:
    start_at = END - timedelta(days=days_before_end)
    return {"register_id": register_id, "start_at": start_at, "end_at": start_at + STEP} | columns


def frame_of(table: Table, *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=table.polars_schema)


def sample(register_id: str, days: float, *, is_provisional: bool = False) -> dict[str, Any]:
    columns = {"sample_native": 1.0, "n_readings": 1, "is_provisional": is_provisional}
    return row_of(register_id, days, **columns)


def interval(register_id: str, days: float, *, quality: str = "measured") -> dict[str, Any]:
    columns = {"energy_kwh": 1.0, "quality": quality, "flags": [], "is_provisional": False}
    return row_of(register_id, days, **columns, is_pushable=True)


def instant(register_id: str, meter_id: str, unit: str, **columns: Any) -> dict[str, Any]:
    return register(register_id, meter_id=meter_id, unit=unit, kind="instant", **columns)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    path = tmp_path_factory.mktemp("electrical") / "warehouse.duckdb"
    warehouse = Warehouse(path, (core.REGISTER, core.SAMPLE, core.INTERVAL))
    warehouse.create()
    with warehouse.write() as writer:
        writer.append(
            core.REGISTER,
            frame_of(
                core.REGISTER,
                instant("p1", "phases", "W", phase="L1"),
                register("counter", meter_id="phases"),
                register("of-phase", meter_id="phases", phase="L1"),
                instant("u", "old", "V"),
                instant("i", "old", "A"),
                instant("pv", "pv", "W"),
                register("other", meter_id="pv"),
                instant("t", "phases", "degC"),
            ),
        )
        writer.append(
            core.SAMPLE,
            frame_of(
                core.SAMPLE,
                *(sample("p1", days) for days in (40, 31.5, 30, 1)),
                sample("p1", 0.5, is_provisional=True),
                *(sample("u", days) for days in (400, 380)),
                sample("i", 375),
                sample("pv", 1),
                sample("t", 1),
            ),
        )
        writer.append(
            core.INTERVAL,
            frame_of(
                core.INTERVAL,
                *(interval("counter", days) for days in (40, 20, 1)),
                interval("counter", 2, quality="estimated"),
                interval("of-phase", 1),
                interval("other", 1),
            ),
        )
    return warehouse


def days_read(frame: pl.DataFrame) -> list[tuple[str, float]]:
    days = (END - pl.col("start_at")).dt.total_seconds() / 86400
    return frame.select("register_id", days=days).sort("register_id", "days").rows()


def test_samples_are_those_of_the_newest_month_of_each_meter_with_something_to_compare(
    warehouse: Warehouse,
) -> None:
    assert days_read(warehouse.read(SAMPLES.sql)) == [
        ("i", 375.0),
        ("p1", 1.0),
        ("p1", 30.0),
        ("u", 380.0),
        ("u", 400.0),
    ]


def test_energies_are_measured_ones_of_counters_beside_phases(warehouse: Warehouse) -> None:
    assert days_read(warehouse.read(ENERGIES.sql)) == [("counter", 1.0), ("counter", 20.0)]


def test_check_takes_what_the_queries_give(warehouse: Warehouse) -> None:
    (mart,) = MARTS
    frames = {
        SAMPLES.full_name: warehouse.read(SAMPLES.sql),
        ENERGIES.full_name: warehouse.read(ENERGIES.sql),
        core.REGISTER.full_name: warehouse.read_table(core.REGISTER),
    }
    checks = mart.compute(frames, END)
    assert checks.select("meter_id", "rule", "n_checked", "n_failed").rows() == [
        ("phases", "phases_not_measured", 1, 0)
    ]
    nothing = {name: frame.clear() for name, frame in frames.items()}
    assert mart.compute(nothing, END).is_empty()
