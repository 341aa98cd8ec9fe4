"""SmartgridOne's section `smartgridone` of the settings."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

LIVE_URL: Final = "https://api.eniris.be"
LIVE_AUTH_URL: Final = "https://authentication.eniris.be"
SANDBOX_PATH: Final = "/smartgridone"
# The vendor refuses an array of more.
MOST_STATEMENTS: Final = 1000


class SmartgridOneSettings(BaseModel):
    """How to reach SmartgridOne, and how hard.

    Attributes:
        base_url: the API's address; the sandbox's on the target sandbox.
        auth_url: the address of login and tokens.
        username: of an account without a second factor.
        max_parallel: calls at once; few, for an overdrawn budget ends in a ban of the address.
        calls_per_minute: what we allow ourselves; the vendor counts cost, not calls, and says in
            each answer what is left of it.
        api_tier: sent with telemetry queries when set: 100, 6000 or 60000 units of cost per minute.
        retention_policies: where telemetry is read, the first that a device has; one row per
            minute, per ten minutes, per second. A device's other policies are not read.
        statements_per_call: telemetry queries in one call.
        rows_per_statement: the longest window of one query, in rows as its policy could hold.
        rows_per_call: rows asked for in one call, estimated likewise.
        refetch_hours: how far before its newest reading an hourly run begins.
        answer_s: for one exchange.
        total_s: for the attempts of one call.
        patience_s: how long a call waits for the vendor's budget before it is given up.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    base_url: str = LIVE_URL
    auth_url: str = LIVE_AUTH_URL
    username: str = ""
    password: SecretStr = SecretStr("")
    max_parallel: int = Field(default=4, ge=1, le=32)
    calls_per_minute: int = Field(default=100, ge=1)
    api_tier: Literal["free", "basic", "premium"] | None = None
    retention_policies: tuple[str, ...] = ("rp_one_m", "rp_ten_m", "rp_one_s")
    statements_per_call: int = Field(default=200, ge=1, le=MOST_STATEMENTS)
    rows_per_statement: int = Field(default=10_000, ge=10)
    rows_per_call: int = Field(default=100_000, ge=10)
    refetch_hours: float = Field(default=2.0, ge=0)
    answer_s: float = Field(default=30.0, gt=0)
    total_s: float = Field(default=180.0, gt=0)
    patience_s: float = Field(default=3600.0, gt=0)


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
