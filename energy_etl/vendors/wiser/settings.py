"""Wiser's section `wiser` of the settings, and the addresses that it is reached at."""

from typing import Any, Final

from pydantic import Field, SecretStr

from energy_etl.vendors.section import ReadSection

# The document names no address. Host, authorize and token path are those of the vendor's sibling
# APIs, the API's path is guessed after theirs: modelled, not verified; they stand only here.
LIVE_URL: Final = "https://api.exchange.se.com"
AUTHORIZE_PATH: Final = "/ecostruxure/v1/oauth/authorize"
TOKEN_PATH: Final = "/ecostruxure/v1/oauth/token"
API_PATH: Final = "/ecostruxure/wiser-energy-monitoring/v1"
# The vendor's sibling APIs name these two scopes; without the second no refresh token is given.
DEFAULT_SCOPE: Final = "read:site offline_access"
SANDBOX_PATH: Final = "/wiser"


class WiserSettings(ReadSection):
    """How to reach Wiser, with whose consent, and how hard."""

    base_url: str = Field(
        default=LIVE_URL, description="The host of API, authorize and token endpoint."
    )
    client_id: str = Field(
        default="", description="Id of the application that you registered with Schneider."
    )
    client_secret: SecretStr = Field(
        default=SecretStr(""), description="Secret of that application."
    )
    account: str = Field(
        default="main",
        min_length=1,
        description="Our name for the customer who consents; each has a consent of its own.",
    )
    scope: str = Field(
        default=DEFAULT_SCOPE, description="What the customer is asked for, separated by spaces."
    )
    redirect_port: int = Field(
        default=8917,
        ge=0,
        le=65535,
        description=(
            "Where `energy-etl wiser authorize` listens on 127.0.0.1; 0 takes a free one. Register "
            "`http://127.0.0.1:8917/callback` with Schneider."
        ),
    )
    redirect_uri: str = Field(
        default="",
        description="Another address, where Schneider takes no loopback one; only with --paste.",
    )
    uses_pkce: bool = Field(
        default=True,
        description="Whether a code challenge (S256) is sent; the document does not speak of it.",
    )
    authorize_deadline_s: float = Field(
        default=300.0,
        gt=0,
        description="Seconds that `energy-etl wiser authorize` waits for the customer.",
    )
    max_parallel: int = Field(default=4, ge=1, le=64, description="Calls at once.")
    calls_per_minute: int = Field(
        default=60, ge=1, description="A limit of ours, one per second: none is documented."
    )


def sandbox_section(sandbox_url: str) -> dict[str, Any]:
    """Return what this section is on the sandbox, where nothing else is set."""
    return {
        "base_url": sandbox_url.rstrip("/") + SANDBOX_PATH,
        "client_id": "sandbox-wiser",
        "client_secret": "sandbox-wiser-secret",
        # Any port is registered there, and nobody has to be spared.
        "redirect_port": 0,
        "calls_per_minute": 3000,
    }
