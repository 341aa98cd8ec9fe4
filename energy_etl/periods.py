"""Site-local days in UTC, and the six named periods with what each is compared with.

Only the standard library and the zone files: frames belong in `transform/calendar.py` and
`transform/windows.py`. `now` is always an argument; nothing here reads a clock.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from energy_etl.errors import ConfigurationError, TransformError

Period = Literal[
    "yesterday", "last-seven-days", "last-week", "this-week", "last-month", "this-month"
]
PERIODS: Final[tuple[Period, ...]] = get_args(Period)

ONE_DAY: Final = timedelta(days=1)
ONE_HOUR: Final = timedelta(hours=1)
_FIFTY_TWO_WEEKS: Final = timedelta(weeks=52)
_ONE_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PeriodWindow:
    """The local days of a period; every end is the first day after the window.

    Attributes:
        start_on: first local day; None when the window is empty (this-week on a Monday), and
            then all others are None too.
        end_on: first local day after it.
        previous_start_on: first local day of what it is compared with.
        previous_end_on: first local day after that; for this-week and this-month the same
            elapsed part.
        previous_whole_end_on: first local day after the whole previous period.
    """

    start_on: date | None
    end_on: date | None
    previous_start_on: date | None
    previous_end_on: date | None
    previous_whole_end_on: date | None


_EMPTY: Final = PeriodWindow(None, None, None, None, None)


def load_zone(zone: str) -> ZoneInfo:
    """Return the IANA zone; raise ConfigurationError when there is none of that name."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"The zone {zone!r} is no IANA time zone: write one like Europe/Rome for the site "
            "in sites.csv."
        ) from error


def local_day_bounds(zone: str, day: date) -> tuple[datetime, datetime]:
    """Return [first instant of the local date, first instant of the next) in UTC.

    23, 24 or 25 hours; 23.5 and 24.5 at Lord Howe; 0 for a date that a zone left out (Apia,
    2011-12-30). The days of a zone follow each other without a hole or an overlap: where a
    clock is put back across midnight, the repeated time stays with the later date.

    Raises:
        ConfigurationError: the zone is unknown.
    """
    return _day_start(zone, day), _day_start(zone, day + ONE_DAY)


def local_day_of(zone: str, instant: datetime) -> date:
    """Return the local day whose bounds hold the instant.

    Raises:
        ConfigurationError: the zone is unknown.
        TransformError: the instant has no offset; it would be read in the machine's own zone.
    """
    if instant.tzinfo is None:
        raise TransformError(
            f"The instant {instant.isoformat()} has no offset, so its local day is unknown: pass "
            "an aware UTC datetime."
        )
    day = instant.astimezone(load_zone(zone)).date()
    # After a clock went back across midnight the wall shows the older date once more.
    while instant >= _day_start(zone, day + ONE_DAY):
        day += ONE_DAY
    return day


def local_hours(zone: str, day: date) -> list[tuple[datetime, int]]:
    """Return the start in UTC and the number on the wall clock of each hour of a local day.

    An hour begins where the wall shows a whole one and where the clock is changed, and ends where
    the next one or the next day begins; so the repeated hour of autumn comes twice, the skipped one
    of spring not at all, and at Lord Howe half an hour of it. None for a date that a zone left out.

    Raises:
        ConfigurationError: the zone is unknown.
    """
    info = load_zone(zone)
    at, end = local_day_bounds(zone, day)
    offset = at.astimezone(info).utcoffset()
    if end - at == ONE_DAY and end.astimezone(info).utcoffset() == offset:
        # Nearly every day; no zone ever changed its clock twice within one.
        return [(at + hour * ONE_HOUR, hour) for hour in range(24)]
    hours = []
    while at < end:
        wall = at.astimezone(info)
        hours.append((at, wall.hour))
        passed = timedelta(minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond)
        at = min(_change_within(info, at, at + ONE_HOUR - passed), end)
    return hours


def days_between(start_on: date, end_on: date) -> list[date]:
    """Return the dates from start_on up to, not including, end_on."""
    return [start_on + timedelta(days=n) for n in range((end_on - start_on).days)]


