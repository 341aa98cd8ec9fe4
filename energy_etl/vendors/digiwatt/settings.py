"""Digiwatt's section `digiwatt` of the settings.

Which smart meters are asked for comes from the portfolio (column `meter_id_digiwatt`).
"""

from typing import Any, Final, Literal

from pydantic import Field, SecretStr

from energy_etl.vendors.section import ReadSection

SANDBOX_PATH: Final = "/digiwatt"


class DigiwattSettings(ReadSection):
    """How to reach Digiwatt, and how hard."""

    base_url: str = Field(
        default="",
        description="The API's address, as Digiwatt gave it to you: its document names none.",
    )
    client_id: str = Field(default="", description="The client id that Digiwatt gave you.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="The secret of that id.")
    currency: Literal["EUR"] = Field(
        default="EUR",
        description="Of all amounts: the answers name none, so nothing else is accepted.",
    )
    calls_per_minute: int = Field(
        default=3000, ge=1, description="A limit of ours: Digiwatt documents none."
    )


def sandbox_section(sandbox_url: str) -> dict[str, Any]:
    """Return what this section is on the sandbox, where nothing else is set."""
    return {
        "base_url": sandbox_url.rstrip("/") + SANDBOX_PATH,
        "client_id": "sandbox-digiwatt",
        "client_secret": "sandbox-digiwatt-secret",
    }
