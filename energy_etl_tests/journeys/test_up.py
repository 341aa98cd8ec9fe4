"""`energy-etl up` in the background of a script: it answers, and goes without leaving a trace."""

import json
import signal

import pytest

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
    slow = {"vendor": "wattsense", "kind": "slow", "path_contains": "", "times": None}
    sandbox_url = up.sandbox_url()
    fetch(f"{sandbox_url}/_sandbox/faults", json.dumps(slow | {"delay_s": 20}).encode())
    server.launch("extract_wattsense", first_on="2026-01-01", last_on="2026-01-01")
    wait_for(
        lambda: {"STARTED"} == {run["status"] for run in server.runs()} or None,
        120,
        server.runs,
    )
    assert any("execute_run" in command for command in project.processes().values())

    ended = up.stop(signal.SIGINT)

    assert ended.code == 0, ended
    assert project.processes() == {}
    lines = ended.out.splitlines()
    assert lines == [f"energy_etl is up: {server.url} (stop with Ctrl-C)"]
    assert "Traceback" not in ended.err


@pytest.mark.journey
@pytest.mark.timeout(240)
def test_up_that_is_stopped_while_it_starts_goes_too(project: ProjectRoot) -> None:
    up = project.start_up()
    wait_for(
        lambda: any("dagster_webserver" in c for c in project.processes().values()) or None,
        120,
        up.said,
    )

    ended = up.stop(signal.SIGTERM)

    assert ended.code == 0, ended
    assert ended.out == ""
    assert project.processes() == {}
