"""Group `wiser`: what a customer has, as versions in time."""

import dagster as dg

from energy_etl.defs.extraction import progress_log, stored
from energy_etl.defs.failures import plainly
from energy_etl.defs.metadata import table_spec
from energy_etl.defs.resources import Etl
from energy_etl.rest import RequestLog
from energy_etl.vendors.wiser import VENDOR
from energy_etl.vendors.wiser.client import WiserClient
from energy_etl.vendors.wiser.settings import WiserSettings


@dg.multi_asset(
    name="wiser_inventory",
    pool="wiser",
    specs=[
        table_spec(
            table,
            note="As listed when the run began; a version begins when something changed and ends "
            "when it is listed no more. Unpartitioned: the past cannot be asked for again.",
        )
        for table in VENDOR.tables
    ],
)
@plainly
def inventory(context: dg.AssetExecutionContext, etl: Etl):
    """What Wiser lists: locations, sites, rooms, devices; an account must be authorised."""
    log = RequestLog(VENDOR.name)
    settings = etl.settings_to_call(VENDOR.name)
    client = WiserClient(
        settings.section(WiserSettings),
        log=log,
        state_path=settings.state_path,
        token_folder=settings.token_dir,
    )
    with client:
        report = client.fetch_inventory(progress=progress_log(context, "lists"))
    yield from stored(context, etl, VENDOR, log, report, VENDOR.tables)
