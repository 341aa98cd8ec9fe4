"""Which telemetry to ask for, in which pieces, and how fast.

A device's `nodeInfluxSeries` says where each of its fields is kept. Each field is a query of its
own: one bad field fails a query that groups several, and since up to 1000 queries go in one call,
grouping would save no round trip. Every query has both time bounds.

The vendor counts cost by a formula that is not public. What a call will cost is estimated from the
rows that its windows could hold and from what earlier calls cost (`X-RateLimit-*`); a call waits
until the budget should allow it. One that costs more than the whole budget (422) is halved, by its
queries or by its window, and never sent again as it was.
"""

import json
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from energy_etl.errors import BadRequestError, ConfigurationError, EnergyEtlError, NotFoundError
from energy_etl.rest import Answer, FetchReport, Job, Progress, fetch_all
from energy_etl.vendors.smartgridone.client import SmartgridOneClient

# Seconds between two rows of a retention policy, at the closest.
STEP_S: Final[Mapping[str, float]] = {"rp_one_s": 1.0, "rp_one_m": 60.0, "rp_ten_m": 600.0}
_UNKNOWN_STEP_S: Final = 60.0
_SHORTEST: Final = timedelta(minutes=1)
_TOO_COSTLY: Final = 422
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True)
class FieldWindow:
    """One field of a device within [from_at, to_at).

    Attributes:
        subject: what people call it (our register), for reports.
    """

    node_id: str
    field: str
    from_at: datetime
    to_at: datetime
    subject: str

    @classmethod
    def of_vendor_id(
        cls, vendor_id: str, from_at: datetime, to_at: datetime, subject: str
    ) -> "FieldWindow":
        """Take the portfolio's `<nodeId>/<field>` apart.

        Raises:
            ConfigurationError: there is no slash between two names.
        """
        node_id, slash, field = vendor_id.rpartition("/")
        if not slash or not node_id or not field:
            raise ConfigurationError(
                f"register_id_smartgridone {vendor_id!r} of {subject} is not <nodeId>/<field>: "
                "correct it in registers.csv."
            )
        return cls(node_id, field, from_at, to_at, subject)


@dataclass(frozen=True)
class Place:
    """Where a field of a device is kept."""

    measurement: str
    database: str
    retention_policy: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Query:
    """One piece of a window: one statement of a call."""

    window: FieldWindow
    window_id: str
    place: Place
    from_at: datetime
    to_at: datetime

    @property
    def n_rows(self) -> int:
        """Rows that the policy could hold in the piece."""
        step_s = STEP_S.get(self.place.retention_policy, _UNKNOWN_STEP_S)
        return max(1, math.ceil((self.to_at - self.from_at).total_seconds() / step_s))

    def statement(self) -> dict[str, Any]:
        """Return what is sent."""
        place = self.place
        return {
            "select": [self.window.field],
            "from": {
                "measurement": place.measurement,
                "database": place.database,
                "retentionPolicy": place.retention_policy,
            },
            "where": {
                "time": [
                    {"operator": ">=", "value": _to_ms(self.from_at)},
                    {"operator": "<", "value": _to_ms(self.to_at)},
                ],
                "tags": dict(place.tags),
            },
            "orderBy": "ASC",
        }

    def about(self) -> dict[str, str]:
        """Return what the answer is read by; kept with the call (`pages.ASKED`)."""
        window = self.window
        return {
            "subject": window.subject,
            "node_id": window.node_id,
            "field": window.field,
            "measurement": self.place.measurement,
            "retention_policy": self.place.retention_policy,
            "window": self.window_id,
            "window_from_at": window.from_at.isoformat(),
            "window_to_at": window.to_at.isoformat(),
            "from_at": self.from_at.isoformat(),
            "to_at": self.to_at.isoformat(),
        }

    def halves(self) -> "tuple[Query, Query] | None":
        """Return the two halves of the piece; None when it is too short for that."""
        if self.to_at - self.from_at < 2 * _SHORTEST:
            return None
        n_ms = (_to_ms(self.to_at) - _to_ms(self.from_at)) // 2
        middle_at = self.from_at + n_ms * _MILLISECOND
        return replace(self, to_at=middle_at), replace(self, from_at=middle_at)


