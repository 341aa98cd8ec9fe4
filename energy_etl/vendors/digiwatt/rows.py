"""Digiwatt's answers -> frames of its tables; pure, the same for a fetch and for a rebuild.

Numbers stay as sent, in the unit of their endpoint: kWh, but Wh in savings. A second fetch on one
local day replaces the first whole; months and disaggregation are merged by key. An answer that
cannot be read is a problem by name; unknown and missing fields become rows of
digiwatt.schema_drift.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import polars as pl
from pydantic import TypeAdapter, ValidationError

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.tables.model import Table
from energy_etl.tables.raw import QUARANTINE
from energy_etl.vendors import Problem, VendorBatch, Whole, Write
from energy_etl.vendors.digiwatt import tables, wire
from energy_etl.vendors.digiwatt.wire import Drift
from energy_etl.vendors.page_rows import NO_CONTENT

Row = dict[str, Any]
Parser = Callable[[Any, RawCall, Drift], Iterator[Row]]

_DEFAULT_STEP: Final = timedelta(hours=1)
# What one answer lists several of; the rest of a key says which answer it was.
_PARTS: Final = frozenset({"appliance", "part"})
_TOTALS: Final = TypeAdapter(list[wire.ApplianceTotal])
_MONTHS: Final = TypeAdapter(list[wire.MonthTotal])
_COMPOUND_MONTHS: Final = TypeAdapter(list[wire.CompoundMonth])
_SERIES: Final = TypeAdapter(list[wire.ApplianceSeries])


def to_batch(calls: Sequence[RawCall]) -> VendorBatch:
    """Turn the calls of one fetch into writes; what cannot be read is a problem, by name."""
    batch = VendorBatch()
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    drifts: defaultdict[tuple[str, date], Counter[tuple[str, str]]] = defaultdict(Counter)
    fetched_at: dict[tuple[str, date], datetime] = {}
    quarantined: list[Row] = []
    for call in sorted(calls, key=lambda call: call.requested_at):
        if call.endpoint not in PARSERS or call.status == NO_CONTENT:
            continue
        drift = Drift()
        try:
            parsed = _parse(call, drift)
        except MalformedError as error:
            batch.problems.append(Problem(_subject(call), error))
            continue
        for number, row in enumerate(parsed):
            reason = row.pop("reason", None)
            if reason is None:
                rows[call.endpoint].append({**row, **_about(call)})
            else:
                quarantined.append(_bad_row(call, number, reason, row))
        day = (call.endpoint, _fetched_on(call))
        drifts[day].update(drift.counts)
        fetched_at[day] = call.requested_at
    for endpoint, (table, _) in PARSERS.items():
        if rows[endpoint]:
            frame = pl.DataFrame(
                [{name: row.get(name) for name in table.polars_schema} for row in rows[endpoint]],
                schema=table.polars_schema,
            ).unique(subset=table.key, keep="last", maintain_order=True)
            whole = [name for name in table.key if name not in _PARTS]
            # An appliance that an answer names no more must not stay beside the others.
            is_in_parts = len(whole) < len(table.key) and table.time_column is None
            how = Whole(frame.select(whole).unique()) if is_in_parts else "merge"
            batch.writes.append(Write(table, frame, how))
    drift_frame = _drift_frame(drifts, fetched_at)
    if drift_frame.height:
        batch.writes.append(Write(tables.SCHEMA_DRIFT, drift_frame, "merge"))
    batch.quarantine = pl.DataFrame(quarantined, schema=QUARANTINE.polars_schema)
    return batch


def _parse(call: RawCall, drift: Drift) -> list[Row]:
    _, parser = PARSERS[call.endpoint]
    try:
        return list(parser(wire.parse_json(call.body), call, drift))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        fault = faults[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the answer"
        cause = f"{place}: {fault['msg']}"
    except ValueError as error:
        cause = str(error)
    raise MalformedError(
        f"digiwatt {_subject(call)} (request {call.request_id}) cannot be read ({cause}): nothing "
        "of it was used, run the fetch again, and report it if it stays so."
    )


def _figure(document: Any, call: RawCall, drift: Drift, column: str) -> Iterator[Row]:
    figure = drift.look("", wire.Figure.model_validate(document))
    yield {column: figure.value, "trend_pct": figure.trend_pct}


def _consumption(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    return _figure(document, call, drift, "consumption_kwh")


def _costs(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    return _figure(document, call, drift, "cost_eur")


def _distribution(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    for item in _TOTALS.validate_python(document):
        total = drift.look("[]", item)
        yield {"appliance": total.appliance, "consumption_kwh": total.value}


def _performance(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    found = drift.look("", wire.Performance.model_validate(document))
    yield {
        "min_consumption_kwh": found.min_consumption,
        "max_consumption_kwh": found.max_consumption,
        "user_consumption_kwh": found.user_consumption,
    }


def _savings(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    savings = drift.look("", wire.Savings.model_validate(document))
    performance = savings.performance
    if performance is not None:
        drift.look("performance", performance)
    yield {
        "part": "total",
        "estimated_consumption_wh": savings.estimated_consumption,
        "estimated_cost_eur": savings.estimated_cost,
        "min_consumption_wh": performance.min_consumption if performance else None,
        "max_consumption_wh": performance.max_consumption if performance else None,
        "user_consumption_wh": performance.user_consumption if performance else None,
    }
    named = {
        "washingMachine": savings.washing_machine,
        "dishwasher": savings.dishwasher,
        "fridge": savings.fridge,
        "standby": savings.standby,
    }
    # The vocabulary is open: a further member that looks like an appliance is one (and drift).
    for name, member in (savings.model_extra or {}).items():
        if isinstance(member, dict) and "estimatedConsumption" in member:
            named[name] = wire.Estimate.model_validate(member)
    for name, estimate in named.items():
        if estimate is not None:
            drift.look(name, estimate)
            yield {
                "part": name,
                "estimated_consumption_wh": estimate.estimated_consumption,
                "estimated_cost_eur": estimate.estimated_cost,
            }


def _consumption_history(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    for item in _MONTHS.validate_python(document):
        month = drift.look("[]", item)
        yield {"month_on": month.month, "consumption_kwh": month.value}


def _costs_history(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    history = drift.look("", wire.CostsHistory.model_validate(document))
    for item in history.costs:
        month = drift.look("costs[]", item)
        yield {"month_on": month.month, "is_forecast": False, "cost_eur": month.value}
    forecast = history.forecast
    if forecast is not None and forecast.model_fields_set:
        drift.look("forecast", forecast, optional=["month"])
        month_on = forecast.month or _fetched_on(call).replace(day=1)
        yield {"month_on": month_on, "is_forecast": True, "cost_eur": forecast.value}


def _yearly_distribution(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    for item in wire.YEARLY_DISTRIBUTION.validate_python(document):
        drift.look("[]", item)
        if isinstance(item, wire.MonthOfAppliances):
            for total in item.appliances:
                drift.look("[].appliances[]", total)
                yield _month_of_appliance(item.month, total.appliance, total.value)
        else:
            for month in item.months:
                drift.look("[].months[]", month)
                yield _month_of_appliance(month.month, item.appliance, month.value)


def _month_of_appliance(month_on: date, appliance: str, value: float | None) -> Row:
    return {"month_on": month_on, "appliance": appliance, "consumption_kwh": value}


def _yearly_compound(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    for item in _COMPOUND_MONTHS.validate_python(document):
        month = drift.look("[]", item)
        yield {"month_on": month.month, "part": "total", "consumption_kwh": month.total}
        for part in month.parts:
            drift.look("[].parts[]", part)
            yield {"month_on": month.month, "part": part.name, "consumption_kwh": part.value}


def _disaggregation(document: Any, call: RawCall, drift: Drift) -> Iterator[Row]:
    for item in _SERIES.validate_python(document):
        series = drift.look("[]", item)
        slots: list[wire.Slot] = []
        for sent in series.values:
            try:
                slots.append(drift.look("[].values[]", wire.Slot.model_validate(sent)))
            except ValidationError as error:
                fault = ".".join(str(part) for part in error.errors()[0]["loc"]) or "slot"
                yield {"appliance": series.appliance, "slot": sent, "reason": f"type:{fault}"}
        aware = sorted({slot.start for slot in slots if slot.start.tzinfo is not None})
        # The end is not sent: a slot ends where the next one starts, at most the commonest step
        # later (a gap is no long slot), and earlier where the clock changed by half an hour.
        starts = [start.astimezone(UTC) for start in aware]
        steps = Counter(later - earlier for earlier, later in pairwise(starts))
        step = steps.most_common(1)[0][0] if steps else _DEFAULT_STEP
        next_start = dict(pairwise(starts))
        for slot in slots:
            row: Row = {
                "appliance": series.appliance,
                "start_at": slot.start,
                "consumption_kwh": slot.value,
            }
            if slot.start.tzinfo is None:
                yield {**row, "reason": "start_without_offset"}
            elif slot.value is None:
                yield {**row, "reason": "no_value"}
            else:
                start_at = slot.start.astimezone(UTC)
                end_at = min(start_at + step, next_start.get(start_at, start_at + step))
                yield {**row, "start_at": start_at, "end_at": end_at}


# Endpoint -> its table and how its answer is read.
PARSERS: Final[Mapping[str, tuple[Table, Parser]]] = {
    "consumption": (tables.CONSUMPTION, _consumption),
    "estimated-costs": (tables.ESTIMATED_COST, _costs),
    "consumption-distribution": (tables.CONSUMPTION_DISTRIBUTION, _distribution),
    "performance": (tables.PERFORMANCE, _performance),
    "savings": (tables.SAVINGS, _savings),
    "consumption-history": (tables.CONSUMPTION_HISTORY, _consumption_history),
    "costs-history": (tables.COSTS_HISTORY, _costs_history),
    "yearly-consumption-distribution": (
        tables.YEARLY_CONSUMPTION_DISTRIBUTION,
        _yearly_distribution,
    ),
    "yearly-compound-consumption": (tables.YEARLY_COMPOUND_CONSUMPTION, _yearly_compound),
    "disaggregation": (tables.DISAGGREGATION, _disaggregation),
}


def _about(call: RawCall) -> Row:
    return {
        "smartmeter_id_digiwatt": call.params["smartmeter_id"],
        "period": call.params.get("period"),
        "fetched_on": _fetched_on(call),
        "request_id": call.request_id,
        "fetched_at": call.requested_at,
    }


def _fetched_on(call: RawCall) -> date:
    return date.fromisoformat(call.params["fetched_on"])


def _subject(call: RawCall) -> str:
    period = call.params.get("period")
    about = f"{call.endpoint} {period}" if period else call.endpoint
    return f"smart meter {call.params.get('smartmeter_id')}, {about}"


def _bad_row(call: RawCall, number: int, reason: str, row: Row) -> Row:
    return {
        "request_id": call.request_id,
        "vendor": call.vendor,
        "endpoint": call.endpoint,
        "row_number": number,
        "reasons": reason,
        "raw_text": str({name: str(value) for name, value in row.items()})[:2000],
    }


def _drift_frame(
    drifts: Mapping[tuple[str, date], Counter[tuple[str, str]]],
    fetched_at: Mapping[tuple[str, date], datetime],
) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "endpoint": endpoint,
                "field": field,
                "kind": kind,
                "fetched_on": fetched_on,
                "n_seen": n_seen,
                "fetched_at": fetched_at[endpoint, fetched_on],
            }
            for (endpoint, fetched_on), counts in drifts.items()
            for (field, kind), n_seen in sorted(counts.items())
        ],
        schema=tables.SCHEMA_DRIFT.polars_schema,
    )
