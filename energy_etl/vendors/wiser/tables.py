"""Wiser's tables: versions in time of what it lists, and the marts that are made of them.

A version holds from `valid_from_at` until `valid_to_at`; a thing that is not listed any more has no
version in force. Street and zip code are redacted, by name, before anything is stored.
"""

from typing import Final

from energy_etl.tables.model import Column, Table

_ACCOUNT: Final = Column("account", "text", "Our name for who gave the consent.", False)
_VERSION: Final = (
    Column("valid_from_at", "instant", "When it was first listed like this.", is_nullable=False),
    Column(
        "valid_to_at", "instant", "When it was listed differently, or no longer; null: still so."
    ),
    Column(
        "other_fields",
        "text",
        "Fields that nobody knows, as JSON with sorted keys; no change of theirs makes a version.",
        is_bookkeeping=True,
    ),
    Column("request_id", "text", "The call that brought the row (raw.request).", False, True),
    Column("received_at", "instant", "When that call was made.", False, True),
)
_SITE_ID: Final = Column("site_id_wiser", "text", "The site it is in.", is_nullable=False)

LOCATION: Final = Table(
    schema="wiser",
    name="location",
    description="One location of a customer, as it was listed for a time.",
    columns=(
        Column("location_id_wiser", "text", "Wiser's id.", is_nullable=False),
        _ACCOUNT,
        Column("name", "text", "What people call it."),
        Column("country_code", "text", "Its country (countryIsoCode)."),
        Column("zone_text", "text", "Its time zone as written there, which may be no IANA name."),
        Column("site_ids_wiser", "text", "Its sites as a sorted JSON list; null: not told."),
        *_VERSION,
    ),
    key=("location_id_wiser", "valid_from_at"),
)

SITE: Final = Table(
    schema="wiser",
    name="site",
    description="One site of a customer, as it was listed for a time.",
    columns=(
        Column("site_id_wiser", "text", "Wiser's id.", is_nullable=False),
        _ACCOUNT,
        Column("location_id_wiser", "text", "The location it is in."),
        Column("name", "text", "What people call it."),
        Column("type", "text", "Its type, as sent."),
        Column("city", "text", "Its city; street and zip code are redacted before storing."),
        Column("state", "text", "Its state or province."),
        Column("country_code", "text", "Its country (countryIsoCode)."),
        Column(
            "zone_text",
            "text",
            "Its time zone as written there, which may be no IANA name; the zone that counts is "
            "the portfolio's (core.site).",
        ),
        Column("latitude_deg", "float", "North, rounded to 0.01 (about 1 km): it is a home."),
        Column("longitude_deg", "float", "East, rounded to 0.01."),
        Column("elevation_m", "float", "Above the sea."),
        *_VERSION,
    ),
    key=("site_id_wiser", "valid_from_at"),
)

ROOM: Final = Table(
    schema="wiser",
    name="room",
    description="One room of a site, as it was listed for a time.",
    columns=(
        Column("room_id_wiser", "text", "Wiser's id.", is_nullable=False),
        _ACCOUNT,
        _SITE_ID,
        Column("name", "text", "What people call it."),
        Column("floor", "text", "Its floor, as sent."),
        *_VERSION,
    ),
    key=("room_id_wiser", "valid_from_at"),
)

DEVICE: Final = Table(
    schema="wiser",
    name="device",
    description="One metering device or gateway, as it was listed for a time.",
    columns=(
        Column("device_id_wiser", "text", "Wiser's id.", is_nullable=False),
        _ACCOUNT,
        _SITE_ID,
        Column("room_id_wiser", "text", "The room it is in; null: none."),
        Column("gateway_id_wiser", "text", "The device it speaks through."),
        Column("name", "text", "What people call it."),
        Column("type", "text", "Its type, as sent."),
        Column("model", "text", "Its model."),
        Column("serial_number", "text", "Its serial number."),
        Column("commodity", "text", "What it measures (Electricity), as sent."),
        Column("usage", "text", "What it is used for (MainMeter), as sent."),
        Column("is_online", "bool", "True when Wiser reaches it; null: not told."),
        *_VERSION,
    ),
    key=("device_id_wiser", "valid_from_at"),
)

WISER_TABLES: Final = (LOCATION, SITE, ROOM, DEVICE)

PORTFOLIO_TREE: Final = Table(
    schema="mart",
    name="portfolio_tree",
    description="One location, site, room or device that Wiser lists now, and where it hangs.",
    columns=(
        Column("kind", "text", "location, site, room or device.", is_nullable=False),
        Column("node_id_wiser", "text", "Wiser's id.", is_nullable=False),
        Column("parent_id_wiser", "text", "Wiser's id of what it is in; null: of nothing listed."),
        Column("depth", "int", "Number of things it is in: 0 for a location.", is_nullable=False),
        Column("path", "text", "The names down to it, joined by ' > '.", is_nullable=False),
        Column("name", "text", "What people call it; its id where it has no name.", False),
        Column("site_id", "text", "Our site it is or is in; null: not mapped."),
        Column("meter_id", "text", "Our meter that the device is; null: not mapped, or none."),
        Column("zone", "text", "Time zone of our site."),
        Column("zone_text", "text", "Time zone as Wiser writes it, of locations and sites."),
        Column("type", "text", "Wiser's type of a site or device."),
        Column("commodity", "text", "What a device measures, as sent."),
        Column("usage", "text", "What a device is used for, as sent."),
        Column("model", "text", "A device's model."),
        Column("serial_number", "text", "A device's serial number."),
        Column("gateway_id_wiser", "text", "The device that a device speaks through."),
        Column("is_online", "bool", "True when Wiser reaches the device."),
        Column("account", "text", "Our name for who gave the consent.", is_nullable=False),
        Column("valid_from_at", "instant", "Since when it is listed like this.", False),
    ),
    key=("kind", "node_id_wiser"),
)

PORTFOLIO_CHANGE: Final = Table(
    schema="mart",
    name="portfolio_change",
    description="One thing that appeared at Wiser, moved, was renamed or vanished.",
    columns=(
        Column("changed_at", "instant", "When Wiser was asked and said so first.", False),
        Column("kind", "text", "location, site, room or device.", is_nullable=False),
        Column("node_id_wiser", "text", "Wiser's id.", is_nullable=False),
        Column("change", "text", "appeared, moved, renamed or vanished.", is_nullable=False),
        Column("name", "text", "What people called it then; its id where it had no name.", False),
        Column("before", "text", "Where it was (moved, vanished), or its old name (renamed)."),
        Column("after", "text", "Where it is (moved, appeared), or its new name (renamed)."),
    ),
    key=("changed_at", "kind", "node_id_wiser", "change"),
)
