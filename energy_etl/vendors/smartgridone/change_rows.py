"""What came of a change, from the calls that were made for it: the same live and from raw. Pure.

The fetch of a change holds: the calls that read the state before (the last of them carries the
record of what was asked), the call that was to change something (each attempt, failed ones too),
the calls that read the state afterwards. A fetch without the last two is a change of which nobody
knows what became: the process ended in between.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
import polars as pl

from energy_etl.errors import MalformedError
from energy_etl.rest import RawCall
from energy_etl.vendors import VendorBatch, Write
from energy_etl.vendors.smartgridone import rows
from energy_etl.vendors.smartgridone.change_tables import CHANGE
from energy_etl.vendors.smartgridone.changes import AT_THE_CALL, ENDPOINT_OF
from energy_etl.vendors.smartgridone.states import device_state, licence_states

Outcome = Literal["done", "refused", "not_done", "unknown"]
RECORD: Final = "change"
_REQUEST_TIMEOUT: Final = 408


def to_batch(calls: Sequence[RawCall]) -> VendorBatch:
    """Turn the calls of one fetch into writes, whether it changed something or listed it."""
    return changes_to_batch(calls) if is_change(calls) else rows.to_batch(calls)


def is_change(calls: Sequence[RawCall]) -> bool:
    """True for the fetch of a change, a dry run included: none of it is a listing."""
    return any(call.params.get("is_change") for call in calls)


def changes_to_batch(calls: Sequence[RawCall]) -> VendorBatch:
    """Return the change's row, nothing for a dry run."""
    batch = VendorBatch()
    row = change_row(calls)
    if row is not None:
        frame = pl.DataFrame([row], schema=CHANGE.polars_schema)
        batch.writes.append(Write(CHANGE, frame, "merge"))
    return batch


def change_row(calls: Sequence[RawCall]) -> dict[str, Any] | None:
    """Return the row of `smartgridone.change` that the calls of one fetch amount to, or None."""
    ordered = sorted(calls, key=lambda call: (call.requested_at, call.request_id))
    begun = next((call for call in ordered if RECORD in call.params), None)
    if begun is None:
        return None
    record: Mapping[str, Any] = begun.params[RECORD]
    endpoint = ENDPOINT_OF[record["action"]]
    places = [n for n, call in enumerate(ordered) if call.endpoint == endpoint]
    sent = ordered[places[-1]] if places else None
    afterwards = ordered[places[-1] + 1 :] if places else []
    after = _state_after(record, afterwards)
    return {
        **{name: record[name] for name in ("change_id", "action", "subject", "asked_by")},
        "begun_at": begun.requested_at,
        "plan_hash": record["plan_hash"],
        "method": record["method"],
        "url": record["url"],
        "request_body": _as_text(record["body"]),
        "state_before": None if record["before"] is None else _as_text(record["before"]),
        "state_planned": _as_text(record["planned"]),
        "state_after": None if after is None else _as_text(after),
        "status": sent.status or None if sent else None,
        "answer": sent.body.decode("utf-8", "replace") or None if sent else None,
        "outcome": _outcome(record, sent, after, is_whole=_is_whole(afterwards)),
        "request_id": sent.request_id if sent else None,
    }


def _outcome(
    record: Mapping[str, Any],
    sent: RawCall | None,
    after: Mapping[str, Any] | None,
    *,
    is_whole: bool,
) -> Outcome:
    """Judge by the answer; without one by what stands there now."""
    if sent is None:
        return "unknown"
    if 200 <= sent.status < 300:
        return "refused" if _says_no_success(sent.body) else "done"
    if 400 <= sent.status < 500 and sent.status != _REQUEST_TIMEOUT:
        return "refused"
    if after is None:
        return "unknown"
    if _is_as_planned(record, after):
        # Where all that was to change is redacted, what stands there now shows nothing.
        return "unknown" if record["before"] == record["planned"] else "done"
    # What could not be read may be just where it was done.
    return "not_done" if is_whole else "unknown"


def _is_whole(calls: Sequence[RawCall]) -> bool:
    """True when everything that was asked for was answered in the end."""
    last = {(c.endpoint, c.params.get("node_id"), c.params.get("customer_id")): c for c in calls}
    return all(200 <= call.status < 300 for call in last.values())


def _says_no_success(body: bytes) -> bool:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("success") is False


def _is_as_planned(record: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    planned: Mapping[str, Any] = record["planned"]
    if record["action"] == "claim_license":
        return set(planned["controllers"]) <= set(after["controllers"])
    if record["action"] == "activate_license":
        wanted, found = planned["activation_at"], after["activation_at"]
        if wanted == AT_THE_CALL or found is None:
            return found is not None
        return datetime.fromisoformat(wanted) == datetime.fromisoformat(found)
    return all(name in after and after[name] == value for name, value in planned.items())


def _state_after(record: Mapping[str, Any], calls: Sequence[RawCall]) -> Mapping[str, Any] | None:
    """Return what stands there now, of what was planned; None: it could not be read."""
    try:
        if record["action"] == "update_device":
            device = device_state(calls, record["subject"])
            touched = {*record["planned"], *(record["before"] or {})}
            return device and {n: v for n, v in device.properties.items() if n in touched}
        found = [each for each in licence_states(calls) if each.key == record["subject"]]
        return found[0].told() if found else None
    except MalformedError:
        return None


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
