"""A vendor's figures against ours: compared is what counts alike and was measured."""

from datetime import date

import polars as pl
import pytest

from energy_etl.tables.mart import PERIOD_TREND, TREND_VARIANT
from energy_etl.transform.vendor_drift import compute_vendor_drift


def make_trends(*periods: str, **columns: object) -> pl.DataFrame:
    base = {
        "register_id": "a",
        "site_id": "site",
        "meter_id": "m",
        "computed_on": date(2026, 10, 28),
        "energy_kwh": 100.0,
        "coverage_pct": 100.0,
        "trend_pct": 10.0,
        "trend_whole_pct": -40.0,
        "vendor": "v",
        "vendor_energy_kwh": 101.0,
        "vendor_trend_pct": 11.0,
    }
    rows = [base | {"period": period} | columns for period in periods or ("last-week",)]
    return pl.DataFrame(rows, schema=PERIOD_TREND.polars_schema)


def make_best(previous_part: str, has_today: bool) -> pl.DataFrame:
    row = {
        "meter_id": "m",
        "vendor": "v",
        "previous_part": previous_part,
        "has_today": has_today,
        "is_best": True,
    }
    other = row | {"previous_part": "neither", "is_best": False}
    return pl.DataFrame([other, row], schema=TREND_VARIANT.polars_schema)


UNKNOWN = TREND_VARIANT.empty_frame()
ALL = ("yesterday", "last-seven-days", "last-week", "this-week", "last-month", "this-month")
CLOSED = ["last-month", "last-week", "yesterday"]


def off_of(trends: pl.DataFrame, variants: pl.DataFrame = UNKNOWN) -> tuple[bool, bool]:
    (row,) = compute_vendor_drift(trends, variants).select("is_energy_off", "is_trend_off").rows()
    return row


def test_open_periods_are_compared_only_where_it_is_known_how_the_vendor_counts():
    periods = compute_vendor_drift(make_trends(*ALL), UNKNOWN)["period"].to_list()
    assert periods == CLOSED
    periods = compute_vendor_drift(make_trends(*ALL), make_best("elapsed", True))["period"]
    assert periods.to_list() == CLOSED
    periods = compute_vendor_drift(make_trends(*ALL), make_best("elapsed", False))["period"]
    assert periods.to_list() == sorted(ALL)


def test_the_trend_is_the_one_that_counts_as_the_vendor_does():
    for part, own in (("elapsed", 10.0), ("whole", -40.0)):
        found = compute_vendor_drift(
            make_trends("this-month", "last-month"), make_best(part, False)
        )
        assert found["own_trend_pct"].to_list() == [10.0, own]
    open_period = make_trends("this-month", vendor_trend_pct=-40.0)
    assert off_of(open_period, make_best("whole", False)) == (False, False)
    assert off_of(open_period, make_best("elapsed", False)) == (False, True)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"vendor_trend_pct": 11.4}, (False, False)),
        ({"vendor_trend_pct": 11.6}, (False, True)),
        ({"vendor_trend_pct": 8.4}, (False, True)),
        ({"vendor_energy_kwh": 101.9}, (False, False)),
        ({"vendor_energy_kwh": 102.1}, (True, False)),
        ({"vendor_energy_kwh": 97.9}, (True, False)),
        # Two decimals of hardly anything are no drift, nor is a point of a large ratio.
        ({"energy_kwh": 0.1, "vendor_energy_kwh": 0.14}, (False, False)),
        ({"trend_pct": 400.0, "vendor_trend_pct": 404.0}, (False, False)),
        ({"coverage_pct": 94.9, "vendor_energy_kwh": 5.0}, (False, False)),
        ({"trend_pct": None, "vendor_trend_pct": 90.0}, (False, False)),
        ({"vendor_trend_pct": None, "vendor_energy_kwh": 5.0}, (True, False)),
        ({"vendor_energy_kwh": None, "vendor_trend_pct": 90.0}, (False, True)),
    ],
)
def test_beyond_the_tolerance_it_is_a_drift(columns: dict, expected: tuple[bool, bool]):
    assert off_of(make_trends(**columns)) == expected


def test_what_has_no_figure_on_one_side_is_not_compared():
    for columns in (
        {"vendor": None},
        {"energy_kwh": None, "coverage_pct": 0.0, "trend_pct": None},
        {"vendor_energy_kwh": None, "vendor_trend_pct": None},
    ):
        assert compute_vendor_drift(make_trends(**columns), UNKNOWN).is_empty()
