"""Wiser Energy Monitoring: a customer's locations, sites, rooms and devices; no readings.

Base path `/wiser`; `/ecostruxure/v1/oauth/...` is in `wiser_consent.py`, resources are under
`/ecostruxure/wiser-energy-monitoring/v1`. The vendor's page names no path and no field; they are
those of Schneider's sibling APIs. Decided here: which lists are long (`{"devices": [...],
"totalCount": n}` with offset and limit) and which are bare; one site writes `timeZone`, one an
abbreviation that is no time zone; each site has a gateway, which is no meter. Tests move, rename
and remove things by `change` and `remove`.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, unquote
from zoneinfo import ZoneInfo

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.model import Register, Truth, id_wiser
from energy_etl.sandbox.wiser_consent import READING_SCOPE, ConsentError, Consents

PREFIX: Final = "/wiser"
AUTHORIZE_PATH: Final = "/ecostruxure/v1/oauth/authorize"
TOKEN_PATH: Final = "/ecostruxure/v1/oauth/token"
API_PATH: Final = "/ecostruxure/wiser-energy-monitoring/v1"
PAGE_SIZE: Final = 50
TOKEN_LIFETIME_S: Final = 3600.0
CODE_LIFETIME_S: Final = 60.0
KINDS: Final = ("locations", "sites", "rooms", "devices")

_TITLES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
}
# Where the meter of each purpose stands; one has no room.
_ROOM_OF: Final = {
    "grid_import": "Technical room",
    "grid_export": "Technical room",
    "pv": "Technical room",
    "heat_pump": "Technical room",
    "ev": "Garage",
    "dishwasher": "Kitchen",
    "fridge": "Kitchen",
    "refrigerator": "Kitchen",
    "freezer": "Kitchen",
    "washing_machine": "Laundry",
}
_FLOOR_OF: Final = {"Technical room": "-1", "Laundry": "-1", "Kitchen": "0"}
_COUNTRY_OF: Final = {
    "Europe/Rome": "IT",
    "Europe/Dublin": "IE",
    "Europe/Berlin": "DE",
    "Europe/Brussels": "BE",
}
_COORDINATES_OF: Final = {
    "Europe/Rome": (41.876213, 12.502774, 37.0),
    "Europe/Dublin": (53.323061, -6.265733, 22.0),
}
_OFFLINE_SHARE: Final = 0.1
_MOST_DIGITS: Final = 18


def problem(status: int, detail: str, **more: object) -> Response:
    """Return an error as RFC 7807 has it."""
    body = {
        "type": f"https://api.example.org/problems/{status}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "instance": "/sandbox",
        **more,
    }
    return Response(msgspec.json.encode(body), status, media_type="application/problem+json")


def gateway_fault(status: int, text: str, code: str) -> Response:
    """Return an error in the shape of the gateway in front of the API."""
    body = {"fault": {"faultstring": text, "detail": {"errorcode": code}}}
    return Response(msgspec.json.encode(body), status, media_type="application/json")


class Wiser:
    """The vendor: the locations of one customer, and the consents that were given for them."""

    def __init__(
        self,
        truth: Truth,
        credentials: Credentials,
        *,
        token_lifetime_s: float = TOKEN_LIFETIME_S,
        code_lifetime_s: float = CODE_LIFETIME_S,
        rotates: bool = True,
        long_lists: Collection[str] = ("devices",),
        page_size: int = PAGE_SIZE,
    ) -> None:
        """Serve `truth` to whom the customer allowed it.

        Args:
            truth: its locations, sites and electricity meters.
            credentials: the registered clients.
            token_lifetime_s: how long an access token is accepted, by the real clock.
            code_lifetime_s: the same for a code.
            rotates: whether a renewal gives a new refresh token and ends the old one.
            long_lists: the kinds that are listed with totalCount, page by page.
            page_size: items of a page at most, whatever limit is given.
        """
        self.long_lists, self.page_size = frozenset(long_lists), page_size
        self.things: dict[str, dict[str, dict]] = {kind: {} for kind in KINDS}
        _fill(self.things, truth)
        self.consents = Consents(
            credentials.wiser,
            self._places,
            token_lifetime_s=token_lifetime_s,
            code_lifetime_s=code_lifetime_s,
            rotates=rotates,
        )

    def handle(self, request: Request, raw_path: str, body: bytes) -> Response:
        """Answer one call; `raw_path` is the path as it was sent."""
        path = raw_path.removeprefix(PREFIX)
        if path == AUTHORIZE_PATH:
            return self.consents.authorize(request, body)
        if path == TOKEN_PATH:
            return self.consents.token(request, body)
        header = request.headers.get("authorization", "")
        if not header:
            return gateway_fault(401, "Invalid access token", "oauth.v2.InvalidAccessToken")
        try:
            grant = self.consents.granted(header)
        except ConsentError as error:
            text = "Access Token expired" if error.is_expired else "Invalid Access Token"
            return problem(401, text)
        if READING_SCOPE not in grant.scope.split():
            return problem(403, f"The scope {READING_SCOPE} is missing.")
        if not path.startswith(API_PATH + "/"):
            return gateway_fault(404, "Unable to identify proxy", "messaging.adaptors.http.404")
        if request.method != "GET":
            return problem(405, "This API is read only.")
        parts = [unquote(part) for part in path.removeprefix(API_PATH + "/").split("/")]
        return self._route(request.url.query, parts)

    def error(self, status: int, **headers: str) -> Response:
        """Return a fault's answer: the gateway's own above 500, a problem below."""
        if status >= 500:
            answer = gateway_fault(status, "The Service is temporarily unavailable", "gateway.503")
        else:
            answer = problem(status, "The sandbox was told to fail.")
        answer.headers.update(headers)
        return answer

    def change(self, kind: str, thing_id: str, **members: object) -> None:
        """Change members of a thing as they are sent: `name`, `roomId`, ...; None removes one."""
        thing = self.things[kind].setdefault(thing_id, {"id": thing_id})
        thing.update(members)
        self.things[kind][thing_id] = {k: v for k, v in thing.items() if v is not None}

    def remove(self, kind: str, thing_id: str) -> None:
        """Take a thing away; what is in it is not listed any more."""
        del self.things[kind][thing_id]

    def _places(self) -> dict[str, list[str]]:
        sites = self.things["sites"].values()
        return {
            each["name"]: [site["name"] for site in sites if site.get("locationId") == location_id]
            for location_id, each in self.things["locations"].items()
        }

    def _route(self, query: str, parts: list[str]) -> Response:
        match parts:
            case [("locations" | "sites") as kind]:
                return self._list(kind, query)
            case [("locations" | "sites") as kind, thing_id] if thing_id in self.things[kind]:
                return _answer(self.things[kind][thing_id])
            case ["locations", location_id, "sites"] if location_id in self.things["locations"]:
                return self._list("sites", query, locationId=location_id)
            case ["sites", site_id, ("rooms" | "devices") as kind] if (
                site_id in self.things["sites"]
            ):
                return self._list(kind, query, siteId=site_id)
        return problem(404, f"There is no {'/'.join(parts)}.")

    def _list(self, kind: str, query: str, **within: str) -> Response:
        given = dict(parse_qsl(query, keep_blank_values=True))
        faults = [
            {"path": "query", "name": name, "reason": reason}
            for name, text in given.items()
            if (reason := _fault_of(name, text))
        ]
        if faults:
            return problem(400, "Invalid parameters", **{"invalid-params": faults})
        found = [
            {name: value for name, value in each.items() if name != _INSIDE.get(kind)}
            for each in self.things[kind].values()
            if all(each.get(name) == value for name, value in within.items())
        ]
        if kind not in self.long_lists:
            return _answer(found)
        offset = int(given.get("offset", 0))
        limit = min(int(given.get("limit", PAGE_SIZE)), self.page_size)
        return _answer({kind: found[offset : offset + limit], "totalCount": len(found)})


# Known from the path alone: siblings do not repeat it in a device.
_INSIDE: Final = {"devices": "siteId"}


def _answer(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


def _fault_of(name: str, text: str) -> str | None:
    if name not in ("offset", "limit"):
        return "is not known"
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        return "must be a whole number"
    if name == "limit" and not 1 <= int(text) <= PAGE_SIZE:
        return f"must be from 1 to {PAGE_SIZE}"
    return None


def _fill(things: Mapping[str, dict[str, dict]], truth: Truth) -> None:
    n_sites = 0
    for location, site_ids in truth.locations.items():
        location_id = id_wiser("location", location)
        first = truth.sites[site_ids[0]]
        things["locations"][location_id] = _without_none(
            {
                "id": location_id,
                "name": location,
                "countryIsoCode": _COUNTRY_OF.get(first.zone),
                "timezone": first.zone,
                "siteIds": [id_wiser("site", site_id) for site_id in site_ids],
            }
        )
        for site_id in site_ids:
            _fill_site(things, truth, site_id, location, n_sites)
            n_sites += 1


def _fill_site(
    things: Mapping[str, dict[str, dict]], truth: Truth, site_id: str, location: str, number: int
) -> None:
    site = truth.sites[site_id]
    wiser_id = id_wiser("site", site_id)
    things["sites"][wiser_id] = {
        "id": wiser_id,
        "name": site.name,
        "type": "Residential",
        "locationId": id_wiser("location", location),
        "postalAddress": _address(site.zone, location, number),
    }
    # One meter may have several registers; the first tells where it stands.
    meters: dict[str, Register] = {}
    for register in truth.registers.values():
        if register.site_id == site_id and register.commodity == "electricity":
            meters.setdefault(register.meter_id, register)
    gateway_id = id_wiser("device", f"{site_id}.gateway")
    things["devices"][gateway_id] = {
        "id": gateway_id,
        "siteId": wiser_id,
        "name": "Gateway",
        "type": "Gateway",
        "model": "Wiser Gateway",
        "serialNumber": f"SN{gateway_id[:8].upper()}",
        "online": True,
        "firmwareVersion": "2.4.1",
    }
    for meter_id, register in meters.items():
        room = _ROOM_OF.get(register.purpose)
        room_id = id_wiser("room", f"{site_id}.{room}") if room else None
        if room and room_id:
            things["rooms"][room_id] = _without_none(
                {"id": room_id, "name": room, "siteId": wiser_id, "floor": _FLOOR_OF.get(room)}
            )
        device_id = id_wiser("device", meter_id)
        things["devices"][device_id] = _without_none(
            {
                "id": device_id,
                "siteId": wiser_id,
                "name": "Mains" if register.role == "mains" else register.name,
                "type": "EnergyMeter",
                "roomId": room_id,
                "gatewayId": gateway_id,
                "serialNumber": f"SN{device_id[:8].upper()}",
                "model": "PowerTag M63",
                "commodity": "Electricity",
                "usage": "MainMeter" if register.role == "mains" else "SubMeter",
                "online": truth.draw("wiser-online", meter_id) >= _OFFLINE_SHARE,
            }
        )


def _address(zone: str, location: str, number: int) -> dict:
    latitude, longitude, elevation = _COORDINATES_OF.get(zone, (None, None, None))
    # The abbreviation of a summer's day: IST is Irish, Indian and Israeli at once.
    name = datetime(2024, 7, 1, tzinfo=UTC).astimezone(ZoneInfo(zone)).tzname()
    spelling = ("timezone", zone) if number == 0 else ("timeZone", zone)
    if number >= 2:
        spelling = ("timezone", str(name))
    return _without_none(
        {
            "address": f"{number + 1} Example Street",
            "city": location,
            "countryIsoCode": _COUNTRY_OF.get(zone),
            "zipCode": f"{10_000 + number}",
            "stateProvince": None,
            spelling[0]: spelling[1],
            "coordinates": None
            if latitude is None
            else {"latitude": latitude, "longitude": longitude, "elevation": elevation},
        }
    )


def _without_none(members: dict) -> dict:
    return {name: value for name, value in members.items() if value is not None}
