"""The present state of what a change touches, read out of answers: licences and one device. Pure.

Properties are kept as they came (`wire.Properties` knows only some of them): a plan shows whatever
somebody wants to change.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from pydantic import ValidationError

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.vendors.page_rows import NO_CONTENT
from energy_etl.vendors.smartgridone.client import to_iso
from energy_etl.vendors.smartgridone.wire import Company, Device, License

_OK: Final = range(200, 300)
_LISTED: Final[Mapping[Any, tuple[str, str]]] = {
    Device: ("device/query", "device"),
    Company: ("company", "company"),
}

Model = TypeVar("Model", Device, License, Company)


@dataclass(frozen=True)
class LicenceState:
    """A licence as the lists of controllers and customers show it.

    Attributes:
        license: as sent.
        controllers: node ids of the controllers whose lists have it.
        n_datalinks: links that a customer's list tells of.
    """

    license: License
    controllers: tuple[str, ...] = ()
    n_datalinks: int = 0

    @property
    def key(self) -> str | None:
        """What it is activated and claimed with."""
        return self.license.key

    @property
    def activation_at(self) -> datetime | None:
        """When it began; None: not yet."""
        return self.license.activation_at

    def told(self) -> dict[str, Any]:
        """Return what a change could touch, as JSON holds it."""
        licence = self.license
        return {
            "license_id": licence.license_id,
            "type": licence.license_type,
            "activation_at": None
            if licence.activation_at is None
            else to_iso(licence.activation_at),
            "deactivation_at": None
            if licence.deactivation_at is None
            else to_iso(licence.deactivation_at),
            "duration": licence.duration,
            "controllers": list(self.controllers),
        }


@dataclass(frozen=True)
class DeviceState:
    """A device with all its properties.

    Attributes:
        device_id: the vendor's number.
        properties: as sent.
        editable: properties that the account may edit; None: not told.
        has_monitor_management: True: it may edit all of them.
        updated_at: when it was changed last; None: not told.
    """

    device_id: int
    node_id: str
    properties: Mapping[str, Any]
    editable: frozenset[str] | None
    has_monitor_management: bool
    updated_at: datetime | None

    def may_edit(self, name: str) -> bool:
        """True when the account's rights allow it, or do not tell."""
        return self.has_monitor_management or self.editable is None or name in self.editable


def licence_states(calls: Iterable[RawCall]) -> list[LicenceState]:
    """Return each licence once, whoever lists it, by id; of each list the last answer counts.

    Raises:
        MalformedError: a list cannot be read.
    """
    found: dict[str, LicenceState] = {}
    answered = _answered(calls, "license/controller", "license/customer")
    last = {(c.endpoint, c.params.get("node_id"), c.params.get("customer_id")): c for c in answered}
    for call in last.values():
        for row in _members(call, "licenses"):
            licence = _validated(License, row, call)
            state = found.get(licence.license_id, LicenceState(licence))
            controllers = set(state.controllers)
            if call.endpoint == "license/controller":
                controllers.add(str(call.params.get("node_id")))
            found[licence.license_id] = replace(
                state,
                controllers=tuple(sorted(controllers)),
                n_datalinks=max(state.n_datalinks, len(licence.datalinks)),
            )
    return [found[key] for key in sorted(found)]


def device_state(calls: Iterable[RawCall], node_id: str) -> DeviceState | None:
    """Return a device as it was listed last; None: no list has it.

    Raises:
        MalformedError: a list cannot be read.
    """
    found = None
    for call in _answered(calls, "device/query"):
        for row in _members(call, "device"):
            device = _validated(Device, row, call)
            if device.properties.node_id == node_id:
                rights = device.user_rights
                found = DeviceState(
                    device.device_id,
                    node_id,
                    row["properties"],
                    None if rights is None else frozenset(rights.property_editabilities),
                    rights is not None and rights.monitor_management is True,
                    device.updated_at,
                )
    return found


def controllers_of(calls: Iterable[RawCall]) -> list[str]:
    """Return the node ids of the controllers in a device list, sorted; see `count_unreadable`."""
    devices = [device.properties for device in _read(Device, calls) if device is not None]
    return sorted({each.node_id for each in devices if each.is_controller and each.node_id})


def customers_of(calls: Iterable[RawCall]) -> list[str]:
    """Return the uuids of the companies that have one, sorted; see `count_unreadable`."""
    companies = [company for company in _read(Company, calls) if company is not None]
    return sorted({company.uuid for company in companies if company.uuid})


def count_unreadable(calls: Iterable[RawCall]) -> int:
    """Count the devices and companies that do not fit their model: their licences are not seen."""
    calls = list(calls)
    return sum(each is None for model in _LISTED for each in _read(model, calls))


def _read(model: type[Model], calls: Iterable[RawCall]) -> Iterator[Model | None]:
    """Yield what an endpoint lists, None for a row that cannot be read: it stops no other one."""
    endpoint, member = _LISTED[model]
    for call in _answered(calls, endpoint):
        for row in _members(call, member):
            try:
                yield model.model_validate(row)
            except ValidationError:
                yield None


def _answered(calls: Iterable[RawCall], *endpoints: str) -> list[RawCall]:
    return [
        call
        for call in calls
        if call.endpoint in endpoints and call.status in _OK and call.status != NO_CONTENT
    ]


def _members(call: RawCall, name: str) -> Sequence[dict[str, Any]]:
    try:
        rows = msgspec.json.decode(call.body, type=dict[str, Any])[name]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise MalformedError(
            f"smartgridone {call.endpoint} did not answer a list `{name}`, so the present state is "
            "not known and nothing was changed: run again, and report it if it stays."
        )
    return rows


def _validated(model: type[Model], row: dict[str, Any], call: RawCall) -> Model:
    try:
        return model.model_validate(row)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        raise MalformedError(
            f"smartgridone {call.endpoint} answered a row whose {places} cannot be read, so the "
            "present state is not known and nothing was changed: report it to SmartgridOne."
        ) from None
