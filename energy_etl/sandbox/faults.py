"""Faults on demand: which calls fail, how, and how often.

A fault is posted to `/_sandbox/faults`; the first that matches a call is used. What each kind does
to a call is in `app.py`; what it does to a body is `spoil` below.
"""

import itertools
from dataclasses import asdict, dataclass

import msgspec

VENDORS = ("digiwatt", "smartgridone", "wattics", "wattsense", "wiser")
KINDS = (
    "status",  # answer with `status` instead of handling the call
    "slow",  # handle it `delay_s` later
    "drip",  # send the body byte by byte, `delay_s` between two
    "drop_before",  # close the connection before handling
    "drop_after",  # handle, then close the connection without an answer
    "late_commit",  # close the connection, handle `delay_s` later
    "duplicate_page",  # the next link leads to the same page once more
    "repeated_link",  # the next link is the page's own address
    "truncated_json",  # half of the body
    "nan_value",  # NaN in place of the numbers of one item
    "gap",  # the middle third of a list is missing
    "down",  # every call of the vendor is dropped until the fault is removed
)
_NOT_MEASURED = ("timestamp", "expires_in", "previousPeriodValueTrend")


@dataclass
class Fault:
    """One fault; `times` is None when it lasts until it is removed."""

    fault_id: int
    vendor: str
    kind: str
    path_contains: str = ""
    times: int | None = 1
    status: int = 503
    retry_after_s: int | None = None
    delay_s: float = 1.0


class FaultError(ValueError):
    """A fault that cannot be posted; the message says why."""


class Faults:
    """The faults that are still to come."""

    def __init__(self) -> None:
        """Start without any."""
        self.active: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, wish: object) -> Fault:
        """Add a fault given as a JSON object."""
        if not isinstance(wish, dict):
            raise FaultError("a fault is a JSON object")
        if wish.get("vendor") not in VENDORS:
            raise FaultError(f"vendor must be one of {', '.join(VENDORS)}")
        if wish.get("kind") not in KINDS:
            raise FaultError(f"kind must be one of {', '.join(KINDS)}")
        if wish["kind"] == "down":
            wish = wish | {"times": None, "path_contains": ""}
        try:
            fault = msgspec.convert(wish | {"fault_id": next(self._ids)}, Fault)
        except msgspec.ValidationError as error:
            raise FaultError(f"a fault's field is wrong: {error}") from error
        if unknown := set(wish) - set(asdict(fault)):
            raise FaultError(f"a fault has no field {sorted(unknown)[0]!r}")
        self.active.append(fault)
        return fault

    def take(self, vendor: str, target: str) -> Fault | None:
        """Return the fault for a call and use it up once; `target` is path and query as sent."""
        for fault in self.active:
            if fault.vendor == vendor and fault.path_contains in target:
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.active.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Remove all faults."""
        self.active.clear()


def spoil(kind: str, body: bytes) -> bytes:
    """Return what a call's JSON body becomes under a fault of the body."""
    if kind == "truncated_json":
        return body[: len(body) // 2]
    try:
        content = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body
    if kind == "gap" and isinstance(content, list):
        third = len(content) // 3
        return msgspec.json.encode(content[:third] + content[len(content) - third :])
    if kind == "nan_value":
        item = content[len(content) // 2] if isinstance(content, list) and content else content
        if isinstance(item, dict):
            for key, value in item.items():
                if type(value) in (int, float) and key not in _NOT_MEASURED:
                    item[key] = "\0NaN"
        return msgspec.json.encode(content).replace(b'"\\u0000NaN"', b"NaN")
    return body
