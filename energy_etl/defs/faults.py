"""`Memory`: which faults last, who was told of them, and what to tell now. Pure but for its clock
argument; `alerts.py` reads the runs and does the telling.

A fault is one way in which one thing fails. Failures that say the same but for their numbers are
one fault: told at first, then once a day while it goes on, and when it succeeded again.
"""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel

TOLD_AGAIN_AFTER: Final = timedelta(days=1)
# A job that says something else each time must not send something each time.
MOST_TOLD_A_DAY: Final = 5
FIRST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(hours=1)
_MOST_FAULTS: Final = 100
# What a vendor answered stands in quotes, with quotes of its own, and may differ each time, as do
# ids, times and counts.
_VARYING: Final = re.compile(r'\(".*"\)|\b[0-9a-f]{8}[0-9a-f-]*\b|\d+')


class Failure(BaseModel):
    """One failed run.

    Attributes:
        subject: what failed, for people: a job, or the assets that were asked for.
        job_name: Dagster's.
        assets: asset keys that the run was asked for; empty: all of its job.
        partitions: the days, for people; empty: none.
        backfill_id: of the backfill that it belongs to.
        sentence: what it said.
        at: when it failed.
    """

    run_id: str
    subject: str
    job_name: str
    assets: list[str] = []
    partitions: str = ""
    backfill_id: str | None = None
    sentence: str
    at: datetime

    @property
    def line(self) -> str:
        """The failure in one line."""
        days = f" ({self.partitions})" if self.partitions else ""
        return f"{self.subject}{days}: {self.sentence}"


class Fault(BaseModel):
    """One way in which one thing fails.

    Attributes:
        last: the newest failure.
        n_runs: how many runs failed like this since `first_at`.
        told_at: when the webhook was told last; None: not yet.
        over_at: when it succeeded after the newest failure; None: not yet.
        is_over_told: that it was told too, or that there is nobody who waits for it.
    """

    last: Failure
    first_at: datetime
    n_runs: int = 1
    told_at: datetime | None = None
    over_at: datetime | None = None
    is_over_told: bool = True

    @property
    def can_end(self) -> bool:
        """True when a later run of the same tells that it is over; another backfill's is none."""
        return self.last.backfill_id is None and self.over_at is None

    @property
    def news(self) -> str:
        """What there is to say of it: what it says and how often, or that it is over."""
        since = f"{self.first_at:%Y-%m-%d %H:%M} UTC"
        runs = counted(self.n_runs, "run")
        if self.over_at is not None:
            at = f"{self.over_at:%Y-%m-%d %H:%M} UTC"
            return f"succeeded again at {at} ({runs} failed since {since})."
        again = f" ({runs} failed like this since {since}.)" if self.n_runs > 1 else ""
        return f"{self.last.sentence}{again}"

    @property
    def line(self) -> str:
        """The same, with what it is about."""
        days = f" ({self.last.partitions})" if self.last.partitions and not self.over_at else ""
        return f"{self.last.subject}{days}: {self.news}"


class Memory(BaseModel):
    """What the sensor keeps between its ticks, as its cursor.

    Attributes:
        after_id: the last event of a failed run that was seen; None: none yet.
        n_refusals: calls of the webhook that failed in a row.
        next_try_at: not before then is it called again.
        refusal: what happened at the last of those calls.
    """

    after_id: int | None = None
    faults: list[Fault] = []
    n_refusals: int = 0
    next_try_at: datetime | None = None
    refusal: str = ""

    def note(self, failure: Failure) -> None:
        """Count a failed run to its fault."""
        kind = _kind(failure)
        for fault in self.faults:
            if _kind(fault.last) == kind:
                if fault.over_at is not None:
                    # It comes and goes: who was told today is not told each time.
                    fault.first_at, fault.n_runs = failure.at, 0
                fault.last, fault.over_at = failure, None
                fault.n_runs += 1
                return
        self.faults.append(Fault(last=failure, first_at=failure.at))

    def to_tell(self, now: datetime) -> list[Fault]:
        """Return the faults that the webhook is to be told of, newest first, those over last."""
        since = now - TOLD_AGAIN_AFTER
        begun: list[Fault] = []
        n_told = Counter(
            fault.last.subject for fault in self.faults if fault.told_at and fault.told_at > since
        )
        # The oldest first would tell what nobody cares for any more, where not all can be told.
        for fault in sorted(self.faults, key=lambda each: each.last.at, reverse=True):
            subject = fault.last.subject
            is_new = fault.told_at is None and n_told[subject] < MOST_TOLD_A_DAY
            is_due = fault.told_at is not None and since >= fault.told_at < fault.last.at
            if fault.over_at is None and (is_new or is_due):
                begun.append(fault)
                n_told[subject] += 1
        return begun + [f for f in self.faults if f.over_at is not None and not f.is_over_told]

    def note_told(self, told: Iterable[Fault], now: datetime) -> None:
        """Note that the webhook has taken these."""
        for fault in told:
            if fault.over_at is not None:
                fault.is_over_told = True
            else:
                # That a reminder's fault is over is told again, too.
                fault.told_at, fault.is_over_told = now, False
        self.n_refusals, self.next_try_at, self.refusal = 0, None, ""

    def note_refused(self, why: str, now: datetime) -> None:
        """Note that the webhook has failed: it is called again after a growing pause."""
        self.n_refusals, self.refusal = self.n_refusals + 1, why
        self.next_try_at = now + growing_wait(self.n_refusals)

    def forget(self, now: datetime) -> None:
        """Drop what nobody has to be told of any more; what goes on longest without news first."""
        since = now - TOLD_AGAIN_AFTER
        kept = [
            fault
            for fault in self.faults
            if fault.last.at > since
            # A weekly job has no news for a week.
            or (fault.can_end and fault.last.at > now - 10 * TOLD_AGAIN_AFTER)
            or (not fault.is_over_told and fault.last.at > now - 3 * TOLD_AGAIN_AFTER)
        ]
        # Who was told today counts for how much may be told: without them it would never end.
        self.faults = sorted(
            kept, key=lambda f: (f.told_at is not None and f.told_at > since, f.last.at)
        )[-_MOST_FAULTS:]


def growing_wait(n_failures: int) -> timedelta:
    """Return how long to wait after some failures in a row: twice as long each time."""
    # Far beyond the longest wait, and far below what an interval can hold.
    return min(FIRST_WAIT * 2 ** min(n_failures - 1, 10), LONGEST_WAIT)


def counted(n: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _kind(failure: Failure) -> tuple[str, str, str | None]:
    return failure.subject, _VARYING.sub("#", failure.sentence), failure.backfill_id
