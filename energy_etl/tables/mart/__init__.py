"""Layer `mart`: what people read. Each figure says how much of it was measured.

One module per question: how much (`energy`), more or less (`trends`), who (`disaggregation`), what
it costs (`costs`), beside others (`sites`), how far to trust it (`quality`).
"""

from typing import Final

from energy_etl.tables.mart.costs import COST_FORECAST, COST_MARTS, DAILY_COST, PERIOD_COST
from energy_etl.tables.mart.disaggregation import (
    APPLIANCE_SHARE,
    DISAGGREGATION_MARTS,
    DISAGGREGATION_SCORE,
    DISAGGREGATION_TOTAL,
)
from energy_etl.tables.mart.energy import (
    DAILY_ENERGY,
    ENERGY_MARTS,
    HOURLY_ENERGY,
    MONTHLY_ENERGY,
    SITE_DAILY,
    WEEKLY_ENERGY,
)
from energy_etl.tables.mart.quality import (
    COVERAGE,
    ELECTRICAL_CHECK,
    FINDING,
    QUALITY_MARTS,
    SUBMETER_BALANCE,
)
from energy_etl.tables.mart.sites import PEER, SITE_MARTS, SITE_PROFILE
from energy_etl.tables.mart.trends import (
    PERIOD_TREND,
    ROBUST_TREND,
    SAVINGS,
    SITE_WEATHER,
    TREND_MARTS,
    TREND_VARIANT,
    WEATHER_TREND,
)
from energy_etl.tables.model import Table

MART_TABLES: Final[tuple[Table, ...]] = (
    *ENERGY_MARTS,
    *TREND_MARTS,
    *DISAGGREGATION_MARTS,
    *COST_MARTS,
    *SITE_MARTS,
    *QUALITY_MARTS,
)

__all__ = [
    "APPLIANCE_SHARE",
    "COST_FORECAST",
    "COVERAGE",
    "DAILY_COST",
    "DAILY_ENERGY",
    "DISAGGREGATION_SCORE",
    "DISAGGREGATION_TOTAL",
    "ELECTRICAL_CHECK",
    "FINDING",
    "HOURLY_ENERGY",
    "MART_TABLES",
    "MONTHLY_ENERGY",
    "PEER",
    "PERIOD_COST",
    "PERIOD_TREND",
    "ROBUST_TREND",
    "SAVINGS",
    "SITE_DAILY",
    "SITE_PROFILE",
    "SITE_WEATHER",
    "SUBMETER_BALANCE",
    "TREND_VARIANT",
    "WEATHER_TREND",
    "WEEKLY_ENERGY",
]
