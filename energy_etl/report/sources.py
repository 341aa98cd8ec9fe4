"""What the report is made of: one query per source, on the published file, bounded in rows.

A file of an earlier version may lack a table: its source is empty then, and its section says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from energy_etl.tables.model import UTC_INSTANT

Frames = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Source:
    """One frame of the report.

    Attributes:
        name: of the frame.
        sql: what gives it, on `energy.duckdb`.
        schema: its columns, for when nothing can be read.
    """

    name: str
    sql: str
    schema: Mapping[str, pl.DataType | type[pl.DataType]]

    def empty(self) -> pl.DataFrame:
        """Return the frame without rows."""
        return pl.DataFrame(schema=self.schema)


def _source(name: str, columns: str, rest: str, **kinds: type[pl.DataType] | pl.DataType) -> Source:
    """Make a source; a column's type follows from its name where `kinds` says nothing else."""
    names = [column.split()[-1].rsplit(".", 1)[-1] for column in columns.split(",")]
    return Source(
        name, f"SELECT {columns} {rest}", {column: _kind(column, kinds) for column in names}
    )


def _kind(
    column: str, kinds: Mapping[str, type[pl.DataType] | pl.DataType]
) -> type[pl.DataType] | pl.DataType:
    if column in kinds:
        return kinds[column]
    if column.endswith("_at"):
        return UTC_INSTANT
    if column.endswith("_on"):
        return pl.Date()
    if column.startswith(("is_", "has_", "can_")):
        return pl.Boolean
    if column.startswith("n_") or column.endswith("_minutes"):
        return pl.Int64
    if column.endswith(("_kwh", "_pct", "_m3", "_kw", "cost", "hours")):
        return pl.Float64
    return pl.String


PUBLICATION: Final = _source("publication", "generation, published_at", "FROM main.publication")

SOURCES: Final = (
    PUBLICATION,
    _source("site", "site_id, name, zone, currency", "FROM core.site ORDER BY site_id"),
    _source(
        "register",
        "r.register_id, r.meter_id, r.site_id, m.name AS meter_name, r.commodity, r.role,"
        " r.appliance, r.is_primary",
        "FROM core.register AS r LEFT JOIN core.meter AS m USING (meter_id) ORDER BY r.register_id",
    ),
    _source(
        "site_daily",
        "site_id, commodity, local_on, hours, consumption_kwh, volume_m3, coverage_pct,"
        " is_complete",
        "FROM mart.site_daily WHERE local_on >= (SELECT max(local_on) FROM mart.site_daily)"
        # Two months (31 + 31 + 30 days) and the one that runs.
        " - 125 ORDER BY ALL",
    ),
    _source(
        "daily",
        "register_id, site_id, local_on, hours, energy_kwh, n_expected, n_measured",
        "FROM mart.daily_energy WHERE local_on >= (SELECT max(local_on) FROM mart.daily_energy)"
        # The completeness shows 42 of them, charts two times 28.
        " - 64 ORDER BY ALL",
    ),
    _source(
        "trend",
        "register_id, site_id, period, computed_on, energy_kwh, vendor, vendor_energy_kwh,"
        " vendor_difference_pct, coverage_pct",
        "FROM mart.period_trend"
        " QUALIFY computed_on = max(computed_on) OVER (PARTITION BY register_id) ORDER BY ALL",
    ),
    _source(
        "cost",
        "c.register_id, c.site_id, r.commodity, c.period, c.currency, c.energy_kwh, c.cost,"
        " c.unpriced_kwh",
        "FROM mart.period_cost AS c JOIN core.register AS r USING (register_id)"
        " WHERE c.period IN ('last-week', 'last-month') AND r.is_primary"
        " QUALIFY c.computed_on = max(c.computed_on) OVER (PARTITION BY c.register_id)"
        " ORDER BY ALL",
    ),
    _source("tariff", "site_id, commodity, role", "FROM core.tariff GROUP BY ALL ORDER BY ALL"),
    _source(
        "coverage",
        "register_id, site_id, computed_on, n_expected, n_measured, coverage_pct, last_read_at",
        "FROM mart.coverage ORDER BY register_id",
    ),
    _source(
        "stream",
        "s.stream_id, s.register_id, s.interval_minutes, d.n_sent, d.n_confirmed, d.n_pending,"
        " d.n_held, d.n_rejected, d.n_superseded, d.first_sent_at, d.last_sent_at,"
        " d.n_holes, d.n_missing, d.lag_minutes, d.hold_reason, d.failure, d.parked_reason",
        "FROM push.stream AS s LEFT JOIN push.stream_status AS d USING (stream_id)"
        " ORDER BY s.stream_id",
        lag_minutes=pl.Float64,
    ),
    _source(
        "hole",
        "stream_id, after_at, before_at, n_missing, is_declared",
        "FROM push.hole WHERE before_at >= (SELECT max(before_at) FROM push.hole)"
        " - INTERVAL 60 DAY ORDER BY stream_id, after_at",
    ),
    _source(
        "licence",
        "licence_key_end, licence_type, controller_name, site_id, customer_name, licence_status,"
        " ends_on, days_left AS n_days_left, grid_kw, solar_kw, battery_kw, ev_kw,"
        " installed_grid_kw, installed_solar_kw, installed_battery_kw, installed_ev_kw,"
        " has_capacity",
        "FROM mart.licence ORDER BY days_left NULLS LAST, licence_id_smartgridone",
    ),
    _source(
        "access",
        "holder_kind, holder_name, way, api_key_name, is_migrated_key, role_name, scope,"
        " organization_name, has_user_management, has_service_account_management",
        "FROM mart.access ORDER BY ALL",
    ),
    _source(
        "finding",
        "kind, place, from_at, message, next_step",
        "FROM mart.finding ORDER BY kind, place, from_at",
    ),
)
