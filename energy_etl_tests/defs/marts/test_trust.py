"""Each check of trust can pass and can fail: its SQL on a small warehouse, its sentence judged."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_etl.defs.marts.trust import CHECKS, STALE_AFTER
from energy_etl.rest.request_log import TOKEN_ENDPOINT
from energy_etl.tables import Query, Table, Verdict, core, mart, raw
from energy_etl.transform.calendar import compute_daily
from energy_etl.vendors import discover_vendors
from energy_etl.warehouse import Warehouse
from energy_etl_tests.transform.builders import make_intervals, make_register, utc

NOW = utc("2026-10-28T09:00")
DAY_AT = utc("2026-10-26T23:00")
BY_NAME = {check.name: check for check in CHECKS}
TABLES = (core.REGISTER, core.INTERVAL, mart.COVERAGE, mart.DAILY_ENERGY, raw.REQUEST)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(Path(tmp_path_factory.mktemp("trust")) / "warehouse.duckdb", TABLES)


def rows_of(table: Table, rows: Iterable[dict]) -> pl.DataFrame:
    schema = table.polars_schema
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def judge(
    name: str, warehouse: Warehouse, frames: dict[Table, pl.DataFrame], now: datetime = NOW
) -> Verdict:
    """Write the frames, read the check's inputs as its step does, and judge them."""
    with warehouse.write() as writer:
        for table, frame in frames.items():
            writer.replace_all(table, frame)
    found = {
        each.full_name: warehouse.read(each.sql)
        for each in BY_NAME[name].inputs
        if isinstance(each, Query)
    }
    return BY_NAME[name].judge(found, now)


# -- coverage --------------------------------------------------------------------------------


def coverage_of(**pct_by_register: float) -> dict[Table, pl.DataFrame]:
    rows = [
        {"register_id": name, "site_id": "s", "computed_on": NOW.date(), "coverage_pct": pct}
        | dict.fromkeys(("n_expected", "n_measured", "n_estimated"), 0)
        for name, pct in pct_by_register.items()
    ]
    registers = [make_register(name, is_primary=name != "again") for name in pct_by_register]
    return {mart.COVERAGE: rows_of(mart.COVERAGE, rows), core.REGISTER: pl.concat(registers)}


def test_registers_below_90_percent_are_named_the_worst_first(warehouse: Warehouse):
    verdict = judge("coverage_enough", warehouse, coverage_of(a=89.9, b=0.0, c=90.0, again=0.0))
    assert not verdict.passed
    assert verdict.numbers == {"n_registers": 3, "n_below": 2}
    assert "(b 0 %, a 90 %)" in verdict.message
    assert "mart.finding" in verdict.message


def test_registers_with_90_percent_pass_whatever_a_second_view_has(warehouse: Warehouse):
    verdict = judge("coverage_enough", warehouse, coverage_of(a=90.0, again=0.0))
    assert (verdict.passed, verdict.message) == (True, "")


# -- stuck values ----------------------------------------------------------------------------


def stuck(register_id: str, start_at: datetime, values: Iterable[float]) -> pl.DataFrame:
    flags = pl.Series([["stuck"]], dtype=pl.List(pl.String))
    return make_intervals(register_id, start_at, [*values]).with_columns(flags=flags.first())


def test_one_value_for_three_hours_is_stuck_and_named(warehouse: Warehouse):
    verdict = judge("values_move", warehouse, {core.INTERVAL: stuck("a", DAY_AT, [0.25] * 12)})
    assert not verdict.passed
    assert verdict.numbers == {"n_registers": 1, "n_intervals": 12}
    assert verdict.message.startswith("1 mains showed one value for three hours or more")
    assert "(a)" in verdict.message


def test_coarse_meter_that_repeats_a_value_for_45_minutes_all_night_failed_the_check(
    warehouse: Warehouse,
):
    coarse = stuck("a", DAY_AT, ([0.01] * 3 + [0.02] * 3) * 8)
    apart = [stuck("b", DAY_AT + timedelta(hours=2 * n), [0.01] * 6) for n in range(4)]
    long_ago = stuck("c", DAY_AT - timedelta(days=9), [0.01] * 40)
    moving = make_intervals("d", DAY_AT, [0.01] * 40)
    intervals = pl.concat([coarse, *apart, long_ago, moving])
    verdict = judge("values_move", warehouse, {core.INTERVAL: intervals})
    assert verdict.passed
    assert verdict.numbers == {"n_registers": 0, "n_intervals": 0}


# -- days and intervals ----------------------------------------------------------------------


def conserved(warehouse: Warehouse, daily: pl.DataFrame, intervals: pl.DataFrame) -> Verdict:
    return judge(
        "days_conserve_energy", warehouse, {mart.DAILY_ENERGY: daily, core.INTERVAL: intervals}
    )


