"""What a failed call means: one error of `energy_etl.errors`, one sentence.

The sentence says who was asked for what, where, what happened and what to do next; secrets are
removed before anything is cut. Which failures are tried again is told in `client.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Final

import httpx

from energy_etl.errors import (
    AuthenticationError,
    BadRequestError,
    MalformedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
    VendorError,
)
from energy_etl.rest.redaction import Redactor
from energy_etl.rest.transport import ConnectionRefusedByVendorError

_EXCERPT: Final = 200
# What answers are read by: an id drawn by us tells a reader nothing, a thousand queries too much.
_UNTOLD: Final = frozenset({"window", "statements", "is_complete"})
_STATUS_ERRORS: Final[Mapping[int, tuple[type[VendorError], str]]] = {
    400: (BadRequestError, "check the ids and the period in the portfolio"),
    403: (PermissionDeniedError, "ask the vendor for the right that is missing"),
    404: (NotFoundError, "check the id in the portfolio"),
    408: (UnavailableError, "run again later"),
    412: (BadRequestError, "it was changed since it was read: read it again, then decide anew"),
    422: (BadRequestError, "the vendor understood it and refuses it: ask for less, or correct it"),
}


@dataclass(frozen=True)
class Failures:
    """Makes the errors of one vendor's calls.

    Attributes:
        base: the address in effect.
        credential_hint: what to do when the vendor refuses the credential.
        url_setting: the vendor's setting that holds the address.
    """

    vendor: str
    base: httpx.URL
    redactor: Redactor
    credential_hint: str
    url_setting: str = "base_url"

    def of_status(
        self,
        endpoint: str,
        url: httpx.URL,
        params: Mapping[str, Any],
        answer: httpx.Response,
        attempt: int,
    ) -> VendorError | None:
        """Return the error of an answer, None for a status of 200 to 299."""
        status = answer.status_code
        if 200 <= status < 300:
            return None
        said = f"{self.who(endpoint, params)} answered {status} at {self.shown(url)}"
        excerpt = self._excerpt(answer)
        if status == 401:
            return AuthenticationError(f"{said}{excerpt}: {self.credential_hint}.")
        if status == 429:
            retry_after_s = parse_retry_after_s(answer.headers.get("retry-after"))
            when = f"{retry_after_s:.0f} s" if retry_after_s is not None else "some minutes"
            return RateLimitedError(f"{said}{excerpt}: run again in {when}.", retry_after_s)
        if status >= 500:
            return UnavailableError(
                f"{said}{excerpt}, {_times(attempt)}: the fault is the vendor's, run again later."
            )
        if 300 <= status < 400:
            target = self.redactor.text(answer.headers.get("location", "nowhere"))[:_EXCERPT]
            return MalformedError(
                f"{said}, a redirect to {target}, which is never followed: "
                f"set {self.vendor}.{self.url_setting} to the address the vendor answers at."
            )
        kind, advice = _STATUS_ERRORS.get(status, _STATUS_ERRORS[400])
        return kind(f"{said}{excerpt}: {advice}.")

    def of_cause(
        self,
        endpoint: str,
        url: httpx.URL,
        params: Mapping[str, Any],
        cause: VendorError,
        attempt: int,
    ) -> VendorError:
        """Complete what the transport or the token call raised."""
        if isinstance(cause, AuthenticationError | RateLimitedError):
            return cause
        who = self.who(endpoint, params)
        if isinstance(cause, ConnectionRefusedByVendorError):
            return ConnectionRefusedByVendorError(
                f"{who} cannot be asked, {cause} to {self._where()}."
            )
        # It may quote what the server said.
        what = self.redactor.text(str(cause)).rstrip(".")
        said = f"{who} failed at {self.shown(url)}: {what}"
        if isinstance(cause, UnavailableError):
            return UnavailableError(f"{said}, {_times(attempt)}; run again later.")
        return type(cause)(f"{said}; nothing of it was used, report it if it stays so.")

    def leads_away(
        self, endpoint: str, url: httpx.URL, params: Mapping[str, Any]
    ) -> MalformedError:
        """Return the error of a URL off the vendor's host or path."""
        return MalformedError(
            f"{self.who(endpoint, params)} leads away from {self.base} (to {self.shown(url)}): "
            "nothing was sent there; check the id in the portfolio or report the link."
        )

    def who(self, endpoint: str, params: Mapping[str, Any]) -> str:
        """Return vendor, endpoint and what the call was for."""
        about = ", ".join(
            f"{key}={value}"
            for key, value in params.items()
            if value is not None and key not in _UNTOLD
        )
        return self.redactor.text(f"{self.vendor} {endpoint}" + (f" ({about})" if about else ""))

    def shown(self, url: httpx.URL) -> str:
        """Return a URL without query, user and secrets."""
        return self.redactor.text(str(url.copy_with(query=None, username=None, password=None)))

    def _where(self) -> str:
        address = f"{self.base.scheme}://{self.base.netloc.decode('ascii')}"
        if is_loopback(self.base.host):
            return (
                f"{address}: start the sandbox with `energy-etl sandbox`, "
                f"or set {self.vendor}.{self.url_setting}"
            )
        return f"{address}: check the network and {self.vendor}.{self.url_setting} in the settings"

    def _excerpt(self, answer: httpx.Response) -> str:
        # Redacted before it is cut: half of a secret is no longer found.
        text = " ".join(self.redactor.text(answer.text[:4000]).split())[:_EXCERPT]
        return f' ("{text}")' if text else ""


def is_loopback(host: str) -> bool:
    """Return True for this machine's own addresses."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_retry_after_s(text: str | None) -> float | None:
    """Return the seconds of a `Retry-After` (a number or a date), None when there is none."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _times(attempt: int) -> str:
    return "asked once" if attempt == 1 else f"asked {attempt} times"
