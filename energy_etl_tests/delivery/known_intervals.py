"""Intervals of a few streams with all that is awkward, and what a collector must hold of them.

`expected` reads rows of core.interval one after the other, by the vendor's page and the stream map
alone. It shares nothing with `vendors/wattics/packets.py`: a mistake there cannot hide here.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from energy_etl.delivery import StreamPlan
from energy_etl.tables import core, push
from energy_etl.units import KWH_PER_UNIT, M3_PER_UNIT

GRID = timedelta(minutes=15)
# The night in which Europe leaves summer time is the second one.
START_AT = datetime(2026, 10, 24, tzinfo=UTC)
N_DAYS = 3
_PER_UNIT = {**KWH_PER_UNIT, **M3_PER_UNIT}


@dataclass(frozen=True)
class KnownStream:
    """One row of the stream map with the register behind it.

    `breaks`: number of an interval -> what the counter shows at its start instead of going on.
    """

    stream_id: str
    zone: str
    content: str = "cumulative_wh"
    unit: str = "kWh"
    interval_minutes: int = 15
    credential: str = "main"
    breaks: tuple[tuple[int, float], ...] = ()
    estimated: range = range(0)

    @property
    def register_id(self) -> str:
        return f"site.{self.stream_id}"


def known_streams(name: str) -> list[KnownStream]:
    """Return eight streams whose ids begin with a name that no other test uses."""
    return [
        KnownStream(f"{name}-plain", "Europe/Rome"),
        KnownStream(f"{name}-wh", "Europe/Dublin", unit="Wh"),
        KnownStream(f"{name}-reset", "Europe/Rome", breaks=((100, 0.0),)),
        KnownStream(f"{name}-rollover", "Australia/Lord_Howe", breaks=((40, 3.5), (200, 1.25))),
        KnownStream(f"{name}-estimated", "America/New_York", estimated=range(60, 90)),
        KnownStream(f"{name}-interval", "Europe/Rome", content="interval"),
        KnownStream(f"{name}-half-hour", "Europe/Berlin", "interval", interval_minutes=30),
        KnownStream(f"{name}-second", "Australia/Lord_Howe", credential="second"),
    ]


def intervals_of(streams: Iterable[KnownStream], days: Iterable[int]) -> pl.DataFrame:
    """Return the rows of core.interval of some days (from 0); a day is the same in each call."""
    wanted = set(days)
    rows = [
        row
        for number, stream in enumerate(streams)
        for at, row in enumerate(_rows(stream, number))
        if at // 96 in wanted
    ]
    return pl.DataFrame(rows, schema=core.INTERVAL.polars_schema, orient="row")


def _rows(stream: KnownStream, number: int) -> Iterable[dict[str, Any]]:
    breaks = dict(stream.breaks)
    counter = 1000.0 * (number + 1)
    per_kwh = 1.0 / KWH_PER_UNIT[stream.unit]
    for at in range(96 * N_DAYS):
        energy_kwh = 0.001 * ((7 * at + 13 * number) % 400)
        counter = breaks.get(at, counter) + energy_kwh * per_kwh
        is_estimated = at in stream.estimated
        yield {
            "register_id": stream.register_id,
            "start_at": START_AT + at * GRID,
            "end_at": START_AT + (at + 1) * GRID,
            "energy_kwh": energy_kwh,
            "volume_m3": None,
            "register_end_native": counter,
            "quality": "estimated" if is_estimated else "measured",
            "flags": ["reset"] if at in breaks else ["gap"] if is_estimated else [],
            "is_provisional": False,
            "is_pushable": True,
            "hold_reason": None,
        }


def stream_map(streams: Iterable[KnownStream]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return push.stream and core.register of the streams."""
    mapped, registers = [], []
    for stream in streams:
        mapped.append(
            {
                "stream_id": stream.stream_id,
                "register_id": stream.register_id,
                "field": "value" if stream.content == "interval" else "pC_1",
                "content": stream.content,
                "interval_minutes": stream.interval_minutes,
                "credential": stream.credential,
                "push_from_at": START_AT,
                "estimates": "send",
                "is_historical": False,
            }
        )
        registers.append(
            {
                "register_id": stream.register_id,
                "meter_id": stream.register_id,
                "site_id": "site",
                "zone": stream.zone,
                "commodity": "electricity",
                "role": "mains",
                "kind": "cumulative",
                "unit": stream.unit,
                "grid_minutes": 15,
                "resolution_native": 0.001,
                "stamp": "instant",
                "is_primary": True,
            }
        )
    return (
        pl.DataFrame(mapped, schema=push.STREAM.polars_schema, orient="row"),
        pl.DataFrame(registers, schema=core.REGISTER.polars_schema, orient="row"),
    )


