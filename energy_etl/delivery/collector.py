"""What delivery asks of a vendor: take one packet, and say which one came last."""

from datetime import datetime
from typing import Protocol


class Answer(Protocol):
    """What came back for one packet."""

    @property
    def status(self) -> int | None:
        """HTTP status; None when no answer came."""
        ...

    @property
    def text(self) -> str:
        """The beginning of the answer, or why there is none; without secrets."""
        ...

    @property
    def retry_after_s(self) -> float | None:
        """The vendor's wish how long to wait; None without one."""
        ...

    @property
    def may_have_arrived(self) -> bool:
        """False only when the packet surely never left (connection refused)."""
        ...


class Collector(Protocol):
    """One account at a vendor's collector."""

    @property
    def fingerprint(self) -> str:
        """Tells this credential from another one of the same name; gives nothing of it away."""
        ...

    async def post(self, body: bytes) -> Answer:
        """Send one packet once; a lost connection is an answer without status, no exception."""
        ...

    async def last(self, stream_id: str) -> datetime | None:
        """Return the stamp of the last packet that the vendor has, None when it has none.

        Raises:
            VendorError: no usable answer; BadRequestError says that the call is not offered.
        """
        ...
