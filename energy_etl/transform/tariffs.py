"""Tariffs -> the price of a site at every instant of its local days (`list_prices`).

A tariff speaks of the wall clock: from a time to a time, on some days, within a validity. What is
needed is a list of instants at which a price begins. The rows of `core.tariff` become a schedule
(few rows, plain Python), the schedule and the days become prices (frames). What energy costs by
them is `costs.py`.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

import polars as pl

from energy_etl.periods import load_zone
from energy_etl.tables.model import UTC_INSTANT

SITE_TARIFF: Final = ("site_id", "commodity", "role")
SATURDAY: Final = 6  # in Polars: Monday is 1

_MINUTES_PER_DAY: Final = 24 * 60
_SECONDS_PER_DAY: Final = 86_400
_ONE_MICROSECOND: Final = timedelta(microseconds=1)

_SCHEDULE_SCHEMA: Final = pl.Schema(
    {
        "site_id": pl.String(),
        "commodity": pl.String(),
        "role": pl.String(),
        "span_on": pl.Date(),
        "is_weekend": pl.Boolean(),
        "from_s": pl.Int64(),
        "to_s": pl.Int64(),
        "price_per_kwh": pl.Float64(),
        "currency": pl.String(),
        "other_price_per_kwh": pl.Float64(),
    }
)
_PIECE_SCHEMA: Final = pl.Schema(
    {
        "zone": pl.String(),
        "local_on": pl.Date(),
        "piece_at": UTC_INSTANT,
        "wall_from_s": pl.Int64(),
        "wall_to_s": pl.Int64(),
    }
)


class _Row(NamedTuple):
    """One row of `core.tariff`, with its hours in minutes of the day."""

    valid_from_on: date
    valid_to_on: date | None
    from_minute: int
    to_minute: int
    days: str
    price_per_kwh: float
    currency: str

    @property
    def rank(self) -> tuple[date, bool, int, int]:
        """Of two rows at one instant the greater wins: newer, then narrower days, then hours."""
        length = self.to_minute - self.from_minute
        return self.valid_from_on, self.days != "all", -length, self.from_minute


def build_schedule(tariffs: pl.DataFrame) -> pl.DataFrame:
    """Work out which price holds when, of all validities and kinds of day.

    Where two rows price one instant, the one with the later valid_from_on wins, then the one for
    fewer days (weekdays or weekend before all), then the one for fewer hours.

    Args:
        tariffs: `core.tariff`.

    Returns:
        For each site, commodity and role, each span of days from span_on to the next span_on and
        weekday or weekend: the day cut into [from_s, to_s) seconds on the wall clock, without a
        hole and in order. price_per_kwh and currency are null where no row holds;
        other_price_per_kwh is that of the best row that was beaten and differs, null: none.
    """
    rows: list[tuple] = []
    for key, group in tariffs.sort(SITE_TARIFF).group_by(SITE_TARIFF, maintain_order=True):
        columns = group.select(
            "valid_from_on",
            "valid_to_on",
            _minute("from_local_time"),
            _minute("to_local_time"),
            "days",
            "price_per_kwh",
            "currency",
        )
        rows.extend((*key, *each) for each in _spans([_Row(*row) for row in columns.iter_rows()]))
    return pl.DataFrame(rows, schema=_SCHEDULE_SCHEMA, orient="row")


def with_span(days: pl.DataFrame, schedule: pl.DataFrame) -> pl.DataFrame:
    """Add to rows with site_id, commodity, role and priced_on the span of the schedule they are in.

    Returns:
        The rows sorted by priced_on, with span_on and is_weekend.
    """
    spans = schedule.select(*SITE_TARIFF, "span_on").unique().sort("span_on")
    return (
        days.sort("priced_on")
        .join_asof(
            spans,
            left_on="priced_on",
            right_on="span_on",
            by=list(SITE_TARIFF),
            strategy="backward",
            check_sortedness=False,  # both are sorted just above; by groups it cannot be checked
            coalesce=False,
        )
        .with_columns(is_weekend=pl.col("priced_on").dt.weekday() >= SATURDAY)
    )


def list_prices(schedule: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """List the stretches of time within local days in which one price holds.

    A price holds by the wall clock, so a clock change moves, repeats or swallows its edges: a night
    from 23:00 to 07:00 has 7, 8 or 9 hours. Where a clock is put back across midnight the repeated
    time stays with the later date (`periods.local_day_bounds`) and has the price of its hour.

    Args:
        schedule: as `build_schedule` gives it.
        days: lane (integer), site_id, commodity, role, zone, local_on, priced_on (the date whose
            prices hold; local_on, if not a question of what if), start_at, end_at; one row per
            lane and local_on.

    Returns:
        One row per lane, day and stretch, sorted by lane and start_at: lane, local_on, start_at,
        end_at, price_per_kwh (null: no price), currency (the day's, null: it has no price at all),
        other_price_per_kwh, is_other_currency (True: priced in another currency than the day's
        first price, therefore without a price).

    Raises:
        ConfigurationError: a zone is unknown.
    """
    zone_days = days.select("zone", "local_on", "start_at", "end_at").unique(["zone", "local_on"])
    wall_from, wall_to = pl.col("wall_from_s"), pl.col("wall_to_s")
    first_s = pl.max_horizontal("from_s", "wall_from_s")
    last_s = pl.min_horizontal("to_s", "wall_to_s")
    currency_of_day = pl.col("currency").drop_nulls().first().over("lane", "local_on")
    is_other = (pl.col("currency") != currency_of_day).fill_null(value=False)
    return (
        with_span(days.drop("start_at", "end_at"), schedule)
        .join(schedule, on=[*SITE_TARIFF, "span_on", "is_weekend"])
        .join(_wall_pieces(zone_days), on=["zone", "local_on"])
        .filter(pl.col("from_s") < wall_to, pl.col("to_s") > wall_from)
        .with_columns(
            start_at=pl.col("piece_at") + pl.duration(seconds=first_s - wall_from),
            end_at=pl.col("piece_at") + pl.duration(seconds=last_s - wall_from),
        )
        .sort("lane", "start_at")
        .select(
            "lane",
            "local_on",
            "start_at",
            "end_at",
            pl.when(~is_other).then("price_per_kwh").alias("price_per_kwh"),
            currency_of_day.alias("currency"),
            "other_price_per_kwh",
            is_other.alias("is_other_currency"),
        )
    )


def _minute(column: str) -> pl.Expr:
    hours, minutes = (pl.col(column).str.slice(at, 2).cast(pl.Int64) for at in (0, 3))
    return (hours * 60 + minutes).alias(column)


def _spans(rows: list[_Row]) -> Iterator[tuple]:
    """Yield span_on, is_weekend and a segment for all days there are, of one site's rows."""
    # The last comes first off the list.
    waiting = sorted(rows, key=lambda row: row.valid_from_on, reverse=True)
    ends = {row.valid_to_on for row in rows if row.valid_to_on is not None}
    valid: list[_Row] = []
    for span_on in sorted({date.min, *(row.valid_from_on for row in rows), *ends}):
        valid = [row for row in valid if row.valid_to_on is None or row.valid_to_on > span_on]
        while waiting and waiting[-1].valid_from_on <= span_on:
            valid.append(waiting.pop())
        for is_weekend in (False, True):
            kinds = ("all", "weekend" if is_weekend else "weekdays")
            of_kind = [row for row in valid if row.days in kinds]
            yield from ((span_on, is_weekend, *each) for each in _segments(of_kind))


def _segments(rows: list[_Row]) -> list[tuple]:
    """Cut a day where the price changes: from_s, to_s, price, currency, the beaten price."""
    minutes = {0, _MINUTES_PER_DAY, *(minute for row in rows for minute in row[2:4])}
    edges = sorted(minutes)
    found: list[tuple] = []
    for start, end in pairwise(edges):
        held = sorted(
            (row for row in rows if row.from_minute <= start and row.to_minute >= end),
            key=lambda row: row.rank,
            reverse=True,
        )
        told = _told(held)
        if found and found[-1][2:] == told:
            found[-1] = (found[-1][0], end * 60, *told)
        else:
            found.append((start * 60, end * 60, *told))
    return found


def _told(held: list[_Row]) -> tuple[float | None, str | None, float | None]:
    """Return price and currency of the first row, and the first other price behind it."""
    if not held:
        return None, None, None
    best = held[0].price_per_kwh, held[0].currency
    others = [row for row in held if (row.price_per_kwh, row.currency) != best]
    return *best, others[0].price_per_kwh if others else None


def _wall_pieces(zone_days: pl.DataFrame) -> pl.DataFrame:
    """Cut local days where the wall clock jumps, or passes midnight within the day."""
    rows = [
        (zone, local_on, *piece)
        for zone, local_on, start_at, end_at in zone_days.iter_rows()
        for piece in _pieces(zone, start_at, end_at)
    ]
    return pl.DataFrame(rows, schema=_PIECE_SCHEMA, orient="row")


def _pieces(zone: str, start_at: datetime, end_at: datetime) -> Iterable[tuple]:
    """Yield the first instant and the first and last second on the wall of each piece."""
    info = load_zone(zone)
    start_at, end_at = start_at.astimezone(UTC), end_at.astimezone(UTC)
    cuts = [start_at, end_at]
    first_offset = start_at.astimezone(info).utcoffset()
    if (end_at - _ONE_MICROSECOND).astimezone(info).utcoffset() != first_offset:
        # The clock changes once in a day; its instant is a whole second.
        before, after = 0, int((end_at - start_at).total_seconds())
        while after - before > 1:
            middle = (before + after) // 2
            at = (start_at + timedelta(seconds=middle)).astimezone(info)
            before, after = (middle, after) if at.utcoffset() == first_offset else (before, middle)
        cuts.insert(1, start_at + timedelta(seconds=after))
    for piece_at, next_at in pairwise(cuts):
        wall = piece_at.astimezone(info)
        from_s = wall.hour * 3600 + wall.minute * 60 + wall.second
        left_s = int((next_at - piece_at).total_seconds())
        at = piece_at
        while left_s > 0:
            length_s = min(left_s, _SECONDS_PER_DAY - from_s)
            yield at, from_s, from_s + length_s
            at, left_s, from_s = at + timedelta(seconds=length_s), left_s - length_s, 0
