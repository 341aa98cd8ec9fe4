"""SmartgridOne's telemetry: statements over series of 5-minute rows, each with its own outcome.

A controller reports every 5 minutes: `rp_one_m` holds each report, `rp_ten_m` every second one, and
`rp_one_s` (an option) one per 10 s of the last seven days. Counters are whole Wh of the true
register, linear within a slot; a delta is what the counter grew since the last row, stamped at its
END; power is the mean W of the slot, positive for import, so that a producing inverter is below
zero. Known distortions: rounding to 1 Wh and 1 W; on some days a controller is offline for some
hours and its rows are missing (`offline_ms`); one field fails every statement that selects another
field too (`GROUPED_FAILURE`).

What the pages leave open, and this sandbox decides: the name of a function's column
(`<function>_<field>`) and its time (the lower bound); unknown names are errors of the statement; a
field that a measurement does not have is null beside others and no data alone.
"""

import re
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from energy_etl.sandbox.calendar import DAY_MS, from_ms, to_ms
from energy_etl.sandbox.distortions import value_at
from energy_etl.sandbox.model import FIELDS_SMARTGRIDONE, FloatArray, IntArray, Register, Truth
from energy_etl.sandbox.smartgridone_answers import RefusedError
from energy_etl.sandbox.smartgridone_fleet import FINE_POLICY, POLICIES, Channel, Fleet
from energy_etl.units import WH_PER_KWH

MAX_STATEMENTS = 1_000
MAX_SELECTED = 100
FUNCTIONS: Final = {"sum": np.sum, "min": np.min, "max": np.max, "mean": np.mean}
TIME_FORMATS = ("iso", "iso_ns", "ms")
GROUPED_FAILURE = "exportedAbsEnergyTot_Wh"
FINE_KEPT_MS = 7 * DAY_MS
OFFLINE_SHARE = 0.1
_HOUR_MS = 3_600_000
_OPERATORS = ("<", "<=", ">", ">=", "=")
_STATEMENT = frozenset({"select", "from", "where", "orderBy", "limit"})
_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


class Statement:
    """One query, checked: what is wrong with its spelling is a 400 for the whole request."""

    def __init__(self, asked: object, truth: Truth) -> None:
        """Read one statement."""
        if not isinstance(asked, dict) or not {"select", "from"} <= set(asked) <= _STATEMENT:
            raise RefusedError(400)
        self.selected = [_selected(each) for each in _list(asked["select"], 1, MAX_SELECTED)]
        self.measurement, self.database, self.policy = _source(asked["from"])
        where = _object(asked.get("where", {}), {"time", "tags"})
        self.tags = {str(k): v for k, v in _object(where.get("tags", {}), None).items()}
        self.is_descending = asked.get("orderBy", "ASC") == "DESC"
        self.limit = asked.get("limit")
        if asked.get("orderBy", "ASC") not in ("ASC", "DESC"):
            raise RefusedError(400)
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise RefusedError(400)
        # Both ends inclusive, in ms.
        self.first_ms, self.last_ms = truth.origin_ms, truth.now_ms()
        for bound in _list(where.get("time", []), 0, 2):
            self._bound(_object(bound, {"operator", "value"}))

    @property
    def step_ms(self) -> int | None:
        """How far apart the rows of its retention policy are, None for an unknown policy."""
        return (POLICIES | FINE_POLICY).get(self.policy)

    @property
    def points(self) -> int:
        """How many points lie between its bounds: what it costs."""
        rows = max(0, self.last_ms - self.first_ms) // (self.step_ms or DAY_MS)
        return rows * len(self.selected)

    def _bound(self, bound: dict) -> None:
        if set(bound) != {"operator", "value"} or bound["operator"] not in _OPERATORS:
            raise RefusedError(400)
        operator, at_ms = bound["operator"], _time_ms(bound["value"])
        if operator in (">", ">=", "="):
            self.first_ms = max(self.first_ms, at_ms + (operator == ">"))
        if operator in ("<", "<=", "="):
            self.last_ms = min(self.last_ms, at_ms - (operator == "<"))


class StatementError(Exception):
    """What is wrong with one statement while the others are answered."""


