"""What one process of the kill loop does: fill some days, or send what is released.

Polars starts its threads at the first use, so the process that forks must not use it.
"""

import asyncio
import sys
from datetime import UTC, datetime

from energy_etl.delivery import DrainLimits, DrainReport, Outbox, drain, release
from energy_etl.errors import BadRequestError, DeliveryError
from energy_etl.state import open_state
from energy_etl.tables import core, push
from energy_etl.vendors.wattics.collector import WatticsCollector, open_collectors
from energy_etl.vendors.wattics.packets import compute_packets
from energy_etl.vendors.wattics.settings import WatticsSettings, sandbox_section
from energy_etl_tests.delivery.killing import REQUEST_TIMEOUT_S
from energy_etl_tests.delivery.known_intervals import (
    KnownStream,
    intervals_of,
    known_streams,
    plans_of,
    stream_map,
)

LIMITS = DrainLimits(request_timeout_s=REQUEST_TIMEOUT_S, backoff_base_s=0.02)


class Blind:
    """A collector that never says which packet came last: the control."""

    def __init__(self, collector: WatticsCollector) -> None:
        self._collector = collector
        self.post = collector.post

    @property
    def fingerprint(self) -> str:
        return self._collector.fingerprint

    async def last(self, stream_id: str) -> datetime | None:
        raise BadRequestError(f"{stream_id}: not offered")


def run(task: str, state_path: str, url: str, name: str) -> int:
    """Do a task on a state file; 0 when nothing is left to do of it."""
    kind, _, days = task.partition(":")
    try:
        if kind == "fill":
            fill(state_path, known_streams(name), [int(day) for day in days.split(",")])
            return 0
        report = asyncio.run(send(state_path, url, known_streams(name), is_blind=kind == "blind"))
    except DeliveryError as error:
        # A send that runs already, or offsets that a release froze: said, and tried again.
        print(error, file=sys.stderr)
        return 1
    with open_state(state_path) as connection:
        n_left = Outbox(connection).count("held")
    return 0 if report.is_complete and not n_left else 1


def fill(state_path: str, streams: list[KnownStream], days: list[int]) -> None:
    """Take in everything that the days say, as the asset does."""
    mapped, registers = stream_map(streams)
    with open_state(state_path) as connection:
        outbox = Outbox(connection)
        packets, offsets = compute_packets(
            intervals_of(streams, days),
            core.SAMPLE.empty_frame(),
            mapped,
            push.STREAM_FIELD.empty_frame(),
            registers,
            outbox.offsets(),
        )
        outbox.fill(packets, plans_of(streams), offsets=offsets, is_whole=True)


async def send(
    state_path: str, url: str, streams: list[KnownStream], *, is_blind: bool
) -> DrainReport:
    """Release and send, as the asset does."""
    section = {**sandbox_section(url), "request_timeout_s": REQUEST_TIMEOUT_S}
    with open_state(state_path) as connection:
        outbox = Outbox(connection)
        release(outbox, plans_of(streams), [], datetime.now(UTC))
        async with open_collectors(WatticsSettings.model_validate(section)) as collectors:
            wrapped = {n: Blind(c) if is_blind else c for n, c in collectors.items()}
            return await drain(outbox, wrapped, limits=LIMITS)
