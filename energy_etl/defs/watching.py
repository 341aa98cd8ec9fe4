"""How delivery stands, judged where it is known: in each run that sends or looks, by one sensor.

The checks of push/stream_status are judged by the step that sends, also when it fails in the end.
What was told last stands in `state.sqlite`, so that the sensor sees when it is not true any more:
a stream begins to lag when nothing runs, and a retry on the command line mends what is red.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from energy_etl.defs.checks import judged
from energy_etl.defs.marts.delivery import DELIVERED, DELIVERY_CHECKS
from energy_etl.defs.metadata import asset_key
from energy_etl.delivery.agreed import stream_plans
from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.watching import Watched, lags
from energy_etl.portfolio import Portfolio
from energy_etl.state import get_fact, set_fact
from energy_etl.tables import Frames, push
from energy_etl.transform.delivery import is_lagging

# Somebody who looks finds it told within the hour, and not fifty times when fifty streams stop.
TOLD_AGAIN_AFTER: Final = timedelta(hours=1)
TOLD_AT_MOST_EVERY: Final = timedelta(minutes=5)
_TOLD_FACT: Final = "delivery_told"

CHECK_SPECS: Final = [
    dg.AssetCheckSpec(each.name, asset=asset_key(each.table), description=each.description)
    for each in DELIVERY_CHECKS
]


@dataclass(frozen=True, slots=True)
class Told:
    """What the checks said last of single streams: `lagging a`, `stopped b`; and when."""

    lines: tuple[str, ...] = ()
    at: datetime | None = None


def frames_of(watched: Watched, portfolio: Portfolio) -> Frames:
    """Return what the checks look at, by full name."""
    return {
        push.STREAM.full_name: portfolio.frames[push.STREAM],
        push.STREAM_STATUS.full_name: watched.status,
        push.HOLE.full_name: watched.holes,
    }


def judge_delivery(frames: Frames, now: datetime) -> Iterator[dg.AssetCheckResult]:
    """Judge every check of push/stream_status."""
    for each in DELIVERY_CHECKS:
        # Lag and holes may end by themselves; what was refused never does.
        is_error = each is DELIVERED
        yield judged(each, frames, now)._replace(
            asset_key=asset_key(each.table),
            check_name=each.name,
            severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        )


def lines_of(outbox: Outbox, portfolio: Portfolio, now: datetime) -> tuple[str, ...]:
    """Return the streams that lag or are stopped, one line each, sorted; quick, for the sensor."""
    plans = [plan for plan in stream_plans(portfolio) if plan.register_ids]
    lagging = lags(outbox, plans, now).filter(is_lagging())["stream_id"]
    stopped = (
        each.stream_id
        for each in outbox.streams()
        if each.parked_reason is not None or outbox.count("rejected", each.stream_id)
    )
    return tuple(sorted([*(f"lagging {s}" for s in lagging), *(f"stopped {s}" for s in stopped)]))


def last_told(outbox: Outbox) -> Told:
    """Return what the checks said last."""
    fact = get_fact(outbox.connection, _TOLD_FACT)
    if fact is None:
        return Told()
    told = json.loads(fact)
    return Told(tuple(told["lines"]), datetime.fromisoformat(told["at"]))


def note_told(outbox: Outbox, lines: tuple[str, ...]) -> None:
    """Note what the checks say now."""
    told = {"lines": lines, "at": datetime.now(UTC).isoformat()}
    set_fact(outbox.connection, _TOLD_FACT, json.dumps(told))


def why_not_told(lines: tuple[str, ...], told: Told, now: datetime) -> str | None:
    """Return why there is nothing to tell now; None when there is.

    Args:
        lines: how it stands.
        told: what was told last.
        now: by the clock.
    """
    # A clock that was set back since must not silence this until it is that late again.
    told_at = told.at if told.at is not None and told.at <= now else None
    shown = ", ".join(lines[:5]) + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")
    if lines == told.lines:
        if not lines:
            return "No stream lags, none is stopped."
        if told_at is not None and now < told_at + TOLD_AGAIN_AFTER:
            return f"Told at {told_at:%H:%M} UTC, and again in an hour: {shown}."
    elif told_at is not None and now < told_at + TOLD_AT_MOST_EVERY:
        return (
            f"Told a moment ago, what changed is told in a few minutes: {shown or 'all is well'}."
        )
    return None
