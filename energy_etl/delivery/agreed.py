"""What was agreed for every stream, from the portfolio: the plans that delivery works with.

Whoever fills, releases, watches or shows streams asks here, with and without Dagster.
"""

from datetime import timedelta

from energy_etl.delivery.plan import StreamPlan
from energy_etl.portfolio import Portfolio
from energy_etl.tables import core, push


def stream_plans(portfolio: Portfolio) -> list[StreamPlan]:
    """Return what was agreed for each stream of the portfolio."""
    gaps: dict[str, list] = {}
    for row in portfolio.frames[core.GAP].iter_rows(named=True):
        gaps.setdefault(row["register_id"], []).append((row["from_at"], row["to_at"]))
    feeding: dict[str, list[str]] = {}
    for table in (push.STREAM, push.STREAM_FIELD):
        for row in portfolio.frames[table].iter_rows(named=True):
            if row["register_id"] is not None:
                feeding.setdefault(row["stream_id"], []).append(row["register_id"])
    return [
        StreamPlan(
            stream_id=row["stream_id"],
            interval=timedelta(minutes=row["interval_minutes"]),
            push_from_at=row["push_from_at"],
            credential=row["credential"],
            register_ids=frozenset(feeding.get(row["stream_id"], ())),
            # Of the register of the first field: a packet may do without the others.
            declared_missing=tuple(gaps.get(row["register_id"], ())),
            sends_estimates=row["estimates"] == "send",
            is_historical=row["is_historical"],
        )
        for row in portfolio.frames[push.STREAM].iter_rows(named=True)
    ]
