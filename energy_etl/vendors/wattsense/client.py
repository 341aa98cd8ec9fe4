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
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from energy_etl.auth import HmacSha512Auth
from energy_etl.errors import ConfigurationError, MalformedError
from energy_etl.quota import Quota
from energy_etl.rest import (
    Answer,
    FetchReport,
    Job,
    Limits,
    RawCall,
    RequestLog,
    RestClient,
    build_path,
    fetch_all,
)
from energy_etl.settings import Settings
from energy_etl.vendors.wattsense.settings import WattsenseSettings

# Path templates; the one of organizations is modelled, not verified.
PATHS: Final = {
    "user": "/v1/user",
    "organizations": "/v1/organizations",
    "devices": "/v1/devices",
    "properties": "/v1/devices/{device_id}/properties",
    "history": "/v1/devices/{device_id}/properties",
    "configs/current/properties": "/v1/devices/{device_id}/configs/current/properties",
}
_WINDOW_S: Final = 300.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NO_CONTENT: Final = 204

Progress = Callable[[int, int], None]


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


class WattsenseClient:
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
        base_url = settings.base_url
        secret = settings.api_secret.get_secret_value()
        if not settings.api_key or not secret:
            raise ConfigurationError(
                "wattsense.api_key or wattsense.api_secret is empty: set ENERGY_ETL_WATTSENSE__"
                "API_KEY and ENERGY_ETL_WATTSENSE__API_SECRET in the environment or in .env."
            )
        if not (settings.api_key.isascii() and settings.api_key.isprintable()):
            raise ConfigurationError(
                "wattsense.api_key holds characters that no header can carry: copy it again."
            )
        self._page_size = settings.page_size
        self._max_parallel = settings.max_parallel
        self._configuration_quota = Quota(
            state_path,
            f"wattsense configurations at {base_url}",
            settings.configuration_calls_per_5_minutes,
            _WINDOW_S,
        )
        quota = Quota(
            state_path, f"wattsense at {base_url}", settings.calls_per_5_minutes, _WINDOW_S
        )
        self._rest = RestClient(
            vendor="wattsense",
            base_url=base_url,
            log=log,
            auth=HmacSha512Auth(settings.api_key, settings.api_secret),
            limits=Limits(answer_s=settings.answer_s, total_s=settings.total_s),
            quotas=[quota],
            secrets=[secret, settings.api_key],
            credential_hint="check wattsense.api_key and wattsense.api_secret in the settings, "
            "and that this machine's clock is right (the signature carries the time)",
            max_parallel=settings.max_parallel,
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close connections and quotas."""
        self._rest.close()
        self._configuration_quota.close()

    def fetch_user(self) -> Answer:
        """GET /v1/user: whose credential this is (documented path)."""
        return self._rest.get("user", PATHS["user"])

    def fetch_organizations(self) -> Answer:
        """GET /v1/organizations: what the credential can see (modelled, not verified)."""
        return self._rest.get("organizations", PATHS["organizations"])

    def fetch_devices(self) -> Answer:
        """GET /v1/devices: all boxes."""
        return self._rest.get("devices", PATHS["devices"])

    def fetch_properties(self, device_id: str) -> Answer:
        """GET /v1/devices/{deviceId}/properties: the latest value of each property; 204: none."""
        path = build_path(PATHS["properties"], device_id=device_id)
        return self._rest.get("properties", path, params={"device_id": device_id})

    def fetch_property_configs(self, device_id: str) -> Answer:
        """GET /v1/devices/{deviceId}/configs/current/properties, within the stricter quota."""
        endpoint = "configs/current/properties"
        path = build_path(PATHS[endpoint], device_id=device_id)
        quotas = [self._configuration_quota]
        return self._rest.get(endpoint, path, params={"device_id": device_id}, quotas=quotas)

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
        answer = self._rest.get(
            "history",
            build_path(PATHS["history"], device_id=wanted.device_id),
            query={
                "property": wanted.property_id,
                "since": _to_ms(wanted.from_at),
                # Rounded up: an instant with microseconds must not lose its last millisecond.
                "until": -_to_ms(wanted.to_at, sign=-1),
                "size": self._page_size,
            },
            params={**params, "page": 0},
        )
        answers = [answer]
        followed = {answer.url}
        while answer.status != _NO_CONTENT and (link := next_link(answer.headers.get("link", ""))):
            page = {**params, "page": len(answers)}
            answer = self._rest.follow("history", link, answer, params=page)
            if answer.url in followed:
                raise MalformedError(
                    f"wattsense history of {wanted.subject} links in a circle after page "
                    f"{len(answers)}: the window was not replaced, run the fetch again."
                )
            followed.add(answer.url)
            answers.append(answer)
        self._rest.log.annotate(answer.request_id, is_last=True)
        return answers

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
        """Fetch organizations and boxes, and of each box latest values and property configs.

        Args:
            with_configs: False saves the stricter quota of configuration calls.
            progress: called with (finished, all).
        """
        found: list[Answer] = []
        report = fetch_all(
            [
                Job("organizations", self.fetch_organizations),
                Job("devices", lambda: found.append(self.fetch_devices())),
            ],
            max_parallel=self._max_parallel,
        )
        jobs: list[Job] = []
        for device_id in _device_ids(found):
            jobs.append(
                Job(
                    f"device {device_id}, latest values",
                    lambda device_id=device_id: self.fetch_properties(device_id),
                    group=f"device {device_id}",
                )
            )
            if with_configs:
                jobs.append(
                    Job(
                        f"device {device_id}, property configs",
                        lambda device_id=device_id: self.fetch_property_configs(device_id),
                        group=f"device {device_id}",
                    )
                )
        if report.stopped_by is None:
            report.merge(fetch_all(jobs, max_parallel=self._max_parallel, progress=progress))
        return report


def fetch_listing(settings: Settings) -> list[RawCall]:
    """Fetch what a portfolio can be proposed from: boxes, properties, configurations.

    Raises:
        VendorError: Wattsense could not be asked.
    """
    log = RequestLog("wattsense")
    section = settings.section(WattsenseSettings)
    with WattsenseClient(section, log=log, state_path=settings.state_path) as client:
        report = client.fetch_inventory()
    for error in report.failures.values():
        raise error
    return log.calls()


class _DeviceId(msgspec.Struct):
    device_id: str = msgspec.field(name="deviceId")


def _device_ids(answers: Sequence[Answer]) -> list[str]:
    """Return the ids in a list of boxes; one that cannot be read becomes a problem in rows.py."""
    ids: list[str] = []
    for answer in answers:
        try:
            rows = msgspec.json.decode(answer.body or b"[]", type=list[msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        for row in rows:
            try:
                ids.append(msgspec.json.decode(row, type=_DeviceId).device_id)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
    return [device_id for device_id in dict.fromkeys(ids) if device_id]


def next_link(header: str) -> str | None:
    """Return the target of `rel="next"` in a Link header (RFC 8288), None when there is none."""
    rest = header
    while "<" in rest:
        target, found, rest = rest.partition("<")[2].partition(">")
        attributes, _, _ = rest.partition("<")
        relations = [
            value.strip().strip('"').lower().split()
            for name, _, value in (part.partition("=") for part in attributes.split(";"))
            if name.strip().lower() == "rel"
        ]
        # The last attribute of a link ends where a comma starts the next one.
        if found and any("next" in [r.rstrip('",') for r in relation] for relation in relations):
            return target.strip()
    return None


def _to_ms(instant: datetime, sign: int = 1) -> int:
    return sign * (instant - _EPOCH) // _MILLISECOND
