"""A token in `Authorization` as it is, without a scheme (Wattics' read and management API)."""

from collections.abc import Generator

import httpx
from pydantic import SecretStr

from energy_etl.errors import ConfigurationError


class BareTokenAuth(httpx.Auth):
    """`Authorization: <token>`; there is nothing to renew."""

    def __init__(self, token: SecretStr, *, setting: str) -> None:
        """Send this token.

        Args:
            token: of the vendor.
            setting: where it comes from, for the error.

        Raises:
            ConfigurationError: the token is empty or holds characters that no header can carry.
        """
        text = token.get_secret_value()
        if not text or not (text.isascii() and text.isprintable()) or text != text.strip():
            raise ConfigurationError(
                f"{setting} is empty or holds characters that no header can carry: copy it again."
            )
        self._token = text

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign and send once."""
        request.headers["Authorization"] = self._token
        yield request
