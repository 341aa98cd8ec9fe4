"""Wattsense's tables of who may do what, as versions in time, and the mart that is made of them.

Personal data stays out: e-mail, phone, street, postal code, first and last names are removed from
an answer before it is stored or parsed (`rest/redaction.py`), so no column here can hold them.
"""

from typing import Final

from energy_etl.tables.model import Column, Table

BROUGHT_BY: Final = (
    Column("request_id", "text", "The call that brought the row (raw.request).", False, True),
    Column("received_at", "instant", "When that call was made.", False, True),
)
# What is not in a complete listing of this name any more has vanished.
LISTED_IN: Final = Column("listed_in", "text", "The endpoint that lists it.", False)
VALID: Final = (
    Column("valid_from_at", "instant", "When it was first seen to be so.", False),
    Column("valid_to_at", "instant", "When it was seen otherwise or gone; null: it is so."),
)
# What is left of shipping, billing and contact information without personal data.
INFO_COLUMNS: Final = (
    Column("has_shipping_info", "bool", "True when shipping information is set.", False),
    Column("shipping_company", "text", "Company to ship to; street and postal code are left out."),
    Column("shipping_city", "text", "City to ship to."),
    Column("shipping_country", "text", "Country to ship to, as sent."),
    Column("has_billing_info", "bool", "True when billing information is set.", False),
    Column("billing_company", "text", "Company that pays; street and postal code are left out."),
    Column("billing_city", "text", "City of who pays."),
    Column("billing_country", "text", "Country of who pays, as sent."),
    Column("billing_vat_number", "text", "VAT number of the company that pays."),
    Column("has_contact_info", "bool", "True when contact information is set.", False),
    Column(
        "contact_name",
        "text",
        "Whom to ask, where one name is sent; e-mail and phone are "
        "left out, as are first and last names.",
    ),
    Column("contact_company", "text", "Company of whom to ask."),
    Column("contact_language", "text", "Language of whom to ask, as sent."),
)

_ORGANIZATION_ID: Final = Column(
    "organization_id_wattsense", "text", "The organization (earlier: account) it belongs to."
)
_CREATED_AT: Final = Column("created_at", "instant", "When it was made at Wattsense.")
_PERSON_NAME: Final = "What it is called at Wattsense; e-mail, first and last names are left out."


def _listed(
    name: str, description: str, columns: tuple[Column, ...], key: tuple[str, ...]
) -> Table:
    return Table(
        schema="wattsense",
        name=name,
        description=f"{description}, for as long as it was so.",
        columns=(*columns, LISTED_IN, *VALID, *BROUGHT_BY),
        key=(*key, "valid_from_at"),
    )


CREDENTIAL: Final = _listed(
    "credential",
    "Whose credential energy_etl calls Wattsense with",
    (
        Column("holder_kind", "text", "user or service_account.", is_nullable=False),
        Column("holder_id_wattsense", "text", "Wattsense's id of the holder.", is_nullable=False),
        Column("name", "text", _PERSON_NAME),
        _ORGANIZATION_ID,
    ),
    ("holder_kind", "holder_id_wattsense"),
)

ORGANIZATION_UNIT: Final = _listed(
    "organization_unit",
    "One organization unit (earlier: subscription; none since API version 2020-12-16.03)",
    (
        Column("device_group_id_wattsense", "text", "Wattsense's id of the unit.", False),
        _ORGANIZATION_ID,
        Column("name", "text", "Its name."),
        *INFO_COLUMNS,
    ),
    ("device_group_id_wattsense",),
)

USER_ACCOUNT: Final = _listed(
    "user_account",
    "One user",
    (
        Column("user_id_wattsense", "text", "Wattsense's id of the user.", is_nullable=False),
        Column("name", "text", _PERSON_NAME),
        _ORGANIZATION_ID,
        _CREATED_AT,
    ),
    ("user_id_wattsense",),
)

SERVICE_ACCOUNT: Final = _listed(
    "service_account",
    "One service account, a user that is no human",
    (
        Column("service_account_id_wattsense", "text", "Wattsense's id.", is_nullable=False),
        Column("name", "text", "What people call it."),
        _ORGANIZATION_ID,
        Column("is_basic_allowed", "bool", "True when Basic is switched on; null: not told."),
        _CREATED_AT,
    ),
    ("service_account_id_wattsense",),
)

