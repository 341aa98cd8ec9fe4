"""Rows of `core.tariff`, and what energy costs when one just looks at the clock on the wall."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from energy_etl.periods import local_day_of
from energy_etl.tables.core import TARIFF

Row = dict[str, Any]
_MINUTE = timedelta(minutes=1)


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


def cost_by_the_clock(
    rows: Iterable[Row], zone: str, intervals: pl.DataFrame
) -> tuple[float, float]:
    """Cost and unpriced energy minute by minute, the energy spread evenly over each interval."""
    known = list(rows)
    info = ZoneInfo(zone)
    prices: dict[tuple[date, str], float | None] = {}
    cost = unpriced_kwh = 0.0
    columns = intervals.select("start_at", "end_at", "energy_kwh")
    for start_at, end_at, energy_kwh in columns.iter_rows():
        minutes = (end_at - start_at) // _MINUTE
        for minute in range(minutes):
            at = start_at + minute * _MINUTE
            shown = local_day_of(zone, at), at.astimezone(info).strftime("%H:%M")
            if shown not in prices:
                prices[shown] = _price(known, *shown)
            price = prices[shown]
            if price is None:
                unpriced_kwh += energy_kwh / minutes
            else:
                cost += price * energy_kwh / minutes
    return cost, unpriced_kwh


def _price(rows: list[Row], day: date, wall: str) -> float | None:
    """The price when the clock shows this: look at every row, take the best of those that hold."""
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


def _length(row: Row) -> int:
    return _minute(row["to_local_time"]) - _minute(row["from_local_time"])


def _minute(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])
