"""`run_failure_sensor`: each failed run is a line of a log, each new fault a call of a webhook.

Dagster's own `run_failure_sensor` shows a function each failed run once: what a webhook that is
down was to be told would be lost, and nothing would say that a fault is over. So this one reads the
same events itself and keeps in its cursor which faults last (`faults.py`). Not in `state.sqlite`:
that it is damaged, or its disk full, is among what has to be told.
"""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
from pydantic import ValidationError

from energy_etl.defs.activity import instance_of
from energy_etl.defs.failures import failed_run_sentence, told_plainly
from energy_etl.defs.faults import Failure, Fault, Memory, counted
from energy_etl.defs.partitions import CHANGED_TAG
from energy_etl.defs.resources import Etl
from energy_etl.errors import ConfigurationError, VendorError
from energy_etl.rest import Redactor
from energy_etl.rest.secrets import basic_values, secret_values, token_values
from energy_etl.rest.webhook import Webhook
from energy_etl.settings import Settings, project_root

SENSOR_NAME: Final = "run_failure_sensor"
LOG_NAME: Final = "failed_runs.log"
_MOST_LOG_BYTES: Final = 1_000_000
# What failed before the sensor's first tick, or while nothing ran.
_FIRST_LOOK_BACK: Final = timedelta(days=1)
_MOST_PER_TICK: Final = 20
_MOST_LINES: Final = 10
_N_SUCCESSES: Final = 25
_BACKFILL_TAG: Final = "dagster/backfill"
_SHOWN_ASSETS: Final = 3


def build_alert_sensor(etl: Etl) -> dg.SensorDefinition:
    """Return the sensor; it calls no vendor, so it is on whatever the target.

    Args:
        etl: the project. As a resource it would cost each tick an instance, see `instance_of`.
    """

    @dg.sensor(
        name=SENSOR_NAME,
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Failed runs: a line each in data/logs/failed_runs.log, and when the setting "
        "ALERTS__WEBHOOK_URL is set a message for each fault: at first, once a day while it goes "
        "on, and when it succeeded again. It starts no run.",
    )
    def run_failure_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        # By the clock: the demo's pinned time has nothing to do with when runs fail.
        now = datetime.now(UTC)
        memory = read_memory(context.cursor)
        told = tell_failures(instance_of(context), etl, memory, now)
        context.update_cursor(memory.model_dump_json())
        return dg.SkipReason(told)

    return run_failure_sensor


def read_memory(cursor: str | None) -> Memory:
    """Return what a cursor holds; of one of another version nothing."""
    try:
        return Memory.model_validate_json(cursor) if cursor else Memory()
    except ValidationError:
        return Memory()


def tell_failures(instance: dg.DagsterInstance, etl: Etl, memory: Memory, now: datetime) -> str:
    """Log what failed and what succeeded again, tell the webhook, and return the tick's sentence.

    Nothing of it raises: a log that cannot be written and a webhook that is down are told.
    """
    problems: list[str] = []
    settings: Settings | None = None
    try:
        settings = etl.settings()
    except ConfigurationError as error:
        problems.append(f"The webhook cannot be told: {error}")
    redactor = _redactor(settings)
    failures = new_failures(instance, memory, now, redactor)
    for failure in failures:
        memory.note(failure)
    over = note_what_is_over(instance, memory)
    lines = [_log_line(failure, failure.at, failure.sentence) for failure in failures]
    lines += [_log_line(fault.last, fault.over_at or now, fault.news) for fault in over]
    folder = project_root(Path(etl.root) if etl.root else None) / "data" / "logs"
    try:
        append_lines(folder / LOG_NAME, lines)
    except OSError as error:
        problems.append(told_plainly(error))
    if settings is not None:
        problems += _tell_webhook(settings, memory, now)
    memory.forget(now)
    return " ".join([_summary(failures, over, memory), *problems])


def new_failures(
    instance: dg.DagsterInstance, memory: Memory, now: datetime, redactor: Redactor
) -> list[Failure]:
    """Return the runs that failed since the last look, in order, and note that they were seen."""
    filters = dg.RunStatusChangeRecordsFilter(
        event_type=dg.DagsterEventType.RUN_FAILURE,
        after_storage_id=memory.after_id,
        after_timestamp=(now - _FIRST_LOOK_BACK).timestamp() if memory.after_id is None else None,
    )
    if memory.after_id is None:
        # Asked for first: what fails meanwhile is seen below, or by the next look.
        newest = instance.fetch_run_status_changes(filters.event_type, limit=1).records
        memory.after_id = newest[0].storage_id if newest else -1
    found = instance.fetch_run_status_changes(filters, limit=_MOST_PER_TICK, ascending=True)
    failures: list[Failure] = []
    for record in found.records:
        entry = record.event_log_entry
        memory.after_id = record.storage_id
        # Deleted since (`energy-etl prune`), there is nothing left to tell of it.
        run = instance.get_run_by_id(entry.run_id)
        if run is not None:
            said = failed_run_sentence(instance, run.run_id, entry.dagster_event)
            at = datetime.fromtimestamp(entry.timestamp, UTC)
            failures.append(_failure_of(run, redactor.text(said), at))
    return failures


