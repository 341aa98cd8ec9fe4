"""A person overrules the cleaning: dropped, kept and replaced readings, and what comes of it."""

from typing import Any

import polars as pl
import pytest

from energy_etl.tables.core import EDIT, MANUAL_EDIT
from energy_etl.tables.mart import FINDING
from energy_etl.transform.manual_edits import compute_edit_findings
from energy_etl_tests.transform.register_frames import (
    LATER,
    check_counter_continues,
    clean,
    compute,
    exchanges,
    manual_edit,
    manual_edits,
    minutes,
    readings,
    register,
    series,
)

GOOD: list[float | None] = [1000.0 + 0.5 * n for n in range(20)]
RATED = register(rating_native_per_hour=10.0)
TOTALS = register(kind="interval", stamp="start")
POWER = register(kind="instant", unit="kW")


def with_value(at: int, value: float | None) -> list[float | None]:
    return [*GOOD[:at], value, *GOOD[at + 1 :]]


def edits_of(edits: pl.DataFrame) -> list[tuple[Any, ...]]:
    return edits.select("rule", "from_at", "to_at", "n_readings", "evidence").rows()


def flagged(intervals: pl.DataFrame, flag: str) -> list[Any]:
    return intervals.filter(pl.col("flags").list.contains(flag))["start_at"].to_list()


def test_dropped_readings_are_as_if_they_had_not_come() -> None:
    # Within what the meter can do: cleaning has no reason to doubt it.
    values = with_value(8, 1003.6)
    decided = manual_edits(manual_edit("drop", 110, 125))
    result = compute(readings(series(values)), RATED, decided=decided)
    without = compute(readings([row for row in series(values) if row[0] != 120]), RATED)
    assert result.intervals.equals(without.intervals)
    assert edits_of(result.edits) == [
        ("manual_drop", minutes(120), minutes(120), 1, "1003.6: seen by the janitor")
    ]


def test_replaced_reading_counts_and_both_steps_beside_it_say_so() -> None:
    values = with_value(8, 0.0)
    decided = manual_edits(manual_edit("replace", 120, value=1004.2))
    result = compute(readings(series(values)), RATED, decided=decided)
    energy = result.intervals["energy_kwh"].to_list()
    assert energy[6:10] == pytest.approx([0.5, 0.7, 0.3, 0.5])
    assert flagged(result.intervals, "manual") == [minutes(105), minutes(120)]
    assert set(result.intervals["quality"]) == {"measured"}
    assert edits_of(result.edits) == [
        (
            "manual_replace",
            minutes(120),
            minutes(120),
            1,
            "0.0 replaced by 1004.2: seen by the janitor",
        )
    ]
    check_counter_continues(result.intervals)


def test_reading_without_a_value_can_be_replaced() -> None:
    decided = manual_edits(manual_edit("replace", 120, value=1004.0))
    result = compute(readings(series(with_value(8, None))), decided=decided)
    assert result.intervals["energy_kwh"].to_list() == pytest.approx([0.5] * 19)
    assert result.edits["evidence"].to_list() == [
        "no value replaced by 1004.0: seen by the janitor"
    ]


def test_replaced_value_stands_even_where_it_contradicts_its_neighbours() -> None:
    decided = manual_edits(manual_edit("replace", 120, value=9000.0))
    result = compute(readings(series(GOOD)), RATED, decided=decided)
    assert result.edits["rule"].to_list() == ["level", "level", "manual_replace"]
    assert result.intervals["energy_kwh"].null_count() == 2


@pytest.mark.parametrize("rating", [None, 10.0])
def test_kept_reading_is_never_dropped_and_its_steps_are_what_the_values_say(
    rating: float | None,
) -> None:
    row = register(rating_native_per_hour=rating)
    frame = readings(series(with_value(8, 2.5)))
    assert compute(frame, row).edits["rule"].to_list() == ["false_low"]
    kept = compute(frame, row, decided=manual_edits(manual_edit("keep", 120)))
    up = "suspect" if rating is None else "level"
    assert kept.edits["rule"].to_list() == sorted([up, "reset", "manual_keep"])
    at_reset = kept.intervals.filter(pl.col("start_at") == minutes(105))
    assert at_reset["energy_kwh"].to_list() == [2.5]
    check_counter_continues(kept.intervals)


