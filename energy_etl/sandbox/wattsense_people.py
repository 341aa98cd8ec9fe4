"""Who is who at the sandbox's Wattsense: organizations, users, service accounts, keys, roles.

Fixed by hand. What an audit should find is planted: a key without an owner, two keys that were
migrated (each has a service account of its own that is younger than the key), a service account
with Basic, a role with user management. Bodies and privileges are this sandbox's own idea: the
vendor's page names the things and shows none. Three versions of the API differ in their names:

    2019-04.300      account, subscription
    2019-04.400      organization, organization unit
    2020-12-16.03    organization with a parent (tenantId), device group; no organization units
"""

from dataclasses import dataclass
from typing import Any, Final

from energy_etl.sandbox.access import Credentials

VERSIONS: Final = ("2019-04.300", "2019-04.400", "2020-12-16.03")
TENANT_ID = "org-7c01"
ORGANIZATION_IDS = {"north": "org-7c02", "south": "org-7c03"}
GROUP_IDS = {"north": "grp-north", "south": "grp-south"}
_ORGANIZATION_OF_GROUP = {GROUP_IDS[name]: ORGANIZATION_IDS[name] for name in GROUP_IDS}
MIGRATED_AT = "2019-09-18T08:00:00Z"
SERVICE_ACCOUNT, USER = "serviceAccount", "user"


@dataclass(frozen=True)
class Names:
    """What one version of the API calls things; None: it has no such thing."""

    organization_id: str
    organization_roles: str
    group_id: str
    group_roles: str
    tenant_id: str | None
    has_units: bool


NAMES: Final[dict[str, Names]] = {
    "2019-04.300": Names(
        "accountId", "accountRoles", "subscriptionId", "subscriptionRoles", None, True
    ),
    "2019-04.400": Names(
        "organizationId",
        "organizationRoles",
        "organizationUnitId",
        "organizationUnitRoles",
        None,
        True,
    ),
    "2020-12-16.03": Names(
        "organizationId",
        "organizationRoles",
        "deviceGroupId",
        "deviceGroupRoles",
        "tenantId",
        False,
    ),
}


@dataclass(frozen=True)
class Holder:
    """A user or a service account, with the roles it has in organizations and in groups."""

    id: str
    kind: str
    name: str
    organization_id: str
    created_at: str
    login: str | None = None
    organization_roles: tuple[tuple[str, str], ...] = ()
    group_roles: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Key:
    """An API key; `credential` is the public half of one that the sandbox lets in."""

    id: str
    name: str
    owner_id: str | None
    organization_id: str
    created_at: str
    level: str | None = None
    credential: str | None = None


_NORTH, _SOUTH = ORGANIZATION_IDS["north"], ORGANIZATION_IDS["south"]
_GROUP_NORTH, _GROUP_SOUTH = GROUP_IDS["north"], GROUP_IDS["south"]

ROLES: Final[tuple[tuple[str, str, str, tuple[str, ...]], ...]] = (
    (
        "role-admin",
        "Administrator",
        TENANT_ID,
        ("CREATE_SERVICE_ACCOUNT", "CREATE_USER", "EDIT_SERVICE_ACCOUNT", "INVITE_USER"),
    ),
    ("role-keys", "Integrator", _SOUTH, ("CREATE_SERVICE_ACCOUNT", "EDIT_SERVICE_ACCOUNT")),
    ("role-read", "Reader", TENANT_ID, ("READ_DEVICE", "READ_PROPERTY")),
    ("role-write", "Operator", TENANT_ID, ("READ_DEVICE", "READ_PROPERTY", "WRITE_PROPERTY")),
)
HOLDERS: Final = (
    Holder(
        "u-1",
        USER,
        "Ada",
        TENANT_ID,
        "2018-02-01T09:00:00Z",
        login="sandbox-user",
        organization_roles=(("role-admin", TENANT_ID),),
        group_roles=(("role-read", _GROUP_NORTH), ("role-read", _GROUP_SOUTH)),
    ),
    Holder(
        "u-2",
        USER,
        "Noor",
        _NORTH,
        "2020-03-02T09:00:00Z",
        group_roles=(("role-write", _GROUP_NORTH),),
    ),
    Holder(
        "u-3",
        USER,
        "Sam",
        _SOUTH,
        "2021-05-03T09:00:00Z",
        organization_roles=(("role-keys", _SOUTH),),
        group_roles=(("role-read", _GROUP_SOUTH),),
    ),
    Holder(
        "sa-1",
        SERVICE_ACCOUNT,
        "Dashboard",
        _NORTH,
        "2020-01-10T09:00:00Z",
        login="sandbox-service",
        group_roles=(("role-read", _GROUP_NORTH),),
    ),
    Holder(
        "sa-2",
        SERVICE_ACCOUNT,
        "Webhook",
        TENANT_ID,
        "2020-01-11T09:00:00Z",
        login="sandbox-service-basic",
        group_roles=(("role-read", _GROUP_NORTH), ("role-read", _GROUP_SOUTH)),
    ),
    Holder(
        "sa-3",
        SERVICE_ACCOUNT,
        "API key 1",
        _NORTH,
        MIGRATED_AT,
        group_roles=(("role-write", _GROUP_NORTH),),
    ),
    Holder(
        "sa-4",
        SERVICE_ACCOUNT,
        "API key 2",
        _SOUTH,
        MIGRATED_AT,
        group_roles=(("role-read", _GROUP_SOUTH),),
    ),
)
KEYS: Final = (
    Key(
        "key-1", "energy", "u-1", TENANT_ID, "2024-01-05T09:00:00Z", credential="sandbox-wattsense"
    ),
    Key(
        "key-2",
        "dashboard",
        "sa-1",
        _NORTH,
        "2020-01-12T09:00:00Z",
        credential="sandbox-dashboard-wattsense",
    ),
    Key("key-3", "building control", "sa-3", _NORTH, "2018-05-04T09:00:00Z", level="READ_WRITE"),
    Key("key-4", "report", "sa-4", _SOUTH, "2018-11-20T09:00:00Z", level="READ_ONLY"),
    Key("key-5", "trial", None, _SOUTH, "2019-01-15T09:00:00Z"),
)


