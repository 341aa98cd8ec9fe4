"""One job that fails never stops the others; a vendor that refuses or is down is not hammered."""

import threading

import pytest

from energy_etl.errors import (
    AuthenticationError,
    EnergyEtlError,
    MalformedError,
    NotFoundError,
    UnavailableError,
)
from energy_etl.rest import FetchReport, Job, fetch_all


def _fail(error: Exception) -> None:
    raise error


def _jobs(errors: dict[int, EnergyEtlError], n: int, asked: list[int]) -> list[Job]:
    def run(number: int) -> None:
        asked.append(number)
        if number in errors:
            raise errors[number]

    return [Job(f"meter {number}", lambda number=number: run(number)) for number in range(n)]


def test_one_bad_meter_is_reported_and_the_others_are_fetched() -> None:
    asked: list[int] = []
    seen: list[tuple[int, int]] = []
    jobs = _jobs({3: MalformedError("page 2 is no list."), 5: NotFoundError("gone.")}, 20, asked)
    report = fetch_all(jobs, max_parallel=4, progress=lambda done, n: seen.append((done, n)))
    assert sorted(asked) == list(range(20))
    assert len(report.done) == 18
    assert report.sentences() == ["meter 3: page 2 is no list.", "meter 5: gone."]
    assert not report.is_complete
    assert seen == [(number, 20) for number in range(1, 21)]


def test_refused_credential_stops_the_rest() -> None:
    asked: list[int] = []
    errors: dict[int, EnergyEtlError] = {n: AuthenticationError("refused.") for n in range(60)}
    report = fetch_all(_jobs(errors, 60, asked), max_parallel=4)
    assert len(asked) <= 8
    assert isinstance(report.stopped_by, AuthenticationError)
    assert len(report.skipped) + len(report.failures) == 60


def test_vendor_that_is_down_is_not_hammered() -> None:
    asked: list[int] = []
    errors: dict[int, EnergyEtlError] = {n: UnavailableError("down.") for n in range(60)}
    report = fetch_all(_jobs(errors, 60, asked), max_parallel=4)
    assert len(asked) <= 8
    assert isinstance(report.stopped_by, UnavailableError)


def test_single_timeouts_between_successes_stop_nothing() -> None:
    asked: list[int] = []
    errors: dict[int, EnergyEtlError] = {n: UnavailableError("late.") for n in range(0, 40, 2)}
    report = fetch_all(_jobs(errors, 40, asked), max_parallel=1)
    assert len(asked) == 40
    assert report.stopped_by is None


def test_meter_that_is_unknown_is_told_once_and_not_asked_again() -> None:
    asked: list[str] = []

    def run(group: str) -> None:
        asked.append(group)
        if group == "meter a":
            raise NotFoundError("unknown.")

    jobs = [
        Job(f"{group}, {name}", lambda group=group: run(group), group=group)
        for group in ("meter a", "meter b")
        for name in range(5)
    ]
    report = fetch_all(jobs, max_parallel=1)
    assert asked == ["meter a", *["meter b"] * 5]
    assert report.sentences() == ["meter a: unknown. (4 more of it were not fetched.)"]


def test_error_of_another_kind_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        fetch_all([Job("x", lambda: _fail(ZeroDivisionError()))], max_parallel=2)


def test_jobs_run_at_the_same_time() -> None:
    barrier = threading.Barrier(4, timeout=5)
    report = fetch_all([Job(str(n), barrier.wait) for n in range(4)], max_parallel=4)
    assert report.is_complete


def test_no_jobs_is_a_complete_report() -> None:
    assert fetch_all([], max_parallel=4) == FetchReport()
