"""Answers of telemetry -> rows of smartgridone.telemetry; pure.

The pieces of one register's window belong together (`window` in a query's params), whichever calls
they came with. A window is whole when the pieces that worked cover it without a hole: then it
replaces what the table holds there. Of any other, what came is merged and nothing is deleted.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from energy_etl.errors import BadRequestError, MalformedError
from energy_etl.rest import RawCall
from energy_etl.vendors import Problem, VendorBatch, Window, Write
from energy_etl.vendors.smartgridone.pages import TelemetryRows, read_answers
from energy_etl.vendors.smartgridone.tables import TELEMETRY

_IDS: Final = ("node_id_smartgridone", "field")
_MOST_NAMED: Final = 5


def add_telemetry(calls: Sequence[RawCall], batch: VendorBatch) -> pl.DataFrame:
    """Add the writes of all answers to the batch; return what goes to quarantine."""
    read = read_answers(calls)
    if read.asked.is_empty():
        return read.quarantine
    _add_problems(read, calls, batch)
    rows = _telemetry_frame(read, calls)
    windows = _windows(read)
    whole = windows.filter("is_whole")
    bounds = whole.select("from_at", "to_at").unique(maintain_order=True)
    for from_at, to_at in bounds.iter_rows():
        group = whole.filter(from_at=from_at, to_at=to_at)
        ids = group.select(_IDS).unique(maintain_order=True)
        frame = rows.join(group.select("window"), on="window", how="semi", maintain_order="left")
        window = Window(ids, "measured_at", from_at, to_at)
        batch.writes.append(Write(TELEMETRY, _unique(frame), window))
    parts = rows.join(whole.select("window"), on="window", how="anti", maintain_order="left")
    if parts.height:
        batch.writes.append(Write(TELEMETRY, _unique(parts), "merge"))
    return read.quarantine


def _windows(read: TelemetryRows) -> pl.DataFrame:
    """Return one row per window: window, its ids, from_at, to_at, is_whole."""
    refused = list(read.refused)
    worked = pl.col("error").is_null() & pl.col("page").is_in(refused).not_()
    pieces = read.asked.sort("window", "from_at").with_columns(
        joins=pl.col("from_at")
        == pl.col("to_at").shift(1).over("window").fill_null(pl.col("window_from_at")),
        worked=worked,
    )
    return pieces.group_by("window", maintain_order=True).agg(
        pl.col("node_id").first().alias(_IDS[0]),
        pl.col("field").first().alias(_IDS[1]),
        from_at=pl.col("window_from_at").first(),
        to_at=pl.col("window_to_at").first(),
        is_whole=pl.col("joins").all()
        & pl.col("worked").all()
        & (pl.col("to_at").last() == pl.col("window_to_at").first()),
    )


def _telemetry_frame(read: TelemetryRows, calls: Sequence[RawCall]) -> pl.DataFrame:
    """Return the good rows with `window` beside the table's columns."""
    about = read.asked.select(
        "page",
        "statement",
        "window",
        "measurement",
        "retention_policy",
        pl.col("node_id").alias(_IDS[0]),
        "field",
    ).join(
        pl.DataFrame(
            {
                "page": range(len(calls)),
                "request_id": [call.request_id for call in calls],
                "received_at": [call.requested_at for call in calls],
            },
            schema={
                "page": pl.Int32,
                "request_id": pl.String,
                "received_at": TELEMETRY.polars_schema["received_at"],
            },
        ),
        on="page",
        maintain_order="left",
    )
    joined = read.rows.join(about, on=["page", "statement"], maintain_order="left")
    return joined.select("window", *TELEMETRY.polars_schema.names())


def _unique(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the table's columns, one row per key: of two, the one that came last."""
    rows = frame.drop("window")
    if not rows.select(TELEMETRY.key).is_duplicated().any():
        return rows
    return rows.unique(subset=TELEMETRY.key, keep="last", maintain_order=True)


def _add_problems(read: TelemetryRows, calls: Sequence[RawCall], batch: VendorBatch) -> None:
    for page, error in read.refused.items():
        subjects = sorted(
            {str(statement["subject"]) for statement in calls[page].params["statements"]}
        )
        named = ", ".join(subjects[:_MOST_NAMED])
        more = f" and {len(subjects) - _MOST_NAMED} more" if len(subjects) > _MOST_NAMED else ""
        message = (
            f"smartgridone telemetry of {named}{more} (request {calls[page].request_id}): {error}; "
            "nothing of it was used, run the fetch again."
        )
        batch.problems.append(Problem(named + more, MalformedError(message)))
    failed = read.asked.filter(
        pl.col("error").is_not_null() & pl.col("page").is_in(list(read.refused)).not_()
    ).unique(subset="window", keep="first", maintain_order=True)
    for row in failed.iter_rows(named=True):
        message = (
            f"smartgridone telemetry of {row['subject']} ({row['node_id']}/{row['field']} in "
            f"{row['measurement']}, {row['retention_policy']}, from {row['from_at']:%Y-%m-%d %H:%M}"
            f' to {row["to_at"]:%Y-%m-%d %H:%M}) failed alone: "{row["error"][:200]}"; what was '
            "stored of it stays, the others were kept: check register_id_smartgridone in "
            "registers.csv, or ask the vendor."
        )
        batch.problems.append(Problem(row["subject"], BadRequestError(message)))