def test_kept_reading_at_the_end_is_a_reset_without_a_second_one() -> None:
    frame = readings(series([*GOOD, 0.25]))
    assert compute(frame, RATED).edits["rule"].to_list() == ["provisional"]
    kept = compute(frame, RATED, decided=manual_edits(manual_edit("keep", 300)))
    assert kept.edits["rule"].to_list() == ["manual_keep", "reset"]
    assert kept.intervals["energy_kwh"].to_list()[-1] == 0.25


def test_kept_zeros_of_a_counter_are_no_glitch() -> None:
    frame = readings(series([*GOOD[:8], 0.0, 0.0, *GOOD[10:]]))
    kept = compute(frame, RATED, decided=manual_edits(manual_edit("keep", 120, 135)))
    assert kept.edits["rule"].to_list() == ["level", "manual_keep", "reset"]
    assert kept.intervals["energy_kwh"].to_list()[7:10] == [0.0, 0.0, None]


def test_zeros_after_a_kept_zero_are_as_good_as_it_is() -> None:
    frame = readings(series([*GOOD, 0.0, 0.0, 0.0, 0.5, 1.0]))
    kept = compute(frame, RATED, decided=manual_edits(manual_edit("keep", 300)))
    assert kept.edits["rule"].to_list() == ["manual_keep", "reset"]
    assert kept.intervals["energy_kwh"].to_list()[-5:] == [0.0, 0.0, 0.0, 0.5, 0.5]


def test_segment_with_a_kept_reading_is_no_wrong_map() -> None:
    wrong = [300.0 + 0.1 * n for n in range(60)]
    values = GOOD + wrong + [1012.0 + 0.5 * n for n in range(60)]
    frame = readings(series(values))
    assert compute(frame, RATED).edits["rule"].to_list() == ["false_low"]
    kept = compute(frame, RATED, decided=manual_edits(manual_edit("keep", 15 * 50)))
    assert kept.edits["rule"].to_list() == ["level", "level", "manual_keep"]


def test_kept_growth_is_no_longer_suspect() -> None:
    values = [100.0 + 0.5 * n + (900 if n >= 200 else 0) for n in range(300)]
    frame = readings(series(values))
    assert compute(frame).edits["rule"].to_list() == ["suspect"]
    kept = compute(frame, decided=manual_edits(manual_edit("keep", 200 * 15)))
    assert kept.edits["rule"].to_list() == ["manual_keep"]
    assert flagged(kept.intervals, "suspect") == []


def test_kept_negative_reading_is_a_level_and_never_negative_energy() -> None:
    frame = readings(series(with_value(8, -5.0)))
    kept = compute(frame, RATED, decided=manual_edits(manual_edit("keep", 120)))
    assert kept.edits["rule"].to_list() == ["level", "level", "manual_keep"]
    assert (kept.intervals["energy_kwh"].drop_nulls() >= 0).all()


def test_reading_without_a_value_cannot_be_kept() -> None:
    frame = readings(series(with_value(8, float("nan"))))
    kept = compute(frame, decided=manual_edits(manual_edit("keep", 120)))
    assert kept.edits["rule"].to_list() == ["missing"]


def test_decisions_about_one_reading_count_from_the_particular_to_the_general() -> None:
    values = [*GOOD[:8], 3.0, 0.0, *GOOD[10:]]
    rows = [
        manual_edit("drop", 0, 10_000),
        manual_edit("keep", 0, 105),
        manual_edit("keep", 150, 10_000),
        manual_edit("replace", 120, value=1004.0),
        manual_edit("drop", 60, 10_000),
    ]
    results = [
        compute(readings(series(values)), RATED, decided=manual_edits(*some))
        for some in (rows, rows[::-1])
    ]
    assert results[0].edits.equals(results[1].edits)
    assert results[0].edits.select("rule", "from_at", "n_readings").rows() == [
        ("manual_drop", minutes(135), 1),
        ("manual_keep", minutes(0), 8),
        ("manual_keep", minutes(150), 10),
        ("manual_replace", minutes(120), 1),
    ]
    assert results[0].intervals["energy_kwh"].to_list() == pytest.approx([0.5] * 19)


