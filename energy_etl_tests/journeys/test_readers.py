"""People's readers on `data/energy.duckdb` while runs write: README's queries, one left open."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from energy_etl_tests.defs.project import N_DAYS, REPOSITORY, Project
from energy_etl_tests.documented import README, queries_of

# A client as people write it: it knows the file and nothing of this package.
READER = """
import json, pathlib, sys, time
import duckdb

path, stop, kind = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
queries = json.loads(sys.argv[4])
held = duckdb.connect(path, read_only=True) if kind == "held" else None
n_rounds, n_rows, generations = 0, [], set()
print("reading", flush=True)
while True:
    is_last = stop.exists()
    connection = held or duckdb.connect(path, read_only=True)
    n_rows = [len(connection.execute(query).fetchall()) for query in queries]
    generations.add(connection.execute("SELECT generation FROM main.publication").fetchone()[0])
    if not held:
        connection.close()
    n_rounds += 1
    if is_last:
        break
    time.sleep(0.5)
print(json.dumps([n_rounds, n_rows, len(generations)]), flush=True)
"""


def readme_queries() -> list[str]:
    """Return the statements that README and docs/queries.md show."""
    return [*queries_of(README), *queries_of(REPOSITORY / "docs" / "queries.md")]


@contextmanager
def reader(project: Project, stop: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Run a reader that has the file open by now, until `stop` is there."""
    # Not all of them: the computation shares the processor with the readers, and all are run by
    # the test of the main job.
    path, queries = str(project.settings.published_path), json.dumps(readme_queries()[::5])
    with subprocess.Popen(
        [sys.executable, "-c", READER, path, str(stop), kind, queries],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "reading\n"
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> list:
    """Return what a reader says at its end."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.journey
@pytest.mark.timeout(300)
def test_readme_queries_succeed_while_runs_write_and_an_open_reader_blocks_none(
    tmp_path: Path, computed_root: Path
) -> None:
    assert len(readme_queries()) >= 5
    with Project(tmp_path / "copy", copy_of=computed_root) as project:
        stop = tmp_path / "stop"
        with reader(project, stop, "fresh") as fresh, reader(project, stop, "held") as held:
            new_on = project.now.date() - timedelta(days=N_DAYS)
            assert project.load(new_on, new_on).success
            assert project.compute(only=("core", "push", "published")).success
            assert project.send().success
            stop.touch()
            told_by_fresh, told_by_held = told(fresh), told(held)

    n_rounds, _, n_generations = told_by_fresh
    assert n_rounds > 5
    assert n_generations >= 3
    n_rounds, n_rows, n_generations = told_by_held
    assert any(n_rows)
    assert n_rounds > 5
    # A connection shows the publication that it opened, whole, as long as it lives.
    assert n_generations == 1
