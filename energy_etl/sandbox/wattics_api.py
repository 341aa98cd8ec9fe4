"""Wattics' read and management API: what the collector received, as organizations, sites, meters.

Paths, parameters and the shapes of raw data and consumptions are those of the vendor's developer
pages and of public clients of them; statuses of errors, ids, the shape of costs, `reference` = the
stream's id, and how holes, falls and repeats count are modelled, not verified.

One meter per stream of the truth; a meter that is created becomes a stream which the collector
accepts. Everything measured is computed from the packets that came, in their order: energy is the
difference of successive counters (a fall counts 0) or the sum of `value`, and belongs to the
sampling interval that ends with the packet's stamp, on the calendar of the site.
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.calendar import add_months, to_ms
from energy_etl.sandbox.model import SlotPrices, Truth, price_slots
from energy_etl.sandbox.wattics import StreamLog, Wattics
from energy_etl.units import KWH_PER_UNIT, energy_wh_to_power_w

PREFIX: Final = "/wattics/api/v1"
MAX_RAW_DATA: Final = timedelta(days=90)
_FIRST_SITE, _FIRST_METER = 101, 1001
_RESOURCES: Final = ("organizations", "sites", "meters", "appliances")
_PARENTS: Final = {"sites": "organization_id", "meters": "site_id", "appliances": "meter_id"}
_REQUIRED: Final = {
    "organization": ("name",),
    "site": ("organization_id", "name"),
    "meter": ("name", "site_id", "type", "reference", "process_sampling_rate"),
}
_TEXTS: Final = ("name", "type", "reference")
# As many fit into 64 bits.
_MAX_DIGITS: Final = 18
_YEARS: Final = range(1970, 2101)
_INSTANT_FORMATS: Final = ("%Y-%m-%d %H:%M:%S", "%d/%m/%Y")
_STATE_FILE: Final = "wattics-api.jsonl"
_AGREED_UNITS: Final = {"W": "Wh", "kW": "kWh"}


class _Refused(Exception):
    """A call that is answered with a status; the message is for the body."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class _Place:
    """What an id stands for beside what is shown of it."""

    shown: dict[str, Any]
    ours: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    """What one packet says: the end of its interval (UTC), the start (local), the amount."""

    end_at: datetime
    start_local: datetime
    amount: float
    power_w: float | None


