"""What goes over the wire: the packet's fields, its time stamp, the last packet.

From Wattics' API page. One packet is one line of JSON: `id`, `tsISO8601`, then either `value` or
any of the 21 numbers below. The stamp is LOCAL time with the offset of that very instant and
milliseconds, never `Z`. How intervals become packets is in `packets.py`.
"""

import json
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.errors import MalformedError

SINGLE_FIELD: Final = "value"
ELECTRICAL_FIELDS: Final[tuple[str, ...]] = (
    *(f"{name}_{phase}" for name in ("aP", "rP", "apP", "v", "c", "pC") for phase in (1, 2, 3)),
    *("v_12", "v_13", "v_23"),
)
FIELDS: Final[tuple[str, ...]] = (*ELECTRICAL_FIELDS, SINGLE_FIELD)
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
