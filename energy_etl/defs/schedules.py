"""When vendors are asked (the running day each hour, the last days once a day), when is reported.

`refetch_days` covers what comes late. On the live target schedules start stopped.
"""

from collections.abc import Iterable
from datetime import timedelta

import dagster as dg

from energy_etl.defs.jobs import REPORT_JOB
from energy_etl.defs.partitions import CATCH_UP_TAG, DAILY, HOURLY, span_tags


def build_schedules(
    vendor_names: Iterable[str], refetch_days: int, status: dg.DefaultScheduleStatus
) -> list[dg.ScheduleDefinition]:
    """Return an hourly and a daily schedule of each vendor's extraction job, and the report's."""
    schedules: list[dg.ScheduleDefinition] = []
    for place, name in enumerate(sorted(vendor_names)):
        # Some minutes apart, so that the vendors' runs do not all start at once.
        minute = (2 + 7 * place) % 60
        schedules.append(_hourly(name, f"{minute} * * * *", status))
        schedules.append(_daily(name, f"{minute} 1 * * *", refetch_days, status))
    schedules.append(
        dg.ScheduleDefinition(
            name="daily_report",
            job_name=REPORT_JOB,
            # When what the daily runs fetched again has been computed.
            cron_schedule="30 4 * * *",
            execution_timezone="UTC",
            default_status=status,
            description="Writes data/reports/energy.html each morning.",
        )
    )
    return schedules


def _hourly(name: str, cron: str, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"hourly_{name}",
        job_name=f"extract_{name}",
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=status,
        description=f"Fetches the running UTC day from {name} each hour.",
    )
    def hourly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = context.scheduled_execution_time.date()
        return dg.RunRequest(tags={**span_tags(today, today), CATCH_UP_TAG: HOURLY})

    return hourly


def _daily(
    name: str, cron: str, refetch_days: int, status: dg.DefaultScheduleStatus
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"daily_{name}",
        job_name=f"extract_{name}",
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=status,
        description=f"Fetches the last {refetch_days} days from {name} again, for late readings.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = context.scheduled_execution_time.date()
        tags = span_tags(today - timedelta(days=refetch_days), today)
        return dg.RunRequest(tags={**tags, CATCH_UP_TAG: DAILY})

    return daily
