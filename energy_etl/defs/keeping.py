"""Job `prune_history` and its weekly schedule: what is kept no longer goes (`retention.py`)."""

from typing import Final

import dagster as dg

from energy_etl.defs.failures import plainly
from energy_etl.defs.resources import Etl
from energy_etl.defs.retention import Old, plan_pruning, prune

PRUNE_JOB: Final = "prune_history"


class PruneConfig(dg.Config):
    """Run configuration of `prune_history`.

    Attributes:
        dry_run: True tells what would be deleted, and deletes nothing.
    """

    dry_run: bool = False


@dg.op(description="Deletes what is older than the settings KEEP__* say, and gives space back.")
@plainly
def prune_old(context: dg.OpExecutionContext, etl: Etl, config: PruneConfig) -> None:
    """Tell what is too old, and delete it unless this is a dry run."""
    settings, now = etl.settings(), etl.now()
    if config.dry_run:
        for old in plan_pruning(settings, context.instance, now):
            context.log.info(old_sentence(old))
        context.log.info("Nothing was deleted: it is a dry run.")
        return
    done = prune(settings, context.instance, now, context.log.warning)
    for old in done.deleted:
        context.log.info(old_sentence(old))
    context.add_output_metadata(
        {
            **{old.what: old.n_rows for old in done.deleted},
            "bytes given back": done.n_bytes_back,
        }
    )


@dg.job(
    name=PRUNE_JOB,
    executor_def=dg.in_process_executor,
    description="Deletes what is kept no longer (settings KEEP__*) of raw, outbox and history.",
)
def prune_history() -> None:
    """Delete what is kept no longer."""
    prune_old()


def build_keeping_schedule(status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """Return the weekly schedule of `prune_history`: on Sunday night, when little runs."""
    return dg.ScheduleDefinition(
        name="weekly_prune",
        job=prune_history,
        cron_schedule="41 3 * * 0",
        execution_timezone="UTC",
        default_status=status,
        description="Deletes each week what is kept no longer.",
    )


def old_sentence(old: Old) -> str:
    """Return what is too old, for people."""
    since = f" of {old.first_at:%Y-%m-%d} to {old.last_at:%Y-%m-%d}" if _has_dates(old) else ""
    size = f", {old.n_bytes / 1e6:.1f} MB" if old.n_bytes else ""
    return f"{old.n_rows} {old.what}{since}{size} (kept for {old.kept_days} days)"


def _has_dates(old: Old) -> bool:
    return old.first_at is not None and old.last_at is not None
