"""What goes over the wire: the packet's fields, its time stamp, the last packet.

From Wattics' API page. One packet is one line of JSON: `id`, `tsISO8601`, then either `value` or
any of the 21 numbers below. The stamp is LOCAL time with the offset of that very instant and
milliseconds, never `Z`. How intervals become packets is in `packets.py`.
"""

import difflib
import json
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.errors import MalformedError
from energy_etl.units import KWH_PER_UNIT, Unit

SINGLE_FIELD: Final = "value"
ELECTRICAL_FIELDS: Final[tuple[str, ...]] = (
    *(f"{name}_{phase}" for name in ("aP", "rP", "apP", "v", "c", "pC") for phase in (1, 2, 3)),
    *("v_12", "v_13", "v_23"),
)
FIELDS: Final[tuple[str, ...]] = (*ELECTRICAL_FIELDS, SINGLE_FIELD)
# What a field is measured in, by what stands before its phase; pC is cumulative Wh.
_FIELD_UNITS: Final[dict[str, Unit]] = {
    "aP": "W",
    "rP": "var",
    "apP": "VA",
    "v": "V",
    "c": "A",
    "pC": "Wh",
}
_COUNTED: Final = "pC"
COUNTED_FIELDS: Final = tuple(f"{_COUNTED}_{phase}" for phase in (1, 2, 3))
# Content of a stream whose packets come from files: they bring their fields with them.
FROM_FILES: Final = "file"
_STAMP_FORMAT: Final = "%Y-%m-%dT%H:%M:%S%.3f%:z"


def stamp_expression(column: str, zone: str) -> pl.Expr:
    """The instants of a column as `2016-02-10T21:45:31.070+11:00`, local to a zone."""
    return pl.col(column).dt.convert_time_zone(zone).dt.strftime(_STAMP_FORMAT)


def stamp_text(instant: datetime) -> str:
    """Return one aware datetime, local already, in the format of a packet."""
    return instant.isoformat(timespec="milliseconds")


def packet_head(stream_id: str) -> str:
    """Return the beginning of each packet of a stream, up to the stamp."""
    return f'{{"id":{json.dumps(stream_id)},"tsISO8601":"'


def parse_last(text: str, where: str) -> datetime | None:
    """Return the stamp of a last packet; None for what stands for "nothing received yet".

    The dashboard shows `Jan 1970` or `Invalid Date` then, so those and an empty answer are "none".

    Raises:
        MalformedError: no packet and no sign of "none".
    """
    if not text.strip():
        return None
    try:
        packet = json.loads(text)
    except ValueError:
        packet = text
    if packet in (None, {}, [], "Invalid Date"):
        return None
    stamp = packet.get("tsISO8601") if isinstance(packet, dict) else None
    if stamp in (None, "", "Invalid Date") and isinstance(packet, dict) and "tsISO8601" in packet:
        return None
    try:
        stamped_at = datetime.fromisoformat(stamp) if isinstance(stamp, str) else None
    except ValueError:
        stamped_at = None
    if stamped_at is None or stamped_at.tzinfo is None:
        raise MalformedError(
            f"{where}: the last packet cannot be read ({text[:120]!r}): "
            "check the collector's URL in the settings."
        )
    return None if stamped_at.year <= 1970 else stamped_at


def field_problem(
    field: str, content: str, commodity: str | None, unit: str | None, n_fields: int = 1
) -> str | None:
    """Say why a register cannot be sent in a field of the packet; None when it can.

    Args:
        field: `pC_1`, `value`, ...
        content: what the field carries: cumulative_wh, interval or sample; `file`: what files say,
            and there is no register.
        commodity: of the register's meter.
        unit: of the register.
        n_fields: fields of the stream's packets.
    """
    if field not in FIELDS:
        near = [name for name in FIELDS if name.lower() == field.lower()]
        near = near or difflib.get_close_matches(field, FIELDS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"write one of {', '.join(FIELDS)}."
        return f"{field} is no field of a packet: {advice}"
    if content == FROM_FILES:
        return None
    kind = field.partition("_")[0]
    if (kind == _COUNTED) != (content == "cumulative_wh"):
        return (
            f"{field} does not fit {content}: the fields pC_1 to pC_3 carry cumulative_wh, "
            "and nothing else does."
        )
    if field == SINGLE_FIELD:
        is_alone = n_fields == 1
        return None if is_alone else f"{field} stands alone in a packet, electrical fields do not."
    if kind != _COUNTED and content != "sample":
        return f"{field} does not fit {content}: it carries what is measured, so write sample."
    if commodity != "electricity":
        return f"{field} is for electricity, and the register measures {commodity}: use value."
    # Counters are converted; all else is the register's own number, so only that unit is right.
    fits = unit in KWH_PER_UNIT if kind == _COUNTED else unit == _FIELD_UNITS[kind]
    return None if fits else f"{field} is in {_FIELD_UNITS[kind]}, and the register in {unit}."


def propose_field(kind: str, commodity: str, unit: str) -> tuple[str, str]:
    """Return field and content for a register whose only value is a total.

    "If you only have one total value for a data point you must use the first parameter".
    """
    if kind == "cumulative" and commodity == "electricity":
        return f"{_COUNTED}_1", "cumulative_wh"
    if kind != "instant":
        return SINGLE_FIELD, "interval"
    phases = {theirs: name for name, theirs in _FIELD_UNITS.items() if name != _COUNTED}
    if commodity == "electricity" and unit in phases:
        return f"{phases[unit]}_1", "sample"
    return SINGLE_FIELD, "sample"
