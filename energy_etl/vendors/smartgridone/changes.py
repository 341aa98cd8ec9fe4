"""The three calls that change something at SmartgridOne: what they would do.

A `Plan` is made of the present state, which is read first: the call, what stands there before, what
is to stand there after, and a hash of all of it. Whoever confirms, confirms that hash; a state that
changed since gives another one. Pure: the calls are made in `change_calls.py`, what came of them is
judged in `change_rows.py`; when to ask and whom is told in `defs/changes.py` and `cli/`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from energy_etl.errors import ConfigurationError
from energy_etl.rest import build_path
from energy_etl.vendors.smartgridone.client import (
    PATHS,
    UpdateMode,
    checked_key,
    to_iso,
    to_precondition,
)
from energy_etl.vendors.smartgridone.states import DeviceState, LicenceState

Action = Literal["activate_license", "claim_license", "update_device"]
# The endpoint in the request log under which each action is sent.
ENDPOINT_OF: Final[Mapping[Action, str]] = {
    "activate_license": "license/activate",
    "claim_license": "license/claim",
    "update_device": "device/update",
}
AT_THE_CALL: Final = "the instant of the call"
_HASH_LENGTH: Final = 16


@dataclass(frozen=True)
class ActivateLicense:
    """Start a licence, now (None) or at an instant."""

    key: str
    activation_at: datetime | None = None
    action: Action = field(default="activate_license", init=False)


@dataclass(frozen=True)
class ClaimLicense:
    """Link a licence to a controller."""

    key: str
    node_id: str
    action: Action = field(default="claim_license", init=False)


@dataclass(frozen=True)
class UpdateDevice:
    """Give properties of a device new values; what becomes of the others is up to the mode."""

    node_id: str
    properties: Mapping[str, Any]
    mode: UpdateMode = "merge"
    is_validated: bool | None = None
    action: Action = field(default="update_device", init=False)


Wish = ActivateLicense | ClaimLicense | UpdateDevice


@dataclass(frozen=True)
class Plan:
    """What would be called, and what it would change.

    Attributes:
        subject: whom it is about: a licence key or a node id.
        address: the API's base URL: a plan for the sandbox is none for the real one.
        path: below the address, filled in.
        query: in the URL.
        headers: beside the usual ones.
        body: what is sent.
        before: the present state of what is touched; None: this account cannot see it.
        after: the same as it is to be.
        remarks: what makes a refusal likely.
        objection: why it is not worth calling; None: it is.
        device_id: the vendor's number of the device.
        unmodified_since: when the device was changed last.
    """

    action: Action
    subject: str
    address: str
    method: str
    path: str
    body: Mapping[str, Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    objection: str | None = None
    device_id: int | None = None
    unmodified_since: datetime | None = None

    @property
    def target(self) -> str:
        """Path and query, as they are called."""
        pairs = "&".join(f"{name}={value}" for name, value in self.query.items())
        return self.path + (f"?{pairs}" if pairs else "")

    @property
    def plan_hash(self) -> str:
        """What somebody confirms: it changes with the call and with the present state."""
        text = json.dumps(
            [
                self.action,
                self.address,
                self.method,
                self.target,
                self.headers,
                self.body,
                self.before,
                self.after,
                None if self.unmodified_since is None else to_iso(self.unmodified_since),
            ],
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]

    def lines(self) -> list[str]:
        """Say it to people: the call, then each thing that changes."""
        lines = [f"{self.method} {self.address}{self.target}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines.append(f"body {_shown(self.body)}")
        if self.before is None:
            lines.append("before: this account does not see it")
        before = self.before or {}
        for name in sorted({*before, *self.after}):
            old, new = before.get(name, _ABSENT), self.after.get(name, _ABSENT)
            if old != new:
                lines.append(f"{name}: {_shown(old)} -> {_shown(new)}")
        lines += [f"remark: {remark}" for remark in self.remarks]
        if self.objection:
            lines.append(f"not worth calling: {self.objection}")
        return lines


class _Absent:
    """A property that is not there, which is not the same as null."""


_ABSENT: Final = _Absent()


def _shown(value: Any) -> str:
    return "(none)" if value is _ABSENT else json.dumps(value, sort_keys=True, ensure_ascii=False)


def refuse_unsendable(wish: Wish) -> None:
    """Refuse, before anything is asked or recorded, what could not be sent as it is shown.

    Raises:
        ConfigurationError: a key is no key, no property is given, or a text or a value is no JSON.
    """
    content = {name: value for name, value in vars(wish).items() if name != "activation_at"}
    try:
        # Not a number and infinity would go out as null; half a surrogate pair goes nowhere.
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        raise ConfigurationError(
            f"What is asked of {wish.action} cannot be written as JSON (a number that is infinite "
            "or none, or a text with broken characters): correct it."
        ) from None
    if not isinstance(wish, UpdateDevice):
        checked_key(wish.key)
    elif not wish.properties:
        raise ConfigurationError("No property is given: name at least one with --set name=value.")


def plan_activation(
    wish: ActivateLicense, licences: Sequence[LicenceState], address: str, remarks: Sequence[str]
) -> Plan:
    """Plan to start a licence.

    Args:
        wish: which one, and when.
        licences: every licence that the account sees.
        address: the API's base URL.
        remarks: what could not be read.
    """
    body: dict[str, Any] = {"key": wish.key}
    if wish.activation_at is not None:
        body["activationIso"] = to_iso(wish.activation_at)
    found = find_licence(licences, wish.key)
    objection = None
    if found is not None and found.activation_at is not None:
        objection = f"it is active since {to_iso(found.activation_at)} already"
    return Plan(
        action="activate_license",
        subject=wish.key,
        address=address,
        method="POST",
        path=PATHS["license/activate"],
        body=body,
        before=None if found is None else found.told(),
        after={
            **({} if found is None else found.told()),
            "activation_at": body.get("activationIso", AT_THE_CALL),
        },
        remarks=(*remarks, *_unseen_remark(found)),
        objection=objection,
    )


def plan_claim(
    wish: ClaimLicense, licences: Sequence[LicenceState], address: str, remarks: Sequence[str]
) -> Plan:
    """Plan to link a licence to a controller; see `plan_activation`."""
    found = find_licence(licences, wish.key)
    controllers = [] if found is None else list(found.controllers)
    objection = None
    if controllers:
        objection = f"it is claimed for {', '.join(controllers)} already"
    elif found is not None and found.n_datalinks:
        objection = "it is claimed already, for a controller that this account does not see"
    return Plan(
        action="claim_license",
        subject=wish.key,
        address=address,
        method="POST",
        path=PATHS["license/claim"],
        body={"licenseKey": wish.key, "nodeId": wish.node_id},
        before=None if found is None else found.told(),
        after={
            **({} if found is None else found.told()),
            "controllers": sorted({*controllers, wish.node_id}),
        },
        remarks=(*remarks, *_unseen_remark(found)),
        objection=objection,
    )


def plan_update(wish: UpdateDevice, device: DeviceState, address: str) -> Plan:
    """Plan to change properties of a device; only what is touched stands in before and after."""
    present, wanted = (
        device.properties,
        changed_properties(wish.mode, device.properties, wish.properties),
    )
    touched = {*wish.properties, *(present if wish.mode == "strict" else ())}
    before = {name: present[name] for name in sorted(touched) if name in present}
    after = {name: wanted[name] for name in sorted(touched) if name in wanted}
    query = {"mode": wish.mode}
    if wish.is_validated is not None:
        query["validate"] = "true" if wish.is_validated else "false"
    headers, remarks = {}, []
    if device.updated_at is None:
        remarks.append("SmartgridOne does not say when it was changed last, so nothing guards it")
    else:
        headers["If-Unmodified-Since"] = to_precondition(device.updated_at)
    closed = sorted(name for name in wish.properties if not device.may_edit(name))
    if closed:
        remarks.append(
            f"the account's rights do not list {', '.join(closed)} as editable: SmartgridOne may "
            "answer 403"
        )
    lost = sorted(set(before) - set(after))
    if lost:
        remarks.append(f"strict removes what is not given: {', '.join(lost)}")
    return Plan(
        action="update_device",
        subject=wish.node_id,
        address=address,
        method="PUT",
        path=build_path(PATHS["device"], device_id=str(device.device_id)),
        query=query,
        headers=headers,
        body={"properties": dict(wish.properties)},
        before=before,
        after=after,
        remarks=tuple(remarks),
        objection="it is so already" if before == after else None,
        device_id=device.device_id,
        unmodified_since=device.updated_at,
    )


def changed_properties(
    mode: UpdateMode, present: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what properties become: strict replaces all, legacy top-level keys, merge in depth.

    Merge goes into objects; arrays and everything else are replaced whole.
    """
    if mode == "strict":
        return dict(given)
    if mode == "legacy":
        return {**present, **given}
    merged = dict(present)
    for name, value in given.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[name] = changed_properties("merge", old, value)
        else:
            merged[name] = value
    return merged


def find_licence(licences: Sequence[LicenceState], key: str) -> LicenceState | None:
    """Return the licence with a key, None when the account does not see it."""
    return next((licence for licence in licences if licence.key == key), None)


def _unseen_remark(found: LicenceState | None) -> tuple[str, ...]:
    if found is not None:
        return ()
    return ("no controller and no customer that this account sees has a licence with this key",)
