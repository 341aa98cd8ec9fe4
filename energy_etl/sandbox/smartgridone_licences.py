"""SmartgridOne's licences: activate, claim, by controller, by customer.

What the pages leave open, and this sandbox decides: `duration` is in days; a licence may be claimed
before it is activated; a second activation or claim has the words of any other 400; the customer of
the path is the company's uuid; a licence of somebody else is 403 to activate and 404 to claim. What
was activated or claimed lasts as long as the sandbox runs.

The example: one licence whose solar capacity is below what is installed, one that was ended early,
one not activated, one nobody claimed; at the second company one that ends within 90 days, whenever
one looks.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.calendar import DAY_MS, to_ms
from energy_etl.sandbox.model import Truth
from energy_etl.sandbox.smartgridone_answers import (
    RefusedError,
    answer,
    boolean_of,
    read_object,
    text_of,
)
from energy_etl.sandbox.smartgridone_fleet import FOREIGN, Company, Fleet, company_of, iso, uuid_of

LONGEST_KEY = 50
# A renewed licence ends at the next of these steps that is at least ten days away.
_RENEWAL_MS = 80 * DAY_MS
_AHEAD_MS = 10 * DAY_MS
_ACTIVATE = frozenset({"key"})
_CLAIM = frozenset({"licenseKey", "nodeId"})


@dataclass
class Licence:
    """One licence; kW are whole or not licensed, instants are ms, `duration` is in days."""

    key: str
    company: Company
    capacity: dict[str, int | None]
    created_ms: int
    duration: int
    type: str = "residential"
    activated_ms: int | None = None
    ended_ms: int | None = None
    controller: str | None = None

    def body(self) -> dict:
        """Return it as the API shows it."""
        return {
            "id": uuid_of("licence", self.key),
            "key": self.key,
            **self.capacity,
            "creationDate": iso(self.created_ms),
            "activationDate": None if self.activated_ms is None else iso(self.activated_ms),
            "duration": self.duration,
            "deactivationDate": None if self.ended_ms is None else iso(self.ended_ms),
            "type": self.type,
        }

    def datalinks(self) -> list[str]:
        """Return the links to controllers: none or one."""
        return [] if self.controller is None else [uuid_of("link", self.key, self.controller)]


def _kw(
    grid: int | None, solar: int | None, battery: int | None, ev: int | None
) -> dict[str, int | None]:
    return {"gridKw": grid, "solarKw": solar, "batteryKw": battery, "evKw": ev}


class Licences:
    """The licences of a fleet and the four endpoints below `/v1/license`."""

    def __init__(self, truth: Truth, fleet: Fleet) -> None:
        """Hand out the example's licences to the controllers of `fleet`."""
        self._truth, self._fleet = truth, fleet
        self._licences: dict[str, Licence] = {}
        for controller, site_id in fleet.controllers.items():
            company = company_of(truth, site_id)
            make = self._of_owned if company.is_uuid_told else self._of_served
            for licence in make(company, controller):
                self._licences[licence.key] = licence
        if fleet.controllers:
            self._add_foreign()

    def all(self) -> list[Licence]:
        """Return every licence as it is now, those of somebody else too."""
        return list(self._licences.values())

    def handle(self, request: Request, parts: list[str], body: bytes) -> Response:
        """Answer one call below `/v1/license`."""
        match request.method, parts:
            case "POST", ["activate"]:
                return self._activate(body)
            case "POST", ["claim"]:
                return self._claim(body)
            case "GET", ["controller", node_id]:
                return self._of_controller(node_id)
            case "GET", ["customer", customer_id]:
                return self._of_customer(request, customer_id)
        raise RefusedError(404)

    def _activate(self, body: bytes) -> Response:
        content = read_object(body, _ACTIVATE, frozenset({"activationIso"}))
        key = text_of(content, "key", LONGEST_KEY)
        at_ms = self._truth.now_ms()
        if "activationIso" in content:
            at_ms = _instant_ms(content["activationIso"])
        licence = self._licences.get(key)
        if licence is None:
            raise RefusedError(404)
        if licence.company == FOREIGN:
            raise RefusedError(403)
        if licence.activated_ms is not None:
            raise RefusedError(400)
        licence.activated_ms = at_ms
        return answer({"success": True, "license": licence.body()})

    def _claim(self, body: bytes) -> Response:
        content = read_object(body, _CLAIM)
        key, node_id = text_of(content, "licenseKey", LONGEST_KEY), text_of(content, "nodeId")
        licence = self._licences.get(key)
        if licence is None or licence.company == FOREIGN or node_id not in self._fleet.controllers:
            raise RefusedError(404)
        if licence.controller is not None:
            raise RefusedError(400)
        licence.controller = node_id
        shown = {"id": licence.body()["id"], "key": key, "nodeId": node_id}
        return answer({"success": True, "license": shown})

    def _of_controller(self, node_id: str) -> Response:
        if node_id not in self._fleet.controllers:
            raise RefusedError(404)
        held = [each for each in self._licences.values() if each.controller == node_id]
        return answer({"licenses": [licence.body() for licence in held]})

    def _of_customer(self, request: Request, customer_id: str) -> Response:
        has_links = boolean_of(request.query_params.get("includeDatalinks"))
        if customer_id == FOREIGN.uuid and self._fleet.controllers:
            raise RefusedError(403)
        if customer_id not in {company.uuid for company in self._fleet.companies.values()}:
            raise RefusedError(404)
        held = [each for each in self._licences.values() if each.company.uuid == customer_id]
        rows = [
            licence.body() | ({"datalinks": licence.datalinks()} if has_links else {})
            for licence in held
        ]
        return answer({"licenses": rows})

    def _of_owned(self, company: Company, controller: str) -> list[Licence]:
        start_ms, years = self._truth.origin_ms, 3_650

        def made(name: str, capacity: dict, on_day: int) -> Licence:
            at_ms = start_ms + on_day * DAY_MS
            return Licence(_key(controller, name), company, capacity, at_ms, years)

        # 5 kW of solar are installed: one less is licensed.
        main = made("main", _kw(25, 4, None, 11), 4)
        trial = made("trial", _kw(10, 5, None, None), 1)
        battery = made("battery", _kw(None, None, 10, None), 30)
        spare = replace(made("spare", _kw(25, 10, 10, 22), 30), type="commercial")
        return [
            replace(main, activated_ms=start_ms + 9 * DAY_MS, controller=controller),
            replace(
                trial,
                activated_ms=start_ms + DAY_MS,
                ended_ms=start_ms + 9 * DAY_MS,
                controller=controller,
            ),
            replace(battery, controller=controller),
            spare,
        ]

    def _of_served(self, company: Company, controller: str) -> list[Licence]:
        truth, days = self._truth, 365
        steps = -(-(truth.now_ms() + _AHEAD_MS - truth.origin_ms) // _RENEWAL_MS)
        from_ms = truth.origin_ms + steps * _RENEWAL_MS - days * DAY_MS
        renewed = Licence(
            _key(controller, "yearly"),
            company,
            _kw(30, None, None, None),
            from_ms,
            days,
            activated_ms=from_ms,
            controller=controller,
        )
        return [renewed]

    def _add_foreign(self) -> None:
        key = _key("elsewhere", "main")
        created_ms = self._truth.origin_ms
        self._licences[key] = Licence(key, FOREIGN, _kw(25, 5, None, None), created_ms, 3_650)


def foreign_key() -> str:
    """Return the key of a licence that belongs to somebody else."""
    return _key("elsewhere", "main")


def _key(controller: str, name: str) -> str:
    digits = uuid_of("key", controller, name).replace("-", "").upper()
    return "-".join(digits[at : at + 5] for at in range(0, 20, 5))


def _instant_ms(text: object) -> int:
    """Return an ISO 8601 instant with its zone as ms, or 400."""
    if not isinstance(text, str):
        raise RefusedError(400)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise RefusedError(400) from error
    if at.tzinfo is None:
        raise RefusedError(400)
    return to_ms(at)
