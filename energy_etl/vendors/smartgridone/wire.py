"""Exactly what SmartgridOne sends, as far as it is known.

Telemetry comes by the million: msgspec, types only, the rules are in `pages.py`. The rest is small:
pydantic, tolerant of more. Names of properties inside a device are known from public clients, some
are guesses: they stand here only.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from energy_etl.vendors.sent_text import Id, Text

# Epoch milliseconds of the year 2100: bounds catch seconds and microseconds sent by mistake.
MAX_TIME_MS: Final = 4_102_444_800_000
# Nominal power, in the order in which a device's properties and `info` are searched: modelled, not
# verified. The suffix is the unit.
INSTALLED_NAMES: Final = (
    "nominalPower_W",
    "installedPower_W",
    "ratedPower_W",
    "peakPower_W",
    "maxPower_W",
    "nominalPower_kW",
    "installedPower_kW",
    "installedKw",
    "ratedPower_kW",
    "peakPower_kWp",
)
CONTROLLER_SUFFIX: Final = "controller"


TimeMs = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]


class Series(msgspec.Struct, gc=False):
    """One series of a result: a time and one value per row, for one field was selected."""

    columns: list[str]
    values: list[tuple[TimeMs | str, float | None]]
    tags: dict[str, Any] | None = None


class Result(msgspec.Struct, gc=False):
    """What became of one query: series, nothing (no data), or an error of its own."""

    statement_id: int
    series: list[Series] | None = None
    error: Any = None


class RawSeries(msgspec.Struct, gc=False):
    """A series whose rows are looked at one by one."""

    columns: list[str]
    values: list[msgspec.Raw]
    tags: dict[str, Any] | None = None


class RawResult(msgspec.Struct, gc=False):
    """A result whose rows are looked at one by one."""

    statement_id: int
    series: list[RawSeries] | None = None
    error: Any = None


def _as_names(given: Any) -> Any:
    """Return a list of names; an object of booleans gives the names that are true."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        return sorted(str(name) for name, is_set in given.items() if is_set is True)
    return given


def _as_utc(given: datetime) -> datetime:
    """Return an instant in UTC; one without a zone is the vendor's UTC."""
    return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)


def _as_instant(given: Any) -> Any:
    """Return ISO text or epoch milliseconds as an instant in UTC."""
    if isinstance(given, bool) or given is None:
        return given
    try:
        if isinstance(given, int | float):
            return datetime.fromtimestamp(given / 1000, tz=UTC)
        return _as_utc(datetime.fromisoformat(given)) if isinstance(given, str) else given
    except (OverflowError, OSError):
        raise ValueError("beyond the years that can be told") from None


# What a column of whole numbers holds.
Int = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Names = Annotated[list[str], BeforeValidator(_as_names)]
Instant = Annotated[datetime | None, BeforeValidator(_as_instant)]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, allow_inf_nan=False)


def list_of(answer: Any, member: str) -> Any:
    """Return the member of an answer that holds its list; None when there is none."""
    return answer.get(member) if isinstance(answer, dict) else None


class InfluxSeries(_Sent):
    """One entry of a device's `nodeInfluxSeries`."""

    measurement: str = Field(min_length=1)
    database: str = Field(min_length=1)
    retention_policy: str = Field(alias="retentionPolicy", min_length=1)
    fields: Names = Field(default_factory=list)
    tags: dict[str, Text] = Field(default_factory=dict)


class Info(_Sent):
    """`properties.info`."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    manufacturer: Text = None
    model: Text = None
    serial_number: Text = Field(None, alias="serialNumber")


class Properties(_Sent):
    """`properties` of a device; what is not named here is kept for `installed_kw`."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    node_id: Text = Field(None, alias="nodeId")
    node_type: Text = Field(None, alias="nodeType")
    name: Text = None
    parents: Names = Field(default_factory=list, alias="nodeParentsIds")
    children: Names = Field(default_factory=list, alias="nodeChildrenIds")
    info: Info | None = None
    serial_number: Text = Field(None, alias="serialNumber")
    # Entries are read one by one: one that is damaged must not hide the device.
    series: list[Any] | None = Field(None, alias="nodeInfluxSeries")

    @property
    def is_controller(self) -> bool:
        """True for `smartgridController` and its kin, not for `smartgridControllerSite`."""
        return (self.node_type or "").lower().endswith(CONTROLLER_SUFFIX)

    @property
    def installed_kw(self) -> float | None:
        """Nominal power in kW, where one of `INSTALLED_NAMES` is told."""
        told = {**(self.model_extra or {}), **((self.info and self.info.model_extra) or {})}
        for name in INSTALLED_NAMES:
            number = told.get(name)
            if isinstance(number, int | float) and not isinstance(number, bool) and number > 0:
                return float(number) / (1000.0 if name.endswith("_W") else 1.0)
        return None


class UserRights(_Sent):
    """What the account may do with a device."""

    property_editabilities: Names = Field(default_factory=list, alias="propertyEditabilities")
    monitor_management: bool | None = Field(None, alias="monitorManagement")


class Device(_Sent):
    """A device (`POST /v1/device/query`)."""

    device_id: Int = Field(alias="id")
    last_update: Text = Field(None, alias="lastUpdate")
    properties: Properties
    user_rights: UserRights | None = Field(None, alias="userRights")

    @property
    def updated_at(self) -> datetime | None:
        """`lastUpdate` as an instant; None when it is none."""
        try:
            return _as_utc(datetime.fromisoformat(self.last_update or ""))
        except (ValueError, OverflowError):
            return None


class Role(_Sent):
    """A role (`POST /v1/role/query`)."""

    role_id: Id = Field(alias="id")
    name: Text = None
    self_rights: Names = Field(default_factory=list, alias="selfRights")
    user_rights: Names = Field(default_factory=list, alias="userRights")


class Monitor(_Sent):
    """A monitors relation (`POST /v1/role/{roleId}/monitors/query`)."""

    monitor_id: Id = Field(alias="id")
    role_id: Text = Field(None, alias="roleId")
    device_id: Int | None = Field(None, alias="deviceId")
    monitor_management: bool | None = Field(None, alias="monitorManagement")
    reads: Names = Field(default_factory=list)
    edits: Names = Field(default_factory=list)


class Company(_Sent):
    """A company (`GET /v1/company`)."""

    company_id: Id = Field(alias="id")
    uuid: Text = None
    name: Text = None


class License(_Sent):
    """A licence (`GET /v1/license/...`, and the answers of activate and claim)."""

    license_id: Id = Field(alias="id")
    key: Text = None
    grid_kw: float | None = Field(None, alias="gridKw")
    solar_kw: float | None = Field(None, alias="solarKw")
    battery_kw: float | None = Field(None, alias="batteryKw")
    ev_kw: float | None = Field(None, alias="evKw")
    creation_at: Instant = Field(None, alias="creationDate")
    activation_at: Instant = Field(None, alias="activationDate")
    deactivation_at: Instant = Field(None, alias="deactivationDate")
    duration: Int | None = None
    license_type: Text = Field(None, alias="type")
    datalinks: Names = Field(default_factory=list)
