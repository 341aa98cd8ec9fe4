"""The names of three API versions, and of what nobody outside has seen, in one place.

Versions 2019-04.300, 2019-04.400 (accounts became organizations, subscriptions became organization
units) and 2020-12-16.03 (units gave way to organizations with a parent, and device groups) lead to
the same attributes. Only these names are aliases: `deviceSubscription` is a box's billing
subscription, another thing.
"""

from typing import Final

from pydantic import AliasChoices

# Newest first. `subcriptionId` is the release note's own spelling.
ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "organization_id": ("organizationId", "accountId"),
    "tenant_id": ("tenantId",),
    "device_group_id": ("deviceGroupId", "organizationUnitId", "subscriptionId", "subcriptionId"),
    # What the two kinds of roles are called after the renaming is modelled, not verified.
    "organization_roles": ("organizationRoles", "accountRoles"),
    "device_group_roles": ("deviceGroupRoles", "organizationUnitRoles", "subscriptionRoles"),
}

# Privileges and key levels of which the release note tells no more than what they are for: their
# spelling is modelled, not verified, so it is folded (letters only, lower case) and searched.
_VERBS: Final = ("create", "invite", "edit", "update", "delete", "manage", "write", "add", "remove")
_SERVICE_ACCOUNT: Final = "serviceaccount"
_USER: Final = "user"
# Levels of keys from before there were owners.
OLDER_KEY_LEVELS: Final = frozenset({"READ_ONLY", "READ_WRITE"})
SUSPENDED: Final = "SUSPENDED"


def canonical(name: str) -> AliasChoices:
    """Return every name under which an attribute is sent."""
    return AliasChoices(*ALIASES[name])


def manages_users(privilege: str) -> bool:
    """Say whether a privilege creates, invites or changes users."""
    folded = _folded(privilege).replace(_SERVICE_ACCOUNT, "")
    return _USER in folded and any(verb in folded for verb in _VERBS)


def manages_service_accounts(privilege: str) -> bool:
    """Say whether a privilege creates or changes service accounts, and so keys for them."""
    folded = _folded(privilege)
    return _SERVICE_ACCOUNT in folded and any(verb in folded for verb in _VERBS)


def _folded(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha())
