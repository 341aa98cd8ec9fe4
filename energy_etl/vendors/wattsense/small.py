"""Lists of small objects -> writes to their tables; pure. What each object says: `rows_*.py`.

A table that keeps versions in time gets a `Listing`, any other a merge. A listing is complete when
its last page is known to be the last, every page before it came, and every row of it could be read:
only then does what is missing count as vanished.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import BaseModel

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.tables.model import Table
from energy_etl.vendors import Listing, Problem, VendorBatch, Write
from energy_etl.vendors.batch import FROM_AT, listing_frame
from energy_etl.vendors.page_rows import quarantine_of, read_objects

Row = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """What an endpoint sends, and the rows that one object of it becomes.

    Attributes:
        model: of one object.
        tables: each with the rows that an object means for it.
        is_single: True for an endpoint that sends one object and no list.
    """

    model: type[BaseModel]
    tables: Mapping[Table, Callable[[Any, RawCall], list[Row]]]
    is_single: bool = False

    def items_of(self, sent: Any) -> Any:
        """Return the list of objects in a decoded answer, None when it holds none."""
        if self.is_single:
            return [sent] if isinstance(sent, dict) else None
        return sent


def add_small(endpoint: Endpoint, calls: Sequence[RawCall], batch: VendorBatch) -> pl.DataFrame:
    """Add the writes of one endpoint's calls to the batch; return what goes to quarantine.

    Args:
        endpoint: how its objects are read.
        calls: those of one fetch, in order.
        batch: gets the writes and problems.
    """
    rows: dict[Table, list[Row]] = {table: [] for table in endpoint.tables}
    objects = read_objects(calls, endpoint.model, endpoint.items_of)
    for index, _, sent in objects.good:
        call = calls[index]
        brought_by = {"request_id": call.request_id, "received_at": call.requested_at}
        for table, to_rows in endpoint.tables.items():
            rows[table] += [row | brought_by for row in to_rows(sent, call)]
    batch.problems += [_unread(endpoint, calls[index]) for index in objects.unread]
    is_whole = _every_page_came(calls) and not objects.bad and not objects.unread
    for table, found in rows.items():
        if FROM_AT not in table.key:
            if found:
                frame = pl.DataFrame(found, schema=table.polars_schema)
                unique = frame.unique(subset=table.key, keep="last", maintain_order=True)
                batch.writes.append(Write(table, unique, "merge"))
        elif calls:
            batch.writes.append(_listing(table, found, calls, is_whole=is_whole))
    return quarantine_of(objects.bad, calls)


def gone(endpoint: Endpoint, name: str, asked: RawCall) -> list[Write]:
    """Return the writes of a list that the vendor does not have (any more): all of it vanished."""
    return [
        Write(table, listing_frame(table, []), Listing(_scope(name), asked.requested_at))
        for table in endpoint.tables
        if FROM_AT in table.key
    ]


def _listing(
    table: Table, rows: Sequence[Row], calls: Sequence[RawCall], *, is_whole: bool
) -> Write:
    name = calls[-1].endpoint
    frame = listing_frame(table, [row | {"listed_in": name} for row in rows])
    scopes = _scope(name)
    how = Listing(scopes if is_whole else scopes.clear(), calls[-1].requested_at)
    return Write(table, frame, how)


def _scope(name: str) -> pl.DataFrame:
    return pl.DataFrame({"listed_in": [name]})


def _every_page_came(calls: Sequence[RawCall]) -> bool:
    numbers = [call.params.get("page") for call in calls]
    is_last = [call.params.get("is_last") is True for call in calls]
    return numbers == list(range(len(calls))) and any(is_last[-1:])


def _unread(endpoint: Endpoint, call: RawCall) -> Problem:
    subject = str(call.params.get("device_id") or call.endpoint)
    wanted = "object" if endpoint.is_single else "list"
    message = (
        f"wattsense {call.endpoint} of {subject} (request {call.request_id}) is no JSON {wanted}; "
        "nothing of it was used, run the fetch again."
    )
    return Problem(subject, MalformedError(message))


def json_text(value: Any) -> str | None:
    """Return tags and the like as JSON with sorted keys."""
    return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)
