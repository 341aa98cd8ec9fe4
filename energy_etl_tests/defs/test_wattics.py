"""Group `wattics` through Dagster: what was pushed comes back and is compared, token or none."""

import json
import urllib.request
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl
import pytest

from energy_etl.defs.assets.wattics import wanted_months
from energy_etl.defs.jobs import COMPUTE_JOB
from energy_etl.defs.partitions import changed_tags, span_tags
from energy_etl.sandbox.model import id_wattics
from energy_etl.tables import mart
from energy_etl.vendors.wattics import VENDOR, tables
from energy_etl_tests.defs.project import Project


def extract(project: Project) -> dg.ExecuteInProcessResult:
    first_on, last_on = project.now.date() - timedelta(days=3), project.now.date()
    return project.run("extract_wattics", span_tags(first_on, last_on))


def push_once_more(project: Project, stream_id: str) -> None:
    """Send an older packet again behind the outbox's back, as a second sender would."""
    stored = project.warehouse.read(
        "SELECT body FROM push.packet WHERE stream_id = ? AND sent_at IS NOT NULL "
        "AND stamped_at < '2026-10-26T20:00:00Z' "
        "ORDER BY regexp_extract(body, ':([^:]+)}$', 1)::DOUBLE DESC LIMIT 1",
        [stream_id],
    )
    project.sandbox.app.wattics.streams["main"][stream_id].packets.append(
        stored["body"].item().encode()
    )


def test_what_was_pushed_is_held_and_what_came_twice_is_found(computed: Project) -> None:
    project = computed
    assert project.send().success
    gas = id_wattics("rome-b.gas")
    push_once_more(project, gas)
    assert extract(project).success
    assert all(project.warehouse.read_table(table).height for table in VENDOR.tables)
    tags = changed_tags(project.now.date())
    assets = ["mart.stream_comparison", "mart.finding"]
    assert project.run(COMPUTE_JOB, tags, assets).success
    frame = project.warehouse.read_table(tables.STREAM_COMPARISON)
    differs = frame.filter(pl.col("verdict") == "differs")
    assert differs["stream_id"].to_list() == [gas]
    assert differs["difference_native"].item() > 0.01
    equal = frame.filter(pl.col("verdict") == "equal")
    assert equal["n_packets"].sum() == equal["n_confirmed"].sum() > 0
    assert equal["held_native"].drop_nulls().len() > 10
    others = frame.filter(pl.col("verdict").is_in(["equal", "differs"]).not_())
    assert others.unique(["verdict", "unit"]).select("verdict", "unit").rows() == [
        ("not asked", "degC")
    ]
    found = project.warehouse.read_table(mart.FINDING, "kind = 'stream_differs'")
    assert found["place"].to_list() == [gas]


def test_without_a_token_nothing_is_asked_and_nobody_is_stopped(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_WATTICS__API_TOKEN", "")
    result = extract(project)
    assert result.success
    notes = {
        str(event.materialization.metadata["note"].value)
        for event in result.get_asset_materialization_events()
        if "note" in event.materialization.metadata
    }
    assert len(notes) == 1
    assert "ask Wattics for a token" in notes.pop()
    with urllib.request.urlopen(
        f"{project.sandbox.url}/_sandbox/requests?vendor=wattics"
    ) as answer:
        assert json.load(answer) == []


@pytest.mark.parametrize(
    ("zone", "now", "span", "expected"),
    [
        ("Europe/Rome", datetime(2026, 10, 28, 8, tzinfo=UTC), None, [date(2026, 10, 1)]),
        (
            "Europe/Rome",
            datetime(2026, 11, 3, 8, tzinfo=UTC),
            None,
            [date(2026, 10, 1), date(2026, 11, 1)],
        ),
        # Still October in New York, already November in Lord Howe.
        ("America/New_York", datetime(2026, 11, 1, 2, tzinfo=UTC), None, [date(2026, 10, 1)]),
        (
            "Australia/Lord_Howe",
            datetime(2026, 10, 31, 20, tzinfo=UTC),
            None,
            [date(2026, 10, 1), date(2026, 11, 1)],
        ),
        (
            "Europe/Rome",
            datetime(2026, 10, 28, 8, tzinfo=UTC),
            (datetime(2026, 7, 10, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)),
            # The last hours of July in UTC are August in Rome.
            [date(2026, 7, 1), date(2026, 8, 1), date(2026, 10, 1)],
        ),
        (
            "Europe/Rome",
            datetime(2026, 10, 28, 8, tzinfo=UTC),
            (datetime(2026, 11, 10, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
            [date(2026, 10, 1)],
        ),
    ],
)
def test_months_are_those_that_the_days_touch_at_the_site(
    zone: str,
    now: datetime,
    span: tuple[datetime, datetime] | None,
    expected: list[date],
) -> None:
    assert wanted_months(zone, now, span) == expected
