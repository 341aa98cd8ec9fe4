"""`energy-etl rebuild`: everything but raw again, from the answers kept in raw, no network.

The vendors' answers go through the same functions as when they came, in the same order, and the
computation is the same Dagster job as always.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime

import dagster as dg

from energy_etl.cli.setup import prepare, today_at
from energy_etl.cli.up import close_lost_runs, locked_home
from energy_etl.definitions import build_defs
from energy_etl.defs.extraction import write_batch
from energy_etl.defs.instance import open_instance
from energy_etl.defs.jobs import COMPUTE_JOB
from energy_etl.defs.partitions import changed_tags
from energy_etl.defs.resources import Etl
from energy_etl.defs.retention import raw_reaches_back_to
from energy_etl.errors import ConfigurationError, EnergyEtlError
from energy_etl.rest import RawCall
from energy_etl.settings import Settings
from energy_etl.vendors import discover_vendors, group_fetches
from energy_etl.warehouse import Warehouse

# Only what rows are made of: failed calls bring none, but for those that were to change something.
_CALLS = """
SELECT request_id, vendor, endpoint, params, status, body_zlib, requested_at
FROM raw.request LEFT JOIN raw.body USING (body_sha256)
WHERE vendor = ? AND endpoint <> 'token'
    AND (status BETWEEN 200 AND 299 OR (params ->> '$.is_change') = 'true')
ORDER BY requested_at, request_id
"""


def rebuild_from_raw(
    settings: Settings,
    *,
    now: datetime | None = None,
    instance: dg.DagsterInstance | None = None,
    loses_older: bool = False,
) -> Iterator[str]:
    """Empty every table but raw, replay raw, compute again; yields a line per step.

    The outbox is no table: what was sent stays sent, and packets that come out the same again
    change nothing in it.

    Args:
        settings: the project.
        now: the instant of the computation; None: this one.
        instance: where the computation is recorded; None: the project's own.
        loses_older: True rebuilds although raw was pruned: what is older than it is lost.

    Raises:
        ConfigurationError: the portfolio has problems, or raw was pruned, so rows would be
            missing; nothing was emptied.
        EnergyEtlError: the computation failed; raw is untouched and rebuild can be run again.
    """
    with locked_home(settings.dagster_home):
        prepare(settings, push_from_at=today_at())
        close_lost_runs(settings, "The program that ran it is gone.")
        etl = Etl(root=str(settings.root), now_at=(now or datetime.now(UTC)).isoformat())
        etl.portfolio().refuse_problems()
        back_to = None if loses_older else raw_reaches_back_to(settings)
        if back_to is not None:
            raise ConfigurationError(
                f"Raw was pruned: it reaches back to {back_to:%Y-%m-%d} only, and what is older "
                "would be lost from every table; nothing was emptied. Run `energy-etl export` "
                "first, then `energy-etl rebuild --lose-older` if that is what you want."
            )
        warehouse = etl.warehouse()
        with warehouse.write() as writer:
            for table in warehouse.tables:
                if table.schema != "raw":
                    writer.replace_all(table, table.empty_frame())
        yield "Emptied every table but raw."
        n_fetches = 0
        for vendor in discover_vendors().values():
            if vendor.to_batch is None:
                continue
            fetches = group_fetches(_calls(warehouse, vendor.name))
            for calls in fetches:
                write_batch(etl, vendor, vendor.to_batch(calls))
            n_fetches += len(fetches)
            yield f"Replayed {len(fetches)} fetches of {vendor.title}."
        if not n_fetches:
            yield (
                f"Warning: {settings.warehouse_path} holds no answer of any vendor in raw (was the "
                "file deleted?), so nothing could be replayed: put a copy of it back and rebuild "
                "again, or load anew with `energy-etl backfill`."
            )
        with nullcontext(instance) if instance else open_instance(settings.dagster_home) as record:
            job = build_defs({"etl": etl}).resolve_job_def(COMPUTE_JOB)
            result = job.execute_in_process(
                instance=record,
                tags=changed_tags(etl.now().date()),
                run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
                raise_on_error=False,
            )
        if not result.success:
            raise EnergyEtlError(
                f"The computation failed in run {result.run_id}: look at it with `energy-etl up`, "
                "then run `energy-etl rebuild` again."
            )
        yield f"Computed and published again: {settings.published_path}."


def _calls(warehouse: Warehouse, vendor_name: str) -> list[RawCall]:
    rows = warehouse.read(_CALLS, [vendor_name])
    return [RawCall.from_row(row) for row in rows.iter_rows(named=True)]
