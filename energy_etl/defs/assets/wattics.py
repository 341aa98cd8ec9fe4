"""Group `wattics`: what Wattics lists, and what it says it holds of the streams that are pushed."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.extraction import OnlyConfig, progress_log, stored
from energy_etl.defs.failures import plainly
from energy_etl.defs.metadata import materialized, table_spec
from energy_etl.defs.partitions import BATCHES, CATCH_UP_TAG, DAYS, HOURLY, keys_span, tagged_span
from energy_etl.defs.resources import Etl
from energy_etl.delivery.mirror import last_accepted
from energy_etl.delivery.outbox import Outbox
from energy_etl.periods import local_day_of
from energy_etl.rest import RequestLog
from energy_etl.state import open_state
from energy_etl.tables import Table, core, push
from energy_etl.vendors.wattics import VENDOR
from energy_etl.vendors.wattics.api_client import (
    NO_TOKEN,
    MonthWanted,
    RawDataWanted,
    WatticsApiClient,
)
from energy_etl.vendors.wattics.reach import API_LOGIN
from energy_etl.vendors.wattics.settings import WatticsSettings
from energy_etl.vendors.wattics.tables import (
    ASKED_MONTH,
    CONSUMPTION,
    COST,
    METER,
    ORGANIZATION,
    RAW_DATA,
    SITE,
)
from energy_etl.vendors.wattics.wire import SINGLE_FIELD

LISTING: Final = (ORGANIZATION, SITE, METER)
MONTHS: Final = (CONSUMPTION, ASKED_MONTH, COST)
# What is pushed late belongs to these days: until then last month is asked for too.
LATE_DAYS: Final = timedelta(days=3)


def _section(etl: Etl) -> WatticsSettings:
    return etl.settings().section(WatticsSettings)


def _client(etl: Etl, log: RequestLog) -> WatticsApiClient:
    settings = etl.settings_to_call(VENDOR.name, API_LOGIN)
    section = settings.section(WatticsSettings)
    return WatticsApiClient(section, log=log, state_path=settings.state_path)


def _is_readable(context: dg.AssetExecutionContext, etl: Etl) -> bool:
    """True when there is a token; without one nothing is read, and nothing else is stopped."""
    is_readable = bool(_section(etl).api_token.get_secret_value())
    if not is_readable:
        context.log.info(NO_TOKEN)
    return is_readable


def _unread(tables: tuple[Table, ...]) -> Iterator[dg.MaterializeResult]:
    return (materialized(table, rows=0, note=NO_TOKEN) for table in tables)


def _mapped(etl: Etl, config: OnlyConfig) -> pl.DataFrame:
    """The streams of the portfolio that Wattics lists a meter for, with their register's zone."""
    frames = etl.portfolio().frames
    registers = config.chosen(frames[core.REGISTER]).select("register_id", "zone")
    meters = (
        etl.warehouse()
        .read_table(METER, "valid_to_at IS NULL")
        .filter(pl.col("reference").is_unique())
        .select("meter_id_wattics", stream_id="reference")
    )
    return (
        frames[push.STREAM]
        .drop("zone")
        .join(registers, on="register_id")
        .join(meters, on="stream_id")
        .sort("register_id", "stream_id")
    )


@dg.multi_asset(
    name="wattics_listing",
    pool="wattics",
    specs=[
        table_spec(table, note="GET /organizations, /sites, /meters; versions in time.")
        for table in LISTING
    ],
)
@plainly
def listing(context: dg.AssetExecutionContext, etl: Etl):
    """What Wattics lists: organizations, their sites, the meters of these."""
    if not _is_readable(context, etl):
        yield from _unread(LISTING)
        return
    log = RequestLog(VENDOR.name)
    with _client(etl, log) as client:
        report = client.fetch_listing(progress_log(context, "sites"))
    yield from stored(context, etl, VENDOR, log, report, LISTING)


@dg.multi_asset(
    name="wattics_consumption",
    pool="wattics",
    specs=[
        table_spec(
            table,
            deps=(METER, push.STREAM),
            note="GET /meters/ID/consumptions and /costs by month: the months of the last three "
            "days and those that the run's days touch, of mapped streams that carry an amount. "
            "Hourly without costs.",
        )
        for table in MONTHS
    ],
)
@plainly
def consumption(context: dg.AssetExecutionContext, etl: Etl, config: OnlyConfig):
    """What Wattics says it holds per local day and slot, and what it costs."""
    if not _is_readable(context, etl):
        yield from _unread(MONTHS)
        return
    mapped = _mapped(etl, config).filter(pl.col("content") != "sample")
    # Before the first call: what is accepted from now on may be missing in the answers.
    with open_state(etl.settings().state_path) as connection:
        accepted = last_accepted(Outbox(connection))
    now, span = etl.now(), tagged_span(dict(context.run.tags))
    wanted = [
        MonthWanted(
            row["meter_id_wattics"], month_on, accepted.get(row["stream_id"]), row["register_id"]
        )
        for row in mapped.iter_rows(named=True)
        for month_on in wanted_months(row["zone"], now, span)
    ]
    log = RequestLog(VENDOR.name)
    with _client(etl, log) as client:
        report = client.fetch_months(
            wanted,
            with_costs=context.run.tags.get(CATCH_UP_TAG) != HOURLY,
            progress=progress_log(context, "months", step=100),
        )
    yield from stored(context, etl, VENDOR, log, report, MONTHS)


@dg.multi_asset(
    name="wattics_raw_data",
    pool="wattics",
    backfill_policy=BATCHES,
    specs=[
        table_spec(
            RAW_DATA,
            deps=(METER, push.STREAM),
            partitions=DAYS,
            note="GET /meters/ID/raw_data in windows of at most 90 days, of mapped streams with "
            "an electrical field. The running day is fetched hourly, the last days once a day; "
            "backfill the days to fill again.",
        )
    ],
)
@plainly
def raw_data(context: dg.AssetExecutionContext, etl: Etl, config: OnlyConfig):
    """The active power that Wattics holds of every electrical stream in the run's days."""
    if not _is_readable(context, etl):
        yield from _unread((RAW_DATA,))
        return
    from_at, to_at = keys_span(list(context.partition_keys))
    mapped = _mapped(etl, config).filter(pl.col("field") != SINGLE_FIELD)
    wanted = [
        RawDataWanted(row["meter_id_wattics"], from_at, to_at, row["register_id"])
        for row in mapped.iter_rows(named=True)
    ]
    log = RequestLog(VENDOR.name)
    with _client(etl, log) as client:
        report = client.fetch_raw_windows(wanted, progress_log(context, "meters"))
    yield from stored(context, etl, VENDOR, log, report, [RAW_DATA], is_by_day=True)


def wanted_months(zone: str, now: datetime, span: tuple[datetime, datetime] | None) -> list[date]:
    """Return the first days of the months that the last days and a run's days touch locally.

    Args:
        zone: of the site.
        now: the present; nothing after it is asked for.
        span: [start, end) of the run's days, None when it names none.
    """
    stretches = [(now - LATE_DAYS, now)]
    if span is not None and span[0] < now:
        stretches.append((span[0], min(span[1] - timedelta(microseconds=1), now)))
    months: set[date] = set()
    for from_at, to_at in stretches:
        day, last_on = local_day_of(zone, from_at), local_day_of(zone, to_at)
        while day <= last_on:
            months.add(day.replace(day=1))
            day += timedelta(days=1)
    return sorted(months)
