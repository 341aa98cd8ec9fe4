"""Units: the conversions and the factors behind them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_etl.units import (
    KWH_PER_UNIT,
    M3_PER_UNIT,
    UNITS,
    energy_wh_to_power_w,
)


def test_250_wh_within_a_quarter_hour_are_a_kilowatt() -> None:
    assert energy_wh_to_power_w(250.0, 900.0) == 1000.0


@given(st.floats(min_value=-1e9, max_value=1e9), st.floats(min_value=1.0, max_value=86_400.0))
def test_power_over_its_hours_is_the_energy(energy_wh: float, interval_s: float) -> None:
    power_w = energy_wh_to_power_w(energy_wh, interval_s)
    assert power_w * (interval_s / 3600.0) == pytest.approx(energy_wh, rel=1e-12)


def test_every_factor_belongs_to_a_known_unit() -> None:
    assert set(KWH_PER_UNIT) | set(M3_PER_UNIT) <= set(UNITS)
    assert KWH_PER_UNIT["MWh"] == 1e3 * KWH_PER_UNIT["kWh"] == 1e6 * KWH_PER_UNIT["Wh"]