class People:
    """The lists, in the words of one version of the API."""

    def __init__(self, version: str, credentials: Credentials) -> None:
        """Speak as `version`; whether an account may use Basic stands with its password."""
        if version not in NAMES:
            raise ValueError(f"api_version is one of {', '.join(VERSIONS)}, not {version!r}")
        self.names = NAMES[version]
        self._accounts = credentials.wattsense_service_accounts

    def holder_of_login(self, login: str) -> Holder:
        """Return who logs in by this name; a name of nobody's here is the first user's."""
        return next((holder for holder in HOLDERS if holder.login == login), HOLDERS[0])

    def holder_of_key(self, credential: str) -> Holder:
        """Return who owns the key with this public half; one not listed is the first user's."""
        owner_id = next((key.owner_id for key in KEYS if key.credential == credential), None)
        return next((holder for holder in HOLDERS if holder.id == owner_id), HOLDERS[0])

    def place(self, organization_id: str | None, group_id: str | None = None) -> dict[str, Any]:
        """Return the members that say where something belongs."""
        names = self.names
        place: dict[str, Any] = {names.organization_id: organization_id}
        if group_id is not None:
            place[names.group_id] = group_id
        if names.tenant_id is not None:
            is_managed = organization_id not in (None, TENANT_ID)
            place[names.tenant_id] = TENANT_ID if is_managed else None
        return place

    def organizations(self, used: set[str]) -> list[dict[str, Any]]:
        """List the fleet's organization and those of the fleet's sites."""
        rows = [self.place(TENANT_ID) | {"name": "Fleet"}]
        for name, organization_id in ORGANIZATION_IDS.items():
            if name in used:
                row = self.place(organization_id) | {"name": name.capitalize()}
                rows.append(row if self.names.has_units else row | _information(name))
        return rows

    def units(self, used: set[str]) -> list[dict[str, Any]]:
        """List the organization units, each with shipping, billing and contact information."""
        return [
            self.place(ORGANIZATION_IDS[name], group_id)
            | {"name": f"{name.capitalize()} buildings"}
            | _information(name)
            for name, group_id in GROUP_IDS.items()
            if name in used
        ]

    def caller(self, holder: Holder) -> dict[str, Any]:
        """Describe who calls."""
        return self._holder(holder)

    def users(self) -> list[dict[str, Any]]:
        """List the users."""
        return [self._holder(each) for each in HOLDERS if each.kind == USER]

    def service_accounts(self) -> list[dict[str, Any]]:
        """List the service accounts."""
        return [self._holder(each) for each in HOLDERS if each.kind == SERVICE_ACCOUNT]

    def keys(self) -> list[dict[str, Any]]:
        """List the API keys; the secret is shown once, when a key is made, and never again."""
        kinds = {holder.id: holder.kind for holder in HOLDERS}
        rows = []
        for key in KEYS:
            row: dict[str, Any] = {
                "apiKeyId": key.id,
                "name": key.name,
                "createdAt": key.created_at,
            }
            if key.owner_id is not None:
                row[kinds[key.owner_id] + "Id"] = key.owner_id
            if key.level is not None:
                row["level"] = key.level
            rows.append(row | self.place(key.organization_id))
        return rows

    def roles(self) -> list[dict[str, Any]]:
        """List the roles."""
        return [
            {"roleId": role_id, "name": name, "privileges": list(privileges)}
            | self.place(organization_id)
            for role_id, name, organization_id, privileges in ROLES
        ]

    def _holder(self, holder: Holder) -> dict[str, Any]:
        names = self.names
        row: dict[str, Any] = {holder.kind + "Id": holder.id, "name": holder.name}
        row |= self.place(holder.organization_id) | {"createdAt": holder.created_at}
        row[names.group_roles] = [
            {"roleId": role_id} | self.place(_ORGANIZATION_OF_GROUP[group_id], group_id)
            for role_id, group_id in holder.group_roles
        ]
        if holder.kind == SERVICE_ACCOUNT:
            _, is_basic_on = self._accounts.get(holder.login or "", ("", False))
            return row | {"basicAuthEnabled": is_basic_on}
        row["email"] = f"{holder.name.lower()}@example.org"
        row[names.organization_roles] = [
            {"roleId": role_id} | self.place(organization_id)
            for role_id, organization_id in holder.organization_roles
        ]
        return row


def _information(name: str) -> dict[str, Any]:
    """Return what an organization unit says of itself; the south has no contact."""
    title, (city, country) = (
        f"{name.capitalize()} Energy",
        {"north": ("Roma", "IT"), "south": ("New York", "US")}[name],
    )
    postal = {"company": title, "street": "Via Prima 1", "postalCode": "00100"}
    information: dict[str, Any] = {
        "shippingInfo": postal | {"city": city, "country": country},
        "billingInfo": postal | {"city": city, "country": country, "vatNumber": f"VAT-{name}"},
    }
    if name == "north":
        person = {"name": "Front desk", "email": "desk@example.org", "phone": "+39 06 000 000"}
        information["contactInfo"] = person | {"company": title, "language": "it"}
    return information
