"""Which readings are kept AND dropped: totals alone hide a cleaning that throws good ones away."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from energy_etl.transform.cleaning import Limits, clean_readings, seen_rate_per_s
from energy_etl.transform.cleaning_story import Kind
from energy_etl_tests.transform.register_frames import clean, dropped, kept, series

GOOD = [1000.0 + 0.5 * n for n in range(20)]


def with_values(values: list[float], at: int, *wrong: float) -> list[float]:
    return [*values[:at], *wrong, *values[at + len(wrong) :]]


def kinds(values: list[float], **limits: Any) -> list[Kind]:
    return [Kind(code) for code in clean(values, **limits).event_kind.tolist()]


RATINGS = pytest.mark.parametrize("rating", [None, 10.0, 100.0])


@RATINGS
def test_good_readings_are_all_kept(rating: float | None) -> None:
    cleaned = clean(GOOD, rating_per_hour=rating)
    assert kept(cleaned) == GOOD
    assert dropped(cleaned) == []


@RATINGS
@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_zeros_between_good_readings_are_dropped(rating: float | None, n: int) -> None:
    cleaned = clean(with_values(GOOD, 8, *[0.0] * n), rating_per_hour=rating)
    assert dropped(cleaned) == [(0.0, "zero_glitch")] * n
    assert kept(cleaned) == GOOD[:8] + GOOD[8 + n :]
    assert cleaned.event_row.size == 0


@RATINGS
def test_false_high_is_dropped_and_what_follows_is_not_poisoned(rating: float | None) -> None:
    cleaned = clean(with_values(GOOD, 8, 5000.0), rating_per_hour=rating)
    assert dropped(cleaned) == [(5000.0, "false_high")]
    assert kept(cleaned) == GOOD[:8] + GOOD[9:]


@RATINGS
def test_false_low_is_dropped_and_is_no_reset(rating: float | None) -> None:
    cleaned = clean(with_values(GOOD, 8, 12.0), rating_per_hour=rating)
    assert dropped(cleaned) == [(12.0, "false_low")]
    assert kept(cleaned) == GOOD[:8] + GOOD[9:]


@RATINGS
def test_three_false_lows_in_a_row_are_dropped_and_are_no_reset(rating: float | None) -> None:
    cleaned = clean(with_values(GOOD, 8, 400.0, 400.5, 401.0), rating_per_hour=rating)
    assert dropped(cleaned) == [(400.0, "false_low"), (400.5, "false_low"), (401.0, "false_low")]
    assert kept(cleaned) == GOOD[:8] + GOOD[11:]


@RATINGS
def test_three_false_highs_in_a_row_are_dropped(rating: float | None) -> None:
    cleaned = clean(with_values(GOOD, 8, 4000.0, 4000.5, 4001.0), rating_per_hour=rating)
    assert [rule for _, rule in dropped(cleaned)] == ["false_high"] * 3
    assert kept(cleaned) == GOOD[:8] + GOOD[11:]


@RATINGS
def test_dip_is_dropped_and_not_its_neighbour(rating: float | None) -> None:
    cleaned = clean(with_values(GOOD, 8, GOOD[7] - 0.1), rating_per_hour=rating)
    assert dropped(cleaned) == [(pytest.approx(GOOD[7] - 0.1), "dip")]


@RATINGS
def test_reset_that_goes_on_is_kept(rating: float | None) -> None:
    values = [*GOOD, 0.25, 0.75, 1.25, 1.75]
    cleaned = clean(values, rating_per_hour=rating)
    assert kept(cleaned) == values
    assert cleaned.event_row.tolist() == [len(GOOD)]
    assert cleaned.event_kind.tolist() == [Kind.RESET]
    assert cleaned.event_energy.tolist() == [0.25]


def test_reset_seen_once_waits_for_a_second_reading() -> None:
    assert dropped(clean([*GOOD, 0.25], rating_per_hour=10)) == [(0.25, "provisional")]
    assert dropped(clean([*GOOD, 0.25, 0.75], rating_per_hour=10)) == []


@RATINGS
def test_zeros_after_a_reset_are_given_back(rating: float | None) -> None:
    values = [*GOOD, 0.0, 0.0, 0.25, 0.75]
    cleaned = clean(values, rating_per_hour=rating)
    assert kept(cleaned) == values
    assert cleaned.event_row.tolist() == [len(GOOD)]
    assert cleaned.event_energy.tolist() == [0.0]


@RATINGS
def test_zeros_at_the_start_are_given_back_when_growth_follows(rating: float | None) -> None:
    values = [0.0, 0.0, 0.0, 0.4, 0.9, 1.4]
    assert kept(clean(values, rating_per_hour=rating)) == values


@RATINGS
def test_zero_at_the_start_of_a_full_counter_is_a_glitch(rating: float | None) -> None:
    cleaned = clean([0.0, *GOOD], rating_per_hour=rating)
    assert dropped(cleaned) == [(0.0, "zero_glitch")]
    assert kept(cleaned) == GOOD


def test_register_of_zeros_only_keeps_them() -> None:
    assert kept(clean([0.0] * 5)) == [0.0] * 5


def test_zeros_at_the_end_stay_provisional() -> None:
    assert dropped(clean([*GOOD, 0.0, 0.0])) == [(0.0, "provisional")] * 2


@RATINGS
def test_rollover_with_known_digits_is_kept(rating: float | None) -> None:
    values = [99990.0 + 1.5 * n for n in range(7)] + [0.5, 2.0, 3.5, 5.0]
    cleaned = clean(values, rating_per_hour=rating, digits=5)
    assert kept(cleaned) == values
    assert cleaned.event_kind.tolist() == [Kind.ROLLOVER]
    assert cleaned.event_energy.tolist() == [1.5]


def test_rollover_through_an_exact_zero_is_kept() -> None:
    values = [99996.0, 99998.0, 0.0, 2.0, 4.0, 6.0]
    cleaned = clean(values, rating_per_hour=20, digits=5)
    assert kept(cleaned) == values
    assert cleaned.event_row.tolist() == [2]
    assert cleaned.event_energy.tolist() == [2.0]


@RATINGS
def test_false_low_with_known_digits_is_no_rollover(rating: float | None) -> None:
    cleaned = clean(with_values(GOOD, 8, 500.0), rating_per_hour=rating, digits=5)
    assert dropped(cleaned) == [(500.0, "false_low")]
    assert cleaned.event_row.size == 0


def test_fall_of_a_counter_that_never_grew_is_no_rollover() -> None:
    assert kinds([1000.0, 500.0], digits=6) == []


def test_counter_above_its_declared_digits_never_rolls_over() -> None:
    values = [*[123000.0 + n for n in range(8)], *[10.0 + n for n in range(20)]]
    assert Kind.ROLLOVER not in kinds(values, rating_per_hour=20, digits=5)


@pytest.mark.parametrize("rating", [None, 10.0])
def test_fall_that_stays_is_a_change_of_level_without_energy(rating: float | None) -> None:
    values = GOOD + [700.0 + 0.5 * n for n in range(20)]
    cleaned = clean(values, rating_per_hour=rating)
    assert kept(cleaned) == values
    assert cleaned.event_row.tolist() == [len(GOOD)]
    assert cleaned.event_kind.tolist() == [Kind.LEVEL]
    assert np.isnan(cleaned.event_energy).all()


def test_rise_above_the_rating_that_stays_is_a_change_of_level() -> None:
    values = GOOD + [7000.0 + 0.5 * n for n in range(20)]
    cleaned = clean(values, rating_per_hour=10)
    assert kept(cleaned) == values
    assert cleaned.event_kind.tolist() == [Kind.LEVEL]


def test_rise_without_a_rating_is_kept_and_suspect() -> None:
    values = GOOD + [7000.0 + 0.5 * n for n in range(20)]
    cleaned = clean(values)
    assert kept(cleaned) == values
    assert cleaned.suspect_row.tolist() == [len(GOOD)]
    assert cleaned.event_row.size == 0


def test_wrongly_mapped_register_for_days_is_dropped_whole() -> None:
    wrong = [300.0 + 0.1 * n for n in range(60)]
    after = [1012.0 + 0.5 * n for n in range(60)]
    cleaned = clean(GOOD + wrong + after, rating_per_hour=10)
    assert kept(cleaned) == GOOD + after
    assert len(dropped(cleaned)) == 60
    assert cleaned.event_row.size == 0


@RATINGS
def test_two_resets_are_two_resets(rating: float | None) -> None:
    after = [0.3 + 0.5 * n for n in range(12)]
    values = GOOD + after + after
    cleaned = clean(values, rating_per_hour=rating)
    assert kept(cleaned) == values
    assert cleaned.event_kind.tolist() == [Kind.RESET] * 2


def test_zero_glitches_on_every_second_reading_leave_all_the_others() -> None:
    good = np.cumsum(np.full(10_000, 0.2)) + 5492
    values = np.zeros(20_000)
    values[::2] = good
    cleaned = clean(values.tolist())
    assert kept(cleaned) == good.tolist()
    # The very last zero has nothing after it.
    rules = cleaned.dropped["rule"].value_counts().sort("rule").rows()
    assert rules == [("provisional", 1), ("zero_glitch", 9_999)]


def test_glitches_close_together_never_merge_across_good_readings() -> None:
    values = [1000.0 + 0.5 * n for n in range(3000)]
    wrong = list(range(10, 2990, 3))
    for at in wrong:
        values[at] = 3.0
    cleaned = clean(values, rating_per_hour=10)
    assert cleaned.dropped["row"].to_list() == wrong


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_rating_that_is_too_low_drops_almost_nothing(share: float) -> None:
    rng = np.random.default_rng(7)
    values = (100 + np.cumsum(rng.exponential(0.2, 5000))).tolist()
    cleaned = clean(values, rating_per_hour=0.8 * share)
    # Steps become changes of level, which is reported; good readings stay.
    assert cleaned.dropped.height <= 30
    assert (cleaned.event_kind == Kind.LEVEL).all()


def test_upward_jump_is_not_absorbed_by_dropping_readings_beside_it() -> None:
    values = GOOD + [1030.0 + 0.5 * n for n in range(20)]
    cleaned = clean(values, rating_per_hour=4)
    assert kept(cleaned) == values
    assert cleaned.event_kind.tolist() == [Kind.LEVEL]


def test_unusable_values_are_named_and_dropped() -> None:
    wrong = [None, float("nan"), -3.0, 1e12, float("inf"), float("-inf")]
    cleaned = clean([*GOOD[:5], *wrong, *GOOD[5:]])
    assert kept(cleaned) == GOOD
    assert cleaned.dropped["rule"].to_list() == [
        "missing",
        "missing",
        "negative",
        "implausible",
        "implausible",
        "negative",
    ]


def test_nothing_usable_gives_nothing_kept() -> None:
    cleaned = clean([None, -1.0])
    assert cleaned.kept.height == 0
    assert clean([]).kept.height == 0


def test_one_reading_is_kept() -> None:
    assert kept(clean([5.0])) == [5.0]
    assert kept(clean([0.0])) == [0.0]


def test_rate_seen_leaves_out_the_return_from_a_false_low() -> None:
    at_us = np.arange(5) * 900_000_000
    rate = seen_rate_per_s(at_us, np.array([1000.0, 1000.5, 3.0, 1001.5, 1002.0]))
    assert rate == pytest.approx(20 * 0.5 / 960)
    assert seen_rate_per_s(at_us, np.full(5, 7.0)) == np.inf


def test_registers_do_not_see_each_other() -> None:
    one, two = GOOD, [3.0 + 0.1 * n for n in range(20)]
    both = pl.DataFrame(
        {
            "segment": [0] * 20 + [1] * 20,
            "at_us": [int(at * 60e6) for at, _ in series(one)] * 2,
            "reading": one + two,
        }
    )
    limits = Limits(np.full(2, 10 / 3600), np.full(2, 0.001), np.full(2, 1e5))
    cleaned = clean_readings(both, limits)
    assert cleaned.kept.height == 40
    assert cleaned.event_row.size == 0


@pytest.mark.parametrize(
    ("wrong", "rule", "rating"),
    [(5000.0, "false_high", None), (5000.0, "false_high", 10.0), (3.0, "false_low", 10.0)],
)
def test_false_reading_at_the_very_start_is_dropped(
    wrong: float, rule: str, rating: float | None
) -> None:
    cleaned = clean([wrong, *GOOD], rating_per_hour=rating)
    assert dropped(cleaned) == [(wrong, rule)]
    assert kept(cleaned) == GOOD


def test_sag_that_does_not_fall_moves_energy_to_its_neighbour_and_keeps_the_total() -> None:
    values = with_values(GOOD, 8, GOOD[7] + 0.1)
    assert kept(clean(values, rating_per_hour=10)) == values


def test_false_high_within_the_rating_at_the_end_goes_with_the_next_reading() -> None:
    high = GOOD[-1] + 2.0
    assert dropped(clean([*GOOD, high], rating_per_hour=10)) == []
    following = [GOOD[-1] + 1.0, GOOD[-1] + 1.5]
    cleaned = clean([*GOOD, high, *following], rating_per_hour=10)
    assert dropped(cleaned) == [(high, "false_high")]
