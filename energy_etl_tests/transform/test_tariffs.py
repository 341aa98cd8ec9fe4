"""Which price holds when: clock changes, kinds of day, validity, contradictions."""

from datetime import date, timedelta

import polars as pl
import pytest

from energy_etl.periods import local_day_bounds
from energy_etl.transform.tariffs import build_schedule, list_prices
from energy_etl_tests.transform.tariff_frames import Row, make_tariffs, tariff_row

DAY, NIGHT = 0.30, 0.20
DAY_NIGHT = (
    tariff_row(NIGHT, "00:00-07:00"),
    tariff_row(DAY, "07:00-23:00"),
    tariff_row(NIGHT, "23:00-24:00"),
)


def prices_of(*rows: Row, zone: str = "Europe/Rome", on: date, n_days: int = 1) -> pl.DataFrame:
    """Prices of local days from `on`, with the hours of each stretch."""
    days = [on + timedelta(days=n) for n in range(n_days)]
    frame = pl.DataFrame(
        [
            {
                "lane": 0,
                "site_id": "site",
                "commodity": "electricity",
                "role": "mains",
                "zone": zone,
                "local_on": day,
                "priced_on": day,
                "start_at": local_day_bounds(zone, day)[0],
                "end_at": local_day_bounds(zone, day)[1],
            }
            for day in days
        ]
    )
    prices = list_prices(build_schedule(make_tariffs(*rows)), frame)
    hours = (pl.col("end_at") - pl.col("start_at")).dt.total_minutes() / 60
    return prices.with_columns(hours=hours)


@pytest.mark.parametrize(
    ("evening_on", "hours"),
    [(date(2024, 3, 30), 7), (date(2024, 6, 10), 8), (date(2024, 10, 26), 9)],
)
def test_night_from_23_to_7_has_7_8_or_9_hours_when_the_clock_changes(evening_on, hours):
    prices = prices_of(*DAY_NIGHT, on=evening_on, n_days=2)
    # The first stretch is the morning before, the last one the evening after.
    night = prices[1:-1].filter(price_per_kwh=NIGHT)
    assert night["hours"].sum() == hours
    assert prices.filter(price_per_kwh=DAY)["hours"].to_list() == [16.0, 16.0]


def test_edge_within_the_repeated_hour_is_passed_twice():
    rows = (tariff_row(0.1, "00:00-02:30"), tariff_row(0.2, "02:30-24:00"))
    prices = prices_of(*rows, on=date(2024, 10, 27))
    assert prices.select("price_per_kwh", "hours").rows() == [
        (0.1, 2.5),
        (0.2, 0.5),
        (0.1, 0.5),
        (0.2, 21.5),
    ]


def test_edge_within_the_skipped_hour_begins_when_the_clock_jumps():
    rows = (tariff_row(0.1, "00:00-02:30"), tariff_row(0.2, "02:30-24:00"))
    prices = prices_of(*rows, on=date(2024, 3, 31))
    assert prices.select("price_per_kwh", "hours").rows() == [(0.1, 2.0), (0.2, 21.0)]


def test_stretches_of_a_day_follow_each_other_without_a_hole_in_any_zone():
    for zone, on in (
        ("Australia/Lord_Howe", date(2024, 4, 7)),
        ("America/Sao_Paulo", date(2018, 11, 4)),
        ("America/St_Johns", date(2006, 10, 29)),
        ("Asia/Kathmandu", date(2024, 5, 5)),
    ):
        prices = prices_of(*DAY_NIGHT, zone=zone, on=on)
        start_at, end_at = local_day_bounds(zone, on)
        assert prices["start_at"].to_list()[1:] == prices["end_at"].to_list()[:-1]
        assert (prices["start_at"].min(), prices["end_at"].max()) == (start_at, end_at)


def test_validity_ends_before_its_last_day_and_a_hole_has_no_price():
    old = tariff_row(0.1, valid_to_on=date(2024, 6, 10))
    new = tariff_row(0.2, valid_from_on=date(2024, 6, 11))
    prices = prices_of(old, new, on=date(2024, 6, 9), n_days=3)
    assert prices["price_per_kwh"].to_list() == [0.1, None, 0.2]
    assert prices["currency"].to_list() == ["EUR", None, "EUR"]
    assert prices["other_price_per_kwh"].null_count() == 3


@pytest.mark.parametrize(
    ("rows", "price", "other"),
    [
        # 2024-06-08 is a Saturday.
        ((tariff_row(0.1, days="weekend"), tariff_row(0.2)), 0.1, 0.2),
        ((tariff_row(0.1, days="weekdays"), tariff_row(0.2)), 0.2, None),
        (
            (
                tariff_row(0.1, days="weekend"),
                tariff_row(0.2, valid_from_on=date(2024, 1, 1)),
            ),
            0.2,
            0.1,
        ),
        ((tariff_row(0.1, "00:00-12:00"), tariff_row(0.2)), 0.1, 0.2),
        # Said twice is no contradiction.
        ((tariff_row(0.1, "00:00-12:00"), tariff_row(0.1)), 0.1, None),
    ],
)
def test_of_two_prices_the_newer_then_the_narrower_wins(rows, price, other):
    for given in (rows, rows[::-1]):
        first = prices_of(*given, on=date(2024, 6, 8)).row(0, named=True)
        assert (first["price_per_kwh"], first["other_price_per_kwh"]) == (price, other)


def test_second_currency_of_a_day_has_no_price():
    rows = (tariff_row(0.1, "00:00-12:00"), tariff_row(0.2, "12:00-24:00", currency="HRK"))
    prices = prices_of(*rows, on=date(2024, 6, 8))
    assert prices["price_per_kwh"].to_list() == [0.1, None]
    assert prices["currency"].to_list() == ["EUR", "EUR"]
    assert prices["is_other_currency"].to_list() == [False, True]
