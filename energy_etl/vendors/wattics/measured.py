"""Consumptions, costs and raw data of Wattics' meters -> frames; pure.

A month of consumptions or costs and a window of raw data replace what was held of them. Texts such
as "300500.0 Watt" are a number, one blank and a unit that is known; what does not read so is in
quarantine with its reason, and the rest is kept.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

import msgspec
import polars as pl

from energy_etl.rest import RawCall
from energy_etl.tables import Table
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.tables.raw import QUARANTINE
from energy_etl.units import KWH_PER_UNIT, WH_PER_KWH
from energy_etl.vendors import Whole, Window, Write
from energy_etl.vendors.wattics import api_wire as wire
from energy_etl.vendors.wattics import tables
from energy_etl.vendors.wattics.reading import MAX_TEXT, UNREADABLE, Reading, Refused, told

_WH_PER_UNIT_WATTICS: Final = {
    theirs: KWH_PER_UNIT[ours] * WH_PER_KWH
    for theirs, ours in wire.UNITS_WATTICS.items()
    if ours in KWH_PER_UNIT
}
_TEXT_SCHEMA: Final = {
    "call": pl.Int64,
    "row_number": pl.Int64,
    "date": pl.String,
    "slot": pl.String,
    "text": pl.String,
}
_ASKED_SCHEMA: Final = {
    "meter_id_wattics": pl.String,
    "month_on": pl.Date,
    "request_id": pl.String,
    "fetched_at": UTC_INSTANT,
}
_MONTH: Final = ["meter_id_wattics", "month_on"]


def add_consumptions(reading: Reading, calls: Sequence[RawCall]) -> None:
    """Days and slots, and which months were asked for."""
    texts = _texts(reading, calls, wire.Day, "consumption")
    known = _amounts(reading, texts, pl.col("unit").is_in(list(wire.UNITS_WATTICS)))
    per_unit = pl.col("unit").replace_strict(
        _WH_PER_UNIT_WATTICS, default=None, return_dtype=pl.Float64
    )
    frame = known.with_columns(
        consumption_native="number", unit_wattics="unit", energy_wh=pl.col("number") * per_unit
    )
    _write_months(reading, tables.CONSUMPTION, frame, texts)
    asked = [
        _asked(call) | {"pushed_to_at": _instant(call.params.get("pushed_to_at"))}
        for call in texts.answered
    ]
    reading.merge(tables.ASKED_MONTH, pl.DataFrame(asked, schema=tables.ASKED_MONTH.polars_schema))


def add_costs(reading: Reading, calls: Sequence[RawCall]) -> None:
    """Days and slots."""
    texts = _texts(reading, calls, wire.CostDay, "cost")
    known = _amounts(reading, texts, pl.col("unit").str.contains(wire.CURRENCY_PATTERN))
    frame = known.with_columns(cost_native="number", currency="unit")
    _write_months(reading, tables.COST, frame, texts)


def _write_months(reading: Reading, table: Table, frame: pl.DataFrame, texts: "_Texts") -> None:
    """Replace the months of which all came and could be read; merge what came of others."""
    whole = [call for call in texts.answered if call.request_id not in texts.refused]
    if whole:
        ids = pl.DataFrame([_asked(call) for call in whole], schema=_ASKED_SCHEMA).select(_MONTH)
        rows = frame.select(table.polars_schema.names()).join(ids, on=_MONTH, how="semi")
        rows = rows.unique(subset=table.key, keep="last", maintain_order=True)
        reading.batch.writes.append(Write(table, rows, Whole(ids.unique(maintain_order=True))))
        frame = frame.join(ids, on=_MONTH, how="anti")
    reading.merge(table, frame)


def add_raw_data(reading: Reading, calls: Sequence[RawCall]) -> None:
    """Instants in W, each meter's window whole."""
    by_window: defaultdict[tuple[str, str], list[tuple[RawCall, pl.DataFrame]]]
    by_window = defaultdict(list)
    for call in calls:
        rows = _raw_rows(reading, call)
        if rows is not None:
            by_window[call.params["from_at"], call.params["to_at"]].append((call, rows))
    for (from_text, to_text), answers in by_window.items():
        window = Window(
            pl.DataFrame(
                {"meter_id_wattics": [call.params["meter_id"] for call, _ in answers]}
            ).unique(maintain_order=True),
            "measured_at",
            datetime.fromisoformat(from_text),
            datetime.fromisoformat(to_text),
        )
        frame = pl.concat([rows for _, rows in answers]).unique(
            subset=tables.RAW_DATA.key, keep="last", maintain_order=True
        )
        reading.batch.writes.append(Write(tables.RAW_DATA, frame, window))


