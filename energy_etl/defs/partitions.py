"""Daily UTC partitions of everything that is made of readings, and the span of a run.

Snapshots (what a vendor gives relative to now) are unpartitioned: a backfill of the past must
never file today's answer under an old date.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import dagster as dg

# Readings older than this are loaded by moving the date; a partition costs nothing until it runs.
FIRST_ON: Final = date(2015, 1, 1)
# `end_offset`: today's partition exists while today is still running.
DAYS: Final = dg.DailyPartitionsDefinition(start_date=FIRST_ON.isoformat(), end_offset=1)
# One run per partition costs 4 to 10 s each, batches of 31 cost 0.3 s per partition.
BATCHES: Final = dg.BackfillPolicy.multi_run(max_partitions_per_run=31)
ALWAYS: Final = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))


def span_tags(first_on: date, last_on: date) -> dict[str, str]:
    """Return the run tags that make one run of the days `first_on` to `last_on`, both included."""
    return {
        "dagster/asset_partition_range_start": first_on.isoformat(),
        "dagster/asset_partition_range_end": last_on.isoformat(),
    }


# Runs of a schedule begin where the last answer ended, however long ago that was.
CATCH_UP_TAG: Final = "energy_etl/catch_up"
HOURLY: Final = "hourly"
DAILY: Final = "daily"
# A batch is fetched from before its start, so that its first interval has a predecessor.
LOOKBACK: Final = timedelta(hours=2)
CHANGED_TAG: Final = "energy_etl/changed"


def changed_tags(today_on: date) -> dict[str, str]:
    """Return the run tags of a computation of what changed."""
    return {CHANGED_TAG: "all", "dagster/partition": today_on.isoformat()}


def is_by_hand(context: dg.AssetExecutionContext) -> bool:
    """True when a person or a backfill asked for the run's partitions, False for what changed.

    A run for what changed carries one partition only, today's: Dagster plans every partition of a
    range for each unpartitioned table of the run too (2,100 events for 100 days), and a run
    without any cannot hold two partitioned tables of which one feeds the other.
    """
    return CHANGED_TAG not in context.run.tags


def day_bounds(key: str) -> tuple[datetime, datetime]:
    """Return [start, end) of a partition as UTC instants."""
    start_at = datetime.combine(date.fromisoformat(key), time(), UTC)
    return start_at, start_at + timedelta(days=1)


def keys_span(keys: list[str]) -> tuple[datetime, datetime]:
    """Return [start, end) of a run's partitions: one stretch, fetched as one range."""
    return day_bounds(min(keys))[0], day_bounds(max(keys))[1]


def tagged_span(tags: dict[str, str]) -> tuple[datetime, datetime] | None:
    """Return [start, end) of the partitions a run's tags name, None when they name none."""
    single = tags.get("dagster/partition")
    first = tags.get("dagster/asset_partition_range_start", single)
    last = tags.get("dagster/asset_partition_range_end", single)
    return keys_span([first, last]) if first and last else None
