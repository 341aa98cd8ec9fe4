"""The cost marts as they are declared: inputs in their order, findings, the check on energy."""

from datetime import date

import polars as pl
import pytest

from energy_etl.defs.marts.costs import CHECKS, FINDINGS, MARTS
from energy_etl.defs.marts.energy import ENERGY
from energy_etl.tables import Frames, core, mart
from energy_etl.transform.calendar import compute_daily
from energy_etl_tests.transform.builders import make_flat_load, make_register, utc
from energy_etl_tests.transform.tariff_frames import make_tariffs, tariff_row

NOW = utc("2024-06-27T09:00")


@pytest.fixture(scope="module")
def frames() -> Frames:
    """What the declared marts make of a flat load, whose tariff begins too late."""
    register = make_register("a")
    load = make_flat_load("a", utc("2024-05-31T22:00"), NOW, kwh=0.25)
    found = {
        ENERGY.full_name: load,
        mart.DAILY_ENERGY.full_name: compute_daily(load, register, now=NOW),
        core.REGISTER.full_name: register,
        core.TARIFF.full_name: make_tariffs(tariff_row(0.2, valid_from_on=date(2024, 6, 2))),
        core.VENDOR_FIGURE.full_name: core.VENDOR_FIGURE.empty_frame(),
        core.VENDOR_MONTH.full_name: core.VENDOR_MONTH.empty_frame(),
    }
    for each in MARTS:
        found[each.table.full_name] = each.compute(found, NOW)
    return found


def test_declared_marts_have_their_columns_rows_and_numbers(frames):
    for each, rows in zip(MARTS, (27, 6, 1), strict=True):
        frame = frames[each.table.full_name]
        assert frame.schema == each.table.polars_schema
        assert frame.height == rows
        assert frame.select(**each.numbers).height == 1
    numbers = frames[mart.DAILY_COST.full_name].select(**MARTS[0].numbers).row(0, named=True)
    assert numbers["unpriced_kwh"] == pytest.approx(24.0)
    assert numbers["cost"] == pytest.approx(0.2 * numbers["priced_kwh"])


def test_hole_in_the_tariff_is_found(frames):
    (declared,) = FINDINGS
    assert declared.find(frames, NOW)["kind"].to_list() == ["tariff_gap"]


def test_check_passes_when_each_kwh_is_priced_once_and_names_the_day_when_not(frames):
    (check,) = CHECKS
    verdict = check.judge(frames, NOW)
    assert verdict.passed
    assert verdict.numbers == {"days": 27, "days_that_differ": 0}
    name = mart.DAILY_COST.full_name
    twice = pl.when(pl.col("local_on") == date(2024, 6, 3)).then(2).otherwise(1)
    wrong = frames[name].with_columns(priced_kwh=pl.col("priced_kwh") * twice)
    verdict = check.judge({**frames, name: wrong}, NOW)
    assert not verdict.passed
    assert verdict.numbers["days_that_differ"] == 1
    assert "register a on 2024-06-03" in verdict.message