def period_window(period: Period, local_on: date) -> PeriodWindow:
    """Return the window of a period and what it is compared with, seen from a local date.

    With D = local_on, W = Monday of D and M = first of its month, complete days only:
    yesterday [D-1, D) against the day before; last-seven-days [D-7, D) against the seven days
    before; last-week [W-7, W) against the week before; this-week [W, D) against [W-7, D-7);
    last-month against the month before; this-month [M, D) against as many days of last month,
    at most all of it.
    """
    week_on = local_on - timedelta(days=local_on.weekday())
    month_on = local_on.replace(day=1)
    last_month_on = _month_before(month_on)
    match period:
        case "yesterday":
            return _whole(local_on - ONE_DAY, local_on, local_on - 2 * ONE_DAY)
        case "last-seven-days":
            return _whole(local_on - 7 * ONE_DAY, local_on, local_on - 14 * ONE_DAY)
        case "last-week":
            return _whole(week_on - 7 * ONE_DAY, week_on, week_on - 14 * ONE_DAY)
        case "last-month":
            return _whole(last_month_on, month_on, _month_before(last_month_on))
        case "this-week":
            return _elapsed(week_on, local_on, week_on - 7 * ONE_DAY)
        case "this-month":
            return _elapsed(month_on, local_on, last_month_on)


def year_ago_days(period: Period, local_on: date) -> tuple[date | None, date | None]:
    """Return the first day, and the first day after it, of a period's counterpart a year ago.

    Months against the same month of the year before, this-month against the same dates of it; a
    window of 1 to 28 February keeps its 28 days in every year. Days and weeks against those 364
    days before, which are the same weekdays, so that a Monday stands beside a Monday. Both are
    None when the period is empty.
    """
    window = period_window(period, local_on)
    if window.start_on is None or window.end_on is None:
        return None, None
    if period == "last-month":
        start_on = window.start_on.replace(year=window.start_on.year - 1)
        return start_on, local_on.replace(year=local_on.year - 1, day=1)
    if period == "this-month":
        start_on = window.start_on.replace(year=window.start_on.year - 1)
        return start_on, start_on + (window.end_on - window.start_on)
    return window.start_on - _FIFTY_TWO_WEEKS, window.end_on - _FIFTY_TWO_WEEKS


def _whole(start_on: date, end_on: date, previous_start_on: date) -> PeriodWindow:
    return PeriodWindow(start_on, end_on, previous_start_on, start_on, start_on)


def _elapsed(start_on: date, end_on: date, previous_start_on: date) -> PeriodWindow:
    if start_on == end_on:
        return _EMPTY
    previous_end_on = min(previous_start_on + (end_on - start_on), start_on)
    return PeriodWindow(start_on, end_on, previous_start_on, previous_end_on, start_on)


def _month_before(month_on: date) -> date:
    return (month_on - ONE_DAY).replace(day=1)


@lru_cache(maxsize=65_536)
def _day_start(zone: str, day: date) -> datetime:
    """Return the first instant, in UTC, at which the zone's wall shows this date or a later one."""
    info = load_zone(zone)
    # fold=0: of a midnight that happens twice the first; of one that is skipped an instant at or
    # after the jump.
    midnight = datetime(day.year, day.month, day.day, tzinfo=info)
    start = midnight.astimezone(UTC)
    if start.astimezone(info).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return start
    # The midnight does not exist: the day begins at the jump, which lies after the same wall time
    # read with the offset that holds afterwards, and not after the one read with the old offset.
    before = midnight.replace(fold=1).astimezone(UTC) - _ONE_MICROSECOND
    while start - before > _ONE_MICROSECOND:
        middle = before + (start - before) // 2
        if middle.astimezone(info).date() >= day:
            start = middle
        else:
            before = middle
    return start


def _change_within(info: ZoneInfo, start: datetime, end: datetime) -> datetime:
    """Return the first instant after start with another offset, or end if there is none before."""
    offset = start.astimezone(info).utcoffset()
    if end.astimezone(info).utcoffset() == offset:
        return end
    while end - start > _ONE_MICROSECOND:
        middle = start + (end - start) // 2
        if middle.astimezone(info).utcoffset() == offset:
            start = middle
        else:
            end = middle
    return end
