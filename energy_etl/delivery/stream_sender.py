"""One stream's way through a drain: each packet until it is accepted or refused, oldest first.

Not here: what the vendor's last packet means (`standing.py`), what holds for all streams of a
credential (`account.py`), what is durable when (`acks.py`).
"""

import asyncio

from energy_etl.delivery.account import Account, StreamEndError, is_open, stamp_text, what_answered
from energy_etl.delivery.acks import Ended, Failed, Parked, Response, Sent
from energy_etl.delivery.collector import Answer
from energy_etl.delivery.limits import StreamReport
from energy_etl.delivery.outbox import StreamState
from energy_etl.delivery.running import Run
from energy_etl.delivery.standing import Standing, retry_command
from energy_etl.errors import EnergyEtlError


class StreamSender:
    """Sends what is pending of one stream."""

    def __init__(
        self, run: Run, account: Account, state: StreamState, report: StreamReport
    ) -> None:
        """Begin where the drain before ended."""
        self._run = run
        self._account = account
        self._report = report
        self._stream_id = state.stream_id
        self._standing = Standing(run, account, state)
        # True while a packet is on its way or nobody knows whether it arrived.
        self._is_open = state.is_sending

    async def deliver(self) -> None:
        """Find out where the vendor stands, send what is pending, read back."""
        run, report, stream_id = self._run, self._report, self._stream_id
        try:
            behind_ms, n_found = await self._standing.resume(self._is_open)
            self._is_open = False
            report.n_found += n_found
            report.n_sent += n_found
            run.count(n_found)
            while batch := run.outbox.pending(stream_id, behind_ms):
                for stamped_ms, body in batch:
                    await self._send(stamped_ms, body)
                    behind_ms = stamped_ms
            problem = await self._standing.confirm()
            report.problem = report.problem or problem
        except StreamEndError as end:
            report.problem = str(end)
            if end.is_parking:
                parked = Parked(
                    stream_id, report.problem, others_ms=end.others_ms, forgot_ms=end.forgot_ms
                )
                run.acks.put(parked)
                report.is_parked = True
                # Whatever was on its way was asked for first.
                self._is_open = False
        is_offered = report.is_confirmable = self._standing.is_offered
        is_open, wait_s = self._is_open and is_offered, self._account.asked_wait_s
        run.acks.put(Ended(stream_id, report.problem, is_open, wait_s, is_offered))

    async def _send(self, stamped_ms: int, body: str) -> None:
        """Post one packet until it is accepted or refused, asking before any repetition."""
        run, standing = self._run, self._standing
        raw = body.encode()
        max_attempts = run.limits.max_attempts
        answer: Answer | None = None
        for attempt in range(1, max_attempts + 1):
            await run.acks.keep_up()
            if run.acks.failure:
                raise StreamEndError(str(run.acks.failure))
            self._is_open = True
            try:
                answer, began, ended = await self._account.post(raw)
            except StreamEndError:
                # Nothing was posted.
                self._is_open = False
                raise
            status = answer.status
            is_accepted = status is not None and 200 <= status < 300
            text = None if is_accepted else answer.text[:500]
            run.acks.put(
                Response(self._stream_id, stamped_ms, run.us_at(began), ended - began, status, text)
            )
            if is_accepted:
                self._sent(stamped_ms, body, status, attempt)
                return
            self._is_open = is_open(answer)
            if self._is_final(stamped_ms, body, answer, attempt):
                # Durable before a newer packet: a kill must not take it for one that arrived.
                await self._flush()
                return
            if self._is_open and await standing.has_arrived(stamped_ms, ended):
                self._report.n_found += 1
                self._sent(stamped_ms, body, status, attempt)
                return
            self._is_open = False
            if attempt < max_attempts:
                await self._back_off(stamped_ms, answer, attempt)
        assert answer is not None
        self._note_failure(stamped_ms, body, answer, max_attempts)
        raise StreamEndError(
            f"Stream {self._stream_id}: packet {stamp_text(stamped_ms)} was not accepted in "
            f"{max_attempts} attempts ({what_answered(answer)}): the stream waits, "
            "the next send run tries again."
        )

    def _sent(self, stamped_ms: int, body: str, status: int | None, attempt: int) -> None:
        self._is_open = False
        self._run.acks.put(Sent(self._stream_id, stamped_ms, body, status, attempt))
        self._standing.accept(stamped_ms)
        self._report.n_sent += 1
        self._run.count()

    def _is_final(self, stamped_ms: int, body: str, answer: Answer, attempt: int) -> bool:
        """True when the packet was rejected; ends the stream where no packet can pass."""
        status = answer.status
        if status is None or status >= 500 or status in (408, 429):
            return False
        # The vendor said no: nothing arrived.
        self._is_open = False
        refusal = self._run.limits.refusals.get(status)
        is_rejected = refusal == "reject"
        self._note_failure(stamped_ms, body, answer, attempt, is_rejected=is_rejected)
        if status in (401, 403):
            raise StreamEndError(self._account.ending or "")
        packet = f"packet {stamp_text(stamped_ms)}"
        what = what_answered(answer)
        if refusal is None:
            raise StreamEndError(
                f"The collector's answer to stream {self._stream_id}, {packet}, is none it should "
                f"give ({what}): check the collector's URL in the settings; the stream waits."
            )
        why = (
            f"The vendor does not know stream {self._stream_id} ({packet}, {what}): have it "
            "registered or mend streams.csv"
            if status == 404
            else f"Packets of stream {self._stream_id} were refused, the first of this run is "
            f"{packet} ({what}): mend its values or its stream"
        )
        sentence = f"{why}, then run {retry_command(self._stream_id)}."
        if not is_rejected:
            raise StreamEndError(sentence, is_parking=True)
        self._report.n_rejected += 1
        self._report.problem = self._report.problem or sentence
        self._run.count()
        return True

    def _note_failure(
        self,
        stamped_ms: int,
        body: str,
        answer: Answer,
        n_attempts: int,
        *,
        is_rejected: bool = False,
    ) -> None:
        self._run.acks.put(
            Failed(
                self._stream_id,
                stamped_ms,
                body,
                answer.status,
                what_answered(answer),
                n_attempts,
                is_rejected,
            )
        )

    async def _back_off(self, stamped_ms: int, answer: Answer, attempt: int) -> None:
        wait_s = self._run.limits.backoff_s(attempt)
        if answer.status == 429:
            self._account.close_for(wait_s, f"it sent too much ({what_answered(answer)})")
        if answer.retry_after_s is not None:
            # The account waits as long as it was asked to.
            return
        self._run.tell(
            f"{self._account.name} back-off",
            f"Stream {self._stream_id} waits for {wait_s:.1f} s: packet {stamp_text(stamped_ms)} "
            f"was not accepted ({what_answered(answer)}), attempt {attempt} of "
            f"{self._run.limits.max_attempts}.",
        )
        await asyncio.sleep(wait_s)

    async def _flush(self) -> None:
        try:
            await self._run.acks.flush()
        except EnergyEtlError as error:
            raise StreamEndError(str(error)) from None