def make_days() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two registers of energy and volume over two days, with a gap, and one that is silent."""
    values = [0.1] * 50 + [None] * 7 + [0.3] * 100
    intervals = pl.concat(
        [
            make_intervals("a", DAY_AT, values),
            make_intervals("gas", DAY_AT, values, column="volume_m3"),
            make_intervals("silent", DAY_AT, [None] * 4),
            make_intervals("unknown", DAY_AT, values),
        ]
    )
    registers = pl.concat(
        [make_register("a"), make_register("gas", unit="m3"), make_register("silent")]
    )
    return compute_daily(intervals, registers, now=NOW + timedelta(days=1)), intervals


def test_days_that_add_up_to_their_intervals_pass(warehouse: Warehouse):
    verdict = conserved(warehouse, *make_days())
    assert (verdict.passed, verdict.message) == (True, "")
    assert verdict.numbers == {"n_registers": 3, "n_wrong": 0}


@pytest.mark.parametrize(("column", "name"), [("energy_kwh", "a"), ("volume_m3", "gas")])
def test_day_with_a_tenth_of_a_percent_too_much_is_found(
    warehouse: Warehouse, column: str, name: str
):
    daily, intervals = make_days()
    verdict = conserved(warehouse, daily.with_columns(pl.col(column) * 1.001), intervals)
    assert not verdict.passed
    assert verdict.numbers["n_wrong"] == 1
    assert f"1 registers do not add up to their intervals ({name})" in verdict.message


def test_days_whose_intervals_are_gone_passed_because_nothing_was_left_to_compare(
    warehouse: Warehouse,
):
    daily, intervals = make_days()
    verdict = conserved(warehouse, daily, intervals.filter(pl.col("register_id") != "a"))
    assert not verdict.passed
    assert "(a)" in verdict.message
    verdict = conserved(
        warehouse, daily.with_columns(energy_kwh=pl.lit(None, pl.Float64)), intervals
    )
    assert "(a)" in verdict.message


# -- submeters -------------------------------------------------------------------------------


def test_submeters_above_the_consumption_are_found_by_site():
    rows = [
        {"site_id": site, "n_days": 7, "n_days_over": over} for site, over in (("x", 3), ("y", 0))
    ]
    check = BY_NAME["submeters_within_consumption"]
    balance = rows_of(mart.SUBMETER_BALANCE, rows)
    verdict = check.judge({mart.SUBMETER_BALANCE.full_name: balance}, NOW)
    assert not verdict.passed
    assert verdict.numbers == {"n_sites": 2, "n_over": 1}
    assert "(x on 3 of 7 days)" in verdict.message
    good = check.judge({mart.SUBMETER_BALANCE.full_name: balance.filter(site_id="y")}, NOW)
    assert (good.passed, good.message) == (True, "")


# -- freshness -------------------------------------------------------------------------------


def calls_of(*calls: tuple[float, int | None, str | None, str]) -> dict[Table, pl.DataFrame]:
    """Calls to digiwatt: hours before NOW, status, error, endpoint."""
    rows = [
        {
            "request_id": str(n),
            "vendor": "digiwatt",
            "endpoint": endpoint,
            "url": "https://vendor.example/",
            "status": status,
            "error": error,
            "requested_at": NOW - timedelta(hours=hours),
        }
        for n, (hours, status, error, endpoint) in enumerate(calls)
    ]
    return {raw.REQUEST: rows_of(raw.REQUEST, rows)}


def test_vendor_that_answered_within_26_hours_is_fresh(warehouse: Warehouse):
    hours = STALE_AFTER / timedelta(hours=1)
    calls = calls_of((hours, 200, None, "consumption"), (1, 500, "It broke.", "consumption"))
    verdict = judge("fresh_digiwatt", warehouse, calls)
    assert (verdict.passed, verdict.message) == (True, "")
    assert verdict.numbers == {"last_success": "2026-10-27 07:00 UTC"}


def test_vendor_that_fails_for_longer_is_stale_with_its_last_error(warehouse: Warehouse):
    calls = calls_of(
        (26.1, 200, None, "consumption"),
        (3, 500, "It broke.", "consumption"),
        (2, None, "It does not answer.", "consumption"),
    )
    verdict = judge("fresh_digiwatt", warehouse, calls)
    assert not verdict.passed
    assert verdict.message.endswith(
        "gave no data since 2026-10-27 06:54 UTC: look at the last run of extract_digiwatt. "
        "Its last error: It does not answer."
    )


def test_error_from_before_the_last_answer_was_shown_as_the_reason(warehouse: Warehouse):
    calls = calls_of((700, 500, "It broke.", "consumption"), (50, 200, None, "consumption"))
    verdict = judge("fresh_digiwatt", warehouse, calls)
    assert not verdict.passed
    assert "It broke." not in verdict.message


def test_vendor_that_gave_a_token_and_no_data_was_fresh(warehouse: Warehouse):
    calls = calls_of((1, 200, None, TOKEN_ENDPOINT), (0.9, 403, "It is forbidden.", "consumption"))
    verdict = judge("fresh_digiwatt", warehouse, calls)
    assert not verdict.passed
    assert "has never given data" in verdict.message
    assert verdict.message.endswith("It is forbidden.")


def test_vendor_that_was_never_asked_is_not_in_use(warehouse: Warehouse):
    verdict = judge("fresh_wattsense", warehouse, calls_of((1, 500, "It broke.", "consumption")))
    assert verdict.passed
    assert verdict.numbers == {"n_calls": 0}


def test_each_vendor_that_is_extracted_has_its_check_and_none_blocks():
    extracted = {name for name, vendor in discover_vendors().items() if vendor.to_batch is not None}
    assert {name for name in BY_NAME if name.startswith("fresh_")} == {
        f"fresh_{name}" for name in extracted
    }
    assert not any(check.is_blocking for check in CHECKS)
