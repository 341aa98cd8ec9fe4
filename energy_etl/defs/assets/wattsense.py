"""Group `wattsense`: the inventory as of now, and the history per UTC day."""

from datetime import datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.extraction import OnlyConfig, progress_log, tell, write_batch
from energy_etl.defs.failures import plainly
from energy_etl.defs.metadata import materialized, rows_per_day, show_days, table_spec
from energy_etl.defs.partitions import BATCHES, CATCH_UP_TAG, DAYS, keys_span
from energy_etl.defs.resources import Etl
from energy_etl.rest import RequestLog
from energy_etl.tables import core
from energy_etl.vendors.wattsense import VENDOR
from energy_etl.vendors.wattsense.client import PropertyWindow, WattsenseClient
from energy_etl.vendors.wattsense.rows import to_batch
from energy_etl.vendors.wattsense.settings import WattsenseSettings
from energy_etl.vendors.wattsense.tables import (
    DEVICE,
    HISTORY,
    LATEST,
    ORGANIZATION,
    PROPERTY,
)

INVENTORY: Final = (ORGANIZATION, DEVICE, PROPERTY, LATEST)
# A batch is fetched from before its start, so that its first interval has a predecessor.
LOOKBACK: Final = timedelta(hours=2)


def _client(etl: Etl, log: RequestLog) -> WattsenseClient:
    settings = etl.settings()
    section = settings.section(WattsenseSettings)
    return WattsenseClient(section, log=log, state_path=settings.state_path)


@dg.multi_asset(
    name="wattsense_inventory",
    pool="wattsense",
    specs=[
        table_spec(table, kinds=("duckdb",), note="As of the fetch; unpartitioned.")
        for table in INVENTORY
    ],
)
@plainly
def inventory(context: dg.AssetExecutionContext, etl: Etl):
    """What Wattsense lists: organizations, boxes, properties, latest values."""
    log = RequestLog(VENDOR.name)
    with _client(etl, log) as client:
        report = client.fetch_inventory(progress=progress_log(context, "inventory calls"))
    batch = to_batch(log.calls())
    written = write_batch(etl, VENDOR, batch, log)
    numbers = tell(context, VENDOR, report, batch)
    for table in INVENTORY:
        rows = batch.frame(table).height
        yield materialized(table, rows=rows, rows_changed=written.rows_changed(table), **numbers)


@dg.multi_asset(
    name="wattsense_history",
    pool="wattsense",
    backfill_policy=BATCHES,
    specs=[
        table_spec(
            HISTORY,
            deps=(PROPERTY,),
            partitions=DAYS,
            note="GET /v1/devices/{deviceId}/properties, one range per mapped register and run. "
            "The running day is fetched hourly, the last days once a day for what comes late; "
            "backfill the days to fill again.",
        )
    ],
)
@plainly
def history(context: dg.AssetExecutionContext, etl: Etl, config: OnlyConfig):
    """The readings of every mapped register in the run's days."""
    from_at, to_at = keys_span(list(context.partition_keys))
    frames = etl.portfolio().frames
    mapped = config.chosen(
        frames[core.ALIAS]
        .filter((pl.col("thing") == "register") & (pl.col("vendor") == VENDOR.name))
        .join(frames[core.REGISTER], left_on="thing_id", right_on="register_id")
    )
    starts = _last_measured(etl) if CATCH_UP_TAG in context.run.tags else {}
    wanted = [
        PropertyWindow.of_vendor_id(
            row["vendor_id"],
            min(from_at, starts.get(row["vendor_id"], from_at)) - LOOKBACK,
            to_at,
            row["thing_id"],
        )
        for row in mapped.iter_rows(named=True)
    ]
    log = RequestLog(VENDOR.name)
    with _client(etl, log) as client:
        report = client.fetch_histories(wanted, progress=progress_log(context, "registers"))
    batch = to_batch(log.calls())
    written = write_batch(etl, VENDOR, batch, log)
    numbers = tell(context, VENDOR, report, batch)
    rows = batch.frame(HISTORY)
    show_days(context, HISTORY, rows_per_day(HISTORY, rows))
    yield materialized(
        HISTORY, rows=rows.height, rows_changed=written.rows_changed(HISTORY), **numbers
    )


def _last_measured(etl: Etl) -> dict[str, datetime]:
    """Return the newest instant of each property: after an outage of days a run begins there."""
    rows = etl.warehouse().read(
        "SELECT device_id_wattsense || '/' || property_id_wattsense AS vendor_id, "
        "max(measured_at) AS last_at FROM wattsense.history GROUP BY ALL"
    )
    return dict(rows.iter_rows())
