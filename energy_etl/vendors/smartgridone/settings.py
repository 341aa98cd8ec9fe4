"""SmartgridOne's section `smartgridone` of the settings."""

from typing import Any, Final, Literal

from pydantic import Field, SecretStr

from energy_etl.vendors.section import ReadSection

LIVE_URL: Final = "https://api.eniris.be"
LIVE_AUTH_URL: Final = "https://authentication.eniris.be"
SANDBOX_PATH: Final = "/smartgridone"
# The vendor refuses an array of more.
MOST_STATEMENTS: Final = 1000


class SmartgridOneSettings(ReadSection):
    """How to reach SmartgridOne, and how hard."""

    base_url: str = Field(default=LIVE_URL, description="The API's address.")
    auth_url: str = Field(default=LIVE_AUTH_URL, description="The address of login and tokens.")
    username: str = Field(default="", description="An account without a second factor.")
    password: SecretStr = Field(default=SecretStr(""), description="The password of that account.")
    max_parallel: int = Field(
        default=4,
        ge=1,
        le=32,
        description="Calls at once; few, for an overdrawn budget ends in a ban of the address.",
    )
    calls_per_minute: int = Field(
        default=100,
        ge=1,
        description="A limit of ours: SmartgridOne counts cost, not calls, and says what is left.",
    )
    api_tier: Literal["free", "basic", "premium"] | None = Field(
        default=None,
        description=(
            "The tier of your contract, sent with telemetry queries: 100, 6000 or 60000 units of "
            "cost per minute. Not set: SmartgridOne decides."
        ),
    )
    retention_policies: tuple[str, ...] = Field(
        default=("rp_one_m", "rp_ten_m", "rp_one_s"),
        description=(
            "Where telemetry is read, the first that a device has: one row per minute, per ten "
            "minutes, per second. A device's other policies are not read."
        ),
    )
    statements_per_call: int = Field(
        default=200, ge=1, le=MOST_STATEMENTS, description="Telemetry queries in one call."
    )
    rows_per_statement: int = Field(
        default=10_000,
        ge=10,
        description="The longest window of one query, in rows as its policy could hold.",
    )
    rows_per_call: int = Field(
        default=100_000, ge=10, description="Rows asked for in one call, estimated likewise."
    )
    refetch_hours: float = Field(
        default=2.0,
        ge=0,
        description="Hours before its newest reading at which a device's hourly run begins.",
    )
    patience_s: float = Field(
        default=3600.0,
        gt=0,
        description="Seconds that a call waits for SmartgridOne's budget before it is given up.",
    )


def sandbox_section(sandbox_url: str) -> dict[str, Any]:
    """Return what this section is on the sandbox, where nothing else is set."""
    url = sandbox_url.rstrip("/") + SANDBOX_PATH
    return {
        "base_url": url,
        "auth_url": url,
        "username": "sandbox-smartgridone",
        "password": "sandbox-smartgridone-secret",
        # A local process: nothing is gained by pacing it.
        "calls_per_minute": 6000,
        "api_tier": "premium",
    }
