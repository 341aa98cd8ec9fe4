"""What loading past days of telemetry would cost: calls within our quota and its budget. Pure."""

from typing import Final, cast

from energy_etl.vendors import (
    GUESSED_CALL_S,
    PastPreview,
    PastQuestion,
    PlannedCalls,
    oldest_sentence,
)
from energy_etl.vendors.smartgridone.client import QUOTA_WINDOW_S, quota_name
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings
from energy_etl.vendors.smartgridone.telemetry import FieldWindow, Place, cut, in_calls

_ENDPOINT: Final = "telemetry/query"


def preview_past(question: PastQuestion) -> PastPreview:
    """Cut the days as a fetch would, taking the first of the preferred retention policies."""
    settings = cast(SmartgridOneSettings, question.settings)
    place = Place("", "", next(iter(settings.retention_policies), ""), {})
    n_calls = 0
    for from_at, to_at in question.batches:
        queries = [
            query
            for row in question.registers.iter_rows(named=True)
            for query in cut(
                FieldWindow.of_vendor_id(row["vendor_id"], from_at, to_at, row["register_id"]),
                place,
                settings.rows_per_statement,
            )
        ]
        calls = in_calls(
            queries,
            statements_per_call=settings.statements_per_call,
            rows_per_call=settings.rows_per_call,
        )
        n_calls += sum(1 for _ in calls)
    policies = ", ".join(settings.retention_policies)
    return PastPreview(
        asset="smartgridone/telemetry",
        n_registers=question.registers.height,
        calls=(
            PlannedCalls(
                "telemetry calls",
                n_calls,
                quota_name(settings),
                settings.calls_per_minute,
                QUOTA_WINDOW_S,
                question.call_s.get(_ENDPOINT, GUESSED_CALL_S),
                _ENDPOINT in question.call_s,
                settings.max_parallel,
            ),
        ),
        not_given=(
            oldest_sentence("SmartgridOne", question.registers, question.from_on),
            f"What it holds depends on the retention policy that is read ({policies}): the finer, "
            "the sooner it is gone; another order in smartgridone.retention_policies may reach "
            "further back.",
            "SmartgridOne counts cost by a formula that is not public: when its budget is used up, "
            "calls wait for it and the load takes longer than shown.",
            "Devices, roles, monitors, companies and licences are listed as of now only.",
        ),
    )
