"""UTC instants to local hours, weekdays and dates: the sandbox's own twenty lines of calendar.

Instants are integer milliseconds since 1970-01-01T00:00Z, in numpy arrays. The package's own
calendar is not used here on purpose: a mistake in it must not hide on both sides.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

MINUTE_MS = 60_000
DAY_MS = 86_400_000
EPOCH_ON = date(1970, 1, 1)

_PROBE = 48  # at most half a day of quarter hours: no zone changes its clock twice in that time


@dataclass(frozen=True)
class LocalTime:
    """Local calendar of a row of instants: day number since 1970-01-01, minute of day, weekday."""

    day: NDArray[np.int64]
    minute: NDArray[np.int64]
    weekday: NDArray[np.int64]


def to_ms(at: datetime) -> int:
    """Return an aware instant as milliseconds since the epoch."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def from_ms(at_ms: int) -> datetime:
    """Return milliseconds since the epoch as an aware UTC instant."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(at_ms))


def offset_ms(zone: str, at_ms: int) -> int:
    """Return the zone's UTC offset at one instant."""
    offset = from_ms(at_ms).astimezone(ZoneInfo(zone)).utcoffset()
    return int((offset or timedelta()) / timedelta(milliseconds=1))


def local_time(zone: str, at_ms: NDArray[np.int64]) -> LocalTime:
    """Return the local calendar of sorted instants that lie at most 60 minutes apart."""
    offsets = np.empty(len(at_ms), dtype=np.int64)
    for start in range(0, len(at_ms), _PROBE):
        part = at_ms[start : start + _PROBE]
        first, last = offset_ms(zone, part[0]), offset_ms(zone, part[-1])
        row = first if first == last else [offset_ms(zone, each) for each in part]
        offsets[start : start + _PROBE] = row
    wall_ms = at_ms + offsets
    day = wall_ms // DAY_MS
    return LocalTime(day, (wall_ms % DAY_MS) // MINUTE_MS, (day + 3) % 7)


def local_midnight_ms(zone: str, on: date) -> int:
    """Return the first instant of a local date.

    Where midnight is skipped (Sao Paulo, 2018-11-04) `fold=0` names the transition itself, which
    is the date's first instant.
    """
    return to_ms(datetime.combine(on, time(), tzinfo=ZoneInfo(zone)).astimezone(UTC))


def midnight_of_day_ms(zone: str, day: int) -> int:
    """Return the first instant of a local day that is given by its number since 1970-01-01."""
    return local_midnight_ms(zone, EPOCH_ON + timedelta(days=int(day)))


def local_date(zone: str, at_ms: int) -> date:
    """Return the local date of an instant."""
    return from_ms(at_ms).astimezone(ZoneInfo(zone)).date()


def add_months(on: date, months: int) -> date:
    """Return the first day of the month that lies `months` away from the month of `on`."""
    index = on.year * 12 + on.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)
