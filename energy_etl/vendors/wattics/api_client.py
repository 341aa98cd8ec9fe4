"""Wattics' read and management API: one method, one endpoint.

Errors are those of `RestClient`: AuthenticationError for a refused token, PermissionDeniedError for
403, NotFoundError for an unknown id, BadRequestError, RateLimitedError, UnavailableError,
MalformedError. GETs are idempotent; what creates something is sent again only when it was refused
unread. What the answers mean is told in `rows.py`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from energy_etl.auth import BareTokenAuth
from energy_etl.errors import ConfigurationError, MalformedError
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
from energy_etl.vendors.page_rows import ids_listed
from energy_etl.vendors.wattics.api_wire import (
    RAW_DATA_FORMAT,
    created_id,
    meter_body,
    month_query,
    organization_body,
    site_body,
)
from energy_etl.vendors.wattics.settings import WatticsSettings

# Below the API's URL; from public clients of the vendor's developer pages.
PATHS: Final = {
    "organizations": "/organizations",
    "organization": "/organizations/{organization_id}",
    "organization-metadata": "/organizations/{organization_id}/metadata",
    "sites": "/sites",
    "site": "/sites/{site_id}",
    "site-metadata": "/sites/{site_id}/metadata",
    "site-tariffs": "/sites/{site_id}/tariffs",
    "meters": "/meters",
    "meter": "/meters/{meter_id}",
    "meter-metadata": "/meters/{meter_id}/metadata",
    "appliances": "/appliances",
    "appliance": "/appliances/{appliance_id}",
    "appliance-metadata": "/appliances/{appliance_id}/metadata",
    "raw-data": "/meters/{meter_id}/raw_data",
    "consumptions": "/meters/{meter_id}/consumptions",
    "costs": "/meters/{meter_id}/costs",
}
MAX_RAW_DATA: Final = timedelta(days=90)
QUOTA_WINDOW_S: Final = 60.0
NO_TOKEN: Final = (
    "wattics.api_token is empty, so nothing is read from Wattics' API (pushing needs none): ask "
    "Wattics for a token and set ENERGY_ETL_WATTICS__API_TOKEN in the environment or in .env."
)


@dataclass(frozen=True)
class MonthWanted:
    """One month of one meter.

    Attributes:
        meter_id: Wattics' id.
        month_on: its first day.
        pushed_to_at: when the newest packet was accepted that had been pushed to it so far.
        subject: what people call it (our register), for reports.
    """

    meter_id: str
    month_on: date
    pushed_to_at: datetime | None
    subject: str


@dataclass(frozen=True)
class RawDataWanted:
    """The raw data of one meter within [from_at, to_at), however long."""

    meter_id: str
    from_at: datetime
    to_at: datetime
    subject: str

    def windows(self) -> Iterator[tuple[datetime, datetime]]:
        """Cut it into stretches that may be asked for at once."""
        from_at = self.from_at
        while from_at < self.to_at:
            to_at = min(from_at + MAX_RAW_DATA, self.to_at)
            yield from_at, to_at
            from_at = to_at


def quota_name(settings: WatticsSettings) -> str:
    """Return the name of the stored budget of calls."""
    return f"wattics at {settings.api_url}"


class WatticsApiClient(Closing):
    """The API; safe to share between threads; close it, or use it in a `with`."""

    def __init__(self, settings: WatticsSettings, *, log: RequestLog, state_path: Path) -> None:
        """Prepare; nothing is sent.

        Args:
            settings: the section `wattics`.
            log: where calls are recorded; one log is one fetch.
            state_path: `state.sqlite`, where the quota is kept.

        Raises:
            ConfigurationError: there is no token, or one that no header can carry.
        """
        token = settings.api_token.get_secret_value()
        if not token:
            raise ConfigurationError(NO_TOKEN)
        self._max_parallel = settings.max_parallel
        quota = Quota(state_path, quota_name(settings), settings.calls_per_minute, QUOTA_WINDOW_S)
        self._rest = RestClient(
            vendor="wattics",
            base_url=settings.api_url,
            log=log,
            auth=BareTokenAuth(settings.api_token, setting="wattics.api_token"),
            limits=settings.limits,
            quotas=[quota],
            secrets=[token],
            credential_hint="check wattics.api_token in the settings",
            url_setting="api_url",
            max_parallel=settings.max_parallel,
        )

    @property
    def log(self) -> RequestLog:
        """The calls so far."""
        return self._rest.log

    def close(self) -> None:
        """Close connections and the quota."""
        self._rest.close()

    def fetch_organizations(self) -> Answer:
        """GET /organizations: all that the token can see."""
        return self._get("organizations")

    def fetch_organization(self, organization_id: str) -> Answer:
        """GET /organizations/ID."""
        return self._get("organization", {"organization_id": organization_id})

    def fetch_organization_metadata(self, organization_id: str) -> Answer:
        """GET /organizations/ID/metadata."""
        return self._get("organization-metadata", {"organization_id": organization_id})

    def fetch_sites(self, organization_id: str) -> Answer:
        """GET /sites?organization_id=: the sites of an organization."""
        return self._list("sites", organization_id=organization_id)

    def fetch_site(self, site_id: str) -> Answer:
        """GET /sites/ID."""
        return self._get("site", {"site_id": site_id})

    def fetch_site_metadata(self, site_id: str) -> Answer:
        """GET /sites/ID/metadata."""
        return self._get("site-metadata", {"site_id": site_id})

    def fetch_site_tariffs(self, site_id: str) -> Answer:
        """GET /sites/ID/tariffs."""
        return self._get("site-tariffs", {"site_id": site_id})

    def fetch_meters(self, organization_id: str, site_id: str) -> Answer:
        """GET /meters?organization_id=&site_id=: the meters of a site."""
        return self._list("meters", organization_id=organization_id, site_id=site_id)

    def fetch_meter(self, meter_id: str) -> Answer:
        """GET /meters/ID."""
        return self._get("meter", {"meter_id": meter_id})

    def fetch_meter_metadata(self, meter_id: str) -> Answer:
        """GET /meters/ID/metadata."""
        return self._get("meter-metadata", {"meter_id": meter_id})

    def fetch_appliances(self, organization_id: str, site_id: str, meter_id: str) -> Answer:
        """GET /appliances?organization_id=&site_id=&meter_id=: what a meter is split into."""
        return self._list(
            "appliances", organization_id=organization_id, site_id=site_id, meter_id=meter_id
        )

    def fetch_appliance(self, appliance_id: str) -> Answer:
        """GET /appliances/ID."""
        return self._get("appliance", {"appliance_id": appliance_id})

    def fetch_appliance_metadata(self, appliance_id: str) -> Answer:
        """GET /appliances/ID/metadata."""
        return self._get("appliance-metadata", {"appliance_id": appliance_id})

    def fetch_raw_data(self, meter_id: str, from_at: datetime, to_at: datetime) -> Answer:
        """GET /meters/ID/raw_data?from=&to=&data_type=active_power: W, at most 90 days at once."""
        query = {
            "from": from_at.astimezone(UTC).strftime(RAW_DATA_FORMAT),
            "to": to_at.astimezone(UTC).strftime(RAW_DATA_FORMAT),
            "data_type": "active_power",
            "show_phases": "false",
        }
        params = {"from_at": from_at.isoformat(), "to_at": to_at.isoformat()}
        return self._get("raw-data", {"meter_id": meter_id}, query, params)

    def fetch_consumptions(
        self, meter_id: str, month_on: date, pushed_to_at: datetime | None = None
    ) -> Answer:
        """GET /meters/ID/consumptions?month=&year=&detailed=true: local days and their slots.

        Args:
            meter_id: Wattics' id.
            month_on: first day of the month.
            pushed_to_at: kept with the answer: what had been pushed when Wattics was asked.
        """
        params = {
            "month_on": month_on.isoformat(),
            "pushed_to_at": pushed_to_at.isoformat() if pushed_to_at else None,
        }
        return self._get("consumptions", {"meter_id": meter_id}, month_query(month_on), params)

    def fetch_costs(self, meter_id: str, month_on: date) -> Answer:
        """GET /meters/ID/costs?month=&year=&detailed=true: local days and their slots."""
        params = {"month_on": month_on.isoformat()}
        return self._get("costs", {"meter_id": meter_id}, month_query(month_on), params)

    def create_organization(self, name: str) -> str:
        """POST /organizations; not idempotent; returns the new id."""
        return self._create("organizations", organization_body(name), {"name": name})

    def create_site(
        self, organization_id: str, name: str, *, city: str = "", country: str = ""
    ) -> str:
        """POST /sites; not idempotent; returns the new id."""
        body = site_body(organization_id, name, city, country)
        return self._create("sites", body, {"organization_id": organization_id, "name": name})

    def create_meter(
        self,
        site_id: str,
        *,
        name: str,
        commodity: str,
        stream_id: str,
        content: str,
        is_electrical: bool,
        interval_minutes: int,
    ) -> str:
        """POST /meters: a meter whose `reference` is the stream's id; returns the new id.

        Not idempotent: after a time-out it may be there, and `streams create` finds it then.
        """
        body = meter_body(
            name=name,
            site_id=site_id,
            commodity=commodity,
            stream_id=stream_id,
            content=content,
            is_electrical=is_electrical,
            interval_minutes=interval_minutes,
        )
        return self._create("meters", body, {"site_id": site_id, "stream_id": stream_id})

    def fetch_listing(self, progress: Progress | None = None) -> FetchReport:
        """Fetch organizations, their sites and the meters of these; what fails stops no other."""
        found: list[Answer] = []
        report = fetch_all(
            [Job("organizations", lambda: found.append(self.fetch_organizations()))],
            max_parallel=self._max_parallel,
        )
        sites: list[tuple[str, Answer]] = []
        jobs = [
            Job(
                f"sites of organization {organization_id}",
                lambda id_=organization_id: sites.append((id_, self.fetch_sites(id_))),
            )
            for organization_id in _ids(found)
        ]
        report.merge(fetch_all(jobs, max_parallel=self._max_parallel))
        jobs = [
            Job(
                f"meters of site {site_id}",
                lambda organization_id=organization_id, site_id=site_id: self.fetch_meters(
                    organization_id, site_id
                ),
            )
            for organization_id, answer in sorted(sites, key=lambda pair: pair[0])
            for site_id in _ids([answer])
        ]
        if report.stopped_by is None:
            report.merge(fetch_all(jobs, max_parallel=self._max_parallel, progress=progress))
        return report

    def fetch_months(
        self,
        wanted: Iterable[MonthWanted],
        *,
        with_costs: bool,
        progress: Progress | None = None,
    ) -> FetchReport:
        """Fetch the consumptions (and costs) of many months at once."""
        jobs: list[Job] = []
        for month in wanted:
            told = f"{month.subject}, {month.month_on:%Y-%m}"
            jobs.append(
                Job(
                    f"{told}, consumptions",
                    lambda month=month: self.fetch_consumptions(
                        month.meter_id, month.month_on, month.pushed_to_at
                    ),
                    group=month.subject,
                )
            )
            if with_costs:
                jobs.append(
                    Job(
                        f"{told}, costs",
                        lambda month=month: self.fetch_costs(month.meter_id, month.month_on),
                        group=month.subject,
                    )
                )
        return fetch_all(jobs, max_parallel=self._max_parallel, progress=progress)

    def fetch_raw_windows(
        self, wanted: Iterable[RawDataWanted], progress: Progress | None = None
    ) -> FetchReport:
        """Fetch the raw data of many meters at once, each in windows of at most 90 days."""
        jobs = [
            Job(
                f"{meter.subject}, raw data from {from_at:%Y-%m-%d}",
                lambda meter=meter, from_at=from_at, to_at=to_at: self.fetch_raw_data(
                    meter.meter_id, from_at, to_at
                ),
                group=meter.subject,
            )
            for meter in wanted
            for from_at, to_at in meter.windows()
        ]
        return fetch_all(jobs, max_parallel=self._max_parallel, progress=progress)

    def _get(
        self,
        endpoint: str,
        ids: dict[str, str] | None = None,
        query: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
    ) -> Answer:
        path = build_path(PATHS[endpoint], **(ids or {}))
        return self._rest.get(endpoint, path, query=query, params={**(ids or {}), **(params or {})})

    def _list(self, endpoint: str, **ids: str) -> Answer:
        return self._rest.get(endpoint, PATHS[endpoint], query=ids, params=ids)

    def _create(self, what: str, body: dict[str, Any], params: dict[str, Any]) -> str:
        endpoint = f"create-{what.removesuffix('s')}"
        answer = self._rest.send(endpoint, PATHS[what], json=body, params=params)
        try:
            return created_id(answer.body)
        except ValueError as error:
            raise MalformedError(
                f"wattics {endpoint} was accepted, but its answer names no id: look at what is "
                "there now with `energy-etl streams list` before you create again."
            ) from error


class _Listed(msgspec.Struct):
    id: int | str


def _ids(answers: Iterable[Answer]) -> list[str]:
    return ids_listed(answers, _Listed, lambda row: str(row.id))
