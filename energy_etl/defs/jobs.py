"""Jobs, named for what people do: extract a vendor, compute figures, send the outbox."""

from collections.abc import Iterable
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

COMPUTE_JOB: Final = "compute_figures"
SEND_JOB: Final = "send_outbox"
RETRY_JOB: Final = "retry_deliveries"
WATCH_JOB: Final = "watch_delivery"
REPORT_JOB: Final = "make_report"
EXTRACTION_PREFIX: Final = "extract_"

# The step that sends, and the tables that it tells of.
SEND_STEP: Final = "stream_status"
SENT_TABLES: Final = ("stream_status", "hole", "response")

# The groups whose assets bring or compute readings: a hole they may fill is waited for.
COMPUTED_GROUPS: Final = frozenset({"core"})


def extraction_job_name(vendor_name: str) -> str:
    """Return the name of a vendor's extraction job."""
    return f"{EXTRACTION_PREFIX}{vendor_name}"


def build_jobs(vendor_names: Iterable[str]) -> list[UnresolvedAssetJobDefinition]:
    """Return an extraction job per vendor, the computation, three of the sending, the report."""
    # In process: a subprocess per step costs seconds each, and the steps of a run are in sequence.
    executor = dg.in_process_executor
    extraction = [
        dg.define_asset_job(
            extraction_job_name(name),
            selection=dg.AssetSelection.groups(name),
            executor_def=executor,
            description=f"Fetches everything from {name} for the days of the run.",
        )
        for name in sorted(vendor_names)
    ]
    sending = dg.AssetSelection.assets(*(["push", name] for name in SENT_TABLES))
    return [
        *extraction,
        dg.define_asset_job(
            COMPUTE_JOB,
            selection=dg.AssetSelection.groups("core", "mart", "push", "published") - sending,
            executor_def=executor,
            description="Readings to intervals, figures, packets in the outbox, published tables.",
        ),
        dg.define_asset_job(
            SEND_JOB,
            selection=sending,
            executor_def=executor,
            description="Sends every released packet in order and confirms what arrived.",
        ),
        dg.define_asset_job(
            RETRY_JOB,
            selection=sending,
            executor_def=executor,
            config=sending_config(retries_all=True),
            description="When the cause is mended: unparks streams, gives their refused packets "
            "another chance and sends. Of all streams; or name some, or a credential, in the "
            "config (retry_streams, retry_credential).",
        ),
        dg.define_asset_job(
            WATCH_JOB,
            selection=sending,
            executor_def=executor,
            config=sending_config(is_sending=False),
            description="Sends nothing: counts again and judges the checks of push/stream_status.",
        ),
        dg.define_asset_job(
            REPORT_JOB,
            selection=dg.AssetSelection.groups("report"),
            executor_def=executor,
            description="Writes data/reports/energy.html from what is published.",
        ),
    ]


def sending_config(**changes: bool) -> dict[str, Any]:
    """Return the run config of the step that sends; its fields are `SendConfig` of the asset."""
    return {"ops": {SEND_STEP: {"config": changes}}}
