"""A vendor's rate limit holds across threads and processes, and in any window."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import RateLimitedError
from energy_etl.quota import HELD_S, MARGIN_S, Quota, quota_use


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, wait_s: float) -> None:
        self.now_s += wait_s


@contextmanager
def _quota(path: Path, limit: int, window_s: float, clock: _Clock) -> Iterator[Quota]:
    quota = Quota(path, "acme", limit, window_s, now_s=clock, sleep=clock.sleep)
    try:
        yield quota
    finally:
        quota.close()


@settings(max_examples=15, deadline=None)
@given(
    limit=st.integers(1, 5),
    window_s=st.sampled_from([0.5, 10.0, 300.0]),
    pauses_s=st.lists(st.floats(0, 100), min_size=1, max_size=15),
)
def test_no_window_ever_holds_more_calls_than_the_limit(
    tmp_path_factory: pytest.TempPathFactory, limit: int, window_s: float, pauses_s: list[float]
) -> None:
    clock = _Clock()
    taken_s: list[float] = []
    with _quota(tmp_path_factory.mktemp("quota") / "s", limit, window_s, clock) as quota:
        for pause_s in pauses_s:
            clock.now_s += pause_s
            quota.acquire(1e6)
            taken_s.append(clock.now_s)
    for first_s, later_s in zip(taken_s, taken_s[limit:], strict=False):
        assert later_s - first_s >= window_s + MARGIN_S - 1e-5


@settings(max_examples=6, deadline=None)
@given(
    limit=st.integers(200, 300),
    calls=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0, 0, 0.003, 0.1, 0.3])), min_size=50, max_size=60
    ),
    is_paused_at=st.integers(0, 50),
)
def test_places_held_by_two_processes_never_exceed_the_limit_and_none_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
    limit: int,
    calls: list[tuple[bool, float]],
    is_paused_at: int,
) -> None:
    clock, path = _Clock(), tmp_path_factory.mktemp("quota") / "s"
    taken_s: list[float] = []
    paused_until_s = 0.0
    with _quota(path, limit, 2.0, clock) as one, _quota(path, limit, 2.0, clock) as other:
        for number, (is_one, pause_s) in enumerate(calls * 7):
            quota = one if is_one else other
            clock.now_s += pause_s
            if number == is_paused_at:
                quota.pause(5.0)
                paused_until_s = clock.now_s + 5.0
                # The other one goes on with what it holds, and no longer.
                clock.now_s += HELD_S
            quota.acquire(1e6)
            taken_s.append(clock.now_s)
            assert clock.now_s >= paused_until_s - 1e-5
    for first_s, later_s in zip(taken_s, taken_s[limit:], strict=False):
        assert later_s - first_s >= 2.0 + MARGIN_S - 1e-5
    clock.now_s += 1
    left_s = [at_s for at_s in taken_s if at_s > clock.now_s - 3]
    # What was held for calls that never came is free again; stamps are late by what was held.
    found = quota_use(path, "acme", 2.0, clock.now_s).n_used
    assert len(left_s) <= found <= len([at_s for at_s in taken_s if at_s > clock.now_s - 3.3])


def test_slow_caller_holds_no_place(tmp_path: Path) -> None:
    clock = _Clock()
    with _quota(tmp_path / "s", 10_000, 300.0, clock) as quota:
        for number in range(5):
            quota.acquire(0)
            assert quota_use(tmp_path / "s", "acme", 300.0, clock.now_s).n_used == number + 1
            clock.now_s += 1


def test_fast_caller_takes_places_together(tmp_path: Path) -> None:
    clock = _Clock()
    with _quota(tmp_path / "s", 10_000, 300.0, clock) as quota:
        for _ in range(100):
            quota.acquire(0)
        held = quota_use(tmp_path / "s", "acme", 300.0, clock.now_s).n_used - 100
        assert 0 < held <= 100
    assert quota_use(tmp_path / "s", "acme", 300.0, clock.now_s).n_used == 100


def test_held_place_is_used_in_time_or_not_at_all(tmp_path: Path) -> None:
    clock, path = _Clock(), tmp_path / "s"
    with _quota(path, 10_000, 300.0, clock) as quota, _quota(path, 10_000, 300.0, clock) as other:
        for _ in range(100):
            quota.acquire(0)
        other.pause(5.0)
        clock.now_s += HELD_S - 0.001
        assert quota.acquire(10) == 0
        clock.now_s += 0.001
        assert quota.acquire(10) == pytest.approx(5 - HELD_S, abs=0.01)


def test_quota_without_a_place_in_time_is_told_and_takes_none(tmp_path: Path) -> None:
    clock = _Clock()
    with _quota(tmp_path / "s", 2, 300.0, clock) as quota:
        assert quota.acquire(0) == 0
        assert quota.acquire(0) == 0
        with pytest.raises(RateLimitedError, match=r"quota acme \(2 calls in 300 s\)") as caught:
            quota.acquire(10)
        assert caught.value.retry_after_s == pytest.approx(301, abs=0.1)
        clock.now_s += 302
        assert quota.acquire(0) == 0


def test_two_names_do_not_share_a_window(tmp_path: Path) -> None:
    first, second = (Quota(tmp_path / "s", name, 1, 300.0) for name in ("a", "b"))
    assert first.acquire(0) == second.acquire(0) == 0
    first.close()
    second.close()


def test_clock_set_back_frees_the_window(tmp_path: Path) -> None:
    clock = _Clock()
    with _quota(tmp_path / "s", 1, 10.0, clock) as quota:
        quota.acquire(0)
        clock.now_s -= 3600
        assert quota.acquire(0) == 0


_PROCESS = """
import sys
from pathlib import Path
from energy_etl.quota import Quota
from energy_etl.errors import RateLimitedError
quota = Quota(Path(sys.argv[1]), "acme", 30, 300.0)
taken = 0
try:
    while True:
        quota.acquire(0)
        taken += 1
except RateLimitedError:
    print(taken)
quota.close()
"""


def test_threads_and_processes_share_one_limit(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    command = [sys.executable, "-c", _PROCESS, str(path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    quota = Quota(path, "acme", 30, 300.0)

    def take(_: int) -> int:
        time.sleep(0.01)
        try:
            quota.acquire(0)
        except RateLimitedError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as threads:
        mine = sum(threads.map(take, range(20)))
    theirs = sum(int(process.communicate(timeout=60)[0]) for process in processes)
    mine += sum(take(0) for _ in range(31))
    quota.close()
    assert mine + theirs == 30
