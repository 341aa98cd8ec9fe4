"""`make bench`: measure, compare, print a table, write bench.json.

make bench ARGS="--only load,push --runs 3 --scale small"
make bench ARGS="--only transform --scale huge"     also 100 M readings: minutes, and some GB
make bench ARGS="--only push_memory --scale huge --runs 1"     also 1 M packets: ten minutes
WATTICS_CLIENTS=~/wattics make bench ARGS="--only push"     beside the vendor's own clients
"""

import argparse
import shutil
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
    read_answers,
)
from energy_etl_tests.benchmarks.report import Result, compare, print_report, write_json

NAMES: Final = (
    "load",
    "transform",
    "disaggregation",
    "push",
    "push_latency",
    "push_acks",
    "push_memory",
)


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
            able = [c for c in chosen if c.is_able(case.task)]
            measured: dict[str, list[Measurement]] = {c.name: [] for c in able}
            notes: list[str] = []
            for number in range(n_runs):
                answers = {c.name: _answers_folder(Path(folder)) for c in able}
                for contender in able:
                    _say(case, f"run {number + 1} of {n_runs}, {contender.name}")
                    found = measure(benchmark, contender, case, answers[contender.name])
                    measured[contender.name].append(found)
                notes = _agreed(benchmark, case, answers)
            results.append(compare(benchmark, case.title, measured, notes, case.ideal_per_s))
    return results


def _answers_folder(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="answers-", dir=folder))


def _agreed(benchmark: Benchmark, case: Case, folders: dict[str, Path]) -> list[str]:
    """Compare what the contenders of one run found, and forget it."""
    answers = {name: read_answers(folder) for name, folder in folders.items()}
    for folder in folders.values():
        shutil.rmtree(folder)
    if benchmark.agree is None:
        return []
    return benchmark.agree(case.task, {name: found for name, found in answers.items() if found})


def _say(case: Case, what: str) -> None:
    print(f"{case.title}: {what}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--only", type=_names, default=list(NAMES), help=f"comma-separated: {','.join(NAMES)}"
    )
    parser.add_argument("--runs", type=_positive, default=5, help="runs of each contender (5)")
    parser.add_argument(
        "--scale", choices=("small", "full", "huge"), default="full", help="how much work"
    )
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
