"""The request log of one fetch: each call a row of `raw.request`, each answer one of `raw.body`.

It collects in memory, from many threads; the caller writes `take()` in the same transaction as the
rows that came of it, so a table never holds a row whose call is not in `raw`.
"""

import hashlib
import json
import threading
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import polars as pl

from energy_etl.tables.raw import BODY, REQUEST

# Level 1: readings shrink to about a tenth, at a third of the CPU time of the default level.
_ZLIB_LEVEL: Final = 1
# Calls for tokens are recorded without their answer, so nothing can be made of them.
TOKEN_ENDPOINT: Final = "token"


@dataclass(frozen=True)
class RawCall:
    """One answered call: fresh from the vendor, or out of `raw.request` and `raw.body`.

    Attributes:
        params: what the call was made for; `fetch_id` names the fetch it belongs to.
        status: 0 when no answer came (only calls of a change are kept then).
        body: the answer as stored (secrets and known personal fields removed).
    """

    request_id: str
    vendor: str
    endpoint: str
    params: Mapping[str, Any]
    status: int
    body: bytes
    requested_at: datetime

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "RawCall":
        """Build from a row of `raw.request` left-joined with `raw.body` (column body_zlib)."""
        packed = row["body_zlib"]
        return cls(
            request_id=row["request_id"],
            vendor=row["vendor"],
            endpoint=row["endpoint"],
            params=json.loads(row["params"] or "{}"),
            status=row["status"] or 0,
            body=zlib.decompress(packed) if packed else b"",
            requested_at=row["requested_at"],
        )


@dataclass
class _Record:
    request_id: str
    endpoint: str
    url: str
    params: dict[str, Any]
    status: int | None
    error: str | None
    requested_at: datetime
    elapsed_ms: float
    body: bytes = b""
    body_sha256: str | None = None
    body_zlib: bytes = field(default=b"", repr=False)


class RequestLog:
    """Collects the calls of one fetch from one vendor."""

    def __init__(
        self, vendor: str, *, fetch_id: str | None = None, is_change: bool = False
    ) -> None:
        """Start a fetch.

        Args:
            vendor: whom the calls go to.
            fetch_id: drawn when none is given.
            is_change: True for calls that are to change something at the vendor: then failed ones
                count too, since what was tried must stay known. They say so in their params.
        """
        self.vendor = vendor
        self.fetch_id = fetch_id or uuid.uuid4().hex
        self.is_change = is_change
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}

    def __len__(self) -> int:
        """Return the number of calls so far."""
        return len(self._records)

    def record(
        self,
        *,
        endpoint: str,
        url: str,
        params: Mapping[str, Any],
        status: int | None,
        error: str | None,
        requested_at: datetime,
        elapsed_ms: float,
        body: bytes = b"",
    ) -> str:
        """Keep one call and return its id; url, error and body come redacted."""
        record = _Record(
            request_id=uuid.uuid4().hex,
            endpoint=endpoint,
            url=url,
            params={
                **params,
                "fetch_id": self.fetch_id,
                **({"is_change": True} if self.is_change else {}),
            },
            status=status,
            error=error,
            requested_at=requested_at,
            elapsed_ms=elapsed_ms,
            body=body,
        )
        if body:
            # In the caller's thread: both release the interpreter's lock.
            record.body_sha256 = hashlib.sha256(body).hexdigest()
            record.body_zlib = zlib.compress(body, _ZLIB_LEVEL)
        with self._lock:
            self._records[record.request_id] = record
        return record.request_id

    def annotate(self, request_id: str, **facts: Any) -> None:
        """Add to a call's params what only its answer told (such as: this was the last page)."""
        with self._lock:
            self._records[request_id].params.update(facts)

    def calls(self) -> list[RawCall]:
        """Return the calls that were answered with success, in order of request.

        Of a change also those that failed, with the status 0 when no answer came.
        """
        with self._lock:
            records = list(self._records.values())
        answered = [
            RawCall(
                request_id=record.request_id,
                vendor=self.vendor,
                endpoint=record.endpoint,
                params=dict(record.params),
                status=record.status or 0,
                body=record.body,
                requested_at=record.requested_at,
            )
            for record in records
            if record.endpoint != TOKEN_ENDPOINT and (self.is_change or _is_answered(record))
        ]
        return sorted(answered, key=lambda call: (call.requested_at, call.request_id))

    def take(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows for `raw.request` and `raw.body` (one per hash), and forget them."""
        with self._lock:
            records, self._records = list(self._records.values()), {}
        requests = pl.DataFrame(
            [
                {
                    "request_id": record.request_id,
                    "vendor": self.vendor,
                    "endpoint": record.endpoint,
                    "url": record.url,
                    "params": json.dumps(record.params, sort_keys=True),
                    "status": record.status,
                    "body_sha256": record.body_sha256,
                    "error": record.error,
                    "requested_at": record.requested_at,
                    "elapsed_ms": record.elapsed_ms,
                }
                for record in records
            ],
            schema=REQUEST.polars_schema,
        )
        bodies = {record.body_sha256: record for record in records if record.body_sha256}
        frame = pl.DataFrame(
            [
                {"body_sha256": key, "body_zlib": record.body_zlib, "n_bytes": len(record.body)}
                for key, record in bodies.items()
            ],
            schema=BODY.polars_schema,
        )
        return requests, frame


def _is_answered(record: _Record) -> bool:
    return record.error is None and record.status is not None and 200 <= record.status < 300
