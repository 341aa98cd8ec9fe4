"""Group `push`: intervals become packets in the outbox; one run sends all that is released.

The outbox itself is in `state.sqlite`; these tables are its mirror for people.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import dagster as dg
import polars as pl
from pydantic import Field

from energy_etl.defs.delivery import fill_whole, mirror_outbox, release_streams
from energy_etl.defs.dry_run import look_ahead, write_lines
from energy_etl.defs.failures import plainly
from energy_etl.defs.jobs import SEND_STEP
from energy_etl.defs.marks import POOL, step_of
from energy_etl.defs.metadata import materialized, table_spec
from energy_etl.defs.resources import Etl
from energy_etl.defs.sending import require_consent_to_send, send_outbox
from energy_etl.defs.watching import (
    CHECK_SPECS,
    frames_of,
    judge_delivery,
    lines_of,
    note_told,
)
from energy_etl.delivery.agreed import stream_plans
from energy_etl.delivery.limits import DrainReport
from energy_etl.delivery.loop import run_fast
from energy_etl.delivery.outbox import Outbox
from energy_etl.errors import ConfigurationError
from energy_etl.settings import Settings
from energy_etl.state import open_state
from energy_etl.tables import Frames, core, push
from energy_etl.vendors.wattics.packets import Packets, compute_packets
from energy_etl.warehouse import publish

OUTBOX_TABLES: Final = (push.PACKET, push.STREAM_OFFSET, push.CORRECTION)
_PROGRESS_EVERY_S: Final = 5.0


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
        plans = [p for p in stream_plans(portfolio) if p.register_ids & step.register_ids]
        streams = portfolio.frames[push.STREAM].filter(
            pl.col("stream_id").is_in([plan.stream_id for plan in plans])
        )
        # All fields of a stream make its packets, whichever register has something new.
        ids = sorted({register_id for plan in plans for register_id in plan.register_ids})
        # From the earliest start on: before it nothing becomes a packet.
        start_at = (
            streams["push_from_at"].min() if not streams["push_from_at"].has_nulls() else None
        )
        where = "list_contains(?, register_id) AND (?::TIMESTAMPTZ IS NULL OR start_at >= ?)"
        intervals, samples = (
            warehouse.read_table(table, where, [ids, start_at, start_at])
            for table in (core.INTERVAL, core.SAMPLE)
        )
        fields, registers = portfolio.frames[push.STREAM_FIELD], portfolio.frames[core.REGISTER]

        def compute(offsets: pl.DataFrame) -> Packets:
            return compute_packets(intervals, samples, streams, fields, registers, offsets)

        with open_state(settings.state_path) as connection:
            filled = fill_whole(Outbox(connection), plans, compute)
    # Behind the step: its own marks are no reason to wait any more.
    n_due = release_streams(etl, context.instance, context.run.run_id)
    with open_state(settings.state_path) as connection:
        mirror_outbox(etl, Outbox(connection))
    for table in OUTBOX_TABLES:
        yield materialized(
            table,
            packets_added=filled.n_added,
            packets_updated=filled.n_updated,
            packets_corrected=filled.n_corrected,
            packets_withdrawn=filled.n_withdrawn,
            streams_due=n_due,
        )


class SendConfig(dg.Config):
    """What a run does with the outbox; empty: it sends what is due."""

    is_sending: bool = Field(True, description="False sends nothing: it counts and judges only.")
    dry_run: bool = Field(
        False,
        description="Send nothing, change no packet: write what would be sent to a file, which the "
        "metadata of push/stream_status names.",
    )
    retries_all: bool = Field(
        False,
        description="Unpark every stream and give refused packets another chance, then send; or "
        "only what the two fields below name.",
    )
    retry_streams: list[str] = Field([], description="Retry these streams.")
    retry_credential: str = Field("", description="Retry the streams that it pushes.")


@dg.multi_asset(
    name=SEND_STEP,
    pool="send",
    specs=[
        table_spec(
            push.STREAM_STATUS,
            deps=(push.PACKET,),
            kinds=("sqlite",),
            note="Sent: answered with 200. Confirmed: a read-back of the stream's last packet at "
            "the end of the run is at or after it. Counted anew by each run that sends, computes "
            "or looks (`watch_delivery`). Once the cause of what is red here is mended, let it go "
            "on: `energy-etl outbox retry --all`, or the job `retry_deliveries`.",
        ),
        table_spec(
            push.HOLE,
            deps=(push.PACKET,),
            kinds=("sqlite",),
            note="Wattics takes a missing packet for broken communication: declare in gaps.csv "
            "what was never measured, load the rest with `energy-etl backfill`.",
        ),
        table_spec(
            push.RESPONSE,
            deps=(push.PACKET,),
            kinds=("sqlite",),
            note="Also by `energy-etl outbox responses`.",
        ),
    ],
    check_specs=CHECK_SPECS,
)
@plainly
def stream_status(context: dg.AssetExecutionContext, etl: Etl, config: SendConfig):
    """Every released packet sent in order; fails when one that was due was not delivered."""
    settings, portfolio = etl.settings(), etl.portfolio()
    is_sending = config.is_sending and not config.dry_run
    if is_sending:
        # Before anything is unparked or released for nothing.
        require_consent_to_send(settings)
    would: dict[str, Any] = {}
    if config.dry_run:
        would = dry_run(etl, context.instance, context.run.run_id, config, context.log.info)
    else:
        with open_state(settings.state_path) as connection:
            retry(Outbox(connection), config, context.log.info)
        release_streams(etl, context.instance, context.run.run_id)
    with open_state(settings.state_path) as connection:
        outbox = Outbox(connection)
        report, waits = DrainReport(), list[str]()
        if is_sending:
            report = run_fast(_drained(context, settings, outbox, waits))
        frames = frames_of(mirror_outbox(etl, outbox), portfolio)
        told = lines_of(outbox, portfolio, etl.now())
    publish(etl.warehouse(), data_dir=settings.data_dir)
    yield from _materialized(frames, report, len(waits), would)
    # Also when packets were not delivered: then the checks are what people look at.
    yield from judge_delivery(frames, etl.now())
    with open_state(settings.state_path) as connection:
        note_told(Outbox(connection), told)
    for sentence in report.sentences:
        context.log.warning(sentence)
    report.raise_if_incomplete()


def retry(outbox: Outbox, config: SendConfig, tell: Callable[[str], None]) -> None:
    """Unpark what the config names, and give its refused packets another chance.

    Raises:
        ConfigurationError: it names a stream or a credential that the outbox does not know.
    """
    streams = outbox.streams()
    known = {each.stream_id for each in streams} | {each.credential for each in streams}
    named = {*config.retry_streams, *filter(None, [config.retry_credential])}
    if named - known:
        raise ConfigurationError(
            f"{', '.join(sorted(named - known))}: no such stream or credential in the outbox; "
            "push/stream_status lists the streams."
        )
    chosen = [
        each.stream_id
        for each in streams
        if each.stream_id in config.retry_streams
        or each.credential == config.retry_credential
        or (config.retries_all and not named)
    ]
    if chosen:
        parked = [s.stream_id for s in streams if s.parked_reason and s.stream_id in chosen]
        n_packets = outbox.retry(chosen)
        tell(
            f"Unparked: {', '.join(parked) or 'none was parked'}. Refused packets that go again: "
            f"{n_packets}."
        )


def _materialized(
    frames: Frames, report: DrainReport, n_waits: int, would: dict[str, Any]
) -> Iterator[dg.MaterializeResult]:
    status, holes = (frames[t.full_name] for t in (push.STREAM_STATUS, push.HOLE))
    longest = status["lag_minutes"].round(1).max()
    yield materialized(
        push.STREAM_STATUS,
        packets_sent=report.n_sent,
        packets_confirmed=int(status["n_confirmed"].sum()),
        packets_pending=int(status["n_pending"].sum()),
        packets_held=int(status["n_held"].sum()),
        packets_rejected=int(status["n_rejected"].sum()),
        streams_parked=status["parked_reason"].count(),
        longest_lag_minutes=longest,
        waits=n_waits,
        seconds=round(report.elapsed_s, 1),
        streams_of_this_run=_per_stream(report),
        **would,
    )
    yield materialized(push.HOLE, holes=holes.height, packets_missing=int(holes["n_missing"].sum()))
    yield materialized(push.RESPONSE, packets_accepted=report.n_sent)


def dry_run(
    etl: Etl,
    instance: dg.DagsterInstance,
    run_id: str,
    config: SendConfig,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Write what a run of this config would send to a file; return what the metadata says of it."""
    path = etl.settings().data_dir / "reports" / "dry_run.jsonl"
    with look_ahead(
        etl,
        instance,
        own_run_id=run_id,
        prepare=lambda copy: retry(copy, config, tell),
    ) as ahead:
        n_lines = write_lines(path, ahead.lines())
        tell(f"{ahead.headline} Nothing was sent; they are in {path}.")
        told = [each.sentence for each in ahead.streams]
        return {
            "dry_run_file": dg.MetadataValue.path(path),
            "dry_run_packets": n_lines,
            "dry_run_waiting": ahead.n_waiting,
            "dry_run_streams": dg.MetadataValue.md("\n".join(f"- {line}" for line in told)),
        }