class WatticsApi:
    """Organizations, sites, meters and what they hold; `handle` answers one call."""

    def __init__(
        self,
        truth: Truth,
        credentials: Credentials,
        collector: Wattics,
        *,
        state_dir: Path | None = None,
    ) -> None:
        """Show the collector's streams; with a `state_dir` what is created outlives a restart."""
        self._truth = truth
        self._known = credentials
        self._collector = collector
        self._places: dict[str, dict[int, _Place]] = {name: {} for name in _RESOURCES}
        self._prices: dict[str, SlotPrices] = {}
        self._fill()
        self._state = None if state_dir is None else state_dir / _STATE_FILE
        if self._state is not None and self._state.is_file():
            for line in self._state.read_text(encoding="utf-8").splitlines():
                resource, wish = json.loads(line)
                self._add(resource, wish)

    def handle(self, request: Request, raw_path: str, body: bytes) -> Response:
        """Answer one call to a path below `/wattics/api/v1`."""
        account = self._account(request.headers.get("authorization", ""))
        if account is None:
            return self.error(401)
        if request.method == "POST" and account.endswith("-reader"):
            return self.error(403)
        parts = [unquote(part) for part in raw_path.removeprefix(PREFIX).strip("/").split("/")]
        try:
            if request.method == "POST":
                return self._create(parts, body)
            if request.method == "GET":
                return _answer(self._read(parts, request.query_params))
        except _Refused as refused:
            return _answer({"error": str(refused)}, refused.status)
        return _answer({"error": "Use GET or POST."}, 405, Allow="GET, POST")

    def error(self, status: int, **headers: str) -> Response:
        """Return an error in the shape of this API."""
        told = {401: "The API token is missing or wrong.", 403: "The API token may only read."}
        return _answer({"error": told.get(status, f"HTTP Status {status}")}, status, **headers)

    def _account(self, token: str) -> str | None:
        return next(
            (name for name, known in self._known.wattics_tokens.items() if known == token), None
        )

    def _fill(self) -> None:
        """Show what the truth has: its sites that have streams, and a meter per stream."""
        truth, streams = self._truth, self._truth.streams.values()
        with_streams = {truth.registers[stream.register_id].site_id for stream in streams}
        organizations: dict[str, int] = {}
        site_ids: dict[str, int] = {}
        for number, site_id in enumerate(sorted(with_streams)):
            site = truth.sites[site_id]
            organization_id = organizations.setdefault(site.organization, len(organizations) + 1)
            shown = {"id": organization_id, "name": site.organization}
            self._places["organizations"][organization_id] = _Place(shown, site.account)
            site_ids[site_id] = _FIRST_SITE + number
            shown = {"id": site_ids[site_id], "organization_id": organization_id}
            shown |= {"name": site.name, "city": site.zone.rpartition("/")[2].replace("_", " ")}
            shown |= {"country": "", "address": "1 Sandbox Street"}
            shown |= {"contact_name": "Sam Sandbox", "contact_email": "sam@sandbox.example"}
            metadata = {"timezone": site.zone, "area_m2": site.area_m2}
            self._places["sites"][site_ids[site_id]] = _Place(shown, site_id, metadata)
        for number, stream in enumerate(sorted(streams, key=lambda each: each.stream_id)):
            register = truth.registers[stream.register_id]
            is_simple = stream.field == "value"
            shown = {
                "id": _FIRST_METER + number,
                "site_id": site_ids[register.site_id],
                "reference": stream.stream_id,
                "name": f"{truth.sites[register.site_id].name}, {register.name}",
                "type": register.commodity,
                "process_sampling_rate_minutes": truth.slot_ms // 60_000,
                # Of a register of power its energy was agreed.
                "unit": _AGREED_UNITS.get(register.unit, register.unit) if is_simple else "Watt",
                "wh_per_pulse": None,
                "reading": "cum" if stream.content == "cumulative_wh" else "avg",
            }
            self._places["meters"][shown["id"]] = _Place(shown, stream.account)

    def _read(self, parts: list[str], asked: Any) -> Any:
        match parts:
            case [resource] if resource in _RESOURCES:
                return self._listed(resource, asked)
            case [resource, id_] if resource in _RESOURCES:
                return self._place(resource, id_).shown
            case [resource, id_, "metadata"] if resource in _RESOURCES:
                return self._place(resource, id_).metadata
            case ["sites", id_, "tariffs"]:
                tariffs = self._truth.tariffs(self._place("sites", id_).ours)
                return [{**asdict(tariff), "site_id": int(id_)} for tariff in tariffs]
            case ["meters", id_, "raw_data"]:
                return self._raw_data(self._place("meters", id_), asked)
            case ["meters", id_, "consumptions"]:
                return self._by_day(self._place("meters", id_), asked, "consumption")
            case ["meters", id_, "costs"]:
                return self._by_day(self._place("meters", id_), asked, "cost")
        raise _Refused(404, "No such resource.")

    def _place(self, resource: str, id_: str) -> _Place:
        found = self._places[resource].get(_number(id_))
        if found is None:
            raise _Refused(404, f"No {resource.removesuffix('s')} {id_!r}.")
        return found

    def _listed(self, resource: str, asked: Any) -> list[dict[str, Any]]:
        parent = _PARENTS.get(resource)
        if parent is None:
            return [place.shown for place in self._places[resource].values()]
        if "organization_id" not in asked:
            raise _Refused(400, "organization_id is missing.")
        for name in ("organization_id", "site_id", "meter_id"):
            if name in asked:
                self._place(name.removesuffix("_id") + "s", asked[name])
        organization_id = int(asked["organization_id"])
        shown = [place.shown for place in self._places[resource].values()]
        if resource == "meters":
            of_site = {
                id_: site.shown["organization_id"] for id_, site in self._places["sites"].items()
            }
            shown = [each for each in shown if of_site[each["site_id"]] == organization_id]
        if resource == "sites" or parent not in asked:
            return [
                each
                for each in shown
                if each.get("organization_id", organization_id) == organization_id
            ]
        return [each for each in shown if each[parent] == int(asked[parent])]

    def _create(self, parts: list[str], body: bytes) -> Response:
        if len(parts) != 1 or parts[0] not in ("organizations", "sites", "meters"):
            raise _Refused(404, "No such resource.")
        name = parts[0].removesuffix("s")
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _Refused(400, f"The body is no JSON: {error}.") from error
        wish = document.get(name) if isinstance(document, dict) else None
        if not isinstance(wish, dict):
            raise _Refused(400, f"The body must be {{{name!r}: {{...}}}}.")
        missing = [each for each in _REQUIRED[name] if wish.get(each) in (None, "")]
        if missing:
            raise _Refused(422, f"{missing[0]} can't be blank.")
        for each in _TEXTS:
            if not isinstance(wish.get(each, ""), str):
                raise _Refused(422, f"{each} must be a text.")
        rate = wish.get("process_sampling_rate", 1)
        if type(rate) is not int or not 1 <= rate <= 1440:
            raise _Refused(422, "process_sampling_rate must be a number of minutes.")
        parent = _PARENTS.get(parts[0])
        if parent is not None:
            self._place(parent.removesuffix("_id") + "s", str(wish[parent]))
        meters = self._places["meters"].values()
        if name == "meter" and wish["reference"] in {each.shown["reference"] for each in meters}:
            raise _Refused(422, "reference has already been taken.")
        if self._state is not None:
            self._state.parent.mkdir(parents=True, exist_ok=True)
            with self._state.open("a", encoding="utf-8") as file:
                file.write(json.dumps([parts[0], wish]) + "\n")
        return _answer(self._add(parts[0], wish), 201)

    def _add(self, resource: str, wish: dict[str, Any]) -> dict[str, Any]:
        places = self._places[resource]
        first = {"sites": _FIRST_SITE, "meters": _FIRST_METER}.get(resource, 1)
        shown = {**wish, "id": max(places, default=first - 1) + 1}
        account = "main"
        if resource == "meters":
            site = self._places["sites"][int(wish["site_id"])].shown
            account = self._places["organizations"][int(site["organization_id"])].ours
            shown["site_id"] = int(wish["site_id"])
            shown["process_sampling_rate_minutes"] = shown.pop("process_sampling_rate")
            shown |= {
                "unit": "Watt" if wish.get("param_type") == "all" else "",
                "wh_per_pulse": None,
            }
            shown.pop("param_type", None)
            self._collector.streams[account].setdefault(str(wish["reference"]), StreamLog())
        elif resource == "sites":
            shown["organization_id"], account = int(wish["organization_id"]), ""
        places[shown["id"]] = _Place(shown, account)
        return shown

    def _raw_data(self, meter: _Place, asked: Any) -> list[dict[str, Any]]:
        from_at, to_at = (_instant(asked, name) for name in ("from", "to"))
        if to_at <= from_at:
            raise _Refused(400, "to must lie after from.")
        if to_at - from_at > MAX_RAW_DATA:
            raise _Refused(400, "from and to lie more than 90 days apart.")
        if asked.get("data_type", "active_power") != "active_power":
            raise _Refused(400, "data_type must be active_power.")
        rows = [step for step in self._steps(meter) if from_at <= step.end_at < to_at]
        return [
            {"timestamp": f"{step.end_at:%Y-%m-%d %H:%M:%S}", "total": round(step.power_w, 2)}
            for step in rows
            if step.power_w is not None
        ]

    def _by_day(self, meter: _Place, asked: Any, what: str) -> list[dict[str, Any]]:
        month, year = _number(asked.get("month", "")), _number(asked.get("year", ""))
        if month not in range(1, 13) or year not in _YEARS:
            raise _Refused(400, "month and year must be numbers.")
        from_on = date(year, month, 1)
        to_on = add_months(from_on, 1)
        days: dict[date, dict[str, float]] = {}
        for step in self._steps(meter):
            if from_on <= step.start_local.date() < to_on:
                amount = step.amount if what == "consumption" else self._cost(meter, step)
                slots = days.setdefault(step.start_local.date(), {})
                slot = f"{step.start_local:%Hh%Mm}"
                slots[slot] = slots.get(slot, 0.0) + amount
        unit = meter.shown["unit"] if what == "consumption" else "EUR"
        decimals = 2 if what == "consumption" else 4
        answer: list[dict[str, Any]] = []
        for on, slots in sorted(days.items()):
            day: dict[str, Any] = {"date": on.isoformat(), "weekday": f"{on:%A}"}
            day[f"total_{what}"] = f"{round(sum(slots.values()), decimals)} {unit}"
            if asked.get("detailed") == "true":
                day[f"{what}_by_time"] = {
                    slot: f"{round(amount, decimals)} {unit}"
                    for slot, amount in sorted(slots.items())
                }
            answer.append(day)
        return answer

    def _steps(self, meter: _Place) -> list[_Step]:
        """What each packet of a meter says, in order of arrival."""
        log = next(
            (
                streams[meter.shown["reference"]]
                for streams in self._collector.streams.values()
                if meter.shown["reference"] in streams
            ),
            StreamLog(),
        )
        site = self._places["sites"][meter.shown["site_id"]].ours
        zone = ZoneInfo(self._truth.sites[site].zone) if site else None
        rate = timedelta(minutes=int(meter.shown["process_sampling_rate_minutes"]))
        before: dict[str, float] = {}
        before_at: datetime | None = None
        steps: list[_Step] = []
        for raw in log.packets:
            packet = msgspec.json.decode(raw)
            stamp = datetime.fromisoformat(packet["tsISO8601"])
            end_at = stamp.astimezone(UTC)
            # A site that was created has no zone here: its packets' own offset stands for it.
            start_local = (end_at - rate).astimezone(zone or stamp.tzinfo)
            counters = {name: packet[name] for name in packet if name.startswith("pC_")}
            known = [name for name in counters if name in before]
            amount = sum(max(counters[name] - before[name], 0.0) for name in known)
            passed_s = (end_at - before_at).total_seconds() if before_at else 0.0
            powers = [packet[name] for name in packet if name.startswith("aP_")]
            power_w = float(sum(powers)) if powers else None
            if power_w is None and known and passed_s > 0:
                power_w = energy_wh_to_power_w(amount, passed_s)
            before |= counters
            before_at = end_at
            if "value" in packet or known or powers:
                steps.append(_Step(end_at, start_local, packet.get("value", amount), power_w))
        return steps

    def _cost(self, meter: _Place, step: _Step) -> float:
        """EUR of a step's energy by the site's tariff; 0 where there is no price for its unit."""
        unit = {"Watt": "Wh"}.get(meter.shown["unit"], meter.shown["unit"])
        site_id = self._places["sites"][meter.shown["site_id"]].ours
        if not site_id or unit not in KWH_PER_UNIT or meter.shown["type"] != "electricity":
            return 0.0
        truth = self._truth
        begin_ms = to_ms(step.end_at) - int(meter.shown["process_sampling_rate_minutes"]) * 60_000
        slot = int((begin_ms - truth.origin_ms) // truth.slot_ms)
        known = self._prices.get(site_id)
        if known is None or slot >= len(known.eur_per_kwh):
            n_slots = max(slot, int((truth.now_ms() - truth.origin_ms) // truth.slot_ms)) + 1
            known = self._prices[site_id] = price_slots(truth, site_id, n_slots)
        price = float(known.eur_per_kwh[slot]) if slot >= 0 else 0.0
        return step.amount * KWH_PER_UNIT[unit] * price


def _answer(body: object, status: int = 200, **headers: str) -> Response:
    return Response(
        msgspec.json.encode(body), status, headers=headers, media_type="application/json"
    )


def _number(text: str) -> int:
    """Return a number written in ASCII digits, -1 for what is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else -1


def _instant(asked: Any, name: str) -> datetime:
    """Read an instant in UTC; both of the formats that clients were seen to send."""
    for form in _INSTANT_FORMATS:
        try:
            return datetime.strptime(asked.get(name, ""), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise _Refused(400, f"{name} must look like 2025-04-16 00:00:00 or 16/04/2025.")
