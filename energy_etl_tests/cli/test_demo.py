"""What the demo does when it is stopped; a whole one is run from the README, by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster_shared.error import SerializableErrorInfo
from rich.console import Console

from energy_etl.cli.demo import Demo


def demo_whose_step_ends_with(error: BaseException) -> Demo:
    """Return a demo whose jobs all have one failed step."""
    info = SerializableErrorInfo(str(error), stack=[], cls_name=type(error).__name__)
    failure = SimpleNamespace(error=info, user_failure_data=None)
    event = SimpleNamespace(is_step_failure=True, step_failure_data=failure)
    result = SimpleNamespace(success=False, all_events=[event])
    job: Any = SimpleNamespace(execute_in_process=lambda **_: result)
    definitions: Any = SimpleNamespace(resolve_job_def=lambda _: job)
    nothing: Any = None
    return Demo(nothing, nothing, definitions, Console(stderr=True))


def test_ctrl_c_in_a_run_ends_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    # It once stopped that run alone: the others followed, and the tables of the summary.
    demo = demo_whose_step_ends_with(DagsterExecutionInterruptedError())
    with pytest.raises(KeyboardInterrupt):
        demo.run("Load Wiser", "extract_wiser", {})
    assert "Stopped; what was loaded is kept." in capsys.readouterr().err


def test_step_that_fails_is_told_and_the_demo_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    demo = demo_whose_step_ends_with(ValueError("[odd] answer"))
    assert not demo.run("Load Wiser", "extract_wiser", {})
    assert "[odd] answer" in capsys.readouterr().err
