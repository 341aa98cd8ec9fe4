"""`energy-etl up` that is ended while it starts; one that runs is in `test_backfill.py`."""

import signal

import pytest

from energy_etl_tests.journeys.project_root import ProjectRoot, wait_for


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
