"""The sandbox's own calendar, against days whose length is known."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.sandbox.calendar import (
    DAY_MS,
    add_months,
    from_ms,
    local_date,
    local_midnight_ms,
    local_time,
    to_ms,
)

ZONES = ["Europe/Rome", "Europe/Dublin", "America/New_York", "Australia/Lord_Howe"]


@pytest.mark.parametrize(
    ("zone", "on", "n_slots"),
    [
        ("Europe/Rome", date(2025, 3, 29), 96),
        ("Europe/Rome", date(2025, 3, 30), 92),
        ("Europe/Rome", date(2025, 10, 26), 100),
        ("America/New_York", date(2025, 3, 9), 92),
        ("America/New_York", date(2025, 11, 2), 100),
        ("Australia/Lord_Howe", date(2025, 10, 5), 94),
        ("Australia/Lord_Howe", date(2025, 4, 6), 98),
        ("America/Sao_Paulo", date(2018, 11, 4), 92),  # midnight itself is skipped
    ],
)
def test_day_of_a_clock_change_has_its_own_number_of_slots(zone, on, n_slots):
    start, end = (local_midnight_ms(zone, on + timedelta(days=n)) for n in (0, 1))
    assert (end - start) / 900_000 == n_slots
    local = local_time(zone, np.arange(start, end, 900_000))
    assert set(local.day.tolist()) == {(on - date(1970, 1, 1)).days}
    assert set(local.weekday.tolist()) == {on.weekday()}


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(ZONES), st.integers(to_ms(datetime(2024, 1, 1, tzinfo=UTC)) // DAY_MS, 22_000)
)
def test_any_two_days_agree_with_zoneinfo_slot_by_slot(zone, day):
    at_ms = np.arange(day * DAY_MS, (day + 2) * DAY_MS, 900_000)
    local = local_time(zone, at_ms)
    for at, slot_day, minute in zip(at_ms, local.day, local.minute, strict=True):
        wall = from_ms(at).astimezone(ZoneInfo(zone))
        assert minute == wall.hour * 60 + wall.minute
        assert date(1970, 1, 1) + timedelta(days=int(slot_day)) == wall.date()
        assert local_date(zone, at) == wall.date()


def test_months_are_added_across_years():
    assert add_months(date(2025, 1, 31), -1) == date(2024, 12, 1)
    assert add_months(date(2024, 12, 15), 1) == date(2025, 1, 1)
    assert add_months(date(2025, 3, 31), -12) == date(2024, 3, 1)
