"""`energy-etl up` that is ended while it starts; one that runs is in `test_backfill.py`."""

import shutil
import signal

import pytest

from energy_etl_tests.defs.project import prepared
from energy_etl_tests.journeys.project_root import ProjectRoot, wait_for


@pytest.mark.journey
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("signal_number", "code", "started"),
    [
        # While it waits for the code, and while the web server and the daemon start.
        (signal.SIGTERM, 0, "dagster api grpc"),
        (signal.SIGKILL, 128 + signal.SIGKILL, "dagster_webserver"),
    ],
)
def test_up_that_ends_while_it_starts_leaves_no_process(
    project: ProjectRoot, signal_number: signal.Signals, code: int, started: str
) -> None:
    # What it makes in a fresh folder is in the journey of the backfill.
    shutil.copytree(prepared("portfolio.example") / "data", project.data, dirs_exist_ok=True)
    up = project.start_up()
    wait_for(
        lambda: any(started in c for c in project.processes().values()) or None,
        120,
        up.said,
    )

    ended = up.stop(signal_number)

    assert ended.code == code, ended
    assert ended.out == ""
    # Nobody waits for what a killed one leaves; the kernel tells it to go.
    wait_for(lambda: not project.processes() or None, 60, project.processes)