@dataclass
class _Texts:
    """Rows of consumptions or costs before they are read, as parallel lists.

    Attributes:
        answered: the calls whose answers are lists.
        refused: those of them with a row in quarantine (request_id).
    """

    calls: list[RawCall]
    answered: list[RawCall] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    call: list[int] = field(default_factory=list)
    row_number: list[int] = field(default_factory=list)
    date: list[str] = field(default_factory=list)
    slot: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def frame(self) -> pl.DataFrame:
        """Return the rows with what their call was made for, number and unit apart."""
        asked = pl.DataFrame(
            [_asked(call) | {"call": number} for number, call in enumerate(self.calls)],
            schema={"call": pl.Int64, **_ASKED_SCHEMA},
        )
        rows = pl.DataFrame({name: getattr(self, name) for name in _TEXT_SCHEMA}, _TEXT_SCHEMA)
        return rows.join(asked, on="call", how="left", maintain_order="left").with_columns(
            local_on=pl.col("date").str.to_date("%Y-%m-%d", strict=False),
            number=pl.col("text").str.extract(wire.AMOUNT_PATTERN, 1).cast(pl.Float64),
            unit=pl.col("text").str.extract(wire.AMOUNT_PATTERN, 2),
        )


def _texts(
    reading: Reading,
    calls: Sequence[RawCall],
    model: type[wire.Day] | type[wire.CostDay],
    what: str,
) -> _Texts:
    """Return every text with its place, and the calls whose answers are lists."""
    texts = _Texts(list(calls))
    for index, call in enumerate(calls):
        rows = reading.rows(call)
        if rows is None:
            continue
        texts.answered.append(call)
        bad: list[Refused] = []
        number = -1
        for row in rows:
            try:
                day = msgspec.json.decode(row, type=model)
            except UNREADABLE:
                bad.append((number := number + 1, "shape", told(row)))
                continue
            for slot, text in _slots(day, what):
                number += 1
                texts.call.append(index)
                texts.row_number.append(number)
                texts.date.append(day.date)
                texts.slot.append(slot)
                texts.text.append(text)
        if bad:
            texts.refused.add(call.request_id)
            reading.refuse(call, bad)
    return texts


def _amounts(reading: Reading, texts: _Texts, is_known: pl.Expr) -> pl.DataFrame:
    """Return the rows that can be read; the others go to quarantine."""
    is_slot = (pl.col("slot") == wire.TOTAL_SLOT) | pl.col("slot").str.contains(wire.SLOT_PATTERN)
    rows = texts.frame().with_columns(
        reasons=pl.when(pl.col("local_on").is_null())
        .then(pl.lit("bad_date"))
        .when(pl.col("local_on").dt.month_start() != pl.col("month_on"))
        .then(pl.lit("outside_month"))
        .when(~is_slot)
        .then(pl.lit("bad_slot"))
        .when(pl.col("number").is_null())
        .then(pl.lit("no_number_and_unit"))
        .when(~is_known)
        .then(pl.lit("unknown_unit"))
    )
    refused = rows.filter(pl.col("reasons").is_not_null())
    if refused.height:
        endpoint = texts.calls[0].endpoint
        texts.refused.update(refused["request_id"])
        reading.bad.append(
            refused.select(
                "request_id",
                vendor=pl.lit("wattics"),
                endpoint=pl.lit(endpoint),
                row_number="row_number",
                reasons="reasons",
                raw_text=pl.concat_str("date", "slot", "text", separator=" ").str.slice(
                    0, MAX_TEXT
                ),
            ).cast(dict(QUARANTINE.polars_schema))  # pyright: ignore[reportArgumentType]
        )
    return rows.filter(pl.col("reasons").is_null())


