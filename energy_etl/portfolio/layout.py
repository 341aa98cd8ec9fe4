"""The CSV files of the portfolio: names, columns, and what a cell may hold. Nothing is read here.

A cell's rule is a function from text to value that raises `ValueError` with half a sentence
("is no number: write 12.5"); the reader puts file, line and column in front.
"""

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from energy_etl.tables import Table, core, push
from energy_etl.units import COMMODITIES, UNITS

Rule = Callable[[str], Any]

ROLES: Final = ("mains", "submeter", "appliance", "export", "production", "sensor")
KINDS: Final = ("cumulative", "interval", "instant")
STAMPS: Final = ("start", "end", "instant")
CONTENTS: Final = ("cumulative_wh", "interval", "sample")
# Content of a stream that no register feeds: its packets come from files.
FROM_FILES: Final = "file"
DAYS: Final = ("all", "weekdays", "weekend")
PHASES: Final = ("L1", "L2", "L3")
EDIT_ACTIONS: Final = ("drop", "keep", "replace")
PRICED_ROLES: Final = ("mains", "export")
PRICED_COMMODITIES: Final = tuple(name for name in COMMODITIES if name != "temperature")

_MINUTES_PER_DAY: Final = 24 * 60


@dataclass(frozen=True)
class Cell:
    """One column.

    Attributes:
        rule: of its cells.
        is_required: False when a cell may be empty, and the column may be missing.
        default: what an empty cell means; None: nothing is known.
    """

    rule: Rule
    is_required: bool = True
    default: str | None = None


@dataclass(frozen=True)
class FileLayout:
    """One file.

    Attributes:
        file: its name.
        table: the table it fills.
        cells: its columns in order.
        thing: what its vendor columns (`<thing>_id_<vendor>`) identify; None: it has none.
        refers_to: column -> file in which the same id must stand.
        is_needed: False when the file may be missing.
        renamed: a column as it was called once -> its name now.
    """

    file: str
    table: Table
    cells: dict[str, Cell]
    thing: str | None
    refers_to: dict[str, str]
    is_needed: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)

    def vendor_of(self, column: str) -> str | None:
        """Return the vendor of a vendor column, None for any other column."""
        found = re.fullmatch(rf"{self.thing}_id_([a-z][a-z0-9]*)", column) if self.thing else None
        return found[1] if found else None


def one_of(words: Collection[str]) -> Rule:
    """Return the rule that a cell is one of the words."""

    def rule(text: str) -> str:
        if text not in words:
            near = difflib.get_close_matches(text, words, n=1)
            advice = f"did you mean {near[0]}?" if near else f"write one of {', '.join(words)}"
            raise ValueError(f"is not known: {advice}")
        return text

    return rule


def text(given: str) -> str:
    """Any text."""
    return given


def identifier(given: str) -> str:
    """An id: printable and without blanks, for it ends up in file names, logs and SQL."""
    if not given.isprintable() or any(sign.isspace() for sign in given):
        raise ValueError("has a blank or an unprintable sign: write an id without them")
    return given


def zone(given: str) -> str:
    """An IANA time zone."""
    try:
        ZoneInfo(given)
    except (ValueError, OSError, KeyError) as error:
        near = difflib.get_close_matches(given, available_timezones(), n=1)
        advice = f"did you mean {near[0]}?" if near else "write one such as Europe/Berlin"
        raise ValueError(f"is no IANA time zone: {advice}") from error
    return given


def currency(given: str) -> str:
    """Three capital letters."""
    if not re.fullmatch(r"[A-Z]{3}", given):
        raise ValueError("is no ISO 4217 currency: write three capitals such as EUR")
    return given


def number(given: str) -> float:
    """A finite number with a decimal point."""
    try:
        # Python would read 1_000 as a thousand; a person may have meant a point.
        value = float(given if "_" not in given else "")
    except ValueError as error:
        raise ValueError("is no number: write one such as 12.5, with a point") from error
    if not math.isfinite(value):
        raise ValueError("is no finite number: write one such as 12.5, or leave the cell empty")
    return value


