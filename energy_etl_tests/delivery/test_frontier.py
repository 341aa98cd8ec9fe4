"""Which held packets may go, and what the others wait for."""

from datetime import timedelta

import polars as pl
import pytest

from energy_etl.delivery import BusyWindow, Outbox, release
from energy_etl.delivery.acks import Ended, Sent, apply
from energy_etl.delivery.frontier import UNPLANNED, hold_unplanned
from energy_etl.delivery.outbox import BEHIND
from energy_etl_tests.delivery.conftest import (
    NOW,
    START_AT,
    body,
    packets,
    plan,
    reasons,
    stamp,
    stamp_ms,
    states,
)

HOLD_FOR = timedelta(hours=48)
EVERYTHING = timedelta(days=30)


def _pending(outbox: Outbox) -> list[int]:
    return [n for n, state in states(outbox, "s").items() if state == "pending"]


def test_contiguous_packets_are_released_up_to_the_first_hole(outbox: Outbox) -> None:
    outbox.fill(packets("s", [1, 2, 3, 6, 7]), [plan("s")], now=NOW)

    result = release(outbox, [plan("s")], [], NOW, HOLD_FOR)

    assert result.n_released == 3
    assert _pending(outbox) == [1, 2, 3]
    assert reasons(outbox, "s")[6] == (
        "hole from 2025-01-06T00:45Z to 2025-01-06T01:15Z: waits until it is filled, "
        "declared missing in gaps.csv, or 2025-02-03T12:00Z"
    )
    assert [wait.stream_id for wait in result.waits] == ["s"]


def test_a_hole_at_the_very_start_holds_everything(outbox: Outbox) -> None:
    outbox.fill(packets("s", [2, 3]), [plan("s")], now=NOW)
    assert release(outbox, [plan("s")], [], NOW, HOLD_FOR).n_released == 0


def test_without_a_start_the_first_packet_is_the_start(outbox: Outbox) -> None:
    plans = [plan("s", push_from_at=None)]
    outbox.fill(packets("s", [40, 41]), plans, now=NOW)
    assert release(outbox, plans, [], NOW, HOLD_FOR).n_released == 2