def note_what_is_over(instance: dg.DagsterInstance, memory: Memory) -> list[Fault]:
    """Note which faults' job, or assets, succeeded since, and return them."""
    over: list[Fault] = []
    for fault in memory.faults:
        if not fault.can_end:
            continue
        filters = dg.RunsFilter(
            job_name=fault.last.job_name,
            statuses=[dg.DagsterRunStatus.SUCCESS],
            updated_after=fault.last.at,
        )
        for record in instance.get_run_records(filters, limit=_N_SUCCESSES):
            run, end_s = record.dagster_run, record.end_time
            selected = set(_assets(run))
            is_the_same = not selected or (
                bool(fault.last.assets) and selected.issuperset(fault.last.assets)
            )
            # A backfill brings other days.
            if end_s is None or _BACKFILL_TAG in run.tags or not is_the_same:
                continue
            if (end_at := datetime.fromtimestamp(end_s, UTC)) > fault.last.at:
                fault.over_at = end_at
                over.append(fault)
                break
    return over


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append to the log; a megabyte of it is kept, and one before that."""
    text = "".join(f"{line}\n" for line in lines)
    if not text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _MOST_LOG_BYTES:
        os.replace(path, path.with_name(f"{path.name}.1"))
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def message_of(told: Iterable[Fault]) -> dict[str, Any]:
    """Return what is posted: `text` for people, and the same as fields."""
    faults = list(told)
    host = platform.node() or "an unnamed machine"
    lines = [f"- {_harmless(fault.line)}" for fault in faults[:_MOST_LINES]]
    if len(faults) > _MOST_LINES:
        lines.append(f"- and {len(faults) - _MOST_LINES} more, see data/logs/{LOG_NAME}")
    return {
        "text": "\n".join([f"energy_etl on {_harmless(host)}:", *lines]),
        "source": "energy_etl",
        "host": host,
        "failures": [_fields(fault) for fault in faults if fault.over_at is None],
        "recovered": [_fields(fault) for fault in faults if fault.over_at is not None],
    }


def _tell_webhook(settings: Settings, memory: Memory, now: datetime) -> list[str]:
    url = settings.alerts.webhook_url.get_secret_value()
    faults = memory.to_tell(now)
    if not url or not faults:
        return []
    if memory.next_try_at is not None and now < memory.next_try_at:
        return [f"{memory.refusal} It is tried again at {memory.next_try_at:%H:%M} UTC."]
    try:
        with Webhook(url) as webhook:
            webhook.post(message_of(faults))
    except VendorError as error:
        memory.note_refused(str(error), now)
        return [f"{error} It is tried again at {memory.next_try_at:%H:%M} UTC."]
    memory.note_told(faults, now)
    return [f"The webhook was told of {counted(len(faults), 'fault')}."]


def _redactor(settings: Settings | None) -> Redactor:
    """Know every secret: what a log or a chat holds is read by more people than the settings."""
    if settings is None:
        return Redactor()
    known = [*secret_values(settings), *token_values(settings), *basic_values(settings)]
    return Redactor(known)


def _failure_of(run: dg.DagsterRun, sentence: str, at: datetime) -> Failure:
    assets = _assets(run)
    subject = run.job_name
    if run.job_name.startswith("__"):
        # Dagster's own name for assets that a person or a backfill chose.
        more = f" and {len(assets) - _SHOWN_ASSETS} more" if len(assets) > _SHOWN_ASSETS else ""
        subject = f"materializing {', '.join(assets[:_SHOWN_ASSETS]) or 'assets'}{more}"
    return Failure(
        run_id=run.run_id,
        subject=subject,
        job_name=run.job_name,
        assets=assets,
        partitions=_partitions(run.tags),
        backfill_id=run.tags.get(_BACKFILL_TAG),
        sentence=sentence,
        at=at,
    )


def _assets(run: dg.DagsterRun) -> list[str]:
    return sorted(".".join(key.path) for key in run.asset_selection or ())


def _partitions(tags: Any) -> str:
    if CHANGED_TAG in tags:
        # It carries today's partition whatever the days that changed.
        return ""
    single = tags.get("dagster/partition", "")
    first = tags.get("dagster/asset_partition_range_start", single)
    last = tags.get("dagster/asset_partition_range_end", single)
    return first if first == last else f"{first} to {last}"


def _log_line(failure: Failure, at: datetime, sentence: str) -> str:
    days = failure.partitions or "-"
    return "\t".join([f"{at:%Y-%m-%dT%H:%M:%SZ}", failure.subject, days, failure.run_id, sentence])


def _fields(fault: Fault) -> dict[str, Any]:
    last = fault.last
    return {
        "subject": last.subject,
        "job": last.job_name,
        "partitions": last.partitions or None,
        "run_id": last.run_id,
        "sentence": last.sentence,
        "failed_at": last.at.isoformat(),
        "first_failed_at": fault.first_at.isoformat(),
        "n_runs": fault.n_runs,
        "succeeded_at": fault.over_at.isoformat() if fault.over_at else None,
    }


def _harmless(text: str) -> str:
    """Return a text that no chat takes for markup: what a vendor answered must call nobody."""
    return text.replace("<", "\u2039").replace(">", "\u203a").replace("@", "@\u200b")


def _summary(failures: list[Failure], over: list[Fault], memory: Memory) -> str:
    if not failures and not over:
        n_last = sum(fault.over_at is None for fault in memory.faults)
        last = f" Not seen to end: {counted(n_last, 'fault')}." if n_last else ""
        return f"No run failed since the last look.{last}"
    parts = []
    if failures:
        parts.append(f"{counted(len(failures), 'run')} failed: {failures[-1].line}")
    if over:
        parts.append(f"{counted(len(over), 'fault')} over: {over[-1].line}")
    return " ".join(parts)
