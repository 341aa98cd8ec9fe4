"""What Wattics' read and management API sends and takes.

From public clients of the vendor's developer pages. Modelled, not verified, and told only here: ids
are numbers or texts; units beside "Watt"; the names in costs; zones of raw data; what a meter is
called in `type`, `param_type` and `reading`. "Watt" stands behind ENERGY in consumptions: it is
read as Wh.
"""

import re
from datetime import date
from typing import Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from energy_etl.units import Unit

# "300500.0 Watt": a number, one blank, a unit. Groups: number, unit.
AMOUNT_PATTERN: Final = r"^(-?\d{1,15}(?:\.\d+)?(?:[eE][+-]?\d{1,2})?) (\S{1,12})$"
SLOT_PATTERN: Final = r"^([01]\d|2[0-3])h[0-5]\dm$"
TOTAL_SLOT: Final = "total"
# The unit as Wattics writes it -> ours. An energy in "Watt" is one in Wh.
UNITS_WATTICS: Final[dict[str, Unit]] = {
    "Watt": "Wh",
    "Wh": "Wh",
    "kWh": "kWh",
    "MWh": "MWh",
    "m3": "m3",
    "l": "l",
    "degC": "degC",
}
CURRENCY_PATTERN: Final = r"^[A-Z]{3}$"
_MINUTES_OF_A_YEAR: Final = 525_600
# Both were seen in clients; this one is sent. The instants are UTC.
RAW_DATA_FORMAT: Final = "%Y-%m-%d %H:%M:%S"

# Our commodity -> `type` of a meter; only "electricity" was seen.
METER_TYPES: Final[dict[str, str]] = {
    "electricity": "electricity",
    "gas": "gas",
    "water": "water",
    "heat": "heat",
    "temperature": "temperature",
}
# Our content of a stream -> `reading`; "cum" was seen for meters and "avg" for appliances.
READINGS: Final[dict[str, str]] = {"cumulative_wh": "cum", "interval": "abs", "sample": "avg"}
# All electrical fields, or one value; "all" was seen for meters and "one" for appliances.
PARAM_ALL, PARAM_ONE = "all", "one"


class _Sent(BaseModel):
    # Further members come and go; persons' names and addresses are not looked at.
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, coerce_numbers_to_str=True)


class Organization(_Sent):
    """One organization of the account."""

    id: str
    name: str | None = None


class Site(_Sent):
    """One site of an organization."""

    id: str
    organization_id: str | None = None
    name: str | None = None
    city: str | None = None
    country: str | None = None


class Meter(_Sent):
    """One meter; `reference` is the id of the stream that is pushed to it."""

    id: str
    reference: str | None = None
    name: str | None = None
    type: str | None = None
    process_sampling_rate_minutes: int | None = Field(None, ge=0, le=_MINUTES_OF_A_YEAR)
    unit: str | None = None
    wh_per_pulse: float | None = None
    reading: str | None = None


class Day(msgspec.Struct):
    """One day of consumptions: texts of a number and a unit."""

    date: str
    total_consumption: str | None = None
    consumption_by_time: dict[str, str | None] = {}


class CostDay(msgspec.Struct):
    """One day of costs: texts of a number and a currency."""

    date: str
    total_cost: str | None = None
    cost_by_time: dict[str, str | None] = {}


class RawRow(msgspec.Struct):
    """One row of raw data in W; the number is in one of two members."""

    timestamp: str
    total: float | None = None
    value: float | None = None


class _Created(_Sent):
    id: str


def created_id(body: bytes) -> str:
    """Return the id of what was created: of the object, or of the one member that holds it.

    Raises:
        ValueError: there is none in the answer.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("no JSON") from error
    if isinstance(document, dict) and "id" not in document and len(document) == 1:
        document = next(iter(document.values()))
    return _Created.model_validate(document).id


def organization_body(name: str) -> dict[str, Any]:
    """Return the body that creates an organization."""
    return {"organization": {"name": name}}


def site_body(organization_id: str, name: str, city: str = "", country: str = "") -> dict[str, Any]:
    """Return the body that creates a site; no address and no person is told."""
    return {
        "site": {
            "organization_id": _number(organization_id),
            "name": name,
            "city": city,
            "country": country,
            "address": "",
            "contact_name": "",
            "contact_email": "",
        }
    }


def meter_body(
    *,
    name: str,
    site_id: str,
    commodity: str,
    stream_id: str,
    content: str,
    is_electrical: bool,
    interval_minutes: int,
) -> dict[str, Any]:
    """Return the body that creates a meter for a stream."""
    return {
        "meter": {
            "name": name,
            "site_id": _number(site_id),
            "type": METER_TYPES[commodity],
            "reference": stream_id,
            "param_type": PARAM_ALL if is_electrical else PARAM_ONE,
            "reading": READINGS[content],
            "process_sampling_rate": interval_minutes,
        }
    }


def month_query(month_on: date) -> dict[str, str | int]:
    """Return the query of a month's consumptions or costs, slot by slot."""
    return {"month": month_on.month, "year": month_on.year, "detailed": "true"}


def _number(id_: str) -> int | str:
    """Ids were seen as numbers in bodies."""
    return int(id_) if re.fullmatch(r"\d{1,15}", id_) else id_
