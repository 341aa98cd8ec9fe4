"""Dagster's own commands on a fresh folder, where nobody ran `energy-etl init` or a sandbox."""

import re
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from energy_etl.cli.processes import free_port
from energy_etl.definitions import build_defs
from energy_etl.defs.resources import Etl
from energy_etl_tests.journeys.project_root import DAGSTER, REPOSITORY, ProjectRoot


@pytest.mark.journey
@pytest.mark.timeout(240)
def test_asset_without_a_sandbox_fails_with_a_sentence_that_names_the_command(
    project: ProjectRoot,
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    today = datetime.now(UTC).date().isoformat()

    ended = project.run(
        *(*DAGSTER, "asset", "materialize", "-m", "energy_etl.definitions"),
        *("--select", "wattsense/history", "--partition", today),
        ENERGY_ETL_SANDBOX_URL=url,
    )

    assert ended.code != 0, ended
    said = ended.out + ended.err
    sentences = [line for line in said.splitlines() if "energy-etl sandbox" in line]
    assert sentences, ended
    assert url in sentences[0], sentences[0]


@pytest.mark.journey
def test_run_without_a_sandbox_ends_with_one_sentence(tmp_path: Path) -> None:
    project = ProjectRoot(tmp_path)
    url = f"http://127.0.0.1:{free_port()}"
    definitions = build_defs({"etl": Etl(root=str(project.root), sandbox_url=url)})
    with dg.instance_for_test() as instance:
        result = definitions.resolve_job_def("extract_wattsense").execute_in_process(
            instance=instance,
            partition_key=datetime.now(UTC).date().isoformat(),
            raise_on_error=False,
        )
    assert not result.success
    events = [event for event in result.all_events if event.is_step_failure]
    assert [event.step_key for event in events] == ["wattsense_inventory"]
    told = events[0].step_failure_data.user_failure_data
    assert told is not None
    assert re.fullmatch(
        rf"wattsense .* to {re.escape(url)}: start the sandbox with `energy-etl sandbox`, .*\.",
        str(told.description),
    ), told.description


@pytest.mark.journey
@pytest.mark.timeout(240)
def test_workspace_of_the_repository_loads_as_it_stands(project: ProjectRoot) -> None:
    ended = project.run(
        *(*DAGSTER, "definitions", "validate", "-w", str(REPOSITORY / "workspace.yaml")),
    )
    assert ended.code == 0, ended
    assert "energy_etl.definitions" in ended.out + ended.err
