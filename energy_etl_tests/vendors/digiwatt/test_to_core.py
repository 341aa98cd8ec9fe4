"""Digiwatt's figures in our nouns: one price for a kWh, whichever endpoint it came from."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from energy_etl.tables.core import APPLIANCE_INTERVAL, VENDOR_APPLIANCE_FIGURE, VENDOR_FIGURE
from energy_etl.tables.model import Table
from energy_etl.vendors import WhoIsWho
from energy_etl.vendors.digiwatt.client import ENDPOINTS
from energy_etl.vendors.digiwatt.rows import to_batch
from energy_etl.vendors.digiwatt.to_core import to_core
from energy_etl_tests.vendors.digiwatt.test_rows import call
from energy_etl_tests.vendors.extracting import alias_frame

ALIAS = alias_frame("meter", "digiwatt", [("rome.mains", "125fd56")])


def _core(*endpoints: str, alias: pl.DataFrame = ALIAS) -> dict[Table, pl.DataFrame]:
    batch = to_batch([call(endpoint) for endpoint in endpoints])
    return {write.table: write.frame for write in to_core(batch, WhoIsWho(alias, alias, alias))}


def test_household_price_agrees_across_endpoints_only_with_kwh_and_wh_told_apart() -> None:
    figures = _core(*ENDPOINTS)[VENDOR_FIGURE].sort("period")
    prices = (figures["cost_eur"] / figures["energy_kwh"]).to_list()
    assert figures["period"].to_list() == ["last-30-days", "last-week"]
    assert prices == [pytest.approx(0.4013, abs=1e-4), pytest.approx(0.4025, abs=1e-4)]


def test_figures_of_a_period_meet_in_one_row() -> None:
    figures = _core("consumption", "estimated-costs", "performance")[VENDOR_FIGURE]
    assert figures.to_dicts() == [
        {
            "meter_id": "rome.mains",
            "vendor": "digiwatt",
            "period": "last-week",
            "fetched_on": date(2025, 4, 16),
            "energy_kwh": 73.61,
            "trend_pct": 19.0,
            "cost_eur": 29.63,
            "cost_trend_pct": 20.0,
            "peer_min_kwh": 10.0,
            "peer_max_kwh": 130.0,
            "fetched_at": datetime(2025, 4, 16, 9, tzinfo=UTC),
        }
    ]


@pytest.mark.parametrize("alone", ["consumption", "estimated-costs", "performance"])
def test_figure_whose_neighbours_failed_is_kept_beside_nulls(alone: str) -> None:
    (row,) = _core(alone)[VENDOR_FIGURE].to_dicts()
    assert (row["meter_id"], row["period"]) == ("rome.mains", "last-week")
    assert (row["energy_kwh"] is not None) == (alone == "consumption")
    assert (row["cost_eur"] is not None) == (alone == "estimated-costs")
    assert (row["peer_min_kwh"] is not None) == (alone == "performance")


def test_appliances_of_savings_are_turned_into_kwh() -> None:
    figures = _core("savings", "consumption-distribution")[VENDOR_APPLIANCE_FIGURE]
    # Polars multiplies by the reciprocal: the last bit may differ.
    rounded = figures.with_columns(pl.col("energy_kwh").round(9))
    assert rounded.select("period", "appliance", "energy_kwh").rows() == [
        ("last-30-days", "dishwasher", 15.5),
        ("last-30-days", "fridge", 26.0),
        ("last-30-days", "standby", 30.4),
        ("last-30-days", "washingMachine", 12.0),
        ("last-week", "fridge", 6.2),
        ("last-week", "other", 67.41),
    ]


def test_series_becomes_appliance_intervals() -> None:
    intervals = _core("disaggregation")[APPLIANCE_INTERVAL]
    start_at = datetime(2025, 4, 14, 22, tzinfo=UTC)
    assert intervals.schema == APPLIANCE_INTERVAL.polars_schema
    assert intervals.row(0) == (
        "rome.mains",
        "digiwatt",
        "fridge",
        start_at,
        start_at + timedelta(hours=1),
        0.031,
    )


def test_meter_that_nobody_mapped_is_left_out() -> None:
    other = alias_frame("meter", "digiwatt", [("x", "another")])
    assert _core(*ENDPOINTS, alias=other) == {}
