"""What Digiwatt sends; only the first level of each answer is documented.

The inner parts are modelled, not verified, so every field may be missing and every further one may
come: `Drift` counts both, and an asset check reads the count. A field of the wrong type is no drift
but an answer that cannot be used, or a slot of a series that cannot. Two shapes of the undocumented
lists are accepted.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

Sent = TypeVar("Sent", bound="_Sent")


class _Sent(BaseModel):
    model_config = ConfigDict(
        extra="allow", hide_input_in_errors=True, allow_inf_nan=False, populate_by_name=True
    )


class Drift:
    """Counts unknown and missing fields by their place in the answer."""

    def __init__(self) -> None:
        """Start with none."""
        self.counts: Counter[tuple[str, str]] = Counter()

    def look(self, place: str, sent: Sent, *, optional: Iterable[str] = ()) -> Sent:
        """Count what is unknown and what is missing in one object, and return it."""
        prefix = f"{place}." if place else ""
        for name in sent.model_extra or {}:
            self.counts[f"{prefix}{name[:80]}", "unknown"] += 1
        for name, field in type(sent).model_fields.items():
            if name not in sent.model_fields_set and name not in optional:
                self.counts[f"{prefix}{field.alias or name}", "missing"] += 1
        return sent


def _to_month(value: Any) -> Any:
    """Return the first day of `YYYY-MM`."""
    return f"{value}-01" if isinstance(value, str) and len(value) == 7 else value


def _in_our_time(start: datetime) -> datetime:
    """Refuse an instant that is nobody's reading; at the ends of the calendar no step fits."""
    if not 1970 <= start.year <= 2100:
        raise ValueError("the year is not between 1970 and 2100")
    return start


Month = Annotated[date, BeforeValidator(_to_month)]


class Figure(_Sent):
    """Consumption (kWh) or cost (EUR) of a period and its trend in percent."""

    value: float | None = None
    trend_pct: float | None = Field(None, alias="previousPeriodValueTrend")


class ApplianceTotal(_Sent):
    """One appliance's consumption in kWh."""

    appliance: str
    value: float | None = None


class Performance(_Sent):
    """This user among similar users; kWh, but Wh within savings."""

    min_consumption: float | None = Field(None, alias="minConsumption")
    max_consumption: float | None = Field(None, alias="maxConsumption")
    user_consumption: float | None = Field(None, alias="userConsumption")


class Estimate(_Sent):
    """Consumption in Wh and cost in EUR of one appliance within savings."""

    estimated_consumption: float | None = Field(None, alias="estimatedConsumption")
    estimated_cost: float | None = Field(None, alias="estimatedCost")


class Savings(_Sent):
    """The last 30 days: consumption in Wh; further appliances arrive as further members."""

    estimated_consumption: float | None = Field(None, alias="estimatedConsumption")
    estimated_cost: float | None = Field(None, alias="estimatedCost")
    performance: Performance | None = None
    washing_machine: Estimate | None = Field(None, alias="washingMachine")
    dishwasher: Estimate | None = None
    fridge: Estimate | None = None
    standby: Estimate | None = None


class MonthTotal(_Sent):
    """kWh or EUR of one month."""

    month: Month
    value: float | None = None


class Forecast(_Sent):
    """Forecast of a month's cost; without a month it is the running one's."""

    month: Month | None = None
    value: float | None = None


class CostsHistory(_Sent):
    """Costs of the last 12 months and a forecast."""

    forecast: Forecast | None = None
    costs: list[MonthTotal] = Field(default_factory=list)


class MonthOfAppliances(_Sent):
    """First shape of the yearly distribution: one object per month."""

    month: Month
    appliances: list[ApplianceTotal] = Field(default_factory=list)


class ApplianceOfMonths(_Sent):
    """Second shape of the yearly distribution: one object per appliance."""

    appliance: str
    months: list[MonthTotal] = Field(default_factory=list)


class Part(_Sent):
    """One part of a month's consumption in kWh."""

    name: str
    value: float | None = None


class CompoundMonth(_Sent):
    """A month's consumption in kWh and its parts."""

    month: Month
    total: float | None = None
    parts: list[Part] = Field(default_factory=list)


class Slot(_Sent):
    """kWh of one interval of a series; `start` carries its offset, or is epoch milliseconds."""

    start: Annotated[datetime, AfterValidator(_in_our_time)]
    value: float | None = None


class ApplianceSeries(_Sent):
    """One appliance's series; each of its values is to be a `Slot`."""

    appliance: str
    values: list[Any] = Field(default_factory=list)


YEARLY_DISTRIBUTION: Final = TypeAdapter(list[MonthOfAppliances | ApplianceOfMonths])


def unwrap(document: Any) -> Any:
    """Take the answer out of `{"status", "data"}`, which a later version puts around it."""
    if isinstance(document, dict) and "data" in document and document.keys() <= {"status", "data"}:
        return document["data"]
    return document


def parse_json(body: bytes) -> Any:
    """Return the JSON document of a body.

    Raises:
        ValueError: it is none (NaN is none either).
    """
    try:
        return unwrap(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError("no JSON") from error
