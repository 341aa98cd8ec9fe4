"""Core frames to packets: which rows are delivered, and what each packet says. Pure.

| content | the number of a field |
|---|---|
| cumulative_wh | the register at the interval's end in Wh, plus the field's offset (`offsets.py`) |
| interval | the interval's total, in the register's unit (of power: Wh for W, kWh for kW) |
| sample | the interval's mean, in the register's unit |

A stream's packets have the field of its own row and those of stream_fields.csv, each fed by one
register: nothing is added up here, so a phase that is missing is left out and makes no total small.

Only rows that may be delivered become packets; the others are holes, and `delivery/frontier.py`
decides what a hole means. Values are rounded so that computing again gives the same text.
"""

from typing import Final, NamedTuple

import polars as pl

from energy_etl.errors import TransformError
from energy_etl.units import KW_PER_UNIT, KWH_PER_UNIT, M3_PER_UNIT, WH_PER_KWH
from energy_etl.vendors.wattics.offsets import (
    DECIMALS_WH,
    OFFSET_SCHEMA,
    compute_offsets,
    is_own_step,
)
from energy_etl.vendors.wattics.wire import FIELDS, packet_head, stamp_expression

__all__ = ["OFFSET_SCHEMA", "PACKET_SCHEMA", "Packets", "compute_packets"]

PACKET_SCHEMA: Final = pl.Schema(
    {
        "stream_id": pl.String,
        "stamped_at": pl.Datetime("us", "UTC"),
        "body": pl.String,
        "is_estimated": pl.Boolean,
        "is_incomplete": pl.Boolean,
    }
)
_DECIMALS: Final = 6
_US_PER_MINUTE: Final = 60_000_000
_IS_ESTIMATED: Final = pl.col("quality") == "estimated"
_FEED: Final = ["stream_id", "field"]


class Packets(NamedTuple):
    """The packets (columns of PACKET_SCHEMA) and the offsets they were computed with.

    `is_incomplete`: a field of the stream is missing in the packet, and may still come.
    `offsets` has all steps of each cumulative field that has rows, and none of other streams.
    """

    packets: pl.DataFrame
    offsets: pl.DataFrame


def compute_packets(
    intervals: pl.DataFrame,
    samples: pl.DataFrame,
    streams: pl.DataFrame,
    stream_fields: pl.DataFrame,
    registers: pl.DataFrame,
    offsets: pl.DataFrame,
) -> Packets:
    """Return every packet that the rows have to say, sorted by stream and stamp.

    Args:
        intervals: columns of core.interval; of each cumulative field's register ALL rows from the
            stream's push_from_at on (a part would begin its offsets anew).
        samples: columns of core.sample.
        streams: columns of push.stream; those that files feed are left out.
        stream_fields: columns of push.stream_field; those of other streams are left out.
        registers: columns of core.register.
        offsets: OFFSET_SCHEMA, as the outbox keeps them.

    Raises:
        TransformError: a stream that is finer than a register's grid, or that asks for what its
            register does not have.
    """
    feeds = _feeds(streams, stream_fields, registers)
    cumulative = feeds.filter(pl.col("content") == "cumulative_wh")
    rows, new_offsets = _cumulative(cumulative, intervals, offsets)
    numbers = pl.concat(
        [
            rows,
            _totals(feeds.filter(pl.col("content") == "interval"), intervals),
            _means(feeds.filter(pl.col("content") == "sample"), samples),
        ]
    )
    # Of finite values the sum may be none.
    return Packets(_bodies(numbers.filter(pl.col("number").is_finite()), feeds), new_offsets)


def _feeds(
    streams: pl.DataFrame, stream_fields: pl.DataFrame, registers: pl.DataFrame
) -> pl.DataFrame:
    """One row per field of each stream with its register's unit and grid, refused if unfit.

    The zone is that of the stream's own register: a packet has one stamp.
    """
    agreed = ("stream_id", "interval_minutes", "push_from_at", "zone")
    own = streams.drop("zone").join(
        registers.select("register_id", "zone"), on="register_id", how="left"
    )
    # What files feed has no register.
    own = own.filter(pl.col("register_id").is_not_null())
    further = stream_fields.join(own.select(agreed), on="stream_id")
    columns = (*agreed, "field", "register_id", "content")
    feeds = (
        pl.concat([own.select(columns), further.select(columns)])
        .join(
            registers.select("register_id", "unit", "kind", "grid_minutes"),
            on="register_id",
            how="left",
        )
        .with_columns(
            per_unit=pl.col("unit").replace_strict(
                {**KWH_PER_UNIT, **KW_PER_UNIT, **M3_PER_UNIT},
                default=None,
                return_dtype=pl.Float64,
            ),
            is_energy=pl.col("unit").is_in([*KWH_PER_UNIT, *KW_PER_UNIT]),
            step_us=pl.col("interval_minutes") * _US_PER_MINUTE,
            n_fields=pl.len().over("stream_id"),
        )
    )
    _refuse_unfit(feeds)
    return feeds


