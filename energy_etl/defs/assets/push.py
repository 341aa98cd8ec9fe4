"""Group `push`: intervals become packets in the outbox; one run sends all that is released.

The outbox itself is in `state.sqlite`; these tables are its mirror for people.
"""

import asyncio
from typing import Final

import dagster as dg

from energy_etl.defs.delivery import feeds_of, release_streams, stream_plans, streams_of
from energy_etl.defs.failures import plainly
from energy_etl.defs.marks import POOL, step_of
from energy_etl.defs.metadata import materialized, table_spec
from energy_etl.defs.resources import Etl
from energy_etl.defs.sending import send_outbox
from energy_etl.delivery import mirror
from energy_etl.delivery.limits import DrainReport
from energy_etl.delivery.outbox import Outbox
from energy_etl.settings import Settings
from energy_etl.state import open_state
from energy_etl.tables import core, push
from energy_etl.vendors.wattics.packets import compute_packets
from energy_etl.vendors.wattics.settings import WatticsSettings
from energy_etl.warehouse import publish

OUTBOX_TABLES: Final = (push.PACKET, push.STREAM_OFFSET, push.CORRECTION)


@dg.multi_asset(
    name="packet",
    pool=POOL,
    specs=[
        table_spec(
            table,
            deps=(core.INTERVAL, core.SAMPLE, push.STREAM, push.STREAM_FIELD),
            kinds=("polars", "sqlite"),
            note="Filled behind the blocking checks of the same run; the same intervals again "
            "change nothing, a changed value behind a sent packet becomes a correction.",
        )
        for table in OUTBOX_TABLES
    ],
)
@plainly
def packet(context: dg.AssetExecutionContext, etl: Etl):
    """Changed intervals of every stream into the outbox, released up to the first hole."""
    settings, portfolio = etl.settings(), etl.portfolio()
    warehouse = etl.warehouse()
    with step_of(settings.state_path, "packet") as step:
        streams = streams_of(portfolio, step.register_ids)
        # All fields of a stream make its packets, whichever register has something new.
        feeds = feeds_of(portfolio).join(streams, on="stream_id", how="semi")
        ids = feeds["register_id"].unique().sort().to_list()
        # From the earliest start on: before it nothing becomes a packet.
        start_at = (
            streams["push_from_at"].min() if not streams["push_from_at"].has_nulls() else None
        )
        where = "list_contains(?, register_id) AND (?::TIMESTAMPTZ IS NULL OR start_at >= ?)"
        with open_state(settings.state_path) as connection:
            outbox = Outbox(connection)
            packets, offsets = compute_packets(
                warehouse.read_table(core.INTERVAL, where, [ids, start_at, start_at]),
                warehouse.read_table(core.SAMPLE, where, [ids, start_at, start_at]),
                streams,
                portfolio.frames[push.STREAM_FIELD],
                portfolio.frames[core.REGISTER],
                outbox.offsets(),
            )
            filled_ids = set(streams["stream_id"])
            plans = [p for p in stream_plans(portfolio) if p.stream_id in filled_ids]
            filled = outbox.fill(packets, plans, offsets=offsets, is_whole=True)
    # Behind the step: its own marks are no reason to wait any more.
    n_due = release_streams(etl, context.instance, context.run.run_id)
    with open_state(settings.state_path) as connection:
        _mirror(etl, Outbox(connection))
    for table in OUTBOX_TABLES:
        yield materialized(
            table,
            packets_added=filled.n_added,
            packets_updated=filled.n_updated,
            packets_corrected=filled.n_corrected,
            packets_withdrawn=filled.n_withdrawn,
            streams_due=n_due,
        )


@dg.multi_asset(
    name="stream_status",
    pool="send",
    specs=[
        table_spec(
            push.STREAM_STATUS,
            deps=(push.PACKET,),
            kinds=("sqlite",),
            note="Sent: answered with 200. Confirmed: a read-back of the stream's last packet at "
            "the end of the run is at or after it.",
        )
    ],
)
@plainly
def stream_status(context: dg.AssetExecutionContext, etl: Etl):
    """Every released packet sent in order; fails when one that was due was not delivered."""
    settings = etl.settings()
    release_streams(etl, context.instance, context.run.run_id)
    with open_state(settings.state_path) as connection:
        outbox = Outbox(connection)
        report = asyncio.run(_drained(context, settings, outbox))
        _mirror(etl, outbox)
        status = mirror.status_frame(outbox)
    publish(etl.warehouse(), data_dir=settings.data_dir)
    for sentence in report.sentences:
        context.log.warning(sentence)
    report.raise_if_incomplete()
    yield materialized(
        push.STREAM_STATUS,
        packets_sent=report.n_sent,
        packets_confirmed=int(status["n_confirmed"].sum()),
        packets_held=int(status["n_held"].sum()),
        packets_rejected=int(status["n_rejected"].sum()),
        seconds=round(report.elapsed_s, 1),
    )


async def _drained(
    context: dg.AssetExecutionContext, settings: Settings, outbox: Outbox
) -> DrainReport:
    return await send_outbox(
        settings.section(WatticsSettings),
        outbox,
        on_progress=lambda n_done, n_due: context.log.info(f"{n_done} of {n_due} packets."),
    )


def _mirror(etl: Etl, outbox: Outbox) -> None:
    with etl.warehouse().write() as writer:
        # Read under the lock: of two runs that mirror, the later one must show the later outbox.
        frames = {
            push.PACKET: mirror.packet_frame(outbox),
            push.CORRECTION: mirror.correction_frame(outbox),
            push.STREAM_OFFSET: mirror.offset_frame(outbox),
            push.STREAM_STATUS: mirror.status_frame(outbox),
        }
        for table, frame in frames.items():
            writer.replace_all(table, frame)