def plans_of(streams: Iterable[KnownStream]) -> list[StreamPlan]:
    """Return what was agreed for the streams."""
    return [
        StreamPlan(
            stream_id=stream.stream_id,
            interval=timedelta(minutes=stream.interval_minutes),
            push_from_at=START_AT,
            credential=stream.credential,
            register_ids=frozenset({stream.register_id}),
        )
        for stream in streams
    ]


def expected(
    intervals: pl.DataFrame, streams: pl.DataFrame, registers: pl.DataFrame
) -> dict[str, list[dict[str, Any]]]:
    """Return what the collector must have received of each stream, in order.

    Args:
        intervals: core.interval, every row that there is.
        streams: push.stream; streams of samples and files are left out.
        registers: core.register.
    """
    about = {row["register_id"]: row for row in registers.iter_rows(named=True)}
    by_register: dict[str, list[dict[str, Any]]] = {}
    for row in intervals.sort("start_at").iter_rows(named=True):
        by_register.setdefault(row["register_id"], []).append(row)
    found: dict[str, list[dict[str, Any]]] = {}
    for stream in streams.iter_rows(named=True):
        numbers = {"cumulative_wh": _counted_wh, "interval": _totals}.get(stream["content"])
        if numbers is None:
            continue
        register = about[stream["register_id"]]
        from_at = stream["push_from_at"]
        rows = [
            row
            for row in by_register.get(stream["register_id"], [])
            if from_at is None or row["start_at"] >= from_at
        ]
        zone = ZoneInfo(register["zone"])
        found[stream["stream_id"]] = [
            {
                "id": stream["stream_id"],
                "tsISO8601": at.astimezone(zone).isoformat(timespec="milliseconds"),
                stream["field"]: number,
            }
            for at, number in numbers(rows, stream, _PER_UNIT[register["unit"]])
        ]
    return found


def _counted_wh(
    rows: list[dict[str, Any]], stream: dict[str, Any], kwh_per_unit: float
) -> Iterable[tuple[datetime, float]]:
    """What the counter showed at first, and from there on all energy, whatever it shows."""
    step = timedelta(minutes=stream["interval_minutes"])
    sent_wh = shown_wh = 0.0
    known_at: datetime | None = None
    for row in rows:
        if row["register_end_native"] is None:
            continue
        before_wh, shown_wh = shown_wh, row["register_end_native"] * kwh_per_unit * 1000
        if known_at is None:
            sent_wh = shown_wh
        elif row["start_at"] == known_at:
            sent_wh += row["energy_kwh"] * 1000
        else:
            # Rows between are unknown: the counter has counted what they were.
            sent_wh += max(shown_wh - before_wh, 0.0)
        known_at = row["end_at"]
        if row["is_pushable"] and (row["end_at"].timestamp() % step.total_seconds()) == 0:
            yield row["end_at"], sent_wh


def _totals(
    rows: list[dict[str, Any]], stream: dict[str, Any], per_unit: float
) -> Iterable[tuple[datetime, float]]:
    """The sum of each of the stream's intervals of which every row may be delivered."""
    step = timedelta(minutes=stream["interval_minutes"])
    by_end: dict[datetime, list[dict[str, Any]]] = {}
    for row in rows:
        start_at = datetime.fromtimestamp(
            row["start_at"].timestamp() // step.total_seconds() * step.total_seconds(), UTC
        )
        by_end.setdefault(start_at + step, []).append(row)
    for end_at, parts in by_end.items():
        lengths = [part["end_at"] - part["start_at"] for part in parts if part["is_pushable"]]
        if sum(lengths, timedelta()) == step:
            # Of energy or, where it has none, of gas and water.
            amounts = [
                part["volume_m3"] if part["energy_kwh"] is None else part["energy_kwh"]
                for part in parts
            ]
            yield end_at, sum(amounts) / per_unit


def differences(
    bodies: Iterable[str], packets: list[dict[str, Any]], tolerance: float = 2e-3
) -> list[str]:
    """Say where what was received, in order of arrival, is not what is expected; [] when equal."""
    received = [json.loads(body) for body in bodies]
    found = [] if len(received) == len(packets) else [f"{len(received)} of {len(packets)} packets"]
    for number, (is_there, is_due) in enumerate(zip(received, packets, strict=False)):
        text_there = {k: v for k, v in is_there.items() if isinstance(v, str)}
        text_due = {k: v for k, v in is_due.items() if isinstance(v, str)}
        names = is_due.keys() - text_due.keys()
        is_close = is_there.keys() == is_due.keys() and all(
            abs(is_there[name] - is_due[name]) <= tolerance for name in names
        )
        if text_there != text_due or not is_close:
            found.append(f"packet {number}: {is_there} instead of {is_due}")
    return found[:5]
