"""SmartgridOne's devices, roles, monitors and companies: queries, PUT and PATCH with their rights.

Documented: who may edit (monitorManagement, or roles whose `edits` together cover what is sent),
the three modes of PUT, `skipHash`, `If-Unmodified-Since` as ISO 8601 or as an HTTP date. What the
pages leave open, and this sandbox decides: `fields` names `id`, `lastUpdate`, `properties`,
`userRights` or `properties.<key>`; `conditions` is an object of property and value, or list of
values; an HTTP date counts to its whole second; a device that nobody here monitors is a 403; a
device without node id or node type is never valid, and `validate` looks at the types of the rest.
"""

import base64
import copy
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.calendar import to_ms
from energy_etl.sandbox.model import Truth
from energy_etl.sandbox.smartgridone_answers import (
    RefusedError,
    answer,
    boolean_of,
    read_json,
    read_object,
)
from energy_etl.sandbox.smartgridone_fleet import HIDDEN, RIGHTS, Device, Fleet, Role, iso
from energy_etl.sandbox.smartgridone_patch import apply_patch, touched

MODES = ("strict", "legacy", "merge")
_NOTHING: frozenset[str] = frozenset()
_QUERY = frozenset({"skipHash", "fields", "filter", "conditions"})
_LISTS = frozenset({"id", "nodeId", "nodeType", "viewId", "roleId", "companyId"})
_NUMBERS = frozenset({"id", "viewId", "roleId", "companyId"})
_SHOWN = ("id", "lastUpdate", "properties", "userRights")
_TYPES = {
    "name": str,
    "info": dict,
    "location": dict,
    "nodeParentsIds": list,
    "nodeChildrenIds": list,
    "nodeInfluxSeries": list,
}
_SECOND_MS = 1_000
_MOST_DIGITS = 18


