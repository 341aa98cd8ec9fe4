"""The prices: which of two stories is the cheaper one."""

import numpy as np
import pytest

from energy_etl.transform.cleaning_story import Kind, Limit, Story, fall_kind, tell_story

RATED = Limit(rate_per_s=10 / 3600, resolution=0.001, modulus=np.nan, is_rated=True)
QUARTER_US = 900_000_000


def tell(values: list[float], limit: Limit = RATED) -> Story:
    return tell_story(np.arange(len(values)) * QUARTER_US, np.asarray(values), limit)


def rising(start: float, n: int) -> list[float]:
    return [start + 0.5 * k for k in range(n)]


def test_no_bad_step_tells_nothing() -> None:
    assert tell(rising(100, 50)) == Story([], [])


def test_of_two_equal_stories_the_larger_predecessor_is_kept() -> None:
    assert tell([1000.0, 1001.0, 1000.9, 1002.0]) == Story([2], [])


@pytest.mark.parametrize("n", [1, 5, 10, 25, 40])
def test_readings_that_fall_back_are_dropped_and_nothing_else(n: int) -> None:
    values = rising(1000, 60) + [3000.0 - k for k in range(n)]
    story = tell(values + rising(1030 + 0.5 * n, 60))
    assert story == Story(list(range(60, 60 + n)), [])


def test_single_trailing_fall_is_dropped_and_two_are_a_reset() -> None:
    assert tell([*rising(1000, 10), 0.5]) == Story([10], [])
    assert tell([*rising(1000, 10), 0.5, 1.0]) == Story([], [(10, Kind.RESET)])


def test_single_trailing_rise_above_the_rating_is_dropped() -> None:
    assert tell([*rising(1000, 10), 5000.0]) == Story([10], [])


def test_six_readings_confirm_a_new_level() -> None:
    assert tell(rising(1000, 10) + rising(5000, 5)) == Story([10, 11, 12, 13, 14], [])
    assert tell(rising(1000, 10) + rising(5000, 7)) == Story([], [(10, Kind.LEVEL)])


def test_two_holes_are_never_merged_across_a_good_reading() -> None:
    values = rising(1000, 30)
    values[10] = values[12] = 5.0
    assert tell(values) == Story([10, 12], [])


def test_segment_that_returns_is_dropped_whatever_its_length() -> None:
    values = rising(1000, 100) + rising(300, 150) + rising(1050, 100)
    assert tell(values) == Story(list(range(100, 250)), [])


def test_segment_with_more_readings_than_its_neighbours_stays() -> None:
    values = rising(1000, 20) + rising(300, 150) + rising(1012, 20)
    story = tell(values)
    assert story.dropped == []
    assert [kind for _, kind in story.events] == [Kind.LEVEL, Kind.LEVEL]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (1000.0, 2.0, Kind.RESET),
        (1000.0, 400.0, Kind.LEVEL),
        (1000.0, 900.0, Kind.LEVEL),
        (3.0, 2.0, Kind.LEVEL),
        (3.0, 1.5, Kind.RESET),
    ],
)
def test_fall_is_a_reset_only_to_half_and_within_the_rating(
    before: float, after: float, kind: Kind
) -> None:
    assert fall_kind(before, after, 900.0, RATED) is kind


def test_fall_is_a_rollover_only_within_the_rating() -> None:
    limit = Limit(10 / 3600, 0.001, 1e5, True)
    assert fall_kind(99999.0, 1.0, 900.0, limit) is Kind.ROLLOVER
    assert fall_kind(99000.0, 1.0, 900.0, limit) is Kind.RESET
    assert fall_kind(100002.0, 1.0, 900.0, limit) is Kind.RESET
