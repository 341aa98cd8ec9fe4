"""What was agreed with a vendor for one stream."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from energy_etl.state import instant_to_us


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What was agreed for one stream.

    Attributes:
        stream_id: the id agreed with the vendor.
        interval: spacing of its packets; stamps are the ends of the intervals.
        push_from_at: nothing that began before is delivered; None: from its first packet on.
        credential: name of the credential set that may push it.
        register_ids: the registers that feed it; none: files do.
        sends_estimates: False: an estimate is as good as missing, until its readings come.
        is_historical: True: packets behind the last one may be sent too.
        declared_missing: stretches (from, to) of which nothing will ever come.
    """

    stream_id: str
    interval: timedelta
    push_from_at: datetime | None
    credential: str
    register_ids: frozenset[str] = frozenset()
    sends_estimates: bool = True
    is_historical: bool = False
    declared_missing: tuple[tuple[datetime, datetime], ...] = ()

    def first_stamp_ms(self) -> int | None:
        """End of the first interval of the stream's grid (UTC) that begins at push_from_at."""
        if self.push_from_at is None:
            return None
        step_ms = self.interval // timedelta(milliseconds=1)
        return -(-instant_to_us(self.push_from_at) // (step_ms * 1000)) * step_ms + step_ms

    def declares_missing(
        self, from_ms: int, to_ms: int, given_up_ms: Collection[int] = frozenset()
    ) -> bool:
        """True when nothing will ever come for any stamp of [from_ms, to_ms).

        Args:
            from_ms: the first stamp that is expected.
            to_ms: the stamp at which packets go on.
            given_up_ms: stamps of packets that a person gave up.
        """
        step_ms = self.interval // timedelta(milliseconds=1)
        gaps = [
            (instant_to_us(from_at) // 1000, instant_to_us(to_at) // 1000)
            for from_at, to_at in self.declared_missing
        ]
        return bool(gaps or given_up_ms) and all(
            stamp in given_up_ms
            or any(gap_from < stamp and gap_to > stamp - step_ms for gap_from, gap_to in gaps)
            for stamp in range(from_ms, to_ms, step_ms)
        )
