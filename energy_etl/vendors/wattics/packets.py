"""Core frames to packets: which rows are delivered, and what each packet says. Pure.

| content | the packet's number |
|---|---|
| cumulative_wh | the register at the interval's end in Wh, plus the stream's offset |
| interval | the interval's total, in the register's unit (of power: Wh for W, kWh for kW) |
| sample | the interval's mean, in the register's unit |

The server subtracts successive cumulative values, so a stream's offset is a step function that
changes where the register does not grow by the interval's energy (reset, rollover, exchange, change
of level): the stream goes on with the energy alone. Steps that a released packet used are frozen;
older ones are computed backwards from them, so that filling in the past changes no packet.

Only rows that may be delivered become packets; the others are holes, and `delivery/frontier.py`
decides what a hole means. Values are rounded so that computing again gives the same text.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import polars as pl

from energy_etl.errors import TransformError
from energy_etl.tables.push import STREAM_OFFSET
from energy_etl.units import KW_PER_UNIT, KWH_PER_UNIT, M3_PER_UNIT, WH_PER_KWH
from energy_etl.vendors.wattics.wire import FIELDS, packet_head, stamp_expression

PACKET_SCHEMA: Final = pl.Schema(
    {
        "stream_id": pl.String,
        "stamped_at": pl.Datetime("us", "UTC"),
        "body": pl.String,
        "is_estimated": pl.Boolean,
    }
)
OFFSET_SCHEMA: Final = pl.Schema(
    {**STREAM_OFFSET.polars_schema, "used_to_at": pl.Datetime("us", "UTC")}
)
# Below this a register's growth and the energy are the same: noise of floats, at 1e9 Wh about 1e-7.
_SAME_WH: Final = 0.01
_SAME_RELATIVE: Final = 1e-9
_DECIMALS_WH: Final = 3
_DECIMALS: Final = 6
_US_PER_MINUTE: Final = 60_000_000
_IS_ESTIMATED: Final = pl.col("quality") == "estimated"


class Packets(NamedTuple):
    """The packets (columns of PACKET_SCHEMA) and the offsets they were computed with.

    `offsets` has all steps of each cumulative stream that has rows, and none of other streams.
    """

    packets: pl.DataFrame
    offsets: pl.DataFrame


def compute_packets(
    intervals: pl.DataFrame,
    samples: pl.DataFrame,
    streams: pl.DataFrame,
    registers: pl.DataFrame,
    offsets: pl.DataFrame,
) -> Packets:
    """Return every packet that the rows have to say, sorted by stream and stamp.

    Args:
        intervals: columns of core.interval; of each cumulative stream's register ALL rows from its
            push_from_at on (a part would begin its offsets anew).
        samples: columns of core.sample.
        streams: columns of push.stream.
        registers: columns of core.register.
        offsets: columns of push.stream_offset and used_to_at, as the outbox keeps them.

    Raises:
        TransformError: a stream that is finer than its register's grid, or that asks for what its
            register does not have.
    """
    mapped = _mapped(streams, registers)
    cumulative = mapped.filter(pl.col("content") == "cumulative_wh")
    rows, new_offsets = _cumulative(cumulative, intervals, offsets)
    numbers = pl.concat(
        [
            rows,
            _totals(mapped.filter(pl.col("content") == "interval"), intervals),
            _means(mapped.filter(pl.col("content") == "sample"), samples),
        ]
    )
    return Packets(_bodies(numbers, mapped), new_offsets)


def _mapped(streams: pl.DataFrame, registers: pl.DataFrame) -> pl.DataFrame:
    """Streams with their register's unit, zone and grid, refused where they do not fit."""
    mapped = streams.join(
        registers.select("register_id", "unit", "zone", "kind", "grid_minutes"),
        on="register_id",
        how="left",
    ).with_columns(
        per_unit=pl.col("unit").replace_strict(
            {**KWH_PER_UNIT, **KW_PER_UNIT, **M3_PER_UNIT}, default=None, return_dtype=pl.Float64
        ),
        is_energy=pl.col("unit").is_in([*KWH_PER_UNIT, *KW_PER_UNIT]),
        step_us=pl.col("interval_minutes") * _US_PER_MINUTE,
    )
    problems = mapped.select(
        "stream_id",
        problem=pl.when(pl.col("unit").is_null())
        .then(pl.lit("its register is not in registers.csv"))
        .when(~pl.col("field").is_in(list(FIELDS)))
        .then(pl.lit("its field is none of a packet"))
        .when(pl.col("interval_minutes") % pl.col("grid_minutes") != 0)
        .then(pl.lit("its interval is no multiple of its register's grid"))
        .when((pl.col("content") == "cumulative_wh") & ~pl.col("is_energy"))
        .then(pl.lit("cumulative_wh needs a register of energy"))
        .when((pl.col("content") == "cumulative_wh") & (pl.col("kind") != "cumulative"))
        .then(pl.lit("cumulative_wh needs a cumulative register"))
        .when((pl.col("content") == "interval") & pl.col("per_unit").is_null())
        .then(pl.lit("interval needs a register of energy or volume")),
    ).drop_nulls()
    if not problems.is_empty():
        listed = "; ".join(f"{stream_id}: {problem}" for stream_id, problem in problems.rows())
        raise TransformError(f"These streams do not fit ({listed}): mend them in streams.csv.")
    return mapped


