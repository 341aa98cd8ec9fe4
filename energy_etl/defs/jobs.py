"""Jobs, named for what people do: extract a vendor, compute figures, send the outbox."""

from collections.abc import Iterable
from typing import Final

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

COMPUTE_JOB: Final = "compute_figures"
SEND_JOB: Final = "send_outbox"
EXTRACTION_PREFIX: Final = "extract_"

# The groups whose assets bring or compute readings: a hole they may fill is waited for.
COMPUTED_GROUPS: Final = frozenset({"core"})


def extraction_job_name(vendor_name: str) -> str:
    """Return the name of a vendor's extraction job."""
    return f"{EXTRACTION_PREFIX}{vendor_name}"


def build_jobs(vendor_names: Iterable[str]) -> list[UnresolvedAssetJobDefinition]:
    """Return one extraction job per vendor, the computation and the sending."""
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
    sending = dg.AssetSelection.assets(["push", "stream_status"])
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
    ]
