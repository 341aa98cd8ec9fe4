"""Whether what was agreed with Wattics is delivered: findings, and checks of push/stream_status.

The checks are no `CHECKS`: those run in a step of their own, which Dagster skips when the sending
failed, and then they matter most. `defs/assets/push.py` judges them with each send and each look.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.defs.marts import found
from energy_etl.tables import Check, Frames, Query, Verdict, push
from energy_etl.transform.delivery import (
    compute_delivery_findings,
    is_irregular,
    is_lagging,
    is_stopped,
    only_fed_by_registers,
    told_together,
    why_late,
    why_stopped,
)

_SHOWN: Final = 5
# The newest stamp that still came as agreed, of those streams only that do not any more.
SPACING_SINCE: Final = Query(
    "spacing_since",
    """
    WITH irregular AS (
        SELECT stream_id, interval_minutes FROM push.stream_status
        WHERE abs(spacing_minutes - interval_minutes) > 0.05 * interval_minutes),
    spaced AS (
        SELECT stream_id, interval_minutes, stamped_at, epoch(stamped_at - lag(stamped_at) OVER (
            PARTITION BY stream_id ORDER BY stamped_at)) / 60 AS minutes
        FROM push.packet JOIN irregular USING (stream_id)
        WHERE state IN ('sent', 'confirmed', 'superseded'))
    SELECT stream_id, coalesce(
        max(stamped_at) FILTER (abs(minutes - interval_minutes) <= 0.05 * interval_minutes),
        min(stamped_at)) AS since_at
    FROM spaced GROUP BY stream_id
    """,
    (push.PACKET, push.STREAM_STATUS),
)


def _delivered(frames: Frames, now: datetime) -> Verdict:
    del now
    status = frames[push.STREAM_STATUS.full_name]
    stopped = status.filter(is_stopped())
    told = _told(told_together((row["stream_id"], why_stopped(row)) for row in stopped.to_dicts()))
    return Verdict(
        stopped.is_empty(),
        {
            "n_streams": status.height,
            "n_parked": status["parked_reason"].count(),
            "n_rejected": int(status["n_rejected"].sum()),
            "n_trying_again": status["retry_at"].count(),
        },
        f"Streams that wait for somebody to act: {stopped.height}. {told} Mend the cause, then run "
        "`energy-etl outbox retry --all` or launch the job `retry_deliveries`; "
        "`energy-etl outbox list` shows the packets, `outbox drop` gives refused ones up.",
    )


def _lag(frames: Frames, now: datetime) -> Verdict:
    del now
    status = only_fed_by_registers(
        frames[push.STREAM_STATUS.full_name], frames[push.STREAM.full_name]
    )
    late = status.filter(is_lagging()).sort("lag_minutes", descending=True)
    told = _told(_late_sentence(row) for row in late.to_dicts())
    longest = status["lag_minutes"].max()
    return Verdict(
        late.is_empty(),
        {
            "n_streams": status.height,
            "n_lagging": late.height,
            "n_never_sent": late["last_sent_at"].null_count(),
            "longest_lag_minutes": round(float(longest), 1) if isinstance(longest, float) else 0,
        },
        f"Streams that lag: {late.height}. {told} Wattics reports broken communication: see what "
        "holds them with `energy-etl outbox status`, and the last run of their vendor's "
        "extraction.",
    )


def _late_sentence(row: dict) -> str:
    what = "overdue" if row["last_sent_at"] else "overdue and nothing was ever sent"
    return f"{row['stream_id']}: {row['lag_minutes'] / 60:.1f} h {what}, {why_late(row)}."


def _spacing(frames: Frames, now: datetime) -> Verdict:
    del now
    status = frames[push.STREAM_STATUS.full_name]
    off = status.filter(is_irregular()).sort("stream_id")
    told = _told(
        f"{row['stream_id']}: {row['spacing_minutes']:g} instead of {row['interval_minutes']} min."
        for row in off.to_dicts()
    )
    return Verdict(
        off.is_empty(),
        {"n_streams": status["spacing_minutes"].count(), "n_irregular": off.height},
        f"Streams not spaced as agreed: {off.height}. {told} The message to send to Wattics "
        "is in mart.finding (kind stream_spacing).",
    )


def _holes(frames: Frames, now: datetime) -> Verdict:
    del now
    holes = frames[push.HOLE.full_name].filter(~pl.col("is_declared"))
    per_stream = holes.group_by("stream_id").agg(pl.col("n_missing").sum()).sort("stream_id")
    told = _told(f"{stream_id}: {n} missing." for stream_id, n in per_stream.rows())
    return Verdict(
        holes.is_empty(),
        {"n_holes": holes.height, "n_missing": int(holes["n_missing"].sum())},
        f"Streams with holes between accepted packets: {per_stream.height}. {told} The stretches "
        "and what to do are in push.hole and mart.finding (kind stream_holes).",
    )


def _told(sentences: Iterable[str]) -> str:
    known = list(sentences)
    more = f" And {len(known) - _SHOWN} more." if len(known) > _SHOWN else ""
    return " ".join(known[:_SHOWN]) + more


FINDINGS: Final = (found(compute_delivery_findings, push.STREAM_STATUS, push.HOLE, SPACING_SINCE),)
DELIVERED: Final = Check(
    push.STREAM_STATUS,
    "delivered",
    "No stream is parked and no packet was refused: both wait until somebody acts.",
    (push.STREAM_STATUS,),
    _delivered,
)
LAG: Final = Check(
    push.STREAM_STATUS,
    "lag",
    "No stream's next packet is overdue by more than one interval and 90 minutes, and its first "
    "one by no more than a day besides.",
    (push.STREAM_STATUS, push.STREAM),
    _lag,
)
DELIVERY_CHECKS: Final = (
    DELIVERED,
    LAG,
    Check(
        push.STREAM_STATUS,
        "spacing",
        "The median spacing of each stream's newest packets is within 5 % of the agreed interval.",
        (push.STREAM_STATUS,),
        _spacing,
    ),
    Check(
        push.STREAM_STATUS,
        "holes",
        "Between accepted packets none is missing but where gaps.csv declares it.",
        (push.HOLE,),
        _holes,
    ),
)
