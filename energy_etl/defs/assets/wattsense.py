"""Group `wattsense`: inventory and access rights as of now, and the history per UTC day."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.extraction import OnlyConfig, progress_log, stored
from energy_etl.defs.failures import plainly
from energy_etl.defs.metadata import materialized, table_spec
from energy_etl.defs.partitions import BATCHES, CATCH_UP_TAG, DAYS, HOURLY, LOOKBACK, keys_span
from energy_etl.defs.resources import Etl
from energy_etl.rest import RequestLog
from energy_etl.tables import core
from energy_etl.vendors.wattsense import VENDOR
from energy_etl.vendors.wattsense.client import PropertyWindow, WattsenseClient
from energy_etl.vendors.wattsense.settings import WattsenseSettings
from energy_etl.vendors.wattsense.tables import (
    CONFIGURATION,
    DEVICE,
    DEVICE_SUBSCRIPTION,
    EQUIPMENT,
    HISTORY,
    LATEST,
    ORGANIZATION,
    PROPERTY,
)
from energy_etl.vendors.wattsense.tables_access import ACCESS_TABLES

INVENTORY: Final = (
    ORGANIZATION,
    DEVICE,
    DEVICE_SUBSCRIPTION,
    CONFIGURATION,
    EQUIPMENT,
    PROPERTY,
    LATEST,
)


def _client(etl: Etl, log: RequestLog) -> WattsenseClient:
    settings = etl.settings_to_call(VENDOR.name)
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
    """What Wattsense lists: organizations, boxes, subscriptions, configurations, latest values."""
    log = RequestLog(VENDOR.name)
    with _client(etl, log) as client:
        report = client.fetch_inventory(progress=progress_log(context, "inventory calls"))
    yield from stored(context, etl, VENDOR, log, report, INVENTORY)


@dg.multi_asset(
    name="wattsense_access",
    pool="wattsense",
    specs=[
        table_spec(
            table,
            note="As of the fetch, kept as versions; unpartitioned. Needs the API key (or Basic) "
            "of a user with an account role: a service account may not see users and keys.",
        )
        for table in ACCESS_TABLES
    ],
)
@plainly
def access(context: dg.AssetExecutionContext, etl: Etl):
    """Who or what may do what at Wattsense: users, service accounts, API keys, roles, units."""
    if not etl.settings().section(WattsenseSettings).read_access:
        context.log.info("wattsense.read_access is false: nobody was asked who may do what.")
        for table in ACCESS_TABLES:
            yield materialized(table, rows=0, rows_changed=0)
        return
    log = RequestLog(VENDOR.name)
    with _client(etl, log) as client:
        report = client.fetch_access(progress=progress_log(context, "lists"))
    yield from stored(context, etl, VENDOR, log, report, ACCESS_TABLES)


@dg.multi_asset(
    name="wattsense_history",
    pool="wattsense",
    backfill_policy=BATCHES,
    specs=[
        table_spec(
            HISTORY,
            partitions=DAYS,
            note="GET /v1/devices/{deviceId}/properties, one range per mapped register and run. "
            "Hourly from the newest value less wattsense.refetch_window_h, however old it is; the "
            "last days whole once a day, for what comes late; backfill the days to fill again.",
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
    begin_at = _beginnings(etl, context.run.tags.get(CATCH_UP_TAG), from_at)
    wanted = [
        PropertyWindow.of_vendor_id(
            row["vendor_id"], begin_at(row["vendor_id"]), to_at, row["thing_id"]
        )
        for row in mapped.iter_rows(named=True)
    ]
    log = RequestLog(VENDOR.name)
    with _client(etl, log) as client:
        report = client.fetch_histories(wanted, progress=progress_log(context, "registers"))
    yield from stored(context, etl, VENDOR, log, report, [HISTORY], is_by_day=True)


def _beginnings(etl: Etl, schedule: str | None, from_at: datetime) -> Callable[[str], datetime]:
    """Return where to begin with a property, given as `<deviceId>/<propertyId>`.

    A run by hand takes its days whole. The hourly run begins a little before the newest value,
    within the running day or, after an outage, before it; the daily one takes its days whole and
    what is missing before them. Until a property has a value its days are taken whole, too.
    """
    newest = _last_measured(etl) if schedule else {}
    if schedule != HOURLY:
        return lambda vendor_id: min(from_at, newest.get(vendor_id, from_at)) - LOOKBACK
    window = timedelta(hours=etl.settings().section(WattsenseSettings).refetch_window_h)

    def begin_at(vendor_id: str) -> datetime:
        last_at = newest.get(vendor_id)
        if last_at is None:
            return from_at - LOOKBACK
        # Whole hours: windows that begin together are replaced together, in one write.
        return (last_at - window).replace(minute=0, second=0, microsecond=0)

    return begin_at


def _last_measured(etl: Etl) -> dict[str, datetime]:
    """Return the newest instant of each property, which a box with a wrong clock cannot advance."""
    rows = etl.warehouse().read(
        "SELECT device_id_wattsense || '/' || property_id_wattsense AS vendor_id, "
        "max(measured_at) AS last_at FROM wattsense.history WHERE measured_at <= ? GROUP BY ALL",
        [etl.now()],
    )
    return dict(rows.iter_rows())
