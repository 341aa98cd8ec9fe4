"""Wattsense as its API page says: devices, latest properties, history with `Link` paging, configs.

Base path `/wattsense`; resources under `/v1`. Who is who, and how three versions of the API name
it: `wattsense_people.py`; paths are the same in all three, but for `/v1/organizationUnits`, which
the newest does not have. The page leaves open, and this sandbox decides: `since` inclusive and
`until` exclusive; items in order of time; error bodies `{"message", "status"}`; without `since` the
history starts at the beginning; a service account gets 403 where users, service accounts and API
keys are listed. Read only: a PUT is refused.
"""

from urllib.parse import parse_qsl, quote, unquote, urlencode

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.access import Credentials, RateLimit
from energy_etl.sandbox.model import Register, Truth, device_id_wattsense, property_id_wattsense
from energy_etl.sandbox.wattsense_login import MAX_DIGITS, Login, answer, error
from energy_etl.sandbox.wattsense_people import (
    GROUP_IDS,
    ORGANIZATION_IDS,
    SERVICE_ACCOUNT,
    VERSIONS,
    Holder,
    People,
)

PREFIX = "/wattsense"
DEFAULT_SIZE, MAX_SIZE = 500, 2500
_UNIT_TEXT = {"kWh": "kWh", "Wh": "Wh", "m3": "m³", "degC": "°C"}
_HISTORY_KEYS = {"property", "since", "until", "size", "repeat"}


