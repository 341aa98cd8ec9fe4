"""`energy-etl demo`: the main job to its end, through Dagster's own instance.

The runs are those that schedules and sensors would ask for, one after the other in this process,
so that `energy-etl up` shows them afterwards. Its `now` is pinned at the first run: the same
demo again fetches again, changes nothing and sends nothing twice.
"""

import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from rich.console import Console

from energy_etl.cli.processes import free_port, stop_children
from energy_etl.cli.sandbox_consent import try_sandbox_consent
from energy_etl.cli.setup import claim_world, prepare
from energy_etl.cli.summary import is_delivered, print_summary
from energy_etl.cli.up import close_lost_runs, locked_home, start_sandbox
from energy_etl.definitions import build_defs
from energy_etl.defs.failures import failed_step_sentence
from energy_etl.defs.instance import open_instance
from energy_etl.defs.jobs import COMPUTE_JOB, SEND_JOB, extraction_job_name
from energy_etl.defs.partitions import changed_tags, span_tags
from energy_etl.defs.resources import Etl
from energy_etl.errors import ConfigurationError
from energy_etl.settings import Settings
from energy_etl.state import get_fact, open_state, set_fact
from energy_etl.vendors import Vendor, discover_vendors

DAYS = 100
PUSH_DAYS = 7
# Days of one run: the size of a backfill's batches.
BATCH_DAYS = 31
# The vendor that readings are sent to: it is asked after the push.
COLLECTOR = "wattics"
_NOW_FACT = "demo_now"


