"""Digiwatt as its Services API 1.0 page says: a token and ten read-only endpoints per smart meter.

Base path `/digiwatt`; `POST /auth/token`, `GET /smartmeters/{id}/<name>[/{period}]` with the id
percent-encoded. The page leaves open, and this sandbox decides: the paths, the shapes below the
first level, the twelve months being complete ones, the hourly series with four decimals where
totals have two, the inside of `savings` being Wh and EUR throughout. What the vendor knows is in
`estimates.py`; an empty period (a Monday's this-week) has value 0 and no trend.
"""

import secrets
import time
from urllib.parse import parse_qsl, unquote

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.calendar import from_ms
from energy_etl.sandbox.estimates import Estimates, Window, zone_of
from energy_etl.sandbox.model import Truth, id_digiwatt

PREFIX = "/digiwatt"
TOKEN_LIFETIME_S = 36_000
PERIODS = ("yesterday", "last-seven-days", "this-week", "last-week", "this-month", "last-month")
# For this meter one month of the yearly distribution says more than the consumption history.
PLANTED_SITE_ID = "dublin-a"
PLANTED_MONTHS_BACK = 4
PLANTED_APPLIANCE = "fridge"
PLANTED_FACTOR = 1.6
_DOCUMENTED_APPLIANCES = ("washingMachine", "dishwasher", "fridge", "standby")


def _answer(body: object, status: int = 200, **headers: str) -> Response:
    raw = msgspec.json.encode(body)
    return Response(raw, status, headers=headers or None, media_type="application/json")


def _round2(value: float) -> float:
    return round(float(value), 2)


