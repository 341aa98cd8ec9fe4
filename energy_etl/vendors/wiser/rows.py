"""Wiser's answers -> listings of its tables; pure, the same for a fetch and for a rebuild.

The pages of one list belong together (params `window`, `page`, `is_last`). A list is complete when
its last page is there, every page and every row of it was understood, and as many things came as
it says it has (`totalCount`). Only within complete lists can a thing be seen to have vanished; what
came of the others still counts for what it shows.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
from pydantic import ValidationError

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.tables.model import Table
from energy_etl.vendors import Listing, Problem, VendorBatch, Write
from energy_etl.vendors.batch import listing_frame
from energy_etl.vendors.page_rows import BadRow, as_bytes, model_faults, quarantine_of
from energy_etl.vendors.wiser.tables import DEVICE, LOCATION, ROOM, SITE
from energy_etl.vendors.wiser.wire import Device, Location, Room, Site, read_page

# About 1 km: what a weather service needs, and no house number.
_COORDINATE_DIGITS: Final = 2


@dataclass
class _List:
    """What the pages of one list say.

    Attributes:
        params: of its first page: the account, and the site it was asked of.
        rows: as of the table, without the two instants.
        refused: what did not fit its model.
        reason: why it is not complete; None: it is.
        is_told: the reason is no news: the client has raised it, or the row is in quarantine.
    """

    params: Mapping[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    refused: list[BadRow] = field(default_factory=list)
    reason: str | None = None
    is_told: bool = True


def to_batch(calls: Sequence[RawCall]) -> VendorBatch:
    """Turn the calls of one fetch into listings, all as of the fetch's first call."""
    batch = VendorBatch()
    mine = [call for call in calls if call.endpoint in _ENDPOINTS]
    if not mine:
        return batch
    at = min(call.requested_at for call in mine)
    lists = {name: _lists(name, mine) for name in _ENDPOINTS}
    for name, (table, _, _) in _ENDPOINTS.items():
        if not lists[name]:
            continue
        scopes = _scopes(name, lists)
        rows = [row for each in lists[name] for row in each.rows]
        batch.writes.append(Write(table, listing_frame(table, rows), Listing(scopes, at)))
        batch.problems += [
            Problem(_subject(name, each), MalformedError(each.reason))
            for each in lists[name]
            if each.reason and not each.is_told
        ]
    refused = [row for each in lists.values() for one in each for row in one.refused]
    batch.quarantine = quarantine_of(refused, mine)
    return batch


def _lists(endpoint: str, calls: Sequence[RawCall]) -> list[_List]:
    place = {call.request_id: index for index, call in enumerate(calls)}
    pages: defaultdict[str, list[RawCall]] = defaultdict(list)
    for call in calls:
        if call.endpoint == endpoint:
            pages[str(call.params["window"])].append(call)
    # In the order they were asked: of a thing that two lists hold, the later one counts.
    found = sorted(pages.values(), key=lambda pages: min(page.requested_at for page in pages))
    return [
        _list(endpoint, sorted(each, key=lambda page: page.params["page"]), place) for each in found
    ]


def _list(endpoint: str, pages: Sequence[RawCall], place: Mapping[str, int]) -> _List:
    _, model, to_row = _ENDPOINTS[endpoint]
    found = _List(pages[0].params)
    last = pages[-1].params
    if last.get("is_last") is not True or last["page"] + 1 != len(pages):
        found.reason = "a page is missing"
    seen: set[str] = set()
    total: int | None = None
    for call in pages:
        try:
            page = read_page(call.body)
        except ValueError as error:
            found.reason = f"a page {error}"
            continue
        total = page.total
        seen.update(page.keys())
        for number, item in enumerate(page.items):
            try:
                sent = model.model_validate(item)
            except ValidationError as error:
                found.reason = "a row was refused"
                text = as_bytes(item).decode()
                bad = BadRow(place[call.request_id], number, model_faults(error), text)
                found.refused.append(bad)
            else:
                found.rows.append({**to_row(sent, call), **_came_by(call, sent.model_extra)})
    if found.reason is None and total is not None and len(seen) < total:
        found.is_told = False
        found.reason = (
            f"wiser {_subject(endpoint, found)} brought {len(seen)} of {total} things: none was "
            "taken for vanished, report it if it stays so."
        )
    return found


