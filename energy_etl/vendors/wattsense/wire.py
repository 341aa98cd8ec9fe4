"""Exactly what Wattsense sends of boxes and values, as far as it is known.

History comes by the million: msgspec, types only, the rules are in `pages.py`. The rest is small:
pydantic, tolerant of more, since bodies are known from public clients, not from the vendor's page.
Who may do what: `wire_access.py`; names of older versions: `names.py`.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from energy_etl.vendors.sent_text import Id, Text
from energy_etl.vendors.wattsense.names import canonical

# Epoch milliseconds of the year 2100: bounds catch seconds and microseconds sent by mistake.
MAX_TIMESTAMP_MS: Final = 4_102_444_800_000


class HistoryItem(msgspec.Struct, gc=False):
    """One historical value; `payload` is a number or a text, `scaledPayload` often null."""

    timestamp: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIMESTAMP_MS)]
    property: str | None = None
    payload: float | str | None = None
    scaled_payload: float | None = msgspec.field(default=None, name="scaledPayload")


def parse_instant(value: Any) -> datetime | None:
    """Return an instant sent as epoch milliseconds or ISO text (no zone: UTC); None: neither.

    Instants of configurations and accounts say when, never what: an odd one must not cost the row.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        in_range = 0 <= value <= MAX_TIMESTAMP_MS
        return datetime.fromtimestamp(value / 1000, UTC) if in_range else None
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if instant is None or not 1970 <= instant.year <= 2100:
        return None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


def parse_day(value: Any) -> date | None:
    """Return a day sent as ISO text or as an instant; None: neither."""
    if isinstance(value, str):
        # The day as written: the zone in which it was meant is not told.
        value = value.strip()[:10]
    instant = parse_instant(value)
    return None if instant is None else instant.date()


Instant = Annotated[datetime | None, BeforeValidator(parse_instant)]
Day = Annotated[date | None, BeforeValidator(parse_day)]


class SentObject(BaseModel):
    """A small object; members that are not known are ignored, nulls count as absent."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, sent: Any) -> Any:
        # A null under the newest name must not hide the value under an older one.
        if isinstance(sent, dict):
            return {name: value for name, value in sent.items() if value is not None}
        return sent


class VersionInfo(SentObject):
    """What a box runs."""

    bsp: Text = None
    hardware: Text = None
    software: Text = None


class DeviceSubscription(SentObject):
    """A box's billing subscription; `status` is modelled, not verified."""

    status: Text = None
    rate_plan: Text = Field(None, alias="ratePlan")
    addons: list[Any] | None = None
    options: list[Any] | None = None
    auto_renew: bool | None = Field(None, alias="autoRenew")
    yearly: bool | None = None
    managed_by_wattsense: bool | None = Field(None, alias="managedByWattsense")
    start_date: Day = Field(None, alias="startDate")
    end_date: Day = Field(None, alias="endDate")
    updated_at: Instant = Field(None, alias="updatedAt")


class Device(SentObject):
    """A box (`GET /v1/devices`); names of three API versions lead to the same attributes."""

    device_id: Id = Field(alias="deviceId")
    name: Text = None
    description: Text = None
    external_id: Text = Field(None, alias="externalId")
    hardware_id: Text = Field(None, alias="hardwareId")
    tenant_id: Text = Field(None, validation_alias=canonical("tenant_id"))
    organization_id: Text = Field(None, validation_alias=canonical("organization_id"))
    device_group_id: Text = Field(None, validation_alias=canonical("device_group_id"))
    site_id: Text = Field(None, alias="siteId")
    status: Text = None
    version: VersionInfo = Field(default_factory=VersionInfo, alias="deviceVersionInfo")
    config_origin: Text = Field(None, alias="deviceConfigOrigin")
    subscription: DeviceSubscription | None = Field(None, alias="deviceSubscription")
    tags: dict[str, Any] | None = None


class PropertyValue(SentObject):
    """The latest value of a property (`GET /v1/devices/{deviceId}/properties`)."""

    property_id: Id = Field(alias="property")
    slug: Text = None
    name: Text = None
    unit: Text = None
    timestamp: Annotated[int, Field(ge=0, le=MAX_TIMESTAMP_MS)] | None = None
    payload: float | str | bool | dict[str, Any] | list[Any] | None = None
    scaled_payload: float | None = Field(None, alias="scaledPayload")
    is_out_of_service: bool | None = Field(None, alias="isOutOfService")
    equipment_id: Text = Field(None, alias="equipmentId")
    external_id: Text = Field(None, alias="externalId")
    written_at: Instant = Field(None, alias="writeTimestamp")
    write_payload: float | str | bool | dict[str, Any] | list[Any] | None = Field(
        None, alias="writePayload"
    )
    tags: dict[str, Any] | None = None


class Scaling(SentObject):
    """a*x+b."""

    a: float | None = None
    b: float | None = None


class PropertyConfig(SentObject):
    """A property in the current configuration; `propertyId` is what values call `property`."""

    property_id: Id = Field(alias="propertyId")
    equipment_id: Text = Field(None, alias="equipmentId")
    name: Text = None
    slug: Text = None
    description: Text = None
    access_type: Text = Field(None, alias="accessType")
    disabled: bool | None = None
    kind: Text = None
    unit: Text = None
    scaling: Scaling | None = None
    tags: dict[str, Any] | None = None


class EquipmentSettings(SentObject):
    """How an equipment is reached."""

    protocol: Text = None


class Equipment(SentObject):
    """Something a box reads: a meter, a controller."""

    equipment_id: Id = Field(alias="equipmentId")
    name: Text = None
    config: EquipmentSettings = Field(default_factory=EquipmentSettings)
    tags: dict[str, Any] | None = None


class DeviceConfig(SentObject):
    """One revision of a box's configuration (`GET /v1/devices/{deviceId}/configs`)."""

    revision_id: Id = Field(alias="revisionId")
    parent_revision_id: Text = Field(None, alias="parentRevisionId")
    status: Text = None
    notes: Text = None
    created_at: Instant = Field(None, alias="createdAt")
    updated_at: Instant = Field(None, alias="updatedAt")
    errors: list[Any] = Field(default_factory=list)
    properties: list[Any] = Field(default_factory=list)
    networks: list[Any] = Field(default_factory=list)
    equipments: list[Equipment] = Field(default_factory=list)