def _per_stream(report: DrainReport) -> dg.MarkdownMetadataValue | None:
    if not report.streams:
        return None
    lines = ["| stream | sent | confirmed | left | refused | problem |", "|---" * 6 + "|"]
    for each in report.streams.values():
        numbers = (each.n_sent, each.n_confirmed, each.n_pending, each.n_rejected)
        # A bar in an answer would end the cell.
        problem = (each.problem or "").replace("|", "/")
        lines.append(f"| {' | '.join(map(str, (each.stream_id, *numbers, problem)))} |")
    return dg.MetadataValue.md("\n".join(lines))


async def _drained(
    context: dg.AssetExecutionContext, settings: Settings, outbox: Outbox, waits: list[str]
) -> DrainReport:
    told_at = time.monotonic()

    def show(n_done: int, n_due: int) -> None:
        # Twice a second is for a screen: here each line is a commit to Dagster's storage.
        nonlocal told_at
        if n_done == n_due or time.monotonic() - told_at > _PROGRESS_EVERY_S:
            told_at = time.monotonic()
            context.log.info(f"{n_done} of {n_due} packets.")

    def wait(sentence: str) -> None:
        waits.append(sentence)
        context.log.info(sentence)

    return await send_outbox(settings, outbox, on_progress=show, on_wait=wait)