def _scopes(endpoint: str, lists: Mapping[str, Sequence[_List]]) -> pl.DataFrame:
    """Return the complete listings: an account whole, or only some of its sites."""
    if endpoint in ("locations", "sites"):
        whole = {each.params["account"] for each in lists[endpoint] if each.reason is None}
        return _scope_frame("account", whole)
    complete = {each.params["site_id"] for each in lists[endpoint] if each.reason is None}
    for sites in lists["sites"]:
        # Every site that there is: what was in one that has vanished is gone with it.
        if sites.reason is None and complete >= {row["site_id_wiser"] for row in sites.rows}:
            return _scope_frame("account", {sites.params["account"]})
    return _scope_frame("site_id_wiser", complete)


def _scope_frame(column: str, values: set[str]) -> pl.DataFrame:
    return pl.DataFrame({column: sorted(values)}, schema={column: pl.String})


def _subject(endpoint: str, found: _List) -> str:
    return f"{endpoint} of {found.params.get('site_id') or found.params['account']}"


def _came_by(call: RawCall, unknown: Mapping[str, Any] | None) -> dict[str, Any]:
    other = json.dumps(unknown, sort_keys=True, ensure_ascii=False) if unknown else None
    return {
        "account": call.params["account"],
        "other_fields": other,
        "request_id": call.request_id,
        "received_at": call.requested_at,
    }


def _location_row(location: Location, call: RawCall) -> dict[str, Any]:
    del call
    site_ids = location.site_ids
    return {
        "location_id_wiser": location.id,
        "name": location.name,
        "country_code": location.country,
        "zone_text": location.zone,
        "site_ids_wiser": None if site_ids is None else json.dumps(sorted(set(site_ids))),
    }


def _site_row(site: Site, call: RawCall) -> dict[str, Any]:
    del call
    address = site.postal_address
    place = address.coordinates if address else None
    return {
        "site_id_wiser": site.id,
        "location_id_wiser": site.location_id,
        "name": site.name,
        "type": site.type,
        "city": address.city if address else None,
        "state": address.state if address else None,
        "country_code": address.country if address else None,
        "zone_text": address.zone if address else None,
        "latitude_deg": _rounded(place.latitude if place else None),
        "longitude_deg": _rounded(place.longitude if place else None),
        "elevation_m": place.elevation if place else None,
    }


def _room_row(room: Room, call: RawCall) -> dict[str, Any]:
    return {
        "room_id_wiser": room.id,
        "site_id_wiser": call.params["site_id"],
        "name": room.name,
        "floor": room.floor,
    }


def _device_row(device: Device, call: RawCall) -> dict[str, Any]:
    return {
        "device_id_wiser": device.id,
        "site_id_wiser": call.params["site_id"],
        "room_id_wiser": device.room_id,
        "gateway_id_wiser": device.gateway_id,
        "name": device.name,
        "type": device.type,
        "model": device.model,
        "serial_number": device.serial_number,
        "commodity": device.commodity,
        "usage": device.usage,
        "is_online": device.online,
    }


def _rounded(degrees: float | None) -> float | None:
    return None if degrees is None else round(degrees, _COORDINATE_DIGITS)


# Endpoint -> table, what is sent, and how one becomes a row.
_ENDPOINTS: Final[Mapping[str, tuple[Table, Any, Callable[[Any, RawCall], dict[str, Any]]]]] = {
    "locations": (LOCATION, Location, _location_row),
    "sites": (SITE, Site, _site_row),
    "rooms": (ROOM, Room, _room_row),
    "devices": (DEVICE, Device, _device_row),
}
