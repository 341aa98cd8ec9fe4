"""The check that tells when Digiwatt's answers are no longer what is known of them."""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from energy_etl.tables import Verdict
from energy_etl.vendors.digiwatt.drift import judge_drift
from energy_etl.vendors.digiwatt.tables import CONSUMPTION, SCHEMA_DRIFT

TODAY = date(2026, 10, 28)


def judged(last_fetch_on: date | None, *drifts: tuple[str, str, date]) -> Verdict:
    fetched = pl.DataFrame(
        {"fetched_on": [] if last_fetch_on is None else [last_fetch_on]}, {"fetched_on": pl.Date}
    )
    rows = [
        {"endpoint": "consumption", "field": field, "kind": kind, "fetched_on": day}
        for field, kind, day in drifts
    ]
    drift = pl.DataFrame(rows, schema=SCHEMA_DRIFT.polars_schema)
    frames = {CONSUMPTION.full_name: fetched, SCHEMA_DRIFT.full_name: drift}
    return judge_drift(frames, datetime(2026, 10, 29, tzinfo=UTC))


def test_unknown_and_missing_fields_of_the_last_fetch_are_told_by_name() -> None:
    verdict = judged(TODAY, ("tax", "unknown", TODAY), ("value", "missing", TODAY))
    assert not verdict.passed
    assert verdict.numbers == {"n_unknown_fields": 1, "n_missing_fields": 1}
    assert "unknown tax in consumption" in verdict.message
    assert "missing value in consumption" in verdict.message


def test_drift_that_a_later_fetch_no_longer_met_is_over() -> None:
    assert judged(TODAY, ("tax", "unknown", TODAY - timedelta(days=2))).passed


def test_drift_on_the_other_side_of_midnight_still_counts() -> None:
    assert not judged(TODAY, ("tax", "unknown", TODAY - timedelta(days=1))).passed


def test_nothing_fetched_yet_passes() -> None:
    assert judged(None).passed


def test_same_field_on_two_days_is_counted_once() -> None:
    days = (TODAY, TODAY - timedelta(days=1))
    verdict = judged(TODAY, *(("tax", "unknown", day) for day in days))
    assert verdict.numbers["n_unknown_fields"] == 1
