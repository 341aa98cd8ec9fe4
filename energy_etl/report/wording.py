"""Numbers, ages and absences as people read them, in one style.

Thousands by a comma, a no-break space before the unit, a dash with its reason for what is unknown:
never 0.
"""

from datetime import date, datetime
from typing import Final

from energy_etl.report.markup import Html, el, join

DASH: Final = "\u2013"
_SPACE: Final = "\u00a0"
_MINUS: Final = "\u2212"
# Below this a change is none: meters and rounding are apart by as much.
FLAT_PCT: Final = 0.5


def number(amount: float, unit: str = "", digits: int | None = None) -> str:
    """Return a number with its unit: whole from 100 on, else with one decimal."""
    if digits is None:
        digits = 0 if abs(amount) >= 99.95 else 1
    text = f"{abs(amount):,.{digits}f}"
    is_negative = amount < 0 and float(text.replace(",", "")) > 0
    return f"{_MINUS if is_negative else ''}{text}{_SPACE + unit if unit else ''}"


def percent(amount: float) -> str:
    """Return a share: 100 % is whole only when nothing is missing."""
    if 99.95 <= amount < 100:
        amount = 99.9
    return number(amount, "%", 0 if amount == 100 else 1)


def change(amount: float) -> Html:
    """Return a change in percent, with a sign and an arrow."""
    if abs(amount) < FLAT_PCT:
        return el("span", f"≈{_SPACE}{number(abs(amount), '%', 1)}", class_="flat")
    arrow, sign = ("▲", "+") if amount > 0 else ("▼", _MINUS)
    shown = f"{sign}{number(abs(amount), '%', 1 if abs(amount) < 99.95 else 0)}"
    return join([el("span", arrow, class_="arrow", aria_hidden="true"), f"{_SPACE}{shown}"])


def money(amount: float, currency: str) -> str:
    """Return an amount of money."""
    return number(amount, currency, 2)


def none(reason: str) -> Html:
    """Return a dash with the reason why there is no number."""
    return el("span", f"{DASH} ", el("small", reason), class_="none")


def age(minutes: float) -> str:
    """Return how long ago something was."""
    if minutes < 0:
        return "in the future"
    if minutes < 120:
        return f"{minutes:.0f}{_SPACE}min"
    if minutes < 2 * 1440:
        return f"{minutes / 60:.0f}{_SPACE}h"
    return f"{minutes / 1440:,.0f}{_SPACE}days"


def day(on: date) -> str:
    """Return a day, 9 Nov 2026."""
    return f"{on.day} {on:%b %Y}"


def short_day(on: date) -> str:
    """Return a day of a year that is clear, 9 Nov."""
    return f"{on.day} {on:%b}"


def instant(at: datetime) -> str:
    """Return an instant in UTC to the minute."""
    return f"{at:%Y-%m-%d %H:%M}{_SPACE}UTC"


def moment(at: datetime) -> str:
    """Return an instant of a year that is clear, in UTC, to the minute."""
    return f"{short_day(at.date()).replace(' ', _SPACE)} {at:%H:%M}"


def days(start_on: date, end_on: date) -> str:
    """Return a span of days, the last one included; `end_on` is the first day after it."""
    last_on = date.fromordinal(end_on.toordinal() - 1)
    return f"{short_day(start_on)} to {day(last_on)}"


def counted(n: int, one: str, many: str) -> str:
    """Return a count with its noun."""
    return f"{n:,}{_SPACE}{one if n == 1 else many}"
