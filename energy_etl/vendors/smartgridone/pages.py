"""Answers of telemetry, validated whole: decode once, columns, ONE vectorised rule; pure.

One answer holds the results of up to 1000 queries; HTTP 200 does not mean that each of them worked.
A query that failed or was not answered is told by its index, the others are kept; a row that fails
goes to quarantine; an answer in which no reader finds results is refused by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import polars as pl

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.vendors.page_rows import (
    DECODE_FAULTS,
    BadRow,
    as_bytes,
    fault_of,
    quarantine_of,
    read_tolerantly,
    split_by_rules,
)
from energy_etl.vendors.smartgridone.wire import MAX_TIME_MS, RawResult, RawSeries, Result

_TYPED: Final = msgspec.json.Decoder(list[Result])
_TYPED_SINGLE: Final = msgspec.json.Decoder(Result)
_RAW: Final = msgspec.json.Decoder(list[RawResult])
_RAW_SINGLE: Final = msgspec.json.Decoder(RawResult)
_ROW: Final = msgspec.json.Decoder(list[str | int | float | None])
_TIME: Final = "time"
_NODE_TAG: Final = "nodeId"
# ISO 8601 with a zone; nanoseconds are cut to microseconds.
_ISO: Final = "%Y-%m-%dT%H:%M:%S%.f%#z"
_COLUMNS: Final = pl.Schema(
    {
        "page": pl.Int32,
        "statement": pl.Int32,
        "row_number": pl.Int64,
        "node_tag": pl.String,
        "time_text": pl.String,
        "time_ms": pl.Int64,
        "reading_native": pl.Float64,
    }
)
# One per query, in the order sent; made in `telemetry.py`, kept in the call's params.
ASKED: Final = pl.Schema(
    {
        "page": pl.Int32,
        "statement": pl.Int32,
        "subject": pl.String,
        "node_id": pl.String,
        "field": pl.String,
        "measurement": pl.String,
        "retention_policy": pl.String,
        "window": pl.String,
        "window_from_at": pl.String,
        "window_to_at": pl.String,
        "from_at": pl.String,
        "to_at": pl.String,
    }
)
_INSTANTS: Final = ("window_from_at", "window_to_at", "from_at", "to_at")


@dataclass
class TelemetryRows:
    """What the answers of a fetch say.

    Attributes:
        asked: `ASKED` with instants, and `error`: why a query gave nothing, null when it worked.
        rows: page, statement, measured_at, reading_native, in the order received.
        quarantine: rows of `raw.quarantine`.
        refused: page index -> why nothing of it could be read.
    """

    asked: pl.DataFrame
    rows: pl.DataFrame
    quarantine: pl.DataFrame
    refused: dict[int, MalformedError] = field(default_factory=dict)


@dataclass
class _Page:
    """Columns of one answer, and what became of each query."""

    statements: list[int] = field(default_factory=list)
    node_tags: list[str | None] = field(default_factory=list)
    times: list[str | int] = field(default_factory=list)
    readings: list[float | None] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    errors: dict[int, str | None] = field(default_factory=dict)


class _OtherShapeError(Exception):
    """Columns that are not time and the one field: the rows must be looked at one by one."""


def read_answers(calls: Sequence[RawCall]) -> TelemetryRows:
    """Read answers of telemetry; each call's params say what its queries asked for."""
    asked = _asked(calls)
    frames: list[pl.DataFrame] = []
    bad: list[BadRow] = []
    refused: dict[int, MalformedError] = {}
    errors: list[tuple[int, int, str | None]] = []
    for index, call in enumerate(calls):
        statements = call.params.get("statements", [])
        fields = [str(statement["field"]) for statement in statements]
        try:
            page = _read(index, call.body, fields)
        except MalformedError as error:
            refused[index] = error
            continue
        frames.append(_columns(index, page))
        bad += page.bad
        errors += [(index, statement, error) for statement, error in page.errors.items()]
    frame = pl.concat(frames) if frames else pl.DataFrame(schema=_COLUMNS)
    asked = _with_errors(asked, errors)
    kept, failed = _apply_rule(frame, asked)
    bad += _raw_texts(failed, calls)
    return TelemetryRows(asked, kept, quarantine_of(bad, calls), refused)


