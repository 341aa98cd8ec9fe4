"""The check of a vendor's drift, and the query of the mains that a vendor has figures of."""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from energy_etl.defs.marts.trends import CHECKS, VENDOR_MAINS, judge_vendor_drift
from energy_etl.tables import core, mart
from energy_etl.transform.trend_variant import INTERVAL_DAYS
from energy_etl.warehouse import Warehouse
from energy_etl_tests.transform.builders import make_intervals, make_register, utc
from energy_etl_tests.transform.test_vendor_drift import UNKNOWN, make_trends

NOW = utc("2026-10-28T09:00")


def judge(trends: pl.DataFrame):
    frames = {mart.PERIOD_TREND.full_name: trends, mart.TREND_VARIANT.full_name: UNKNOWN}
    return judge_vendor_drift(frames, NOW)


def test_vendor_that_agrees_passes_with_what_was_compared():
    verdict = judge(make_trends("last-week", "yesterday", "this-week"))
    assert verdict.passed
    assert verdict.numbers == {"n_compared": 2, "n_energy_off": 0, "n_trend_off": 0}
    assert judge(mart.PERIOD_TREND.empty_frame()).numbers["n_compared"] == 0


def test_vendor_that_drifts_warns_with_place_figures_and_next_step():
    verdict = judge(
        pl.concat(
            [
                make_trends("last-week", vendor_trend_pct=25.0),
                make_trends("yesterday", vendor_energy_kwh=150.0, vendor_trend_pct=None),
                make_trends("last-month"),
            ]
        )
    )
    assert not verdict.passed
    assert verdict.numbers == {"n_compared": 3, "n_energy_off": 1, "n_trend_off": 1}
    assert verdict.message.startswith("2 of 3 vendor figures differ from ours")
    assert "a last-week: v 101.00 kWh (+25.0 %), measured 100.00 kWh (+10.0 %)" in verdict.message
    assert "a yesterday: v 150.00 kWh, measured 100.00 kWh" in verdict.message
    assert "mart.coverage" in verdict.message
    assert not CHECKS[0].is_blocking


def test_many_drifts_are_counted_and_only_some_are_named():
    rows = [make_trends(register_id=f"r{n}", vendor_energy_kwh=0.0) for n in range(8)]
    verdict = judge(pl.concat(rows))
    assert "r4" in verdict.message
    assert "r5" not in verdict.message
    assert "and 3 more" in verdict.message


def test_query_gives_the_mains_of_meters_with_figures_as_far_back_as_they_are_asked(
    tmp_path: Path,
):
    warehouse = Warehouse(
        tmp_path / "warehouse.duckdb", (core.REGISTER, core.INTERVAL, core.VENDOR_FIGURE)
    )
    registers = pl.concat(
        [
            make_register("a", meter_id="m"),
            make_register("a-pv", meter_id="m", role="production"),
            make_register("a-again", meter_id="m", is_primary=False),
            make_register("b", meter_id="without-figures"),
        ]
    )
    fetched_on = date(2026, 10, 28)
    figures = pl.DataFrame(
        [
            {"meter_id": "m", "vendor": "v", "period": "this-week", "fetched_on": each}
            for each in (fetched_on, fetched_on - timedelta(days=20))
        ],
        schema=core.VENDOR_FIGURE.polars_schema,
    )
    first_at = utc("2026-10-28T00:00") - timedelta(days=INTERVAL_DAYS)
    intervals = pl.concat(
        [
            _spread(name, [first_at - timedelta(minutes=15), first_at, NOW])
            for name in registers["register_id"]
        ]
    )
    with warehouse.write() as writer:
        writer.replace_all(core.REGISTER, registers)
        writer.replace_all(core.VENDOR_FIGURE, figures)
        writer.replace_all(core.INTERVAL, intervals)
    found = warehouse.read(VENDOR_MAINS.sql).sort("start_at")
    assert found["register_id"].to_list() == ["a", "a"]
    assert found["start_at"].to_list() == [first_at, NOW]
    assert found["is_measured"].to_list() == [True, False]
    with warehouse.write() as writer:
        writer.replace_all(core.VENDOR_FIGURE, figures.clear())
    assert warehouse.read(VENDOR_MAINS.sql).is_empty()


def _spread(register_id: str, starts: list[datetime]) -> pl.DataFrame:
    """One interval at each instant; the last one is an estimate."""
    frames = [make_intervals(register_id, start_at, [1.0]) for start_at in starts[:-1]]
    return pl.concat([*frames, make_intervals(register_id, starts[-1], [1.0], quality="estimated")])