@dataclass
class Demo:
    """What the runs of one demo share."""

    settings: Settings
    instance: dg.DagsterInstance
    definitions: dg.Definitions
    console: Console

    def run(
        self, what: str, job_name: str, tags: dict[str, str], assets: Sequence[str] | None = None
    ) -> bool:
        """Run a job to its end and say how long it took; a failure says its first line.

        Raises:
            KeyboardInterrupt: Ctrl-C; Dagster makes a failed step of it.
        """
        started = time.monotonic()
        job = self.definitions.resolve_job_def(job_name)
        with self.console.status(f"{what} ..."):
            result = job.execute_in_process(
                instance=self.instance,
                tags=tags,
                asset_selection=[dg.AssetKey(key.split(".")) for key in assets] if assets else None,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        mark = "[green]ok[/]" if result.success else "[red]failed[/]"
        self.console.print(f"{mark:12} {what} ({time.monotonic() - started:.1f} s)")
        failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        for failure in failures:
            if (
                failure.error
                and failure.error.cls_name == DagsterExecutionInterruptedError.__name__
            ):
                self.console.print("Stopped; what was loaded is kept.")
                raise KeyboardInterrupt
            self.console.print(f"    {failed_step_sentence(failure)}", markup=False)
        return result.success


def run_demo(
    settings: Settings, *, replay: Path | None, n_days: int | None, n_push_days: int | None
) -> bool:
    """Load, compute, push and show; True when everything that was due is confirmed.

    Args:
        settings: of the project.
        replay: folder of real registers; None: the seeded world.
        n_days: days to load; default 100, with a replay the whole of it.
        n_push_days: days to push; default 7.
    """
    console = Console(stderr=True)
    if settings.target != "sandbox":
        raise ConfigurationError(
            "The demo works on the sandbox only: unset ENERGY_ETL_TARGET, or use `energy-etl up`."
        )
    with locked_home(settings.dagster_home):
        replay = claim_world(settings, replay)
        pinned = _pinned(settings)
        with _sandbox(settings, pinned, replay) as (url, first_at, now):
            push_days = n_push_days or PUSH_DAYS
            span_days = n_days or ((now - first_at).days + 1 if replay else DAYS)
            prepare(
                settings,
                replay=replay,
                # All that is loaded: from the first packet on, wherever a register begins.
                push_from_at=None if push_days >= span_days else now - timedelta(days=push_days),
            )
            close_lost_runs(settings, "The demo that ran it is gone.")
            _pin(settings, now)
            etl = Etl(root=str(settings.root), now_at=now.isoformat(), sandbox_url=url)
            try_sandbox_consent(etl.settings())
            with open_instance(settings.dagster_home) as instance:
                demo = Demo(settings, instance, build_defs({"etl": etl}), console)
                is_run = _run_jobs(demo, now, span_days)
        print_summary(settings)
        return is_run and is_delivered(settings)


def _run_jobs(demo: Demo, now: datetime, n_days: int) -> bool:
    """Run what loads, computes and sends; a vendor that fails does not stop the others."""
    last_on = now.date()
    first_on = last_on - timedelta(days=n_days - 1)
    jobs = {job.name for job in demo.definitions.jobs or ()}
    vendors = {
        name: vendor
        for name, vendor in discover_vendors().items()
        if extraction_job_name(name) in jobs
    }
    # What it holds is only worth asking for when it was sent something.
    collecting = vendors.pop(COLLECTOR)
    loaded = [_load(demo, vendor, first_on, last_on) for vendor in vendors.values()]
    computed = demo.run("Compute intervals and marts", COMPUTE_JOB, changed_tags(last_on))
    sent = demo.run("Push to Wattics", SEND_JOB, {})
    loaded.append(_load(demo, collecting, max(first_on, last_on - timedelta(days=6)), last_on))
    compared = demo.run("Compare with what Wattics holds", COMPUTE_JOB, changed_tags(last_on))
    return all((*loaded, computed, sent, compared))


def _load(demo: Demo, vendor: Vendor, first_on: date, last_on: date) -> bool:
    """Run a vendor's extraction: what has partitions in batches, the rest once."""
    job_name = extraction_job_name(vendor.name)
    graph = demo.definitions.resolve_asset_graph()
    keys = [key for key in graph.get_all_asset_keys() if key.path[0] == vendor.name]
    by_days = [".".join(key.path) for key in keys if graph.get(key).is_partitioned]
    if not by_days:
        return demo.run(f"Load {vendor.title}", job_name, {})
    is_well = True
    batch_on = first_on
    while batch_on <= last_on:
        end_on = min(batch_on + timedelta(days=BATCH_DAYS - 1), last_on)
        is_well &= demo.run(
            f"Load {vendor.title} {batch_on} to {end_on}",
            job_name,
            span_tags(batch_on, end_on),
            # The snapshots are relative to now: once is enough.
            None if end_on == last_on else by_days,
        )
        batch_on = end_on + timedelta(days=1)
    return is_well


def _pinned(settings: Settings) -> str | None:
    """Return the instant of the first run, None before it."""
    with open_state(settings.state_path) as connection:
        return get_fact(connection, _NOW_FACT)


def _pin(settings: Settings, now: datetime) -> None:
    with open_state(settings.state_path) as connection:
        if get_fact(connection, _NOW_FACT) is None:
            set_fact(connection, _NOW_FACT, now.isoformat())


@contextmanager
def _sandbox(settings: Settings, pinned: str | None, replay: Path | None):
    """Run the sandbox on a free port; yields its URL, its first and its present instant."""
    now = pinned
    if now is None and replay is None:
        # Whole quarter hours, so that the last interval is whole.
        clock = datetime.now(UTC)
        now = (clock - timedelta(minutes=clock.minute % 15)).replace(second=0, microsecond=0)
        now = now.isoformat()
    child, url = start_sandbox(settings, port=free_port(), now=now, replay=replay)
    try:
        with urllib.request.urlopen(f"{url}/_sandbox/health", timeout=30) as answer:
            health = json.load(answer)
        yield (
            url,
            datetime.fromisoformat(health["first_at"]),
            datetime.fromisoformat(health["now"]),
        )
    finally:
        stop_children([child])
        print(file=sys.stderr)
