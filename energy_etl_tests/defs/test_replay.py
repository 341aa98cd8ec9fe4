"""The main job on real registers: the OPSD household, three clock changes, gaps of up to 150 h."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from energy_etl_tests.defs.project import Project

FOLDER = os.environ.get("ENERGY_ETL_REAL_DATA")
FIRST_ON = date(2015, 10, 4)
NOW = datetime(2017, 2, 9, 12, tzinfo=UTC)
N_STRICT = 4184


@pytest.mark.real_data
@pytest.mark.skipif(not FOLDER, reason="ENERGY_ETL_REAL_DATA names no folder")
def test_opsd_house_gives_the_expected_daily_energy_and_all_packets_in_order(
    tmp_path: Path,
) -> None:
    folder = Path(str(FOLDER))
    with Project(tmp_path / "project", now=NOW, replay=folder, push_days=21) as project:
        assert project.load(FIRST_ON, NOW.date()).success
        assert project.compute(only=("core", "push", "mart.daily_energy")).success
        assert project.send().success
        daily = project.warehouse.read(
            "SELECT register_id, local_on, energy_kwh FROM mart.daily_energy"
        )
        packets = project.warehouse.read("SELECT state, count(*) AS n FROM push.packet GROUP BY 1")
        with_data = project.warehouse.read(
            "SELECT count(*) AS n FROM core.interval WHERE end_at > ? AND is_pushable",
            [datetime(2017, 1, 19, 12, tzinfo=UTC)],
        )["n"].item()
        streams = project.sandbox.app.wattics.streams
    expected = (
        pl.read_csv(folder / "expected_opsd_daily_kwh.csv", try_parse_dates=True)
        .drop_nulls("energy_strict")
        .with_columns(
            pl.format("opsd.{}", "meter").alias("register_id"),
            pl.col("local_date").cast(pl.Date).alias("local_on"),
        )
    )
    compared = expected.join(daily, on=["register_id", "local_on"], how="left")
    worst_kwh = (compared["energy_kwh"] - compared["energy_strict"]).abs()
    assert compared.height == N_STRICT
    assert worst_kwh.null_count() == 0
    assert worst_kwh.max() <= 1e-6  # pyright: ignore[reportOptionalOperand, reportOperatorIssue]
    # Everything that was due is confirmed, once and in order.
    assert packets["state"].to_list() == ["confirmed"]
    assert packets["n"].item() == with_data
    logs = [log for account in streams.values() for log in account.values()]
    assert sum(len(log.packets) for log in logs) == with_data
    assert all(log.n_out_of_order == log.n_duplicates == 0 for log in logs)
