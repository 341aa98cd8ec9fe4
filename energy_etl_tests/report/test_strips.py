"""Completeness counts a day's own hours; delivery shows holes where they are."""

from datetime import date, timedelta

import polars as pl
import pytest

from energy_etl.report.charts import daily_chart
from energy_etl.report.completeness import compute_completeness
from energy_etl.report.figures import Day, compute_sites
from energy_etl.report.marks import Cell, completeness_strip, delivery_strip, spark
from energy_etl.report.section_delivery import completeness
from energy_etl.report.streams import compute_streams
from energy_etl_tests.report.world import NOW, frame, make

LONG_DAY = date(2026, 10, 25)


def test_day_of_25_hours_is_complete_with_100_quarters_only() -> None:
    assert Cell(LONG_DAY, 25.0, 100, 100).share_pct == 100
    assert Cell(LONG_DAY, 25.0, 100, 96).share_pct == 96
    assert Cell(LONG_DAY, 25.0, 100, 100).told == "25 Oct (25 h): 100 of 100"
    assert Cell(date(2026, 3, 29), 23.0, 92, 92).told == "29 Mar (23 h): 92 of 92"


def test_registers_come_worst_first_with_their_42_days() -> None:
    frames = make(["Mill"])
    found = compute_completeness(frames, compute_sites(frames, NOW))
    shares = [row.coverage_pct for row in found.rows]
    assert shares == sorted(shares)
    assert len(found.days) == 42
    long_day = found.rows[0].cells[found.days.index(LONG_DAY)]
    assert long_day is not None
    assert (long_day.hours, long_day.n_expected) == (25.0, 100)
    # Today runs: it is no day that anything could be missing of.
    assert all(row.cells[-1] and row.cells[-1].local_on < NOW.date() for row in found.rows)


def test_register_that_was_never_read_is_the_worst_of_all() -> None:
    frames = make(["Mill"])
    never = "site-0.washingMachine1"
    frames["daily"] = frames["daily"].filter(pl.col("register_id") != never)
    found = compute_completeness(frames, compute_sites(frames, NOW))
    assert (found.rows[0].register_id, found.rows[0].coverage_pct) == (never, 0.0)
    assert not any(found.rows[0].cells)
    assert "never read" in completeness(found, is_one_site=True)
    # Each week of the strips has its day above it.
    assert "<span>10 Oct</span><span>17 Oct</span>" in completeness(found, is_one_site=True)


def test_site_that_was_never_used_has_days_of_nothing_not_days_unknown() -> None:
    assert spark([None, None], "s", "Mill") == ""
    strip = spark([0.0, None, 0.0], "s", "Mill")
    assert strip.count("v-0.6") == 2
    days = [Day(date(2026, 11, 2), 24.0, 0.0, None, 100.0)]
    # From 0 to 1: zero is at the bottom, not in the middle of a range of nothing.
    assert ">1</text>" in daily_chart(days, "d")
    days = [Day(date(2026, 11, 2), 24.0, 12_500.0, None, 100.0)]
    assert ">MWh per day</text>" in daily_chart(days, "d")


def test_strip_draws_whole_days_as_one_shape_and_others_by_themselves() -> None:
    days = [date(2026, 11, 1) + timedelta(days=n) for n in range(5)]
    cells = [Cell(on, 24.0, 96, n) for on, n in zip(days, (96, 96, 48, 0, 96), strict=True)]
    strip = completeness_strip([None, *cells], "s", "Mill <mains>")
    assert strip.count('class="full"') == 2
    assert strip.count('class="part"') == 1
    assert "3 Nov: 48 of 96" in strip
    assert "4 Nov: 0 of 96" in strip
    assert "5 days, 2 of them under 95 %; the worst 4 Nov with 0.0" in strip
    assert "Mill &lt;mains&gt;" in strip


def test_hole_is_framed_where_it_is_and_a_declared_one_is_no_fault() -> None:
    frames = make(["Mill"])
    stream_id = frames["stream"]["stream_id"][0]
    hole = {
        "stream_id": stream_id,
        "after_at": NOW - timedelta(days=5),
        "before_at": NOW - timedelta(days=4),
        "n_missing": 95,
        "is_declared": False,
    }
    declared = {
        **hole,
        "after_at": NOW - timedelta(days=3),
        "before_at": NOW - timedelta(days=2),
        "is_declared": True,
    }
    frames["hole"] = frame("hole", [hole, declared])
    found = {each.stream_id: each for each in compute_streams(frames, NOW)}[stream_id]
    assert [what for _, _, what in found.spans] == ["sent", "hole", "sent", "declared", "sent"]
    # Without a break: each span begins where the one before ends.
    assert all(one[1] == other[0] for one, other in zip(found.spans, found.spans[1:], strict=False))
    strip = delivery_strip(found.spans, NOW - timedelta(days=14), NOW, "s", stream_id)
    assert "1\u00a0hole<" in strip


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({}, "ok"),
        ({"n_pending": 3}, "sending"),
        ({"n_held": 3, "hold_reason": "hole"}, "waiting"),
        ({"is_lagging": True, "n_held": 3}, "late"),
        ({"failure": "no connection", "is_lagging": True}, "failing"),
        ({"is_stopped": True, "parked_reason": "wrong password"}, "stopped"),
        ({"n_sent": None}, "not begun"),
        (dict.fromkeys(("n_sent", "n_confirmed", "n_superseded", "n_pending"), 0), "not begun"),
    ],
)
def test_condition_of_a_stream_is_the_worst_that_holds(
    changes: dict[str, object], condition: str
) -> None:
    frames = make(["Mill"], n_submeters=0)
    schema = frames["stream"].schema
    frames["stream"] = frames["stream"].with_columns(
        **{name: pl.lit(value, dtype=schema.get(name)) for name, value in changes.items()}
    )
    assert [each.condition for each in compute_streams(frames, NOW)] == [condition]