def choose_place(series: pl.DataFrame, window: FieldWindow, preferred: Sequence[str]) -> Place:
    """Return where a field is read: the first of the preferred policies that has it.

    Args:
        series: rows of smartgridone.series that are in force.
        window: whose field.
        preferred: retention policies, the best first.

    Raises:
        NotFoundError: the device, the field or such a policy is not listed.
    """
    named = f"{window.subject} ({window.node_id}/{window.field})"
    mine = series.filter(pl.col("node_id_smartgridone") == window.node_id)
    if mine.is_empty():
        raise NotFoundError(
            f"smartgridone lists no series of the device of {named}: check "
            "register_id_smartgridone in registers.csv and that the account sees the device."
        )
    holding = mine.filter(pl.col("fields").list.contains(window.field))
    if holding.is_empty():
        raise NotFoundError(
            f"smartgridone lists the device of {named} without that field: check "
            "register_id_smartgridone in registers.csv."
        )
    for policy in preferred:
        for row in holding.filter(retention_policy=policy).iter_rows(named=True):
            # Several devices share a measurement: without a tag their values would be mixed.
            tags = {k: v for k, v in json.loads(row["tags"]).items() if isinstance(v, str)}
            tags = tags or {"nodeId": window.node_id}
            return Place(row["measurement"], row["database_name"], policy, tags)
    kept = ", ".join(holding["retention_policy"].unique().sort())
    raise NotFoundError(
        f"smartgridone keeps {named} under {kept} only: add it to "
        "smartgridone.retention_policies in the settings."
    )


