"""What Wattsense says of organizations, users, service accounts, keys and roles, as rows; pure."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from energy_etl.rest import RawCall
from energy_etl.vendors.wattsense.small import Endpoint, Row
from energy_etl.vendors.wattsense.tables import ORGANIZATION
from energy_etl.vendors.wattsense.tables_access import (
    API_KEY,
    CREDENTIAL,
    ORGANIZATION_UNIT,
    ROLE,
    ROLE_GRANT,
    SERVICE_ACCOUNT,
    USER_ACCOUNT,
)
from energy_etl.vendors.wattsense.wire_access import (
    ApiKey,
    Caller,
    Contact,
    Grant,
    Organization,
    OrganizationUnit,
    Postal,
    Role,
    ServiceAccount,
    User,
)

USER: Final = "user"
SERVICE: Final = "service_account"
UNITS: Final = "organizationUnits"
# Noted with the call for the current user when the same fetch learnt that there are no units.
UNITS_ARE_GONE: Final = "organization_units_are_gone"


class _HasInfo(Protocol):
    shipping: Postal
    billing: Postal
    contact: Contact


def _info(sent: _HasInfo) -> Row:
    shipping, billing, contact = sent.shipping, sent.billing, sent.contact
    return {
        "has_shipping_info": shipping is not None,
        "shipping_company": shipping.company if shipping else None,
        "shipping_city": shipping.city if shipping else None,
        "shipping_country": shipping.country if shipping else None,
        "has_billing_info": billing is not None,
        "billing_company": billing.company if billing else None,
        "billing_city": billing.city if billing else None,
        "billing_country": billing.country if billing else None,
        "billing_vat_number": billing.vat_number if billing else None,
        "has_contact_info": contact is not None,
        "contact_name": contact.name if contact else None,
        "contact_company": contact.company if contact else None,
        "contact_language": contact.language if contact else None,
    }


def _organization_rows(organization: Organization, _call: RawCall) -> list[Row]:
    return [
        {
            "organization_id_wattsense": organization.organization_id,
            "tenant_id_wattsense": organization.tenant_id,
            "name": organization.name,
            **_info(organization),
        }
    ]


def _unit_rows(unit: OrganizationUnit, _call: RawCall) -> list[Row]:
    return [
        {
            "device_group_id_wattsense": unit.device_group_id,
            "organization_id_wattsense": unit.organization_id,
            "name": unit.name,
            **_info(unit),
        }
    ]


def _credential_rows(caller: Caller, _call: RawCall) -> list[Row]:
    # A service account is "a special kind of user": it may well have a user id beside its own.
    kind, holder_id = (
        (SERVICE, caller.service_account_id)
        if caller.service_account_id
        else (USER, caller.user_id)
    )
    return [
        {
            "holder_kind": kind,
            "holder_id_wattsense": holder_id,
            "name": caller.name,
            "organization_id_wattsense": caller.organization_id,
        }
    ]


def _user_rows(user: User, _call: RawCall) -> list[Row]:
    return [
        {
            "user_id_wattsense": user.user_id,
            "name": user.name,
            "organization_id_wattsense": user.organization_id,
            "created_at": user.created_at,
        }
    ]


def _service_account_rows(account: ServiceAccount, _call: RawCall) -> list[Row]:
    return [
        {
            "service_account_id_wattsense": account.service_account_id,
            "name": account.name,
            "organization_id_wattsense": account.organization_id,
            "is_basic_allowed": account.is_basic_allowed,
            "created_at": account.created_at,
        }
    ]


def _user_grants(user: User, _call: RawCall) -> list[Row]:
    return _grants(USER, user.user_id, user)


def _service_account_grants(account: ServiceAccount, _call: RawCall) -> list[Row]:
    return _grants(SERVICE, account.service_account_id, account)


def _grants(kind: str, holder_id: str, holder: User | ServiceAccount) -> list[Row]:
    scopes: tuple[tuple[str, Sequence[Grant]], ...] = (
        ("organization", holder.organization_roles),
        ("device_group", holder.device_group_roles),
    )
    return [
        {
            "holder_kind": kind,
            "holder_id_wattsense": holder_id,
            "role_id_wattsense": grant.role_id,
            "scope": scope,
            # A role without an organization is one in the holder's own.
            "organization_id_wattsense": grant.organization_id or holder.organization_id,
            "device_group_id_wattsense": grant.device_group_id,
        }
        for scope, grants in scopes
        for grant in grants
    ]


def _key_rows(key: ApiKey, _call: RawCall) -> list[Row]:
    owner: tuple[str | None, str | None] = (None, None)
    if key.service_account_id:
        owner = (SERVICE, key.service_account_id)
    elif key.user_id:
        owner = (USER, key.user_id)
    return [
        {
            "api_key_id_wattsense": key.api_key_id,
            "name": key.name,
            "owner_kind": owner[0],
            "owner_id_wattsense": owner[1],
            "level": key.level,
            "organization_id_wattsense": key.organization_id,
            "created_at": key.created_at,
            "last_used_at": key.last_used_at,
        }
    ]


def _role_rows(role: Role, _call: RawCall) -> list[Row]:
    return [
        {
            "role_id_wattsense": role.role_id,
            "name": role.name,
            "organization_id_wattsense": role.organization_id,
            "privileges": sorted(set(role.privileges)),
        }
    ]


ACCESS_ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "user": Endpoint(Caller, {CREDENTIAL: _credential_rows}, is_single=True),
    "organizations": Endpoint(Organization, {ORGANIZATION: _organization_rows}),
    UNITS: Endpoint(OrganizationUnit, {ORGANIZATION_UNIT: _unit_rows}),
    "users": Endpoint(User, {USER_ACCOUNT: _user_rows, ROLE_GRANT: _user_grants}),
    "serviceAccounts": Endpoint(
        ServiceAccount,
        {SERVICE_ACCOUNT: _service_account_rows, ROLE_GRANT: _service_account_grants},
    ),
    "apiKeys": Endpoint(ApiKey, {API_KEY: _key_rows}),
    "roles": Endpoint(Role, {ROLE: _role_rows}),
}
