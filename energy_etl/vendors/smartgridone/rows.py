"""SmartgridOne's answers -> frames of its tables; pure, the same for a fetch and for a rebuild.

What is listed becomes versions in time; only a listing that came whole, every object of it
readable, tells what has vanished. How telemetry becomes rows is in `telemetry_rows.py`.
"""

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ValidationError

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.tables.model import Table
from energy_etl.vendors import Listing, Problem, VendorBatch, Write
from energy_etl.vendors.batch import listing_frame
from energy_etl.vendors.page_rows import (
    NO_CONTENT,
    BadRow,
    Objects,
    as_bytes,
    model_faults,
    quarantine_of,
    read_objects,
)
from energy_etl.vendors.smartgridone.tables import (
    COMPANY,
    DEVICE,
    LICENCE,
    MONITOR,
    ROLE,
    SERIES,
)
from energy_etl.vendors.smartgridone.telemetry_rows import add_telemetry
from energy_etl.vendors.smartgridone.wire import (
    Company,
    Device,
    InfluxSeries,
    License,
    Monitor,
    Role,
    list_of,
)

Row = dict[str, Any]
_DEVICES: Final = "device/query"
_TELEMETRY: Final = "telemetry/query"


@dataclass(frozen=True)
class _Listed:
    """What an endpoint lists: the member that holds the list, its objects, and their rows."""

    member: str
    model: type[BaseModel]
    table: Table
    to_row: Callable[[Any, RawCall], Row]


def to_batch(calls: Sequence[RawCall]) -> VendorBatch:
    """Turn the calls of one fetch into writes; what cannot be read is a problem, by name."""
    batch = VendorBatch()
    by_endpoint: defaultdict[str, list[RawCall]] = defaultdict(list)
    for call in calls:
        by_endpoint[call.endpoint].append(call)
    quarantines = [_add_devices(by_endpoint[_DEVICES], batch)]
    for endpoint, listed in _LISTED.items():
        found = _read(listed.member, listed.model, by_endpoint[endpoint], batch)
        quarantines.append(quarantine_of(found.bad, by_endpoint[endpoint]))
        _add_listing(listed, by_endpoint[endpoint], found, batch)
    quarantines.append(add_telemetry(by_endpoint[_TELEMETRY], batch))
    batch.quarantine = pl.concat(quarantines)
    return batch


def skip_hash_of(devices: pl.DataFrame) -> str | None:
    """Return the `skipHash` that fits a stored listing; None when there is none.

    Base64 of the SHA-256 over the `lastUpdate` texts as they were sent, devices sorted by id.

    Args:
        devices: the versions of smartgridone.device that are in force.
    """
    if devices.is_empty() or devices["last_update_text"].null_count():
        return None
    texts = devices.sort("device_id_smartgridone")["last_update_text"].to_list()
    digest = hashlib.sha256("".join(texts).encode()).digest()
    return base64.b64encode(digest).decode()


def _read(
    member: str, model: type[BaseModel], calls: Sequence[RawCall], batch: VendorBatch
) -> Objects:
    objects = read_objects(calls, model, lambda answer: list_of(answer, member))
    for index in objects.unread:
        call = calls[index]
        subject = f"{call.endpoint} {_listed_for(call)}".strip()
        message = (
            f"smartgridone {subject} (request {call.request_id}) holds no list called "
            f"{member!r}; nothing of it was used, run the fetch again."
        )
        batch.problems.append(Problem(subject, MalformedError(message)))
    return objects


def _listed_for(call: RawCall) -> str:
    return str(call.params.get("node_id") or call.params.get("customer_id") or "")


def _add_listing(
    listed: _Listed, calls: Sequence[RawCall], found: Objects, batch: VendorBatch
) -> None:
    """Add what is listed by endpoints of one list per call (licences) or one list in all."""
    if not calls:
        return
    rows = [
        listed.to_row(sent, calls[page])
        | {"listed_in": calls[page].endpoint, **_brought_by(calls[page])}
        for page, _, sent in found.good
    ]
    broken = {row.page for row in found.bad} | set(found.unread)
    whole = [call for page, call in enumerate(calls) if page not in broken]
    scopes: dict[str, list[str]] = {"listed_in": [call.endpoint for call in whole]}
    if "listed_for" in listed.table.polars_schema:
        scopes["listed_for"] = [_listed_for(call) for call in whole]
    schema = dict.fromkeys(scopes, pl.String)
    how = Listing(pl.DataFrame(scopes, schema=schema).unique(), calls[-1].requested_at)
    batch.writes.append(Write(listed.table, listing_frame(listed.table, rows), how))


def _add_devices(calls: Sequence[RawCall], batch: VendorBatch) -> pl.DataFrame:
    """Add devices and their series; a filtered answer knows no tree and is left out."""
    # 204: nothing has changed, so what stands is still so.
    whole = [c for c in calls if c.params.get("is_complete") is True and c.status != NO_CONTENT][
        -1:
    ]
    if not whole:
        return quarantine_of([], [])
    call = whole[0]
    found = _read("device", Device, whole, batch)
    bad = list(found.bad)
    devices: list[Device] = [sent for _, _, sent in found.good]
    controllers = controllers_by_device(devices)
    device_rows = [
        _device_row(sent, controllers[sent.device_id]) | {"listed_in": _DEVICES} | _brought_by(call)
        for sent in devices
    ]
    series_rows: list[Row] = []
    for page, number, sent in found.good:
        rows, faults = _series_rows(sent)
        series_rows += [row | {"listed_in": _DEVICES} | _brought_by(call) for row in rows]
        if faults:
            reasons = ",".join(sorted({reason for reason, _ in faults}))
            bad.append(BadRow(page, number, reasons, faults[0][1]))
    scope = pl.DataFrame({"listed_in": [_DEVICES]})
    at = call.requested_at
    device_scope = scope if not found.bad and not found.unread else scope.clear()
    series_scope = scope if not bad and not found.unread else scope.clear()
    batch.writes += [
        Write(DEVICE, listing_frame(DEVICE, device_rows), Listing(device_scope, at)),
        Write(SERIES, listing_frame(SERIES, series_rows), Listing(series_scope, at)),
    ]
    return quarantine_of(bad, whole)


