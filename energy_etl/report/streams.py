"""Delivery per stream: its condition, how old its newest packet is, its holes of a fortnight."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from energy_etl.report.sources import Frames

SHOWN_DAYS: Final = 14
# The worst first.
CONDITIONS: Final = ("stopped", "failing", "late", "waiting", "sending", "not begun", "ok")


@dataclass(frozen=True)
class Stream:
    """One stream, its spans for the strip, and in what condition it is."""

    stream_id: str
    site_id: str | None
    source: str
    condition: str
    reason: str
    n_accepted: int
    n_waiting: int
    n_rejected: int
    n_holes: int
    n_missing: int
    last_sent_at: datetime | None
    lag_minutes: float | None
    spans: list[tuple[datetime, datetime, str]]

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look."""
        return self.condition in ("stopped", "failing", "late") or self.n_holes > 0


def compute_streams(frames: Frames, now: datetime) -> list[Stream]:
    """Return every stream, the worst first.

    Args:
        frames: of `SOURCES`; `stream` with its `lag_minutes` as of now, and it may have
            `is_stopped` and `is_lagging` besides (by the rules of `transform/delivery.py`, which
            this layer does not see).
        now: aware; the right end of the strips.
    """
    names = {row["register_id"]: row for row in frames["register"].iter_rows(named=True)}
    holes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in frames["hole"].iter_rows(named=True):
        holes[row["stream_id"]].append(row)
    streams = []
    for row in frames["stream"].iter_rows(named=True):
        register = names.get(row["register_id"], {})
        source = register.get("meter_name") or row["register_id"] or "files"
        condition, reason = _condition(row)
        has_sent = row["lag_minutes"] is not None
        streams.append(
            Stream(
                row["stream_id"],
                register.get("site_id"),
                source,
                condition,
                reason,
                _sum(row, "n_sent", "n_confirmed", "n_superseded"),
                _sum(row, "n_pending", "n_held"),
                row["n_rejected"] or 0,
                row["n_holes"] or 0,
                row["n_missing"] or 0,
                row["last_sent_at"],
                max(0.0, row["lag_minutes"]) if row["register_id"] and has_sent else None,
                _spans(row, holes[row["stream_id"]], now),
            )
        )
    return sorted(
        streams,
        key=lambda each: (CONDITIONS.index(each.condition), -each.n_holes, each.stream_id),
    )


def _condition(row: dict[str, Any]) -> tuple[str, str]:
    if row.get("is_stopped"):
        refused = f"{row['n_rejected']} packets refused" if row["n_rejected"] else ""
        return "stopped", row["parked_reason"] or refused
    if row["failure"]:
        return "failing", row["failure"]
    if row.get("is_lagging"):
        return "late", row["hold_reason"] or "the next packet is overdue"
    if row["n_held"]:
        return "waiting", row["hold_reason"] or ""
    counts = ("n_sent", "n_confirmed", "n_superseded", "n_pending")
    if row["n_sent"] is None or not _sum(row, *counts):
        return "not begun", row["hold_reason"] or "nothing is in the outbox yet"
    return ("sending", "") if row["n_pending"] else ("ok", "")


def _sum(row: dict[str, Any], *names: str) -> int:
    return sum(row[name] or 0 for name in names)


def _spans(
    row: dict[str, Any], holes: list[dict[str, Any]], now: datetime
) -> list[tuple[datetime, datetime, str]]:
    first_at, last_at = row["first_sent_at"], row["last_sent_at"]
    if first_at is None or last_at is None:
        return []
    begin_at = now - timedelta(days=SHOWN_DAYS)
    interval = timedelta(minutes=row["interval_minutes"] or 0)
    spans, at = [], max(first_at - interval, begin_at)
    for hole in holes:
        if hole["before_at"] <= begin_at:
            continue
        spans.append((at, hole["after_at"], "sent"))
        what = "declared" if hole["is_declared"] else "hole"
        at = hole["before_at"] - interval
        spans.append((hole["after_at"], at, what))
    spans.append((at, last_at, "sent"))
    return [span for span in spans if span[0] < span[1]]
