"""What Wiser sends, as far as it is known: two forms of lists, and four small objects.

The document names no field. These are those of the vendor's sibling APIs (room and device guessed
after them): modelled, not verified, and they stand only here. Everything but `id` may be missing,
and what nobody knows is kept beside.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from energy_etl.vendors.sent_text import Id, Text


@dataclass(frozen=True)
class ListPage:
    """One page of a list.

    Attributes:
        items: as sent.
        total: `totalCount`; None: a bare array, or an object that does not tell.
    """

    items: list[Any]
    total: int | None

    def keys(self) -> list[str]:
        """Return what tells one item from another: its id, or all of it when it has none."""
        return [
            str(item["id"]) if isinstance(item, dict) and "id" in item else json.dumps(item)
            for item in self.items
        ]


def read_page(body: bytes) -> ListPage:
    """Read `[...]` or `{"<items>": [...], "totalCount": n}`.

    Raises:
        ValueError: it is neither; half a sentence says why.
    """
    try:
        content = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ValueError("is no JSON") from None
    if isinstance(content, list):
        return ListPage(content, None)
    members = content if isinstance(content, dict) else {}
    lists = [each for each in members.values() if isinstance(each, list)]
    if len(lists) != 1:
        raise ValueError("is neither a list nor an object with one list")
    total = members.get("totalCount")
    if total is not None and (type(total) is not int or total < 0):
        raise ValueError("has a totalCount that is no count")
    return ListPage(lists[0], total)


# Siblings spell it in both ways.
_ZONE: Final = AliasChoices("timezone", "timeZone")


class _Sent(BaseModel):
    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, allow_inf_nan=False)

    id: Id
    name: Text = None


class Location(_Sent):
    """A customer's location: what the sites of one address or one campus belong to."""

    country: Text = Field(None, alias="countryIsoCode")
    zone: Text = Field(None, validation_alias=_ZONE)
    site_ids: list[Id] | None = Field(None, alias="siteIds")


class Coordinates(BaseModel):
    """Where a site is, in degrees and metres."""

    model_config = ConfigDict(hide_input_in_errors=True, allow_inf_nan=False)

    latitude: float | None = None
    longitude: float | None = None
    elevation: float | None = None


class PostalAddress(BaseModel):
    """A site's address; `address` and `zipCode` are redacted before anything reads them."""

    model_config = ConfigDict(hide_input_in_errors=True)

    city: Text = None
    country: Text = Field(None, alias="countryIsoCode")
    state: Text = Field(None, alias="stateProvince")
    zone: Text = Field(None, validation_alias=_ZONE)
    coordinates: Coordinates | None = None


class Site(_Sent):
    """A site: one building or flat."""

    type: Text = None
    location_id: Text = Field(None, alias="locationId")
    postal_address: PostalAddress | None = Field(None, alias="postalAddress")


class Room(_Sent):
    """A room of a site."""

    site_id: Text = Field(None, alias="siteId")
    floor: Text = None


class Device(_Sent):
    """A meter, or a gateway that meters speak through."""

    type: Text = None
    room_id: Text = Field(None, alias="roomId")
    gateway_id: Text = Field(None, alias="gatewayId")
    serial_number: Text = Field(None, alias="serialNumber")
    model: Text = None
    commodity: Text = None
    usage: Text = None
    online: bool | None = None
