"""Digiwatt's ten endpoints: one method, one row of `ENDPOINTS` each.

All calls are GET and idempotent; `ClientCredentialsAuth` fetches the token from `/auth/token`.
Errors are those of `RestClient`: AuthenticationError for a refused client id, NotFoundError for an
unknown smart meter, BadRequestError for a bad period, RateLimitedError, UnavailableError,
MalformedError. What the answers mean is told in `rows.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from energy_etl.auth import ClientCredentialsAuth
from energy_etl.errors import ConfigurationError
from energy_etl.quota import Quota
from energy_etl.rest import (
    Answer,
    Closing,
    FetchReport,
    Job,
    Progress,
    RequestLog,
    RestClient,
    build_path,
    fetch_all,
)
from energy_etl.tokens import TokenStore
from energy_etl.vendors.digiwatt.settings import DigiwattSettings

PERIODS: Final = (
    "yesterday",
    "last-seven-days",
    "this-week",
    "last-week",
    "this-month",
    "last-month",
)
TOKEN_PATH: Final = "/auth/token"
QUOTA_WINDOW_S: Final = 60.0
_WITH_PERIOD: Final = "/smartmeters/{smartmeter_id}/{name}/{period}"
_WITHOUT_PERIOD: Final = "/smartmeters/{smartmeter_id}/{name}"
# Only the token's path is documented; these are modelled, not verified, and stand only here.
ENDPOINTS: Final = {
    "estimated-costs": _WITH_PERIOD,
    "consumption": _WITH_PERIOD,
    "consumption-distribution": _WITH_PERIOD,
    "performance": _WITH_PERIOD,
    "savings": _WITHOUT_PERIOD,
    "consumption-history": _WITHOUT_PERIOD,
    "costs-history": _WITHOUT_PERIOD,
    "yearly-consumption-distribution": _WITHOUT_PERIOD,
    "yearly-compound-consumption": _WITHOUT_PERIOD,
    "disaggregation": _WITH_PERIOD,
}
# The longest running and the longest complete period cover every instant of the shorter ones.
DISAGGREGATION_PERIODS: Final = ("last-seven-days", "this-month", "last-month")


@dataclass(frozen=True)
class SmartMeter:
    """One meter to ask for.

    Attributes:
        smartmeter_id: Digiwatt's id (portfolio column `meter_id_digiwatt`).
        fetched_on: today at the meter's site: Digiwatt's periods end there.
        subject: what people call it (our meter), for reports.
    """

    smartmeter_id: str
    fetched_on: date
    subject: str


def quota_name(settings: DigiwattSettings) -> str:
    """Return the name of the stored budget of calls."""
    return f"digiwatt at {settings.base_url}"


class DigiwattClient(Closing):
    """Digiwatt's API; safe to share between threads; close it, or use it in a `with`."""

    def __init__(
        self,
        settings: DigiwattSettings,
        *,
        log: RequestLog,
        state_path: Path,
        token_folder: Path,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            settings: the section `digiwatt`.
            log: where calls are recorded; one log is one fetch.
            state_path: `state.sqlite`, where the quota is kept.
            token_folder: where the token file is kept.

        Raises:
            ConfigurationError: a credential is missing, or the token folder is open to others.
        """
        base_url = settings.base_url
        secret = settings.client_secret.get_secret_value()
        if not base_url:
            raise ConfigurationError(
                "digiwatt.base_url is empty and the document names no address: ask Digiwatt and "
                "set ENERGY_ETL_DIGIWATT__BASE_URL in the environment or in .env."
            )
        if not settings.client_id or not secret:
            raise ConfigurationError(
                "digiwatt.client_id or digiwatt.client_secret is empty: set ENERGY_ETL_DIGIWATT__"
                "CLIENT_ID and ENERGY_ETL_DIGIWATT__CLIENT_SECRET in the environment or in .env."
            )
        self._max_parallel = settings.max_parallel
        auth = ClientCredentialsAuth(
            base_url.rstrip("/") + TOKEN_PATH,
            settings.client_id,
            settings.client_secret,
            TokenStore(token_folder),
            vendor="digiwatt",
        )
        quota = Quota(state_path, quota_name(settings), settings.calls_per_minute, QUOTA_WINDOW_S)
        self._rest = RestClient(
            vendor="digiwatt",
            base_url=base_url,
            log=log,
            auth=auth,
            limits=settings.limits,
            quotas=[quota],
            secrets=[secret],
            credential_hint="a new token was refused too: check digiwatt.client_id and "
            "digiwatt.client_secret in the settings",
            max_parallel=settings.max_parallel,
        )

    def close(self) -> None:
        """Close connections and the quota."""
        self._rest.close()

    def fetch_estimated_costs(self, meter: SmartMeter, period: str) -> Answer:
        """GET Estimated Costs: EUR in the period, trend in percent."""
        return self._fetch("estimated-costs", meter, period)

    def fetch_consumption(self, meter: SmartMeter, period: str) -> Answer:
        """GET Consumption: kWh in the period, trend in percent."""
        return self._fetch("consumption", meter, period)

    def fetch_consumption_distribution(self, meter: SmartMeter, period: str) -> Answer:
        """GET Consumption Distribution: kWh per appliance in the period."""
        return self._fetch("consumption-distribution", meter, period)

    def fetch_performance(self, meter: SmartMeter, period: str) -> Answer:
        """GET Performance: kWh against similar users in the period."""
        return self._fetch("performance", meter, period)

    def fetch_savings(self, meter: SmartMeter) -> Answer:
        """GET Savings: the last 30 days in Wh and EUR."""
        return self._fetch("savings", meter)

    def fetch_consumption_history(self, meter: SmartMeter) -> Answer:
        """GET Consumption History: kWh of the last 12 months."""
        return self._fetch("consumption-history", meter)

    def fetch_costs_history(self, meter: SmartMeter) -> Answer:
        """GET Costs History: EUR of the last 12 months and a forecast."""
        return self._fetch("costs-history", meter)

    def fetch_yearly_consumption_distribution(self, meter: SmartMeter) -> Answer:
        """GET Yearly Consumption Distribution: kWh per appliance of the last 12 months."""
        return self._fetch("yearly-consumption-distribution", meter)

    def fetch_yearly_compound_consumption(self, meter: SmartMeter) -> Answer:
        """GET Yearly Compound Consumption: kWh and its parts of the last 12 months."""
        return self._fetch("yearly-compound-consumption", meter)

    def fetch_disaggregation(self, meter: SmartMeter, period: str) -> Answer:
        """GET Disaggregation: a series of kWh per appliance in the period."""
        return self._fetch("disaggregation", meter, period)

    def fetch_meters(
        self,
        meters: Iterable[SmartMeter],
        *,
        periods: Sequence[str] = PERIODS,
        disaggregation_periods: Sequence[str] = DISAGGREGATION_PERIODS,
        progress: Progress | None = None,
    ) -> FetchReport:
        """Ask all endpoints for many meters at once; one that fails stops no other.

        A meter that is not found is not asked for again within the fetch.
        """
        jobs = [
            job for meter in meters for job in self._jobs(meter, periods, disaggregation_periods)
        ]
        return fetch_all(jobs, max_parallel=self._max_parallel, progress=progress)

    def _jobs(
        self, meter: SmartMeter, periods: Sequence[str], disaggregation_periods: Sequence[str]
    ) -> Iterable[Job]:
        for name, template in ENDPOINTS.items():
            wanted: Sequence[str | None] = (None,)
            if template is _WITH_PERIOD:
                wanted = disaggregation_periods if name == "disaggregation" else periods
            for period in wanted:
                yield Job(
                    f"{meter.subject}, {name}" + (f" {period}" if period else ""),
                    lambda name=name, period=period: self._fetch(name, meter, period),
                    group=meter.subject,
                )

    def _fetch(self, name: str, meter: SmartMeter, period: str | None = None) -> Answer:
        ids = {"smartmeter_id": meter.smartmeter_id, "name": name}
        if period is not None:
            ids["period"] = period
        params = {
            "smartmeter_id": meter.smartmeter_id,
            "period": period,
            "fetched_on": meter.fetched_on.isoformat(),
        }
        return self._rest.get(name, build_path(ENDPOINTS[name], **ids), params=params)
