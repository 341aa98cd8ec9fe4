"""Wattsense's endpoints: one method each, and the fetches that are made of them.

All calls are GET and idempotent. Errors are those of `RestClient`: AuthenticationError for 401,
PermissionDeniedError for 403, NotFoundError for an unknown box or property, RateLimitedError,
UnavailableError, MalformedError. What the answers mean is told in `rows.py`.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from energy_etl.errors import (
    ConfigurationError,
    MalformedError,
    NotFoundError,
    PermissionDeniedError,
)
from energy_etl.quota import Quota
from energy_etl.rest import (
    Answer,
    Closing,
    FetchReport,
    Job,
    Progress,
    RawCall,
    RequestLog,
    RestClient,
    build_path,
    fetch_all,
)
from energy_etl.settings import Settings
from energy_etl.vendors.page_rows import NO_CONTENT
from energy_etl.vendors.wattsense.links import device_ids, next_link
from energy_etl.vendors.wattsense.login import login_of
from energy_etl.vendors.wattsense.rows_access import UNITS_ARE_GONE
from energy_etl.vendors.wattsense.settings import WattsenseSettings

PATHS: Final = {
    "user": "/v1/user",
    "devices": "/v1/devices",
    "properties": "/v1/devices/{device_id}/properties",
    "history": "/v1/devices/{device_id}/properties",
    "configs": "/v1/devices/{device_id}/configs",
    "configs/current/properties": "/v1/devices/{device_id}/configs/current/properties",
    # From here on modelled, not verified: only the concepts are documented.
    "organizations": "/v1/organizations",
    "organizationUnits": "/v1/organizationUnits",
    "users": "/v1/users",
    "serviceAccounts": "/v1/serviceAccounts",
    "apiKeys": "/v1/apiKeys",
    "roles": "/v1/roles",
}
QUOTA_WINDOW_S: Final = 300.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_REVISIONS: Final = "configurations"
# How an API without an endpoint says so: of one that newer versions dropped it is the answer.
_NOT_THERE: Final = frozenset({404})


@dataclass(frozen=True)
class PropertyWindow:
    """The history of one property within [from_at, to_at).

    Attributes:
        subject: what people call it (our register), for reports.
    """

    device_id: str
    property_id: str
    from_at: datetime
    to_at: datetime
    subject: str

    @classmethod
    def of_vendor_id(
        cls, vendor_id: str, from_at: datetime, to_at: datetime, subject: str
    ) -> "PropertyWindow":
        """Take the portfolio's `<deviceId>/<propertyId>` apart.

        Raises:
            ConfigurationError: there is no slash between two ids.
        """
        device_id, slash, property_id = vendor_id.rpartition("/")
        if not slash or not device_id or not property_id:
            raise ConfigurationError(
                f"register_id_wattsense {vendor_id!r} of {subject} is not <deviceId>/<propertyId>: "
                "correct it in registers.csv."
            )
        return cls(device_id, property_id, from_at, to_at, subject)


def quota_name(settings: WattsenseSettings) -> str:
    """Return the name of the stored budget of calls."""
    return f"wattsense at {settings.base_url}"


def configuration_quota_name(settings: WattsenseSettings) -> str:
    """Return the name of the stored budget of calls on configurations."""
    return f"wattsense configurations at {settings.base_url}"


class WattsenseClient(Closing):
    """Wattsense's API; safe to share between threads; close it, or use it in a `with`."""

    def __init__(self, settings: WattsenseSettings, *, log: RequestLog, state_path: Path) -> None:
        """Prepare; nothing is sent.

        Args:
            settings: the section `wattsense`.
            log: where calls are recorded; one log is one fetch.
            state_path: `state.sqlite`, where the quotas are kept.

        Raises:
            ConfigurationError: a credential is missing or holds characters no header can carry.
        """
        login = login_of(settings)
        self._page_size = settings.page_size
        self._max_parallel = settings.max_parallel
        self._configuration_quota = Quota(
            state_path,
            configuration_quota_name(settings),
            settings.configuration_calls_per_5_minutes,
            QUOTA_WINDOW_S,
        )
        limit = settings.calls_per_5_minutes
        quota = Quota(state_path, quota_name(settings), limit, QUOTA_WINDOW_S)
        self._rest = RestClient(
            vendor="wattsense",
            base_url=settings.base_url,
            log=log,
            auth=login.auth,
            limits=settings.limits,
            quotas=[quota],
            secrets=login.secrets,
            credential_hint=login.hint,
            max_parallel=settings.max_parallel,
        )

    def close(self) -> None:
        """Close connections and quotas."""
        self._rest.close()
        self._configuration_quota.close()

    def fetch_user(self) -> Answer:
        """GET /v1/user: whose credential this is (documented path)."""
        answer = self._rest.get("user", PATHS["user"], params={"page": 0})
        self._rest.log.annotate(answer.request_id, is_last=True)
        return answer

    def fetch_organizations(self) -> list[Answer]:
        """GET /v1/organizations: what the credential can see (modelled, not verified)."""
        return self._fetch_list("organizations")

    def fetch_organization_units(self) -> list[Answer]:
        """GET /v1/organizationUnits: each with shipping, billing and contact information.

        Raises:
            NotFoundError: the API has none, as since version 2020-12-16.03.
        """
        return self._fetch_list("organizationUnits", expected=_NOT_THERE)

    def fetch_users(self) -> list[Answer]:
        """GET /v1/users, with account roles and other roles (modelled, not verified).

        Raises:
            PermissionDeniedError: the credential is a service account's, or lacks the role.
        """
        return self._fetch_for_users("users")

    def fetch_service_accounts(self) -> list[Answer]:
        """GET /v1/serviceAccounts (modelled, not verified); errors as `fetch_users`."""
        return self._fetch_for_users("serviceAccounts")

    def fetch_api_keys(self) -> list[Answer]:
        """GET /v1/apiKeys, each with its owner (modelled, not verified); errors as `fetch_users`.

        Should a secret be sent, it is taken out before anything is stored or parsed.
        """
        return self._fetch_for_users("apiKeys")

    def fetch_roles(self) -> list[Answer]:
        """GET /v1/roles, each a list of privileges (modelled, not verified)."""
        return self._fetch_for_users("roles")

    def fetch_devices(self) -> list[Answer]:
        """GET /v1/devices: all boxes, each with its subscription."""
        return self._fetch_list("devices")

    def fetch_properties(self, device_id: str) -> Answer:
        """GET /v1/devices/{deviceId}/properties: the latest value of each property; 204: none."""
        path = build_path(PATHS["properties"], device_id=device_id)
        return self._rest.get("properties", path, params={"device_id": device_id})

    def fetch_configs(self, device_id: str) -> Answer:
        """GET /v1/devices/{deviceId}/configs: revisions, equipments; the stricter quota."""
        return self._fetch_config("configs", device_id)

    def fetch_property_configs(self, device_id: str) -> Answer:
        """GET /v1/devices/{deviceId}/configs/current/properties, within the stricter quota."""
        return self._fetch_config("configs/current/properties", device_id)

    def fetch_history(self, wanted: PropertyWindow) -> list[Answer]:
        """GET /v1/devices/{deviceId}/properties?property=&since=&until=&size=, page by page.

        The last page's row in the request log says `is_last`: a window without it is not whole.

        Raises:
            MalformedError: a `next` link that was followed before, or one that leads elsewhere.
        """
        params: dict[str, Any] = {
            "device_id": wanted.device_id,
            "property_id": wanted.property_id,
            "from_at": wanted.from_at.isoformat(),
            "to_at": wanted.to_at.isoformat(),
            "window": uuid.uuid4().hex,
        }
        return self._fetch_pages(
            "history",
            build_path(PATHS["history"], device_id=wanted.device_id),
            f"history of {wanted.subject}",
            params,
            query={
                "property": wanted.property_id,
                "since": _to_ms(wanted.from_at),
                # Rounded up: an instant with microseconds must not lose its last millisecond.
                "until": -_to_ms(wanted.to_at, sign=-1),
                "size": self._page_size,
            },
        )

    def fetch_histories(
        self, wanted: Iterable[PropertyWindow], progress: Progress | None = None
    ) -> FetchReport:
        """Fetch many windows at once; one that fails is reported and stops no other."""
        jobs = [
            Job(window.subject, lambda window=window: self.fetch_history(window))
            for window in wanted
        ]
        return fetch_all(jobs, max_parallel=self._max_parallel, progress=progress)

    def fetch_inventory(
        self, *, with_configs: bool = True, progress: Progress | None = None
    ) -> FetchReport:
        """Fetch organizations and boxes, and of each box latest values and configurations.

        Args:
            with_configs: False saves the stricter quota of configuration calls.
            progress: called with (finished, all).
        """
        found: list[Answer] = []
        report = fetch_all(
            [
                Job("organizations", self.fetch_organizations),
                Job("devices", lambda: found.extend(self.fetch_devices())),
            ],
            max_parallel=self._max_parallel,
        )
        parts: list[tuple[str, Callable[[str], Answer]]] = [
            ("latest values", self.fetch_properties)
        ]
        if with_configs:
            parts += [
                ("property configs", self.fetch_property_configs),
                (_REVISIONS, self.fetch_configs),
            ]
        jobs = [
            Job(
                f"device {device_id}, {what}",
                lambda fetch=fetch, device_id=device_id: fetch(device_id),
                group=f"device {device_id}",
            )
            for device_id in device_ids(found)
            for what, fetch in parts
        ]
        if report.stopped_by is None:
            report.merge(fetch_all(jobs, max_parallel=self._max_parallel, progress=progress))
        return report

    def fetch_access(self, progress: Progress | None = None) -> FetchReport:
        """Fetch the current user, organization units, users, service accounts, keys and roles.

        One that the credential may not see, or that this version of the API does not have, stops
        no other; having no organization units is no failure.
        """
        callers: list[Answer] = []
        report = fetch_all(
            [Job("current user", lambda: callers.append(self.fetch_user()))], max_parallel=1
        )
        if report.stopped_by is not None:
            return report
        jobs = [
            Job("organization units", lambda: self._units_or_none(callers)),
            Job("users", self.fetch_users),
            Job("service accounts", self.fetch_service_accounts),
            Job("API keys", self.fetch_api_keys),
            Job("roles", self.fetch_roles),
        ]
        report.merge(fetch_all(jobs, max_parallel=self._max_parallel, progress=progress))
        return report

    def _units_or_none(self, callers: Sequence[Answer]) -> None:
        try:
            self.fetch_organization_units()
        except NotFoundError:
            # Since 2020-12-16.03. Only answered calls are replayed, so it is noted with one.
            for answer in callers:
                self._rest.log.annotate(answer.request_id, **{UNITS_ARE_GONE: True})

    def _fetch_for_users(self, endpoint: str) -> list[Answer]:
        off = "or set wattsense.read_access to false, and nobody asks any more"
        try:
            return self._fetch_list(endpoint)
        except PermissionDeniedError as error:
            raise PermissionDeniedError(
                f"{str(error).rstrip('.')}; a service account may not act on users, service "
                "accounts or API keys, and a user needs an account role for it: use such a user's "
                f"API key, {off}."
            ) from error
        except NotFoundError as error:
            raise NotFoundError(
                f"{str(error).rstrip('.')}; the path is modelled, not verified: correct it in "
                f"PATHS of the Wattsense client, {off}."
            ) from error

    def _fetch_list(self, endpoint: str, expected: frozenset[int] = frozenset()) -> list[Answer]:
        return self._fetch_pages(endpoint, PATHS[endpoint], endpoint, {}, expected=expected)

    def _fetch_config(self, endpoint: str, device_id: str) -> Answer:
        path = build_path(PATHS[endpoint], device_id=device_id)
        quotas = [self._configuration_quota]
        return self._rest.get(endpoint, path, params={"device_id": device_id}, quotas=quotas)

    def _fetch_pages(
        self,
        endpoint: str,
        path: str,
        what: str,
        params: dict[str, Any],
        query: dict[str, str | int] | None = None,
        expected: frozenset[int] = frozenset(),
    ) -> list[Answer]:
        """GET a page and all that it links to; the last one's row in the log says `is_last`."""
        first = {**params, "page": 0}
        answer = self._rest.get(endpoint, path, query=query, params=first, expected=expected)
        answers = [answer]
        followed = {answer.url}
        while answer.status != NO_CONTENT and (link := next_link(answer.headers.get("link", ""))):
            page = {**params, "page": len(answers)}
            answer = self._rest.follow(endpoint, link, answer, params=page)
            if answer.url in followed:
                raise MalformedError(
                    f"wattsense {what} links in a circle after page {len(answers)}: what was "
                    "asked for was not replaced, run the fetch again."
                )
            followed.add(answer.url)
            answers.append(answer)
        self._rest.log.annotate(answer.request_id, is_last=True)
        return answers


def fetch_listing(settings: Settings) -> list[RawCall]:
    """Fetch what a portfolio can be proposed from: boxes, properties, configurations.

    Raises:
        VendorError: Wattsense could not be asked.
    """
    log = RequestLog("wattsense")
    section = settings.section(WattsenseSettings)
    with WattsenseClient(section, log=log, state_path=settings.state_path) as client:
        report = client.fetch_inventory()
    for subject, error in report.failures.items():
        # Without these two a proposal is the same; the path of one is modelled, not verified.
        if subject != "organizations" and not subject.endswith(_REVISIONS):
            raise error
    return log.calls()


def _to_ms(instant: datetime, sign: int = 1) -> int:
    return sign * (instant - _EPOCH) // _MILLISECOND
