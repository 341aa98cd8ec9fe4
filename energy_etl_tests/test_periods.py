"""Local days and the six periods: the worked example, clock changes, every zone there is."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import ConfigurationError, TransformError
from energy_etl.periods import (
    PERIODS,
    Period,
    PeriodWindow,
    days_between,
    local_day_bounds,
    local_day_of,
    local_hours,
    period_window,
    year_ago_days,
)

ZONES = sorted(zoneinfo.available_timezones())


def bounds_of(start_on: date | None, end_on: date | None) -> tuple[datetime, datetime]:
    assert start_on is not None
    assert end_on is not None
    return local_day_bounds("Europe/Rome", start_on)[0], local_day_bounds("Europe/Rome", end_on)[0]


def hours(bounds: tuple[datetime, datetime]) -> float:
    return (bounds[1] - bounds[0]) / timedelta(hours=1)


def test_worked_example_of_last_week_has_169_against_168_hours():
    now = datetime.fromisoformat("2026-10-28T09:00+01:00")
    window = period_window("last-week", local_day_of("Europe/Rome", now))
    current = bounds_of(window.start_on, window.end_on)
    assert current == (
        datetime(2026, 10, 18, 22, tzinfo=UTC),
        datetime(2026, 10, 25, 23, tzinfo=UTC),
    )
    assert hours(current) == 169
    assert hours(bounds_of(window.previous_start_on, window.previous_end_on)) == 168


def test_worked_example_of_this_month_has_649_against_648_hours():
    now = datetime.fromisoformat("2026-10-28T09:00+01:00")
    window = period_window("this-month", local_day_of("Europe/Rome", now))
    current = bounds_of(window.start_on, window.end_on)
    assert current == (
        datetime(2026, 9, 30, 22, tzinfo=UTC),
        datetime(2026, 10, 27, 23, tzinfo=UTC),
    )
    assert hours(current) == 649
    assert hours(bounds_of(window.previous_start_on, window.previous_end_on)) == 648


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("yesterday", ("10-27", "10-28", "10-26", "10-27", "10-27")),
        ("last-seven-days", ("10-21", "10-28", "10-14", "10-21", "10-21")),
        ("last-week", ("10-19", "10-26", "10-12", "10-19", "10-19")),
        ("this-week", ("10-26", "10-28", "10-19", "10-21", "10-26")),
        ("last-month", ("09-01", "10-01", "08-01", "09-01", "09-01")),
        ("this-month", ("10-01", "10-28", "09-01", "09-28", "10-01")),
    ],
)
def test_each_period_seen_from_a_wednesday_has_the_windows_of_the_rules(
    period: Period, expected: tuple[str, ...]
):
    days = [date.fromisoformat(f"2026-{day}") for day in expected]
    assert period_window(period, date(2026, 10, 28)) == PeriodWindow(*days)


def test_this_month_longer_than_the_month_before_is_compared_with_all_of_it():
    window = period_window("this-month", date(2026, 3, 31))
    assert (window.previous_start_on, window.previous_end_on) == (
        date(2026, 2, 1),
        date(2026, 3, 1),
    )


def test_january_looks_back_into_the_year_before():
    window = period_window("last-month", date(2026, 1, 15))
    assert (window.start_on, window.previous_start_on) == (date(2025, 12, 1), date(2025, 11, 1))


@pytest.mark.parametrize(
    ("period", "local_on"),
    [("this-week", date(2026, 10, 26)), ("this-month", date(2026, 10, 1))],
)
def test_a_period_without_a_complete_day_is_none_throughout(period: Period, local_on: date):
    assert period_window(period, local_on) == PeriodWindow(None, None, None, None, None)


@pytest.mark.parametrize(
    ("period", "local_on", "expected"),
    [
        ("last-month", "2026-10-28", ("2025-09-01", "2025-10-01")),
        ("last-month", "2025-03-05", ("2024-02-01", "2024-03-01")),
        ("last-month", "2024-03-05", ("2023-02-01", "2023-03-01")),
        ("last-month", "2026-01-15", ("2024-12-01", "2025-01-01")),
        ("this-month", "2026-10-28", ("2025-10-01", "2025-10-28")),
        ("this-month", "2024-02-29", ("2023-02-01", "2023-03-01")),
        ("last-week", "2026-10-28", ("2025-10-20", "2025-10-27")),
        ("this-week", "2026-10-28", ("2025-10-27", "2025-10-29")),
        ("last-seven-days", "2026-10-28", ("2025-10-22", "2025-10-29")),
        ("yesterday", "2024-03-01", ("2023-03-02", "2023-03-03")),
    ],
)
def test_a_year_ago_means_the_same_dates_of_a_month_and_the_same_weekdays_of_a_week(
    period: Period, local_on: str, expected: tuple[str, str]
):
    days = tuple(date.fromisoformat(day) for day in expected)
    assert year_ago_days(period, date.fromisoformat(local_on)) == days


@given(st.sampled_from(PERIODS), st.dates(min_value=date(1990, 1, 1), max_value=date(2090, 1, 1)))
@settings(max_examples=100, deadline=None)
def test_a_year_ago_of_any_day_is_as_long_but_for_a_leap_day(period: Period, local_on: date):
    window = period_window(period, local_on)
    start_on, end_on = year_ago_days(period, local_on)
    if window.start_on is None or window.end_on is None:
        assert (start_on, end_on) == (None, None)
        return
    assert start_on is not None
    assert end_on is not None
    shift_days = (window.start_on - start_on).days
    assert shift_days in ((365, 366) if period in ("last-month", "this-month") else (364,))
    longer = (window.end_on - window.start_on) - (end_on - start_on)
    assert abs(longer.days) <= (1 if period == "last-month" else 0)


@given(st.sampled_from(PERIODS), st.dates(min_value=date(1990, 1, 1), max_value=date(2090, 1, 1)))
@settings(max_examples=100, deadline=None)
def test_windows_of_any_day_hold_complete_days_only_and_follow_each_other(
    period: Period, local_on: date
):
    window = period_window(period, local_on)
    if window.start_on is None:
        assert period in ("this-week", "this-month")
        return
    assert window.end_on is not None
    assert window.previous_start_on is not None
    assert window.previous_end_on is not None
    assert window.previous_whole_end_on == window.start_on
    assert window.previous_start_on < window.previous_end_on <= window.start_on < window.end_on
    assert window.end_on <= local_on
    if period not in ("last-month", "this-month"):
        length = window.end_on - window.start_on
        assert window.previous_end_on - window.previous_start_on == length


@pytest.mark.parametrize(
    ("zone", "day", "start", "length_h"),
    [
        ("Europe/Rome", "2026-03-29", "2026-03-28T23:00", 23),
        ("Europe/Rome", "2026-10-25", "2026-10-24T22:00", 25),
        ("Europe/Rome", "2026-10-26", "2026-10-25T23:00", 24),
        ("America/New_York", "2026-03-08", "2026-03-08T05:00", 23),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00", 25),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30", 23.5),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00", 23),
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00", 25),
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30", 23.5),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00", 0),
        ("Asia/Kolkata", "2026-01-01", "2025-12-31T18:30", 24),
    ],
)
def test_a_local_day_around_a_clock_change_has_its_real_length(
    zone: str, day: str, start: str, length_h: float
):
    start_at, end_at = local_day_bounds(zone, date.fromisoformat(day))
    assert start_at == datetime.fromisoformat(f"{start}+00:00")
    assert (end_at - start_at) / timedelta(hours=1) == length_h


def test_midnight_that_happens_twice_begins_the_day_the_first_time():
    # Havana went from 01:00 back to 00:00 on 2026-11-01: 00:30 happened at 04:30 and 05:30 UTC.
    start_at, end_at = local_day_bounds("America/Havana", date(2026, 11, 1))
    assert start_at == datetime(2026, 11, 1, 4, tzinfo=UTC)
    assert end_at - start_at == timedelta(hours=25)


def test_time_repeated_across_midnight_stays_with_the_later_date():
    # St John's went from 00:01 back to 23:01 on 2006-10-29.
    repeated = datetime(2006, 10, 29, 3, 0, tzinfo=UTC)
    assert repeated.astimezone(zoneinfo.ZoneInfo("America/St_Johns")).date() == date(2006, 10, 28)
    assert local_day_of("America/St_Johns", repeated) == date(2006, 10, 29)


@given(
    st.sampled_from(ZONES),
    st.datetimes(
        min_value=datetime(1950, 1, 1), max_value=datetime(2037, 12, 30), timezones=st.just(UTC)
    ),
)
@settings(max_examples=150, deadline=None)
def test_days_of_any_zone_partition_time(zone: str, instant: datetime):
    day = local_day_of(zone, instant)
    start_at, end_at = local_day_bounds(zone, day)
    assert start_at <= instant < end_at
    assert local_day_bounds(zone, day - timedelta(days=1))[1] == start_at
    assert local_day_bounds(zone, day + timedelta(days=1))[0] == end_at
    info = zoneinfo.ZoneInfo(zone)
    assert start_at.astimezone(info).date() == day
    assert (start_at - timedelta(microseconds=1)).astimezone(info).date() < day


def test_days_between_leaves_out_the_end():
    assert days_between(date(2026, 2, 27), date(2026, 3, 1)) == [
        date(2026, 2, 27),
        date(2026, 2, 28),
    ]
    assert days_between(date(2026, 3, 1), date(2026, 3, 1)) == []


@pytest.mark.parametrize("zone", ["", "Europe", "Europe/Rom", "../Rome", "\0"])
def test_an_unknown_zone_is_a_configuration_error_that_names_it(zone: str):
    with pytest.raises(ConfigurationError, match=r"no IANA time zone: .* sites\.csv") as caught:
        local_day_bounds(zone, date(2026, 1, 1))
    assert repr(zone) in str(caught.value)


def test_an_instant_without_an_offset_is_refused():
    with pytest.raises(TransformError, match="no offset"):
        local_day_of("Europe/Rome", datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("zone", "day", "first", "last"),
    [
        ("Europe/Rome", "2026-03-29", [0, 1, 3, 4], 23),
        ("Europe/Rome", "2026-10-25", [0, 1, 2, 2, 3], 23),
        ("America/New_York", "2026-11-01", [0, 1, 1, 2], 23),
        ("America/Sao_Paulo", "2018-11-04", [1, 2, 3], 23),
        ("Asia/Kathmandu", "2026-03-29", [0, 1, 2], 23),
    ],
)
def test_hours_of_a_day_are_those_on_the_wall(zone: str, day: str, first: list[int], last: int):
    found = [hour for _, hour in local_hours(zone, date.fromisoformat(day))]
    assert found[: len(first)] == first
    assert found[-1] == last


def test_a_change_by_half_an_hour_repeats_or_skips_half_an_hour():
    def lengths(day: date) -> list[tuple[int, float]]:
        starts = local_hours("Australia/Lord_Howe", day)
        ends = [at for at, _ in starts[1:]] + [local_day_bounds("Australia/Lord_Howe", day)[1]]
        return [
            (hour, (end - at) / timedelta(minutes=1))
            for (at, hour), end in zip(starts, ends, strict=True)
        ]

    assert lengths(date(2026, 4, 5))[:4] == [(0, 60.0), (1, 60.0), (1, 30.0), (2, 60.0)]
    assert lengths(date(2026, 10, 4))[:4] == [(0, 60.0), (1, 60.0), (2, 30.0), (3, 60.0)]


def test_a_date_that_a_zone_left_out_has_no_hours():
    assert local_hours("Pacific/Apia", date(2011, 12, 30)) == []


@given(st.sampled_from(ZONES), st.dates(min_value=date(1995, 1, 1), max_value=date(2037, 1, 1)))
@settings(max_examples=100, deadline=None)
def test_hours_of_any_day_follow_each_other_and_show_their_number(zone: str, day: date):
    start_at, end_at = local_day_bounds(zone, day)
    found = local_hours(zone, day)
    starts = [at for at, _ in found]
    assert starts == sorted(set(starts))
    assert starts[:1] == [start_at][: len(found)]
    for (at, hour), until in zip(found, [*starts[1:], end_at], strict=True):
        assert timedelta(0) < until - at <= timedelta(hours=1)
        info = zoneinfo.ZoneInfo(zone)
        shown = {
            moment.astimezone(info).hour
            for moment in (at, at + (until - at) / 2, until - timedelta(microseconds=1))
        }
        assert shown == {hour}