def test_a_hole_that_is_filled_lets_the_rest_go(outbox: Outbox) -> None:
    outbox.fill(packets("s", [1, 4]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW, HOLD_FOR)
    outbox.fill(packets("s", [3, 2]), [plan("s")], now=NOW)

    result = release(outbox, [plan("s")], [], NOW, HOLD_FOR)

    assert (result.n_released, result.waits) == (3, ())
    assert _pending(outbox) == [1, 2, 3, 4]
    assert set(reasons(outbox, "s").values()) == {None}


def test_a_hole_declared_missing_is_passed_at_once_even_during_a_backfill(outbox: Outbox) -> None:
    declared = plan("s", declared_missing=((stamp(1), stamp(3)),))
    busy = [BusyWindow(START_AT, stamp(100), None, "the backfill b1")]
    outbox.fill(packets("s", [1, 4, 5]), [declared], now=NOW)
    release(outbox, [declared], busy, NOW, HOLD_FOR)
    assert _pending(outbox) == [1, 4, 5]


def test_a_hole_declared_only_in_part_still_holds(outbox: Outbox) -> None:
    declared = plan("s", declared_missing=((stamp(1), stamp(2)),))
    outbox.fill(packets("s", [1, 4]), [declared], now=NOW)
    release(outbox, [declared], [], NOW, HOLD_FOR)
    assert _pending(outbox) == [1]


@pytest.mark.parametrize(
    ("waited", "expected"), [(HOLD_FOR - timedelta(seconds=1), [1]), (HOLD_FOR, [1, 3])]
)
def test_a_hole_is_passed_when_the_packet_behind_it_has_waited(
    outbox: Outbox, waited: timedelta, expected: list[int]
) -> None:
    outbox.fill(packets("s", [1]), [plan("s")], now=NOW - timedelta(days=9))
    outbox.fill(packets("s", [3]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW + waited, HOLD_FOR)
    assert _pending(outbox) == expected


def test_filling_the_same_packet_again_does_not_restart_its_wait(outbox: Outbox) -> None:
    outbox.fill(packets("s", [1, 3]), [plan("s")], now=NOW)
    outbox.fill(packets("s", [1, 3], value=2.0), [plan("s")], now=NOW + HOLD_FOR)
    release(outbox, [plan("s")], [], NOW + HOLD_FOR, HOLD_FOR)
    assert _pending(outbox) == [1, 3]


@pytest.mark.parametrize(
    ("registers", "from_number", "to_number", "is_held"),
    [
        (None, 1, 2, True),
        (frozenset({"register-of-s"}), 0, 100, True),
        (frozenset({"register-of-another"}), 0, 100, False),
        (None, 2, 100, False),  # only what is behind the hole
        (None, 0, 1, False),  # only what is before it
    ],
)
def test_a_load_that_covers_the_hole_holds_however_long_it_takes(
    outbox: Outbox,
    registers: frozenset[str] | None,
    from_number: int,
    to_number: int,
    is_held: bool,
) -> None:
    busy = [BusyWindow(stamp(from_number), stamp(to_number), registers, "the backfill b1")]
    outbox.fill(packets("s", [1, 3, 4]), [plan("s")], now=NOW)

    result = release(outbox, [plan("s")], busy, NOW + EVERYTHING, HOLD_FOR)

    assert _pending(outbox) == ([1] if is_held else [1, 3, 4])
    if is_held:
        sentence = "hole from 2025-01-06T00:15Z to 2025-01-06T00:30Z: waits for the backfill b1"
        assert reasons(outbox, "s")[4] == sentence
        assert result.waits[0].until_at is None
        assert outbox.due(NOW).next_release_at is None


def test_an_estimate_waits_for_the_load_that_brings_its_readings(outbox: Outbox) -> None:
    busy = [BusyWindow(stamp(1), stamp(2), None, "the backfill b1")]
    split = pl.col("stamped_at").is_in([stamp(2), stamp(4)])
    frame = packets("s", [1, 2, 3, 4, 5]).with_columns(is_estimated=split)
    outbox.fill(frame, [plan("s")], now=NOW)

    release(outbox, [plan("s")], busy, NOW + EVERYTHING, HOLD_FOR)

    assert _pending(outbox) == [1]
    sentence = "estimates from 2025-01-06T00:15Z to 2025-01-06T00:30Z: waits for the backfill b1"
    assert reasons(outbox, "s")[5] == sentence
    outbox.fill(packets("s", [1, 2, 3, 4, 5]), [plan("s")], now=NOW)
    assert release(outbox, [plan("s")], busy, NOW, HOLD_FOR).n_released == 4


def test_an_estimate_that_nothing_will_replace_goes_at_once(outbox: Outbox) -> None:
    frame = packets("s", [1, 2, 3]).with_columns(is_estimated=pl.lit(True))
    outbox.fill(frame, [plan("s")], now=NOW)
    busy = [BusyWindow(stamp(3), stamp(9), None, "the backfill b1")]
    assert release(outbox, [plan("s")], busy, NOW, HOLD_FOR).n_released == 3


def test_a_stretch_of_estimates_waits_as_a_whole(outbox: Outbox) -> None:
    # New readings of the middle change the shares of all of it.
    busy = [BusyWindow(stamp(4), stamp(5), None, "the computation of changed data")]
    split = pl.col("stamped_at").is_between(stamp(2), stamp(7))
    frame = packets("s", list(range(1, 10))).with_columns(is_estimated=split)
    outbox.fill(frame, [plan("s")], now=NOW)
    release(outbox, [plan("s")], busy, NOW, HOLD_FOR)
    assert _pending(outbox) == [1]
    assert release(outbox, [plan("s")], [], NOW, HOLD_FOR).n_released == 8


def test_an_estimate_in_a_gap_declared_missing_waits_for_no_load(outbox: Outbox) -> None:
    declared = plan("s", declared_missing=((stamp(0), stamp(2)),))
    frame = packets("s", [1, 2]).with_columns(is_estimated=pl.lit(True))
    outbox.fill(frame, [declared], now=NOW)
    busy = [BusyWindow(START_AT, stamp(9), None, "the backfill b1")]
    assert release(outbox, [declared], busy, NOW, HOLD_FOR).n_released == 2


def test_a_backfill_of_later_days_first_sends_nothing_too_early(outbox: Outbox) -> None:
    busy = [BusyWindow(START_AT, stamp(20), None, "the backfill b1")]
    for numbers in (range(11, 21), range(6, 11)):
        outbox.fill(packets("s", list(numbers)), [plan("s")], now=NOW)
        assert release(outbox, [plan("s")], busy, NOW + EVERYTHING, HOLD_FOR).n_released == 0
    outbox.fill(packets("s", list(range(1, 6))), [plan("s")], now=NOW)
    assert release(outbox, [plan("s")], busy, NOW, HOLD_FOR).n_released == 20


def test_the_walk_goes_on_from_the_newest_sent_packet(outbox: Outbox) -> None:
    outbox.fill(packets("s", [1, 2]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW, HOLD_FOR)
    apply(outbox, [Sent("s", stamp_ms(n), body("s", n), 200, 1) for n in (1, 2)], NOW)
    outbox.fill(packets("s", [4, 3]), [plan("s")], now=NOW)
    assert release(outbox, [plan("s")], [], NOW, HOLD_FOR).n_released == 2


def test_a_start_that_was_moved_forward_is_no_hole(outbox: Outbox) -> None:
    outbox.fill(packets("s", [1]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW, HOLD_FOR)
    moved = plan("s", push_from_at=stamp(9))
    outbox.fill(packets("s", [10, 11]), [moved], now=NOW)
    assert release(outbox, [moved], [], NOW, HOLD_FOR).n_released == 2


def test_an_older_packet_that_still_fits_before_what_is_pending_goes_too(outbox: Outbox) -> None:
    outbox.fill(packets("s", [1, 3]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW + HOLD_FOR, HOLD_FOR)
    outbox.fill(packets("s", [2]), [plan("s")], now=NOW + HOLD_FOR)
    release(outbox, [plan("s")], [], NOW + HOLD_FOR, HOLD_FOR)
    assert [ms for ms, _ in outbox.pending("s")] == [stamp_ms(n) for n in (1, 2, 3)]


def test_one_stream_with_a_hole_does_not_hold_another(outbox: Outbox) -> None:
    plans = [plan("s"), plan("t")]
    outbox.fill(packets("s", [2]), plans, now=NOW)
    outbox.fill(packets("t", [1, 2]), plans, now=NOW)
    result = release(outbox, plans, [], NOW, HOLD_FOR)
    assert result.n_released == 2
    assert states(outbox, "t") == {1: "pending", 2: "pending"}


def test_stream_that_waits_keeps_every_packet_says_why_and_goes_on_afterwards(
    outbox: Outbox,
) -> None:
    plans = [plan("s"), plan("sold")]
    outbox.fill(packets("s", [1, 2, 3, 6]), plans, now=NOW)
    outbox.fill(packets("sold", [1]), plans, now=NOW)
    release(outbox, plans, [], NOW, HOLD_FOR)
    apply(outbox, [Sent("s", stamp_ms(1), body("s", 1), 200, 1)], NOW)
    before = states(outbox, "s")

    why = "waits until registers.csv line 2, column unit of the portfolio is mended"
    hold_unplanned(outbox, [], {"s": why}.get)

    assert states(outbox, "s") == {1: "sent", 2: "held", 3: "held", 6: "held"}
    assert {reasons(outbox, "s")[n] for n in (2, 3, 6)} == {why}
    assert reasons(outbox, "sold")[1] == UNPLANNED

    assert release(outbox, plans[:1], [], NOW, HOLD_FOR).n_released == 2
    assert states(outbox, "s") == before
    assert str(reasons(outbox, "s")[6]).startswith("hole from")


def test_releasing_again_changes_nothing(outbox: Outbox) -> None:
    outbox.fill(packets("s", [1, 2, 4]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW, HOLD_FOR)
    before = list(outbox.connection.iterdump())
    assert release(outbox, [plan("s")], [], NOW, HOLD_FOR).n_released == 0
    assert list(outbox.connection.iterdump()) == before


def _with(numbers: list[int], **split: list[int]) -> pl.DataFrame:
    """Return packets of s, of which some are_estimated or are_incomplete."""
    frame = packets("s", numbers)
    return frame.with_columns(
        pl.col("stamped_at").is_in([stamp(n) for n in chosen]).alias(name)
        for name, chosen in split.items()
    )


def test_held_estimates_are_a_hole_that_is_passed_over_and_never_sent(outbox: Outbox) -> None:
    agreed = plan("s", sends_estimates=False)
    outbox.fill(_with([1, 2, 3, 4], is_estimated=[2, 3]), [agreed], now=NOW)

    release(outbox, [agreed], [], NOW, HOLD_FOR)
    assert _pending(outbox) == [1]
    assert str(reasons(outbox, "s")[3]).startswith(
        "readings are missing from 2025-01-06T00:15Z to 2025-01-06T00:45Z: waits until"
    )
    release(outbox, [agreed], [], NOW + HOLD_FOR, HOLD_FOR)
    assert _pending(outbox) == [1, 4]
    # The readings of one of them come in time, before a newer packet is sent.
    outbox.fill(_with([1, 2, 3, 4], is_estimated=[3]), [agreed], now=NOW + HOLD_FOR)
    release(outbox, [agreed], [], NOW + HOLD_FOR, HOLD_FOR)
    assert _pending(outbox) == [1, 2, 4]
    apply(outbox, [Sent("s", stamp_ms(4), body("s", 4), 200, 1)], NOW)
    assert reasons(outbox, "s")[3] == BEHIND


def test_estimates_behind_the_newest_reading_wait_for_theirs(outbox: Outbox) -> None:
    agreed = plan("s", sends_estimates=False)
    outbox.fill(_with([1, 2, 3], is_estimated=[2, 3]), [agreed], now=NOW)
    release(outbox, [agreed], [], NOW + EVERYTHING, HOLD_FOR)
    assert _pending(outbox) == [1]
    assert str(reasons(outbox, "s")[2]).startswith(
        "estimates from 2025-01-06T00:15Z to 2025-01-06T00:45Z: wait for readings"
    )


@pytest.mark.parametrize(
    ("waited", "has_load", "expected"),
    [
        (HOLD_FOR - timedelta(seconds=1), False, [1]),
        (HOLD_FOR, False, [1, 2, 3]),
        (EVERYTHING, True, [1]),
    ],
)
def test_a_packet_that_lacks_fields_waits_like_a_hole_and_goes_without_them(
    outbox: Outbox, waited: timedelta, has_load: bool, expected: list[int]
) -> None:
    outbox.fill(_with([1, 2, 3], is_incomplete=[2]), [plan("s")], now=NOW)
    busy = [BusyWindow(stamp(1), stamp(2), None, "the backfill b1")] if has_load else []
    release(outbox, [plan("s")], busy, NOW + waited, HOLD_FOR)
    assert _pending(outbox) == expected
    if expected == [1]:
        assert str(reasons(outbox, "s")[2]).startswith("fields are missing from 2025-01-06T00:15Z")
    outbox.fill(packets("s", [1, 2, 3]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], busy, NOW, HOLD_FOR)
    assert _pending(outbox) == [1, 2, 3]


def test_a_historical_stream_takes_older_packets_when_nothing_will_change_them(
    outbox: Outbox,
) -> None:
    agreed = plan("s", is_historical=True, push_from_at=None)
    outbox.fill(packets("s", [20, 21]), [agreed], now=NOW)
    release(outbox, [agreed], [], NOW, HOLD_FOR)
    apply(outbox, [Sent("s", stamp_ms(n), body("s", n), 200, 1) for n in (20, 21)], NOW)

    older = _with([1, 2, 3, 5, 20, 21], is_incomplete=[5])
    outbox.fill(older, [agreed], now=NOW)
    busy = [BusyWindow(stamp(1), stamp(2), None, "the backfill b1")]
    assert release(outbox, [agreed], busy, NOW, HOLD_FOR).n_released == 2
    assert _pending(outbox) == [1, 3]

    # While one may be on its way nothing older is released: what arrived is told by the order.
    outbox.begin_sending(["s"])
    assert release(outbox, [agreed], [], NOW + HOLD_FOR, HOLD_FOR).n_released == 0
    apply(outbox, [Ended("s", None, is_open=False)], NOW)
    assert release(outbox, [agreed], [], NOW + HOLD_FOR, HOLD_FOR).n_released == 2
    assert _pending(outbox) == [1, 2, 3, 5]


def test_a_release_reads_no_further_than_to_the_first_hole(outbox: Outbox) -> None:
    n_read = []
    outbox.fill(packets("s", [1, *range(3, 6003)]), [plan("s")], now=NOW)
    release(outbox, [plan("s")], [], NOW, HOLD_FOR)
    # Every 1,000 steps of SQLite's machine: a walk over all would take 60,000 and more.
    outbox.connection.set_progress_handler(lambda: n_read.append(1), 1000)
    release(outbox, [plan("s")], [], NOW, HOLD_FOR)
    outbox.connection.set_progress_handler(None, 0)
    assert len(n_read) < 20
