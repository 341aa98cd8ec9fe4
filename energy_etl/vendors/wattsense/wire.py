"""Exactly what Wattsense sends, as far as it is known.

History comes by the million: msgspec, types only, the rules are in `pages.py`. The rest is small:
pydantic, tolerant of more, since bodies are known from public clients, not from the vendor's page.
"""

from typing import Annotated, Any, Final

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# Epoch milliseconds of the year 2100: bounds catch seconds and microseconds sent by mistake.
MAX_TIMESTAMP_MS: Final = 4_102_444_800_000


class HistoryItem(msgspec.Struct, gc=False):
    """One historical value; `payload` is a number or a text, `scaledPayload` often null."""

    timestamp: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIMESTAMP_MS)]
    property: str | None = None
    payload: float | str | None = None
    scaled_payload: float | None = msgspec.field(default=None, name="scaledPayload")


def _as_text(value: Any) -> Any:
    """Return scalars as text: ids and free texts come as numbers from some firmware."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str | None, BeforeValidator(_as_text)]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, allow_inf_nan=False)


class Device(_Sent):
    """A box (`GET /v1/devices`); names of three API versions lead to the same attributes."""

    device_id: Annotated[str, BeforeValidator(_as_text)] = Field(alias="deviceId", min_length=1)
    name: Text = None
    description: Text = None
    external_id: Text = Field(None, alias="externalId")
    hardware_id: Text = Field(None, alias="hardwareId")
    tenant_id: Text = Field(None, alias="tenantId")
    organization_id: Text = Field(None, alias="organizationId")
    device_group_id: Text = Field(None, alias="deviceGroupId")
    site_id: Text = Field(None, alias="siteId")
    status: Text = None
    tags: dict[str, Any] | None = None


class PropertyValue(_Sent):
    """The latest value of a property (`GET /v1/devices/{deviceId}/properties`)."""

    property_id: Annotated[str, BeforeValidator(_as_text)] = Field(alias="property", min_length=1)
    slug: Text = None
    name: Text = None
    unit: Text = None
    timestamp: Annotated[int, Field(ge=0, le=MAX_TIMESTAMP_MS)] | None = None
    payload: float | str | bool | dict[str, Any] | list[Any] | None = None
    scaled_payload: float | None = Field(None, alias="scaledPayload")
    is_out_of_service: bool | None = Field(None, alias="isOutOfService")


class Scaling(_Sent):
    """a*x+b."""

    a: float | None = None
    b: float | None = None


class PropertyConfig(_Sent):
    """A property in the current configuration; `propertyId` is what values call `property`."""

    property_id: Annotated[str, BeforeValidator(_as_text)] = Field(alias="propertyId", min_length=1)
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


class Organization(_Sent):
    """An organization; path and body are modelled, not verified."""

    organization_id: Annotated[str, BeforeValidator(_as_text)] = Field(
        alias="organizationId", min_length=1
    )
    tenant_id: Text = Field(None, alias="tenantId")
    name: Text = None
