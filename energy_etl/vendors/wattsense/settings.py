"""Wattsense's section `wattsense` of the settings."""

from typing import Any, Final, Literal

from pydantic import Field, SecretStr

from energy_etl.vendors.section import ReadSection

LIVE_URL: Final = "https://api.wattsense.com"
SANDBOX_PATH: Final = "/wattsense"


class WattsenseSettings(ReadSection):
    """How to reach Wattsense, and how hard."""

    base_url: str = Field(default=LIVE_URL, description="The API's address.")
    auth: Literal["hmac", "basic"] = Field(
        default="hmac",
        description=(
            "`hmac` signs with API_KEY and API_SECRET; `basic` sends USERNAME and PASSWORD of a "
            "user, or of a service account for which Basic was switched on."
        ),
    )
    api_key: str = Field(default="", description="The id of an API key, for `hmac`.")
    api_secret: SecretStr = Field(
        default=SecretStr(""), description="The secret of that key, shown once when it is made."
    )
    username: str = Field(default="", description="A user or service account, for `basic`.")
    password: SecretStr = Field(default=SecretStr(""), description="The password of that user.")
    page_size: int = Field(default=2500, ge=1, le=2500, description="Items per page of history.")
    calls_per_5_minutes: int = Field(
        default=2500, ge=1, description="Calls in five minutes; Wattsense's own limit."
    )
    configuration_calls_per_5_minutes: int = Field(
        default=100, ge=1, description="How many of them may concern configurations; likewise."
    )
    read_access: bool = Field(
        default=True,
        description=(
            "Whether users, service accounts, API keys and roles are read; `false` for a service "
            "account, which may not see them."
        ),
    )
    refetch_window_h: float = Field(
        default=2.0,
        ge=0,
        le=24 * 31,
        description=(
            "Hours before a property's newest value at which its hourly run begins, for what came "
            "late; the daily run asks for whole days."
        ),
    )


def sandbox_section(sandbox_url: str) -> dict[str, Any]:
    """Return what this section is on the sandbox, where nothing else is set."""
    return {
        "base_url": sandbox_url.rstrip("/") + SANDBOX_PATH,
        "api_key": "sandbox-wattsense",
        "api_secret": "sandbox-wattsense-secret",
        "username": "sandbox-user",
        "password": "sandbox-user-secret",
    }
