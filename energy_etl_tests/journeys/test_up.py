"""`energy-etl up` in the background of a script: it answers, and goes without leaving a trace."""

import json
import signal

import dagster as dg
import pytest

from energy_etl.defs.instance import open_instance
from energy_etl_tests.journeys.project_root import (
    ENERGY_ETL,
    ProjectRoot,
    WebServer,
    fetch,
    wait_for,
)

SCHEDULES = {"hourly_wattsense", "daily_wattsense", "hourly_digiwatt", "daily_digiwatt"}
SENSORS = {"changed_data_sensor", "outbox_pending_sensor"}


@pytest.mark.journey
@pytest.mark.timeout(480)
def test_up_in_the_background_answers_and_goes_with_its_runs_on_sigint(
    project: ProjectRoot,
) -> None:
    up = project.start_up()
    server = WebServer(up.url())
    server.wait_until_loaded()
    automation = server.automation()
    assert set(automation) >= SCHEDULES | SENSORS
    assert set(automation.values()) == {"RUNNING"}

    second = project.run(*ENERGY_ETL, "up")
    assert second.code == 3, second
    assert second.out == ""
    assert second.err == (
        f"energy-etl: {project.data}/dagster_home is in use by another `energy-etl up` or "
        "`energy-etl demo`: stop that one first.\n"
    )

    # A run that would go on for minutes.
    slow = {"vendor": "wattsense", "kind": "slow", "times": None, "delay_s": 20}
    fetch(f"{up.sandbox_url()}/_sandbox/faults", json.dumps(slow).encode())
    n_without = len(project.processes())
    server.launch("extract_wattsense", first_on="2026-01-01", last_on="2026-01-01")
    wait_for(
        lambda: {"STARTED"} == {run["status"] for run in server.runs()} or None,
        120,
        server.runs,
    )
    assert len(project.processes()) > n_without, "the run has a process of its own"

    ended = up.stop(signal.SIGINT)

    assert ended.code == 0, ended
    assert project.processes() == {}
    lines = ended.out.splitlines()
    assert lines == [f"energy_etl is up: {server.url} (stop with Ctrl-C)"]
    assert "Traceback" not in ended.err
    with open_instance(project.data / "dagster_home") as instance:
        assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.CANCELED]


@pytest.mark.journey
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("signal_number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, 128 + signal.SIGKILL)]
)
def test_up_that_ends_while_it_starts_leaves_no_process(
    project: ProjectRoot, signal_number: signal.Signals, code: int
) -> None:
    up = project.start_up()
    wait_for(
        lambda: any("dagster_webserver" in c for c in project.processes().values()) or None,
        120,
        up.said,
    )

    ended = up.stop(signal_number)

    assert ended.code == code, ended
    assert ended.out == ""
    # Nobody waits for what a killed one leaves; the kernel tells it to go.
    wait_for(lambda: not project.processes() or None, 60, project.processes)
