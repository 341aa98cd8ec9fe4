"""Answers of Wattics' API -> frames of its tables; pure, the same for a fetch and for a rebuild.

What is listed becomes versions in time; something vanished only within a listing that came whole.
What is measured is read in `measured.py`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ValidationError

from energy_etl.rest import RawCall
from energy_etl.tables import Table
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.vendors import Listing, VendorBatch, Write
from energy_etl.vendors.batch import listing_frame
from energy_etl.vendors.wattics import api_wire as wire
from energy_etl.vendors.wattics import tables
from energy_etl.vendors.wattics.measured import add_consumptions, add_costs, add_raw_data
from energy_etl.vendors.wattics.reading import Reading, Refused, told

# A scope of every version in force: what a listing of everything did not name has vanished.
_EVERYTHING: Final = pl.DataFrame({"valid_to_at": [None]}, schema={"valid_to_at": UTC_INSTANT})


def to_batch(calls: Sequence[RawCall]) -> VendorBatch:
    """Turn the calls of one fetch into writes; what cannot be read is a problem, by name."""
    reading = Reading()
    by_endpoint: defaultdict[str, list[RawCall]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: (call.requested_at, call.request_id)):
        by_endpoint[call.endpoint].append(call)
    _add_listing(reading, by_endpoint)
    add_consumptions(reading, by_endpoint["consumptions"])
    add_costs(reading, by_endpoint["costs"])
    add_raw_data(reading, by_endpoint["raw-data"])
    return reading.finish()


@dataclass
class _Listed:
    """The items of one endpoint's lists, each with its call, and the calls that came whole."""

    items: list[tuple[RawCall, Any]] = field(default_factory=list)
    whole: list[RawCall] = field(default_factory=list)


def _add_listing(reading: Reading, by_endpoint: Mapping[str, list[RawCall]]) -> None:
    """Organizations, sites and meters as versions in time."""
    names = ("organizations", "sites", "meters")
    calls = [call for name in names for call in by_endpoint.get(name, ())]
    if not calls:
        return
    organizations, sites, meters = (
        _listed(reading, by_endpoint.get(name, []), model)
        for name, model in zip(names, (wire.Organization, wire.Site, wire.Meter), strict=True)
    )
    organization_ids = {item.id for _, item in organizations.items}
    site_ids = {item.id for _, item in sites.items}
    is_whole = (
        bool(organizations.whole)
        and organization_ids <= {call.params["organization_id"] for call in sites.whole}
        and site_ids <= {call.params["site_id"] for call in meters.whole}
    )
    at = max(call.requested_at for call in calls)
    for table, listed, scope in (
        (tables.ORGANIZATION, organizations, None),
        (tables.SITE, sites, "organization_id"),
        (tables.METER, meters, "site_id"),
    ):
        rows = [_LISTED_ROW[table](call, item) for call, item in listed.items]
        if is_whole or (scope is None and listed.whole):
            scopes = _EVERYTHING
        elif scope is None:
            scopes = _EVERYTHING.clear()
        else:
            ids = sorted({call.params[scope] for call in listed.whole})
            scopes = pl.DataFrame({f"{scope}_wattics": ids}, schema={f"{scope}_wattics": pl.String})
        frame = listing_frame(table, rows)
        if frame.height or scopes.height:
            reading.batch.writes.append(Write(table, frame, Listing(scopes, at)))


def _listed(reading: Reading, calls: Sequence[RawCall], model: type[BaseModel]) -> _Listed:
    listed = _Listed()
    for call in calls:
        rows = reading.rows(call)
        if rows is None:
            continue
        bad: list[Refused] = []
        for number, row in enumerate(rows):
            try:
                listed.items.append((call, model.model_validate_json(bytes(row))))
            except ValidationError as error:
                fault = error.errors(include_url=False, include_input=False)[0]
                place = ".".join(str(part) for part in fault["loc"]) or "item"
                bad.append((number, f"{place}:{fault['type']}", told(row)))
        reading.refuse(call, bad)
        if not bad:
            listed.whole.append(call)
    return listed


def _about(call: RawCall) -> dict[str, Any]:
    return {"request_id": call.request_id, "fetched_at": call.requested_at}


def _organization_row(call: RawCall, item: wire.Organization) -> dict[str, Any]:
    return {"organization_id_wattics": item.id, "name": item.name, **_about(call)}


def _site_row(call: RawCall, item: wire.Site) -> dict[str, Any]:
    return {
        "site_id_wattics": item.id,
        "organization_id_wattics": str(call.params["organization_id"]),
        "name": item.name,
        "city": item.city,
        "country": item.country,
        **_about(call),
    }


def _meter_row(call: RawCall, item: wire.Meter) -> dict[str, Any]:
    return {
        "meter_id_wattics": item.id,
        "organization_id_wattics": str(call.params["organization_id"]),
        "site_id_wattics": str(call.params["site_id"]),
        "reference": item.reference,
        "name": item.name,
        "meter_type": item.type,
        "process_sampling_rate_minutes": item.process_sampling_rate_minutes,
        "unit": item.unit,
        "wh_per_pulse": item.wh_per_pulse,
        "reading": item.reading,
        **_about(call),
    }


_LISTED_ROW: Final[Mapping[Table, Any]] = {
    tables.ORGANIZATION: _organization_row,
    tables.SITE: _site_row,
    tables.METER: _meter_row,
}
