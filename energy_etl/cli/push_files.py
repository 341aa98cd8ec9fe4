"""From packets of a file to packets at the vendor: the same outbox, order and read-back as runs.

Packets are durable before the first is sent; what is not delivered now goes with the next send run.
The warehouse is not touched: its mirror of the outbox is refreshed by that run too.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from energy_etl.defs.sending import require_consent_to_send, send_outbox
from energy_etl.delivery.agreed import stream_plans
from energy_etl.delivery.frontier import release
from energy_etl.delivery.loop import run_fast
from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.settled import states_of
from energy_etl.errors import BadRequestError, ConfigurationError, DeliveryError, UsageError
from energy_etl.portfolio import Portfolio
from energy_etl.settings import Settings
from energy_etl.state import open_state
from energy_etl.tables import push
from energy_etl.vendors.wattics.collector import open_collectors
from energy_etl.vendors.wattics.files import FilePackets, StreamMap
from energy_etl.vendors.wattics.settings import WatticsSettings
from energy_etl.vendors.wattics.wire import field_problem

Progress = Callable[[str, int, int], None]
_STATES: Final = ("confirmed", "sent", "pending", "held", "rejected", "superseded", "dropped")
_FINE: Final = {"confirmed", "sent"}


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of the packets of one stream of a file.

    `n_before_start`: stamped before the stream's `push_from_at`, so never taken in. `why` is the
    first reason of those that were not delivered.
    """

    stream_id: str
    first_at: datetime
    last_at: datetime
    n_packets: int
    n_in_state: dict[str, int]
    why: str | None

    @property
    def n_before_start(self) -> int:
        """Packets that the outbox did not take."""
        return self.n_packets - sum(self.n_in_state.values())

    @property
    def is_delivered(self) -> bool:
        """True when the vendor has every packet as the file says it."""
        return all(state in _FINE for state in self.n_in_state) and not self.n_before_start

    @property
    def sentence(self) -> str:
        """One line for people."""
        parts = [f"{n} {state}" for state in _STATES if (n := self.n_in_state.get(state))]
        if self.n_before_start:
            parts.append(f"{self.n_before_start} before its push_from_at and left out")
        span = f"{_text(self.first_at)} to {_text(self.last_at)}"
        why = f" ({self.why})" if self.why else ""
        return f"{self.stream_id}: {self.n_packets} packets, {span}: {', '.join(parts)}{why}."

    def row(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "stream_id": self.stream_id,
            "first_at": self.first_at.isoformat(),
            "last_at": self.last_at.isoformat(),
            "n_packets": self.n_packets,
            **{f"n_{state}": self.n_in_state.get(state, 0) for state in _STATES},
            "n_before_start": self.n_before_start,
            "is_delivered": self.is_delivered,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """Where files may go: the streams, what was agreed for them, and whether anybody may push."""

    settings: Settings
    portfolio: Portfolio
    streams: StreamMap
    plans: dict[str, StreamPlan]

    @classmethod
    def of(cls, settings: Settings) -> "Target":
        """Read the portfolio.

        Raises:
            ConfigurationError: there is none, or nothing in it can be used.
        """
        portfolio = Portfolio.load(settings.portfolio_dir, field_problem)
        plans = {plan.stream_id: plan for plan in stream_plans(portfolio)}
        return cls(settings, portfolio, StreamMap.of(portfolio.frames[push.STREAM]), plans)

    @property
    def section(self) -> WatticsSettings:
        """Wattics' section of the settings."""
        return self.settings.section(WatticsSettings)

    def plan(self, stream_id: str) -> StreamPlan:
        """Return what was agreed for a stream whose credential is known.

        Raises:
            UsageError: it is not in streams.csv.
            ConfigurationError: it is not agreed as it stands there, or its credential is not in
                the settings.
        """
        if stream_id not in self.plans:
            why = self.portfolio.why_it_waits(stream_id)
            if why:
                raise ConfigurationError(
                    f"Stream {stream_id} {why}: `energy-etl doctor` says what is wrong there."
                )
            raise UsageError(f"{stream_id} is not in streams.csv: correct it, or add the stream.")
        plan = self.plans[stream_id]
        if plan.credential not in self.section.credentials:
            raise ConfigurationError(
                f"The credential {plan.credential} of stream {stream_id} is not in the settings: "
                "mend streams.csv, or add it as ENERGY_ETL_WATTICS__CREDENTIALS."
            )
        return plan


def deliver(
    target: Target, packets: FilePackets, on_progress: Progress, on_wait: Callable[[str], None]
) -> tuple[list[Pushed], list[str]]:
    """Put packets into the outbox, send their streams, and say what became of them.

    Returns:
        One `Pushed` per stream, and the sentences of what stood in the way.

    Raises:
        DeliveryError: another process is sending; the packets are in the outbox.
        ConfigurationError: a stream's credential is not in the settings.
        WarehouseError: the state file could not be written; the same again goes on.
    """
    # Before anything is kept: what stands in the outbox goes out with the next send run.
    require_consent_to_send(target.settings)
    stream_ids = packets.rows["stream_id"].unique().sort().to_list()
    plans = [target.plan(stream_id) for stream_id in stream_ids]
    with open_state(target.settings.state_path) as connection:
        outbox = Outbox(connection)
        n_filled, n_packets = 0, packets.rows.height
        offsets = packets.offsets(outbox.offsets())
        for batch in packets.batches():
            # They are in with the first batch, and a release may use them before the next one.
            outbox.fill(batch, plans, offsets=offsets if n_filled == 0 else None)
            n_filled += batch.height
            on_progress("outbox", n_filled, n_packets)
        # Nobody will fill a hole of a file later, so it is not waited for.
        release(outbox, plans, (), datetime.now(UTC), hold_for=timedelta(0))
        try:
            report = run_fast(
                send_outbox(
                    target.settings,
                    outbox,
                    on_progress=lambda n_done, n_due: on_progress("sent", n_done, n_due),
                    on_wait=on_wait,
                    stream_ids=stream_ids,
                )
            )
        except DeliveryError as error:
            raise DeliveryError(
                f"{error} The packets of this file are in the outbox: the next send run takes "
                "them, or the same command again."
            ) from None
        return _pushed(outbox, packets), report.sentences


def read_back(target: Target, stream_id: str) -> tuple[bool, datetime | None]:
    """Ask for a stream's last packet: (whether the vendor offers that, its stamp or None).

    Raises:
        VendorError: the credential is refused, no answer, or one that cannot be read.
        ConfigurationError: the stream or its credential is not known.
    """
    plan = target.plan(stream_id)

    async def ask() -> datetime | None:
        async with open_collectors(target.section) as collectors:
            return await collectors[plan.credential].last(stream_id)

    try:
        return True, asyncio.run(ask())
    except BadRequestError:
        return False, None


def _pushed(outbox: Outbox, packets: FilePackets) -> list[Pushed]:
    states = states_of(outbox, packets.rows.select("stream_id", "stamped_at"))
    spans = packets.rows.group_by("stream_id").agg(
        first_at=pl.col("stamped_at").min(), last_at=pl.col("stamped_at").max(), n=pl.len()
    )
    found = []
    for stream_id, first_at, last_at, n_packets in spans.sort("stream_id").rows():
        own = states.filter(stream_id=stream_id)
        n_in_state = dict(own.select("state", "n_packets").rows())
        why = "the vendor has other values for some" if "superseded" in n_in_state else None
        why = next(iter(own["why"].drop_nulls()), why)
        found.append(Pushed(stream_id, first_at, last_at, n_packets, n_in_state, why))
    return found


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