def not_negative(given: str) -> float:
    """What a counter can show: 0 or above."""
    if (value := number(given)) < 0:
        raise ValueError("is below 0, which no counter shows: write its reading")
    return value


def positive(given: str) -> float:
    """A number above 0."""
    if (value := number(given)) <= 0:
        raise ValueError("is not above 0: write a positive number")
    return value


def digits(given: str) -> int:
    """Integer digits of a counter."""
    if not (given.isascii() and given.isdigit() and 1 <= int(given) <= 15):
        raise ValueError("is no count of digits: write a whole number from 1 to 15")
    return int(given)


def minutes(given: str) -> int:
    """A length in minutes that divides a day."""
    is_whole = given.isascii() and given.isdigit()
    if not is_whole or int(given) == 0 or _MINUTES_PER_DAY % int(given):
        raise ValueError("is no length that divides a day: write minutes such as 15 or 60")
    return int(given)


def truth(given: str) -> bool:
    """`true` or `false`."""
    if given not in ("true", "false"):
        raise ValueError("is neither true nor false: write one of the two")
    return given == "true"


def instant(given: str) -> datetime:
    """An ISO 8601 instant with its offset."""
    try:
        value = datetime.fromisoformat(given)
    except ValueError as error:
        raise ValueError("is no instant: write one such as 2024-03-01T00:00:00Z") from error
    if value.tzinfo is None:
        raise ValueError("has no offset: write one such as 2024-03-01T00:00:00Z")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(
            "is beyond the calendar: write one such as 2024-03-01T00:00:00Z"
        ) from error


def day(given: str) -> date:
    """An ISO 8601 date."""
    try:
        return date.fromisoformat(given)
    except ValueError as error:
        raise ValueError("is no date: write one such as 2024-03-01") from error


def local_time(given: str) -> str:
    """HH:MM, 24:00 for the end of the day."""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00", given):
        raise ValueError("is no time of day: write HH:MM, from 00:00 to 24:00")
    return given


