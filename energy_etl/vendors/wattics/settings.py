"""Wattics' section `wattics` of the settings."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from energy_etl.rest.failures import is_loopback
from energy_etl.vendors.section import ReadSection

LIVE_URL: Final = "https://web-collector.wattics.com/measurements/v2/unifiedjson/"
SANDBOX_PATH: Final = "/measurements/v2/unifiedjson/"
LIVE_API_URL: Final = "https://api.wattics.com/api/v1"
SANDBOX_API_PATH: Final = "/wattics/api/v1"
# Modelled, not verified: the page documents no refusal but 401. A refused value concerns one
# packet; a stream that nobody knows concerns all of its packets.
ON_REFUSAL: Final[Mapping[int, Literal["reject", "park"]]] = MappingProxyType(
    {400: "reject", 404: "park", 413: "reject", 422: "reject"}
)


class WatticsCredential(BaseModel):
    """One user at the collector; the stream map names it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    username: str = Field(
        min_length=1,
        description="A user of the collector; `<NAME>` is what `credential` in streams.csv says.",
    )
    password: SecretStr = Field(description="The password of that user.")

    @field_validator("username")
    @classmethod
    def _has_no_colon(cls, username: str) -> str:
        if ":" in username:
            raise ValueError(
                "a user name of Basic authentication cannot contain a colon: give the one that "
                "Wattics gave"
            )
        return username


class WatticsSettings(ReadSection):
    """How to reach the collector and the read and management API, and as whom."""

    collector_url: str = Field(default=LIVE_URL, description="Where packets are pushed to.")
    credentials: dict[str, WatticsCredential] = Field(
        default_factory=dict, description="Users of the collector, by the names in streams.csv."
    )
    ca_file: Path | None = Field(
        default=None,
        description=(
            "PEM file of certificates to trust beside the system's, for networks whose proxy "
            "opens TLS."
        ),
    )
    request_timeout_s: float = Field(
        default=10.0,
        gt=0,
        le=300,
        description="Seconds after which a packet is asked for, not sent again.",
    )
    max_parallel_streams: int = Field(
        default=32,
        ge=1,
        le=512,
        description="Streams under way at once; each has one packet in flight.",
    )
    on_refusal: dict[int, Literal["reject", "park"]] = Field(
        default_factory=lambda: {**ON_REFUSAL},
        description=(
            "As JSON, per status 400, 404, 413, 422: `reject` sets the packet aside and the stream "
            "goes on, `park` lets the stream wait until somebody acts. What is not given stays."
        ),
    )
    breaker_after: int = Field(
        default=5,
        ge=1,
        description=(
            "Calls of one credential that fail in a row before its streams wait and one call at a "
            "time is tried."
        ),
    )
    breaker_gives_up_after: int = Field(
        default=5,
        ge=1,
        le=20,
        description=(
            "Such waits, with no packet accepted in between, that end a send run for the "
            "credential."
        ),
    )
    api_url: str = Field(
        default=LIVE_API_URL, description="Address of the read and management API."
    )
    api_token: SecretStr = Field(
        default=SecretStr(""),
        description="For reading from Wattics; not set: nothing is read, and pushing goes on.",
    )
    calls_per_minute: int = Field(
        default=600, ge=1, description="A limit of ours for the API: Wattics documents none."
    )

    @field_validator("collector_url")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        return checked_url(url)

    @field_validator("on_refusal")
    @classmethod
    def _has_known_statuses(
        cls, given: dict[int, Literal["reject", "park"]]
    ) -> dict[int, Literal["reject", "park"]]:
        unknown = sorted(given.keys() - ON_REFUSAL.keys())
        if unknown:
            raise ValueError(
                f"{unknown[0]} cannot be set: a refusal is one of {', '.join(map(str, ON_REFUSAL))}"
            )
        return {**ON_REFUSAL, **given}


def sandbox_section(sandbox_url: str) -> dict[str, Any]:
    """Return what this section is on the sandbox, where nothing else is set."""
    return {
        "collector_url": sandbox_url.rstrip("/") + SANDBOX_PATH,
        "api_url": sandbox_url.rstrip("/") + SANDBOX_API_PATH,
        "api_token": "sandbox-wattics-token",
        "credentials": {
            "main": {"username": "sandbox-wattics", "password": "sandbox-wattics-secret"},
            "second": {"username": "sandbox-wattics-2", "password": "sandbox-wattics-2-secret"},
        },
    }


def checked_url(url: str) -> str:
    """Return a collector's URL as it is, or raise a ValueError that says what is wrong."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        # Without the URL: what stands before the @ is a password.
        raise ValueError("it is no collector URL: leave out what stands before the @")
    if not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no collector URL: give https://host/path/ and nothing more")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError(
            f"{url!r} is not https, and the collector rejects anything else: write https"
        )
    if not parts.path.endswith("/"):
        raise ValueError(f"{url!r} does not end in a slash, as the collector's path does: add it")
    return url
