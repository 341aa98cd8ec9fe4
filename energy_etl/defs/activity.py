"""What Dagster is doing right now: active runs, loads under way, how long to wait after a failure.

The instance is asked, never the warehouse: sensors call this every few seconds.
"""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.instance.ref import InstanceRef

from energy_etl.defs.faults import growing_wait
from energy_etl.defs.jobs import EXTRACTION_PREFIX
from energy_etl.defs.partitions import keys_span, tagged_span

ACTIVE_STATUSES: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_opened: list[tuple[InstanceRef, dg.DagsterInstance]] = []
_opening = threading.Lock()


@dataclass(frozen=True, slots=True)
class Load:
    """A run or a backfill that will bring or compute readings of [from_at, to_at)."""

    from_at: datetime
    to_at: datetime
    reason: str


def instance_of(context: dg.SensorEvaluationContext) -> dg.DagsterInstance:
    """Return the instance of a sensor's tick; it stays open for the process's next ticks.

    `context.instance` is opened anew at each tick, and so is it for a sensor that takes resources.
    To open it reads every migration script of Dagster's stores: 0.1 CPU s, five times what the
    sensors here do themselves. Its stores open a connection for each question, so that the file's
    state of now is seen.
    """
    ref = context.instance_ref
    if ref is None:  # a test's own
        return context.instance
    with _opening:
        if not _opened or _opened[0][0] != ref:
            # Another tick may still use the one before: it is closed with its last use.
            _opened[:] = [(ref, dg.DagsterInstance.from_ref(ref))]
        return _opened[0][1]


def active_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Return the runs that are queued or running."""
    return list(instance.get_runs(filters=dg.RunsFilter(statuses=ACTIVE_STATUSES)))


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
    passed = (now or datetime.now(UTC)) - datetime.fromtimestamp(last_end, UTC)
    return n_failures, max(growing_wait(n_failures) - passed, timedelta())