API_KEY: Final = _listed(
    "api_key",
    "One API key with its owner; the secret is never read",
    (
        Column("api_key_id_wattsense", "text", "Wattsense's id of the key.", is_nullable=False),
        Column("name", "text", "What people call it."),
        Column("owner_kind", "text", "user or service_account; null: it has no owner."),
        Column("owner_id_wattsense", "text", "Wattsense's id of the owner; null: none."),
        Column("level", "text", "READ_ONLY or READ_WRITE of keys from before there were owners."),
        _ORGANIZATION_ID,
        _CREATED_AT,
        Column("last_used_at", "instant", "When it was last used, where Wattsense tells."),
    ),
    ("api_key_id_wattsense",),
)

ROLE: Final = _listed(
    "role",
    "One role, a list of privileges",
    (
        Column("role_id_wattsense", "text", "Wattsense's id of the role.", is_nullable=False),
        Column("name", "text", "What people call it."),
        _ORGANIZATION_ID,
        Column("privileges", "flags", "Its privileges, as sent, sorted.", is_nullable=False),
    ),
    ("role_id_wattsense",),
)

ROLE_GRANT: Final = _listed(
    "role_grant",
    "One role that a user or a service account has, and where",
    (
        Column("holder_kind", "text", "user or service_account.", is_nullable=False),
        Column("holder_id_wattsense", "text", "Wattsense's id of the holder.", is_nullable=False),
        Column("role_id_wattsense", "text", "The role.", is_nullable=False),
        Column("scope", "text", "organization or device_group.", is_nullable=False),
        _ORGANIZATION_ID,
        Column(
            "device_group_id_wattsense",
            "text",
            "The device group (earlier: unit, subscription) it is for; null: the organization.",
        ),
    ),
    (
        "holder_kind",
        "holder_id_wattsense",
        "role_id_wattsense",
        "scope",
        "organization_id_wattsense",
        "device_group_id_wattsense",
    ),
)

ACCESS: Final = Table(
    schema="mart",
    name="access",
    description="One way in at Wattsense: who or what reaches which organization, by which key and "
    "role.",
    columns=(
        Column("holder_kind", "text", "user, service_account, or api_key without an owner.", False),
        Column("holder_id_wattsense", "text", "Wattsense's id of the holder.", is_nullable=False),
        Column("holder_name", "text", "What the holder is called."),
        Column("way", "text", "api_key, or basic (user name and password).", is_nullable=False),
        Column("api_key_id_wattsense", "text", "The key; null: Basic."),
        Column("api_key_name", "text", "What the key is called."),
        Column("api_key_level", "text", "READ_ONLY or READ_WRITE of keys older than owners."),
        Column("is_migrated_key", "bool", "True for a key older than owners; null: Basic."),
        Column("role_id_wattsense", "text", "The role; null: an ownerless key, which has none."),
        Column("role_name", "text", "What the role is called."),
        Column("scope", "text", "organization or device_group."),
        Column("organization_id_wattsense", "text", "What is reached."),
        Column("organization_name", "text", "Its name."),
        Column("tenant_id_wattsense", "text", "The organization that manages it."),
        Column("device_group_id_wattsense", "text", "The device group; null: the organization."),
        Column("has_user_management", "bool", "True when the role has such a privilege.", False),
        Column(
            "has_service_account_management",
            "bool",
            "True when the role has such a privilege, and so can make keys for them.",
            is_nullable=False,
        ),
        Column("privileges", "flags", "The role's privileges.", is_nullable=False),
    ),
    key=(
        "holder_kind",
        "holder_id_wattsense",
        "way",
        "api_key_id_wattsense",
        "role_id_wattsense",
        "scope",
        "organization_id_wattsense",
        "device_group_id_wattsense",
    ),
)

ACCESS_TABLES: Final = (
    CREDENTIAL,
    ORGANIZATION_UNIT,
    USER_ACCOUNT,
    SERVICE_ACCOUNT,
    API_KEY,
    ROLE,
    ROLE_GRANT,
)
