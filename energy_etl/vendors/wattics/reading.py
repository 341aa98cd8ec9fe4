"""What reading the answers of one fetch shares: lists taken apart, bad rows and problems kept."""

from collections.abc import Sequence
from typing import Final

import msgspec
import polars as pl

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.tables import Table
from energy_etl.tables.raw import QUARANTINE
from energy_etl.vendors import Problem, VendorBatch, Write

MAX_TEXT: Final = 2000
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# Number of the row in the answer, what is wrong with it, its text.
Refused = tuple[int, str, str]


class Reading:
    """One batch in the making."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self.batch = VendorBatch()
        self.bad: list[pl.DataFrame] = []

    def finish(self) -> VendorBatch:
        """Return the batch with what was refused."""
        self.batch.quarantine = pl.concat(
            [pl.DataFrame(schema=QUARANTINE.polars_schema), *self.bad]
        )
        return self.batch

    def rows(self, call: RawCall) -> list[msgspec.Raw] | None:
        """Return the items of a list undecoded; None, and a problem, when it is none."""
        try:
            return msgspec.json.decode(call.body, type=list[msgspec.Raw])
        except UNREADABLE as error:
            asked = ", ".join(
                f"{name}={value}"
                for name, value in call.params.items()
                if name.endswith("_id") and name != "fetch_id"
            )
            subject = f"{call.endpoint} ({asked})" if asked else call.endpoint
            self.batch.problems.append(
                Problem(
                    subject,
                    MalformedError(
                        f"wattics {subject} (request {call.request_id}) is no list ({error}): "
                        "nothing of it was used, run the fetch again, and report it if it stays so."
                    ),
                )
            )
            return None

    def refuse(self, call: RawCall, bad: Sequence[Refused]) -> None:
        """Put rows of an answer into quarantine."""
        if bad:
            self.bad.append(
                pl.DataFrame(
                    [
                        {
                            "request_id": call.request_id,
                            "vendor": call.vendor,
                            "endpoint": call.endpoint,
                            "row_number": number,
                            "reasons": reason,
                            "raw_text": text,
                        }
                        for number, reason, text in bad
                    ],
                    schema=QUARANTINE.polars_schema,
                )
            )

    def merge(self, table: Table, rows: pl.DataFrame) -> None:
        """Add rows that are merged by key; the last of a key counts."""
        if rows.height:
            frame = rows.select(table.polars_schema.names()).unique(
                subset=table.key, keep="last", maintain_order=True
            )
            self.batch.writes.append(Write(table, frame, "merge"))


def told(raw: msgspec.Raw) -> str:
    """Return a row as it is kept in quarantine."""
    return bytes(raw).decode("utf-8", "replace")[:MAX_TEXT]
