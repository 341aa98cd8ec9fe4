"""Wattsense's section `wattsense` of the settings."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

LIVE_URL: Final = "https://api.wattsense.com"
SANDBOX_PATH: Final = "/wattsense"


class WattsenseSettings(BaseModel):
    """How to reach Wattsense, and how hard.

    Attributes:
        base_url: Wattsense's own; the sandbox's on the target sandbox.
        auth: hmac signs with `api_key` and `api_secret`; basic sends `username` and `password` of
            a user, or of a service account for which Basic was switched on.
        page_size: items per page of history; public clients use 500 to 2500.
        read_access: False asks for no users, service accounts, API keys and roles: a service
            account may not see them.
        refetch_window_h: the hourly run asks again for this much before the newest value of a
            property, for what came late; the daily run asks for whole days.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    base_url: str = LIVE_URL
    auth: Literal["hmac", "basic"] = "hmac"
    api_key: str = ""
    api_secret: SecretStr = SecretStr("")
    username: str = ""
    password: SecretStr = SecretStr("")
    max_parallel: int = Field(default=8, ge=1, le=64)
    page_size: int = Field(default=2500, ge=1, le=2500)
    answer_s: float = Field(default=30.0, gt=0)
    total_s: float = Field(default=180.0, gt=0)
    calls_per_5_minutes: int = Field(default=2500, ge=1)
    configuration_calls_per_5_minutes: int = Field(default=100, ge=1)
    read_access: bool = True
    refetch_window_h: float = Field(default=2.0, ge=0, le=24 * 31)


def sandbox_section(sandbox_url: str) -> dict[str, Any]:
    """Return what this section is on the sandbox, where nothing else is set."""
    return {
        "base_url": sandbox_url.rstrip("/") + SANDBOX_PATH,
        "api_key": "sandbox-wattsense",
        "api_secret": "sandbox-wattsense-secret",
        "username": "sandbox-user",
        "password": "sandbox-user-secret",
    }
