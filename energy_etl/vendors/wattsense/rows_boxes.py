"""What Wattsense says of boxes, equipments, properties and configurations, as rows; pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from energy_etl.rest import RawCall
from energy_etl.vendors.wattsense.names import SUSPENDED
from energy_etl.vendors.wattsense.small import Endpoint, Row, json_text
from energy_etl.vendors.wattsense.tables import (
    CONFIGURATION,
    DEVICE,
    DEVICE_SUBSCRIPTION,
    EQUIPMENT,
    LATEST,
    PROPERTY,
)
from energy_etl.vendors.wattsense.wire import (
    Device,
    DeviceConfig,
    PropertyConfig,
    PropertyValue,
)

# Of a configuration in work the equipments are not there yet.
_IN_FORCE: Final = "CURRENT"


def _device_rows(device: Device, _call: RawCall) -> list[Row]:
    return [
        {
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
            "hardware_version": device.version.hardware,
            "software_version": device.version.software,
            "bsp_version": device.version.bsp,
            "config_origin": device.config_origin,
            "zone": _zone(device.tags),
            "tags": json_text(device.tags),
        }
    ]


def _subscription_rows(device: Device, _call: RawCall) -> list[Row]:
    sent = device.subscription
    if sent is None:
        return []
    return [
        {
            "device_id_wattsense": device.device_id,
            "status": sent.status,
            "is_suspended": None if sent.status is None else sent.status.upper() == SUSPENDED,
            "rate_plan": sent.rate_plan,
            "start_on": sent.start_date,
            "end_on": sent.end_date,
            "is_renewed_automatically": sent.auto_renew,
            "is_yearly": sent.yearly,
            "is_managed_by_wattsense": sent.managed_by_wattsense,
            "addons": json_text(sent.addons),
            "options": json_text(sent.options),
            "updated_at": sent.updated_at,
        }
    ]


def _property_rows(config: PropertyConfig, call: RawCall) -> list[Row]:
    return [
        {
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
            "tags": json_text(config.tags),
        }
    ]


def _configuration_rows(config: DeviceConfig, call: RawCall) -> list[Row]:
    return [
        {
            "device_id_wattsense": call.params["device_id"],
            "revision_id_wattsense": config.revision_id,
            "parent_revision_id_wattsense": config.parent_revision_id,
            "status": config.status,
            "notes": config.notes,
            "created_at": config.created_at,
            "updated_at": config.updated_at,
            "n_properties": len(config.properties),
            "n_equipments": len(config.equipments),
            "n_networks": len(config.networks),
            "n_errors": len(config.errors),
        }
    ]


def _equipment_rows(config: DeviceConfig, call: RawCall) -> list[Row]:
    if config.status != _IN_FORCE:
        return []
    return [
        {
            "device_id_wattsense": call.params["device_id"],
            "equipment_id_wattsense": equipment.equipment_id,
            "name": equipment.name,
            "protocol": equipment.config.protocol,
            "tags": json_text(equipment.tags),
        }
        for equipment in config.equipments
    ]


def _latest_rows(value: PropertyValue, call: RawCall) -> list[Row]:
    number = parse_number(value.payload)
    measured_at = None
    if value.timestamp is not None:
        measured_at = datetime.fromtimestamp(value.timestamp / 1000, tz=ZoneInfo("UTC"))
    return [
        {
            "device_id_wattsense": call.params["device_id"],
            "property_id_wattsense": value.property_id,
            "slug": value.slug,
            "name": value.name,
            "unit_text": value.unit,
            "measured_at": measured_at,
            "payload_text": None
            if isinstance(value.payload, float)
            else _payload_text(value.payload),
            "payload_number": number,
            "scaled_payload": value.scaled_payload,
            "reading_native": number if value.scaled_payload is None else value.scaled_payload,
            "is_out_of_service": value.is_out_of_service,
            "equipment_id_wattsense": value.equipment_id,
            "external_id": value.external_id,
            "written_at": value.written_at,
            "write_payload_text": _payload_text(value.write_payload),
            "tags": json_text(value.tags),
        }
    ]


BOX_ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "devices": Endpoint(Device, {DEVICE: _device_rows, DEVICE_SUBSCRIPTION: _subscription_rows}),
    "configs": Endpoint(
        DeviceConfig, {CONFIGURATION: _configuration_rows, EQUIPMENT: _equipment_rows}
    ),
    "configs/current/properties": Endpoint(PropertyConfig, {PROPERTY: _property_rows}),
    "properties": Endpoint(PropertyValue, {LATEST: _latest_rows}),
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


def _payload_text(payload: Any) -> str | None:
    return payload if payload is None or isinstance(payload, str) else json_text(payload)


def _zone(tags: Mapping[str, Any] | None) -> str | None:
    zone = (tags or {}).get("timezone")
    return zone if isinstance(zone, str) else None