def test_only_the_registers_that_were_named_are_touched() -> None:
    frames = [readings(series(GOOD), name) for name in ("a", "b", "d")]
    rows = [register(name) for name in ("a", "b", "c", "d")]
    decided = manual_edits(
        manual_edit("drop", 0, 30, register_id="b"),
        manual_edit("drop", 0, 30, register_id="c"),
        manual_edit("drop", 0, 30, register_id="stranger"),
    )
    result = compute(pl.concat(frames), *rows, decided=decided)
    whole = compute(pl.concat(frames), *rows)
    not_b = pl.col("register_id") != "b"
    assert result.intervals.filter(not_b).equals(whole.intervals.filter(not_b))
    assert result.intervals.filter(~not_b)["start_at"].min() == minutes(45)
    assert result.edits.select("register_id", "n_readings").rows() == [("b", 3)]


def test_all_readings_dropped_leave_no_interval() -> None:
    result = compute(readings(series(GOOD)), decided=manual_edits(manual_edit("drop", 0, 999)))
    assert result.intervals.is_empty()
    assert result.edits["n_readings"].to_list() == [20]


def test_decision_at_an_exchange_leaves_the_declared_values() -> None:
    values = [*GOOD[:8], *[5.0 + n for n in range(8)]]
    declared = exchanges(("a", minutes(112), 1003.8, 4.5))
    decided = manual_edits(manual_edit("replace", 120, value=5.25))
    result = compute(readings(series(values)), declared=declared, decided=decided)
    row = result.intervals.filter(pl.col("start_at") == minutes(105))
    assert row["energy_kwh"].to_list() == pytest.approx([0.3 + 0.75])
    assert row["flags"].to_list() == [["exchange", "manual"]]


def test_totals_are_dropped_kept_and_replaced() -> None:
    values = [1.0, 1.1, 1.2, -2.0, 1.4, 1.5]
    decided = manual_edits(
        manual_edit("drop", 15), manual_edit("keep", 45), manual_edit("replace", 60, value=9.0)
    )
    result = compute(readings(series(values)), TOTALS, decided=decided)
    assert result.intervals["energy_kwh"].to_list() == [1.0, None, 1.2, -2.0, 9.0, 1.5]
    assert result.intervals["quality"].to_list()[1] == "missing"
    assert flagged(result.intervals, "manual") == [minutes(60)]
    assert result.edits["rule"].to_list() == ["manual_drop", "manual_keep", "manual_replace"]


@pytest.mark.parametrize("kind", ["interval", "instant"])
def test_kept_zeros_of_mains_are_no_outage(kind: str) -> None:
    row = register(kind=kind, unit="kW", stamp="start", role="mains")
    frame = readings(series([1.0, 1.1, *[0.0] * 16, 1.2, 1.3]))
    assert flagged(compute(frame, row).intervals, "zero_filled")
    kept = compute(frame, row, decided=manual_edits(manual_edit("keep", 30, 300)))
    assert flagged(kept.intervals, "zero_filled") == []
    assert kept.intervals["energy_kwh"].null_count() == 0
    assert kept.edits["rule"].to_list() == ["manual_keep"]


def test_energy_from_a_replaced_power_says_so_until_the_readings_beside_it() -> None:
    values = [2.0, 2.0, 2.0, 2.0, float("nan"), 2.0, 2.0, 2.0]
    decided = manual_edits(manual_edit("replace", 60, value=4.0))
    result = compute(readings(series(values)), POWER, decided=decided)
    assert result.intervals["energy_kwh"].to_list()[3:5] == pytest.approx([0.75, 0.75])
    assert flagged(result.intervals, "manual") == [minutes(45), minutes(60)]
    assert result.samples["sample_native"].to_list()[3:5] == pytest.approx([3.0, 3.0])