def _refuse_unfit(feeds: pl.DataFrame) -> None:
    problems = feeds.select(
        *_FEED,
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
        listed = "; ".join(
            f"{stream}, {field}: {problem}" for stream, field, problem in problems.rows()
        )
        raise TransformError(
            f"These streams do not fit ({listed}): mend them in streams.csv or stream_fields.csv."
        )


def _from_start() -> pl.Expr:
    """Rows that began at or after the stream's start."""
    return pl.col("push_from_at").is_null() | (pl.col("start_at") >= pl.col("push_from_at"))


def _stamp_us() -> pl.Expr:
    """End of the stream's interval in which a row begins, in microseconds of 1970."""
    start_us = pl.col("start_at").dt.epoch("us")
    return (start_us // pl.col("step_us") + 1) * pl.col("step_us")


def _cumulative(
    feeds: pl.DataFrame, intervals: pl.DataFrame, offsets: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    per_wh = pl.col("per_unit") * WH_PER_KWH
    rows = (
        feeds.select(*_FEED, "register_id", "push_from_at", "per_unit", "step_us")
        .join(intervals, on="register_id")
        .filter(_from_start())
        .sort(*_FEED, "end_at")
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
    new_offsets = compute_offsets(rows, offsets)
    stamped = (
        rows.filter("is_pushable", pl.col("end_at").dt.epoch("us") == _stamp_us())
        .filter(_begins_after_start())
        .sort("end_at")
        .join_asof(
            new_offsets.select(*_FEED, "from_at", "offset_wh", "fed_by").sort("from_at"),
            left_on="end_at",
            right_on="from_at",
            by=_FEED,
            check_sortedness=False,
        )
        .filter(is_own_step())
        .select(
            *_FEED,
            stamped_at="end_at",
            number=(pl.col("end_wh") + pl.col("offset_wh")).round(DECIMALS_WH),
            is_estimated=_IS_ESTIMATED,
        )
    )
    return stamped, new_offsets


def _begins_after_start() -> pl.Expr:
    """Packets whose whole interval lies after the stream's start."""
    begins_us = pl.col("end_at").dt.epoch("us") - pl.col("step_us")
    start_us = pl.col("push_from_at").dt.epoch("us")
    return start_us.is_null() | (begins_us >= start_us)


def _totals(feeds: pl.DataFrame, intervals: pl.DataFrame) -> pl.DataFrame:
    total = pl.when("is_energy").then("energy_kwh").otherwise("volume_m3") / pl.col("per_unit")
    rows = (
        feeds.join(intervals, on="register_id")
        .filter(_from_start(), "is_pushable")
        .with_columns(native=total, is_estimated=_IS_ESTIMATED)
        .filter(pl.col("native").is_finite())
    )
    return _whole_intervals(rows, pl.col("native").sum())


def _means(feeds: pl.DataFrame, samples: pl.DataFrame) -> pl.DataFrame:
    rows = (
        feeds.join(samples, on="register_id")
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
        .sort(*_FEED, "start_at")
        .group_by(*_FEED, "stamp_us", maintain_order=True)
        .agg(
            number=number.round(_DECIMALS),
            is_estimated=pl.col("is_estimated").any(),
            is_whole=pl.len() * pl.col("grid_minutes").first()
            == pl.col("interval_minutes").first(),
        )
        .filter("is_whole")
        .select(
            *_FEED,
            stamped_at=pl.col("stamp_us").cast(pl.Datetime("us", "UTC")),
            number="number",
            is_estimated="is_estimated",
        )
    )


def _bodies(numbers: pl.DataFrame, feeds: pl.DataFrame) -> pl.DataFrame:
    texts = feeds.select(
        *_FEED,
        "n_fields",
        "zone",
        head=pl.Series(
            [packet_head(stream_id) for stream_id in feeds["stream_id"]], dtype=pl.String
        ),
        name=pl.concat_str(pl.lit('"'), "field", pl.lit('":')),
        place=pl.col("field").replace_strict(
            list(FIELDS), list(range(len(FIELDS))), return_dtype=pl.Int64
        ),
    )
    items = numbers.join(texts, on=_FEED).with_columns(
        # -0.0 and 0.0 are equal but not the same text.
        items=pl.concat_str("name", pl.when(pl.col("number") == 0.0).then(0.0).otherwise("number")),
        is_incomplete=pl.lit(value=False),
    )
    together = (
        items.filter(pl.col("n_fields") > 1)
        .sort("stream_id", "stamped_at", "place")
        .group_by("stream_id", "stamped_at", maintain_order=True)
        .agg(
            pl.col("is_estimated").any(),
            pl.col("head", "zone").first(),
            pl.col("items").str.join(","),
            is_incomplete=pl.len() < pl.col("n_fields").first(),
        )
    )
    alone = items.filter(n_fields=1).select(together.columns)
    parts = [
        part.select(
            "stream_id",
            "stamped_at",
            "is_estimated",
            "is_incomplete",
            body=pl.concat_str(
                "head",
                stamp_expression("stamped_at", str(zone)),
                pl.lit('",'),
                "items",
                pl.lit("}"),
            ),
        ).select(PACKET_SCHEMA.names())
        for (zone,), part in pl.concat([alone, together]).group_by("zone")
    ]
    if not parts:
        return PACKET_SCHEMA.to_frame()
    return pl.concat(parts).sort("stream_id", "stamped_at")
