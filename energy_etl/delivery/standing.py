"""Where the vendor stands with one stream: the last packet it has, and what follows from it.

A stream is sent in the order of its stamps, so what is at or before the vendor's last packet has
arrived. Under `historical` packets go behind it too, and a vendor may then answer the last packet
that it RECEIVED or the NEWEST: there a packet has arrived when it is the last one itself. With the
newest, nothing can be said about a packet behind it, so it goes at least once.
"""

import asyncio
import time

from energy_etl.delivery.account import Account, StreamEndError, stamp_text
from energy_etl.delivery.acks import Confirmed, FoundDelivered
from energy_etl.delivery.outbox import StreamState
from energy_etl.delivery.running import Run
from energy_etl.delivery.schema import EARLIEST_MS
from energy_etl.errors import BadRequestError, VendorError


class Standing:
    """What is known of one stream at the vendor; grows while the stream is sent.

    Attributes:
        is_offered: False once the vendor said that it does not answer for the last packet.
        accepted_ms: the packet of this drain that was accepted last.
    """

    def __init__(self, run: Run, account: Account, state: StreamState) -> None:
        """Begin with what the outbox knows."""
        self._run = run
        self._account = account
        self._state = state
        self._stream_id = state.stream_id
        self.is_offered = True
        self.accepted_ms: int | None = None
        self._newest_ms = state.last_sent_ms

    def accept(self, stamped_ms: int) -> None:
        """Note a packet that the vendor has."""
        self.accepted_ms = stamped_ms
        if self._newest_ms is None or stamped_ms > self._newest_ms:
            self._newest_ms = stamped_ms

    async def resume(self, is_open: bool) -> tuple[int | None, int]:
        """Find out what arrived before this drain.

        Args:
            is_open: the run before ended, or was killed, with a packet on its way.

        Returns:
            The stamp behind which the stream goes on (None: from its first pending packet), and
            how many packets were found that nobody had noted.

        Raises:
            StreamEndError: the vendor forgot packets or has some of somebody else (parks the
                stream), or could not be asked.
        """
        state = self._state
        behind_ms = None if state.is_historical else state.last_sent_ms
        last_ms = await self.ask()
        if is_open and self.is_offered:
            # The run before was killed, or ended without an answer: what it sent may still come.
            await self.outwait_late_commits(self._run.began)
            last_ms = await self.ask()
        if not self.is_offered:
            return behind_ms, 0
        # With nothing on its way, a packet of ours that the outbox does not know to have been sent
        # is somebody else's, or was sent by what this state file was copied from.
        arrived = self._arrived(last_ms) if is_open and last_ms is not None else []
        if not arrived:
            self._check(last_ms)
            return behind_ms, 0
        self._run.acks.put(FoundDelivered(self._stream_id, arrived[-1]))
        self.accept(arrived[-1])
        return arrived[-1], len(arrived)

    async def has_arrived(self, stamped_ms: int, failed: float) -> bool:
        """Ask at once, and again when a late commit must have happened."""
        if await self._is_there(stamped_ms):
            return True
        if not self.is_offered:
            return False
        await self.outwait_late_commits(failed)
        return await self._is_there(stamped_ms)

    async def confirm(self) -> str | None:
        """Read back; return what is wrong, None when everything that was accepted is there."""
        # What a drain before has sent, and did not read back, is confirmed now.
        sent_ms = self._newest_ms if self.accepted_ms is None else self.accepted_ms
        if sent_ms is None:
            return None
        last_ms = await self.ask()
        if not self.is_offered:
            return None
        if self._state.is_historical:
            if last_ms in (sent_ms, self._newest_ms) or self._is_unconfirmed(last_ms):
                self._run.acks.put(Confirmed(self._stream_id, self._newest_ms or sent_ms))
                return None
        elif last_ms is not None:
            self._run.acks.put(Confirmed(self._stream_id, min(last_ms, sent_ms)))
            if last_ms >= sent_ms:
                return None
        return (
            f"Stream {self._stream_id}: packets up to {stamp_text(sent_ms)} were accepted, but "
            f"the vendor's last packet is {stamp_text(last_ms)}: they stay unconfirmed, the next "
            "send run reads back again."
        )

    async def outwait_late_commits(self, since: float) -> None:
        """Sleep until what was posted before `since` (monotonic) can no longer arrive."""
        wait_s = since + self._run.limits.late_commit_s - time.monotonic()
        if wait_s > 0:
            self._run.tell(
                f"{self._account.name} late",
                f"Stream {self._stream_id} waits for {wait_s:.1f} s: a packet without an answer "
                "may still arrive, and is asked for again after that.",
            )
            await asyncio.sleep(wait_s)

    async def ask(self) -> int | None:
        """Ask for the last packet's stamp, patiently; None also when it cannot be asked.

        Raises:
            StreamEndError: no answer, after all attempts.
        """
        error: VendorError | None = None
        limits = self._run.limits
        attempt = 0
        while attempt < limits.max_attempts:
            try:
                return await self._account.last_ms(self._stream_id)
            except BadRequestError:
                self.is_offered = False
                return None
            except VendorError as failure:
                error = failure
                if not failure.is_retryable:
                    break
                if self._account.is_tripped:
                    # It tried for all streams: the account waits, and says when it gives up.
                    continue
                attempt += 1
                if attempt < limits.max_attempts:
                    wait_s = limits.backoff_s(attempt)
                    self._run.tell(
                        f"{self._account.name} back-off",
                        f"Stream {self._stream_id} waits for {wait_s:.1f} s: {failure}",
                    )
                    await asyncio.sleep(wait_s)
        raise StreamEndError(
            f"Stream {self._stream_id}: the vendor could not say which packet came last, so "
            "nothing is sent that might have arrived already; the next send run asks again. "
            f"{error}"
        )

    async def _is_there(self, stamped_ms: int) -> bool:
        last_ms = await self.ask()
        if last_ms is None:
            return False
        is_behind = self._newest_ms is not None and stamped_ms <= self._newest_ms
        return last_ms == stamped_ms if is_behind else last_ms >= stamped_ms

    def _arrived(self, last_ms: int) -> list[int]:
        """Return the pending packets up to the vendor's last one, when that is one of them."""
        known_ms = None if self._state.is_historical else self._state.last_sent_ms
        if known_ms is not None and last_ms <= known_ms:
            return []
        arrived = self._run.outbox.pending_stamps_ms(self._stream_id, known_ms, last_ms)
        return arrived if arrived and arrived[-1] == last_ms else []

    def _check(self, last_ms: int | None) -> None:
        """Raise when the vendor's last packet is not the one it should have."""
        state, known_ms = self._state, self._state.last_sent_ms
        last_state = None if last_ms is None else self._state_of(last_ms)
        is_ours = last_state in ("sent", "confirmed", "superseded")
        is_newer = last_ms is not None and (known_ms is None or last_ms > known_ms)
        if (is_newer and not is_ours) or last_state == "pending":
            raise StreamEndError(
                f"Stream {self._stream_id}: the vendor's last packet is {stamp_text(last_ms)} and "
                f"we did not send it (our newest is {stamp_text(known_ms)}): somebody else pushes "
                "this stream, or the state file was restored from an older copy; stop the other "
                f"sender, then run {retry_command(self._stream_id)}: the stream goes on behind "
                "that packet.",
                is_parking=True,
                others_ms=last_ms,
            )
        confirmed_ms = state.last_confirmed_ms
        if (
            confirmed_ms is not None
            and (last_ms is None or last_ms < confirmed_ms)
            and not (state.is_historical and is_ours)
        ):
            raise StreamEndError(
                f"Stream {self._stream_id}: the vendor's last packet is {stamp_text(last_ms)} "
                f"although {stamp_text(confirmed_ms)} was confirmed: it forgot packets; ask the "
                f"vendor to restore them, then run {retry_command(self._stream_id)}; if it "
                "cannot, send them again with `energy-etl outbox retry --stream "
                f"{self._stream_id} --resend`.",
                is_parking=True,
                forgot_ms=EARLIEST_MS if last_ms is None else last_ms,
            )

    def _is_unconfirmed(self, stamped_ms: int | None) -> bool:
        """True for a packet that was accepted by a drain before and not read back yet."""
        if self.accepted_ms is not None or stamped_ms is None:
            return False
        return self._state_of(stamped_ms) in ("sent", "superseded")

    def _state_of(self, stamped_ms: int) -> str | None:
        row = self._run.outbox.connection.execute(
            "SELECT state FROM packet WHERE stream_id = ? AND stamped_ms = ?",
            (self._stream_id, stamped_ms),
        ).fetchone()
        return row[0] if row else None


def retry_command(stream_id: str) -> str:
    """Return the command that lets a parked stream go on."""
    return f"`energy-etl outbox retry --stream {stream_id}`"
