"""The sender: empties the outbox, each stream strictly by stamp, streams in parallel.

One packet of a stream is in flight at a time. Before a stream is touched, and whenever it is open
whether a packet arrived, the vendor is asked for the last packet it has: nothing that arrived is
sent again, and nothing is skipped. After a kill at any moment the same question finds what the
outbox had not yet noted. While the vendor does not offer that question, packets go at least once.

Not here: one stream's way (`stream_sender.py`), what all streams of a credential share
(`account.py`), what may go (`frontier.py`), HTTP (the vendor's collector), what is durable when
(`acks.py`).
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from energy_etl.delivery.acks import AckWriter, Ended
from energy_etl.delivery.collector import Collector
from energy_etl.delivery.lease import hold_lease
from energy_etl.delivery.limits import DrainLimits, DrainReport, StreamReport
from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.running import OnWait, Progress, Run
from energy_etl.delivery.stream_sender import StreamSender


async def drain(
    outbox: Outbox,
    collectors: Mapping[str, Collector],
    *,
    limits: DrainLimits | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    on_progress: Progress | None = None,
    on_wait: OnWait | None = None,
    stream_ids: Iterable[str] | None = None,
) -> DrainReport:
    """Send everything that is pending, confirm what was sent, and report per stream.

    Args:
        outbox: released packets in it are due.
        collectors: one per credential name.
        limits: how patient to be.
        now: the clock for the outbox's book-keeping.
        on_progress: called with (done, due) about twice a second.
        on_wait: takes a sentence for each wait, about one per second and cause.
        stream_ids: only these; default all.

    Raises:
        DeliveryError: another process is sending.
        WarehouseError: the state file could not be written; what was noted before is safe.
    """
    limits = limits or DrainLimits()
    started = time.monotonic()
    with hold_lease(outbox.path):
        _unpark_changed(outbox, collectors)
        acks = AckWriter(outbox.path, now)
        try:
            run = Run(outbox, acks, limits, now, on_progress, on_wait)
            await _drain(run, collectors, stream_ids)
            await acks.flush()
        finally:
            # Off the loop: the last commit may wait for a lock.
            await asyncio.shield(asyncio.to_thread(acks.close))
        for stream in run.reports.values():
            stream.n_pending = outbox.count("pending", stream.stream_id)
            stream.n_confirmed += outbox.count("confirmed", stream.stream_id)
    run.show()
    return DrainReport(run.reports, time.monotonic() - started)


def _unpark_changed(outbox: Outbox, collectors: Mapping[str, Collector]) -> None:
    """Let streams go on whose credential was refused and is another one by now."""
    # A fingerprint costs time on purpose: none is computed while nothing is parked.
    if any(state.parked_reason is not None for state in outbox.streams()):
        outbox.unpark_changed({name: each.fingerprint for name, each in collectors.items()})


async def _drain(
    run: Run, collectors: Mapping[str, Collector], stream_ids: Iterable[str] | None
) -> None:
    wanted = None if stream_ids is None else set(stream_ids)
    accounts = run.accounts(collectors)
    todo: list[StreamSender] = []
    ids: list[str] = []
    for state in run.states:
        stream_id = state.stream_id
        if wanted is not None and stream_id not in wanted:
            continue
        n_pending = run.outbox.count("pending", stream_id)
        if not state.is_due(n_pending, run.outbox.count("sent", stream_id)):
            continue
        entry = run.reports[stream_id] = StreamReport(stream_id)
        # The count of before; that of after is added at the end.
        entry.n_confirmed = -run.outbox.count("confirmed", stream_id)
        account = accounts.get(state.credential)
        if state.parked_reason is not None:
            entry.problem, entry.is_parked, entry.was_parked = state.parked_reason, True, True
            continue
        run.n_due += n_pending
        if account is None:
            entry.problem = (
                f"Credential {state.credential!r} of stream {stream_id} is not among the "
                "settings: add it to the collector's credentials, or mend streams.csv."
            )
            # Noted, so that the stream waits longer each time instead of being due at once.
            run.acks.put(Ended(stream_id, entry.problem, state.is_sending))
        else:
            todo.append(StreamSender(run, account, state, entry))
            ids.append(stream_id)

    run.outbox.begin_sending(ids)
    left = iter(todo)

    async def work() -> None:
        for stream in left:
            await stream.deliver()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(run.limits.max_parallel_streams, len(todo))):
            group.create_task(work())
