"""Units and what turns one into another: the only conversion factors in the package.

No vendor's spelling belongs here: a vendor's free text becomes one of these names in its `rows.py`.
"""

from typing import Final, Literal, get_args

Unit = Literal["Wh", "kWh", "MWh", "W", "kW", "var", "VA", "V", "A", "m3", "l", "degC", "EUR"]
Commodity = Literal["electricity", "gas", "water", "heat", "temperature"]

UNITS: Final[tuple[str, ...]] = get_args(Unit)
COMMODITIES: Final[tuple[str, ...]] = get_args(Commodity)

KWH_PER_UNIT: Final[dict[str, float]] = {"Wh": 1e-3, "kWh": 1.0, "MWh": 1e3}
KW_PER_UNIT: Final[dict[str, float]] = {"W": 1e-3, "kW": 1.0}
# What is averaged over time and never added up.
MEAN_UNITS: Final = frozenset({*KW_PER_UNIT, "var", "VA", "V", "A", "degC"})
M3_PER_UNIT: Final[dict[str, float]] = {"m3": 1.0, "l": 1e-3}
WH_PER_KWH: Final = 1000.0
SECONDS_PER_HOUR: Final = 3600.0


def energy_wh_to_power_w(energy_wh: float, interval_s: float) -> float:
    """Return the mean power in W of an energy in Wh over an interval in s (interval_s > 0)."""
    return energy_wh * SECONDS_PER_HOUR / interval_s
