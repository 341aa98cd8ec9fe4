"""Rows of `core.tariff`, and what a minute costs when one just looks at the clock on the wall."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from energy_etl.periods import local_day_of
from energy_etl.tables.core import TARIFF

Row = dict[str, Any]
_STEP = timedelta(minutes=10)


def tariff_row(price: float, hours: str = "00:00-24:00", **columns: Any) -> Row:
    """A mains tariff of `site` in EUR from 2000 on, open."""
    start, end = hours.split("-")
    row: Row = {
        "site_id": "site",
        "commodity": "electricity",
        "role": "mains",
        "valid_from_on": date(2000, 1, 1),
        "valid_to_on": None,
        "from_local_time": start,
        "to_local_time": end,
        "days": "all",
        "price_per_kwh": price,
        "currency": "EUR",
    }
    return row | columns


def make_tariffs(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TARIFF.polars_schema)


def price_by_the_clock(rows: Iterable[Row], zone: str, at: datetime) -> float | None:
    """The price at one instant: look at every row, and take the best of those that hold."""
    wall = at.astimezone(ZoneInfo(zone)).strftime("%H:%M")
    day = local_day_of(zone, at)
    kind = "weekend" if day.weekday() >= 5 else "weekdays"
    held = [
        row
        for row in rows
        if row["valid_from_on"] <= day
        and (row["valid_to_on"] is None or day < row["valid_to_on"])
        and row["days"] in ("all", kind)
        and row["from_local_time"] <= wall < row["to_local_time"]
    ]
    if not held:
        return None
    newest = max(row["valid_from_on"] for row in held)
    held = [row for row in held if row["valid_from_on"] == newest]
    held = [row for row in held if row["days"] != "all"] or held
    held.sort(key=lambda row: (_length(row), -_minute(row["from_local_time"])))
    return held[0]["price_per_kwh"]


def cost_by_the_clock(
    rows: Iterable[Row], zone: str, intervals: pl.DataFrame
) -> tuple[float, float]:
    """Cost and unpriced energy, the energy spread evenly over each interval.

    By steps of ten minutes: prices and clocks change at multiples of them only.
    """
    known = list(rows)
    cost = unpriced_kwh = 0.0
    for start_at, end_at, energy_kwh in intervals.select(
        "start_at", "end_at", "energy_kwh"
    ).iter_rows():
        steps = (end_at - start_at) // _STEP
        for step in range(steps):
            price = price_by_the_clock(known, zone, start_at + step * _STEP)
            if price is None:
                unpriced_kwh += energy_kwh / steps
            else:
                cost += price * energy_kwh / steps
    return cost, unpriced_kwh


def _length(row: Row) -> int:
    return _minute(row["to_local_time"]) - _minute(row["from_local_time"])


def _minute(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])
