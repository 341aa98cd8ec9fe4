"""What was pushed against what Wattics says it holds: `mart.stream_comparison` and its findings.

Both sides are added up per stream and local day in the same way: a packet belongs to the sampling
interval that ends with its stamp; cumulative packets count by their difference to the packet before
(the vendor "subtracts successive Wh readings", of each phase), others by their value. Only packets
that had been accepted when Wattics was asked are compared, so that what was sent since is no
difference. A stream of samples has no amount, so Wattics is not asked for it; of a stream that
files feed it is not known what its numbers are, so it is left out.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from energy_etl.tables import Findings, Mart, Plot, core, push
from energy_etl.tables.mart import FINDING
from energy_etl.units import KWH_PER_UNIT, WH_PER_KWH
from energy_etl.vendors.wattics import api_wire as wire
from energy_etl.vendors.wattics.tables import (
    ASKED_MONTH,
    CONSUMPTION,
    METER,
    STREAM_COMPARISON,
)
from energy_etl.vendors.wattics.wire import COUNTED_FIELDS, SINGLE_FIELD

# Wattics rounds what it says to 2 decimals of its unit (1 in the total of a day of Wh): below the
# larger of the three two amounts are equal.
TOLERANCE_WH: Final = 1.0
TOLERANCE_NATIVE: Final = 0.01
TOLERANCE_RELATIVE: Final = 1e-4
EQUAL, DIFFERS, NOT_HELD, NOT_PUSHED, NOT_ASKED = (
    "equal",
    "differs",
    "not held",
    "not pushed",
    "not asked",
)
# Every zone's day has ended by then, and what was late has been sent and asked for again.
_ENDED_AFTER: Final = timedelta(hours=36)
# A number of the body, by the name of its field: other fields may stand beside it.
_NUMBER: Final = r":(-?[0-9][0-9.eE+-]*)"
_DAY: Final = ["stream_id", "local_on"]


def compute_stream_comparison(frames: Mapping[str, pl.DataFrame], now: datetime) -> pl.DataFrame:
    """Compare each stream's local days.

    Args:
        frames: `push.stream`, `push.packet`, `core.register`, `wattics.meter`,
            `wattics.consumption`, `wattics.asked_month`, by full name.
        now: not looked at: what is compared is told by the frames.

    Returns:
        `mart.stream_comparison`: one row per stream and day on which packets were accepted or
        Wattics holds something; sorted by its key; empty when there is neither, and before
        Wattics was asked for anything: what it holds is not known then.
    """
    del now
    if frames[ASKED_MONTH.full_name].is_empty():
        return STREAM_COMPARISON.empty_frame()
    streams = _streams(frames)
    pushed = _pushed(frames[push.PACKET.full_name], streams, frames[ASKED_MONTH.full_name])
    held = _held(frames[CONSUMPTION.full_name], streams)
    joined = (
        pushed.join(held, on=_DAY, how="full", coalesce=True)
        .join(streams, on="stream_id", how="left")
        .with_columns(
            pl.col("n_packets", "n_confirmed").fill_null(0),
            is_asked=pl.col("is_asked").fill_null(value=True),
        )
        .filter(pl.col("n_sent").is_not_null() | (pl.col("held_native") != 0.0))
    )
    return (
        joined.with_columns(difference_native=pl.col("held_native") - pl.col("pushed_native"))
        .with_columns(verdict=_verdict())
        .select(STREAM_COMPARISON.polars_schema.names())
        .cast(dict(STREAM_COMPARISON.polars_schema))  # pyright: ignore[reportArgumentType]
        .sort(_DAY)
    )


def _streams(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Each stream with its register's zone, the unit of its amounts and its meter at Wattics."""
    meters = frames[METER.full_name].filter(pl.col("valid_to_at").is_null())
    # Of two meters with one reference neither is surely the stream's.
    meters = meters.filter(pl.col("reference").is_unique())
    return (
        frames[push.STREAM.full_name]
        .drop("zone")
        .join(
            frames[core.REGISTER.full_name].select("register_id", "unit", "zone"), on="register_id"
        )
        .join(meters.select("meter_id_wattics", stream_id="reference"), on="stream_id", how="left")
        .with_columns(
            # What is pushed of a power register is its energy.
            unit=pl.when(pl.col("content") == "cumulative_wh")
            .then(pl.lit("Wh"))
            .otherwise(pl.col("unit").replace({"W": "Wh", "kW": "kWh"}))
        )
        .select(
            "stream_id",
            "register_id",
            "content",
            "interval_minutes",
            "unit",
            "zone",
            "meter_id_wattics",
        )
    )


