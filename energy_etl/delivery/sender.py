"""The sender: empties the outbox, each stream strictly by stamp, streams in parallel.

One packet of a stream is in flight at a time. Before a stream is touched, and whenever it is open
whether a packet arrived, the vendor is asked for the last packet it has: nothing that arrived is
sent again, and nothing is skipped. After a kill at any moment the same question finds what the
outbox had not yet noted. While the vendor does not offer that question, packets go at least once.

Not here: what may go (`frontier.py`), HTTP (the vendor's collector), what is durable when
(`acks.py`).
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from energy_etl.delivery.account import (
    Account,
    StreamEndError,
    is_open,
    stamp_text,
    what_answered,
)
from energy_etl.delivery.acks import (
    AckWriter,
    Confirmed,
    Ended,
    Failed,
    FoundDelivered,
    Parked,
    Sent,
)
from energy_etl.delivery.collector import Answer, Collector
from energy_etl.delivery.lease import hold_lease
from energy_etl.delivery.limits import DrainLimits, DrainReport, StreamReport
from energy_etl.delivery.outbox import Outbox, StreamState
from energy_etl.errors import (
    AuthenticationError,
    BadRequestError,
    EnergyEtlError,
    PermissionDeniedError,
    RateLimitedError,
    VendorError,
)
from energy_etl.state import instant_to_us

Progress = Callable[[int, int], None]
_PROGRESS_EVERY_S = 0.5


@dataclass
class _Run:
    """What all streams of one drain share."""

    outbox: Outbox
    acks: AckWriter
    limits: DrainLimits
    on_progress: Progress | None
    began: float
    n_due: int = 0
    n_done: int = 0
    shown_at: float = 0.0

    def count(self, n: int = 1) -> None:
        self.n_done += n
        if self.on_progress and time.monotonic() - self.shown_at > _PROGRESS_EVERY_S:
            self.shown_at = time.monotonic()
            self.on_progress(self.n_done, self.n_due)


async def drain(
    outbox: Outbox,
    collectors: Mapping[str, Collector],
    *,
    limits: DrainLimits | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    on_progress: Progress | None = None,
    stream_ids: Iterable[str] | None = None,
) -> DrainReport:
    """Send everything that is pending, confirm what was sent, and report per stream.

    Args:
        outbox: released packets in it are due.
        collectors: one per credential name.
        limits: how patient to be.
        now: the clock for the outbox's book-keeping.
        on_progress: called with (done, due) about twice a second.
        stream_ids: only these; default all.

    Raises:
        DeliveryError: another process is sending.
        WarehouseError: the state file could not be written; what was noted before is safe.
    """
    limits = limits or DrainLimits()
    started = time.monotonic()
    with hold_lease(outbox.path):
        acks = AckWriter(outbox.path, now)
        try:
            run = _Run(outbox, acks, limits, on_progress, time.monotonic())
            report = await _drain(run, collectors, stream_ids)
            await acks.flush()
        finally:
            # Off the loop: the last commit may wait for a lock.
            await asyncio.shield(asyncio.to_thread(acks.close))
        for stream in report.streams.values():
            stream.n_pending = outbox.count("pending", stream.stream_id)
            stream.n_confirmed += outbox.count("confirmed", stream.stream_id)
    if on_progress:
        on_progress(run.n_done, run.n_due)
    report.elapsed_s = time.monotonic() - started
    return report


async def _drain(
    run: _Run, collectors: Mapping[str, Collector], stream_ids: Iterable[str] | None
) -> DrainReport:
    wanted = None if stream_ids is None else set(stream_ids)
    report = DrainReport()
    accounts = {name: Account(name, collector) for name, collector in collectors.items()}
    todo: list[_Stream] = []
    for state in run.outbox.streams():
        if wanted is not None and state.stream_id not in wanted:
            continue
        n_pending = run.outbox.count("pending", state.stream_id)
        if not n_pending and not run.outbox.count("sent", state.stream_id):
            continue
        run.n_due += n_pending
        entry = report.streams[state.stream_id] = StreamReport(state.stream_id)
        # The count of before; that of after is added at the end.
        entry.n_confirmed = -run.outbox.count("confirmed", state.stream_id)
        account = accounts.get(state.credential)
        if state.parked_reason is not None:
            entry.problem, entry.is_parked = state.parked_reason, True
        elif account is None:
            entry.problem = (
                f"Credential {state.credential!r} of stream {state.stream_id} is not among the "
                "settings: add it to the collector's credentials, or mend streams.csv."
            )
            # Noted, so that the stream waits longer each time instead of being due at once.
            run.acks.put(Ended(state.stream_id, entry.problem, state.is_sending))
        else:
            todo.append(_Stream(run, account, state, entry))

    run.outbox.begin_sending(stream.stream_id for stream in todo)
    left = iter(todo)

    async def work() -> None:
        for stream in left:
            await stream.deliver()

    n_workers = min(run.limits.max_parallel_streams, len(todo))
    async with asyncio.TaskGroup() as group:
        for _ in range(n_workers):
            group.create_task(work())
    return report


class _Stream:
    """One stream's way through a drain."""

    def __init__(
        self, run: _Run, account: Account, state: StreamState, report: StreamReport
    ) -> None:
        self.run = run
        self.account = account
        self.state = state
        self.report = report
        self.stream_id = state.stream_id
        self.reached_ms = state.last_sent_ms
        self.is_verifiable = True
        # True while a packet is on its way or nobody knows whether it arrived.
        self.is_open = state.is_sending

    async def deliver(self) -> None:
        """Find out where the vendor stands, send what is pending, read back."""
        try:
            await self._resume()
            while batch := self.run.outbox.pending(self.stream_id, self.reached_ms):
                for stamped_ms, body in batch:
                    await self._send(stamped_ms, body)
                    self.reached_ms = stamped_ms
            await self._confirm()
        except StreamEndError as end:
            self.report.problem = str(end)
        failure = self.report.problem
        if failure is None and not self.report.is_confirmable:
            failure = "The collector does not offer the last packet: nothing can be confirmed."
        self.run.acks.put(Ended(self.stream_id, failure, self.is_open and self.is_verifiable))

    async def _resume(self) -> None:
        last_ms = await self._last_ms()
        if self.is_open and self.is_verifiable:
            # The run before was killed, or ended without an answer: what it sent may still come.
            await self._outwait_late_commits(self.run.began)
            last_ms = await self._last_ms()
        self.is_open = False
        if not self.is_verifiable:
            return
        known_ms = self.state.last_sent_ms
        confirmed_ms = self.state.last_confirmed_ms
        if confirmed_ms is not None and (last_ms is None or last_ms < confirmed_ms):
            self._park(
                f"Stream {self.stream_id}: the vendor's last packet is {stamp_text(last_ms)} "
                f"although {stamp_text(confirmed_ms)} was confirmed: it forgot packets; ask the "
                "vendor, then retry the stream."
            )
        if last_ms is None or (known_ms is not None and last_ms <= known_ms):
            return
        arrived = self.run.outbox.pending_stamps_ms(self.stream_id, known_ms, last_ms)
        if not arrived or arrived[-1] != last_ms:
            self._park(
                f"Stream {self.stream_id}: the vendor's last packet is {stamp_text(last_ms)} and "
                f"we did not send it (our newest is {stamp_text(known_ms)}): somebody else pushes "
                "this stream; stop the other sender, then retry the stream."
            )
        self.run.acks.put(FoundDelivered(self.stream_id, last_ms))
        self.report.n_found += len(arrived)
        self.report.n_sent += len(arrived)
        self.run.count(len(arrived))
        self.reached_ms = last_ms

    async def _send(self, stamped_ms: int, body: str) -> None:
        """Post one packet until it is accepted or refused, asking before any repetition."""
        raw = body.encode()
        answer: Answer | None = None
        for attempt in range(1, self.run.limits.max_attempts + 1):
            await self.account.wait_until_open()
            if self.run.acks.failure:
                raise StreamEndError(str(self.run.acks.failure))
            self.is_open = True
            answer = await self.account.collector.post(raw)
            failed = time.monotonic()
            self.is_open = is_open(answer)
            if answer.status is not None and 200 <= answer.status < 300:
                self._sent(stamped_ms, body, answer.status, attempt)
                return
            if self._is_final(stamped_ms, body, answer, attempt):
                # Durable before a newer packet: a kill must not take it for one that arrived.
                await self._flush()
                return
            if answer.retry_after_s is not None:
                self._close_account(answer.retry_after_s, what_answered(answer))
            if self.is_open and await self._has_arrived(stamped_ms, failed):
                self.report.n_found += 1
                self._sent(stamped_ms, body, answer.status, attempt)
                return
            self.is_open = False
            if attempt < self.run.limits.max_attempts:
                await self._back_off(answer, attempt)
        assert answer is not None
        self._note_failure(stamped_ms, body, answer, self.run.limits.max_attempts)
        raise StreamEndError(
            f"Stream {self.stream_id}: packet {stamp_text(stamped_ms)} was not accepted in "
            f"{self.run.limits.max_attempts} attempts ({what_answered(answer)}): the stream waits, "
            "the next send run tries again."
        )

    def _sent(self, stamped_ms: int, body: str, status: int | None, attempt: int) -> None:
        self.is_open = False
        self.run.acks.put(Sent(self.stream_id, stamped_ms, body, status, attempt))
        self.report.n_sent += 1
        self.run.count()

    def _is_final(self, stamped_ms: int, body: str, answer: Answer, attempt: int) -> bool:
        """True when the packet was rejected; ends the stream where no packet can pass."""
        status = answer.status
        if status is None or status >= 500 or status in (408, 429):
            return False
        where = f"stream {self.stream_id}, packet {stamp_text(stamped_ms)}"
        if status in (400, 413, 422):
            self._note_failure(stamped_ms, body, answer, attempt, is_rejected=True)
            self.report.n_rejected += 1
            self.report.problem = self.report.problem or (
                f"Packets of stream {self.stream_id} were refused, the first of this run is "
                f"{stamp_text(stamped_ms)} ({what_answered(answer)}): mend its values or its "
                "stream, then retry the stream."
            )
            self.run.count()
            return True
        self._note_failure(stamped_ms, body, answer, attempt)
        if status in (401, 403):
            self.account.refuse(
                f"The collector refused {self.account.name!r} ({what_answered(answer)}): "
                "check that credential's user, password and streams; its packets wait."
            )
            raise StreamEndError(self.account.refusal or "")
        if status == 404:
            self._park(
                f"The vendor does not know stream {self.stream_id} ({what_answered(answer)}): "
                "have it registered or mend streams.csv, then retry the stream."
            )
        raise StreamEndError(
            f"The collector's answer to {where} is none it should give ({what_answered(answer)}): "
            "check the collector's URL in the settings; the stream waits."
        )

    def _note_failure(
        self,
        stamped_ms: int,
        body: str,
        answer: Answer,
        n_attempts: int,
        *,
        is_rejected: bool = False,
    ) -> None:
        self.run.acks.put(
            Failed(
                self.stream_id,
                stamped_ms,
                body,
                answer.status,
                what_answered(answer),
                n_attempts,
                is_rejected,
            )
        )

    async def _flush(self) -> None:
        try:
            await self.run.acks.flush()
        except EnergyEtlError as error:
            raise StreamEndError(str(error)) from None

    def _park(self, sentence: str) -> None:
        self.run.acks.put(Parked(self.stream_id, sentence))
        self.report.is_parked = True
        raise StreamEndError(sentence)

    async def _has_arrived(self, stamped_ms: int, failed: float) -> bool:
        """Ask at once, and again when a late commit must have happened."""
        if await self._is_there(stamped_ms):
            return True
        await self._outwait_late_commits(failed)
        return await self._is_there(stamped_ms)

    async def _outwait_late_commits(self, since: float) -> None:
        await asyncio.sleep(max(0.0, since + self.run.limits.late_commit_s - time.monotonic()))

    async def _is_there(self, stamped_ms: int) -> bool:
        last_ms = await self._last_ms()
        return last_ms is not None and last_ms >= stamped_ms

    async def _back_off(self, answer: Answer, attempt: int) -> None:
        wait_s = self.run.limits.backoff_s(attempt)
        if answer.status == 429:
            self.account.close_for(wait_s)
        await asyncio.sleep(wait_s)

    def _close_account(self, retry_after_s: float, what: str) -> None:
        if retry_after_s > self.run.limits.retry_after_cap_s:
            self.account.refuse(
                f"The collector asks credential {self.account.name!r} to wait for "
                f"{retry_after_s:.0f} s ({what}): its packets wait, the next send run goes on."
            )
            raise StreamEndError(self.account.refusal or "")
        self.account.close_for(retry_after_s)

    async def _confirm(self) -> None:
        # Whatever this run sent was accepted; the read-back says that the vendor kept it.
        if self.reached_ms is None:
            return
        last_ms = await self._last_ms()
        if not self.is_verifiable:
            self.report.is_confirmable = False
            return
        if last_ms is not None:
            self.run.acks.put(Confirmed(self.stream_id, min(last_ms, self.reached_ms)))
        if last_ms is None or last_ms < self.reached_ms:
            self.report.problem = self.report.problem or (
                f"Stream {self.stream_id}: packets up to {stamp_text(self.reached_ms)} were "
                f"accepted, but the vendor's last packet is {stamp_text(last_ms)}: they stay "
                "unconfirmed, the next send run reads back again."
            )

    async def _last_ms(self) -> int | None:
        """Ask for the last packet's stamp, patiently; None also when it cannot be asked."""
        error: VendorError | None = None
        for attempt in range(1, self.run.limits.max_attempts + 1):
            await self.account.wait_until_open()
            try:
                last_at = await self.account.collector.last(self.stream_id)
            except BadRequestError:
                self.is_verifiable = False
                return None
            except (AuthenticationError, PermissionDeniedError) as refusal:
                self.account.refuse(f"{refusal}")
                raise StreamEndError(self.account.refusal or "") from None
            except VendorError as failure:
                error = failure
                if not failure.is_retryable:
                    break
                if isinstance(failure, RateLimitedError) and failure.retry_after_s is not None:
                    self._close_account(failure.retry_after_s, str(failure))
                if attempt < self.run.limits.max_attempts:
                    await asyncio.sleep(self.run.limits.backoff_s(attempt))
            else:
                return None if last_at is None else instant_to_us(last_at) // 1000
        raise StreamEndError(
            f"Stream {self.stream_id}: the vendor could not say which packet came last, so nothing "
            f"is sent that might have arrived already; the next send run asks again. {error}"
        )
