"""SmartgridOne's endpoints: one method each, the writing ones too.

Queries are POST here, change nothing and are repeated like a GET. What changes something is sent
again only when it was refused unread, never after a time-out or a 5xx: read the state again then.
Errors are those of `RestClient`: AuthenticationError for 401, PermissionDeniedError for 403,
NotFoundError for 404, BadRequestError for 400, 412 and 422 (see `.status`), RateLimitedError,
UnavailableError, MalformedError. What the answers mean is told in `rows.py`, which telemetry to ask
for in `telemetry.py`, how the listings follow from each other in `inventory.py`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from energy_etl.auth import LoginAuth
from energy_etl.errors import ConfigurationError, RateLimitedError
from energy_etl.quota import Quota
from energy_etl.rest import Answer, Closing, RequestLog, RestClient, build_path
from energy_etl.tokens import TokenStore
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings

# Documented by the vendor, all of them.
PATHS: Final = {
    "device/query": "/v1/device/query",
    "device": "/v1/device/{device_id}",
    "license/activate": "/v1/license/activate",
    "license/claim": "/v1/license/claim",
    "license/controller": "/v1/license/controller/{node_id}",
    "license/customer": "/v1/license/customer/{customer_id}",
    "role/query": "/v1/role/query",
    "role/monitors/query": "/v1/role/{role_id}/monitors/query",
    "company": "/v1/company",
    "telemetry/query": "/v1/telemetry/query",
}
ALL_ROLES: Final = "*"
_LONGEST_KEY: Final = 50
QUOTA_WINDOW_S: Final = 60.0
_TOO_MANY_REQUESTS: Final = 429
# A `Retry-After` of 0, or of an instant that has passed by our clock, names no pause.
_SOONEST_S: Final = 1.0
_LATEST_S: Final = 60.0

UpdateMode = Literal["strict", "legacy", "merge"]


def quota_name(settings: SmartgridOneSettings) -> str:
    """Return the name of the stored budget of calls."""
    return f"smartgridone at {settings.base_url}"


class SmartgridOneClient(Closing):
    """SmartgridOne's API; safe to share between threads; close it, or use it in a `with`."""

    def __init__(
        self,
        settings: SmartgridOneSettings,
        *,
        log: RequestLog,
        state_path: Path,
        token_folder: Path,
    ) -> None:
        """Prepare; nothing is sent.

        Args:
            settings: the section `smartgridone`.
            log: where calls are recorded; one log is one fetch.
            state_path: `state.sqlite`, where the quota is kept.
            token_folder: where the token file is kept.

        Raises:
            ConfigurationError: a credential is missing, an address would show it, or the token
                folder is open to others.
        """
        password = settings.password.get_secret_value()
        if not settings.username or not password:
            raise ConfigurationError(
                "smartgridone.username or smartgridone.password is empty: set ENERGY_ETL_"
                "SMARTGRIDONE__USERNAME and ENERGY_ETL_SMARTGRIDONE__PASSWORD in the environment "
                "or in .env."
            )
        self.settings = settings
        quota = Quota(state_path, quota_name(settings), settings.calls_per_minute, QUOTA_WINDOW_S)
        self._rest = RestClient(
            vendor="smartgridone",
            base_url=settings.base_url,
            log=log,
            auth=LoginAuth(
                settings.auth_url,
                settings.username,
                settings.password,
                TokenStore(token_folder),
                vendor="smartgridone",
            ),
            limits=replace(
                settings.limits,
                # Each `Retry-After` comes back here, one of 0 too: see `_patiently`.
                max_retry_after_s=-1.0,
                max_quota_wait_s=settings.patience_s,
            ),
            quotas=[quota],
            secrets=[password],
            credential_hint="a new access token was refused too: check smartgridone.username and "
            "smartgridone.password in the settings",
            max_parallel=settings.max_parallel,
        )

    def close(self) -> None:
        """Close connections and the quota."""
        self._rest.close()

    @property
    def log(self) -> RequestLog:
        """Where calls are recorded."""
        return self._rest.log

    def fetch_devices(
        self,
        *,
        skip_hash: str | None = None,
        only: Mapping[str, Sequence[str | int] | bool] | None = None,
        fields: Sequence[str] | None = None,
    ) -> Answer:
        """POST /v1/device/query: devices that the account sees; 204: none changed.

        Args:
            skip_hash: from `rows.skip_hash_of` of what is stored; the answer is 204 when it fits.
            only: the vendor's `filter`: id, nodeId, nodeType, viewId, roleId, companyId, isActive.
            fields: properties to answer; all when None.
        """
        body: dict[str, Any] = {}
        if skip_hash is not None:
            body["skipHash"] = skip_hash
        if fields is not None:
            body["fields"] = list(fields)
        if only is not None:
            body["filter"] = dict(only)
        # Only a listing without filter tells what is gone, only one of all fields what changed.
        params = {"is_complete": only is None and fields is None}
        return self._query("device/query", body, params=params)

    def fetch_roles(self) -> Answer:
        """POST /v1/role/query: the roles that the account sees."""
        return self._query("role/query", {})

    def fetch_monitors(self, role_id: str = ALL_ROLES) -> Answer:
        """POST /v1/role/{roleId}/monitors/query: which role may see and edit which device."""
        # A literal asterisk, as the vendor writes it: a server may not decode before it compares.
        path = PATHS["role/monitors/query"].replace("{role_id}", ALL_ROLES)
        if role_id != ALL_ROLES:
            path = build_path(PATHS["role/monitors/query"], role_id=role_id)
        return self._query("role/monitors/query", {}, path=path, params={"role_id": role_id})

    def fetch_companies(self) -> Answer:
        """GET /v1/company: the companies that the account sees."""
        return self._get("company", PATHS["company"])

    def fetch_controller_licenses(self, node_id: str) -> Answer:
        """GET /v1/license/controller/{nodeId}: the licences of a controller; 404: unknown."""
        path = build_path(PATHS["license/controller"], node_id=node_id)
        return self._get("license/controller", path, params={"node_id": node_id})

    def fetch_customer_licenses(self, customer_id: str, *, with_datalinks: bool = True) -> Answer:
        """GET /v1/license/customer/{customerId}: a customer's licences and what they serve."""
        return self._get(
            "license/customer",
            build_path(PATHS["license/customer"], customer_id=customer_id),
            query={"includeDatalinks": "true" if with_datalinks else "false"},
            params={"customer_id": customer_id},
        )

    def fetch_telemetry(
        self, statements: Sequence[Mapping[str, Any]], *, params: Mapping[str, Any] | None = None
    ) -> Answer:
        """POST /v1/telemetry/query: at most 1000 queries; each has a result or an error of its own.

        Raises:
            BadRequestError: status 422, the queries cost more than the whole budget: ask for less,
                the same again is refused again.
        """
        tier = self.settings.api_tier
        return self._query(
            "telemetry/query",
            [dict(statement) for statement in statements],
            query={"apiTier": tier} if tier else None,
            params=params,
        )

    def activate_license(
        self,
        key: str,
        activation_at: datetime | None = None,
        *,
        params: Mapping[str, Any] | None = None,
    ) -> Answer:
        """POST /v1/license/activate: start a licence, now or at an instant. Not repeatable.

        Raises:
            BadRequestError: among others, it was activated before.
            ConfigurationError: the key is no key (`checked_key`).
        """
        body: dict[str, Any] = {"key": checked_key(key)}
        if activation_at is not None:
            body["activationIso"] = to_iso(activation_at)
        return self._change("license/activate", PATHS["license/activate"], body, params=params)

    def claim_license(
        self, license_key: str, node_id: str, *, params: Mapping[str, Any] | None = None
    ) -> Answer:
        """POST /v1/license/claim: link a licence to a controller. Not repeatable.

        Raises:
            BadRequestError: among others, it was claimed before.
            ConfigurationError: the key is no key (`checked_key`).
        """
        body = {"licenseKey": checked_key(license_key), "nodeId": node_id}
        return self._change("license/claim", PATHS["license/claim"], body, params=params)

    def update_device(
        self,
        device_id: int,
        properties: Mapping[str, Any],
        *,
        mode: UpdateMode = "merge",
        is_validated: bool | None = None,
        unmodified_since: datetime | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Answer:
        """PUT /v1/device/{deviceId}: change properties. Not repeatable.

        Args:
            device_id: the vendor's number of the device, not its node id.
            properties: what is sent; what becomes of the others is up to the mode.
            mode: strict replaces all, legacy the given top-level keys, merge goes into objects.
            is_validated: `validate` of the query; not sent when None.
            unmodified_since: the device's lastUpdate as it was read: 412 when somebody changed it.
            params: kept in the request log beside the call.

        Raises:
            PermissionDeniedError: no role of the account may edit these properties.
            BadRequestError: status 412, it was changed since `unmodified_since`.
        """
        query: dict[str, str | int] = {"mode": mode}
        if is_validated is not None:
            query["validate"] = "true" if is_validated else "false"
        headers: dict[str, str] = {}
        if unmodified_since is not None:
            headers["If-Unmodified-Since"] = to_precondition(unmodified_since)
        path = build_path(PATHS["device"], device_id=str(device_id))
        body = {"properties": dict(properties)}
        return self._change(
            "device/update", path, body, method="PUT", query=query, headers=headers, params=params
        )

    def patch_device(
        self,
        device_id: int,
        operations: Sequence[Mapping[str, Any]],
        *,
        unmodified_since: datetime | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Answer:
        """PATCH /v1/device/{deviceId}: RFC 6902 operations. Not repeatable.

        Raises:
            BadRequestError: status 412, it was changed since; 422, an operation cannot be applied.
        """
        headers: dict[str, str] = {}
        if unmodified_since is not None:
            headers["If-Unmodified-Since"] = to_precondition(unmodified_since)
        path = build_path(PATHS["device"], device_id=str(device_id))
        body = [dict(operation) for operation in operations]
        return self._change(
            "device/patch", path, body, method="PATCH", headers=headers, params=params
        )

    def _get(self, endpoint: str, path: str, **options: Any) -> Answer:
        return self._patiently(lambda: self._rest.get(endpoint, path, **options))

    def _query(self, endpoint: str, body: Any, *, path: str | None = None, **rest: Any) -> Answer:
        return self._patiently(
            lambda: self._rest.send(
                endpoint, path or PATHS[endpoint], json=body, is_repeatable=True, **rest
            )
        )

    def _change(self, endpoint: str, path: str, body: Any, **options: Any) -> Answer:
        # Refused unread: to ask again when the vendor allows it changes nothing twice.
        return self._patiently(lambda: self._rest.send(endpoint, path, json=body, **options))

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        """Call, and call again whenever the vendor says when: it bans who comes back sooner.

        The pause itself is kept by `RestClient` and the quota, for all threads and processes. A
        login that is locked (no status of the API) is no matter of waiting: somebody must look.
        """
        started_s = time.monotonic()
        pause_s = _SOONEST_S
        while True:
            try:
                return call()
            except RateLimitedError as error:
                waited_s = time.monotonic() - started_s + (error.retry_after_s or 0.0)
                is_told = error.status == _TOO_MANY_REQUESTS and error.retry_after_s is not None
                if not is_told or waited_s > self.settings.patience_s:
                    raise
                if (error.retry_after_s or 0.0) < _SOONEST_S:
                    time.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LATEST_S)


def to_iso(instant: datetime) -> str:
    """Return an instant as the vendor writes them: UTC, milliseconds, Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_precondition(instant: datetime) -> str:
    """Return a `lastUpdate` for `If-Unmodified-Since`: ISO 8601, to the digit as it was read.

    An HTTP date, which the vendor takes too, knows whole seconds: rounded up, a change by somebody
    else within the second would pass unnoticed; rounded down, every update would be refused.
    """
    if instant.microsecond % 1000:
        return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return to_iso(instant)


def checked_key(key: str) -> str:
    """Return a licence key as it is.

    Raises:
        ConfigurationError: it is empty or longer than the vendor takes.
    """
    if not 1 <= len(key) <= _LONGEST_KEY:
        raise ConfigurationError(
            f"A licence key has 1 to {_LONGEST_KEY} characters, this one has {len(key)}: "
            "copy it again from what SmartgridOne sent."
        )
    return key
