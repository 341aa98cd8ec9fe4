"""What Dagster is doing right now: active runs, loads under way, how long to wait after a failure.

The instance is asked, never the warehouse: sensors call this every few seconds.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from energy_etl.defs.jobs import EXTRACTION_PREFIX
from energy_etl.defs.partitions import keys_span, tagged_span

ACTIVE_STATUSES: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
FIRST_WAIT: Final = timedelta(seconds=60)
LONGEST_WAIT: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Load:
    """A run or a backfill that will bring or compute readings of [from_at, to_at)."""

    from_at: datetime
    to_at: datetime
    reason: str


def active_runs(instance: dg.DagsterInstance, job_name: str | None = None) -> list[dg.DagsterRun]:
    """Return the runs that are queued or running, of one job or of all."""
    return list(
        instance.get_runs(filters=dg.RunsFilter(job_name=job_name, statuses=ACTIVE_STATUSES))
    )


def loads_under_way(
    instance: dg.DagsterInstance, loading_groups: frozenset[str], own_run_id: str | None = None
) -> list[Load]:
    """Return every queued or running load and every requested backfill, with its span.

    Args:
        instance: where to look.
        loading_groups: first parts of the asset keys that bring or compute readings.
        own_run_id: the run that asks; it does not wait for itself.
    """
    loads: list[Load] = []
    for run in active_runs(instance):
        span = tagged_span(dict(run.tags))
        keys = run.asset_selection or _keys_of_job(run.job_name)
        # Runs of a backfill may come without a selection: then only the span speaks.
        if run.run_id == own_run_id or span is None or not _is_load(keys, loading_groups):
            continue
        loads.append(Load(*span, reason=f"run {run.run_id[:8]} of {run.job_name}"))
    filters = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
    for backfill in instance.get_backfills(filters=filters):
        data = backfill.asset_backfill_data
        subsets = data.target_subset.partitions_subsets_by_asset_key if data else {}
        for key, subset in subsets.items():
            partition_keys = list(subset.get_partition_keys())
            if partition_keys and _is_load([key], loading_groups):
                reason = f"backfill {backfill.backfill_id} of {key.to_user_string()}"
                loads.append(Load(*keys_span(partition_keys), reason=reason))
        # A backfill of a job names its days instead of assets.
        days = list(backfill.partition_names or ())
        job_name = backfill.job_name or ""
        if days and _is_load(_keys_of_job(job_name), loading_groups):
            reason = f"backfill {backfill.backfill_id} of {job_name}"
            loads.append(Load(*keys_span(days), reason=reason))
    return loads


def _keys_of_job(job_name: str) -> list[dg.AssetKey]:
    """An extraction job says in its name whose assets it makes; of other jobs it is open."""
    vendor_name = job_name.removeprefix(EXTRACTION_PREFIX)
    return [dg.AssetKey([vendor_name])] if vendor_name != job_name else []


def _is_load(keys: object, loading_groups: frozenset[str]) -> bool:
    selected = list(keys) if isinstance(keys, (list, tuple, set, frozenset)) else []
    return not selected or any(key.path[0] in loading_groups for key in selected)


def wait_after_failures(
    instance: dg.DagsterInstance, job_name: str, now: datetime | None = None
) -> tuple[int, timedelta]:
    """Return how often a job failed in a row and how long to wait still (zero: go on).

    The wait doubles from one minute to one hour, so that what somebody mends is tried again
    without a person having to ask, and what nobody mends does not fill the run list.
    """
    filters = dg.RunsFilter(job_name=job_name)
    n_failures, last_end = 0, None
    for record in instance.get_run_records(filters=filters, limit=12):
        if record.dagster_run.status != dg.DagsterRunStatus.FAILURE:
            break
        n_failures += 1
        last_end = last_end or record.end_time
    if not n_failures or last_end is None:
        return n_failures, timedelta()
    wait = min(FIRST_WAIT * 2 ** (n_failures - 1), LONGEST_WAIT)
    passed = (now or datetime.now(UTC)) - datetime.fromtimestamp(last_end, UTC)
    return n_failures, max(wait - passed, timedelta())
