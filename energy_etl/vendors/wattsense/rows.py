"""Wattsense's answers -> frames of its tables; pure, the same for a fetch and for a rebuild.

Here: which endpoint becomes what, and history. Small objects: `small.py`, and what they say:
`rows_boxes.py`, `rows_access.py`.

History: the pages of one property and window belong together (params `window`, `page`, `is_last`).
Whole ones replace what the table holds in that window; of a window with a page missing or refused,
what came is merged and nothing is deleted.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import polars as pl

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.vendors import Problem, VendorBatch, Window, Write
from energy_etl.vendors.wattsense.pages import read_pages
from energy_etl.vendors.wattsense.rows_access import ACCESS_ENDPOINTS, UNITS, UNITS_ARE_GONE
from energy_etl.vendors.wattsense.rows_boxes import BOX_ENDPOINTS
from energy_etl.vendors.wattsense.small import Endpoint, add_small, gone
from energy_etl.vendors.wattsense.tables import HISTORY

ENDPOINTS: Final[Mapping[str, Endpoint]] = {**BOX_ENDPOINTS, **ACCESS_ENDPOINTS}
_WINDOW: Final = ("device_id", "property_id", "from_at", "to_at")
_IDS: Final = ("device_id_wattsense", "property_id_wattsense")


def to_batch(calls: Sequence[RawCall]) -> VendorBatch:
    """Turn the calls of one fetch into writes; what cannot be read is a problem, by name."""
    batch = VendorBatch()
    by_endpoint: defaultdict[str, list[RawCall]] = defaultdict(list)
    for call in calls:
        by_endpoint[call.endpoint].append(call)
    quarantines: list[pl.DataFrame] = []
    for name, endpoint in ENDPOINTS.items():
        quarantines.append(add_small(endpoint, by_endpoint[name], batch))
    for call in by_endpoint["user"]:
        if call.params.get(UNITS_ARE_GONE):
            batch.writes += gone(ENDPOINTS[UNITS], UNITS, call)
    quarantines.append(_add_history(by_endpoint["history"], batch))
    batch.quarantine = pl.concat(quarantines)
    return batch


def _add_history(calls: Sequence[RawCall], batch: VendorBatch) -> pl.DataFrame:
    """Add the writes of all history pages to the batch; return what goes to quarantine."""
    pages = sorted(calls, key=lambda call: (str(call.params["window"]), int(call.params["page"])))
    asked = [
        (
            str(call.params["property_id"]),
            datetime.fromisoformat(call.params["from_at"]),
            datetime.fromisoformat(call.params["to_at"]),
        )
        for call in pages
    ]
    read = read_pages(pages, asked)
    for index, error in read.refused.items():
        batch.problems.append(_refused_page(pages[index], error))
    windows: defaultdict[str, list[int]] = defaultdict(list)
    for index, call in enumerate(pages):
        windows[str(call.params["window"])].append(index)
    whole = _whole_windows(pages, windows, set(read.refused))
    # One write per bounds: a fetch asks for one range, so this is one big write, not one per meter.
    by_bounds: defaultdict[tuple[str, str] | None, list[int]] = defaultdict(list)
    for name, indexes in windows.items():
        params = pages[indexes[0]].params
        by_bounds[(params["from_at"], params["to_at"]) if name in whole else None] += indexes
    for bounds, indexes in by_bounds.items():
        frame = _history_frame(read.rows, pages, indexes)
        if bounds is None:
            if frame.height:
                batch.writes.append(Write(HISTORY, frame, "merge"))
            continue
        ids = pl.DataFrame(
            [(pages[i].params["device_id"], pages[i].params["property_id"]) for i in indexes],
            schema=dict.fromkeys(_IDS, pl.String),
            orient="row",
        ).unique(maintain_order=True)
        from_at, to_at = (datetime.fromisoformat(bound) for bound in bounds)
        window = Window(ids, "measured_at", from_at, to_at)
        batch.writes.append(Write(HISTORY, frame, window))
    return read.quarantine


def _whole_windows(
    pages: Sequence[RawCall], windows: Mapping[str, list[int]], refused: set[int]
) -> set[str]:
    """Return the windows of which every page came; of a window asked twice, only the later."""
    whole: dict[tuple[Any, ...], str] = {}
    for name in sorted(windows, key=lambda name: pages[windows[name][-1]].requested_at):
        indexes = windows[name]
        numbers = [int(pages[index].params["page"]) for index in indexes]
        params = pages[indexes[-1]].params
        if (
            params.get("is_last") is True
            and numbers == list(range(len(numbers)))
            and refused.isdisjoint(indexes)
        ):
            whole[tuple(params[part] for part in _WINDOW)] = name
    return set(whole.values())


def _history_frame(
    rows: pl.DataFrame, pages: Sequence[RawCall], indexes: Sequence[int]
) -> pl.DataFrame:
    about = pl.DataFrame(
        {
            "device_id_wattsense": [call.params["device_id"] for call in pages],
            "property_id_wattsense": [call.params["property_id"] for call in pages],
            "request_id": [call.request_id for call in pages],
            "received_at": [call.requested_at for call in pages],
        },
        schema_overrides={
            **dict.fromkeys((*_IDS, "request_id"), pl.String),
            "received_at": HISTORY.polars_schema["received_at"],
        },
    )
    if len(indexes) < len(pages):
        rows = rows.filter(pl.col("page").is_in(list(indexes)))
    frame = rows.with_columns(about[rows["page"]].get_columns() if rows.height else [])
    if frame.is_empty():
        return HISTORY.empty_frame()
    frame = frame.select(HISTORY.polars_schema.names())
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in _IDS)
    rising = frame.select((~same | (pl.col("measured_at") > pl.col("measured_at").shift())).all())
    if not rising.item():
        # Duplicate or reordered pages: the copy that came last stays.
        frame = frame.unique(subset=HISTORY.key, keep="last", maintain_order=True)
    return frame


def _refused_page(call: RawCall, error: MalformedError) -> Problem:
    params = call.params
    subject = f"{params.get('device_id')}/{params.get('property_id')}"
    return Problem(
        subject,
        MalformedError(
            f"wattsense {call.endpoint} of {subject}, page {params.get('page')} (request "
            f"{call.request_id}): {error}; nothing of that page was used, run the fetch again."
        ),
    )
