"""Group `smartgridone`: what it lists as of now, and the telemetry per UTC day."""

from datetime import datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.extraction import OnlyConfig, progress_log, stored
from energy_etl.defs.failures import plainly
from energy_etl.defs.metadata import table_spec
from energy_etl.defs.partitions import BATCHES, CATCH_UP_TAG, DAYS, HOURLY, LOOKBACK, keys_span
from energy_etl.defs.resources import Etl
from energy_etl.rest import RequestLog
from energy_etl.tables import core
from energy_etl.vendors.smartgridone import VENDOR
from energy_etl.vendors.smartgridone.inventory import fetch_inventory, open_client
from energy_etl.vendors.smartgridone.rows import skip_hash_of, to_batch
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings
from energy_etl.vendors.smartgridone.tables import (
    COMPANY,
    DEVICE,
    LICENCE,
    MONITOR,
    ROLE,
    SERIES,
    TELEMETRY,
)
from energy_etl.vendors.smartgridone.telemetry import FieldWindow, fetch_telemetry

INVENTORY: Final = (DEVICE, SERIES, ROLE, MONITOR, COMPANY, LICENCE)


@dg.multi_asset(
    name="smartgridone_inventory",
    pool="smartgridone",
    specs=[
        table_spec(
            table,
            note="Versions in time as of each fetch; unpartitioned. Devices are sent only when one "
            "has changed (skipHash); licences are not asked for by the hourly run.",
        )
        for table in INVENTORY
    ],
)
@plainly
def inventory(context: dg.AssetExecutionContext, etl: Etl):
    """What SmartgridOne lists: devices and their series, roles, monitors, companies, licences."""
    known = _devices_in_force(etl)
    log = RequestLog(VENDOR.name)
    with open_client(etl.settings_to_call(VENDOR.name), log) as client:
        report = fetch_inventory(
            client,
            skip_hash=skip_hash_of(known),
            controllers=known.filter("is_controller")["node_id_smartgridone"]
            .drop_nulls()
            .to_list(),
            with_licences=context.run.tags.get(CATCH_UP_TAG) != HOURLY,
            progress=progress_log(context, "licence calls"),
        )
    yield from stored(context, etl, VENDOR, log, report, INVENTORY)


def _devices_in_force(etl: Etl) -> pl.DataFrame:
    return etl.warehouse().read(
        "SELECT device_id_smartgridone, node_id_smartgridone, is_controller, last_update_text "
        "FROM smartgridone.device WHERE valid_to_at IS NULL"
    )


@dg.multi_asset(
    name="smartgridone_telemetry",
    pool="smartgridone",
    backfill_policy=BATCHES,
    specs=[
        table_spec(
            TELEMETRY,
            partitions=DAYS,
            note="POST /v1/telemetry/query, one range per mapped register and run, each field a "
            "query of its own. The hourly run begins `smartgridone.refetch_hours` before the "
            "newest reading; the last days are fetched once a day for what comes late; backfill "
            "the days to fill again.",
        )
    ],
)
@plainly
def telemetry(context: dg.AssetExecutionContext, etl: Etl, config: OnlyConfig):
    """The readings of every mapped register in the run's days."""
    settings = etl.settings()
    frames = etl.portfolio().frames
    mapped = config.chosen(
        frames[core.ALIAS]
        .filter((pl.col("thing") == "register") & (pl.col("vendor") == VENDOR.name))
        .join(frames[core.REGISTER], left_on="thing_id", right_on="register_id")
    )
    span = keys_span(list(context.partition_keys))
    cadence = context.run.tags.get(CATCH_UP_TAG)
    newest = _newest(etl) if cadence else {}
    refetch = timedelta(hours=settings.section(SmartgridOneSettings).refetch_hours)
    wanted = [
        FieldWindow.of_vendor_id(
            row["vendor_id"],
            start_of(span, newest.get(row["vendor_id"]), cadence, refetch),
            span[1],
            row["thing_id"],
        )
        for row in mapped.iter_rows(named=True)
    ]
    log = RequestLog(VENDOR.name)
    with open_client(etl.settings_to_call(VENDOR.name), log) as client:
        # One call: where each field is kept may have changed since the last listing.
        client.fetch_devices()
        series = to_batch(log.calls()).frame(SERIES)
        progress = progress_log(context, "telemetry calls")
        report = fetch_telemetry(client, wanted, series, progress=progress)
    yield from stored(context, etl, VENDOR, log, report, [TELEMETRY], is_by_day=True)


def start_of(
    span: tuple[datetime, datetime],
    newest_at: datetime | None,
    cadence: str | None,
    refetch: timedelta,
) -> datetime:
    """Return where a register's range begins.

    A run by hand takes its days whole. A scheduled one goes back to the newest reading after an
    outage, however long that was; an hourly one begins there, less what may still have changed.

    Args:
        span: [start, end) of the run's days.
        newest_at: the register's newest reading; None: there is none.
        cadence: `hourly` or `daily` of a schedule, None by hand.
        refetch: what an hourly run fetches again.
    """
    from_at, to_at = span
    if cadence is None or newest_at is None:
        return from_at - LOOKBACK
    if cadence == HOURLY:
        return min(newest_at, to_at) - refetch
    return min(newest_at, from_at) - LOOKBACK


def _newest(etl: Etl) -> dict[str, datetime]:
    """Return the newest instant of each field of a device."""
    rows = etl.warehouse().read(
        "SELECT node_id_smartgridone || '/' || field AS vendor_id, max(measured_at) AS newest_at "
        "FROM smartgridone.telemetry GROUP BY ALL"
    )
    return dict(rows.iter_rows())