def controllers_by_device(devices: Sequence[Device]) -> dict[int, str | None]:
    """Return the controller above each device (its own node id for a controller).

    The nearest one, up the tree; None where there is none or two are equally near: readings of two
    controllers must never be taken for one.
    """
    parents: defaultdict[str, set[str]] = defaultdict(set)
    controllers: set[str] = set()
    for device in devices:
        node_id = device.properties.node_id
        if node_id is None:
            continue
        parents[node_id].update(device.properties.parents)
        for child in device.properties.children:
            parents[child].add(node_id)
        if device.properties.is_controller:
            controllers.add(node_id)
    return {
        device.device_id: _nearest_controller(device.properties.node_id, parents, controllers)
        for device in devices
    }


def _nearest_controller(
    node_id: str | None, parents: Mapping[str, set[str]], controllers: set[str]
) -> str | None:
    level = {node_id} if node_id is not None else set()
    seen: set[str] = set()
    while level:
        if found := level & controllers:
            return next(iter(found)) if len(found) == 1 else None
        seen |= level
        level = {above for node in level for above in parents.get(node, set())} - seen
    return None


def _brought_by(call: RawCall) -> Row:
    return {"request_id": call.request_id, "received_at": call.requested_at}


def _device_row(device: Device, controller: str | None) -> Row:
    told = device.properties
    info, rights = told.info, device.user_rights
    return {
        "device_id_smartgridone": device.device_id,
        "node_id_smartgridone": told.node_id,
        "node_type": told.node_type,
        "is_controller": told.is_controller,
        "controller_node_id_smartgridone": controller,
        "parent_node_ids": sorted(set(told.parents)),
        "child_node_ids": sorted(set(told.children)),
        "name": told.name,
        "manufacturer": info.manufacturer if info else None,
        "model": info.model if info else None,
        "serial_number": (info.serial_number if info else None) or told.serial_number,
        "installed_kw": told.installed_kw,
        "has_monitor_management": rights.monitor_management if rights else None,
        "editable_properties": sorted(set(rights.property_editabilities)) if rights else [],
        "last_update_text": device.last_update,
        "updated_at": device.updated_at,
    }


def _series_rows(device: Device) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return a device's series, and (reason, text) of each entry that cannot be read."""
    rows: list[Row] = []
    faults: list[tuple[str, str]] = []
    node_id = device.properties.node_id
    for entry in (device.properties.series or []) if node_id else []:
        try:
            series = InfluxSeries.model_validate(entry)
        except ValidationError as error:
            faults.append((f"nodeInfluxSeries:{model_faults(error)}", as_bytes(entry).decode()))
            continue
        rows.append(
            {
                "node_id_smartgridone": node_id,
                "measurement": series.measurement,
                "database_name": series.database,
                "retention_policy": series.retention_policy,
                "tags": json.dumps(series.tags, sort_keys=True, ensure_ascii=False),
                "fields": sorted(set(series.fields)),
            }
        )
    return rows, faults


def _role_row(role: Role, call: RawCall) -> Row:
    del call
    return {
        "role_id_smartgridone": role.role_id,
        "name": role.name,
        "self_rights": sorted(set(role.self_rights)),
        "user_rights": sorted(set(role.user_rights)),
    }


def _monitor_row(monitor: Monitor, call: RawCall) -> Row:
    del call
    return {
        "monitor_id_smartgridone": monitor.monitor_id,
        "role_id_smartgridone": monitor.role_id,
        "device_id_smartgridone": monitor.device_id,
        "has_monitor_management": monitor.monitor_management,
        "reads": sorted(set(monitor.reads)),
        "edits": sorted(set(monitor.edits)),
    }


def _company_row(company: Company, call: RawCall) -> Row:
    del call
    return {
        "company_id_smartgridone": company.company_id,
        "customer_id_smartgridone": company.uuid,
        "name": company.name,
    }


def _licence_row(licence: License, call: RawCall) -> Row:
    return {
        "licence_id_smartgridone": licence.license_id,
        "listed_for": _listed_for(call),
        "licence_key": licence.key,
        "licence_type": licence.license_type,
        "grid_kw": licence.grid_kw,
        "solar_kw": licence.solar_kw,
        "battery_kw": licence.battery_kw,
        "ev_kw": licence.ev_kw,
        "created_at": licence.creation_at,
        "activated_at": licence.activation_at,
        "deactivated_at": licence.deactivation_at,
        "duration_native": licence.duration,
        "datalink_ids": sorted(set(licence.datalinks)),
    }


_LISTED: Final[Mapping[str, _Listed]] = {
    "role/query": _Listed("role", Role, ROLE, _role_row),
    "role/monitors/query": _Listed("monitors", Monitor, MONITOR, _monitor_row),
    "company": _Listed("company", Company, COMPANY, _company_row),
    "license/controller": _Listed("licenses", License, LICENCE, _licence_row),
    "license/customer": _Listed("licenses", License, LICENCE, _licence_row),
}
