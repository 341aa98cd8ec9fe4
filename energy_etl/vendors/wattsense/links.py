"""How Wattsense's lists lead on: the header `Link`, and the ids that further calls need; pure."""

from collections.abc import Sequence

import msgspec

from energy_etl.rest import Answer
from energy_etl.vendors.page_rows import ids_listed


def next_link(header: str) -> str | None:
    """Return the target of `rel="next"` in a Link header (RFC 8288), None when there is none."""
    rest = header
    while "<" in rest:
        target, found, rest = rest.partition("<")[2].partition(">")
        attributes, _, _ = rest.partition("<")
        relations = [
            value.strip().strip('"').lower().split()
            for name, _, value in (part.partition("=") for part in attributes.split(";"))
            if name.strip().lower() == "rel"
        ]
        # The last attribute of a link ends where a comma starts the next one.
        if found and any("next" in [r.rstrip('",') for r in relation] for relation in relations):
            return target.strip()
    return None


class _DeviceId(msgspec.Struct):
    device_id: str = msgspec.field(name="deviceId")


def device_ids(answers: Sequence[Answer]) -> list[str]:
    """Return the ids in lists of boxes."""
    return ids_listed(answers, _DeviceId, lambda row: row.device_id)
