"""Wattsense's section `wattsense` of the settings."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

LIVE_URL: Final = "https://api.wattsense.com"
SANDBOX_PATH: Final = "/wattsense"


class WattsenseSettings(BaseModel):
    """How to reach Wattsense, and how hard.

    Attributes:
        base_url: Wattsense's own; the sandbox's on the target sandbox.
        page_size: items per page of history; public clients use 500 to 2500.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    base_url: str = LIVE_URL
    api_key: str = ""
    api_secret: SecretStr = SecretStr("")
    max_parallel: int = Field(default=8, ge=1, le=64)
    page_size: int = Field(default=2500, ge=1, le=2500)
    answer_s: float = Field(default=30.0, gt=0)
    total_s: float = Field(default=180.0, gt=0)
    calls_per_5_minutes: int = Field(default=2500, ge=1)
    configuration_calls_per_5_minutes: int = Field(default=100, ge=1)


def sandbox_section(sandbox_url: str) -> dict[str, Any]:
    """Return what this section is on the sandbox, where nothing else is set."""
    return {
        "base_url": sandbox_url.rstrip("/") + SANDBOX_PATH,
        "api_key": "sandbox-wattsense",
        "api_secret": "sandbox-wattsense-secret",
    }
