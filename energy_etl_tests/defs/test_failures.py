"""What a failed step and a failed run say first: one line, ours, with what to do next."""

import errno
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from energy_etl.defs.checks import build_checks
from energy_etl.defs.failures import failed_run_sentence, plainly
from energy_etl.defs.partitions import span_tags
from energy_etl.errors import ConfigurationError, UnavailableError
from energy_etl.tables import core
from energy_etl_tests.defs.project import QUIET, Project

SAYS_WHAT_TO_DO = "Vendor did not answer: run again later."
ENOSPC = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/published/x.parquet")
DENIED = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/reports/energy.html")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UnavailableError(SAYS_WHAT_TO_DO), SAYS_WHAT_TO_DO),
        (
            ExceptionGroup("g", [KeyError("x"), ExceptionGroup("h", [UnavailableError("Mend.")])]),
            "Mend.",
        ),
        (
            ConfigurationError("The portfolio has 1 problem:\n- sites.csv: save it as UTF-8."),
            "The portfolio has 1 problem: - sites.csv: save it as UTF-8.",
        ),
        (ENOSPC, "The disk of /data/published/x.parquet is full: free some space and run again."),
        (
            DENIED,
            "/data/reports/energy.html cannot be used (Permission denied): check that it exists, "
            "its rights and the free disk space, then run again.",
        ),
        (
            ExceptionGroup("g", [ENOSPC, KeyError("x")]),
            "The disk of /data/published/x.parquet is full: free some space and run again.",
        ),
        (
            MemoryError(),
            "The memory was not enough: take a shorter range, or end other programs, and retry.",
        ),
        (
            pl.exceptions.ColumnNotFoundError("no\nkwh"),
            "ColumnNotFoundError: no kwh (a fault of the program, not of the portfolio: report it "
            "with this run's log)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_error_of_a_step_is_one_line_that_says_what_to_do(error: Exception, sentence: str) -> None:
    @plainly
    def body() -> None:
        raise error

    @plainly
    def rows() -> Iterator[int]:
        yield 1
        raise error

    for run in (body, lambda: list(rows())):
        with pytest.raises(dg.Failure) as raised:
            run()
        assert raised.value.description == sentence
        assert not raised.value.allow_retries
        assert raised.value.__cause__ is not None


@pytest.mark.parametrize(
    "passed_on", [dg.Failure("Said already."), KeyboardInterrupt(), dg.RetryRequested()]
)
def test_what_dagster_or_a_person_raised_is_passed_on(passed_on: BaseException) -> None:
    @plainly
    def body() -> None:
        raise passed_on

    with pytest.raises(type(passed_on)) as raised:
        body()
    assert raised.value is passed_on


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Project]:
    """Yield a project without data whose sandbox nobody started."""
    project = Project(tmp_path / "idle")
    yield project
    project.sandbox.stop()
    project.instance.dispose()


def no_setting(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_ETL_REFETCH_DAY", "3")


def no_utf8(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.settings.portfolio_dir / "sites.csv").write_bytes(b"\xff\xfe")


def damaged_state(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project.settings.state_path
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()
    path.write_bytes(b"SQLite format 3\0" + b"x" * 8192)


def nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody started the sandbox."""
    # One attempt: the pauses between several are tested where they are made.
    monkeypatch.setenv("ENERGY_ETL_WATTSENSE__TOTAL_S", "0.1")


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (no_setting, "The setting ENERGY_ETL_REFETCH_DAY is not known: did you mean"),
        (no_utf8, "sites.csv: byte 0 is not UTF-8: save the file as UTF-8."),
        (damaged_state, "state.sqlite cannot be used as the state file (file is not a database): "),
        (nothing, "start the sandbox with `energy-etl sandbox`"),
    ],
)
def test_run_with_a_planted_fault_begins_with_what_to_do(
    idle: Project,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[Project, pytest.MonkeyPatch], None],
    said: str,
) -> None:
    plant(idle, monkeypatch)
    day = idle.now.date()
    job = idle.definitions.resolve_job_def("extract_wattsense")
    result = job.execute_in_process(
        instance=idle.instance,
        tags=span_tags(day, day),
        asset_selection=[dg.AssetKey(["wattsense", "history"])],
        run_config=QUIET,
        raise_on_error=False,
    )
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.error is not None
    first_line, *others = failed.step_failure_data.error.message.strip().splitlines()
    assert first_line.startswith("StepFailed: ")
    assert said in first_line
    assert others == []
    (ended,) = [event for event in result.all_events if event.is_run_failure]
    sentence = failed_run_sentence(idle.instance, result.run_id, ended)
    assert sentence == first_line.removeprefix("StepFailed: ")


def test_blocking_check_that_fails_says_which_and_what_to_do(idle: Project) -> None:
    at = datetime(2026, 10, 1, tzinfo=UTC)
    row = ("a", at, 1.0, 1, "wattsense", at)
    frame = pl.DataFrame([row], schema=core.READING.polars_schema, orient="row")
    with idle.warehouse.write() as writer:
        for _ in range(2):
            writer.append(core.READING, frame)
    checks = build_checks({core.READING: "reading"}, [])
    definitions = dg.Definitions(
        asset_checks=checks,
        jobs=[dg.define_asset_job("judge", selection=dg.AssetSelection.checks(*checks))],
        resources={"etl": idle.etl},
        executor=dg.in_process_executor,
    )
    result = definitions.resolve_job_def("judge").execute_in_process(
        instance=idle.instance, run_config=QUIET, raise_on_error=False
    )
    assert [each.passed for each in result.get_asset_check_evaluations()] == [False]
    assert failed_run_sentence(idle.instance, result.run_id, None) == (
        "The check unique_key of core.reading failed: 1 keys of core.reading stand in several "
        "rows: run `energy-etl rebuild`, then look at what wrote them. What is made of it was not "
        "computed in this run and keeps what it held."
    )


@dg.op
@plainly
def breaks() -> None:
    """Fail with a sentence."""
    raise UnavailableError(SAYS_WHAT_TO_DO)


@dg.job(executor_def=dg.in_process_executor)
def breaks_twice() -> None:
    breaks.alias("one")()
    breaks.alias("two")()


def test_run_of_which_several_steps_failed_tells_the_first_and_how_many_more() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = breaks_twice.execute_in_process(
            instance=instance, run_config=QUIET, raise_on_error=False
        )
        sentence = failed_run_sentence(instance, result.run_id, None)
        assert sentence == f"{SAYS_WHAT_TO_DO} (1 more steps failed.)"


def test_run_that_no_step_began_tells_what_dagster_says() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(breaks_twice)
        ended = instance.report_run_failed(run, "Run worker died.")
        assert failed_run_sentence(instance, run.run_id, ended) == (
            "Run worker died: open the run in the UI for its log."
        )
