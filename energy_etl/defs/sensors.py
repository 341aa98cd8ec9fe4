"""The level-triggered sensors: what is asked for follows from state, not from events.

They read `state.sqlite` and Dagster's instance, never the warehouse, and say why they skip. No
run key: a failed push must be repeatable, and a password that was mended is no new event.
"""

from datetime import UTC, datetime
from typing import Final

import dagster as dg

from energy_etl.defs.activity import active_runs, instance_of, wait_after_failures
from energy_etl.defs.delivery import release_streams
from energy_etl.defs.faults import counted
from energy_etl.defs.jobs import (
    COMPUTE_JOB,
    RETRY_JOB,
    SEND_JOB,
    WATCH_JOB,
    sending_config,
)
from energy_etl.defs.partitions import CHANGED_TAG
from energy_etl.defs.resources import Etl
from energy_etl.defs.sending import require_consent_to_send
from energy_etl.defs.watching import last_told, lines_of, why_not_told
from energy_etl.delivery.lease import hold_lease
from energy_etl.delivery.outbox import DueSummary, Outbox
from energy_etl.errors import ConfigurationError, DeliveryError
from energy_etl.state import Marks, open_state

# What marks wait for: readings to become intervals, figures to be merged, intervals packets.
STAGES: Final = ("interval", "figure", "packet")
# One at a time: they share the pool of the step that sends.
SENDING_JOBS: Final = (SEND_JOB, RETRY_JOB, WATCH_JOB)


def build_sensors(status: dg.DefaultSensorStatus, etl: Etl) -> list[dg.SensorDefinition]:
    """Return the sensors, started or stopped.

    Args:
        status: whether they are on before somebody switches them.
        etl: the project. As a resource it would cost each tick an instance, see `instance_of`.
    """

    @dg.sensor(
        name="changed_data_sensor",
        job_name=COMPUTE_JOB,
        minimum_interval_seconds=10,
        default_status=status,
        description="Changed readings or figures and no active computation: one run for them.",
    )
    def changed_data_sensor(
        context: dg.SensorEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        with open_state(etl.settings().state_path) as connection:
            marks = Marks(connection)
            summaries = [s for stage in STAGES if (s := marks.summary(stage)) is not None]
        if not summaries:
            return dg.SkipReason("Nothing changed since the last computation.")
        instance = instance_of(context)
        reason = _active(instance, COMPUTE_JOB) or _failed(instance, COMPUTE_JOB)
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
        context: dg.SensorEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        # How long a failed stream waits is told by the outbox, per stream.
        instance = instance_of(context)
        reason = _active(instance, *SENDING_JOBS)
        if reason:
            return dg.SkipReason(reason)
        n_due = release_streams(etl, instance)
        if not n_due:
            with open_state(etl.settings().state_path) as connection:
                return dg.SkipReason(_nothing_due(Outbox(connection).due(datetime.now(UTC))))
        try:
            require_consent_to_send(etl.settings())
        except ConfigurationError as refused:
            # A run would only say the same, every few seconds.
            return dg.SkipReason(f"Packets of {counted(n_due, 'stream')} are due. {refused}")
        # `energy-etl push` may be sending: a run would only fail, and the next one too.
        try:
            with hold_lease(etl.settings().state_path):
                return dg.RunRequest(tags={"energy_etl/n_due": str(n_due)})
        except DeliveryError as held:
            return dg.SkipReason(str(held))

    @dg.sensor(
        name="lagging_stream_sensor",
        job_name=WATCH_JOB,
        minimum_interval_seconds=30,
        default_status=status,
        description="Streams that began to lag or stopped, or no longer do: one run that says so "
        "in the checks of push/stream_status. It sends nothing.",
    )
    def lagging_stream_sensor(
        context: dg.SensorEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        with open_state(etl.settings().state_path) as connection:
            outbox = Outbox(connection)
            lines = lines_of(outbox, etl.portfolio(), etl.now())
            told = last_told(outbox)
        reason = why_not_told(lines, told, datetime.now(UTC))
        if reason:
            return dg.SkipReason(reason)
        instance = instance_of(context)
        # A run that sends tells it too.
        reason = _active(instance, *SENDING_JOBS) or _failed(instance, WATCH_JOB)
        if reason:
            return dg.SkipReason(reason)
        return dg.RunRequest(
            run_config=sending_config(is_sending=False),
            tags={"energy_etl/n_in_need": str(len(lines))},
        )

    return [changed_data_sensor, outbox_pending_sensor, lagging_stream_sensor]


def _nothing_due(due: DueSummary) -> str:
    parts = ["No packet is due."]
    if due.next_retry_at:
        parts.append(f"A stream that failed is tried again at {due.next_retry_at:%H:%M:%S} UTC.")
    if due.n_parked:
        parts.append(f"Parked: {counted(due.n_parked, 'stream')}, see the check `delivered`.")
    return " ".join(parts)


def _active(instance: dg.DagsterInstance, *job_names: str) -> str | None:
    # Few are active at a time: one question, whatever the number of jobs.
    run = next((run for run in active_runs(instance) if run.job_name in job_names), None)
    if run is None:
        return None
    return f"Run {run.run_id[:8]} of {run.job_name} is {run.status.value.lower()}."


def _failed(instance: dg.DagsterInstance, job_name: str) -> str | None:
    n_failures, wait = wait_after_failures(instance, job_name)
    if not wait:
        return None
    return (
        f"{job_name} failed {n_failures} times in a row: "
        f"tried again in {wait.total_seconds():.0f} s."
    )
