"""What a site's load looks like: `mart.site_profile`, and so the comparison of sites by area.

Days and hours are added up elsewhere (`site_energy.py`, `calendar.py`); a site among its peers is
`peers.py`'s.
"""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.tables.mart import SITE_PROFILE
from energy_etl.transform.sums import exact_sum
from energy_etl.transform.windows import CONSUMPTION_SIGN, is_energy_register, last_days_window

PROFILE_DAYS: Final = 28
# The lowest hours are what never sleeps; the very lowest are outages and rounding.
BASE_LOAD_QUANTILE: Final = 0.05
NIGHT_ENDS_AT_HOUR: Final = 6
MINUTES_PER_HOUR: Final = 60
_SATURDAY: Final = 6

_KEY: Final = ("site_id", "commodity")


def compute_site_profiles(
    site_daily: pl.DataFrame,
    hourly: pl.DataFrame,
    registers: pl.DataFrame,
    sites: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Describe each site and commodity over the last 28 complete local days.

    An hour counts for the load where each interval of all of the site's primary mains, export and
    production registers of the commodity has energy (what was there of the others would be a load
    that never was); a site with one that is coarser than an hour has no load, nor one whose mains
    count no energy. Base load: 5th percentile of those hours' mean power. Load factor: mean / peak.
    Night: the local hours 0 to 5. Weekend: Saturday and Sunday; both as shares of the energy of the
    known hours, null when that is not above 0.

    Args:
        site_daily: `mart.site_daily`.
        hourly: `mart.hourly_energy`.
        registers: `core.register`, all of a site's.
        sites: `core.site`.
        now: the instant of the computation.

    Returns:
        `mart.site_profile`, one row per site and commodity of `site_daily`, sorted by
        coverage_rank: the worst measured first. `consumption_kwh` and `volume_m3` are the sums of
        the days that have one, null when none has; `coverage_pct` says how much that is.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    if site_daily.is_empty():
        return SITE_PROFILE.empty_frame()
    windows = last_days_window(sites["zone"].unique().sort(), now, PROFILE_DAYS)
    wanted = (
        site_daily.select(_KEY)
        .unique()
        .join(sites.select("site_id", "zone", "area_m2"), on="site_id")
        .join(
            windows.select("zone", "computed_on", "start_on", "end_on", "start_at", "end_at"),
            on="zone",
        )
    )
    totals = _totals(site_daily, wanted)
    loads = _loads(_known_hours(hourly, registers, wanted))
    rows = wanted.join(totals, on=_KEY, how="left").join(loads, on=_KEY, how="left")
    energy = pl.col("consumption_kwh")
    return (
        rows.with_columns(
            pl.col("coverage_pct").fill_null(0.0),
            consumption_kwh_per_m2=pl.when(pl.col("area_m2") > 0).then(energy / pl.col("area_m2")),
        )
        .sort("coverage_pct", *_KEY)
        .with_columns(coverage_rank=pl.int_range(1, pl.len() + 1))
        .select(SITE_PROFILE.polars_schema.names())
        .cast(SITE_PROFILE.polars_schema)
    )


def _totals(site_daily: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Sums over the window; the hours of days that have no row count as not covered."""
    days = site_daily.join(
        wanted.select(
            *_KEY, "start_on", "end_on", window_start_at="start_at", window_end_at="end_at"
        ),
        on=_KEY,
    ).filter(pl.col("local_on").is_between("start_on", "end_on", closed="left"))
    length = (pl.col("window_end_at") - pl.col("window_start_at")).dt.total_minutes() / 60.0
    return days.group_by(_KEY).agg(
        exact_sum(pl.col("consumption_kwh")).alias("consumption_kwh"),
        exact_sum(pl.col("volume_m3")).alias("volume_m3"),
        ((pl.col("coverage_pct") * pl.col("hours")).sum() / length.first()).alias("coverage_pct"),
    )


def _known_hours(
    hourly: pl.DataFrame, registers: pl.DataFrame, wanted: pl.DataFrame
) -> pl.DataFrame:
    """Energy of the hours that every register of the site knows all of; one row per hour."""
    counted = registers.filter(
        is_energy_register() & pl.col("is_primary") & pl.col("role").is_in(list(CONSUMPTION_SIGN))
    ).select(
        "register_id",
        *_KEY,
        sign=pl.col("role").replace_strict(CONSUMPTION_SIGN, return_dtype=pl.Float64),
        n_registers=pl.len().over(_KEY),
        # An interval of a day sits whole in its first hour and tells nothing of the others.
        is_hourly=(pl.col("grid_minutes") <= MINUTES_PER_HOUR).all().over(_KEY),
        has_mains=(pl.col("role") == "mains").any().over(_KEY),
    )
    counted = counted.filter("is_hourly", "has_mains")
    return (
        hourly.filter(pl.col("start_at") >= wanted["start_at"].min())
        .drop("site_id")
        .filter(pl.col("n_measured") + pl.col("n_estimated") >= pl.col("n_expected"))
        .join(counted, on="register_id")
        .join(wanted.select(*_KEY, from_at="start_at", to_at="end_at"), on=_KEY)
        .filter(pl.col("start_at").is_between("from_at", "to_at", closed="left"))
        .group_by(*_KEY, "start_at", "local_on", "local_hour", "hours")
        .agg(
            energy_kwh=exact_sum(pl.col("energy_kwh") * pl.col("sign")),
            n_known=pl.col("energy_kwh").count(),
            n_registers=pl.col("n_registers").first(),
        )
        .filter(pl.col("n_known") == pl.col("n_registers"))
        .with_columns(load_kw=pl.col("energy_kwh") / pl.col("hours"))
        .sort(*_KEY, "start_at")
    )


def _loads(hours: pl.DataFrame) -> pl.DataFrame:
    energy, load = pl.col("energy_kwh"), pl.col("load_kw")
    total = exact_sum(energy)

    def share(of: pl.Expr) -> pl.Expr:
        return pl.when(total > 0).then(100.0 * exact_sum(energy.filter(of)).fill_null(0.0) / total)

    return (
        hours.group_by(_KEY)
        .agg(
            mean_kw=total / pl.col("hours").sum(),
            base_load_kw=load.quantile(BASE_LOAD_QUANTILE, "linear"),
            peak_kw=load.max(),
            peak_at=pl.col("start_at").get(load.arg_max()),
            night_share_pct=share(pl.col("local_hour") < NIGHT_ENDS_AT_HOUR),
            weekend_share_pct=share(pl.col("local_on").dt.weekday() >= _SATURDAY),
        )
        .with_columns(
            load_factor=pl.when(pl.col("peak_kw") > 0).then(pl.col("mean_kw") / pl.col("peak_kw"))
        )
    )
