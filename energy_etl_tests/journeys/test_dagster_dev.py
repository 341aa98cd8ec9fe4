"""Dagster's own commands on a fresh folder, where nobody ran `energy-etl init` or a sandbox."""

import re
from datetime import UTC, datetime

import pytest

from energy_etl.cli.processes import free_port
from energy_etl_tests.journeys.project_root import DAGSTER, ProjectRoot


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
    sentence = (
        rf"StepFailed: wattsense .* to {re.escape(url)}: start the sandbox with `energy-etl .*\.$"
    )
    assert re.search(sentence, ended.out + ended.err, re.MULTILINE), ended
    assert "sub-exception" not in ended.out + ended.err
