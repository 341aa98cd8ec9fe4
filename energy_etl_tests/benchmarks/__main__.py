"""`make bench`: measure, compare, print a table, write bench.json.

make bench ARGS="--only load,push --runs 3 --scale small"
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from energy_etl_tests.benchmarks.measure import (
    Benchmark,
    BenchmarkError,
    Case,
    Measurement,
    Scale,
    benchmark_of,
    machine,
    measure,
)
from energy_etl_tests.benchmarks.report import Result, compare, print_report, write_json

NAMES: Final = ("load", "transform", "push")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the command line names; 0 when all contenders did their work."""
    options = _parser().parse_args(arguments)
    results: list[Result] = []
    try:
        for name in options.only:
            results += _run(benchmark_of(name), options.scale, options.runs, options.roles)
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print_report(results, options.runs)
    about = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "scale": options.scale,
        "n_runs": options.runs,
        **machine(),
    }
    write_json(options.json, results, about)
    print(f"Every run is in {options.json}.")
    return 0


def _run(benchmark: Benchmark, scale: Scale, n_runs: int, roles: Sequence[str]) -> list[Result]:
    """Measure each case; contenders take turns, so that a busy machine hits all of them."""
    chosen = [c for c in benchmark.contenders if c.role in roles and c.is_installed()]
    results: list[Result] = []
    with (
        tempfile.TemporaryDirectory(prefix="energy-etl-bench-") as folder,
        benchmark.cases(scale, Path(folder)) as cases,
    ):
        for case in cases:
            measured: dict[str, list[Measurement]] = {c.name: [] for c in chosen}
            for number in range(n_runs):
                for contender in chosen:
                    _say(case, f"run {number + 1} of {n_runs}, {contender.name}")
                    measured[contender.name].append(measure(benchmark, contender, case))
            results.append(compare(benchmark, case.title, measured))
    return results


def _say(case: Case, what: str) -> None:
    print(f"{case.title}: {what}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--only", type=_names, default=list(NAMES), help="comma-separated: load,transform,push"
    )
    parser.add_argument("--runs", type=_positive, default=5, help="runs of each contender (5)")
    parser.add_argument("--scale", choices=("small", "full"), default="full", help="how much work")
    parser.add_argument(
        "--json", type=Path, default=Path("bench.json"), help="where every run goes (bench.json)"
    )
    parser.add_argument(
        "--ours",
        dest="roles",
        action="store_const",
        const=("ours",),
        default=("ours", "peer", "limit"),
        help="leave out the peers and the limit",
    )
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(NAMES)):
        raise argparse.ArgumentTypeError(
            f"there is no benchmark {', '.join(unknown)}: choose from {', '.join(NAMES)}"
        )
    return names


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs: give 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
