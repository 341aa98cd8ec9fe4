"""Many calls at once: one that fails is reported by name and never stops the others.

Two failures do stop the rest, because it would fail the same way and hammer the vendor meanwhile: a
refused credential, and a vendor of which nothing answers any more.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final

from energy_etl.errors import (
    AuthenticationError,
    ConfigurationError,
    EnergyEtlError,
    NotFoundError,
    UnavailableError,
)

# Called with (finished, all).
Progress = Callable[[int, int], None]

# A single meter may time out; this many failures with no success in between are the vendor's.
N_UNAVAILABLE_UNTIL_DOWN: Final = 3


@dataclass(frozen=True)
class Job:
    """One thing to fetch.

    Attributes:
        subject: what it is, for people: "register rome-a.grid_import".
        run: fetches it; what it fetched is in the request log.
        group: what it belongs to, for people ("meter rome-a"): reported in one line, and not asked
            for any more when one job of it was not found.
    """

    subject: str
    run: Callable[[], object]
    group: str | None = None


@dataclass
class FetchReport:
    """What became of the jobs.

    Attributes:
        done: subjects that were fetched whole.
        failures: the error of each subject that failed.
        skipped: subjects that were not asked for any more.
        stopped_by: the failure that ended the fetch early, None when it ran to its end.
    """

    done: list[str] = field(default_factory=list)
    failures: dict[str, EnergyEtlError] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    stopped_by: EnergyEtlError | None = None
    groups: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_complete(self) -> bool:
        """True when every subject was fetched."""
        return not self.failures and not self.skipped

    def sentences(self) -> list[str]:
        """One line per group (or subject) that failed, and one for all others that were skipped."""
        first: dict[str, EnergyEtlError] = {}
        n_more: Counter[str] = Counter()
        for subject, error in sorted(self.failures.items()):
            group = self.groups.get(subject, subject)
            n_more[group] += group in first
            first.setdefault(group, error)
        skipped: set[str] = set()
        for subject in self.skipped:
            group = self.groups.get(subject, subject)
            n_more[group] += 1
            if group not in first:
                skipped.add(group)
        lines = [
            f"{group}: {error}"
            + (f" ({n_more[group]} more of it were not fetched.)" if n_more[group] else "")
            for group, error in sorted(first.items())
        ]
        if skipped:
            lines.append(f"Not asked for after that: {', '.join(sorted(skipped))}.")
        return lines

    def merge(self, other: "FetchReport") -> None:
        """Add another report to this one."""
        self.done += other.done
        self.failures |= other.failures
        self.skipped += other.skipped
        self.groups |= other.groups
        self.stopped_by = self.stopped_by or other.stopped_by


def fetch_all(
    jobs: Iterable[Job],
    *,
    max_parallel: int,
    progress: Progress | None = None,
) -> FetchReport:
    """Run jobs in threads and report on each; errors of other kinds than ours are raised.

    Args:
        jobs: started in this order.
        max_parallel: how many run at a time.
        progress: called with (finished, all) after each job, in the caller's thread.
    """
    waiting = list(reversed(list(jobs)))
    n_jobs = len(waiting)
    n_unavailable = 0
    report = FetchReport(groups={job.subject: job.group for job in waiting if job.group})
    dead_groups: set[str] = set()
    running: dict[Future[object], Job] = {}
    with ThreadPoolExecutor(max_parallel, thread_name_prefix="fetch") as executor:
        while running or waiting:
            while waiting and len(running) < max_parallel:
                job = waiting.pop()
                if job.group in dead_groups or report.stopped_by is not None:
                    report.skipped.append(job.subject)
                else:
                    running[executor.submit(job.run)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    future.result()
                except EnergyEtlError as error:
                    report.failures[job.subject] = error
                    n_unavailable += isinstance(error, UnavailableError)
                    if isinstance(error, NotFoundError) and job.group is not None:
                        dead_groups.add(job.group)
                    if (
                        isinstance(error, AuthenticationError | ConfigurationError)
                        or n_unavailable >= N_UNAVAILABLE_UNTIL_DOWN
                    ):
                        report.stopped_by = report.stopped_by or error
                else:
                    report.done.append(job.subject)
                    n_unavailable = 0
                if progress is not None:
                    n_done = len(report.done) + len(report.failures) + len(report.skipped)
                    progress(n_done, n_jobs)
    return report
