"""What Wattsense sends of organizations, users, service accounts, API keys and roles.

The release note names these things; their bodies are nowhere public, so every member name in this
module is modelled, not verified. They are read tolerantly: what is missing is null, what is unknown
is ignored, and the answer as it came stays in `raw.body`. What personal data there is (e-mail,
phone, address, first and last names) was taken out before, by the names of its members.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from energy_etl.vendors.sent_text import Id, Text
from energy_etl.vendors.wattsense.names import canonical
from energy_etl.vendors.wattsense.wire import Instant, SentObject


def _info(sent: Any) -> Any:
    """Return None for an object in which nothing stands, an empty one for what is no object."""
    if isinstance(sent, dict):
        return sent if any(value not in (None, "", {}, []) for value in sent.values()) else None
    return {} if sent else None


class PostalInfo(SentObject):
    """Shipping or billing information; street and postal code were taken out."""

    company: Text = None
    city: Text = None
    country: Text = None
    vat_number: Text = Field(None, alias="vatNumber")


class ContactInfo(SentObject):
    """Whom to ask; e-mail and phone were taken out."""

    name: Text = None
    company: Text = None
    language: Text = None


Postal = Annotated[PostalInfo | None, BeforeValidator(_info)]
Contact = Annotated[ContactInfo | None, BeforeValidator(_info)]


class Organization(SentObject):
    """An organization; it has had the information of its units since there are none any more."""

    organization_id: Id = Field(validation_alias=canonical("organization_id"))
    tenant_id: Text = Field(None, validation_alias=canonical("tenant_id"))
    name: Text = None
    shipping: Postal = Field(None, alias="shippingInfo")
    billing: Postal = Field(None, alias="billingInfo")
    contact: Contact = Field(None, alias="contactInfo")


class OrganizationUnit(SentObject):
    """An organization unit (earlier: a subscription); what is a device group today."""

    device_group_id: Id = Field(validation_alias=canonical("device_group_id"))
    organization_id: Text = Field(None, validation_alias=canonical("organization_id"))
    name: Text = None
    shipping: Postal = Field(None, alias="shippingInfo")
    billing: Postal = Field(None, alias="billingInfo")
    contact: Contact = Field(None, alias="contactInfo")


class Grant(SentObject):
    """One role that somebody has; a bare text is the role's id."""

    role_id: Id = Field(alias="roleId")
    organization_id: Text = Field(None, validation_alias=canonical("organization_id"))
    device_group_id: Text = Field(None, validation_alias=canonical("device_group_id"))

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, sent: Any) -> Any:
        return {"roleId": sent} if isinstance(sent, str | int) else sent


class _Holder(SentObject):
    name: Text = None
    organization_id: Text = Field(None, validation_alias=canonical("organization_id"))
    created_at: Instant = Field(None, alias="createdAt")
    organization_roles: list[Grant] = Field(
        default_factory=list, validation_alias=canonical("organization_roles")
    )
    device_group_roles: list[Grant] = Field(
        default_factory=list, validation_alias=canonical("device_group_roles")
    )


class User(_Holder):
    """A person."""

    user_id: Id = Field(alias="userId")


class ServiceAccount(_Holder):
    """A user that is no human; it has no account roles, and Basic only where it is switched on."""

    service_account_id: Id = Field(alias="serviceAccountId")
    is_basic_allowed: bool | None = Field(None, alias="basicAuthEnabled")


class Caller(_Holder):
    """Whose credential a call carried (`GET /v1/user`): a user or a service account."""

    user_id: Text = Field(None, alias="userId")
    service_account_id: Text = Field(None, alias="serviceAccountId")

    @model_validator(mode="after")
    def _is_somebody(self) -> "Caller":
        if not (self.user_id or self.service_account_id):
            raise ValueError("neither userId nor serviceAccountId")
        return self


class ApiKey(SentObject):
    """A key, linked to its owner; the secret is never read."""

    api_key_id: Id = Field(alias="apiKeyId")
    name: Text = None
    level: Text = None
    user_id: Text = Field(None, alias="userId")
    service_account_id: Text = Field(None, alias="serviceAccountId")
    organization_id: Text = Field(None, validation_alias=canonical("organization_id"))
    created_at: Instant = Field(None, alias="createdAt")
    last_used_at: Instant = Field(None, alias="lastUsedAt")


def _privilege(sent: Any) -> Any:
    return sent.get("name") if isinstance(sent, dict) else sent


class Role(SentObject):
    """A list of privileges."""

    role_id: Id = Field(alias="roleId")
    name: Text = None
    organization_id: Text = Field(None, validation_alias=canonical("organization_id"))
    privileges: list[Annotated[str, BeforeValidator(_privilege)]] = Field(default_factory=list)