def _asked(calls: Sequence[RawCall]) -> pl.DataFrame:
    rows: list[Mapping[str, Any]] = [
        {"page": page, "statement": number, **statement}
        for page, call in enumerate(calls)
        for number, statement in enumerate(call.params.get("statements", []))
    ]
    frame = pl.DataFrame(rows, schema=ASKED)
    return frame.with_columns(
        pl.col(name).str.to_datetime("%+", time_unit="us", time_zone="UTC") for name in _INSTANTS
    )


def _with_errors(
    asked: pl.DataFrame, errors: Sequence[tuple[int, int, str | None]]
) -> pl.DataFrame:
    told = pl.DataFrame(
        errors,
        schema={"page": pl.Int32, "statement": pl.Int32, "error": pl.String},
        orient="row",
    ).with_columns(is_answered=pl.lit(value=True))
    return (
        asked.join(told, on=["page", "statement"], how="left", maintain_order="left")
        .with_columns(
            error=pl.when(pl.col("is_answered").is_null())
            .then(pl.lit("no result came for it"))
            .otherwise("error")
        )
        .drop("is_answered")
    )


def _read(index: int, body: bytes, fields: Sequence[str]) -> _Page:
    is_single = body.lstrip()[:1] == b"{"
    try:
        results = [_TYPED_SINGLE.decode(body)] if is_single else _TYPED.decode(body)
        return _of_typed(results, fields)
    except (*DECODE_FAULTS, _OtherShapeError):
        return _by_row(index, _raw_results(body), fields)


def _of_typed(results: Sequence[Result], fields: Sequence[str]) -> _Page:
    page = _Page()
    number = 0
    for result in results:
        statement = result.statement_id
        is_wanted = _take_status(page, statement, result.error, fields)
        for series in result.series or ():
            n_rows = len(series.values)
            if is_wanted and series.columns != [_TIME, fields[statement]]:
                raise _OtherShapeError
            if is_wanted and n_rows:
                times, readings = zip(*series.values, strict=True)
                page.times += times
                page.readings += readings
                page.statements += [statement] * n_rows
                page.node_tags += [_node_tag(series.tags)] * n_rows
                page.row_numbers += range(number, number + n_rows)
            number += n_rows
    return page


def _node_tag(tags: Mapping[str, Any] | None) -> str | None:
    tag = (tags or {}).get(_NODE_TAG)
    return tag if isinstance(tag, str) else None


def _take_status(page: _Page, statement: int, error: object, fields: Sequence[str]) -> bool:
    """Note what became of a query; False when nothing of it can be read."""
    if not 0 <= statement < len(fields):
        return False
    page.errors[statement] = None if error is None else str(error)
    return error is None


def _raw_results(body: bytes) -> list[RawResult]:
    is_single = body.lstrip()[:1] == b"{"
    try:
        return [_RAW_SINGLE.decode(body)] if is_single else _RAW.decode(body)
    except DECODE_FAULTS:
        document = read_tolerantly(body)
    if document is None:
        raise MalformedError("the answer is no JSON")
    try:
        return _RAW.decode(
            _for_strict_reader(document if isinstance(document, list) else [document])
        )
    except DECODE_FAULTS:
        raise MalformedError("the answer holds no results of queries") from None


def _for_strict_reader(document: list[Any]) -> bytes:
    """Return a tolerantly read answer with each row as a text of JSON, which any reader takes."""
    for result in document:
        series = result.get("series") if isinstance(result, dict) else None
        for each in series if isinstance(series, list) else []:
            if isinstance(each, dict) and isinstance(each.get("values"), list):
                each["values"] = [as_bytes(row).decode() for row in each["values"]]
    return as_bytes(document)


def _row_text(raw: msgspec.Raw) -> bytes:
    # Bytes that are no UTF-8 become question marks: a text may hold them, the database may not.
    text = bytes(raw).decode("utf-8", "replace").encode()
    if text[:1] != b'"':
        return text
    try:
        # A row out of `_for_strict_reader` is a text that holds the row.
        return msgspec.json.decode(text, type=str).encode("utf-8", "replace")
    except DECODE_FAULTS:
        return text


def _by_row(index: int, results: Sequence[RawResult], fields: Sequence[str]) -> _Page:
    page = _Page()
    number = 0
    for result in results:
        statement = result.statement_id
        is_wanted = _take_status(page, statement, result.error, fields)
        for series in result.series or ():
            if is_wanted:
                places = _places(series.columns, fields[statement])
                if places is None:
                    page.errors[statement] = f"its result has the columns {series.columns[:5]}"
                else:
                    _take_rows(page, index, number, series, statement, places)
            number += len(series.values)
    return page


