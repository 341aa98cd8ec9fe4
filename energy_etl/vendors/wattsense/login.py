"""How calls to Wattsense are signed: HMAC with an API key, or Basic."""

from dataclasses import dataclass, field

from energy_etl.auth import BasicAuth, HmacSha512Auth
from energy_etl.errors import ConfigurationError
from energy_etl.vendors.wattsense.settings import WattsenseSettings


@dataclass(frozen=True)
class Login:
    """How calls are signed, what of it is secret, and what to do when it is refused."""

    auth: HmacSha512Auth | BasicAuth
    secrets: list[str] = field(repr=False)
    hint: str


def login_of(settings: WattsenseSettings) -> Login:
    """Return how to sign with what the settings hold.

    Raises:
        ConfigurationError: a credential is missing or holds characters no header can carry.
    """
    if settings.auth == "basic":
        name, secret = "username", settings.password
        who, secret_name = settings.username, "password"
    else:
        name, secret = "api_key", settings.api_secret
        who, secret_name = settings.api_key, "api_secret"
    text = secret.get_secret_value()
    if not who or not text:
        raise ConfigurationError(
            f"wattsense.{name} or wattsense.{secret_name} is empty: set ENERGY_ETL_WATTSENSE__"
            f"{name.upper()} and ENERGY_ETL_WATTSENSE__{secret_name.upper()} in the environment "
            "or in .env."
        )
    if settings.auth == "basic":
        if ":" in who or not (who + text).isprintable():
            raise ConfigurationError(
                "wattsense.username holds a colon, or it or wattsense.password a character that "
                "Basic cannot carry: copy them again."
            )
        return Login(
            BasicAuth(who, text),
            [text],
            "check wattsense.username and wattsense.password; if they are a service account's, "
            "its right to use Basic is off unless somebody switched it on: do that for the "
            "service account in Wattsense's console, or give an API key and set wattsense.auth "
            "to hmac",
        )
    if not (who.isascii() and who.isprintable()):
        raise ConfigurationError(
            "wattsense.api_key holds characters that no header can carry: copy it again."
        )
    return Login(
        HmacSha512Auth(who, secret),
        [text, who],
        "check wattsense.api_key and wattsense.api_secret in the settings, and that this "
        "machine's clock is right (the signature carries the time)",
    )
