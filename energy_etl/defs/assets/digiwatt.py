"""Group `digiwatt`: its ten endpoints, as snapshots of the day they were fetched.

What they give is relative to now, so nothing here is partitioned.
"""

import dagster as dg
import polars as pl

from energy_etl.defs.extraction import OnlyConfig, progress_log, stored
from energy_etl.defs.failures import plainly
from energy_etl.defs.metadata import table_spec
from energy_etl.defs.resources import Etl
from energy_etl.periods import local_day_of
from energy_etl.rest import RequestLog
from energy_etl.tables import core
from energy_etl.vendors.digiwatt import VENDOR
from energy_etl.vendors.digiwatt.client import DigiwattClient, SmartMeter
from energy_etl.vendors.digiwatt.settings import DigiwattSettings


@dg.multi_asset(
    name="digiwatt_snapshot",
    pool="digiwatt",
    specs=[
        table_spec(table, note="Relative to the day of the fetch (fetched_on); fetched hourly.")
        for table in VENDOR.tables
    ],
)
@plainly
def snapshot(context: dg.AssetExecutionContext, etl: Etl, config: OnlyConfig):
    """Every endpoint and period of every mapped smart meter."""
    frames, now = etl.portfolio().frames, etl.now()
    mapped = config.chosen(
        frames[core.ALIAS]
        .filter((pl.col("thing") == "meter") & (pl.col("vendor") == VENDOR.name))
        .join(frames[core.METER], left_on="thing_id", right_on="meter_id", coalesce=False)
        .join(frames[core.SITE], on="site_id")
    )
    meters = [
        SmartMeter(row["vendor_id"], local_day_of(row["zone"], now), row["thing_id"])
        for row in mapped.iter_rows(named=True)
    ]
    log = RequestLog(VENDOR.name)
    settings = etl.settings_to_call(VENDOR.name)
    client = DigiwattClient(
        settings.section(DigiwattSettings),
        log=log,
        state_path=settings.state_path,
        token_folder=settings.token_dir,
    )
    with client:
        report = client.fetch_meters(meters, progress=progress_log(context, "calls", step=100))
    yield from stored(context, etl, VENDOR, log, report, VENDOR.tables)
