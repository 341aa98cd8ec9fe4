"""Weeks and months: real lengths, missing and running ones, and that days are conserved."""

import math
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.periods import local_day_bounds
from energy_etl.tables.mart import DAILY_ENERGY, MONTHLY_ENERGY, WEEKLY_ENERGY
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.spans import compute_monthly, compute_weekly
from energy_etl_tests.transform.builders import make_flat_load, make_intervals, make_register


def flat_days(zone: str, first_on: date, last_on: date, now: datetime) -> pl.DataFrame:
    """Hours of 1 kWh from the first day to the last."""
    start_at, end_at = local_day_bounds(zone, first_on)[0], local_day_bounds(zone, last_on)[1]
    load = make_flat_load("a", start_at, end_at, minutes=60)
    return compute_daily(load, make_register("a", zone=zone, grid_minutes=60), now=now)


def register(zone: str) -> pl.DataFrame:
    return make_register("a", zone=zone, grid_minutes=60)


@pytest.mark.parametrize(
    ("zone", "monday", "hours"),
    [
        ("Europe/Rome", date(2026, 3, 23), 167),
        ("Europe/Rome", date(2026, 10, 19), 169),
        ("America/New_York", date(2026, 3, 2), 167),
        ("America/New_York", date(2026, 10, 26), 169),
        ("Asia/Kathmandu", date(2026, 3, 23), 168),
        ("America/Sao_Paulo", date(2018, 10, 29), 167),
    ],
)
def test_a_week_with_a_clock_change_has_its_real_length(zone: str, monday: date, hours: int):
    last_on = monday + timedelta(days=6)
    now = local_day_bounds(zone, last_on)[1]
    week = compute_weekly(flat_days(zone, monday, last_on, now), register(zone), now=now)
    row = week.row(0, named=True)
    assert (row["week_on"], row["start_at"]) == (monday, local_day_bounds(zone, monday)[0])
    assert (row["hours"], row["energy_kwh"], row["n_expected"]) == (hours, hours, hours)
    assert (row["n_measured"], row["coverage_pct"]) == (hours, 100.0)
    assert row["is_complete"]
    # now is the first instant of the next Monday, so the week of that day has begun.
    assert week.height == 2


@pytest.mark.parametrize(("month", "hours"), [(3, 743), (10, 745), (2, 672)])
def test_a_month_has_its_real_length(month: int, hours: int):
    first_on, next_on = date(2026, month, 1), date(2026, month + 1, 1)
    now = local_day_bounds("Europe/Rome", next_on)[0] - timedelta(minutes=1)
    daily = flat_days("Europe/Rome", first_on, next_on - timedelta(days=1), now)
    over = compute_monthly(daily, register("Europe/Rome"), now=now)
    assert over.select("month_on", "energy_kwh", "n_expected", "is_complete").rows() == [
        (first_on, hours, hours, False)
    ]
    daily = flat_days("Europe/Rome", first_on, next_on, now + timedelta(minutes=1))
    row = compute_monthly(daily, register("Europe/Rome"), now=now + timedelta(minutes=1)).row(
        0, named=True
    )
    assert (row["hours"], row["is_complete"]) == (hours, True)


def test_days_before_the_first_one_and_missing_ones_count_as_expected():
    # Thursday to Friday, then nothing until the Monday after the next.
    now = local_day_bounds("Europe/Rome", date(2026, 5, 25))[1]
    daily = flat_days("Europe/Rome", date(2026, 5, 7), date(2026, 5, 8), now)
    found = compute_weekly(daily, register("Europe/Rome"), now=now)
    columns = ("week_on", "energy_kwh", "n_expected", "n_measured", "is_complete")
    assert found.select(columns).rows() == [
        (date(2026, 5, 4), 48.0, 168, 48, False),
        (date(2026, 5, 11), None, 168, 0, False),
        (date(2026, 5, 18), None, 168, 0, False),
        (date(2026, 5, 25), None, 168, 0, False),
    ]
    assert found["coverage_pct"].to_list() == [pytest.approx(100 * 48 / 168), 0.0, 0.0, 0.0]


def test_a_week_that_lacks_the_row_of_a_day_is_not_complete():
    now = local_day_bounds("Europe/Rome", date(2026, 5, 11))[0]
    daily = flat_days("Europe/Rome", date(2026, 5, 4), date(2026, 5, 10), now)
    whole = compute_weekly(daily, register("Europe/Rome"), now=now)
    holed = compute_weekly(
        daily.filter(pl.col("local_on") != date(2026, 5, 6)), register("Europe/Rome"), now=now
    )
    assert whole["is_complete"][0]
    assert not holed["is_complete"][0]
    assert holed["n_expected"][0] == 168


