"""SmartgridOne (Eniris) on both of its hosts: `/smartgridone/auth/...` and `/smartgridone/v1/...`.

Routes a call to the authentication host, or to the API once its access token was read. The parts
are in `smartgridone_auth`, `_devices` (with `_patch`), `_licences`, `_telemetry` and `_budget`, and
what there is to serve in `_fleet`. What is modelled and not documented is named in each of them.
"""

from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.model import Truth
from energy_etl.sandbox.smartgridone_answers import RefusedError, answer, read_json
from energy_etl.sandbox.smartgridone_auth import Tokens
from energy_etl.sandbox.smartgridone_budget import Budget, cost_of
from energy_etl.sandbox.smartgridone_devices import Devices
from energy_etl.sandbox.smartgridone_fleet import build_fleet
from energy_etl.sandbox.smartgridone_licences import Licences
from energy_etl.sandbox.smartgridone_telemetry import Telemetry

PREFIX = "/smartgridone"
DEFAULT_TIER = "free"


class SmartgridOne:
    """The vendor: one account that sees two companies."""

    def __init__(
        self,
        truth: Truth,
        credentials: Credentials,
        *,
        tokens: dict[str, Any] | None = None,
        budget: dict[str, Any] | None = None,
        has_fine_policy: bool = False,
        time_format: str = "iso",
    ) -> None:
        """Serve `truth` to the holders of `credentials`.

        Args:
            truth: a world; registers whose vendor is smartgridone are served.
            credentials: the accounts.
            tokens: options of `Tokens`, such as `access_life_s`.
            budget: options of `Budget`, such as `tiers` and `ban_s`.
            has_fine_policy: also hold `rp_one_s`.
            time_format: how telemetry spells time: iso, iso_ns or ms.
        """
        self.fleet = build_fleet(truth, has_fine_policy=has_fine_policy)
        self.tokens = Tokens(credentials, **tokens or {})
        self.budget = Budget(**budget or {})
        self.telemetry = Telemetry(
            truth, self.fleet, has_fine_policy=has_fine_policy, time_format=time_format
        )
        self._devices = Devices(truth, self.fleet)
        self.licences = Licences(truth, self.fleet)

    def handle(self, request: Request, raw_path: str, body: bytes) -> Response:
        """Answer one call; `raw_path` is the path as it was sent."""
        parts = [unquote(part) for part in raw_path.removeprefix(PREFIX + "/").split("/")]
        try:
            if parts[0] == "auth":
                return self.tokens.handle(request, parts[1:], body)
            if parts[0] == "v1":
                return self._api(request, parts[1:], body)
            raise RefusedError(404)
        except RefusedError as refused:
            wait_s = refused.retry_after_s
            is_header = wait_s is not None and parts[0] == "v1"
            return refused.response(**({"Retry-After": refused.wait_text()} if is_header else {}))

    def error(self, status: int, **headers: str) -> Response:
        """Return a fault's answer."""
        wait = headers.get("Retry-After")
        refused = RefusedError(
            status,
            "The sandbox was told to fail.",
            retry_after_s=None if wait is None else float(wait),
        )
        return refused.response(**headers)

    def _api(self, request: Request, parts: list[str], body: bytes) -> Response:
        self.budget.check_ban()
        self.tokens.user_of(request)
        if request.method == "POST" and parts == ["telemetry", "query"]:
            return self._query(request, body)
        if parts[0] == "license":
            return self.licences.handle(request, parts[1:], body)
        return self._devices.handle(request, parts, body)

    def _query(self, request: Request, body: bytes) -> Response:
        self.budget.check_patience()
        content = read_json(body)
        statements = self.telemetry.read(content)
        tier = request.query_params.get("apiTier", DEFAULT_TIER)
        spent = self.budget.spend(tier, cost_of(each.points for each in statements))
        rows = [self.telemetry.run(number, each) for number, each in enumerate(statements)]
        return answer(rows if isinstance(content, list) else rows[0], headers=spent)