SITES: Final = FileLayout(
    "sites.csv",
    core.SITE,
    {
        "site_id": Cell(identifier),
        "name": Cell(text),
        "zone": Cell(zone),
        "currency": Cell(currency),
        "area_m2": Cell(positive, is_required=False),
        "use": Cell(text, is_required=False),
    },
    thing="site",
    refers_to={},
    is_needed=True,
)
METERS: Final = FileLayout(
    "meters.csv",
    core.METER,
    {
        "meter_id": Cell(identifier),
        "site_id": Cell(identifier),
        "name": Cell(text),
        "commodity": Cell(one_of(COMMODITIES)),
    },
    thing="meter",
    refers_to={"site_id": "sites.csv"},
    is_needed=True,
)
REGISTERS: Final = FileLayout(
    "registers.csv",
    core.REGISTER,
    {
        "register_id": Cell(identifier),
        "meter_id": Cell(identifier),
        "role": Cell(one_of(ROLES)),
        "appliance": Cell(text, is_required=False),
        "kind": Cell(one_of(KINDS)),
        "unit": Cell(one_of(UNITS)),
        "grid_minutes": Cell(minutes),
        "digits": Cell(digits, is_required=False),
        "rating_native_per_hour": Cell(positive, is_required=False),
        "resolution_native": Cell(positive),
        "stamp": Cell(one_of(STAMPS)),
        "is_primary": Cell(truth),
        "phase": Cell(one_of(PHASES), is_required=False),
        "nominal_native": Cell(positive, is_required=False),
    },
    thing="register",
    refers_to={"meter_id": "meters.csv"},
    is_needed=True,
)
EXCHANGES: Final = FileLayout(
    "exchanges.csv",
    core.EXCHANGE,
    {
        "register_id": Cell(identifier),
        "exchanged_at": Cell(instant),
        "final_native": Cell(not_negative),
        "initial_native": Cell(not_negative),
    },
    thing=None,
    refers_to={"register_id": "registers.csv"},
)
GAPS: Final = FileLayout(
    "gaps.csv",
    core.GAP,
    {
        "register_id": Cell(identifier),
        "from_at": Cell(instant),
        "to_at": Cell(instant),
        "reason": Cell(text, is_required=False),
    },
    thing=None,
    refers_to={"register_id": "registers.csv"},
)
MANUAL_EDITS: Final = FileLayout(
    "manual_edits.csv",
    core.MANUAL_EDIT,
    {
        "register_id": Cell(identifier),
        "from_at": Cell(instant),
        "to_at": Cell(instant),
        "action": Cell(one_of(EDIT_ACTIONS)),
        "reading_native": Cell(number, is_required=False),
        "reason": Cell(text),
    },
    thing=None,
    refers_to={"register_id": "registers.csv"},
)
MEASURES: Final = FileLayout(
    "measures.csv",
    core.MEASURE,
    {
        "measure_id": Cell(identifier),
        "register_id": Cell(identifier),
        "name": Cell(text),
        "baseline_start_on": Cell(day),
        "baseline_end_on": Cell(day),
        "reporting_start_on": Cell(day),
        "reporting_end_on": Cell(day, is_required=False),
    },
    thing=None,
    refers_to={"register_id": "registers.csv"},
)
WEATHER: Final = FileLayout(
    "weather.csv",
    core.WEATHER,
    {
        "site_id": Cell(identifier),
        "local_on": Cell(day),
        "temperature_degc": Cell(number),
    },
    thing=None,
    refers_to={"site_id": "sites.csv"},
)
TARIFFS: Final = FileLayout(
    "tariffs.csv",
    core.TARIFF,
    {
        "site_id": Cell(identifier),
        "commodity": Cell(one_of(PRICED_COMMODITIES), is_required=False, default="electricity"),
        "role": Cell(one_of(PRICED_ROLES), is_required=False, default="mains"),
        "valid_from_on": Cell(day),
        "valid_to_on": Cell(day, is_required=False),
        "from_local_time": Cell(local_time),
        "to_local_time": Cell(local_time),
        "days": Cell(one_of(DAYS)),
        "price_per_kwh": Cell(number),
        # Empty: the currency of the site.
        "currency": Cell(currency, is_required=False),
    },
    thing=None,
    refers_to={"site_id": "sites.csv"},
    renamed={"price_eur_per_kwh": "price_per_kwh"},
)
STREAMS: Final = FileLayout(
    "streams.csv",
    push.STREAM,
    {
        "stream_id": Cell(identifier),
        # Empty: files feed it.
        "register_id": Cell(identifier, is_required=False),
        "field": Cell(identifier),
        "content": Cell(one_of((*CONTENTS, FROM_FILES))),
        "interval_minutes": Cell(minutes),
        "credential": Cell(identifier),
        "push_from_at": Cell(instant, is_required=False),
        "estimates": Cell(one_of(("send", "hold")), is_required=False, default="send"),
        "is_historical": Cell(truth, is_required=False, default="false"),
        "zone": Cell(zone, is_required=False),
    },
    thing=None,
    refers_to={"register_id": "registers.csv"},
)
STREAM_FIELDS: Final = FileLayout(
    "stream_fields.csv",
    push.STREAM_FIELD,
    {
        "stream_id": Cell(identifier),
        "field": Cell(identifier),
        "register_id": Cell(identifier),
        "content": Cell(one_of(CONTENTS)),
    },
    thing=None,
    refers_to={"stream_id": "streams.csv", "register_id": "registers.csv"},
)

# In the order in which one refers to another.
FILES: Final = (
    SITES,
    METERS,
    REGISTERS,
    EXCHANGES,
    GAPS,
    MANUAL_EDITS,
    TARIFFS,
    MEASURES,
    WEATHER,
    STREAMS,
    STREAM_FIELDS,
)
