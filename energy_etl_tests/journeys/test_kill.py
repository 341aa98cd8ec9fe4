"""A send that is killed in the middle, as by the power: the next one finishes what it began."""

import json
import os
import signal
import subprocess
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from energy_etl.cli.up import close_lost_runs
from energy_etl.defs.activity import active_runs
from energy_etl.defs.instance import open_instance
from energy_etl.defs.jobs import SEND_JOB
from energy_etl_tests.defs.project import Project, failure_text
from energy_etl_tests.journeys.project_root import DAGSTER, fetch, wait_for
from energy_etl_tests.warehouse.frames import other_process

SEND = (*DAGSTER, "job", "execute", "-m", "energy_etl.definitions", "-j", SEND_JOB)
# Somebody who looks at the writer's file and leaves it open.
HOLD = """
import sys, duckdb
held = duckdb.connect(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
"""


def start_send(project: Project) -> subprocess.Popen[bytes]:
    """Start the send job in a process of its own, as a person does in a terminal."""
    environment = {
        **os.environ,
        "ENERGY_ETL_ROOT": str(project.root),
        "ENERGY_ETL_SANDBOX_URL": project.sandbox.url,
        "DAGSTER_HOME": str(project.settings.dagster_home),
    }
    with (project.root / "send.log").open("wb") as log:
        return subprocess.Popen(
            SEND, cwd=project.root, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def received(project: Project) -> list[dict]:
    """Return what the collector says of each stream."""
    return fetch(f"{project.sandbox.url}/_sandbox/streams")


@pytest.mark.journey
@pytest.mark.timeout(300)
def test_send_that_is_killed_in_the_middle_is_finished_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Project(tmp_path, sites=["rome-b"], push_days=1) as project:
        assert project.load_last(3).success
        assert project.compute(only=("core", "push")).success
        n_due = project.count("pending")
        assert n_due > 300
        slow = {"vendor": "wattics", "kind": "slow", "times": None, "delay_s": 0.05}
        fetch(f"{project.sandbox.url}/_sandbox/faults", json.dumps(slow).encode())

        killed = start_send(project)
        wait_for(
            lambda: sum(s["received"] for s in received(project)) > n_due // 5 or None,
            120,
            (tmp_path / "send.log").read_text,
            every_s=0.05,
        )
        # Its whole session: Dagster's watcher is in there too.
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        n_before = sum(stream["received"] for stream in received(project))
        assert n_due // 5 < n_before < n_due
        assert project.count("confirmed") == 0
        # For Dagster it still runs; whoever starts `energy-etl up` or the demo next clears it.
        with open_instance(project.settings.dagster_home) as instance:
            assert [run.job_name for run in active_runs(instance)] == [SEND_JOB]
            of_backfill = create_run_for_test(
                instance, status=dg.DagsterRunStatus.STARTED, tags={"dagster/backfill": "b"}
            )
            close_lost_runs(project.settings, "The program that ran it is gone.")
            assert active_runs(instance) == []
            # The daemon runs it again; a cancelled one would end its backfill with a hole.
            lost = instance.get_run_by_id(of_backfill.run_id)
            assert lost is not None
            assert lost.status == dg.DagsterRunStatus.FAILURE
            assert lost.tags["dagster/will_retry"] == "true"

        project.sandbox.app.faults.clear()
        # Beside somebody who keeps the warehouse open all is sent, the run fails and names them ...
        monkeypatch.setenv("ENERGY_ETL_LOCK_WAIT_S", "0.2")
        with other_process(HOLD, project.settings.warehouse_path) as holder:
            failed = project.send()
            assert not failed.success
            assert f"is locked by process {holder.pid}" in failure_text(failed)
        assert project.count("confirmed") == n_due
        # ... and the next one shows people what was sent.
        assert project.send().success
        shown = project.warehouse.read("SELECT DISTINCT state FROM push.packet")
        assert shown["state"].to_list() == ["confirmed"]
        assert project.count("pending") == project.count("sent") == 0
        assert sum(stream["received"] for stream in received(project)) == n_due
        for stream in received(project):
            assert (stream["out_of_order"], stream["duplicates"]) == (0, 0), stream
