"""Dagster's instance: its `dagster.yaml`, and the one creation before anything starts in parallel.

The values are those that were measured to work on two cores; each line says why.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from energy_etl.errors import WarehouseError

DAGSTER_YAML = """\
# Written by `energy-etl init`; edit it freely, it is written only when it is not there.
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator:
  module: dagster._core.run_coordinator
  class: QueuedRunCoordinator
  # The default of 5 s is most of a short run's wait.
  config: {dequeue_interval_seconds: 1}
concurrency:
  runs: {max_concurrent_runs: 4}
  # Slots of op granularity leak when a worker is killed and block the pool.
  pools: {default_limit: 1, granularity: run}
run_monitoring:
  enabled: true
  poll_interval_seconds: 10
  free_slots_after_run_end_seconds: 10
# A permanent error must not be tried again; only a killed worker is.
run_retries: {enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false}
# 23,000 looks of sensors a day find nothing to do: a week of them, the default, is 0.2 GB.
retention: {sensor: {purge_after_days: {skipped: 1}}}
"""


def create_instance(dagster_home: Path) -> None:
    """Write `dagster.yaml` when it is missing and create the instance's SQLite files."""
    dagster_home.mkdir(parents=True, exist_ok=True)
    config = dagster_home / "dagster.yaml"
    if not config.exists():
        config.write_text(DAGSTER_YAML, encoding="utf-8")
    with open_instance(dagster_home):
        pass


@contextmanager
def open_instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance without touching the environment.

    Raises:
        WarehouseError: one of its files cannot be used, as on a full disk.
    """
    with (
        history_in_our_words(dagster_home),
        dg.DagsterInstance.from_config(str(dagster_home)) as instance,
    ):
        yield instance


@contextmanager
def history_in_our_words(dagster_home: Path) -> Iterator[None]:
    """Tell in a sentence what Dagster's storage says in SQLAlchemy's words, with its statement.

    Raises:
        WarehouseError: a disk is full, or somebody else holds a file for too long.
    """
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error)
        raise WarehouseError(
            f"Dagster's history in {dagster_home} cannot be used ({reason}): make room on its "
            "disk, or end whoever uses it, and run again; what was done so far stays done."
        ) from error