def test_cleaning_without_decisions_is_untouched_by_an_empty_table() -> None:
    frame = readings(series(with_value(8, 3.0)))
    empty, none = (compute(frame, decided=each) for each in (manual_edits(), None))
    assert empty.intervals.equals(none.intervals)
    assert empty.edits.equals(none.edits)
    assert clean(GOOD).kept.height == 20


def applied(*rows: tuple[str, str, float]) -> pl.DataFrame:
    edits = [(register_id, rule, minutes(at), minutes(at), 1, "") for register_id, rule, at in rows]
    return pl.DataFrame(edits, schema=EDIT.polars_schema, orient="row")


def test_decision_that_nothing_came_of_is_found_with_place_and_next_step() -> None:
    decided = manual_edits(
        manual_edit("drop", 0, 60),
        manual_edit("drop", 300, 360),
        manual_edit("replace", 60),
        manual_edit("replace", 75, value=5.0),
    )
    done = applied(("a", "manual_drop", 15), ("b", "manual_drop", 300), ("a", "manual_keep", 315))
    found = compute_edit_findings(decided, done, now=LATER)
    assert found.schema == FINDING.polars_schema
    assert found.select("kind", "place", "from_at").rows() == [
        ("manual_edit_without_reading", "a", minutes(75)),
        ("manual_edit_without_reading", "a", minutes(300)),
        ("manual_edit_without_value", "a", minutes(60)),
    ]
    assert found["message"][1] == (
        "The manual edit drop of register a from 2024-03-31 05:00:00 UTC to "
        "2024-03-31 06:00:00 UTC applies to no reading."
    )
    assert found["next_step"].str.contains(r"manual_edits\.csv").all()


def test_replace_without_a_value_is_not_applied_and_found() -> None:
    frame, decided = readings(series(GOOD)), manual_edits(manual_edit("replace", 120))
    result = compute(frame, decided=decided)
    assert result.intervals.equals(compute(frame).intervals)
    found = compute_edit_findings(decided, result.edits, now=LATER)
    assert found["kind"].to_list() == ["manual_edit_without_value"]


def test_decision_whose_readings_may_still_come_is_no_finding() -> None:
    decided = manual_edits(manual_edit("drop", 0, 60))
    assert compute_edit_findings(decided, applied(), now=minutes(60)).is_empty()
    assert compute_edit_findings(decided, applied(), now=minutes(61)).height == 1
    assert compute_edit_findings(MANUAL_EDIT.empty_frame(), applied(), now=LATER).is_empty()


@pytest.mark.parametrize("action", ["drop", "keep", "replace"])
def test_decision_about_a_reading_at_an_exchange_was_told_as_applied(action: str) -> None:
    """The declared values replace that reading, so nothing came of the decision."""
    frame = readings(series([1000.0, 1001.0, 1002.0, 1003.0, 5.0, 6.0, 7.0, 8.0]))
    declared = exchanges(("a", minutes(45), 1003.0, 4.0))
    decided = manual_edits(manual_edit(action, 45, value=999.0 if action == "replace" else None))
    result = compute(frame, declared=declared, decided=decided)
    assert result.edits["rule"].to_list() == ["exchange"]
    found = compute_edit_findings(decided, result.edits, now=LATER)
    assert found["kind"].to_list() == ["manual_edit_without_reading"]
    assert "exchanges.csv" in found["next_step"][0]


def test_kept_total_is_no_longer_suspect() -> None:
    values: list[float | None] = [1.0] * 200
    values[100] = 90.0
    result = compute(readings(series(values)), TOTALS)
    assert flagged(result.intervals, "suspect") == [minutes(1500)]
    assert edits_of(result.edits) == [("suspect", minutes(1500), minutes(1500), 1, "90.0")]
    kept = compute(
        readings(series(values)), TOTALS, decided=manual_edits(manual_edit("keep", 1500))
    )
    assert flagged(kept.intervals, "suspect") == []
    assert kept.edits["rule"].to_list() == ["manual_keep"]