def _from_start() -> pl.Expr:
    """Rows that began at or after the stream's start."""
    return pl.col("push_from_at").is_null() | (pl.col("start_at") >= pl.col("push_from_at"))


def _stamp_us() -> pl.Expr:
    """End of the stream's interval in which a row begins, in microseconds of 1970."""
    start_us = pl.col("start_at").dt.epoch("us")
    return (start_us // pl.col("step_us") + 1) * pl.col("step_us")


def _cumulative(
    streams: pl.DataFrame, intervals: pl.DataFrame, offsets: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    per_wh = pl.col("per_unit") * WH_PER_KWH
    rows = (
        streams.select("stream_id", "register_id", "push_from_at", "per_unit", "step_us")
        .join(intervals, on="register_id")
        .filter(_from_start())
        .sort("stream_id", "end_at")
        .with_columns(
            end_wh=pl.col("register_end_native") * per_wh,
            energy_wh=pl.col("energy_kwh") * WH_PER_KWH,
            # A row that has no register value but a story hides a break from its successors.
            n_hidden=(
                pl.col("register_end_native").is_null() & (pl.col("flags").list.len() > 0)
            ).cum_sum(),
        )
        .filter(pl.col("end_wh").is_finite())
    )
    new_offsets = _offsets(rows, _breaks(rows), offsets)
    stamped = (
        rows.filter("is_pushable", pl.col("end_at").dt.epoch("us") == _stamp_us())
        .filter(_begins_after_start())
        .sort("end_at")
        .join_asof(
            new_offsets.select("stream_id", "from_at", "offset_wh").sort("from_at"),
            left_on="end_at",
            right_on="from_at",
            by="stream_id",
            check_sortedness=False,
        )
        .select(
            "stream_id",
            stamped_at="end_at",
            number=(pl.col("end_wh") + pl.col("offset_wh")).round(_DECIMALS_WH),
            is_estimated=_IS_ESTIMATED,
        )
    )
    return stamped, new_offsets


def _begins_after_start() -> pl.Expr:
    """Packets whose whole interval lies after the stream's start."""
    begins_us = pl.col("end_at").dt.epoch("us") - pl.col("step_us")
    start_us = pl.col("push_from_at").dt.epoch("us")
    return start_us.is_null() | (begins_us >= start_us)


def _breaks(rows: pl.DataFrame) -> pl.DataFrame:
    """stream_id, end_at, jump_wh where a register does not grow by the energy.

    Across a hole of unknown rows the growth is what the meter counted, and stays, unless it falls
    or the hole hides a break.
    """
    same_stream = pl.col("stream_id") == pl.col("stream_id").shift()
    growth = pl.when(same_stream).then(pl.col("end_wh") - pl.col("end_wh").shift())
    is_next = pl.col("start_at") == pl.col("end_at").shift()
    is_hidden = pl.col("n_hidden") > pl.col("n_hidden").shift()
    tolerance = pl.max_horizontal(pl.lit(_SAME_WH), pl.col("end_wh").abs() * _SAME_RELATIVE)
    jump = pl.col("energy_wh").fill_null(0.0) - growth
    is_break = pl.when(is_next | is_hidden).then(jump.abs() > tolerance).otherwise(jump > tolerance)
    return rows.select("stream_id", "end_at", jump_wh=pl.when(is_break).then(jump)).drop_nulls()


def _offsets(rows: pl.DataFrame, breaks: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    frozen = (
        known.filter("is_frozen").select(OFFSET_SCHEMA.names()).cast(dict(OFFSET_SCHEMA))  # pyright: ignore[reportArgumentType]
    )
    by_stream = {str(key[0]): part.sort("from_at") for key, part in frozen.group_by("stream_id")}
    jumps = {str(key[0]): part for key, part in breaks.group_by("stream_id")}
    firsts = rows.group_by("stream_id").agg(pl.col("end_at").min()).sort("stream_id")
    found: list[tuple[object, ...]] = []
    for stream_id, first_at in firsts.rows():
        part = jumps.get(stream_id, breaks.clear())
        steps = list(part.sort("end_at").select("end_at", "jump_wh").rows())
        anchored = by_stream.get(stream_id)
        if anchored is None:
            found += _forwards(stream_id, [(first_at, 0.0), *steps])
            continue
        start_at, offset_wh = anchored.row(0, named=True)["from_at"], anchored["offset_wh"][0]
        older = [step for step in steps if step[0] <= start_at]
        if first_at < start_at:
            found += _backwards(stream_id, first_at, start_at, offset_wh, older)
        found += anchored.rows()
        end_at, last_wh = anchored["used_to_at"].max() or start_at, anchored["offset_wh"][-1]
        newer = [step for step in steps if step[0] > end_at]
        found += _forwards(stream_id, [(end_at, last_wh), *newer])[1:]
    return pl.DataFrame(found, schema=OFFSET_SCHEMA, orient="row")


def _forwards(stream_id: str, steps: Iterable[tuple[object, float]]) -> list[tuple[object, ...]]:
    offset_wh = 0.0
    found: list[tuple[object, ...]] = []
    for from_at, jump_wh in steps:
        offset_wh = round(offset_wh + jump_wh, _DECIMALS_WH)
        found.append((stream_id, from_at, offset_wh, False, None))
    return found


def _backwards(
    stream_id: str,
    first_at: object,
    start_at: object,
    offset_wh: float,
    steps: list[tuple[object, float]],
) -> list[tuple[object, ...]]:
    """The offsets before the first frozen one: what a step adds is taken off on its older side."""
    found: list[tuple[object, ...]] = []
    for at, jump_wh in reversed(steps):
        if at != start_at:
            found.append((stream_id, at, offset_wh, False, None))
        offset_wh = round(offset_wh - jump_wh, _DECIMALS_WH)
    found.append((stream_id, first_at, offset_wh, False, None))
    return found[::-1]


def _totals(streams: pl.DataFrame, intervals: pl.DataFrame) -> pl.DataFrame:
    total = pl.when("is_energy").then("energy_kwh").otherwise("volume_m3") / pl.col("per_unit")
    rows = (
        streams.join(intervals, on="register_id")
        .filter(_from_start(), "is_pushable")
        .with_columns(native=total, is_estimated=_IS_ESTIMATED)
        .filter(pl.col("native").is_finite())
    )
    return _whole_intervals(rows, pl.col("native").sum())


def _means(streams: pl.DataFrame, samples: pl.DataFrame) -> pl.DataFrame:
    rows = (
        streams.join(samples, on="register_id")
        .filter(_from_start(), ~pl.col("is_provisional"))
        .with_columns(native=pl.col("sample_native"), is_estimated=pl.lit(False))
        .filter(pl.col("native").is_finite())
    )
    return _whole_intervals(rows, pl.col("native").mean())


def _whole_intervals(rows: pl.DataFrame, number: pl.Expr) -> pl.DataFrame:
    """One number per stream's interval, where all rows of the register's grid are there."""
    return (
        rows.with_columns(stamp_us=_stamp_us())
        .filter(
            pl.col("push_from_at").is_null()
            | (pl.col("stamp_us") - pl.col("step_us") >= pl.col("push_from_at").dt.epoch("us"))
        )
        .sort("stream_id", "start_at")
        .group_by("stream_id", "stamp_us", maintain_order=True)
        .agg(
            number=number.round(_DECIMALS),
            is_estimated=pl.col("is_estimated").any(),
            is_whole=pl.len() * pl.col("grid_minutes").first()
            == pl.col("interval_minutes").first(),
        )
        .filter("is_whole")
        .select(
            "stream_id",
            stamped_at=pl.col("stamp_us").cast(pl.Datetime("us", "UTC")),
            number="number",
            is_estimated="is_estimated",
        )
    )


def _bodies(numbers: pl.DataFrame, mapped: pl.DataFrame) -> pl.DataFrame:
    heads = pl.DataFrame(
        {
            "stream_id": mapped["stream_id"],
            "head": [packet_head(stream_id) for stream_id in mapped["stream_id"]],
            "middle": [f'","{field}":' for field in mapped["field"]],
            "zone": mapped["zone"],
        },
        schema={"stream_id": pl.String, "head": pl.String, "middle": pl.String, "zone": pl.String},
    )
    # -0.0 and 0.0 are equal but not the same text.
    rows = numbers.join(heads, on="stream_id").with_columns(
        number=pl.when(pl.col("number") == 0.0).then(0.0).otherwise("number")
    )
    parts = [
        part.select(
            "stream_id",
            "stamped_at",
            body=pl.concat_str(
                "head", stamp_expression("stamped_at", str(zone)), "middle", "number", pl.lit("}")
            ),
            is_estimated="is_estimated",
        )
        for (zone,), part in rows.group_by("zone")
    ]
    if not parts:
        return PACKET_SCHEMA.to_frame()
    return pl.concat(parts).sort("stream_id", "stamped_at")
