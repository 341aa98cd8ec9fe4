"""The benchmarks do the work that they claim to do, at a tiny scale; no time is asserted."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from energy_etl.defs.assets import core
from energy_etl_tests.benchmarks import load, push, transform
from energy_etl_tests.benchmarks.__main__ import main
from energy_etl_tests.benchmarks.measure import (
    BenchmarkError,
    Case,
    Contender,
    Measurement,
    Task,
    benchmark_of,
    measure,
    run_here,
)
from energy_etl_tests.benchmarks.report import compare, table_of, write_json
from energy_etl_tests.benchmarks.serving import (
    collector_server,
    pages_server,
    reading_wh,
)


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


def test_transform_takes_as_many_registers_at_once_as_the_asset() -> None:
    assert transform.REGISTERS_PER_BATCH == core.REGISTERS_PER_BATCH


@pytest.fixture(scope="module")
def collector() -> Iterator[str]:
    with collector_server() as url:
        yield url


@pytest.mark.parametrize("contender", contenders("push"), ids=lambda c: c.name)
def test_push_delivers_every_packet_once_and_in_order(contender: Contender, collector: str) -> None:
    assert run_here(contender, [Task(5, 8, collector)]).n_items == 40


def test_push_of_packets_that_came_twice_is_refused(collector: str) -> None:
    task = Task(1, 3, collector)
    packets = push.make_packets(task)
    twice = {stream: [*bodies, *bodies] for stream, bodies in packets.items()}
    push.send_bare(task, twice)
    with pytest.raises(BenchmarkError, match="twice or out of order"):
        push.arrived(task, packets)


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