class Telemetry:
    """The series of a fleet, worked out when they are asked for."""

    def __init__(
        self,
        truth: Truth,
        fleet: Fleet,
        *,
        has_fine_policy: bool = False,
        time_format: str = "iso",
    ) -> None:
        """Measure `truth` for the devices of `fleet`; `time_format` is iso, iso_ns or ms."""
        if time_format not in TIME_FORMATS:
            raise ValueError(f"time_format is one of {', '.join(TIME_FORMATS)}")
        self._truth, self._fleet, self._time_format = truth, fleet, time_format
        self._policies = POLICIES | (FINE_POLICY if has_fine_policy else {})
        self._offline: dict[tuple[str, int], tuple[int, int] | None] = {}

    def read(self, content: Any) -> list[Statement]:
        """Return the statements of a request: one object, or a list of 1 to 1,000, or 400."""
        asked = content if isinstance(content, list) else [content]
        return [Statement(each, self._truth) for each in _list(asked, 1, MAX_STATEMENTS)]

    def run(self, number: int, statement: Statement) -> dict:
        """Return a statement's outcome: series, nothing, or an error of its own."""
        try:
            series = self._series(statement)
        except StatementError as error:
            return {"statement_id": number, "error": str(error)}
        return {"statement_id": number} | ({"series": [series]} if series else {})

    def offline_ms(self, site_id: str, day: int) -> tuple[int, int] | None:
        """Return when a site's controller was offline on a UTC day (number since 1970), if so."""
        key = (site_id, day)
        if key not in self._offline:
            chance, start, length = (
                self._truth.draw("smartgridone", site_id, what, day)
                for what in ("offline", "start", "length")
            )
            from_ms_ = day * DAY_MS + int(start * 20.0 * _HOUR_MS)
            window = (from_ms_, from_ms_ + int((2.0 + 2.0 * length) * _HOUR_MS))
            self._offline[key] = window if chance < OFFLINE_SHARE else None
        return self._offline[key]

    def at_ms(self, channel: Channel, policy: str, first_ms: int, last_ms: int) -> IntArray:
        """Return the instants of a channel's rows between two instants, both inclusive."""
        step_ms = self._policies[policy]
        truth = self._truth
        # A delta looks back one step, so that the first row comes after the truth's start.
        first_ms = max(first_ms, truth.origin_ms + step_ms)
        if policy in FINE_POLICY:
            first_ms = max(first_ms, truth.now_ms() - FINE_KEPT_MS)
        last_ms = min(last_ms, truth.now_ms())
        at = np.arange(-(-first_ms // step_ms), last_ms // step_ms + 1, dtype=np.int64) * step_ms
        kept = np.ones(len(at), dtype=bool)
        for day in range(first_ms // DAY_MS, last_ms // DAY_MS + 1):
            window = self.offline_ms(channel.site_id, day)
            if window is not None:
                kept &= (at < window[0]) | (at >= window[1])
        return at[kept]

    def values(self, channel: Channel, field: str, at_ms: IntArray, step_ms: int) -> FloatArray:
        """Return what a field of a channel shows at instants, in the unit of its suffix."""
        truth, registers = self._truth, channel.registers
        offset_ms = at_ms - truth.origin_ms
        counting = [r for r in registers if FIELDS_SMARTGRIDONE[r.purpose][1] == field]
        if field == "actualPowerTot_W":
            return np.round(sum(_power_w(truth, r, offset_ms) for r in registers))
        if counting and "Delta" in field:
            before_wh = _counter_wh(truth, counting[0], offset_ms - step_ms)
            return _counter_wh(truth, counting[0], offset_ms) - before_wh
        if counting:
            return _counter_wh(truth, counting[0], offset_ms)
        day = 2.0 * np.pi * (at_ms % DAY_MS) / DAY_MS
        voltage = np.round(231.0 + 3.5 * np.sin(day) + 1.5 * np.sin(7.0 * day), 1)
        if field == "currentL1_A":
            power = sum(_power_w(truth, r, offset_ms) for r in registers)
            return np.round(np.abs(power) / 3.0 / voltage, 2)
        if field == "voltageL1N_V":
            return voltage
        return np.round(50.0 + 0.02 * np.sin(11.0 * day), 3)  # frequency_Hz

    def _series(self, statement: Statement) -> dict | None:
        channel = self._channel(statement)
        step_ms = self._policies[statement.policy]
        names = [field for field, _ in statement.selected]
        if GROUPED_FAILURE in names and len(set(names)) > 1:
            raise StatementError(f"field {GROUPED_FAILURE} cannot be selected with other fields")
        functions = {function for _, function in statement.selected}
        if None in functions and len(functions) > 1:
            raise StatementError("fields and functions of fields cannot be selected together")
        if channel is None or not set(names) & set(channel.fields):
            return None
        at = self.at_ms(channel, statement.policy, statement.first_ms, statement.last_ms)
        if len(at) == 0:
            return None
        if functions == {None}:
            at = (at[::-1] if statement.is_descending else at)[: statement.limit]
        columns: dict[str, list] = {}
        for name, function in statement.selected:
            label = name if function is None else f"{function}_{name}"
            if name not in channel.fields:
                columns[label] = [None] * (len(at) if function is None else 1)
                continue
            values = self.values(channel, name, at, step_ms)
            is_whole = name.endswith(("_Wh", "_W"))
            if function is not None:
                values, is_whole = np.array([FUNCTIONS[function](values)]), False
            columns[label] = (values.astype(np.int64) if is_whole else values).tolist()
        times = at if functions == {None} else np.array([statement.first_ms])
        rows = [list(row) for row in zip(self._times(times), *columns.values(), strict=True)]
        return {
            "name": channel.measurement,
            "tags": {"nodeId": channel.node_id},
            "columns": ["time", *columns],
            "values": rows,
        }

    def _channel(self, statement: Statement) -> Channel | None:
        """Return the one device that a statement means; none is no data, two are an error."""
        databases = {channel.database for channel in self._fleet.channels}
        if statement.database not in databases:
            raise StatementError(f"database not found: {statement.database}")
        if statement.policy not in self._policies:
            raise StatementError(f"retention policy not found: {statement.policy}")
        found = [
            channel
            for channel in self._fleet.channels
            if channel.database == statement.database
            and channel.measurement == statement.measurement
            and all(
                name == "nodeId"
                and channel.node_id in (value if isinstance(value, list) else [value])
                for name, value in statement.tags.items()
            )
        ]
        if len(found) > 1:
            raise StatementError("the tags select more than one device, and rows would mix")
        return found[0] if found else None

    def _times(self, at_ms: IntArray) -> list:
        if self._time_format == "ms":
            return at_ms.tolist()
        digits = ".000000000Z" if self._time_format == "iso_ns" else "Z"
        return [from_ms(at).isoformat()[:19] + digits for at in at_ms.tolist()]


def _counter_wh(truth: Truth, register: Register, offset_ms: IntArray) -> FloatArray:
    edges = truth.edges(register.register_id)
    return np.round(value_at(edges, offset_ms, truth.slot_ms) * WH_PER_KWH)


def _power_w(truth: Truth, register: Register, offset_ms: IntArray) -> FloatArray:
    """Return a register's mean power of the slot, below zero where energy flows out."""
    slot: NDArray[np.int64] = offset_ms // truth.slot_ms
    edges = truth.edges(register.register_id)
    power_w = (edges[slot + 1] - edges[slot]) * WH_PER_KWH * _HOUR_MS / truth.slot_ms
    return -power_w if register.role in ("production", "export") else power_w


def _list(value: Any, fewest: int, most: int) -> list:
    if not isinstance(value, list) or not fewest <= len(value) <= most:
        raise RefusedError(400)
    return value


def _object(value: Any, known: set[str] | None) -> dict:
    if not isinstance(value, dict) or (known is not None and not set(value) <= known):
        raise RefusedError(400)
    return value


def _selected(each: Any) -> tuple[str, str | None]:
    if isinstance(each, str) and each:
        return each, None
    chosen = _object(each, {"field", "function"})
    field, function = chosen.get("field"), chosen.get("function")
    if not isinstance(field, str) or not field or (function not in FUNCTIONS and function):
        raise RefusedError(400)
    return field, function


def _source(value: Any) -> tuple[str, str, str]:
    source = _object(value, {"measurement", "database", "retentionPolicy", "namespace"})
    if "namespace" in source:
        if "database" in source or "retentionPolicy" in source:
            raise RefusedError(400)
        namespace = _object(source["namespace"], None)
        source = {"measurement": source.get("measurement"), **namespace}
    texts = [source.get(name) for name in ("measurement", "database", "retentionPolicy")]
    if not all(isinstance(text, str) and text for text in texts):
        raise RefusedError(400)
    return str(texts[0]), str(texts[1]), str(texts[2])


def _time_ms(value: Any) -> int:
    if type(value) is int:
        return value
    found = _ISO.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise RefusedError(400)
    try:
        at_ms = to_ms(datetime.fromisoformat(found[1] + found[3]))
    except ValueError as error:
        raise RefusedError(400) from error
    return at_ms + int(float(found[2] or 0) * 1000)