class Devices:
    """The endpoints below `/v1/device`, `/v1/role` and `/v1/company`."""

    def __init__(self, truth: Truth, fleet: Fleet) -> None:
        """Serve and change the devices of `fleet`."""
        self._truth, self._fleet = truth, fleet

    def handle(self, request: Request, parts: list[str], body: bytes) -> Response:
        """Answer one call below `/v1`."""
        match request.method, parts:
            case "POST", ["device", "query"]:
                return self._query(read_object(body, _NOTHING, _QUERY))
            case "GET", ["device"]:
                return self._query(_from_parameters(request))
            case "PUT", ["device", device_id]:
                return self._put(request, device_id, body)
            case "PATCH", ["device", device_id]:
                return self._patch(request, device_id, body)
            case "POST", ["role", "query"]:
                return self._roles(body)
            case "POST", ["role", role_id, "monitors", "query"]:
                return self._monitors(role_id, body)
            case "GET", ["company"]:
                return self._companies()
        raise RefusedError(404)

    # -- what is there -----------------------------------------------------------------------

    def _query(self, asked: dict) -> Response:
        is_wanted = self._filter(asked.get("filter", {}))
        meets = _conditions(asked.get("conditions", {}))
        fields = _fields(asked.get("fields"))
        found = [
            device
            for device in sorted(self._fleet.devices.values(), key=lambda each: each.device_id)
            if is_wanted(device) and meets(self._visible(device))
        ]
        skip_hash = asked.get("skipHash")
        if skip_hash is not None and not isinstance(skip_hash, str):
            raise RefusedError(400)
        if skip_hash == skip_hash_of(found):
            return Response(status_code=204)
        return answer({"device": [fields(self._body(device)) for device in found]})

    def _body(self, device: Device) -> dict:
        visible = self._visible(device)
        roles = self._fleet.roles_of(device)
        is_manager = any(role.is_manager for role in roles)
        edits = {key for role in roles for key in role.edits}
        return {
            "id": device.device_id,
            "lastUpdate": iso(device.updated_ms),
            "properties": visible,
            "userRights": {
                "propertyEditabilities": {key: is_manager or key in edits for key in visible},
                "monitorManagement": is_manager,
            },
        }

    def _visible(self, device: Device) -> dict:
        if any(role.is_manager for role in self._fleet.roles_of(device)):
            return device.properties
        return {key: value for key, value in device.properties.items() if key not in HIDDEN}

    def _filter(self, wish: object) -> Callable[[Device], bool]:
        if not isinstance(wish, dict) or not set(wish) <= _LISTS | {"isActive"}:
            raise RefusedError(400)
        for name, values in wish.items():
            of = int if name in _NUMBERS else str
            if name == "isActive":
                if not isinstance(values, bool):
                    raise RefusedError(400)
            elif not isinstance(values, list) or not all(type(value) is of for value in values):
                raise RefusedError(400)

        def is_wanted(device: Device) -> bool:
            has: dict[str, set] = {
                "id": {device.device_id},
                "nodeId": {device.node_id},
                "nodeType": {device.properties.get("nodeType")},
                "viewId": set(),  # the example has no views
                "roleId": {role.role_id for role in self._fleet.roles_of(device)},
                "companyId": {device.company.company_id},
            }
            if wish.get("isActive") is False:  # every device of the example is active
                return False
            return all(not has[name].isdisjoint(wish[name]) for name in _LISTS & set(wish))

        return is_wanted

    def _roles(self, body: bytes) -> Response:
        asked = read_object(body or b"{}", _NOTHING, frozenset({"filter", "userRights"}))
        is_wanted = _only(asked.get("filter", {}), {"id", "name", "companyId"})
        return answer(
            {
                "role": [
                    {
                        "id": role.role_id,
                        "name": role.name,
                        "selfRights": dict.fromkeys(RIGHTS, role.is_manager),
                        "userRights": dict.fromkeys(RIGHTS, False)
                        | {"deviceManagement": role.is_manager},
                    }
                    for role in self._fleet.roles.values()
                    if is_wanted(id=role.role_id, name=role.name, companyId=role.company_id)
                ]
            }
        )

    def _monitors(self, role_id: str, body: bytes) -> Response:
        asked = read_object(body or b"{}", _NOTHING, frozenset({"filter"}))
        is_wanted = _only(asked.get("filter", {}), {"id", "deviceId"})
        if role_id != "*" and not role_id.replace(",", "").isdigit():
            raise RefusedError(400)
        roles = [
            role
            for role in self._fleet.roles.values()
            if role_id == "*" or str(role.role_id) in role_id.split(",")
        ]
        rows = [
            self._monitor(role, device)
            for role in roles
            for device in self._fleet.devices.values()
            if device.company.company_id == role.company_id
        ]
        return answer(
            {"monitors": [r for r in rows if is_wanted(id=r["id"], deviceId=r["deviceId"])]}
        )

    def _monitor(self, role: Role, device: Device) -> dict:
        return {
            "id": role.role_id * 10_000 + device.device_id,
            "roleId": role.role_id,
            "deviceId": device.device_id,
            "monitorManagement": role.is_manager,
            "reads": sorted(self._visible(device)),
            "edits": sorted(device.properties) if role.is_manager else list(role.edits),
        }

    def _companies(self) -> Response:
        rows = [
            {"id": company.company_id}
            | ({"uuid": company.uuid} if company.is_uuid_told else {})
            | {"name": company.name}
            for company in self._fleet.companies.values()
        ]
        return answer({"company": rows})

    # -- what is changed ---------------------------------------------------------------------

    def _put(self, request: Request, device_id: str, body: bytes) -> Response:
        mode = request.query_params.get("mode", "legacy")
        sent = read_object(body, frozenset({"properties"}))["properties"]
        if mode not in MODES or not isinstance(sent, dict):
            raise RefusedError(400)
        device = self._editable(request, device_id, set(sent), is_whole=mode == "strict")
        if mode == "strict":
            properties = sent
        elif mode == "legacy":
            properties = device.properties | sent
        else:
            properties = _merged(device.properties, sent)
        return self._changed(request, device, properties)

    def _patch(self, request: Request, device_id: str, body: bytes) -> Response:
        patch = read_json(body)
        keys = touched(patch)
        device = self._editable(request, device_id, keys, is_whole="" in keys)
        properties = apply_patch(device.properties, patch)
        if not isinstance(properties, dict):
            raise RefusedError(422, "The properties of a device are an object")
        return self._changed(request, device, properties)

    def _editable(
        self, request: Request, device_id: str, keys: set[str], *, is_whole: bool
    ) -> Device:
        """Return the device when the account may change these properties and nobody else has."""
        since = request.headers.get("if-unmodified-since")
        latest_ms = None if since is None else _latest_ms(since)
        boolean_of(request.query_params.get("validate"))
        if not (device_id.isascii() and device_id.isdigit() and len(device_id) <= _MOST_DIGITS):
            raise RefusedError(400)
        device = self._fleet.devices.get(int(device_id))
        roles = [] if device is None else self._fleet.roles_of(device)
        edits = {key for role in roles for key in role.edits}
        may_edit = any(role.is_manager for role in roles) or (not is_whole and keys <= edits)
        if device is None or not roles or not may_edit:
            raise RefusedError(403)
        if latest_ms is not None and device.updated_ms > latest_ms:
            raise RefusedError(412)
        return device

    def _changed(self, request: Request, device: Device, properties: dict) -> Response:
        is_strictly_checked = boolean_of(request.query_params.get("validate"))
        ids = (properties.get("nodeId"), properties.get("nodeType"))
        is_valid = all(isinstance(each, str) and each for each in ids)
        if is_strictly_checked:
            is_valid &= all(isinstance(properties.get(k, t()), t) for k, t in _TYPES.items())
        if not is_valid:
            raise RefusedError(400)
        device.properties = copy.deepcopy(properties)
        # A second change within a second (or under a clock that stands still) is a later one too.
        device.updated_ms = max(self._truth.now_ms(), device.updated_ms + _SECOND_MS)
        return answer({"device": self._body(device)})


