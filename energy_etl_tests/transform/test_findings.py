"""Findings: each kind with its place and next step, and silence when all is well."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from energy_etl.tables.core import EDIT, EXCHANGE, PORTFOLIO_PROBLEM, READING
from energy_etl.tables.mart import COVERAGE, FINDING
from energy_etl.tables.raw import QUARANTINE
from energy_etl.transform.findings import compute_findings, compute_portfolio_findings
from energy_etl.transform.registers import compute_intervals
from energy_etl_tests.transform.builders import make_register, utc

AT = utc("2026-05-10T12:00")
NO_EDITS = EDIT.empty_frame()
NO_COVERAGE = COVERAGE.empty_frame()
A = make_register("a", digits=6)


def make_edit(rule: str, from_at: datetime = AT, register_id: str = "a") -> pl.DataFrame:
    row = {
        "register_id": register_id,
        "rule": rule,
        "from_at": from_at,
        "to_at": from_at + timedelta(minutes=15),
        "n_readings": 1,
        "evidence": "812.4 after 4711.0",
    }
    return pl.DataFrame([row], schema=EDIT.polars_schema)


def make_readings(register_id: str, values: list[float | None]) -> pl.DataFrame:
    rows = [
        (register_id, AT + timedelta(minutes=15 * n), value, 1, "toy", AT)
        for n, value in enumerate(values)
    ]
    return pl.DataFrame(rows, schema=READING.polars_schema, orient="row")


def make_coverage(n_measured: int, last_read_at: datetime | None = AT) -> pl.DataFrame:
    row = {
        "register_id": "a",
        "site_id": "site",
        "computed_on": date(2026, 5, 18),
        "n_expected": 672,
        "n_measured": n_measured,
        "n_estimated": 0,
        "coverage_pct": 100 * n_measured / 672,
        "last_read_at": last_read_at,
    }
    return pl.DataFrame([row], schema=COVERAGE.polars_schema)


def kinds(findings: pl.DataFrame) -> list[str]:
    return findings["kind"].to_list()


def test_when_all_is_well_nothing_is_found():
    explained = pl.concat([make_edit("zero_glitch"), make_edit("dip"), make_edit("rollover")])
    findings = compute_findings(
        A,
        explained,
        make_coverage(640),
        unmapped=pl.DataFrame(
            schema={"vendor": pl.String, "thing": pl.String, "vendor_id": pl.String}
        ),
        quarantine=QUARANTINE.empty_frame(),
    )
    assert findings.is_empty()
    assert findings.schema == FINDING.polars_schema


def test_each_level_change_is_found_with_its_span_and_evidence():
    edits = pl.concat([make_edit("level", AT + timedelta(hours=n)) for n in (2, 0)])
    findings = compute_findings(A, edits, NO_COVERAGE)
    assert kinds(findings) == ["level_change", "level_change"]
    first = findings.row(0, named=True)
    assert (first["place"], first["from_at"]) == ("a", AT)
    assert first["to_at"] == AT + timedelta(minutes=15)
    assert "2026-05-10 12:00 UTC" in first["message"]
    assert "812.4 after 4711.0" in first["message"]
    assert "exchanges.csv" in first["next_step"]


def test_more_than_three_level_changes_point_at_the_rating():
    edits = pl.concat([make_edit("level", AT + timedelta(hours=n)) for n in range(4)])
    assert "many_level_changes" not in kinds(compute_findings(A, edits[:3], NO_COVERAGE))
    many = compute_findings(A, edits, NO_COVERAGE).filter(pl.col("kind") == "many_level_changes")
    row = many.row(0, named=True)
    assert (row["from_at"], row["to_at"]) == (AT, AT + timedelta(hours=3, minutes=15))
    assert "4 times" in row["message"]
    assert "rating_native_per_hour" in row["next_step"]


def test_resets_are_counted_in_one_finding_per_register():
    edits = pl.concat([make_edit("reset", AT + timedelta(days=n)) for n in range(3)])
    findings = compute_findings(A, edits, NO_COVERAGE)
    assert kinds(findings) == ["reset"]
    assert "resets: 3" in findings["message"][0]
    assert "2026-05-12 12:15 UTC" in findings["message"][0]


def test_a_reset_of_a_counter_without_declared_digits_asks_for_them():
    findings = compute_findings(make_register("a"), make_edit("reset"), NO_COVERAGE)
    assert kinds(findings) == ["digits_unknown", "reset"]
    assert "integer digits" in findings["next_step"][0]


def test_edits_and_coverage_of_registers_that_left_the_portfolio_are_left_out():
    edits = make_edit("level", register_id="gone")
    coverage = make_coverage(0).with_columns(register_id=pl.lit("gone"))
    assert compute_findings(A, edits, coverage).is_empty()


def test_a_week_without_data_is_found_with_the_newest_reading():
    findings = compute_findings(A, NO_EDITS, make_coverage(0))
    assert kinds(findings) == ["no_data"]
    assert findings["from_at"].to_list() == [AT]
    assert "newest reading is 2026-05-10 12:00 UTC" in findings["message"][0]


def test_a_register_that_never_came_is_found_as_such():
    findings = compute_findings(A, NO_EDITS, make_coverage(0, last_read_at=None))
    assert kinds(findings) == ["no_data"]
    assert "none ever came" in findings["message"][0]


def test_coverage_below_90_percent_is_found_and_above_is_not():
    low = compute_findings(A, NO_EDITS, make_coverage(604))
    assert kinds(low) == ["low_coverage"]
    assert "604 of 672 intervals (89.9 %)" in low["message"][0]
    assert compute_findings(A, NO_EDITS, make_coverage(605)).is_empty()


def test_ids_that_the_portfolio_does_not_map_are_found_once_each():
    unmapped = pl.DataFrame(
        [
            ("wattsense", "register", "dev/1"),
            ("wattsense", "register", "dev/1"),
            ("digiwatt", "meter", "x"),
        ],
        schema=["vendor", "thing", "vendor_id"],
        orient="row",
    )
    findings = compute_findings(A, NO_EDITS, NO_COVERAGE, unmapped=unmapped)
    assert findings["place"].to_list() == ["digiwatt: meter x", "wattsense: register dev/1"]
    assert "init --discover" in findings["next_step"][0]


def test_refused_rows_are_counted_per_reason():
    rows = [("r1", "wattsense", "history", n, "not_finite", f"[{n}]") for n in range(3)]
    # The next fetch brings one of them again: it is no fourth.
    rows.append(("r2", "wattsense", "history", 0, "not_finite", "[0]"))
    quarantine = pl.DataFrame(rows, schema=QUARANTINE.polars_schema, orient="row")
    findings = compute_findings(A, NO_EDITS, NO_COVERAGE, quarantine=quarantine)
    assert findings["place"].to_list() == ["wattsense: history: not_finite"]
    assert "rows: 3" in findings["message"][0]


def test_findings_are_sorted_and_one_per_key():
    edits = pl.concat(
        [make_edit("reset"), *(make_edit("level", AT + timedelta(hours=n)) for n in range(5))]
    )
    findings = compute_findings(make_register("a"), edits, make_coverage(100))
    assert findings.equals(findings.sort(FINDING.key))
    assert findings.select(FINDING.key).is_unique().all()
    assert findings["message"].str.ends_with(".").all()
    assert findings["next_step"].str.ends_with(".").all()


def test_bad_values_become_edits_and_a_finding_each_and_the_rest_is_computed():
    good = [100.0 + 0.25 * n for n in range(40)]
    bad = {5: float("nan"), 12: 1e12, 20: -3.0, 27: 1e12, 33: None}
    readings = pl.concat(
        make_readings(name, [bad.get(n, value) if name == "a" else value for n, value in rows])
        for name, rows in (("a", [*enumerate(good)]), ("b", [*enumerate(good)]))
    )
    registers = pl.concat([A, make_register("b", digits=6)])
    result = compute_intervals(
        readings,
        registers,
        EXCHANGE.empty_frame(),
        now=AT + timedelta(days=9),
        hold_for=timedelta(hours=48),
    )
    assert dict(result.edits.group_by("rule").agg(pl.col("n_readings").sum()).iter_rows()) == {
        "missing": 2,
        "implausible": 2,
        "negative": 1,
    }
    energy = (
        result.intervals.group_by("register_id").agg(pl.col("energy_kwh").sum()).sort("register_id")
    )
    assert energy["energy_kwh"].to_list() == pytest.approx([9.75, 9.75])
    found = compute_findings(registers, result.edits, NO_COVERAGE)
    assert kinds(found) == ["implausible_readings"] * 3
    assert found["place"].to_list() == ["a"] * 3
    assert found["from_at"].to_list() == [AT + timedelta(minutes=15 * n) for n in (5, 12, 20)]
    missing, implausible, negative = found["message"]
    assert "are no number (readings: 2" in missing
    assert "larger than any meter shows (readings: 2" in implausible
    assert "are negative, which a counter never is (readings: 1" in negative
    assert all("csv" in step for step in found["next_step"])


def test_many_zeros_between_good_readings_are_found_and_a_few_are_not():
    few = make_edit("zero_glitch").with_columns(n_readings=pl.lit(100, pl.Int64))
    assert compute_findings(A, few, NO_COVERAGE).is_empty()
    many = pl.concat([few, make_edit("zero_glitch", AT + timedelta(days=1))])
    row = compute_findings(A, many, NO_COVERAGE).row(0, named=True)
    assert (row["kind"], row["from_at"]) == ("implausible_readings", AT)
    assert row["to_at"] == AT + timedelta(days=1, minutes=15)
    assert "are 0 between good ones (readings: 101, from 2026-05-10 12:00 UTC" in row["message"]


def test_faults_of_the_portfolio_are_found_at_their_place_with_the_next_step():
    rows = [
        ("sites.csv", 3, "zone", "sites.csv line 3, column zone: 'Mars' is no IANA time zone."),
        ("sites.csv", 4, "", "sites.csv line 4: 3 cells where the header has 5."),
        ("gaps.csv", 0, "", "gaps.csv: byte 7 is not UTF-8."),
        ("tariffs.csv", 2, "days", "the first."),
        ("tariffs.csv", 2, "days", "the second."),
    ]
    problems = pl.DataFrame(rows, schema=PORTFOLIO_PROBLEM.polars_schema, orient="row")
    found = compute_portfolio_findings(problems)
    assert found.schema == FINDING.polars_schema
    assert found["place"].to_list() == [
        "gaps.csv",
        "sites.csv line 3, column zone",
        "sites.csv line 4",
        "tariffs.csv line 2, column days",
    ]
    assert found["message"][1] == rows[0][3]
    assert found["message"][3] == "the first. the second."
    assert set(kinds(found)) == {"portfolio"}
    assert "data/portfolio" in found["next_step"][0]
    assert compute_portfolio_findings(PORTFOLIO_PROBLEM.empty_frame()).is_empty()


def test_suspect_growth_counted_and_nobody_was_told():
    edits = pl.concat([make_edit("suspect"), make_edit("suspect", AT + timedelta(days=1))])
    found = compute_findings(A, edits, make_coverage(672))
    assert found.select("kind", "place", "from_at").rows() == [("suspect", "a", AT)]
    assert "readings: 2" in found["message"][0]
    assert "rating_native_per_hour" in found["next_step"][0]
