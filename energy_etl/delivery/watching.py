"""What is watched of each stream: lag, holes and spacing of what the vendor accepted.

A vendor takes a missing packet for broken communication, so the holes are those between packets
that were accepted, whatever the outbox still holds. Everything is computed anew from the outbox,
about 0.7 s per million packets; `lags` alone reads a row or two per stream. A stream of which
nothing was ever sent is watched too, from the moment that it is in streams.csv.

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
from energy_etl.state import instant_to_us, transaction, us_to_instant
from energy_etl.tables.push import HOLE, STREAM_STATUS

N_SPACINGS: Final = 200
_US: Final = pl.Datetime("us", "UTC")
_STATES: Final = ("sent", "confirmed", "pending", "held", "rejected", "superseded", "dropped")
_STREAMS: Final = """SELECT stream_id, last_sent_ms, last_confirmed_ms, wait_reason, failure,
    retry_us, parked_reason, parked_us FROM stream"""
_SINCE: Final = "SELECT stream_id, since_us / 1000 FROM watched"
# Of what was never sent: its first packet, and whether it just waits for the next send run.
_LAST_SENT: Final = """SELECT stream_id, last_sent_ms, iif(last_sent_ms IS NULL,
    (SELECT min(stamped_ms) FROM packet WHERE packet.stream_id = stream.stream_id), NULL),
    last_sent_ms IS NULL AND failure IS NULL AND parked_reason IS NULL AND EXISTS
    (SELECT 1 FROM packet WHERE state = 'pending' AND packet.stream_id = stream.stream_id)
    FROM stream"""
_COUNTS: Final = "SELECT stream_id, state, count(*) FROM packet GROUP BY state, stream_id"
# In order, so the newest one sent was accepted last; but for those that take older ones after it.
_ACCEPTED_LAST: Final = """SELECT stream_id, iif(is_historical,
    (SELECT max(sent_us) FROM packet WHERE packet.stream_id = stream.stream_id),
    (SELECT sent_us FROM packet WHERE packet.stream_id = stream.stream_id AND sent_us IS NOT NULL
        AND stamped_ms <= last_sent_ms ORDER BY stamped_ms DESC LIMIT 1)) FROM stream"""
# As one text and not as rows: half the time, and every packet counts.
_ACCEPTED: Final = """SELECT json_group_array(stamped_ms) FROM packet
    WHERE state IN ('sent', 'confirmed', 'superseded') AND stream_id = ?"""
_NEVER_FILLED: Final = "no packet was made of it yet"
_NO_FILE: Final = "no file was pushed yet"
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
    """Return where each stream stands, also those of which there is no packet yet.

    Args:
        outbox: the packets.
        plans: what was agreed; a stream that is not among them has no lag and no holes.
        now: when; default the clock.
    """
    now = now or datetime.now(UTC)
    now_us = instant_to_us(now)
    by_stream = {plan.stream_id: plan for plan in plans}
    counts = _counts(outbox)
    overdue = dict(lags(outbox, by_stream.values(), now)["stream_id", "lag_minutes"].iter_rows())
    streams: dict[str, tuple] = dict.fromkeys(by_stream, (None,) * 7)
    for stream_id, *row in outbox.connection.execute(_STREAMS):
        streams[stream_id] = tuple(row)
    statuses, holes = [], []
    for stream_id, row in sorted(streams.items()):
        last_ms, confirmed_ms, wait_reason, failure, retry_us, parked, parked_us = row
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
                "lag_minutes": overdue.get(stream_id),
                "n_holes": len(found),
                "n_missing": sum(hole[2] for hole in found),
                "interval_minutes": step_minutes,
                "spacing_minutes": _spacing_minutes(stamps),
                "hold_reason": _hold_reason(outbox, stream_id, plan, n, wait_reason),
                "failure": failure,
                "retry_at": retry_us if retry_us and retry_us > now_us and not parked else None,
                "parked_reason": parked,
                "parked_at": parked_us,
            }
        )
    return Watched(_status_frame(statuses), _hole_frame(holes))


def note_watched(outbox: Outbox, plans: Iterable[StreamPlan], now: datetime) -> None:
    """Note the streams that are shown for the first time."""
    rows = [(plan.stream_id, instant_to_us(now)) for plan in plans]
    with transaction(outbox.connection) as connection:
        connection.executemany("INSERT OR IGNORE INTO watched VALUES (?, ?)", rows)


def status_frame(
    outbox: Outbox, plans: Iterable[StreamPlan] = (), now: datetime | None = None
) -> pl.DataFrame:
    """Return one row per stream in the columns of push.stream_status (`watch`)."""
    return watch(outbox, plans, now).status


def lags(outbox: Outbox, plans: Iterable[StreamPlan], now: datetime) -> pl.DataFrame:
    """Return how long the next packet of each stream is overdue; a row or two are read of each.

    Of a stream that was never sent the first packet is awaited since the end of its first interval
    (behind push_from_at, or that of the first packet there is), or since the stream was shown
    first, whichever is latest: a new project with a year to load is not late. Nothing is awaited
    while packets just wait for a send run, nor of a stream that files feed.

    Returns:
        stream_id, interval_minutes, lag_minutes (null: nothing is awaited), last_sent_at (null:
        nothing was ever sent); one row per plan.
    """
    now_ms = instant_to_us(now) // 1000
    since = dict(outbox.connection.execute(_SINCE).fetchall())
    known = {row[0]: row[1:] for row in outbox.connection.execute(_LAST_SENT)}
    rows = []
    for plan in plans:
        last_ms, first_ms, is_about_to_go = known.get(plan.stream_id, (None, None, False))
        step_ms = plan.interval // timedelta(milliseconds=1)
        due_ms = None
        if last_ms is not None:
            due_ms = last_ms + step_ms
        elif plan.register_ids and not is_about_to_go and plan.stream_id in since:
            first_stamps_ms = [ms for ms in (plan.first_stamp_ms(), first_ms) if ms is not None]
            due_ms = max((*first_stamps_ms, since[plan.stream_id])) if first_stamps_ms else None
        lag_minutes = None if due_ms is None else max(now_ms - due_ms, 0) / 60_000
        rows.append((plan.stream_id, step_ms // 60_000, lag_minutes, last_ms))
    columns = ("stream_id", "interval_minutes", "lag_minutes", "last_sent_at")
    schema = {name: STREAM_STATUS.polars_schema[name] for name in columns}
    frame = pl.DataFrame(rows, schema={**schema, "last_sent_at": pl.Int64()}, orient="row")
    return frame.with_columns(ms_to_instant("last_sent_at"))


def last_accepted(outbox: Outbox) -> dict[str, datetime]:
    """Return when each stream's last packet was accepted; streams without one are absent."""
    rows = outbox.connection.execute(_ACCEPTED_LAST).fetchall()
    return {s: us_to_instant(sent_us) for s, sent_us in rows if sent_us is not None}


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


def _hold_reason(
    outbox: Outbox,
    stream_id: str,
    plan: StreamPlan | None,
    n: Mapping[str, int],
    wait_reason: str | None,
) -> str | None:
    if n.get("held"):
        return wait_reason or _oldest_reason(outbox, stream_id)
    if n or plan is None:
        return None
    return _NEVER_FILLED if plan.register_ids else _NO_FILE


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