def test_a_month_that_lacks_a_date_of_the_calendar_is_complete_without_it():
    now = local_day_bounds("Pacific/Apia", date(2012, 1, 1))[0]
    daily = flat_days("Pacific/Apia", date(2011, 12, 1), date(2011, 12, 31), now)
    row = compute_monthly(daily, register("Pacific/Apia"), now=now).row(0, named=True)
    assert (row["hours"], row["energy_kwh"], row["is_complete"]) == (30 * 24, 30 * 24, True)


def test_estimates_and_volume_are_added_up_too():
    start_at = local_day_bounds("Europe/Rome", date(2026, 5, 4))[0]
    load = pl.concat(
        [
            make_intervals("a", start_at, [0.5] * 24, minutes=60, column="volume_m3"),
            make_intervals(
                "a",
                start_at + timedelta(days=1),
                [0.25] * 24,
                minutes=60,
                column="volume_m3",
                quality="estimated",
            ),
        ]
    )
    now = start_at + timedelta(days=2)
    daily = compute_daily(load, register("Europe/Rome"), now=now)
    row = compute_weekly(daily, register("Europe/Rome"), now=now).row(0, named=True)
    assert (row["volume_m3"], row["energy_kwh"]) == (18.0, None)
    assert (row["n_measured"], row["n_estimated"]) == (24, 24)


def test_no_days_give_no_weeks():
    now = datetime(2026, 5, 1, tzinfo=UTC)
    found = compute_weekly(DAILY_ENERGY.empty_frame(), make_register("a"), now=now)
    assert found.is_empty()
    assert found.schema == WEEKLY_ENERGY.polars_schema


@given(
    st.sampled_from(
        ["Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
    ),
    st.dates(min_value=date(2011, 1, 1), max_value=date(2030, 1, 1)),
    st.lists(st.one_of(st.none(), st.floats(min_value=0, max_value=100)), min_size=1, max_size=90),
    st.randoms(use_true_random=False),
)
@settings(max_examples=8, deadline=None)
def test_days_partition_weeks_and_months_of_any_zone(
    zone: str, first_on: date, values: list[float | None], random
):
    start_at = local_day_bounds(zone, first_on)[0]
    load = pl.concat(
        [
            make_intervals("a", start_at, values, minutes=720),
            make_intervals("b", start_at + timedelta(days=9), values, minutes=720),
        ]
    )
    registers = pl.concat(
        [make_register(name, zone=zone, grid_minutes=60) for name in ("a", "b", "never-came")]
    )
    now = start_at + timedelta(days=50, hours=7)
    daily = compute_daily(load, registers, now=now)
    for found, table, every in (
        (compute_weekly(daily, registers, now=now), WEEKLY_ENERGY, "1w"),
        (compute_monthly(daily, registers, now=now), MONTHLY_ENERGY, "1mo"),
    ):
        name = table.key[1]
        assert found.schema == table.polars_schema
        assert found.equals(found.sort(table.key))
        for (register_id,), mine in found.group_by("register_id", maintain_order=True):
            days = daily.filter(register_id=register_id)
            energies = days["energy_kwh"].drop_nulls()
            assert mine["energy_kwh"].sum() == pytest.approx(math.fsum(energies), rel=1e-12)
            assert mine["n_measured"].sum() == days["n_measured"].sum()
            # One after the other without a hole, from the first day on, to beyond now.
            assert mine["end_at"][:-1].equals(mine["start_at"][1:])
            assert mine["start_at"][0] <= days["start_at"][0] < mine["end_at"][0]
            assert mine["start_at"][-1] <= now < mine["end_at"][-1]
            one = mine.row(mine.height // 2, named=True)
            inside = days.filter(pl.col("local_on").dt.truncate(every) == one[name])
            known = inside["energy_kwh"].drop_nulls()
            assert one["energy_kwh"] == (
                pytest.approx(math.fsum(known), rel=1e-12) if known.len() else None
            )
    order = list(range(daily.height))
    random.shuffle(order)
    shuffled = compute_weekly(daily[order], registers.reverse(), now=now)
    assert shuffled.equals(compute_weekly(daily, registers, now=now))
