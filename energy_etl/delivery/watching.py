"""What is watched of each stream: lag, holes and spacing of what the vendor accepted.

A vendor takes a missing packet for broken communication, so the holes are those between packets
that were accepted, whatever the outbox still holds. Everything is computed anew from the outbox,
about 0.7 s per million packets; `lags` alone reads one row per stream.

Not here: whether a number is good or bad (checks and findings), what is done about it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import polars as pl

from energy_etl.delivery.outbox import Outbox, ms_to_instant
from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.schema import HOLD_REASON, REASONS
from energy_etl.state import instant_to_us, us_to_instant
from energy_etl.tables.push import HOLE, STREAM_STATUS

N_SPACINGS: Final = 200
_US: Final = pl.Datetime("us", "UTC")
_STATES: Final = ("sent", "confirmed", "pending", "held", "rejected", "superseded", "dropped")
_STREAMS: Final = """SELECT stream_id, last_sent_ms, last_confirmed_ms, wait_reason, failure,
    retry_us, parked_reason, parked_us FROM stream ORDER BY stream_id"""
_COUNTS: Final = "SELECT stream_id, state, count(*) FROM packet GROUP BY state, stream_id"
# As one text and not as rows: half the time, and every packet counts.
_ACCEPTED: Final = """SELECT json_group_array(stamped_ms) FROM packet
    WHERE state IN ('sent', 'confirmed', 'superseded') AND stream_id = ?"""
# Without the hint SQLite goes through all that was ever sent of the stream to the first one held.
_OLDEST_HELD: Final = " ".join(
    (
        "SELECT",
        HOLD_REASON,
        "FROM packet INDEXED BY packet_by_state JOIN stream USING (stream_id) WHERE state = 'held' "
        "AND stream_id = :stream_id ORDER BY stamped_ms LIMIT 1",
    )
)


@dataclass(frozen=True)
class Watched:
    """The columns of push.stream_status and of push.hole, by stream (and stamp)."""

    status: pl.DataFrame
    holes: pl.DataFrame


def watch(outbox: Outbox, plans: Iterable[StreamPlan] = (), now: datetime | None = None) -> Watched:
    """Return where each stream stands.

    Args:
        outbox: the packets.
        plans: what was agreed; a stream that is not among them has no lag and no holes.
        now: when; default the clock.
    """
    now_us = instant_to_us(now or datetime.now(UTC))
    by_stream = {plan.stream_id: plan for plan in plans}
    counts = _counts(outbox)
    statuses, holes = [], []
    for row in outbox.connection.execute(_STREAMS).fetchall():
        stream_id, last_ms, confirmed_ms, wait_reason, failure, retry_us, parked, parked_us = row
        n = counts.get(stream_id, {})
        plan = by_stream.get(stream_id)
        stamps = _accepted(outbox, stream_id)
        found = _holes(stamps, plan) if plan else []
        holes += [(stream_id, *hole) for hole in found]
        step_minutes = None if plan is None else plan.interval // timedelta(minutes=1)
        statuses.append(
            {
                "stream_id": stream_id,
                **{f"n_{state}": n.get(state, 0) for state in _STATES},
                "first_sent_at": stamps.first(),
                "last_sent_at": last_ms,
                "last_confirmed_at": confirmed_ms,
                "lag_minutes": _lag_minutes(plan, last_ms, now_us),
                "n_holes": len(found),
                "n_missing": sum(hole[2] for hole in found),
                "interval_minutes": step_minutes,
                "spacing_minutes": _spacing_minutes(stamps),
                "hold_reason": wait_reason or _oldest_reason(outbox, stream_id)
                if n.get("held")
                else None,
                "failure": failure,
                "retry_at": retry_us if retry_us and retry_us > now_us and not parked else None,
                "parked_reason": parked,
                "parked_at": parked_us,
            }
        )
    return Watched(_status_frame(statuses), _hole_frame(holes))


def status_frame(
    outbox: Outbox, plans: Iterable[StreamPlan] = (), now: datetime | None = None
) -> pl.DataFrame:
    """Return one row per stream in the columns of push.stream_status (`watch`)."""
    return watch(outbox, plans, now).status


def hole_frame(outbox: Outbox, plans: Iterable[StreamPlan]) -> pl.DataFrame:
    """Return one row per hole in the columns of push.hole (`watch`)."""
    return watch(outbox, plans).holes


def lags(
    outbox: Outbox, plans: Iterable[StreamPlan], now: datetime
) -> Mapping[str, timedelta | None]:
    """Return how long the next packet of each stream is overdue; None: nothing was sent yet.

    Reads one row per stream, for sensors.
    """
    last = {state.stream_id: state.last_sent_ms for state in outbox.streams()}
    found = {
        plan.stream_id: _lag_minutes(plan, last.get(plan.stream_id), instant_to_us(now))
        for plan in plans
    }
    return {s: None if lag is None else timedelta(minutes=lag) for s, lag in found.items()}


def last_accepted(outbox: Outbox) -> dict[str, datetime]:
    """Return when the newest packet of each stream was accepted; streams without one are absent."""
    rows = outbox.connection.execute(
        "SELECT stream_id, max(sent_us) FROM packet WHERE sent_us IS NOT NULL GROUP BY stream_id"
    )
    return {stream_id: us_to_instant(sent_us) for stream_id, sent_us in rows.fetchall()}


def _counts(outbox: Outbox) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for stream_id, state, n in outbox.connection.execute(_COUNTS):
        counts.setdefault(stream_id, {})[state] = n
    return counts


def _accepted(outbox: Outbox, stream_id: str) -> pl.Series:
    """Return the stamps of what the vendor accepted, in milliseconds, sorted."""
    text = outbox.connection.execute(_ACCEPTED, (stream_id,)).fetchone()[0]
    return pl.Series([text]).str.json_decode(pl.List(pl.Int64)).explode().drop_nulls().sort()


def _oldest_reason(outbox: Outbox, stream_id: str) -> str:
    arguments = {**REASONS, "stream_id": stream_id}
    return outbox.connection.execute(_OLDEST_HELD, arguments).fetchone()[0]


def _lag_minutes(plan: StreamPlan | None, last_ms: int | None, now_us: int) -> float | None:
    if plan is None or last_ms is None:
        return None
    late = timedelta(microseconds=now_us - last_ms * 1000) - plan.interval
    return max(late, timedelta(0)) / timedelta(minutes=1)


def _spacing_minutes(stamps: pl.Series) -> float | None:
    median_ms = stamps.tail(N_SPACINGS + 1).diff().median()
    return median_ms / 60_000 if isinstance(median_ms, float) else None


def _holes(stamps: pl.Series, plan: StreamPlan) -> list[tuple[int, int, int, bool]]:
    """Return (after_ms, before_ms, n_missing, is_declared) of the stretches without packets.

    A packet that comes somewhat early or late leaves none: spacing is judged by itself.
    """
    step_ms = plan.interval // timedelta(milliseconds=1)
    frame = pl.DataFrame({"after_ms": stamps.shift(), "before_ms": stamps}).with_columns(
        n_missing=((pl.col("before_ms") - pl.col("after_ms")) / step_ms).round().cast(pl.Int64) - 1
    )
    return [
        (after_ms, before_ms, n, plan.declares_missing(after_ms + step_ms, before_ms))
        for after_ms, before_ms, n in frame.filter(pl.col("n_missing") > 0).rows()
    ]


def _status_frame(rows: list[dict]) -> pl.DataFrame:
    stamps = ("first_sent_at", "last_sent_at", "last_confirmed_at")
    ours = ("retry_at", "parked_at")
    schema = {**STREAM_STATUS.polars_schema, **dict.fromkeys((*stamps, *ours), pl.Int64())}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(
        *(ms_to_instant(name) for name in stamps), pl.col(ours).cast(_US)
    ).select(STREAM_STATUS.polars_schema.names())


def _hole_frame(rows: list[tuple]) -> pl.DataFrame:
    instants = ("after_at", "before_at")
    schema = {**HOLE.polars_schema, **dict.fromkeys(instants, pl.Int64())}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(ms_to_instant(name) for name in instants)
