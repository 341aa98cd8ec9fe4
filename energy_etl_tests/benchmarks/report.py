"""Measurements -> medians and ratios, as a table for people and as JSON for programs. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console, Group
from rich.table import Table

from energy_etl_tests.benchmarks.measure import Benchmark, BenchmarkError, Contender, Measurement

# Sums of floats in another order differ in the last digits.
_SAME: Final = 1e-6


@dataclass(frozen=True)
class Line:
    """One contender of a case.

    Attributes:
        cpu_s: median CPU seconds per `per` items.
        ratio: a peer's CPU over ours, or ours over the limit's; None for ours.
        ratio_per_s: our items per second of wall time over a peer's or the limit's; None for ours.
        share: of the items per second that nobody can exceed, where the case has such a bound.
        runs: what was measured.
    """

    name: str
    role: str
    cpu_s: float
    items_per_s: float
    peak_rss_mib: float
    ratio: float | None
    reach: float | None
    ratio_per_s: float | None
    reach_per_s: float | None
    share: float | None
    runs: tuple[Measurement, ...] = field(repr=False)


@dataclass(frozen=True)
class Result:
    """One case: who took what for the same work, and what else is to be said about it."""

    benchmark: str
    title: str
    item: str
    per: int
    lines: tuple[Line, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_by_wall: bool = False


def compare(
    benchmark: Benchmark,
    title: str,
    measured: Mapping[str, Sequence[Measurement]],
    notes: Sequence[str] = (),
    ideal_per_s: float | None = None,
) -> Result:
    """Return medians and ratios of a case.

    Args:
        benchmark: whose contenders; those that were not measured are left out by name.
        title: what was done.
        measured: every run by the contender's name.
        notes: what was compared of the things that they found.
        ideal_per_s: items per second that nobody can exceed.

    Raises:
        BenchmarkError: contenders that handled the same number of items disagree on the total.
    """
    ours = next(c for c in benchmark.contenders if c.role == "ours" and measured.get(c.name))
    _refuse_disagreement(title, measured, measured[ours.name][0])
    lines = [
        _line(benchmark, contender, measured[contender.name], measured[ours.name], ideal_per_s)
        for contender in benchmark.contenders
        if measured.get(contender.name)
    ]
    left_out = [c.name for c in benchmark.contenders if not measured.get(c.name)]
    told = (*notes, benchmark.remark) if benchmark.remark else tuple(notes)
    return Result(
        benchmark=benchmark.name,
        title=title,
        item=benchmark.item,
        per=benchmark.per,
        lines=tuple(lines),
        left_out=tuple(left_out),
        notes=told,
        is_by_wall=benchmark.is_by_wall,
    )


def _line(
    benchmark: Benchmark,
    contender: Contender,
    runs: Sequence[Measurement],
    ours: Sequence[Measurement],
    ideal_per_s: float | None,
) -> Line:
    cpu_s, ours_cpu_s = _cpu_s(benchmark, runs), _cpu_s(benchmark, ours)
    per_s = _items_per_s(runs)
    ratio = ratio_per_s = None
    if contender.role != "ours":
        ratio = cpu_s / ours_cpu_s if contender.role == "peer" else ours_cpu_s / cpu_s
        ratio_per_s = _items_per_s(ours) / per_s
    return Line(
        name=contender.name,
        role=contender.role,
        cpu_s=cpu_s,
        items_per_s=per_s,
        peak_rss_mib=median(run.peak_rss_mib for run in runs),
        ratio=ratio,
        reach=contender.reach,
        ratio_per_s=ratio_per_s,
        reach_per_s=contender.reach_per_s,
        share=per_s / ideal_per_s if ideal_per_s else None,
        runs=tuple(runs),
    )


def _items_per_s(runs: Sequence[Measurement]) -> float:
    return median(run.n_items / run.wall_s for run in runs)


def _cpu_s(benchmark: Benchmark, runs: Sequence[Measurement]) -> float:
    return median(run.cpu_s / run.n_items for run in runs) * benchmark.per


def _refuse_disagreement(
    title: str, measured: Mapping[str, Sequence[Measurement]], ours: Measurement
) -> None:
    for name, runs in measured.items():
        for run in runs:
            is_same_work = run.n_items == ours.n_items
            if is_same_work and abs(run.total - ours.total) > _SAME * abs(ours.total):
                raise BenchmarkError(
                    f"{title}: {name} found {run.total} in all, ours {ours.total}: they did not "
                    "do the same work, and their figures cannot be compared."
                )


def table_of(results: Sequence[Result], n_runs: int) -> Group:
    """Return what `make bench` prints: a row per benchmark and peer, then every contender."""
    rows = Table(title=f"CPU seconds, medians of {n_runs}", title_justify="left")
    for name in ("work", "ours", "peer", "limit", "peer / ours", "ours / limit"):
        rows.add_column(name, justify="left" if name == "work" else "right")
    every = Table(title="Every contender", title_justify="left")
    columns = ("work", "who", "role", "CPU s", "items/s", "peak MiB", "ratio", "reach")
    for name in columns:
        every.add_column(name, justify="left" if name in ("work", "who", "role") else "right")
    for result in results:
        _add_rows(rows, result)
        for line in result.lines:
            every.add_row(
                f"{result.benchmark}: {result.title}",
                line.name,
                line.role,
                f"{line.cpu_s:.3g}",
                f"{line.items_per_s:,.0f}",
                f"{line.peak_rss_mib:,.0f}",
                _number(line.ratio),
                _reach(line),
            )
        for name in result.left_out:
            every.add_row(f"{result.benchmark}: {result.title}", name, "not installed or too large")
    notes = [
        f"{result.title}:\n  " + "\n  ".join(result.notes) for result in results if result.notes
    ]
    by_wall = [result for result in results if result.is_by_wall]
    return Group(rows, every, *_per_second(by_wall), *_growth(results), *notes)


def _per_second(results: Sequence[Result]) -> list[Table]:
    """Wall time, for work that waits for others: packets per second, and the share of the ideal."""
    table = Table(title="Per second of wall time", title_justify="left")
    for name in ("work", "who", "role", "items/s", "ours / theirs", "of the ideal", "reach"):
        table.add_column(name, justify="left" if name in ("work", "who", "role") else "right")
    for result in results:
        for line in result.lines:
            table.add_row(
                f"{result.benchmark}: {result.title}",
                line.name,
                line.role,
                f"{line.items_per_s:,.0f}",
                _number(line.ratio_per_s),
                "" if line.share is None else f"{line.share:.0%}",
                "" if line.reach_per_s is None else f"≥ {line.reach_per_s:g}",
            )
    return [table] if table.row_count else []


def _growth(results: Sequence[Result]) -> list[Table]:
    """What more items of the same work take: memory that is bounded does not grow with them."""
    table = Table(title="Growth from the smallest to the largest case", title_justify="left")
    for name in ("benchmark", "who", "items", "CPU s", "peak memory", "from MiB", "to MiB"):
        table.add_column(name, justify="left" if name in ("benchmark", "who") else "right")
    for benchmark in dict.fromkeys(result.benchmark for result in results):
        cases = [result for result in results if result.benchmark == benchmark]
        # Cases of the same size differ in something else.
        cases.sort(key=lambda result: result.lines[0].runs[0].n_items)
        first, last = ({line.name: line for line in case.lines} for case in (cases[0], cases[-1]))
        for name in (name for name in first if name in last):
            small, large = first[name], last[name]
            n_times = large.runs[0].n_items / small.runs[0].n_items
            if n_times > 1:
                table.add_row(
                    benchmark,
                    name,
                    f"x {n_times:.3g}",
                    f"x {n_times * large.cpu_s / small.cpu_s:.3g}",
                    f"x {large.peak_rss_mib / small.peak_rss_mib:.2f}",
                    f"{small.peak_rss_mib:,.0f}",
                    f"{large.peak_rss_mib:,.0f}",
                )
    return [table] if table.row_count else []


def _add_rows(rows: Table, result: Result) -> None:
    ours = next(line for line in result.lines if line.role == "ours")
    limit = next((line for line in result.lines if line.role == "limit"), None)
    work = f"{result.title}; CPU s per {result.per:,} {result.item}s"
    peers: list[Line | None] = [line for line in result.lines if line.role == "peer"]
    for peer in peers or [None]:
        rows.add_row(
            work,
            f"{ours.cpu_s:.3g}",
            f"{peer.name}: {peer.cpu_s:.3g}" if peer else "",
            f"{limit.cpu_s:.3g}" if limit else "",
            _number(peer.ratio if peer else None),
            _number(limit.ratio if limit else None),
        )


def _number(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _reach(line: Line) -> str:
    if line.reach is None:
        return ""
    return f"{'≤' if line.role == 'limit' else '≥'} {line.reach:g}"


def print_report(results: Sequence[Result], n_runs: int) -> None:
    """Print the tables, wide enough when nobody looks at a terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table_of(results, n_runs))


def write_json(path: Path, results: Sequence[Result], about: Mapping[str, Any]) -> None:
    """Write every run, beside the medians and what the figures depend on."""
    document = {**about, "results": [asdict(result) for result in results]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
