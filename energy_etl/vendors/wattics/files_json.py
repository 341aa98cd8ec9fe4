"""JSON lines: each line one packet as the vendor's page has it, of any stream and of either kind.

`{"id": ..., "tsISO8601": ..., "value": ...}` and `{"id": ..., "tsISO8601": ..., "aP_1": ...}` may
be mixed in one file: the page's group of measurements. null is no value.
"""

import re
from typing import Final

import msgspec
import polars as pl

from energy_etl.vendors.wattics.files_lines import UNREADABLE, BadLines
from energy_etl.vendors.wattics.wire import FIELDS

_Packet: Final = msgspec.defstruct(
    "_Packet",
    [("id", str), ("tsISO8601", str), *((field, float | None, None) for field in FIELDS)],
    forbid_unknown_fields=True,
    gc=False,
)
_DECODE: Final = msgspec.json.Decoder(_Packet).decode
_STAMP_FORMAT: Final = "%Y-%m-%dT%H:%M:%S%.f%:z"
_STAMP_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?[+-][0-9]{2}:[0-9]{2}$"
)
_IN_SHORT: Final = re.compile(r" - at `\$\.?(\S*)`$")


def parse_json(lines: pl.DataFrame, bad: BadLines) -> pl.DataFrame:
    """Return line, stream_id, stamped_at (UTC, whole milliseconds), one column per field of any.

    Args:
        lines: line, text.
        bad: takes the lines that are no packet.
    """
    packets, numbers, refused = [], [], []
    for line, text in lines.select("line", "text").iter_rows():
        if UNREADABLE in text:
            refused.append((line, "it is not UTF-8: save the file as UTF-8"))
            continue
        try:
            packets.append(_DECODE(text))
            numbers.append(line)
        except msgspec.DecodeError as error:
            refused.append((line, _plain(error)))
        except RecursionError:
            refused.append((line, "it is no packet of one line (too deep)"))
    bad.add(
        pl.DataFrame(refused, schema={"line": pl.UInt32, "why": pl.String}, orient="row"),
        lambda row: row["why"],
    )
    columns = zip(*map(msgspec.structs.astuple, packets), strict=True)
    columns = dict(zip(("stream_id", "stamp", *FIELDS), columns, strict=False))
    given = [field for field in FIELDS if columns and columns[field].count(None) < len(packets)]
    schema = {
        "stream_id": pl.String,
        "stamp": pl.String,
        **dict.fromkeys(given, pl.Float64),
    }
    frame = pl.DataFrame(
        {"line": numbers, **{name: columns.get(name, ()) for name in schema}},
        schema={"line": pl.UInt32, **schema},
    )
    return _stamped(frame, bad)


def _stamped(frame: pl.DataFrame, bad: BadLines) -> pl.DataFrame:
    fields = [name for name in frame.columns if name in FIELDS]
    frame = frame.with_columns(
        stamped_at=pl.when(pl.col("stamp").str.contains(_STAMP_PATTERN)).then(
            pl.col("stamp")
            .str.to_datetime(_STAMP_FORMAT, time_unit="us", time_zone="UTC", strict=False)
            .dt.truncate("1ms")
        ),
        is_finite=pl.all_horizontal(
            pl.lit(True), *(pl.col(field).is_finite().fill_null(value=True) for field in fields)
        ),
    )
    is_stamped = pl.col("stamped_at").is_not_null()
    bad.add(
        frame.filter(~is_stamped),
        lambda row: (
            f"{row['stamp'][:60]!r} is no time stamp of a packet: write "
            "2016-02-10T21:45:31.070+11:00, with the offset of that instant"
        ),
    )
    bad.add(
        frame.filter(is_stamped, ~pl.col("is_finite")),
        lambda _: "a number in it is beyond every measurement",
    )
    return frame.filter(is_stamped, "is_finite").select("line", "stream_id", "stamped_at", *fields)


def _plain(error: msgspec.DecodeError) -> str:
    """Say in our words what a decoder found."""
    text = str(error)
    place = _IN_SHORT.search(text)
    text = _IN_SHORT.sub("", text)
    if place and place[1]:
        return f"{place[1]} does not fit a packet ({text})"
    return f"it is no packet of one line ({text})"