def _pushed(packets: pl.DataFrame, streams: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Per stream and local day: packets and their amount, of those that Wattics could know."""
    months = asked.select(
        "meter_id_wattics", "month_on", "pushed_to_at", was_asked=pl.lit(value=True)
    )
    rows = (
        packets.filter(pl.col("sent_at").is_not_null())
        .select("stream_id", "stamped_at", "body", "sent_at", "confirmed_at")
        .join(streams, on="stream_id")
        .sort("stream_id", "stamped_at")
        .with_columns(
            *(_number(field) for field in (*COUNTED_FIELDS, SINGLE_FIELD)),
            local_on=_local_on(streams),
        )
        .with_columns(
            amount=pl.when(pl.col("content") == "cumulative_wh")
            .then(_growth_wh())
            .when(pl.col("content") == "interval")
            .then(SINGLE_FIELD),
            month_on=pl.col("local_on").dt.month_start(),
        )
        .join(months, on=["meter_id_wattics", "month_on"], how="left")
    )
    is_asked = pl.col("was_asked").fill_null(value=False) & (pl.col("content") != "sample")
    # What nobody asked for is shown whole; of what was asked, only what could be held by then.
    is_known = ~is_asked | (pl.col("sent_at") <= pl.col("pushed_to_at")).fill_null(value=False)
    amounts = pl.col("amount").filter(is_known).drop_nulls()
    return rows.group_by(_DAY).agg(
        n_sent=pl.len(),
        n_packets=is_known.sum(),
        n_confirmed=(is_known & pl.col("confirmed_at").is_not_null()).sum(),
        pushed_native=pl.when(amounts.len() > 0).then(amounts.sum()),
        is_asked=(is_asked & is_known).any(),
    )


def _number(field: str) -> pl.Expr:
    """The number of a field of the body, null where it has none."""
    text = pl.col("body").str.extract(f'"{field}"{_NUMBER}')
    return text.cast(pl.Float64, strict=False).alias(field)


def _growth_wh() -> pl.Expr:
    """What the counters of all phases grew by since each was there before; null: none was."""
    grown = [pl.col(f).forward_fill().diff().over("stream_id") for f in COUNTED_FIELDS]
    return pl.when(pl.any_horizontal(g.is_not_null() for g in grown)).then(pl.sum_horizontal(grown))


def _local_on(streams: pl.DataFrame) -> pl.Expr:
    """The local day of the interval that ends with a packet's stamp."""
    start_at = pl.col("stamped_at") - pl.duration(minutes="interval_minutes")
    day = pl.lit(None, pl.Date)
    for zone in streams["zone"].unique().sort():
        local = start_at.dt.convert_time_zone(zone).dt.date()
        day = pl.when(pl.col("zone") == zone).then(local).otherwise(day)
    return day


def _held(consumption: pl.DataFrame, streams: pl.DataFrame) -> pl.DataFrame:
    """Per stream and local day: the day's total in the stream's unit; null where units differ."""
    theirs = pl.col("unit_wattics").replace_strict(
        wire.UNITS_WATTICS, default=None, return_dtype=pl.String
    )
    return (
        consumption.filter(pl.col("slot") == wire.TOTAL_SLOT)
        .join(streams, on="meter_id_wattics")
        .select(
            *_DAY,
            held_native=pl.when(theirs == pl.col("unit"))
            .then("consumption_native")
            .otherwise(pl.col("energy_wh") / _wh_per_unit()),
            is_held=pl.lit(value=True),
        )
    )


def _verdict() -> pl.Expr:
    least = pl.max_horizontal(TOLERANCE_WH / _wh_per_unit(), TOLERANCE_NATIVE)
    tolerance = pl.max_horizontal(least, TOLERANCE_RELATIVE * pl.col("pushed_native").abs())
    is_held = pl.col("is_held").fill_null(value=False)
    has_amount = is_held & (pl.col("held_native") != 0.0).fill_null(value=True)
    return (
        pl.when(~pl.col("is_asked") & ~is_held)
        .then(pl.lit(NOT_ASKED))
        .when(pl.col("pushed_native").is_null() & has_amount)
        .then(pl.lit(NOT_PUSHED))
        # A single packet has no packet before it to differ from, here and there.
        .when(pl.col("pushed_native").is_null())
        .then(pl.lit(EQUAL))
        .when(~is_held)
        .then(pl.lit(NOT_HELD))
        .when(pl.col("difference_native").abs() <= tolerance)
        .then(pl.lit(EQUAL))
        # Also where the units cannot be compared: then there is no difference.
        .otherwise(pl.lit(DIFFERS))
    )


def _wh_per_unit() -> pl.Expr:
    """Wh of one of the stream's unit, null where that is none of energy."""
    known = {unit: kwh * WH_PER_KWH for unit, kwh in KWH_PER_UNIT.items()}
    return pl.col("unit").replace_strict(known, default=None, return_dtype=pl.Float64)


def find_differences(frames: Mapping[str, pl.DataFrame], now: datetime) -> pl.DataFrame:
    """One finding per stream of which Wattics holds something else, on days that have ended.

    Args:
        frames: `mart.stream_comparison`.
        now: days that ended less than half a day ago may still be on their way.
    """
    ended_on = (now - _ENDED_AFTER).date()
    found = (
        frames[STREAM_COMPARISON.full_name]
        .filter(pl.col("verdict").is_in([DIFFERS, NOT_HELD]), pl.col("local_on") <= ended_on)
        .group_by("stream_id", "register_id", "unit")
        .agg(
            n_days=pl.len(),
            first_on=pl.col("local_on").min(),
            last_on=pl.col("local_on").max(),
            pushed_native=pl.col("pushed_native").sum(),
            held_native=pl.col("held_native").sum(),
        )
    )
    return found.select(
        kind=pl.lit("stream_differs"),
        place="stream_id",
        from_at=pl.lit(None, FINDING.polars_schema["from_at"]),
        to_at=pl.lit(None, FINDING.polars_schema["to_at"]),
        message=pl.format(
            "Wattics holds {} {} of stream {} (register {}) where {} {} were pushed, on {} days "
            "from {} to {}.",
            pl.col("held_native").round(3),
            "unit",
            "stream_id",
            "register_id",
            pl.col("pushed_native").round(3),
            "unit",
            "n_days",
            "first_on",
            "last_on",
        ),
        next_step=pl.lit(
            "Look at the days in mart.stream_comparison and at push.packet, compare the unit and "
            "the sampling interval agreed with Wattics with streams.csv, then ask Wattics."
        ),
    ).sort(FINDING.key)


MART: Final = Mart(
    table=STREAM_COMPARISON,
    inputs=(push.STREAM, push.PACKET, core.REGISTER, METER, CONSUMPTION, ASKED_MONTH),
    compute=compute_stream_comparison,
    note="Equal: within 1 Wh, 0.01 of the unit or 0.01 %. Computed with all marts; what was "
    "sent after Wattics was asked is left out.",
    plot=Plot("verdict", "n"),
)
FINDINGS: Final = Findings(inputs=(STREAM_COMPARISON,), find=find_differences)