class Wattsense:
    """The vendor: one organization per account of the fleet, one box per site."""

    def __init__(
        self,
        truth: Truth,
        credentials: Credentials,
        *,
        limit_calls: int = 2500,
        limit_config_calls: int = 100,
        limit_window_s: float = 300.0,
        api_version: str = VERSIONS[-1],
        suspended: tuple[str, ...] = (),
    ) -> None:
        """Serve `truth` to the holders of `credentials`.

        Args:
            truth: sites, registers and their samples.
            credentials: who may call.
            limit_calls: calls that a window gives.
            limit_config_calls: how many of them may be on configurations.
            limit_window_s: length of the window in seconds.
            api_version: whose names are spoken, one of `wattsense_people.VERSIONS`.
            suspended: sites whose box has a suspended subscription.
        """
        self.truth = truth
        self._people = People(api_version, credentials)
        self._login = Login(credentials, self._people)
        self._suspended = frozenset(suspended)
        self._used = {site.organization for site in truth.sites.values()}
        self._limit = RateLimit(limit_calls, limit_window_s)
        self._config_limit = RateLimit(limit_config_calls, limit_window_s)
        boxes = {r.site_id for r in truth.registers.values() if r.vendor == "wattsense"}
        self._sites = {device_id_wattsense(each): each for each in truth.sites if each in boxes}
        self._registers = {
            property_id_wattsense(each.register_id): each.register_id
            for each in truth.registers.values()
            if each.vendor == "wattsense"
        }
        self._n_pages = 0

    def handle(self, request: Request, raw_path: str, body: bytes) -> Response:
        """Answer one call; `raw_path` is the path as it was sent."""
        if (wait_s := self._limit.wait_s()) > 0:
            return _too_many(wait_s, "2500 requests in 5 minutes")
        caller = self._login.caller(request, raw_path, body)
        if isinstance(caller, Response):
            return caller
        parts = [unquote(part) for part in raw_path.removeprefix(PREFIX + "/").split("/")]
        if parts[0] != "v1":
            return error(404, "No such resource.")
        if request.method != "GET":
            return error(403, "This key may only read.")
        return self._list_people(caller, parts[1:]) or self._route(request, parts[1:])

    def error(self, status: int, **headers: str) -> Response:
        """Return a fault's answer."""
        return error(status, "The sandbox was told to fail.", **headers)

    def _route(self, request: Request, parts: list[str]) -> Response:
        match parts:
            case ["devices"]:
                return self._devices(request)
            case ["devices", device_id, *rest] if device_id in self._sites:
                site_id = self._sites[device_id]
                if not rest:
                    return answer(self._device(site_id))
                if rest[0] == "configs":
                    return self._configs(site_id, rest[1:])
                if rest[0] == "properties":
                    return self._properties(request, site_id, rest[1:])
        return error(404, f"No such resource: {'/'.join(parts)}.")

    def _list_people(self, caller: Holder, parts: list[str]) -> Response | None:
        """Answer for users and the like; None when something else is asked for."""
        people = self._people
        match parts:
            case ["user"]:
                return answer(people.caller(caller))
            case ["organizations"]:
                return answer(people.organizations(self._used))
            case ["organizationUnits"] if people.names.has_units:
                return answer(people.units(self._used))
            case ["roles"]:
                return answer(people.roles())
            case [("users" | "serviceAccounts" | "apiKeys") as name]:
                if caller.kind == SERVICE_ACCOUNT:
                    return error(403, f"A service account may not act on {name}.")
                lists = {"users": people.users, "serviceAccounts": people.service_accounts}
                return answer(lists.get(name, people.keys)())
        return None

    # -- resources ---------------------------------------------------------------------------

    def _devices(self, request: Request) -> Response:
        query = dict(request.query_params)
        names = self._people.names
        if unknown := set(query) - {names.organization_id, names.group_id}:
            return error(400, f"Unknown query parameter: {sorted(unknown)[0]}.")
        devices = [self._device(site_id) for site_id in self._sites.values()]
        for name, value in query.items():
            devices = [device for device in devices if device[name] == value]
        return answer(devices) if devices else Response(status_code=204)

    def _device(self, site_id: str) -> dict:
        site = self.truth.sites[site_id]
        device_id = device_id_wattsense(site_id)
        return {
            "deviceId": device_id,
            "hardwareId": device_id[1:7],
            "name": site.name,
            "description": f"Box at {site.name}",
            "externalId": None,
            "siteId": "site-" + device_id[1:5].lower(),
            **self._people.place(ORGANIZATION_IDS[site.organization], GROUP_IDS[site.organization]),
            "status": "ONLINE",
            "deviceVersionInfo": {"bsp": "5.1.0", "hardware": "2.0", "software": "6.12.3"},
            "deviceConfigOrigin": "cloud",
            "deviceSubscription": {
                "status": "SUSPENDED" if site_id in self._suspended else "ACTIVE",
                "ratePlan": "BASIC",
                "addons": [],
                "autoRenew": True,
                "yearly": True,
                "startDate": "2023-12-01",
                "endDate": None,
                "options": [],
            },
            "tags": {},
        }

    def _configs(self, site_id: str, rest: list[str]) -> Response:
        if (wait_s := self._config_limit.wait_s()) > 0:
            return _too_many(wait_s, "100 requests in 5 minutes on configurations")
        properties = [self._property_config(register) for register in self._of_site(site_id)]
        if rest == ["current", "properties"]:
            return answer(properties)
        if rest:
            return error(404, "No such configuration.")
        first, second = "2023-11-20T09:00:00Z", "2023-12-01T09:00:00Z"
        archived = {
            "revisionId": "rev-1",
            "parentRevisionId": None,
            "notes": "First set-up",
            "createdAt": first,
            "updatedAt": second,
            "status": "ARCHIVED",
            "errors": [],
            "properties": [],
            "networks": [],
            "equipments": [],
        }
        revision = {"revisionId": "rev-2", "parentRevisionId": "rev-1", "notes": ""}
        body = {"createdAt": second, "updatedAt": second, "status": "CURRENT", "errors": []}
        equipments = [
            {
                "equipmentId": _equipment_id(meter_id),
                "name": meter_id.rpartition(".")[2],
                "config": {"protocol": "LORAWAN_V1_0"},
                "tags": {},
            }
            for meter_id in sorted({register.meter_id for register in self._of_site(site_id)})
        ]
        parts = {"properties": properties, "networks": [], "equipments": equipments}
        return answer([revision | body | parts, archived])

    def _property_config(self, register: Register) -> dict:
        scaling = {"a": 0.001, "b": 0.0} if _shape(register) in ("count", "text") else None
        return {
            "propertyId": property_id_wattsense(register.register_id),
            "equipmentId": _equipment_id(register.meter_id),
            "name": register.name,
            "slug": _slug(register),
            "description": "",
            "accessType": "REMOTE_READ_ONLY",
            "disabled": False,
            "kind": "number",
            "config": {},
            "timer": 900,
            "unit": _UNIT_TEXT[register.unit],
            "scaling": scaling,
            "tags": {},
        }

    def _of_site(self, site_id: str) -> list[Register]:
        return [
            each
            for each in self.truth.registers.values()
            if each.site_id == site_id and each.vendor == "wattsense"
        ]

    def _find(self, site_id: str, property_or_slug: str) -> Register | None:
        for register in self._of_site(site_id):
            known = (property_id_wattsense(register.register_id), _slug(register))
            if property_or_slug in known:
                return register
        return None

    # -- values ------------------------------------------------------------------------------

    def _properties(self, request: Request, site_id: str, rest: list[str]) -> Response:
        if rest:
            register = self._find(site_id, "/".join(rest))
            if register is None:
                return error(404, f"No property {'/'.join(rest)}.")
            value = self._latest(site_id, register)
            if value is None:
                return Response(status_code=204)
            if request.query_params.get("includeHistory", "false") == "true":
                history = self._items(register, 0, self.truth.now_ms() + 1, 100, newest=True)
                value["history"] = {"readValues": history, "writeValues": []}
            return answer(value)
        query = parse_qsl(request.url.query, keep_blank_values=True)
        if not query:
            latest = (self._latest(site_id, register) for register in self._of_site(site_id))
            values = [value for value in latest if value is not None]
            return answer(values) if values else Response(status_code=204)
        return self._history(request, site_id, query)

    def _history(self, request: Request, site_id: str, query: list[tuple[str, str]]) -> Response:
        asked = dict(query)
        if unknown := set(asked) - _HISTORY_KEYS:
            return error(400, f"Unknown query parameter: {sorted(unknown)[0]}.")
        if len(asked) != len(query):
            return error(400, "A query parameter is given twice.")
        register = self._find(site_id, asked.get("property", ""))
        if register is None:
            return error(404, f"No property {asked.get('property', '')!r} on this device.")
        now_ms = self.truth.now_ms()
        numbers: dict[str, int] = {}
        defaults = (("since", 0), ("until", now_ms + 1), ("size", DEFAULT_SIZE))
        for name, default in defaults:
            text = asked.get(name, str(default))
            if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
                return error(400, f"{name} must be a whole number, not {text!r}.")
            numbers[name] = int(text)
        size = numbers["size"]
        if not 1 <= size <= MAX_SIZE:
            return error(400, f"size must lie between 1 and {MAX_SIZE}.")
        items = self._items(register, numbers["since"], numbers["until"], size + 1)
        if not items:
            return Response(status_code=204)
        headers: dict[str, str] = {}
        if len(items) > size:
            following = asked | {"since": str(items[size]["timestamp"]), "size": str(size)}
            following.pop("repeat", None)
            headers["Link"] = f'<{self._link(request, following)}>; rel="next"'
        return answer(items[:size], headers=headers)

    def _link(self, request: Request, query: dict[str, str]) -> str:
        """Return the next page's address: absolute and relative in turn, as clients have seen."""
        path = quote(request.scope["path"]) + "?" + urlencode(query)
        self._n_pages += 1
        return path if self._n_pages % 2 else f"{request.url.scheme}://{request.url.netloc}{path}"

    def _items(
        self, register: Register, since_ms: int, until_ms: int, limit: int, newest: bool = False
    ) -> list[dict]:
        samples = self.truth.samples(register.register_id, since_ms, until_ms)
        now_ms = self.truth.now_ms()
        first, last = np.searchsorted(samples.at_ms, [since_ms, until_ms])
        window = slice(int(first), int(max(first, last)))
        at = np.flatnonzero(samples.visible_ms[window] <= now_ms) + window.start
        at = at[-limit:] if newest else at[:limit]
        property_id, shape = property_id_wattsense(register.register_id), _shape(register)
        return [
            {"property": property_id, "timestamp": stamp} | _payload(shape, value)
            for stamp, value in zip(
                samples.at_ms[at].tolist(), samples.value_native[at].tolist(), strict=True
            )
        ]

    def _latest(self, site_id: str, register: Register) -> dict | None:
        now_ms = self.truth.now_ms()
        items = self._items(register, now_ms - 2 * 86_400_000, now_ms + 1, 1, newest=True)
        items = items or self._items(register, 0, now_ms + 1, 1, newest=True)
        if not items:
            return None
        return {
            "deviceId": device_id_wattsense(site_id),
            **items[0],
            "slug": _slug(register),
            "name": register.name,
            "writeTimestamp": None,
            "writePayload": None,
            "writeScaledPayload": None,
            "writeOutOfService": None,
            "unit": _UNIT_TEXT[register.unit],
            "equipmentId": _equipment_id(register.meter_id),
            "gatewayInterfaceId": None,
            "tags": {},
            "externalId": None,
            "isOutOfService": items[0]["timestamp"] < now_ms - 12 * 3_600_000,
        }


def _too_many(wait_s: float, rule: str) -> Response:
    return error(429, f"Too many requests: {rule}.", **{"Retry-After": str(int(wait_s) + 1)})


def _slug(register: Register) -> str:
    return register.purpose.replace("_", "-")


def _equipment_id(meter_id: str) -> str:
    return "e" + property_id_wattsense(meter_id)[1:8]


def _shape(register: Register) -> str:
    """Say how a property spells its values: clients have seen all four.

    plain: both numbers; unscaled: no scaledPayload; count: payload counts thousandths; text: the
    same as a string. A replay keeps the file's number as it is.
    """
    if register.site_id == "opsd" or register.unit != "kWh":
        return "unscaled"
    spread = int(property_id_wattsense(register.register_id)[1:], 16) % 5
    return ("plain", "plain", "unscaled", "count", "text")[spread]


def _payload(shape: str, value: float) -> dict:
    if shape == "unscaled":
        return {"payload": value, "scaledPayload": None}
    if shape == "plain":
        return {"payload": value, "scaledPayload": value}
    count = round(value * 1000.0)
    return {"payload": count if shape == "count" else str(count), "scaledPayload": value}
