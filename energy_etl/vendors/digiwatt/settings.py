"""Digiwatt's section `digiwatt` of the settings.

Which smart meters are asked for comes from the portfolio (column `meter_id_digiwatt`).
"""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

SANDBOX_PATH: Final = "/digiwatt"


class DigiwattSettings(BaseModel):
    """How to reach Digiwatt, and how hard.

    Attributes:
        base_url: the document names no address, so target live needs one; the sandbox's on the
            target sandbox.
        currency: the answers carry none; the columns are in EUR, so nothing else is accepted yet.
        calls_per_minute: no limit is documented; this one is ours, so that nobody is hammered.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    base_url: str = ""
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    currency: Literal["EUR"] = "EUR"
    max_parallel: int = Field(default=8, ge=1, le=64)
    answer_s: float = Field(default=30.0, gt=0)
    total_s: float = Field(default=180.0, gt=0)
    calls_per_minute: int = Field(default=3000, ge=1)


def sandbox_section(sandbox_url: str) -> dict[str, Any]:
    """Return what this section is on the sandbox, where nothing else is set."""
    return {
        "base_url": sandbox_url.rstrip("/") + SANDBOX_PATH,
        "client_id": "sandbox-digiwatt",
        "client_secret": "sandbox-digiwatt-secret",
    }