def skip_hash_of(devices: list[Device]) -> str:
    """Return base64 of SHA-256 over the `lastUpdate` strings, devices sorted by id."""
    digest = hashlib.sha256()
    for device in sorted(devices, key=lambda each: each.device_id):
        digest.update(iso(device.updated_ms).encode())
    return base64.b64encode(digest.digest()).decode()


def _from_parameters(request: Request) -> dict:
    """Return the query parameters of the older GET as the body of the POST."""
    asked: dict[str, Any] = {}
    wish: dict[str, Any] = {}
    for name in request.query_params:
        texts = request.query_params.getlist(name)
        if name in _LISTS:
            is_number = name in _NUMBERS and all(text.isdigit() for text in texts)
            wish[name] = [int(text) for text in texts] if is_number else texts
        elif name == "isActive":
            wish[name] = boolean_of(texts[0])
        elif name == "fields":
            asked[name] = texts
        elif name == "skipHash":
            asked[name] = texts[0]
        else:
            raise RefusedError(400)
    return asked | {"filter": wish}


def _only(wish: object, known: set[str]) -> Callable[..., bool]:
    if not isinstance(wish, dict) or not set(wish) <= known:
        raise RefusedError(400)
    if not all(isinstance(values, list) for values in wish.values()):
        raise RefusedError(400)
    return lambda **has: all(has[name] in values for name, values in wish.items())


def _conditions(wish: object) -> Callable[[dict], bool]:
    if not isinstance(wish, dict):
        raise RefusedError(400)
    accepted = {key: value if isinstance(value, list) else [value] for key, value in wish.items()}
    return lambda properties: all(properties.get(key) in values for key, values in accepted.items())


def _fields(wish: object) -> Callable[[dict], dict]:
    if wish is None or wish == []:
        return lambda body: body
    if not isinstance(wish, list) or not all(isinstance(name, str) for name in wish):
        raise RefusedError(400)
    whole = [name for name in wish if name in _SHOWN]
    keys = [name.removeprefix("properties.") for name in wish if name.startswith("properties.")]
    if len(whole) + len(keys) != len(wish):
        raise RefusedError(400)

    def kept(body: dict) -> dict:
        shown = {name: value for name, value in body.items() if name in whole}
        if keys and "properties" not in whole:
            properties = body["properties"]
            shown["properties"] = {key: properties[key] for key in keys if key in properties}
        return shown

    return kept


def _merged(old: dict, new: dict) -> dict:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, dict) and isinstance(old.get(key), dict)
        merged[key] = _merged(old[key], value) if both else value
    return merged


def _latest_ms(text: str) -> int:
    """Return the last instant that `If-Unmodified-Since` allows, or 400."""
    try:
        at = datetime.fromisoformat(text)
        spare_ms = 0
    except ValueError:
        try:
            at = parsedate_to_datetime(text)
        except ValueError as error:
            raise RefusedError(400) from error
        spare_ms = _SECOND_MS - 1
    if at.tzinfo is None:
        raise RefusedError(400)
    return to_ms(at.astimezone(UTC)) + spare_ms
