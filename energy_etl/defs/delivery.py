"""Delivery as Dagster sees it: which packets may go, and what a hole may still be filled by."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.activity import loads_under_way
from energy_etl.defs.jobs import COMPUTED_GROUPS
from energy_etl.defs.resources import Etl
from energy_etl.delivery import mirror
from energy_etl.delivery.agreed import stream_plans
from energy_etl.delivery.filling import OffsetsMovedError
from energy_etl.delivery.frontier import BusyWindow, hold_unplanned, release
from energy_etl.delivery.outbox import FillResult, Outbox
from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.watching import Watched
from energy_etl.state import Marks, open_state
from energy_etl.tables import core
from energy_etl.vendors import discover_vendors
from energy_etl.vendors.wattics.collector import fingerprints
from energy_etl.vendors.wattics.settings import WatticsSettings

# Stages whose marks are readings that have come but are not in the outbox yet.
STAGES_BEFORE_OUTBOX: Final = ("interval", "packet")
_MOST_COMPUTATIONS: Final = 4


def release_streams(
    etl: Etl,
    instance: dg.DagsterInstance | None,
    own_run_id: str | None = None,
    *,
    state_path: Path | None = None,
) -> int:
    """Release every stream up to its frontier; return how many streams have something due.

    Streams whose refused credential is another one in the settings by now go on, too.

    Args:
        etl: the project.
        instance: whose loads and backfills a hole waits for; None: there is none.
        own_run_id: a run that is not waited for.
        state_path: a copy of the state file, in place of the project's.
    """
    # The wall clock: packets wait in real time, also when figures are for a pinned day.
    settings, now = etl.settings(), datetime.now(UTC)
    portfolio = etl.portfolio()
    plans = stream_plans(portfolio)
    with open_state(state_path or settings.state_path) as connection:
        outbox = Outbox(connection)
        loads = [] if instance is None else _loads(instance, own_run_id)
        busy = [*loads, *_marked(Marks(connection))]
        if any(state.parked_reason is not None for state in outbox.streams()):
            # Asked for then only: a fingerprint is slow on purpose.
            outbox.unpark_changed(fingerprints(settings.section(WatticsSettings)))
        hold_unplanned(outbox, plans, portfolio.why_it_waits)
        release(outbox, plans, busy, now, settings.hold_for)
        return len(outbox.due(now).stream_ids)


def fill_whole(
    outbox: Outbox,
    plans: Sequence[StreamPlan],
    compute: Callable[[pl.DataFrame], tuple[pl.DataFrame, pl.DataFrame]],
) -> FillResult:
    """Take in all that the plans' streams have to say, computed with the offsets of now.

    A sensor may release packets in between: then they are computed once more.

    Args:
        outbox: where they go.
        plans: of every stream that `compute` makes packets of.
        compute: offsets of the outbox -> packets and the offsets that they were computed with.

    Raises:
        DeliveryError: they do not fit, or were released under each of a few computations.
    """
    for left in reversed(range(_MOST_COMPUTATIONS)):
        packets, offsets = compute(outbox.offsets())
        try:
            return outbox.fill(packets, plans, offsets=offsets, is_whole=True)
        except OffsetsMovedError:
            if not left:
                raise
    raise AssertionError


def mirror_outbox(etl: Etl, outbox: Outbox) -> Watched:
    """Show in layer push what changed in the outbox; return what it says of each stream."""
    # As of the instant that figures are computed for: a demo again must not change a lag.
    return mirror.show(etl.warehouse(), outbox, stream_plans(etl.portfolio()), etl.now())


def _loads(instance: dg.DagsterInstance, own_run_id: str | None) -> list[BusyWindow]:
    vendors = discover_vendors().values()
    groups = COMPUTED_GROUPS | {v.name for v in vendors if core.READING in v.feeds}
    return [
        BusyWindow(load.from_at, load.to_at, None, f"the {load.reason}")
        for load in loads_under_way(instance, groups, own_run_id)
    ]


def _marked(marks: Marks) -> list[BusyWindow]:
    return [
        BusyWindow(
            mark.from_at,
            mark.to_at,
            frozenset({mark.register_id}),
            f"the computation of changed data ({stage})",
        )
        for stage in STAGES_BEFORE_OUTBOX
        for mark in marks.windows(stage)
    ]
