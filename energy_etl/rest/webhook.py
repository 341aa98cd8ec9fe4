"""`Webhook`: the one address that is told of failures, which is no vendor.

Whoever knows the address can post there, so nothing that is shown holds any part of it. One call
within fixed limits: when to try again is the caller's, who has more to do meanwhile.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from energy_etl.errors import BadRequestError, EnergyEtlError, UnavailableError
from energy_etl.rest.closing import Closing
from energy_etl.rest.connections import ConnectionPool, NoConnectionError, NoConnectionInTimeError
from energy_etl.rest.redaction import Redactor
from energy_etl.rest.transport import USER_AGENT, BoundedTransport, Limits

SETTING: Final = "ENERGY_ETL_ALERTS__WEBHOOK_URL"
# The receiver says "ok"; whoever waits for it is a sensor that others queue behind.
LIMITS: Final = Limits(connect_s=4.0, answer_s=8.0, max_bytes=64 * 1024)
_EXCERPT: Final = 100
# Shorter parts of a path are words such as "services".
_SHORTEST_SECRET_PART: Final = 12


class Webhook(Closing):
    """Posts to one address, over one connection."""

    def __init__(self, url: str, limits: Limits = LIMITS) -> None:
        """Prepare; nothing is sent.

        Args:
            url: from the settings, which have checked it.
            limits: what one call may cost.
        """
        self._url = httpx.URL(url)
        self._limits = limits
        self._redactor = Redactor(secret_parts(url))
        self._transport = BoundedTransport(limits, max_connections=1)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def post(self, message: Mapping[str, Any]) -> None:
        """POST a message as JSON, once; redirects are not followed.

        Raises:
            BadRequestError: it was refused or redirected: the address is not right any more.
            UnavailableError: no connection, no answer in time, 429 or a 5xx.
        """
        try:
            request = httpx.Request(
                "POST",
                self._url,
                headers={"Content-Type": "application/json", "User-Agent": USER_AGENT},
                content=msgspec.json.encode(message),
            )
            answer = self._transport.handle_request(request)
        except (EnergyEtlError, UnicodeError) as error:
            # The latter of a host that is no name in any script, such as xn--a.
            raise self._not_reached(str(error)) from None
        status = answer.status_code
        if 200 <= status < 300:
            return
        # Redacted before it is cut: half of a secret is no longer found.
        text = " ".join(self._redactor.text(answer.text).split())[:_EXCERPT]
        said = f"The webhook answered {status}" + (f' ("{text}")' if text else "")
        if status == 429 or status >= 500:
            raise UnavailableError(f"{said}: wait, it is tried again by itself.")
        if 300 <= status < 400:
            raise BadRequestError(
                f"{said}, a redirect, which is never followed: set {SETTING} to the final address."
            )
        raise BadRequestError(f"{said}: set {SETTING} to an address that is still valid.")

    def check_reachable(self) -> None:
        """Open a connection and close it: nobody gets a message.

        Raises:
            UnavailableError: none came up.
        """
        limits = self._limits
        pool = ConnectionPool(1, connect_s=limits.connect_s, wait_s=limits.connect_s)
        url = self._url
        try:
            connection = pool.take(url.scheme, url.raw_host.decode("ascii"), url.port)
        except (NoConnectionError, NoConnectionInTimeError) as error:
            raise self._not_reached(f"no connection could be opened ({error})") from None
        pool.give_back(connection, is_reusable=False)

    def _not_reached(self, why: str) -> UnavailableError:
        return UnavailableError(
            f"The webhook was not reached, {self._redactor.text(why).rstrip('.')}: "
            f"check the network and {SETTING}."
        )


def secret_parts(url: str) -> list[str]:
    """Return what of a webhook's address must not be shown: all that leads to it."""
    if not url:
        return []
    parts = urlsplit(url)
    pieces = [piece for piece in (*parts.path.split("/"), *parts.query.split("&")) if piece]
    values = [piece.partition("=")[2] for piece in pieces]
    long_ones = [each for each in (*pieces, *values) if len(each) >= _SHORTEST_SECRET_PART]
    host = parts.hostname or ""
    hosts = [host, httpx.URL(url).raw_host.decode("ascii"), parts.netloc]
    return [url, url.partition("://")[2], parts.path.strip("/"), *long_ones, *hosts]
