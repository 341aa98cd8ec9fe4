"""Wattsense's answers -> frames of its tables; pure, the same for a fetch and for a rebuild.

History: the pages of one property and window belong together (params `window`, `page`, `is_last`).
Whole ones replace what the table holds in that window; of a window with a page missing or refused,
what came is merged and nothing is deleted.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
from pydantic import BaseModel, ValidationError

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.tables.model import Table
from energy_etl.tables.raw import QUARANTINE
from energy_etl.vendors import Problem, VendorBatch, Window, Write
from energy_etl.vendors.wattsense.pages import NO_CONTENT, read_pages
from energy_etl.vendors.wattsense.tables import (
    DEVICE,
    HISTORY,
    LATEST,
    ORGANIZATION,
    PROPERTY,
)
from energy_etl.vendors.wattsense.wire import (
    Device,
    Organization,
    PropertyConfig,
    PropertyValue,
)

Sent = TypeVar("Sent", bound=BaseModel)
_WINDOW: Final = ("device_id", "property_id", "from_at", "to_at")
_IDS: Final = ("device_id_wattsense", "property_id_wattsense")


def to_batch(calls: Sequence[RawCall]) -> VendorBatch:
    """Turn the calls of one fetch into writes; what cannot be read is a problem, by name."""
    batch = VendorBatch()
    by_endpoint: defaultdict[str, list[RawCall]] = defaultdict(list)
    for call in calls:
        by_endpoint[call.endpoint].append(call)
    quarantines: list[pl.DataFrame] = []
    for endpoint, (table, model, to_row) in _SMALL.items():
        rows, bad = _small_rows(by_endpoint[endpoint], model, to_row, batch)
        quarantines.append(bad)
        if rows:
            frame = pl.DataFrame(rows, schema=table.polars_schema)
            unique = frame.unique(subset=table.key, keep="last", maintain_order=True)
            batch.writes.append(Write(table, unique, "merge"))
    quarantines.append(_add_history(by_endpoint["history"], batch))
    batch.quarantine = pl.concat(quarantines)
    return batch


def _add_history(calls: Sequence[RawCall], batch: VendorBatch) -> pl.DataFrame:
    """Add the writes of all history pages to the batch; return what goes to quarantine."""
    pages = sorted(calls, key=lambda call: (str(call.params["window"]), int(call.params["page"])))
    asked = [
        (
            str(call.params["property_id"]),
            datetime.fromisoformat(call.params["from_at"]),
            datetime.fromisoformat(call.params["to_at"]),
        )
        for call in pages
    ]
    read = read_pages(pages, asked)
    for index, error in read.refused.items():
        batch.problems.append(_refused_page(pages[index], error))
    windows: defaultdict[str, list[int]] = defaultdict(list)
    for index, call in enumerate(pages):
        windows[str(call.params["window"])].append(index)
    whole = _whole_windows(pages, windows, set(read.refused))
    # One write per bounds: a fetch asks for one range, so this is one big write, not one per meter.
    by_bounds: defaultdict[tuple[str, str] | None, list[int]] = defaultdict(list)
    for name, indexes in windows.items():
        params = pages[indexes[0]].params
        by_bounds[(params["from_at"], params["to_at"]) if name in whole else None] += indexes
    for bounds, indexes in by_bounds.items():
        frame = _history_frame(read.rows, pages, indexes)
        if bounds is None:
            if frame.height:
                batch.writes.append(Write(HISTORY, frame, "merge"))
            continue
        ids = pl.DataFrame(
            [(pages[i].params["device_id"], pages[i].params["property_id"]) for i in indexes],
            schema=dict.fromkeys(_IDS, pl.String),
            orient="row",
        ).unique(maintain_order=True)
        from_at, to_at = (datetime.fromisoformat(bound) for bound in bounds)
        window = Window(ids, "measured_at", from_at, to_at)
        batch.writes.append(Write(HISTORY, frame, window))
    return read.quarantine


def _whole_windows(
    pages: Sequence[RawCall], windows: Mapping[str, list[int]], refused: set[int]
) -> set[str]:
    """Return the windows of which every page came; of a window asked twice, only the later."""
    whole: dict[tuple[Any, ...], str] = {}
    for name in sorted(windows, key=lambda name: pages[windows[name][-1]].requested_at):
        indexes = windows[name]
        numbers = [int(pages[index].params["page"]) for index in indexes]
        params = pages[indexes[-1]].params
        if (
            params.get("is_last") is True
            and numbers == list(range(len(numbers)))
            and refused.isdisjoint(indexes)
        ):
            whole[tuple(params[part] for part in _WINDOW)] = name
    return set(whole.values())


def _history_frame(
    rows: pl.DataFrame, pages: Sequence[RawCall], indexes: Sequence[int]
) -> pl.DataFrame:
    about = pl.DataFrame(
        {
            "device_id_wattsense": [call.params["device_id"] for call in pages],
            "property_id_wattsense": [call.params["property_id"] for call in pages],
            "request_id": [call.request_id for call in pages],
            "received_at": [call.requested_at for call in pages],
        },
        schema_overrides={
            **dict.fromkeys((*_IDS, "request_id"), pl.String),
            "received_at": HISTORY.polars_schema["received_at"],
        },
    )
    if len(indexes) < len(pages):
        rows = rows.filter(pl.col("page").is_in(list(indexes)))
    frame = rows.with_columns(about[rows["page"]].get_columns() if rows.height else [])
    if frame.is_empty():
        return HISTORY.empty_frame()
    frame = frame.select(HISTORY.polars_schema.names())
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in _IDS)
    rising = frame.select((~same | (pl.col("measured_at") > pl.col("measured_at").shift())).all())
    if not rising.item():
        # Duplicate or reordered pages: the copy that came last stays.
        frame = frame.unique(subset=HISTORY.key, keep="last", maintain_order=True)
    return frame


def _refused_page(call: RawCall, error: MalformedError) -> Problem:
    params = call.params
    subject = f"{params.get('device_id')}/{params.get('property_id')}"
    return Problem(
        subject,
        MalformedError(
            f"wattsense {call.endpoint} of {subject}, page {params.get('page')} (request "
            f"{call.request_id}): {error}; nothing of that page was used, run the fetch again."
        ),
    )


def _small_rows(
    calls: Sequence[RawCall],
    model: type[Sent],
    to_row: Callable[[Sent, RawCall], dict[str, Any]],
    batch: VendorBatch,
) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    rows: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for call in calls:
        if call.status == NO_CONTENT:
            continue
        try:
            items = msgspec.json.decode(call.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            items = None
        if not isinstance(items, list):
            subject = str(call.params.get("device_id") or call.endpoint)
            message = (
                f"wattsense {call.endpoint} of {subject} (request {call.request_id}) is no JSON "
                "list; nothing of it was used, run the fetch again."
            )
            batch.problems.append(Problem(subject, MalformedError(message)))
            continue
        for number, item in enumerate(items):
            try:
                rows.append(to_row(model.model_validate(item), call))
            except ValidationError as error:
                bad.append(_bad_row(call, number, error, item))
    return rows, pl.DataFrame(bad, schema=QUARANTINE.polars_schema)


def _bad_row(call: RawCall, number: int, error: ValidationError, item: object) -> dict[str, Any]:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    reasons = sorted({f"type:{'.'.join(str(part) for part in f['loc'])}" for f in faults})
    return {
        "request_id": call.request_id,
        "vendor": call.vendor,
        "endpoint": call.endpoint,
        "row_number": number,
        "reasons": ",".join(reasons),
        "raw_text": json.dumps(item)[:2000],
    }


def _came_by(call: RawCall) -> dict[str, Any]:
    return {"request_id": call.request_id, "received_at": call.requested_at}


def _device_row(device: Device, call: RawCall) -> dict[str, Any]:
    return {
        "device_id_wattsense": device.device_id,
        "name": device.name,
        "description": device.description,
        "organization_id_wattsense": device.organization_id,
        "tenant_id_wattsense": device.tenant_id,
        "device_group_id_wattsense": device.device_group_id,
        "site_id_wattsense": device.site_id,
        "external_id": device.external_id,
        "hardware_id": device.hardware_id,
        "status": device.status,
        "zone": _zone(device.tags),
        "tags": _json(device.tags),
        **_came_by(call),
    }


def _property_row(config: PropertyConfig, call: RawCall) -> dict[str, Any]:
    return {
        "device_id_wattsense": call.params["device_id"],
        "property_id_wattsense": config.property_id,
        "equipment_id_wattsense": config.equipment_id,
        "slug": config.slug,
        "name": config.name,
        "description": config.description,
        "access_type": config.access_type,
        "is_disabled": config.disabled,
        "kind": config.kind,
        "unit_text": config.unit,
        "scaling_a": config.scaling.a if config.scaling else None,
        "scaling_b": config.scaling.b if config.scaling else None,
        "tags": _json(config.tags),
        **_came_by(call),
    }


def _latest_row(value: PropertyValue, call: RawCall) -> dict[str, Any]:
    number = parse_number(value.payload)
    measured_at = None
    if value.timestamp is not None:
        measured_at = datetime.fromtimestamp(value.timestamp / 1000, tz=ZoneInfo("UTC"))
    return {
        "device_id_wattsense": call.params["device_id"],
        "property_id_wattsense": value.property_id,
        "slug": value.slug,
        "name": value.name,
        "unit_text": value.unit,
        "measured_at": measured_at,
        "payload_text": None if isinstance(value.payload, float) else _payload_text(value.payload),
        "payload_number": number,
        "scaled_payload": value.scaled_payload,
        "reading_native": number if value.scaled_payload is None else value.scaled_payload,
        "is_out_of_service": value.is_out_of_service,
        **_came_by(call),
    }


def _organization_row(organization: Organization, call: RawCall) -> dict[str, Any]:
    return {
        "organization_id_wattsense": organization.organization_id,
        "tenant_id_wattsense": organization.tenant_id,
        "name": organization.name,
        **_came_by(call),
    }


# The endpoints of small objects: table, what is sent, and how one becomes a row.
_SMALL: Final[Mapping[str, tuple[Table, type[Any], Callable[[Any, RawCall], dict[str, Any]]]]] = {
    "organizations": (ORGANIZATION, Organization, _organization_row),
    "devices": (DEVICE, Device, _device_row),
    "configs/current/properties": (PROPERTY, PropertyConfig, _property_row),
    "properties": (LATEST, PropertyValue, _latest_row),
}


def parse_number(payload: object) -> float | None:
    """Return a payload as a finite number, None when it is none."""
    if isinstance(payload, bool) or not isinstance(payload, float | int | str):
        return None
    try:
        number = float(payload)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _payload_text(payload: object) -> str | None:
    return payload if payload is None or isinstance(payload, str) else json.dumps(payload)


def _json(tags: Mapping[str, Any] | None) -> str | None:
    return None if tags is None else json.dumps(tags, sort_keys=True, ensure_ascii=False)


def _zone(tags: Mapping[str, Any] | None) -> str | None:
    zone = (tags or {}).get("timezone")
    return zone if isinstance(zone, str) else None
