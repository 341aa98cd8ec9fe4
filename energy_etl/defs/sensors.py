"""The two level-triggered sensors: what is asked for follows from state, not from events.

They read `state.sqlite` and Dagster's instance, never the warehouse, and say why they skip. No
run key: a failed push must be repeatable, and a password that was mended is no new event.
"""

from typing import Final

import dagster as dg

from energy_etl.defs.activity import active_runs, wait_after_failures
from energy_etl.defs.delivery import release_streams
from energy_etl.defs.jobs import COMPUTE_JOB, SEND_JOB
from energy_etl.defs.partitions import CHANGED_TAG
from energy_etl.defs.resources import Etl
from energy_etl.state import Marks, open_state

# What marks wait for: readings to become intervals, figures to be merged, intervals packets.
STAGES: Final = ("interval", "figure", "packet")


def build_sensors(status: dg.DefaultSensorStatus) -> list[dg.SensorDefinition]:
    """Return both sensors, started or stopped."""

    @dg.sensor(
        name="changed_data_sensor",
        job_name=COMPUTE_JOB,
        minimum_interval_seconds=10,
        default_status=status,
        description="Changed readings or figures and no active computation: one run for them.",
    )
    def changed_data_sensor(
        context: dg.SensorEvaluationContext, etl: Etl
    ) -> dg.RunRequest | dg.SkipReason:
        with open_state(etl.settings().state_path) as connection:
            marks = Marks(connection)
            summaries = [s for stage in STAGES if (s := marks.summary(stage)) is not None]
        if not summaries:
            return dg.SkipReason("Nothing changed since the last computation.")
        reason = _active(context.instance, COMPUTE_JOB) or _failed(context.instance, COMPUTE_JOB)
        if reason:
            return dg.SkipReason(reason)
        n_marks = sum(summary.n_marks for summary in summaries)
        today = etl.now().date().isoformat()
        return dg.RunRequest(partition_key=today, tags={CHANGED_TAG: f"{n_marks} windows"})

    @dg.sensor(
        name="outbox_pending_sensor",
        job_name=SEND_JOB,
        minimum_interval_seconds=10,
        default_status=status,
        description="Released packets and no active send: one run that empties the outbox.",
    )
    def outbox_pending_sensor(
        context: dg.SensorEvaluationContext, etl: Etl
    ) -> dg.RunRequest | dg.SkipReason:
        # How long a failed stream waits is told by the outbox, per stream.
        reason = _active(context.instance, SEND_JOB)
        if reason:
            return dg.SkipReason(reason)
        n_due = release_streams(etl, context.instance)
        if not n_due:
            return dg.SkipReason("No packet is due.")
        return dg.RunRequest(tags={"energy_etl/n_due": str(n_due)})

    return [changed_data_sensor, outbox_pending_sensor]


def _active(instance: dg.DagsterInstance, job_name: str) -> str | None:
    runs = active_runs(instance, job_name)
    if not runs:
        return None
    return f"Run {runs[0].run_id[:8]} of {job_name} is {runs[0].status.value.lower()}."


def _failed(instance: dg.DagsterInstance, job_name: str) -> str | None:
    n_failures, wait = wait_after_failures(instance, job_name)
    if not wait:
        return None
    return (
        f"{job_name} failed {n_failures} times in a row: "
        f"tried again in {wait.total_seconds():.0f} s."
    )
