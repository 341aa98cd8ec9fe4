"""The benchmarks do the work that they claim to do, at a tiny scale; no time is asserted."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from rich.table import Table

from energy_etl.defs.assets import core
from energy_etl_tests.benchmarks import disaggregation, load, transform
from energy_etl_tests.benchmarks.__main__ import main
from energy_etl_tests.benchmarks.measure import (
    BenchmarkError,
    Case,
    Contender,
    Measurement,
    Task,
    benchmark_of,
    measure,
    read_answers,
    run_here,
)
from energy_etl_tests.benchmarks.report import compare, table_of, write_json
from energy_etl_tests.benchmarks.serving import pages_server, reading_wh
from energy_etl_tests.benchmarks.transform_agreement import agree
from energy_etl_tests.benchmarks.transform_input import READINGS_OF_BOTH_CHANGES, read_truth

Found = dict[str, dict[str, pl.DataFrame]]


def contenders(name: str) -> list[Contender]:
    """Return ours and the limit of a benchmark: peers need packages that tests do not have."""
    return [c for c in benchmark_of(name).contenders if c.role != "peer"]


def test_load_brings_every_reading_of_every_page_into_the_table() -> None:
    expected = sum(reading_wh(n, k) / 1000 for n in range(3) for k in range(2100))
    with pages_server(3, 2100) as url:
        able = [c for c in load.BENCHMARK.contenders if c.is_installed()]
        found = [run_here(c, [Task(3, 2100, url)]) for c in able]
    assert len(found) >= 4
    assert {one.n_items for one in found} == {6300}
    assert [one.total for one in found] == [pytest.approx(expected)] * len(found)


def test_transform_keeps_the_energy_of_every_register(tmp_path: Path) -> None:
    task = transform.write_readings(tmp_path, 8, 300)
    found = [run_here(c, [task]) for c in contenders("transform")]
    # The limit takes the difference of each counter's ends: an independent sum.
    assert [one.n_items for one in found] == [2400] * 2
    assert found[0].total == pytest.approx(found[1].total)


def test_transform_takes_as_many_readings_at_once_as_the_asset() -> None:
    assert transform.READINGS_PER_BATCH == core.READINGS_PER_BATCH


def found_by_all(name: str, task: Task, folder: Path) -> Found:
    """Run whoever of a benchmark is installed, and return what they found, ours first."""
    found: Found = {}
    for contender in benchmark_of(name).contenders:
        if contender.is_installed() and contender.role != "limit":
            place = folder / contender.role
            place.mkdir()
            run_here(contender, [task], place)
            found[contender.name] = read_answers(place)
    return found


@pytest.fixture(scope="module")
def transformed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Found]:
    """A year of two registers per zone, one with faults, as ours and DuckDB see them."""
    folder = tmp_path_factory.mktemp("transformed")
    task = transform.write_readings(folder, 10, READINGS_OF_BOTH_CHANGES)
    return task, found_by_all("transform", task, folder)


def test_every_engine_finds_the_same_days_and_trends(transformed: tuple[Task, Found]) -> None:
    task, found = transformed
    truth, *peers = agree(task, found)
    assert len(peers) == len(found) - 1 >= 1
    assert "true energy of all 10 registers, 5 with false readings" in truth
    for told in peers:
        # Two each in Rome and Sydney and at Lord Howe, where they are of half an hour, and in New
        # York; one sound register per zone.
        assert "equal within 1e-09 kWh" in told
        assert "8 of them on the 8 days of 4 zones when the clock changes" in told
        assert "its energy is 0 kWh off" not in told


@pytest.mark.parametrize(
    ("answer", "place"),
    [("daily", {"local_on": date(2025, 10, 26)}), ("daily", {}), ("trend", {})],
    ids=["when the clock changes", "another day", "trend"],
)
def test_engine_that_finds_a_little_more_is_refused(
    answer: str, place: dict[str, date], transformed: tuple[Task, Found]
) -> None:
    task, found = transformed
    ours, peer = list(found)[:2]
    rome = read_truth(task).filter(~pl.col("has_faults"), pl.col("zone") == "Europe/Rome")
    frame = found[peer][answer].sort(pl.all())
    is_there = pl.col("register_id") == rome["register_id"].item()
    for column, value in place.items():
        is_there &= pl.col(column) == value
    at = frame.select(pl.arg_where(is_there & pl.col("energy_kwh").is_not_null())).to_series()[0]
    moved = pl.when(pl.int_range(pl.len()) == at).then(pl.col("energy_kwh") + 1e-7)
    tampered = frame.with_columns(moved.otherwise("energy_kwh").alias("energy_kwh"))
    where = "days when the clock changes: energy_kwh differs in 1 of 8" if place else "differs in 1"
    with pytest.raises(BenchmarkError, match=where):
        agree(task, {ours: found[ours], peer: {**found[peer], answer: tampered}})


def test_engine_that_leaves_a_day_out_is_refused(transformed: tuple[Task, Found]) -> None:
    task, found = transformed
    ours, peer = list(found)[:2]
    fewer = found[peer] | {"daily": found[peer]["daily"].filter(pl.col("local_on").dt.day() != 7)}
    with pytest.raises(BenchmarkError, match="with one of them only"):
        agree(task, {ours: found[ours], peer: fewer})


def test_energy_that_is_not_the_true_one_is_refused(transformed: tuple[Task, Found]) -> None:
    task, found = transformed
    ours, peer = list(found)[:2]
    # What bare differences make of resets.
    with pytest.raises(BenchmarkError, match="truth and energy_etl: energy_kwh differs in 5 of 10"):
        agree(task, {ours: found[peer]})


def test_readings_without_both_changes_of_the_clock_are_refused(tmp_path: Path) -> None:
    task = transform.write_readings(tmp_path, 10, 3000)
    found = found_by_all("transform", task, tmp_path)
    with pytest.raises(BenchmarkError, match="do not have both changes of the clock"):
        agree(task, found)


def test_every_engine_finds_the_same_scores(tmp_path: Path) -> None:
    task = disaggregation.write_estimates(tmp_path, 10, 2000)
    found = found_by_all("disaggregation", task, tmp_path)
    told = disaggregation.agree(task, found)
    assert len(told) == len(found) - 1 >= 1
    assert all("nep, nde, f1 of 10 estimates equal within 1e-09" in line for line in told)
    ours, peer = list(found)[:2]
    score = found[peer]["score"]
    tampered = {"score": score.with_columns(pl.col("nde") * (1 + 1e-8))}
    with pytest.raises(BenchmarkError, match="nde differs in 10 of 10 estimates"):
        disaggregation.agree(task, {ours: found[ours], peer: tampered})


def test_contender_that_holds_everything_is_left_out_of_larger_tasks() -> None:
    (pandas,) = (c for c in transform.BENCHMARK.contenders if c.needs == ("pandas",))
    assert pandas.is_able(Task(250, 40_000))
    assert not pandas.is_able(Task(2500, 40_000))


def test_contender_in_a_fresh_process_reports_time_and_memory(tmp_path: Path) -> None:
    task = transform.write_readings(tmp_path, 2, 100)
    limit = contenders("transform")[-1]
    found = measure(transform.BENCHMARK, limit, Case("tiny", task, task))
    assert (found.n_items, found.cpu_s >= 0, found.peak_rss_mib > 10) == (200, True, True)


def test_contender_that_left_something_out_is_refused(tmp_path: Path) -> None:
    task = transform.write_readings(tmp_path, 2, 100)
    case = Case("tiny", replace(task, n_groups=3), task)
    with pytest.raises(BenchmarkError, match="handled 200 of 300 readings"):
        measure(transform.BENCHMARK, contenders("transform")[-1], case)


def measurement(cpu_s: float, total: float = 7.0) -> Measurement:
    return Measurement(1_000_000, total, cpu_s, 2 * cpu_s, 100.0)


def test_ratios_are_the_peers_over_ours_and_ours_over_the_limits(tmp_path: Path) -> None:
    ours, _, peer, *_, limit = (c.name for c in load.BENCHMARK.contenders)
    measured = {
        ours: [measurement(s) for s in (9.0, 2.0, 1.0)],
        peer: [measurement(8.0)] * 3,
        limit: [measurement(0.5)] * 3,
    }
    result = compare(load.BENCHMARK, "tiny", measured)
    lines = {line.name: line for line in result.lines}
    assert lines[ours].cpu_s == pytest.approx(2.0)
    assert lines[ours].items_per_s == pytest.approx(250_000)
    assert lines[peer].ratio == pytest.approx(4.0)
    assert lines[limit].ratio == pytest.approx(4.0)
    assert len(result.left_out) == 3
    assert table_of([result], 3).renderables
    write_json(tmp_path / "bench.json", [result], {"n_runs": 3})
    document = json.loads((tmp_path / "bench.json").read_text())
    assert [run["cpu_s"] for run in document["results"][0]["lines"][0]["runs"]] == [9.0, 2.0, 1.0]


def test_growth_is_of_memory_and_time_from_the_smallest_case_to_the_largest() -> None:
    ours = load.BENCHMARK.contenders[0].name
    runs = {n: Measurement(n, 7.0, n / 1e6, 1.0, 100.0 * (1 + n / 2e7)) for n in (10**6, 10**7)}
    results = [compare(load.BENCHMARK, str(n), {ours: [run]}) for n, run in runs.items()]
    growth = table_of(results, 1).renderables[-1]
    assert isinstance(growth, Table)
    cells = [list(column.cells) for column in growth.columns]
    assert cells[2:5] == [["x 10"], ["x 10"], ["x 1.43"]]


def test_contenders_that_did_different_work_are_not_compared() -> None:
    ours, _, peer, *_ = (c.name for c in load.BENCHMARK.contenders)
    measured = {ours: [measurement(1.0)], peer: [measurement(1.0, total=7.1)]}
    with pytest.raises(BenchmarkError, match="did not do the same work"):
        compare(load.BENCHMARK, "tiny", measured)


@pytest.mark.parametrize("arguments", [["--only", "sing"], ["--runs", "0"]])
def test_command_line_that_makes_no_sense_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "choose from" in (shown := capsys.readouterr().err) or "1 or more" in shown