def _raw_rows(reading: Reading, call: RawCall) -> pl.DataFrame | None:
    """Return the rows of one answer in the table's columns, None when it is no list."""
    raws = reading.rows(call)
    if raws is None:
        return None
    found: list[tuple[int, str, float | None, str]] = []
    bad: list[Refused] = []
    for number, raw in enumerate(raws):
        try:
            row = msgspec.json.decode(raw, type=wire.RawRow)
        except UNREADABLE:
            bad.append((number, "shape", told(raw)))
            continue
        power_w = row.value if row.total is None else row.total
        found.append((number, row.timestamp, power_w, told(raw)))
    from_at, to_at = (datetime.fromisoformat(call.params[name]) for name in ("from_at", "to_at"))
    rows = pl.DataFrame(
        found,
        schema={
            "row_number": pl.Int64,
            "timestamp": pl.String,
            "power_w": pl.Float64,
            "text": pl.String,
        },
        orient="row",
    ).with_columns(measured_at=_utc("timestamp"))
    rows = rows.with_columns(
        reasons=pl.when(pl.col("measured_at").is_null())
        .then(pl.lit("bad_timestamp"))
        .when(~pl.col("power_w").is_finite() | pl.col("power_w").is_null())
        .then(pl.lit("no_power"))
        .when((pl.col("measured_at") < from_at) | (pl.col("measured_at") > to_at))
        .then(pl.lit("outside_window"))
    )
    # Without its instant: that of the year 0 is none that Python has.
    refused = rows.filter(pl.col("reasons").is_not_null())
    bad += refused.select("row_number", "reasons", "text").rows()
    reading.refuse(call, bad)
    # A row at the very end belongs to the next window, whether the vendor counts it in or not.
    return rows.filter(pl.col("reasons").is_null(), pl.col("measured_at") < to_at).select(
        meter_id_wattics=pl.lit(call.params["meter_id"], pl.String),
        measured_at="measured_at",
        power_w="power_w",
        request_id=pl.lit(call.request_id),
        fetched_at=pl.lit(call.requested_at, UTC_INSTANT),
    )


def _slots(day: Any, what: str) -> Iterator[tuple[str, str]]:
    """The texts of one day; null says nothing."""
    total = getattr(day, f"total_{what}")
    if total is not None:
        yield wire.TOTAL_SLOT, total
    for slot, text in getattr(day, f"{what}_by_time").items():
        if text is not None:
            # A slot that calls itself the total would replace it.
            yield ("" if slot == wire.TOTAL_SLOT else slot), text


def _utc(name: str) -> pl.Expr:
    """Read `2018-06-01 00:15:00` (UTC) or ISO 8601 with its offset."""
    text = pl.col(name)
    return pl.coalesce(
        text.str.to_datetime(
            "%Y-%m-%d %H:%M:%S", time_unit="us", strict=False
        ).dt.replace_time_zone("UTC"),
        text.str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False
        ).dt.convert_time_zone("UTC"),
    )


def _asked(call: RawCall) -> dict[str, Any]:
    return {
        "meter_id_wattics": str(call.params["meter_id"]),
        "month_on": date.fromisoformat(call.params["month_on"]),
        "request_id": call.request_id,
        "fetched_at": call.requested_at,
    }


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