def _take_rows(
    page: _Page,
    index: int,
    first_number: int,
    series: RawSeries,
    statement: int,
    places: tuple[int, int],
) -> None:
    for number, raw in enumerate(series.values, start=first_number):
        text = _row_text(raw)
        try:
            at, reading = _parts(_ROW.decode(text), *places)
        except DECODE_FAULTS as error:
            page.bad.append(BadRow(index, number, fault_of(error, text), text.decode()))
            continue
        page.statements.append(statement)
        page.node_tags.append(_node_tag(series.tags))
        page.times.append(at)
        page.readings.append(reading)
        page.row_numbers.append(number)


def _places(columns: Sequence[str], name: str) -> tuple[int, int] | None:
    if columns.count(_TIME) != 1 or columns.count(name) != 1:
        return None
    return columns.index(_TIME), columns.index(name)


def _parts(
    row: Sequence[str | int | float | None], at: int, field: int
) -> tuple[str | int, float | None]:
    if len(row) <= max(at, field):
        raise msgspec.ValidationError("too few columns")
    time, reading = row[at], row[field]
    if isinstance(time, int) and not 0 <= time <= MAX_TIME_MS:
        raise msgspec.ValidationError("no time stamp in milliseconds")
    if time is None or isinstance(time, float) or isinstance(reading, str):
        raise msgspec.ValidationError("a column of another type")
    return time, None if reading is None else float(reading)


def _columns(index: int, page: _Page) -> pl.DataFrame:
    n_rows = len(page.times)
    try:
        text = pl.Series("time_text", page.times, pl.String, strict=True)
        number = pl.Series("time_ms", [None], pl.Int64).new_from_index(0, n_rows)
    except TypeError:
        texts = [t if isinstance(t, str) else None for t in page.times]
        text = pl.Series("time_text", texts, pl.String)
        numbers = [t if isinstance(t, int) else None for t in page.times]
        number = pl.Series("time_ms", numbers, pl.Int64)
    return pl.DataFrame(
        [
            pl.Series("page", [index], pl.Int32).new_from_index(0, n_rows),
            pl.Series("statement", page.statements, pl.Int32),
            pl.Series("row_number", page.row_numbers, pl.Int64),
            pl.Series("node_tag", page.node_tags, pl.String),
            text,
            number,
            pl.Series("reading_native", page.readings, pl.Float64),
        ]
    )


def _apply_rule(frame: pl.DataFrame, asked: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into good ones and failed ones (page, row_number, reasons)."""
    wanted = asked.select("page", "statement", "node_id", "from_at", "to_at")
    joined = frame.join(
        wanted, on=["page", "statement"], how="left", maintain_order="left"
    ).with_columns(
        measured_at=pl.coalesce(
            pl.col("time_text").str.to_datetime(
                _ISO, time_unit="us", time_zone="UTC", strict=False
            ),
            pl.from_epoch("time_ms", time_unit="ms")
            .cast(pl.Datetime("us"))
            .dt.replace_time_zone("UTC"),
        ).cast(UTC_INSTANT)
    )
    kept, failed = split_by_rules(
        joined,
        {
            "no_instant": pl.col("measured_at").is_null(),
            "no_value": pl.col("reading_native").is_null(),
            "not_finite": pl.col("reading_native").is_finite().not_(),
            "other_node": pl.col("node_tag") != pl.col("node_id"),
            "outside_window": (pl.col("measured_at") < pl.col("from_at"))
            | (pl.col("measured_at") >= pl.col("to_at")),
        },
    )
    return kept.select("page", "statement", "measured_at", "reading_native"), failed


def _raw_texts(failed: pl.DataFrame, calls: Sequence[RawCall]) -> list[BadRow]:
    found: list[BadRow] = []
    for (page,), rows in failed.group_by("page", maintain_order=True):
        index = int(str(page))
        texts = [
            raw
            for result in _raw_results(calls[index].body)
            for series in result.series or ()
            for raw in series.values
        ]
        for _, number, reasons in rows.iter_rows():
            found.append(BadRow(index, number, reasons, _row_text(texts[number]).decode()))
    return found