def cut(window: FieldWindow, place: Place, rows_per_statement: int) -> list[Query]:
    """Cut a window into pieces of at most so many rows; both bounds are whole milliseconds."""
    from_at = _EPOCH + _to_ms(window.from_at) * _MILLISECOND
    # Rounded up: an instant with microseconds must not lose its last millisecond.
    to_at = _EPOCH - ((_EPOCH - window.to_at) // _MILLISECOND) * _MILLISECOND
    whole = replace(window, from_at=from_at, to_at=to_at)
    query = Query(whole, uuid.uuid4().hex, place, from_at, to_at)
    n_pieces = math.ceil(query.n_rows / rows_per_statement)
    step = (to_at - from_at) / n_pieces
    step = max(math.ceil(step / _MILLISECOND), 1) * _MILLISECOND
    pieces: list[Query] = []
    while from_at < to_at:
        pieces.append(replace(query, from_at=from_at, to_at=min(from_at + step, to_at)))
        from_at += step
    return pieces


def in_calls(
    queries: Iterable[Query], *, statements_per_call: int, rows_per_call: int
) -> Iterator[list[Query]]:
    """Put queries together into calls, in order."""
    call: list[Query] = []
    n_rows = 0
    for query in queries:
        if call and (len(call) >= statements_per_call or n_rows + query.n_rows > rows_per_call):
            yield call
            call, n_rows = [], 0
        call.append(query)
        n_rows += query.n_rows
    if call:
        yield call


class Pacer:
    """What is left of the vendor's budget, as its answers tell; safe to share between threads."""

    def __init__(
        self,
        *,
        minute_s: float = 60.0,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Know nothing yet: the first call waits for nothing.

        Args:
            minute_s: the time in which a whole budget comes back.
            now_s: seconds that only grow.
            sleep: how to wait.
        """
        self._minute_s = minute_s
        self._now_s = now_s
        self._sleep = sleep
        self._lock = threading.Lock()
        self._budget = math.inf
        self._left = math.inf
        self._left_at_s = now_s()
        self._in_flight = 0.0
        self._cost_per_row = 0.0
        self.most_rows = math.inf

    def reserve(self, n_rows: int) -> float:
        """Wait until a call of so many rows should find its cost in the budget; return the cost."""
        with self._lock:
            now_s = self._now_s()
            cost = min(self._cost_per_row * n_rows, self._budget)
            wait_s = 0.0
            if math.isfinite(self._budget):
                per_s = self._budget / self._minute_s
                self._left = min(self._left + (now_s - self._left_at_s) * per_s, self._budget)
                self._left_at_s = now_s
                self._left -= cost
                self._in_flight += cost
                wait_s = max(0.0, -self._left / per_s)
        if wait_s > 0:
            self._sleep(wait_s)
        return cost

    def settle(self, reserved: float, answer: Answer | None = None, n_rows: int = 1) -> None:
        """Read what a call did cost and what is left; without an answer nothing was learnt."""
        with self._lock:
            self._in_flight = max(0.0, self._in_flight - reserved)
            cost, left, used = (
                _number(answer.headers.get(f"x-ratelimit-{name}")) if answer else None
                for name in ("cost", "remaining", "used")
            )
            if cost is None or left is None or used is None or left + used <= 0:
                return
            self._budget = left + used
            self._left = left - self._in_flight
            self._left_at_s = self._now_s()
            # Falls slowly: after a cheap call the next one may cost as before.
            self._cost_per_row = max(0.5 * self._cost_per_row, cost / n_rows)

    def refused(self, n_rows: int) -> None:
        """Remember a call that costs more than the whole budget: none as large is made again."""
        with self._lock:
            self.most_rows = min(self.most_rows, max(n_rows // 2, 1))


def fetch_telemetry(
    client: SmartgridOneClient,
    windows: Sequence[FieldWindow],
    series: pl.DataFrame,
    *,
    pacer: Pacer | None = None,
    progress: Progress | None = None,
) -> FetchReport:
    """Fetch many windows; the report names registers (`FieldWindow.subject`).

    A register whose query failed alone (HTTP 200 with an error of its own) is a problem of the
    batch that `rows.to_batch` makes, not a failure here.

    Args:
        client: asked with `max_parallel` calls at once.
        windows: one range per register.
        series: rows of smartgridone.series that are in force.
        pacer: keeps within the vendor's budget; a new one when None.
        progress: called with (finished, all) of the calls.
    """
    settings = client.settings
    pace = pacer or Pacer()
    report = FetchReport()
    queries: list[Query] = []
    for window in windows:
        try:
            place = choose_place(series, window, settings.retention_policies)
        except NotFoundError as error:
            report.failures[window.subject] = error
        else:
            queries += cut(window, place, settings.rows_per_statement)
    calls = list(
        in_calls(
            queries,
            statements_per_call=settings.statements_per_call,
            rows_per_call=settings.rows_per_call,
        )
    )
    names = {_name_of(number, call): call for number, call in enumerate(calls, start=1)}
    jobs = [Job(name, lambda call=call: _fetch(client, pace, call)) for name, call in names.items()]
    inner = fetch_all(jobs, max_parallel=settings.max_parallel, progress=progress)
    _tell_by_register(report, inner, names)
    return report


def _tell_by_register(
    report: FetchReport, inner: FetchReport, names: Mapping[str, Sequence[Query]]
) -> None:
    """Turn what became of calls into what became of registers; one failed piece fails all of it."""
    report.stopped_by = inner.stopped_by
    skipped: dict[str, None] = {}
    for name, call in names.items():
        error = inner.failures.get(name)
        for query in call:
            subject = query.window.subject
            if isinstance(error, EnergyEtlError):
                report.failures.setdefault(subject, error)
                report.groups.setdefault(subject, name)
            elif name in inner.skipped:
                skipped[subject] = None
    report.skipped += [subject for subject in skipped if subject not in report.failures]
    asked = dict.fromkeys(query.window.subject for call in names.values() for query in call)
    report.done += [s for s in asked if s not in report.failures and s not in skipped]


def _fetch(client: SmartgridOneClient, pacer: Pacer, queries: Sequence[Query]) -> None:
    n_rows = sum(query.n_rows for query in queries)
    halves = _halves(queries)
    if n_rows > pacer.most_rows and halves is not None:
        for half in halves:
            _fetch(client, pacer, half)
        return
    reserved = pacer.reserve(n_rows)
    answer = None
    try:
        answer = client.fetch_telemetry(
            [query.statement() for query in queries],
            params={"statements": [query.about() for query in queries]},
        )
    except BadRequestError as error:
        if error.status != _TOO_COSTLY or halves is None:
            raise
        pacer.refused(n_rows)
    finally:
        pacer.settle(reserved, answer, n_rows)
    for half in halves if answer is None and halves else ():
        _fetch(client, pacer, half)


def _halves(queries: Sequence[Query]) -> tuple[Sequence[Query], Sequence[Query]] | None:
    if len(queries) > 1:
        middle = len(queries) // 2
        return queries[:middle], queries[middle:]
    halves = queries[0].halves()
    return None if halves is None else ([halves[0]], [halves[1]])


def _name_of(number: int, call: Sequence[Query]) -> str:
    subjects = list(dict.fromkeys(query.window.subject for query in call))
    more = f" and {len(subjects) - 1} more" if len(subjects) > 1 else ""
    return f"telemetry call {number} ({subjects[0]}{more})"


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _to_ms(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND
