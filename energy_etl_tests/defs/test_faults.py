"""`Memory`: what is told, when, and how often."""

from datetime import UTC, datetime, timedelta
from itertools import count, product

from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.defs.faults import LONGEST_WAIT, MOST_TOLD_A_DAY, Failure, Memory

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ids = count()


def failed(at: datetime, sentence: str = "Vendor answered 500: run again.", job: str = "extract_a"):
    return Failure(run_id=f"run-{next(ids)}", subject=job, job_name=job, sentence=sentence, at=at)


def tell(memory: Memory, now: datetime) -> list[str]:
    """Tell the webhook what is due."""
    told = memory.to_tell(now)
    lines = [fault.line for fault in told]
    memory.note_told(told, now)
    memory.forget(now)
    return lines


def test_same_fault_each_hour_is_told_at_first_and_once_a_day_until_it_is_over() -> None:
    memory, told = Memory(), []
    for hour in range(60):
        now = NOW + hour * HOUR
        # Numbers, ids and what the vendor says differ; the fault does not.
        memory.note(
            failed(now, f'Vendor (n={hour}, id=0a1b2c3d{hour:04}) answered 500 ("{hour}ab"): wait.')
        )
        told += [(hour, line) for line in tell(memory, now)]
    assert [hour for hour, _ in told] == [0, 24, 48]
    assert "(49 runs failed like this since 2026-01-05 12:00 UTC.)" in told[-1][1]
    assert len(memory.faults) == 1
    memory.faults[0].over_at = NOW + 60 * HOUR
    assert tell(memory, NOW + 60 * HOUR) == [
        "extract_a: succeeded again at 2026-01-08 00:00 UTC (60 runs failed since "
        "2026-01-05 12:00 UTC)."
    ]
    assert tell(memory, NOW + 61 * HOUR) == []


def test_fault_that_comes_and_goes_is_told_once_a_day_each_way() -> None:
    memory, n_told = Memory(), 0
    for hour in range(48):
        now = NOW + hour * HOUR
        if hour % 2:
            memory.faults[0].over_at = now
        else:
            memory.note(failed(now))
        n_told += len(tell(memory, now))
    assert n_told == 4


def test_other_job_and_other_sentence_are_told_at_once() -> None:
    memory = Memory()
    memory.note(failed(NOW))
    assert len(tell(memory, NOW)) == 1
    memory.note(failed(NOW + HOUR, job="extract_b"))
    memory.note(failed(NOW + HOUR, "The disk of /data is full: make room."))
    assert len(tell(memory, NOW + HOUR)) == 2


def test_job_that_says_something_else_each_time_is_told_a_few_times_a_day() -> None:
    memory, n_told = Memory(), 0
    for word in range(40):
        now = NOW + word * timedelta(minutes=10)
        memory.note(failed(now, f"Something {chr(97 + word % 26) * (1 + word // 26)} broke."))
        n_told += len(tell(memory, now))
    assert n_told == MOST_TOLD_A_DAY


def test_answers_with_quotes_in_them_are_one_fault() -> None:
    memory = Memory()
    for word in ("ab", "cd"):
        said = f'Vendor answered 500 ("{{"error": "{word}"}}"): run again.'
        memory.note(failed(NOW, said))
    assert [fault.n_runs for fault in memory.faults] == [2]


def test_week_of_ever_other_sentences_stays_within_the_limit_of_each_day() -> None:
    memory, told_at, words = Memory(), list[datetime](), product("ghijk", repeat=4)
    for hour in range(24 * 7):
        now = NOW + hour * HOUR
        memory.note(failed(now, f"{''.join(next(words))} broke."))
        lines = tell(memory, now)
        # What is told is today's: more than a hundred faults push the first ones out unseen.
        told_at += [now] * len(lines)
        assert not lines or memory.faults[-1].last.at == now
    for at in told_at:
        assert sum(at - DAY < other <= at for other in told_at) <= MOST_TOLD_A_DAY
    assert len(told_at) >= MOST_TOLD_A_DAY * 6


def test_webhook_that_is_down_gets_it_later_and_never_what_is_over_by_then() -> None:
    memory = Memory()
    memory.note(failed(NOW))
    memory.note(failed(NOW, job="extract_b"))
    waits = []
    for _ in range(12):
        memory.note_refused("down", NOW)
        assert memory.next_try_at is not None
        waits.append(memory.next_try_at - NOW)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (timedelta(minutes=1), LONGEST_WAIT)
    memory.faults[0].over_at = NOW + HOUR
    memory.forget(NOW + HOUR)
    assert [fault.last.job_name for fault in memory.to_tell(NOW + HOUR)] == ["extract_b"]


def test_weekly_job_that_fails_is_told_each_week_and_old_faults_go() -> None:
    memory = Memory()
    for week in range(3):
        memory.note(failed(NOW + 7 * week * DAY, job="prune_history"))
        assert len(tell(memory, NOW + 7 * week * DAY)) == 1
    memory.forget(NOW + 40 * DAY)
    assert memory.faults == []


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 600), st.sampled_from("abc"), st.booleans(), st.booleans()),
        max_size=40,
    )
)
def test_however_it_goes_each_fault_is_told_at_most_once_a_day_and_memory_survives_as_text(
    steps: list[tuple[int, str, bool, bool]],
) -> None:
    memory, now = Memory(), NOW
    told_at: dict[str, datetime] = {}
    for minutes, job, is_failure, is_up in steps:
        now += timedelta(minutes=minutes)
        if is_failure:
            memory.note(failed(now, job=job))
        for fault in memory.faults:
            if not is_failure and fault.last.job_name == job and fault.over_at is None:
                fault.over_at = now
        told = memory.to_tell(now)
        if told and not is_up:
            memory.note_refused("down", now)
            continue
        for fault in told:
            if fault.over_at is None:
                before = told_at.get(fault.last.job_name)
                assert before is None or now - before >= DAY
                told_at[fault.last.job_name] = now
        memory.note_told(told, now)
        # What has just begun is told, whatever was before.
        assert all(fault.told_at for fault in memory.faults if fault.over_at is None)
        memory.forget(now)
        assert Memory.model_validate_json(memory.model_dump_json()) == memory