class Digiwatt:
    """The vendor: one smart meter per site, on its grid import."""

    def __init__(
        self,
        truth: Truth,
        credentials: Credentials,
        *,
        trend_variant: str = "elapsed",
        has_today: bool = False,
        token_lifetime_s: float = TOKEN_LIFETIME_S,
        wraps_answers: bool = False,
    ) -> None:
        """Serve `truth` to the holders of `credentials`.

        Args:
            truth: what is metered.
            credentials: the accepted clients.
            trend_variant: `elapsed` compares this-week and this-month with the same elapsed part,
                `whole` with the whole previous period.
            has_today: whether periods that touch today run up to now.
            token_lifetime_s: how long a token is accepted, by the real clock.
            wraps_answers: a later version of the vendor's site answers `{"status", "data"}`.
        """
        self.truth, self._known = truth, credentials
        self.estimates = Estimates(truth, trend_variant, has_today)
        self._token_lifetime_s = token_lifetime_s
        self._wraps_answers = wraps_answers
        self._tokens: dict[str, float] = {}
        self._sites = {id_digiwatt(site_id): site_id for site_id in truth.sites}

    def handle(self, request: Request, raw_path: str, body: bytes) -> Response:
        """Answer one call; `raw_path` is the path as it was sent."""
        path = raw_path.removeprefix(PREFIX + "/")
        if path == "auth/token":
            if request.method != "POST":
                return self.error(405, Allow="POST")
            return self._token(request.headers.get("content-type", ""), body)
        if not self._is_authorized(request.headers.get("authorization", "")):
            return self.error(401)
        if request.method != "GET":
            return self.error(405, Allow="GET")
        parts = [unquote(part) for part in path.split("/")]
        if len(parts) < 3 or parts[0] != "smartmeters":
            return _answer({"error": "not_found", "message": "No such resource."}, 404)
        return self._meter(parts[1], parts[2], parts[3:])

    def error(self, status: int, **headers: str) -> Response:
        """Return an error in the shape of this vendor."""
        names = {401: "invalid_token", 403: "forbidden", 405: "method_not_allowed"}
        name = names.get(status, "too_many_requests" if status == 429 else "server_error")
        if status == 401:
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} | headers
        return _answer({"error": name, "message": f"HTTP {status}"}, status, **headers)

    def _token(self, content_type: str, body: bytes) -> Response:
        if content_type.partition(";")[0].strip() != "application/x-www-form-urlencoded":
            return _refused(400, "invalid_request", "The body must be form-encoded.")
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if form.get("grant_type") != "client_credentials":
            return _refused(400, "unsupported_grant_type", "Use client_credentials.")
        secret = self._known.digiwatt.get(form.get("client_id", ""))
        if secret is None or not secrets.compare_digest(
            secret.encode(), form.get("client_secret", "").encode()
        ):
            return _refused(401, "invalid_client", "Invalid client or invalid client credentials.")
        now_s = time.monotonic()
        self._tokens = {token: end for token, end in self._tokens.items() if end > now_s}
        token = secrets.token_urlsafe(32)
        self._tokens[token] = now_s + self._token_lifetime_s
        lifetime_s = int(self._token_lifetime_s)
        return _answer({"access_token": token, "expires_in": lifetime_s, "token_type": "Bearer"})

    def _is_authorized(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        return scheme == "Bearer" and self._tokens.get(token, 0.0) > time.monotonic()

    def _meter(self, meter_id: str, name: str, rest: list[str]) -> Response:
        site_id = self._sites.get(meter_id)
        if site_id is None:
            return _answer({"error": "not_found", "message": "Unknown smart meter."}, 404)
        by_period = {
            "estimated-costs": self._estimated_costs,
            "consumption": self._consumption,
            "consumption-distribution": self._distribution,
            "performance": self._performance,
            "disaggregation": self._disaggregation,
        }
        plain = {
            "savings": self._savings,
            "consumption-history": self._consumption_history,
            "costs-history": self._costs_history,
            "yearly-consumption-distribution": self._yearly_distribution,
            "yearly-compound-consumption": self._yearly_compound,
        }
        if name in by_period:
            if len(rest) != 1 or rest[0] not in PERIODS:
                message = f"period must be one of {', '.join(PERIODS)}."
                return _answer({"error": "bad_request", "message": message}, 400)
            body = by_period[name](site_id, rest[0])
        elif name in plain and not rest:
            body = plain[name](site_id)
        else:
            return _answer({"error": "not_found", "message": f"No endpoint {name}."}, 404)
        return _answer({"status": "success", "data": body} if self._wraps_answers else body)

    # -- per period --------------------------------------------------------------------------

    def _value_with_trend(self, slots: np.ndarray, site_id: str, period: str) -> dict:
        windows = self.estimates.windows(site_id, period)
        current = self.estimates.total(slots, windows.current)
        previous = self.estimates.total(slots, windows.previous)
        trend = None
        if windows.current.length_ms > 0 and previous > 0:
            trend = int(np.floor(100.0 * (current - previous) / previous + 0.5))
        return {"value": _round2(current), "previousPeriodValueTrend": trend}

    def _consumption(self, site_id: str, period: str) -> dict:
        return self._value_with_trend(self.estimates.mains(site_id), site_id, period)

    def _estimated_costs(self, site_id: str, period: str) -> dict:
        return self._value_with_trend(self.estimates.costs(site_id), site_id, period)

    def _distribution(self, site_id: str, period: str) -> list[dict]:
        return self._parts(site_id, self.estimates.windows(site_id, period).current)

    def _parts(self, site_id: str, window: Window) -> list[dict]:
        """Return the total per appliance; `other` closes the sum to the rounded consumption."""
        total = _round2(self.estimates.total(self.estimates.mains(site_id), window))
        rows = [
            {"appliance": appliance, "value": _round2(self.estimates.total(slots, window))}
            for appliance, slots in self.estimates.appliances(site_id).items()
        ]
        rest = _round2(total - sum(row["value"] for row in rows))
        return [*rows, {"appliance": "other", "value": rest}]

    def _performance(self, site_id: str, period: str) -> dict:
        return self._compared(site_id, self.estimates.windows(site_id, period).current, 1.0, 2)

    def _compared(self, site_id: str, window: Window, factor: float, digits: int | None) -> dict:
        user = self.estimates.total(self.estimates.mains(site_id), window) * factor
        peers = [share * user for share in self.estimates.peer_shares(site_id)]
        return {
            "minConsumption": round(min(user, *peers), digits),
            "maxConsumption": round(max(user, *peers), digits),
            "userConsumption": round(user, digits),
        }

    def _disaggregation(self, site_id: str, period: str) -> list[dict]:
        window = self.estimates.windows(site_id, period).current
        edges = self.estimates.hours(site_id, window)
        zone = zone_of(self.truth, site_id)
        starts = [from_ms(each).astimezone(zone).isoformat() for each in edges[:-1]]
        mains = self.estimates.per_bucket(self.estimates.mains(site_id), edges)
        series: dict[str, np.ndarray] = {}
        for appliance, slots in self.estimates.appliances(site_id).items():
            series[appliance] = self.estimates.per_bucket(slots, edges)
        series["other"] = mains - sum(series.values())
        return [
            {
                "appliance": appliance,
                "values": [
                    {"start": start, "value": value}
                    for start, value in zip(starts, np.round(values, 4).tolist(), strict=True)
                ],
            }
            for appliance, values in series.items()
        ]

    # -- twelve months and thirty days -------------------------------------------------------

    def _savings(self, site_id: str) -> dict:
        window = self.estimates.last_days(site_id, 30)
        estimates = self.estimates
        price = estimates.price(site_id)
        body: dict[str, object] = {
            "estimatedConsumption": _wh(estimates.total(estimates.mains(site_id), window)),
            "estimatedCost": _round2(estimates.total(estimates.costs(site_id), window)),
            "performance": self._compared(site_id, window, 1000.0, None),
        }
        appliances = estimates.appliances(site_id)
        for appliance in _DOCUMENTED_APPLIANCES:
            if appliance in appliances:
                slots = appliances[appliance]
                body[appliance] = {
                    "estimatedConsumption": _wh(estimates.total(slots, window)),
                    "estimatedCost": _round2(estimates.total(slots * price, window)),
                }
        return body

    def _consumption_history(self, site_id: str) -> list[dict]:
        mains = self.estimates.mains(site_id)
        return [
            {"month": month, "value": _round2(self.estimates.total(mains, window))}
            for month, window in self.estimates.months(site_id)
        ]

    def _costs_history(self, site_id: str) -> dict:
        costs = self.estimates.costs(site_id)
        rows = [
            {"month": month, "value": _round2(self.estimates.total(costs, window))}
            for month, window in self.estimates.months(site_id)
        ]
        month, so_far, whole = self.estimates.this_month(site_id)
        share = so_far.length_ms / whole.length_ms
        value = self.estimates.total(costs, so_far) / share if share > 0 else 0.0
        return {"forecast": {"month": month, "value": _round2(value)}, "costs": rows}

    def _yearly_distribution(self, site_id: str) -> list[dict]:
        months = self.estimates.months(site_id)
        rows = [
            {"month": month, "appliances": self._parts(site_id, window)} for month, window in months
        ]
        if site_id == PLANTED_SITE_ID and len(rows) >= PLANTED_MONTHS_BACK:
            for part in rows[-PLANTED_MONTHS_BACK]["appliances"]:
                if part["appliance"] == PLANTED_APPLIANCE:
                    part["value"] = _round2(part["value"] * PLANTED_FACTOR)
        return rows

    def _yearly_compound(self, site_id: str) -> list[dict]:
        mains = self.estimates.mains(site_id)
        bands = self.estimates.bands(site_id)
        rows = []
        for month, window in self.estimates.months(site_id):
            total = _round2(self.estimates.total(mains, window))
            parts = [
                {"name": name, "value": _round2(self.estimates.total(mains * is_band, window))}
                for name, is_band in bands.items()
            ]
            rows.append({"month": month, "total": total, "parts": parts})
        return rows


def _wh(kwh: float) -> int:
    return round(kwh * 1000.0)


def _refused(status: int, error: str, description: str) -> Response:
    return _answer({"error": error, "error_description": description}, status)
