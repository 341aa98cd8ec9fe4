"""Every error that this package raises on purpose.

    EnergyEtlError
    ├── ConfigurationError        settings, portfolio, an unknown key: mend the file, then run again
    │   └── UsageError            an option, an argument, a name that was typed: type another one
    ├── WarehouseError            DuckDB: locked, damaged, of another version
    │   └── WarehouseLockedError  retryable: somebody else is writing
    ├── TransformError            input that breaks a stated condition of a transform
    ├── DeliveryError             packets that were due were not delivered
    └── VendorError               what a vendor answered, or did not
        ├── AuthenticationError   wrong or revoked credential: no retry helps
        ├── PermissionDeniedError the credential is right, the right is missing
        ├── NotFoundError         unknown id
        ├── BadRequestError       the vendor refused what was sent (400, 422, other 4xx)
        ├── RateLimitedError      retryable after `retry_after_s`
        ├── UnavailableError      retryable: no connection, time-out, 5xx
        └── MalformedError        an answer that cannot be read, is too big, or came too slowly

Each message is one sentence: what happened, where, and what to do next. Nothing secret goes in.
"""

from datetime import datetime
from typing import ClassVar


class EnergyEtlError(Exception):
    """Root of the tree; `is_retryable` says whether the same call may succeed later."""

    is_retryable: ClassVar[bool] = False


class ConfigurationError(EnergyEtlError):
    """A setting or a portfolio file is wrong or missing."""


class UsageError(ConfigurationError):
    """What was asked for, not what is configured, is wrong: an option, an argument, a name."""


class WarehouseError(EnergyEtlError):
    """The warehouse file cannot be used as it is."""


class WarehouseLockedError(WarehouseError):
    """Another process holds the warehouse file."""

    is_retryable = True


class TransformError(EnergyEtlError):
    """A frame handed to a transform breaks the transform's stated condition."""


class DeliveryError(EnergyEtlError):
    """Packets that were due were not delivered."""


class VendorError(EnergyEtlError):
    """A vendor's answer, or the lack of one.

    Attributes:
        status: of the answer; None when there was none.
        server_at: the vendor's time by the answer's `Date`; None when it told none.
    """

    status: int | None = None
    server_at: datetime | None = None


class AuthenticationError(VendorError):
    """The credential is wrong, expired beyond renewal, or revoked."""


class PermissionDeniedError(VendorError):
    """The credential is valid but lacks the right."""


class NotFoundError(VendorError):
    """The vendor does not know the id."""


class BadRequestError(VendorError):
    """The vendor refused the request as it was sent."""


class RateLimitedError(VendorError):
    """The vendor's rate limit is used up."""

    is_retryable = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        """Keep the vendor's `Retry-After` in seconds, None when it sent none."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(VendorError):
    """No connection, a time-out, or a 5xx."""

    is_retryable = True


class MalformedError(VendorError):
    """An answer that cannot be read."""
