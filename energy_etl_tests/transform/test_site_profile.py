"""The shape of a site's load: base, peak, night, weekend, per area, the worst coverage first."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from energy_etl.periods import local_day_bounds
from energy_etl.tables import core, mart
from energy_etl.transform.site_profile import PROFILE_DAYS, compute_site_profiles

ZONE = "Europe/Rome"
# The 28 days before hold the autumn night of 25 hours.
TODAY_ON = date(2026, 10, 28)
NOW = datetime(2026, 10, 28, 8, tzinfo=UTC)
DAYS = [TODAY_ON - timedelta(days=n) for n in range(PROFILE_DAYS, 0, -1)]


def rows_of(table, rows: list[dict]) -> pl.DataFrame:
    schema = table.polars_schema
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def registers_of(*roles: str, site_id: str = "a", is_primary: bool = True) -> pl.DataFrame:
    return rows_of(
        core.REGISTER,
        [
            {
                "register_id": f"{site_id}.{role}",
                "meter_id": f"{site_id}.{role}",
                "site_id": site_id,
                "zone": ZONE,
                "commodity": "electricity",
                "role": role,
                "kind": "cumulative",
                "unit": "kWh",
                "grid_minutes": 15,
                "is_primary": is_primary,
            }
            for role in roles
        ],
    )


def sites_of(*site_ids: str, area_m2: float | None = 100.0) -> pl.DataFrame:
    return rows_of(core.SITE, [{"site_id": s, "zone": ZONE, "area_m2": area_m2} for s in site_ids])


def hours_of(register_id: str, load_kw) -> pl.DataFrame:
    """Hours of the window; `load_kw` is a function of local date and hour, None: no energy."""
    rows = []
    for day in DAYS:
        start, end = local_day_bounds(ZONE, day)
        for n in range(int((end - start) / timedelta(hours=1))):
            at = start + n * timedelta(hours=1)
            hour = at.astimezone(ZoneInfo(ZONE)).hour
            rows.append(
                {
                    "register_id": register_id,
                    "site_id": register_id.split(".")[0],
                    "local_on": day,
                    "local_hour": hour,
                    "start_at": at,
                    "hours": 1.0,
                    "energy_kwh": load_kw(day, hour),
                    "n_expected": 4,
                    "n_measured": 0 if load_kw(day, hour) is None else 4,
                    "n_estimated": 0,
                }
            )
    return rows_of(mart.HOURLY_ENERGY, rows)


def daily_of(
    site_id: str, consumption_kwh: float | None, coverage_pct: float = 100.0, days=DAYS
) -> pl.DataFrame:
    return rows_of(
        mart.SITE_DAILY,
        [
            {
                "site_id": site_id,
                "commodity": "electricity",
                "local_on": day,
                "hours": (local_day_bounds(ZONE, day)[1] - local_day_bounds(ZONE, day)[0])
                / timedelta(hours=1),
                "consumption_kwh": consumption_kwh,
                "coverage_pct": coverage_pct,
            }
            for day in days
        ],
    )


def test_profile_of_a_known_load_is_exact() -> None:
    def load_kw(day: date, hour: int) -> float:
        return 5.0 if hour == 18 else 2.0 if day.weekday() >= 5 else 1.0

    hours = hours_of("a.mains", load_kw)
    found = compute_site_profiles(
        daily_of("a", 30.0), hours, registers_of("mains"), sites_of("a"), now=NOW
    ).row(0, named=True)
    total = float(hours["energy_kwh"].sum())
    assert found["consumption_kwh"] == pytest.approx(28 * 30.0)
    assert found["consumption_kwh_per_m2"] == pytest.approx(8.4)
    assert found["base_load_kw"] == 1.0
    assert found["peak_kw"] == 5.0
    assert found["peak_at"] == datetime(2026, 9, 30, 16, tzinfo=UTC)
    assert found["mean_kw"] == pytest.approx(total / (28 * 24 + 1))
    assert found["load_factor"] == pytest.approx(total / (28 * 24 + 1) / 5.0)
    night = float(hours.filter(pl.col("local_hour") < 6)["energy_kwh"].sum())
    # The repeated hour of the autumn night is one of them.
    assert hours.filter(pl.col("local_hour") < 6).height == 28 * 6 + 1
    assert found["night_share_pct"] == pytest.approx(100 * night / total)
    weekend = float(hours.filter(pl.col("local_on").dt.weekday() >= 6)["energy_kwh"].sum())
    assert found["weekend_share_pct"] == pytest.approx(100 * weekend / total)


def test_export_counts_against_and_production_for_the_load() -> None:
    hours = pl.concat(
        [
            hours_of("a.mains", lambda _day, _hour: 1.0),
            hours_of("a.production", lambda _day, _hour: 3.0),
            hours_of("a.export", lambda _day, _hour: 2.5),
        ]
    )
    registers = registers_of("mains", "production", "export")
    found = compute_site_profiles(daily_of("a", 36.0), hours, registers, sites_of("a"), now=NOW)
    assert found["mean_kw"].item() == pytest.approx(1.5)


def test_hour_that_one_register_lacks_is_not_part_of_the_load() -> None:
    hours = pl.concat(
        [
            hours_of("a.mains", lambda _day, _hour: 1.0),
            hours_of("a.production", lambda _day, hour: None if hour == 12 else 3.0),
        ]
    )
    registers = registers_of("mains", "production")
    found = compute_site_profiles(daily_of("a", None), hours, registers, sites_of("a"), now=NOW)
    assert found["mean_kw"].item() == pytest.approx(4.0)
    assert found["consumption_kwh"].item() is None


def test_hour_of_which_two_quarters_never_came_is_no_load_of_half() -> None:
    whole = hours_of("a.mains", lambda _day, _hour: 2.0)
    at_noon = pl.col("local_hour") == 12
    part = whole.with_columns(
        energy_kwh=pl.when(at_noon).then(1.0).otherwise("energy_kwh"),
        n_measured=pl.when(at_noon).then(2).otherwise("n_measured"),
    )
    given = daily_of("a", 47.0), part, registers_of("mains"), sites_of("a")
    found = compute_site_profiles(*given, now=NOW).row(0, named=True)
    assert (found["base_load_kw"], found["mean_kw"], found["load_factor"]) == (2.0, 2.0, 1.0)
    estimated = part.with_columns(n_estimated=pl.when(at_noon).then(2).otherwise(0))
    given = daily_of("a", 47.0), estimated, registers_of("mains"), sites_of("a")
    assert compute_site_profiles(*given, now=NOW)["load_factor"].item() < 1.0


def test_production_beside_mains_that_show_only_volts_is_no_load_of_the_site() -> None:
    hours = hours_of("a.production", lambda _d, _h: 1.0)
    volts = registers_of("mains").with_columns(kind=pl.lit("instant"), unit=pl.lit("V"))
    registers = pl.concat([volts, registers_of("production")])
    found = compute_site_profiles(daily_of("a", None), hours, registers, sites_of("a"), now=NOW)
    assert found["mean_kw"].item() is None


def test_second_view_of_a_meter_counts_once() -> None:
    hours = pl.concat(
        [hours_of("a.mains", lambda _d, _h: 1.0), hours_of("b.mains", lambda _d, _h: 7.0)]
    )
    again = registers_of("mains", site_id="b", is_primary=False).with_columns(site_id=pl.lit("a"))
    found = compute_site_profiles(
        daily_of("a", 24.0),
        hours,
        pl.concat([registers_of("mains"), again]),
        sites_of("a"),
        now=NOW,
    )
    assert found["peak_kw"].item() == 1.0


def test_worst_coverage_comes_first_and_days_without_a_row_count_against_it() -> None:
    daily = pl.concat(
        [daily_of("a", 24.0), daily_of("b", 24.0, 80.0), daily_of("c", 24.0, days=DAYS[14:])]
    )
    hours = hours_of("a.mains", lambda _d, _h: 1.0)
    found = compute_site_profiles(
        daily, hours, registers_of("mains"), sites_of("a", "b", "c"), now=NOW
    )
    assert found["site_id"].to_list() == ["c", "b", "a"]
    assert found["coverage_rank"].to_list() == [1, 2, 3]
    assert found["coverage_pct"][0] == pytest.approx(100 * (14 * 24 + 1) / (28 * 24 + 1))
    assert found["coverage_pct"].to_list()[1:] == pytest.approx([80.0, 100.0])


def test_load_of_zero_has_no_shares_and_no_load_factor() -> None:
    hours = hours_of("a.mains", lambda _d, _h: 0.0)
    found = compute_site_profiles(
        daily_of("a", 0.0), hours, registers_of("mains"), sites_of("a", area_m2=None), now=NOW
    ).row(0, named=True)
    assert found["peak_kw"] == 0.0
    assert found["consumption_kwh"] == 0.0
    for name in ("load_factor", "night_share_pct", "weekend_share_pct", "consumption_kwh_per_m2"):
        assert found[name] is None


def test_site_without_mains_has_days_but_no_load() -> None:
    hours = hours_of("a.production", lambda _d, _h: 1.0)
    found = compute_site_profiles(
        daily_of("a", None), hours, registers_of("production"), sites_of("a"), now=NOW
    ).row(0, named=True)
    assert found["mean_kw"] is None
    assert found["coverage_pct"] == pytest.approx(100.0)


def test_daily_register_has_no_load_within_the_day() -> None:
    hours = hours_of("a.mains", lambda _d, hour: 24.0 if hour == 0 else None)
    registers = registers_of("mains").with_columns(grid_minutes=pl.lit(1440, pl.Int64))
    found = compute_site_profiles(
        daily_of("a", 24.0), hours, registers, sites_of("a"), now=NOW
    ).row(0, named=True)
    assert found["consumption_kwh"] == pytest.approx(28 * 24.0)
    assert found["peak_kw"] is None
    assert found["base_load_kw"] is None


def test_no_days_give_no_profiles() -> None:
    empty = daily_of("a", None).clear()
    hours = hours_of("a.mains", lambda _d, _h: 1.0).clear()
    found = compute_site_profiles(empty, hours, registers_of("mains"), sites_of("a"), now=NOW)
    assert found.is_empty()
    assert found.schema == mart.SITE_PROFILE.polars_schema
